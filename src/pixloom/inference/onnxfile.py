"""An exported model: an ONNX file whose metadata say all that is needed to use it. Read here without torch, onnx or a runtime.

The file is the serialised network followed by its metadata (ONNX's ``metadata_props``): the description of the model folder, the SHA-256
of the weights that the network was made from, the :class:`Signature`, and the SHA-256 of the network and of all the other metadata.

Little is imported, and the file is hashed beside the caller, so that a runtime can begin to load it at once.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixloom.errors import ModelError

if TYPE_CHECKING:
    from pixloom.modelfile import ModelDescription

EXPORT = "model.onnx"
"""The name of an exported model inside its model folder."""

FORMAT = "pixloom-onnx"
FORMAT_VERSION = 1

_AGAIN = "make it again: pixloom export MODEL --overwrite"
_TEXTS = frozenset({"format", "pixloom", "recipe", "sha256", "digest"})  # the other values are JSON
_MOST = 4096  # of channels and of pixels on a side that a network may ask for


@dataclass(frozen=True)
class Dropped:
    """A layer of dropout that stays on as noise; what it keeps is an input of the exported network.

    Attributes:
        channels: of its maps.
        stride: the source's sides over those of its maps.
        probability: the share of values that is dropped.
    """

    channels: int
    stride: int
    probability: float


@dataclass(frozen=True)
class Signature:
    """What a network takes.

    Attributes:
        size_multiple: the sides of its sources are multiples of this, in pixels.
        min_size: the smallest side, in pixels.
        noise_channels: length of the noise vector z; 0: none.
        radius: the largest distance in pixels at which the source acts on the output; None: the whole picture.
        dropped: layers whose dropout stays on, in their order.
        conditions: the shape of each condition's tensor without its batch dimension, by kind; -1 stands for the source's height and -2
            for its width.
    """

    size_multiple: int
    min_size: int
    noise_channels: int = 0
    radius: int | None = None
    dropped: tuple[Dropped, ...] = ()
    conditions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Exported:
    """What an exported file says of itself.

    Attributes:
        path: of the file.
        tree: its metadata: the keys of a model folder's ``config.json``, and those of the signature.
        signature: what the network takes.
        digest: the SHA-256 of what the file holds, as soon as it is known.
    """

    path: Path
    tree: Mapping[str, Any]
    signature: Signature
    digest: Future[str]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights that it was made from, in hex."""
        return str(self.tree["sha256"])

    @property
    def description(self) -> ModelDescription:
        """The description of the model.

        Raises:
            ModelError: it cannot be understood.
        """
        from pixloom.modelfile import parse_description

        return parse_description(dict(self.tree), where=self.path)

    def check(self) -> None:
        """Make sure that network and metadata are as they were written.

        Raises:
            ModelError: they are not.
        """
        if self.digest.result() != self.tree["digest"]:
            raise ModelError("the exported model is damaged", where=self.path, why="its checksum is another", fix=_AGAIN)


def metadata(tree: Mapping[str, Any], *, signature: Signature, network: bytes) -> dict[str, str]:
    """What :func:`read_export` reads back: names and texts for the metadata of a serialised network.

    Args:
        tree: what ``modelfile.description_tree`` gives.
        signature: what the network takes.
        network: the file up to its metadata.
    """
    taken = asdict(signature)
    taken["inputs"] = taken.pop("conditions")  # the description has conditions of its own: their vocabularies
    tree = {**tree, **taken, "format": FORMAT, "format_version": FORMAT_VERSION}
    texts = {name: value if name in _TEXTS else json.dumps(value) for name, value in tree.items()}
    return {**texts, "digest": _digest(network, texts)}


