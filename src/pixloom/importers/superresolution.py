"""Super-resolution models: ESRGAN in its three layouts, Real-ESRGAN's compact network, BasicSR's MSRResNet, and SRGAN of leftthomas.

Their programs give them small pictures in [0, 1], RGB. Ours take them enlarged by repeated pixels, see ``nets.enlarging``.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Pairs, channels, completed, renamed
from pixloom.importers.foreign import State
from pixloom.nets.enlarging import DENSE_BLOCKS, DENSE_LAYERS

LARGEST = 8
"""Times that the task enlarges at most."""

SIZE = 128
"""Side in pixels of the sharp pictures that most of them were trained on."""

TWICE = "it enlarges once, which is taken to be by 2: one that enlarges by 3 has the same names and shapes"


def esrgan(state: State) -> Found | None:
    """ESRGAN: the first layout (``model.1.sub``), its authors' later one (``RRDB_trunk``), and that of BasicSR and Real-ESRGAN (``rdb1``).

    The folding, and with it the scale, follows from the channels of the first convolution against those of the last: 12 for 3 are pixels
    folded by 2, 48 by 4.

    Raises:
        ModelError: it enlarges in another way than by doublings.
    """
    if "model.1.sub.0.RDB1.conv1.0.weight" in state:
        return _rrdb(state, _first_layout(state), block="model.1.sub.{}.RDB{}.conv{}.0")
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:
        ends = {"entry": "conv_first", "merge": "trunk_conv", "detail": "HRconv", "exit": "conv_last"}
        return _rrdb(state, ends | {"upward.0": "upconv1", "upward.1": "upconv2"}, block="RRDB_trunk.{}.RDB{}.conv{}")
    if "body.0.rdb1.conv1.weight" in state:
        ends = {"entry": "conv_first", "merge": "conv_body", "detail": "conv_hr", "exit": "conv_last"}
        return _rrdb(state, ends | {"upward.0": "conv_up1", "upward.1": "conv_up2"}, block="body.{}.rdb{}.conv{}")
    return None


def compact(state: State) -> Found | None:
    """``SRVGGNetCompact``: a chain of convolutions, with the slopes of a PReLU after each but the last.

    Raises:
        ModelError: its activations have no slopes, so that they cannot be told, or its sizes are no enlargement.
    """
    places = {int(match[1]): name for name in state if (match := re.fullmatch(r"body\.(\d+)\.weight", name))}
    if 0 not in places or any(not name.startswith("body.") for name in state) or state[places[0]].ndim != 4:
        return None
    last = max(places)
    if last > 0 and sorted(places) == list(range(0, last + 1, 2)):
        raise ModelError(
            "its activations cannot be told",
            why="they have no slopes among the tensors: ReLU and LeakyReLU look the same in a file",
            fix="only those with PReLU, as Real-ESRGAN's, can be imported",
        )
    if not any(state[name].ndim == 1 for name in places.values()):
        return None
    if last % 2 or sorted(places) != list(range(last + 1)):
        raise ModelError("its layers are not those of a whole one", why=f"there are weights at {_numbers(places)}", fix="fetch it again")
    source, width = channels(state[places[0]])
    scale = _root(state[places[last]].shape[0], of=source)
    options = {"source_channels": source, "target_channels": source, "scale": scale, "width": width, "depth": last // 2 - 1}
    pairs = ((f"layers.{place}", f"body.{place}") for place in places)
    return _found("compact", options, renamed(state, pairs))


def srresnet(state: State) -> Found | None:
    """``MSRResNet`` of BasicSR.

    Raises:
        ModelError: its sizes are no enlargement.
    """
    if not {"body.0.conv1.weight", "conv_first.weight", "upconv1.weight", "conv_hr.weight"} <= state.keys():
        return None
    source, width = channels(state["conv_first.weight"])
    target = state["conv_last.weight"].shape[0]
    stages = 2 if "upconv2.weight" in state else 1
    scale = 4 if stages == 2 else _root(state["upconv1.weight"].shape[0], of=width)
    if scale not in (2, 3, 4):
        raise ModelError(f"it enlarges {scale} times at once", why="that network does so 2 or 3 times", fix="fetch it again")
    blocks = _count(state, r"body\.(\d+)\.")

    def pairs() -> Pairs:
        yield from (("entry", "conv_first"), ("detail", "conv_hr"), ("exit", "conv_last"))
        for stage in range(stages):
            yield f"upward.{stage}", f"upconv{stage + 1}"
        for block in range(blocks):
            yield f"blocks.{block}.residual.0", f"body.{block}.conv1"
            yield f"blocks.{block}.residual.2", f"body.{block}.conv2"

    options = {"source_channels": source, "target_channels": target, "scale": scale, "width": width, "blocks": blocks}
    return _found("srresnet", options, renamed(state, pairs()))


def srgan(state: State) -> Found | None:
    """The generator of leftthomas/SRGAN, whose layers are ``block1``, ``block2`` and so on, and of programs that name them so.

    Raises:
        ModelError: its sizes are no enlargement.
    """
    if not {"block1.0.weight", "block2.conv1.weight", "block2.prelu.weight"} <= state.keys():
        return None
    source, width = channels(state["block1.0.weight"])
    blocks = sum(1 for name in state if re.fullmatch(r"block\d+\.conv1\.weight", name))
    merge, large = f"block{blocks + 2}", f"block{blocks + 3}"
    stages = sum(1 for name in state if re.fullmatch(rf"{large}\.\d+\.conv\.weight", name))
    target = state[f"{large}.{stages}.weight"].shape[0]

    def pairs() -> Pairs:
        yield from (("entry.0", "block1.0"), ("entry.1", "block1.1"), ("merge.0", f"{merge}.0"), ("merge.1", f"{merge}.1"))
        for block in range(blocks):
            for place, layer in enumerate(("conv1", "bn1", "prelu", "conv2", "bn2")):
                yield f"blocks.{block}.residual.{place}", f"block{block + 2}.{layer}"
        for stage in range(stages):
            yield f"upward.{stage}.0", f"{large}.{stage}.conv"
            yield f"upward.{stage}.2", f"{large}.{stage}.prelu"
        yield "exit", f"{large}.{stages}"

    scale = 2**stages
    options = {"source_channels": source, "target_channels": target, "scale": scale, "width": width, "blocks": blocks}
    return _found("srgan", options, completed(renamed(state, pairs())))


def _rrdb(state: State, ends: dict[str, str], *, block: str) -> Found:
    """ESRGAN by any names: those outside its blocks by ours, and the form of those inside, by block, dense block and convolution."""
    seen, width = channels(state[f"{ends['entry']}.weight"])
    target = state[f"{ends['exit']}.weight"].shape[0]
    folding = _root(seen, of=target)
    doublings = sum(1 for ours in ends if ours.startswith("upward."))
    if folding not in (1, 2, 4) or 2**doublings < folding:
        raise ModelError(
            f"it makes {target} channels of {seen}, and doubles the size {doublings} times",
            why="which is neither a picture of as many channels nor one with its pixels folded by 2 or 4, and enlarged after that",
            fix="fetch it again",
        )
    blocks = _count(state, re.escape(block.partition("{}")[0]) + r"(\d+)\.(?:RDB|rdb)")

    def pairs() -> Pairs:
        yield from ends.items()
        for number in range(blocks):
            for dense in range(DENSE_BLOCKS):
                for layer in range(DENSE_LAYERS):
                    yield f"blocks.{number}.dense.{dense}.layers.{layer}", block.format(number, dense + 1, layer + 1)

    growth = state[f"{block.format(0, 1, 1)}.weight"].shape[0]
    options = {
        "source_channels": seen // folding**2,
        "target_channels": target,
        "scale": 2**doublings // folding,
        "folding": folding,
        "width": width,
        "blocks": blocks,
        "growth": growth,
    }
    notes = (TWICE,) if doublings == 1 and ends["entry"] == "model.0" else ()
    return _found("rrdb", options, renamed(state, pairs()), notes=notes)


def _first_layout(state: State) -> dict[str, str]:
    """The layers outside the blocks, ours -> theirs.

    They are numbered with the activations and enlargements between them: ``model.0``, the blocks at 1 with their last convolution under the
    number after the last block, then enlargement, convolution and activation from 2 on, and two convolutions with an activation between.

    Raises:
        ModelError: they are at other places, as where pixels are unfolded.
    """
    places = sorted({int(match[1]) for name in state if (match := re.fullmatch(r"model\.(\d+)\.weight", name))})
    doublings = len(places) - 3
    expected = [0, *(3 * number for number in range(1, doublings + 1)), 3 * doublings + 2, 3 * doublings + 4]
    if places != expected:
        raise ModelError(
            "its layers outside the blocks are others",
            why=f"there are weights at {_numbers(places)}, where an ESRGAN has them at 0, 3, 6, 8 and 10, or at 3 more or fewer",
            fix="if it is whole it enlarges in another way, and cannot be imported; else fetch it again",
        )
    blocks = _count(state, r"model\.1\.sub\.(\d+)\.RDB")
    upward = {f"upward.{number}": f"model.{3 * number + 3}" for number in range(doublings)}
    return {"entry": "model.0", "merge": f"model.1.sub.{blocks}", **upward, "detail": f"model.{places[-2]}", "exit": f"model.{places[-1]}"}


def _found(name: str, options: dict[str, Any], state: State, *, notes: tuple[str, ...] = ()) -> Found:
    """With the task, which is enlarging; what does not enlarge mends.

    Raises:
        ModelError: it enlarges more often than the task does.
    """
    scale = options["scale"]
    if scale > LARGEST:
        raise ModelError(
            f"it enlarges {scale} times", why=f"pictures are enlarged {LARGEST} times at most", fix="take a model of a smaller scale"
        )
    if scale == 1:
        return Found(
            name, options, state, task={"name": "restore"}, size=SIZE, notes=(*notes, "it does not enlarge, so that its task is 'restore'")
        )
    task = {"name": "super-resolve", "options": {"scale": scale, "enlargement": "nearest"}}
    return Found(name, options, state, task=task, size=SIZE, notes=notes)


def _count(state: State, pattern: str) -> int:
    """One more than the largest number that names begin with."""
    return 1 + max(int(match[1]) for name in state if (match := re.match(pattern, name)))


def _root(number: int, *, of: int) -> int:
    """The f of which ``number`` is f^2 times ``of``.

    Raises:
        ModelError: there is none.

    >>> _root(48, of=3), _root(3, of=3)
    (4, 1)
    """
    root = math.isqrt(number // of)
    if root < 1 or root**2 * of != number:
        raise ModelError(
            f"there are {number} channels where a square times {of} is expected",
            why="by it the scale is told",
            fix="only networks whose pixels are folded or unfolded alike in rows and columns can be imported",
        )
    return root


def _numbers(places: Any) -> str:
    return ", ".join(map(str, sorted(places)))
