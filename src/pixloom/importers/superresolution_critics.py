"""Critics of super-resolution programs: the VGG-style ones of SRGAN and ESRGAN, and Real-ESRGAN's U-Net.

Their programs show them candidates in [0, 1], RGB, and so do ours, see ``nets.enlarged``.
"""

from __future__ import annotations

import math
import re

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, channels, completed, folded, renamed
from pixloom.importers.foreign import State
from pixloom.importers.spectral import with_own_u

CONVOLUTIONS = 10
"""Of Real-ESRGAN's critic, the last of which gives the logits."""

JOINED = "that its way up adds the maps of the way down is assumed, for names and shapes are the same without"


def vgg(state: State) -> Found | None:
    """SRGAN's of leftthomas (``net.0``), ESRGAN's first one (``features.0``, ``classifier.0``) and BasicSR's (``conv0_0``, ``linear1``).

    Raises:
        ModelError: its layers are not those of a whole one.
    """
    if "net.0.weight" in state and state["net.0.weight"].shape[2:] == (3, 3):
        last = max(_places(state, "net"))
        hidden, logit = f"net.{last - 2}", f"net.{last}"  # 1x1 convolutions of one place
        flat = {name: state[name].flatten(1) for name in (f"{hidden}.weight", f"{logit}.weight")}
        return _vgg(state | flat, _numbered("net", (last - 2) // 6), hidden=hidden, logit=logit)
    if {"features.0.weight", "classifier.0.weight", "classifier.2.weight"} <= state.keys():
        layers = (max(_places(state, "features")) + 4) // 6
        return _vgg(state, _numbered("features", layers), hidden="classifier.0", logit="classifier.2")
    if {"conv0_0.weight", "conv0_1.weight", "linear1.weight", "linear2.weight"} <= state.keys():
        layers = sum(1 for name in state if re.fullmatch(r"conv\d+_1\.weight", name))
        named = [(f"conv{pair}_{place}", f"bn{pair}_{place}") for pair in range(layers) for place in (0, 1)]
        return _vgg(state, named, hidden="linear1", logit="linear2")
    return None


def unet(state: State) -> Found | None:
    """``UNetDiscriminatorSN``, whose convolutions keep their spectral norm."""
    last = f"conv{CONVOLUTIONS - 1}.weight"
    if not {"conv0.weight", "conv1.weight_orig", last} <= state.keys():
        return None
    target, width = channels(state["conv0.weight"])
    pairs = [*((f"stages.{place}.0", f"conv{place}") for place in range(CONVOLUTIONS - 1)), ("head", f"conv{CONVOLUTIONS - 1}")]
    options = {"source_channels": 0, "target_channels": target, "width": width}
    return Found("unet_critic", options, renamed(with_own_u(state), iter(pairs)), notes=(JOINED,), role="critic")


def _vgg(state: State, named: list[tuple[str, str]], *, hidden: str, logit: str) -> Found:
    """By the names of its convolutions with those of the norms behind them, and of its fully connected layers."""

    def pairs() -> Pairs:
        for place, (convolution, norm) in enumerate(named):
            yield f"stages.{place}.0", convolution
            yield f"stages.{place}.1", norm
        yield from (("head.2", hidden), ("head.4", logit))

    target, width = channels(state[f"{named[0][0]}.weight"])
    last, read = state[f"{named[-1][0]}.weight"], state[f"{hidden}.weight"]
    options = {
        "source_channels": 0,
        "target_channels": target,
        "layers": len(named) // 2,
        "width": width,
        "kernel": last.shape[2],
        "side": _side(read.shape[1], of=last.shape[0]),
        "hidden": read.shape[0],
    }
    return Found("vgg", options, completed(folded(renamed(state, pairs()))), role="critic")


def _numbered(stem: str, layers: int) -> list[tuple[str, str]]:
    """Convolutions and norms of a chain in which activations count; there is none behind the first."""
    return [(f"{stem}.{max(0, 3 * place - 1)}", f"{stem}.{max(1, 3 * place)}") for place in range(2 * layers)]


def _places(state: State, stem: str) -> list[int]:
    """The numbers of its convolutions."""
    return [int(match[1]) for name in state if (match := re.fullmatch(rf"{stem}\.(\d+)\.weight", name)) and state[name].ndim == 4]


def _side(number: int, *, of: int) -> int:
    """The rows and columns of maps of so many channels that are read as so many numbers.

    Raises:
        ModelError: there are none.

    >>> _side(8192, of=512)
    4
    """
    side = math.isqrt(number // max(1, of))
    if side < 1 or side**2 * of != number:
        raise ModelError(f"it reads {number} numbers off {of} channels", why="which is no square of places", fix="fetch it again")
    return side