def read_export(path: Path) -> Exported:
    """What an exported file says of itself; :meth:`Exported.check` says whether the network is whole.

    Raises:
        ModelError: it is missing, no ONNX file, keeps data in other files, or was not exported by pixloom.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            texts, end = _metadata_of(data)
            if _refers_outside(data, 0, end, message="model"):
                raise ModelError("this ONNX file keeps data in other files", where=path, fix="use a file made by: pixloom export MODEL")
    except OSError as error:
        raise ModelError("the exported model cannot be read", where=path, why=error.strerror, fix="check the path") from error
    except (ValueError, RecursionError) as error:
        raise ModelError("this is no ONNX file, or a damaged one", where=path, why=str(error), fix=_AGAIN) from error
    tree = _tree(texts, where=path)
    signature = _signature(tree, where=path)
    hasher = ThreadPoolExecutor(1)
    digest = hasher.submit(_digest_of_file, path, end, texts)
    hasher.shutdown(wait=False)
    return Exported(path, tree, signature, digest)


def _tree(texts: Mapping[str, str], *, where: Path) -> dict[str, Any]:
    """The metadata as values."""
    if texts.get("format") != FORMAT:
        raise ModelError(
            "this ONNX file was not exported by pixloom", where=where, fix="give a model folder, or a file made by: pixloom export MODEL"
        )
    try:
        tree = {name: text if name in _TEXTS else json.loads(text) for name, text in texts.items()}
    except (ValueError, RecursionError) as error:
        raise ModelError("the exported model's metadata are damaged", where=where, why=str(error), fix=_AGAIN) from error
    if tree.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"the exported model has format {tree.get('format_version')}, this pixloom reads {FORMAT_VERSION}", where=where, fix=_AGAIN
        )
    if not all(re.fullmatch(r"[0-9a-f]{64}", tree.get(name, "")) for name in ("sha256", "digest")):  # parts of file names in the cache
        raise ModelError("the exported model does not say what it was made from", where=where, fix=_AGAIN)
    return tree


def _signature(tree: Mapping[str, Any], *, where: Path) -> Signature:
    """The signature in the metadata, every number within its bounds: the memory that is taken follows from them."""
    try:
        for name in ("source_channels", "target_channels"):
            _whole(tree["generator"]["options"], name, least=1, most=_MOST)
        return Signature(
            size_multiple=_whole(tree, "size_multiple", least=1, most=_MOST),
            min_size=_whole(tree, "min_size", least=1, most=_MOST),
            noise_channels=_whole(tree, "noise_channels", least=0, most=_MOST),
            radius=None if tree["radius"] is None else _whole(tree, "radius", least=0, most=2**31),
            dropped=tuple(_dropped(layer) for layer in tree["dropped"]),
            conditions={str(kind): _shape(shape) for kind, shape in tree.get("inputs", {}).items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError("the exported model's metadata cannot be understood", where=where, why=why, fix=_AGAIN) from error


def _shape(shape: Sequence[Any]) -> tuple[int, ...]:
    if not 1 <= len(shape) <= 3 or not all(type(side) is int and -2 <= side <= _MOST and side for side in shape):
        raise ValueError(f"a condition of shape {shape!r}")
    return tuple(shape)


def _dropped(layer: Mapping[str, Any]) -> Dropped:
    if not (isinstance(layer["probability"], float) and 0 <= layer["probability"] < 1):
        raise ValueError(f"a probability of {layer['probability']!r}")
    channels, stride = (_whole(layer, name, least=1, most=_MOST) for name in ("channels", "stride"))
    return Dropped(channels, stride, layer["probability"])


def _whole(tree: Mapping[str, Any], name: str, *, least: int, most: int) -> int:
    number = tree[name]
    if type(number) is not int or not least <= number <= most:
        raise ValueError(f"{name} is {number!r}")
    return number


def _digest_of_file(path: Path, end: int, texts: Mapping[str, str]) -> str:
    """In one go over a map of the file: reading it in pieces would wait for the interpreter's lock between any two of them."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
        return _digest(view[:end], texts)


def _digest(network: bytes | memoryview, texts: Mapping[str, str]) -> str:
    """SHA-256 of the network and of the metadata but for the digest itself."""
    others = sorted((name, text) for name, text in texts.items() if name != "digest")
    digest = hashlib.sha256(network)
    digest.update(json.dumps(others).encode("ascii"))
    return digest.hexdigest()


# --- Protocol buffers, as far as needed ----------------------------------------------------------------------------------------------

_METADATA = 14  # ModelProto.metadata_props: pairs of key (1) and value (2)

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Where tensors can be in an ONNX file: message -> number of a field -> message in it (ONNX's onnx.proto)."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto
_SIZED, _FIXED = 2, {1: 8, 5: 4}  # kinds of fields: with their length before them, and of a fixed one


def _metadata_of(data: mmap.mmap) -> tuple[dict[str, str], int]:
    """The metadata at the end of a file, and where they begin."""
    texts: dict[str, str] = {}
    end = 0
    for number, start, stop in _fields(data, 0, len(data)):
        if number == _METADATA:
            pair = {key: data[at:until].decode("utf-8") for key, at, until in _fields(data, start, stop)}
            texts[pair.get(1, "")] = pair.get(2, "")
        elif texts:
            raise ValueError("something stands after the metadata")
        else:
            end = stop
    return texts, end


def _refers_outside(data: mmap.mmap, start: int, stop: int, *, message: str) -> bool:
    """Whether any tensor in a message has its values in another file."""
    if message == "tensor":
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and _varint(data, at, until)[0] != 0)
            for number, at, until in _fields(data, start, stop)
        )
    return any(
        _refers_outside(data, at, until, message=_PARTS[message][number])
        for number, at, until in _fields(data, start, stop)
        if number in _PARTS[message]
    )


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message: number, and where the value begins and ends."""
    while start < stop:
        key, start = _varint(data, start, stop)
        if key & 7 == _SIZED:
            size, start = _varint(data, start, stop)
            end = start + size
        elif key & 7 in _FIXED:
            end = start + _FIXED[key & 7]
        elif key & 7 == 0:
            end = _varint(data, start, stop)[1]
        else:
            raise ValueError(f"a field of kind {key & 7}")
        if end > stop:
            raise ValueError("it ends too early")
        yield key >> 3, start, end
        start = end


def _varint(data: mmap.mmap, start: int, stop: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, the lowest first; and where it ends."""
    number = 0
    for place in range(start, min(stop, start + 10)):
        number |= (data[place] & 127) << 7 * (place - start)
        if data[place] < 128:
            return number, place + 1
    raise ValueError("it ends too early")
