"""Files of weights that other programs wrote: read without executing anything in them, and taken apart into networks."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pixloom.errors import ModelError, first_line

State = dict[str, Tensor]
"""Tensors by their names in the network that they belong to."""

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".pkl", ".bin")
"""Of files that weights are kept in."""

WRAPPERS = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""

AVERAGED = ("params_ema", "g_ema", "nets_ema", "ema", "state_dict_ema", "model_ema")
"""Parts that hold averaged weights, which are better than those beside them."""

MOST_LAYERS = 10_000
"""No layer has a higher number."""

BROKEN = (
    *(OSError, EOFError, RuntimeError, AttributeError, TypeError, ValueError, KeyError, IndexError, MemoryError),
    *(AssertionError, SafetensorError),
)
"""What readers of damaged files raise."""

_MOST_DEPTH = 4  # of dictionaries in dictionaries
_LEAST_SHARED = 2  # networks that a flat file must hold before it is taken apart by the beginnings of its names


def read_parts(path: Path) -> dict[str, State]:
    """The networks in a file, by the keys under which they lie; a file of nothing but one network has the key "".

    Only tensors are taken; numbers and texts beside them are passed over. Names lose what wrappers put before them.

    Raises:
        ModelError: the file is missing or damaged, holds objects that would have to be executed, or no weights.
    """
    try:
        parts = {key: _unwrapped(state) for key, state in _states(_read(path))}
    except ModelError as error:
        raise ModelError(error.what, where=path, why=error.why, fix=error.fix or "give another file") from error
    parts = {key: state for key, state in parts.items() if state}
    if not parts:
        raise ModelError(
            "there are no weights in this file", where=path, fix="give a file that was saved with torch.save(net.state_dict(), ...)"
        )
    return parts


def place_of_encoder(path: Path) -> Path:
    """Where the style encoder of a generator lies, if it has one; the generator's own place where that has another name.

    >>> place_of_encoder(Path("x/latest_net_G.pth")).name
    'latest_net_E.pth'
    """
    return path.with_name(path.name.replace("net_G", "net_E"))


CRITIC_NAMES = (("net_G", "net_D"), ("netG", "netD"), ("net_g", "net_d"), ("-G.", "-D."), ("_G.", "_D."), ("nets_ema", "nets"))
"""What names of files have of the generator, and instead of it of its critic."""


def critic_beside(path: Path) -> Path | None:
    """The file of the critic of a generator, as its program names it beside that; None where there is none.

    >>> critic_beside(Path("nowhere/latest_net_G.pth"))
    """
    names = [path.name.replace(own, other) for own, other in CRITIC_NAMES if own in path.name]
    names = [*names, f"{path.stem}_netD{path.suffix}"]  # as Real-ESRGAN hands them out
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def encoder_beside(path: Path) -> State:
    """The tensors of ``latest_net_E.pth`` beside ``latest_net_G.pth``, and so of other names; none where there is no such file.

    Raises:
        ModelError: it is damaged, holds more than weights, or more than one network.
    """
    beside = place_of_encoder(path)
    if beside == path or not beside.is_file():
        return {}
    parts = list(read_parts(beside).values())
    if len(parts) != 1:
        raise ModelError("there is more than one network in the file of the style encoder", where=beside, fix="move it elsewhere")
    return parts[0]


def taken_apart(state: State) -> dict[str, State]:
    """The networks of a flat file by the beginnings of their names, as Lightning saves them: netG.model.1.weight, netD.model.0.weight."""
    parts: dict[str, State] = {}
    for name, tensor in state.items():
        first, _, rest = name.partition(".")
        parts.setdefault(first, {})[rest] = tensor
    return parts if len(parts) >= _LEAST_SHARED and all("" not in part for part in parts.values()) else {}


def joined(parts: Mapping[str, State]) -> dict[str, State]:
    """Networks that lie beside each other in a file as one, by the key above them, every name after that of its network.

    >>> state = joined({"ema.a": {"w": torch.zeros(1)}, "ema.b": {"w": torch.zeros(1)}, "": {"a.w": torch.zeros(1)}})
    >>> {key: list(whole) for key, whole in state.items()}
    {'ema': ['a.w', 'b.w'], '': ['a.w']}
    """
    whole: dict[str, State] = {}
    for key, state in parts.items():
        above, _, own = key.rpartition(".")
        whole.setdefault(above, {}).update({f"{own}.{name}" if own else name: tensor for name, tensor in state.items()})
    return whole


def _read(path: Path) -> Any:
    if path.is_dir():
        raise ModelError("this is a folder", where=path, fix="give a file of weights in it")
    if not path.is_file():
        raise ModelError("there is no such file", where=path, fix="give a file of weights (.pth, .pt, .ckpt or .safetensors)")
    why = None
    _check_packed(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the protocol of foreign pickles; what cannot be read is an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        why = _told(error)
    except BROKEN as error:
        reason = first_line(error)
        raise ModelError("this is no file of weights, or a damaged one", where=path, why=reason[:300], fix="fetch it again") from error
    raise _to_be_executed(path, why)


def _to_be_executed(path: Path, why: str) -> ModelError:
    return ModelError(
        "the file holds more than weights, and would have to be executed to be read",
        where=path,
        why=why,
        fix="in the program that wrote it: torch.save(network.state_dict(), 'weights.pth')",
    )


def _told(error: BaseException) -> str:
    """What the restricted loader did not take, without its advice to switch the restriction off."""
    named = re.search(r"GLOBAL ([\w.]+)|(?:class|function) ([\w.]+)|instruction[s]? ([\w.]+)", str(error))
    return f"it asks for {next(filter(None, named.groups()))}" if named else "the restricted loader refuses it"


def _states(tree: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Every dictionary of tensors in a tree, by its path."""
    if not isinstance(tree, Mapping) or depth > _MOST_DEPTH:
        return
    own = {str(name): value for name, value in tree.items() if isinstance(value, Tensor)}
    if own:
        yield key, {name: _plain(name, tensor) for name, tensor in own.items()}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _states(value, f"{key}.{name}" if key else str(name), depth + 1)


def _plain(name: str, tensor: Tensor) -> Tensor:
    """A tensor in single precision.

    Raises:
        ModelError: it is larger than what the file holds of it, is not of numbers that we compute with, or holds what is no number; or its
            name counts further than any network does.
    """
    numbers = [int(part) for part in name.split(".") if part.isdecimal() and part.isascii()]
    if max(numbers, default=0) > MOST_LAYERS:
        raise ModelError("a layer in this file has a number that no network has", why=name[:80])
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
        raise ModelError("this file holds tensors of a kind that is not taken in", why=f"{name}: {tensor.dtype}, {tensor.layout}")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ModelError("a tensor in this file is larger than what the file holds of it", why=f"{name}: {tuple(tensor.shape)}")
    plain = tensor.float() if tensor.is_floating_point() else tensor
    if plain.is_floating_point() and not bool(torch.isfinite(plain).all()):
        raise ModelError(
            "there are weights in this file that are no numbers", why=f"{name} is not finite", fix="take an earlier checkpoint"
        )
    return plain


def _check_packed(path: Path) -> None:
    """That a file is no program, and not packed: torch packs no weights, and what unpacks to a thousand times its size is meant to do harm.

    Raises:
        ModelError: it is.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (OSError, zipfile.BadZipFile, ValueError):
        return  # which the loader says better
    if any("/code/" in name for name in names):
        raise _to_be_executed(path, "it is a TorchScript program")
    if packed:
        raise ModelError("this file is packed, as no file of weights is", where=path, why=packed[0], fix="unpack it, or save it anew")


def _unwrapped(state: State) -> State:
    for wrapper in WRAPPERS * 2:  # either may be around the other
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state
