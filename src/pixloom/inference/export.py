"""A trained generator as one ONNX file, which is used without torch: made, compared with the network it was made from, and timed."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.errors import ModelError, first_line, require
from pixloom.files import new_file, remove_old_drafts
from pixloom.inference.choice import find_model, fresh_export, installed, remember
from pixloom.inference.onnxfile import EXPORT, Dropped, Signature, metadata, read_export
from pixloom.inference.parity import MOST_DIFFERENCE, Difference, answer, check, compare, flat, made_up, real, seconds_of, sizes_of
from pixloom.inference.place import place_for
from pixloom.inference.runtimes import EXPORTED, OnnxRuntime, Runtime, TorchRuntime, no_condition, shapes_of, signature_of
from pixloom.modelfile import ModelDescription, description_tree, load_model, read_description
from pixloom.nets.layers import BatchNorm2d, Dropout
from pixloom.nets.steering import Steer

_MOST_BYTES = 2 * 2**30 - 2**20  # of a file of protocol buffers


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        path: of the file.
        sizes: height and width of the pictures on which it was compared, the trained size first.
        differences: from torch by runtime. A runtime beside ONNX Runtime that differs by more than :data:`MOST_DIFFERENCE` has no time.
        seconds: per picture of the trained size, by runtime; what ``auto`` goes by from now on.
        flat: how far runtimes are from torch on pictures of one value. Instance norm divides by a deviation of nearly nothing there, layer
            after layer, so that of a network that has it only rounding is left, in torch as well.
        pictures: how many of the pictures that were compared are real.
    """

    path: Path
    sizes: tuple[tuple[int, int], ...]
    differences: dict[str, Difference]
    seconds: dict[str, float]
    flat: dict[str, Difference]
    pictures: int = 0


def export_onnx(
    model: str | Path,
    *,
    out: str | Path | None = None,
    pictures: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Export:
    """Write a model as one ONNX file, compare it with torch and measure which runtime is the fastest here.

    The file's input is ``source`` (batch, channels, height, width), float32 in [-1, 1], sides multiples of its ``size_multiple``; then the
    conditions by their kinds, zero where nothing is stated; then
    ``noise`` (batch, noise_channels) where the generator has some, and ``kept_1``, ``kept_2``, ... where dropout stays on as noise: what
    each layer multiplies its maps by (see ``runtimes.draw_kept``). The output is ``output``. Its metadata say everything else.

    Args:
        model: a model folder or a run folder.
        out: the file; by default ``model.onnx`` in the model folder, where :class:`Translator` finds it.
        pictures: a folder of sources to compare on, besides pictures that are made up; None: held-out ones of the model's run, where its
            data is at hand.
        overwrite: whether an existing file is replaced.
        say: called with a line once nothing more stands in the way.

    Raises:
        DependencyError: the extra ``export`` is not installed.
        ModelError: no model there; or one that cannot be exported, or whose export gives something else: then nothing is written.
        OutputError: the file exists, or cannot be written.
    """
    folder = find_model(Path(model))
    path = place_for(out, usual=folder / EXPORT, what="an exported model", overwrite=overwrite)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="export", purpose="exporting a model")
    remove_old_drafts(path)
    sha256 = read_description(folder)[1]
    generator, description = load_model(folder)
    say("exporting the model; this takes a minute ...")
    reference = TorchRuntime(generator, description.inference, device="cpu")
    network, signature = as_onnx(generator, description)
    shown = real(folder, reference, description, folder=None if pictures is None else Path(pictures))
    inputs = [*made_up(description, signature), *shown]
    expected = [answer(reference, given) for given in inputs]
    with new_file(path, what="the exported model") as draft:
        draft.write_bytes(with_metadata(network, signature, description, sha256=sha256))
        runtimes: dict[str, Runtime] = {"onnxruntime": OnnxRuntime(read_export(draft))}
        differences = {"onnxruntime": compare(runtimes["onnxruntime"], inputs, expected)}
        check(differences["onnxruntime"], what="the exported model")
        if read_description(folder)[1] != sha256:
            raise ModelError(
                "the model was replaced while it was exported", where=folder, why="a training wrote a better one", fix="try again"
            )
    for name in installed():
        if name not in runtimes:  # these keep what they compile by the file's place, so it has to be there
            runtimes[name] = EXPORTED[name](read_export(path))
            differences[name] = compare(runtimes[name], inputs, expected)
    even = flat(signature, inputs[0])
    expected_flat = [answer(reference, given) for given in even]
    flat_differences = {name: compare(runtime, even, expected_flat) for name, runtime in runtimes.items()}
    agreeing = {name: runtime for name, runtime in runtimes.items() if differences[name].largest <= MOST_DIFFERENCE}
    seconds = seconds_of({"torch": reference, **agreeing}, inputs[0])
    remember(sha256, seconds)
    return Export(path, sizes_of(inputs), differences, seconds, flat_differences, pictures=len(shown))


def measure(folder: Path) -> dict[str, float]:
    """Time torch and the runtimes that are here on the export in a model folder, and remember it for ``auto``; seconds by name.

    Raises:
        ModelError: there is no export of the model as it is now.
    """
    exported = fresh_export(folder)
    generator, description = load_model(folder)
    reference = TorchRuntime(generator, description.inference, device="cpu")
    inputs = made_up(description, exported.signature)
    expected = [answer(reference, given) for given in inputs]
    runtimes = {name: EXPORTED[name](exported) for name in installed()}
    agreeing = {name: one for name, one in runtimes.items() if compare(one, inputs, expected).largest <= MOST_DIFFERENCE}
    seconds = seconds_of({"torch": reference, **agreeing}, inputs[0])
    remember(exported.sha256, seconds)
    return seconds


# --- From the network to the file ----------------------------------------------------------------------------------------------------


def with_metadata(network: bytes, signature: Signature, description: ModelDescription, *, sha256: str) -> bytes:
    """A serialised network as a file that says all that is needed to use it, see ``onnxfile``.

    Args:
        network: without metadata.
        signature: what it takes.
        description: of the model.
        sha256: of the weights that it was made from.
    """
    return network + _tail(metadata(description_tree(description, sha256=sha256), signature=signature, network=network))


def as_onnx(generator: nn.Module, description: ModelDescription) -> tuple[bytes, Signature]:
    """The serialised network, without metadata, and what it takes.

    Raises:
        ModelError: it cannot be exported.
    """
    if sum(tensor.nbytes for tensor in generator.state_dict().values()) > _MOST_BYTES:
        raise ModelError("the model is too large for one ONNX file", why="that holds at most 2 GB", fix="use it with torch")
    network, arguments, signature = exportable(generator, description)
    try:
        with _quietly():
            program = torch.onnx.export(network.eval(), **arguments, dynamo=True, external_data=False, verbose=False)
    except Exception as error:  # the exporter's errors have no class in common
        cause = error.__cause__ or error
        why = first_line(cause)
        raise ModelError("this network cannot be exported", why=why, fix="use the model with torch") from error
    assert program is not None
    return bare(program.model_proto), signature


def exportable(generator: nn.Module, description: ModelDescription) -> tuple[nn.Module, dict[str, Any], Signature]:
    """The network with all that it takes as inputs, example arguments of an exporter, and its signature.

    Raises:
        ModelError: it cannot be exported.
    """
    shapes = _smallest_maps(generator)
    layers = [module for module in generator.modules() if isinstance(module, Dropout) and module.as_noise]
    dropped = tuple(_dropped(layer, shapes[layer], side=_smallest(generator)) for layer in layers)
    signature = signature_of(generator, description.inference, dropped=dropped)
    network = _Exportable(generator, single_pixels=[layer for layer, shape in shapes.items() if shape[2:] == (1, 1)])
    return network, _arguments(generator, signature), signature


class OneByOne(nn.Module):
    """An exportable network with its inputs one by one, in the order of :func:`runtimes.feeds`."""

    def __init__(self, network: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.network, self.noise, self.kinds = network, bool(signature.noise_channels), len(signature.conditions)

    def forward(self, *given: Tensor) -> Tensor:
        """To the output."""
        source, *others = given
        noise, rest = (others[:1], others[1:]) if self.noise else ([], others)
        output: Tensor = self.network(source, rest[: self.kinds], noise, rest[self.kinds :])
        return output


def one_by_one(arguments: tuple[Any, list[Any], list[Any], list[Any]]) -> tuple[Any, ...]:
    """The arguments of an exportable network in the order in which :class:`OneByOne` takes them."""
    source, stated, noise, kept = arguments
    return (source, *noise, *stated, *kept)


def _smallest(generator: nn.Module) -> int:
    """The smallest side that keeps the network's rules."""
    multiple, least = int(generator.size_multiple), int(generator.min_size)  # type: ignore[arg-type]
    return -(-least // multiple) * multiple


def _smallest_maps(generator: nn.Module) -> dict[nn.Module, tuple[int, ...]]:
    """The shape of what every layer gives for the smallest picture."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, given: object, output: Tensor | Steer) -> None:
        if isinstance(output, Tensor):
            shapes[module] = tuple(output.shape)

    hooks = [module.register_forward_hook(note) for module in generator.modules() if not list(module.children())]
    side, options = _smallest(generator), dict(generator.options)  # type: ignore[arg-type]
    channels = int(generator.noise_channels)  # type: ignore[arg-type]
    with torch.inference_mode():
        generator(torch.zeros(1, options["source_channels"], side, side), None, torch.zeros(1, channels) if channels else None)
    for hook in hooks:
        hook.remove()
    return shapes


def _dropped(layer: Dropout, shape: tuple[int, ...], *, side: int) -> Dropped:
    if shape[2] != shape[3] or side % shape[2]:
        raise ModelError(
            "this network cannot be exported",
            why=f"dropout stays on, on maps of {shape[2]} x {shape[3]} for {side} x {side} pixels, which is no whole fraction",
            fix="use the model with torch",
        )
    return Dropped(channels=shape[1], stride=side // shape[2], probability=layer.probability)


def _arguments(generator: nn.Module, signature: Signature) -> dict[str, Any]:
    """Example inputs with their names, and which of their dimensions vary: sizes at which no layer takes a short cut for small maps."""
    height, width = 2 * _smallest(generator), 3 * _smallest(generator)
    options: dict[str, Any] = dict(generator.options)  # type: ignore[arg-type]
    noise = [torch.zeros(2, signature.noise_channels)] if signature.noise_channels else []
    stated = [zeros.expand(2, *zeros.shape[1:]).contiguous() for zeros in _nothing(signature, height=height, width=width).values()]
    spatial = [{0: "batch", 2: "height", 3: "width"} if -1 in shape else {0: "batch"} for shape in signature.conditions.values()]
    kept = [torch.ones(1, layer.channels, height // layer.stride, width // layer.stride) for layer in signature.dropped]
    names = [f"kept_{number}" for number in range(1, len(kept) + 1)]
    sizes = [{2: f"{name}_height", 3: f"{name}_width"} for name in names]
    return {
        "args": (torch.zeros(2, options["source_channels"], height, width), stated, noise, kept),
        "input_names": ["source", *signature.conditions, *(["noise"] if noise else []), *names],
        "output_names": ["output"],
        "dynamic_shapes": ({0: "batch", 2: "height", 3: "width"}, spatial, [{0: "batch"} for _ in noise], sizes),
    }


def _nothing(signature: Signature, *, height: int, width: int) -> dict[str, Tensor]:
    """Conditions that state nothing, for one picture."""
    nothing = no_condition(signature, np.zeros((1, 1, height, width), np.float32))
    return {kind: torch.from_numpy(zeros) for kind, zeros in nothing.items()}


class _Exportable(nn.Module):
    """A generator as a pure function of its inputs: what dropout keeps is one of them, and nothing depends on sizes.

    Args:
        generator: the network; its weights are shared, it stays as it is.
        single_pixels: its layers that give maps of one pixel for the smallest picture.
    """

    def __init__(self, generator: nn.Module, *, single_pixels: Sequence[nn.Module]) -> None:
        super().__init__()
        shared = {id(tensor): tensor for tensor in (*generator.parameters(), *generator.buffers())}
        self.generator = copy.deepcopy(generator, shared)
        self.inputs, self.kinds = _Inputs(), tuple(shapes_of(generator))
        number = 0
        for (name, layer), (_, original) in zip(list(self.generator.named_modules()), generator.named_modules(), strict=True):
            if isinstance(layer, Dropout) and layer.as_noise:
                self.generator.set_submodule(name, _Kept(self.inputs, number))
                number += 1
            elif isinstance(layer, BatchNorm2d) and layer.statistics == "image" and original in single_pixels:
                self.generator.set_submodule(name, _EitherStatistics(layer))

    def forward(self, source: Tensor, stated: list[Tensor], noise: list[Tensor], kept: list[Tensor]) -> Tensor:
        """Translate; ``stated`` is one tensor for each condition, ``noise`` is empty or one, ``kept`` one for each layer of dropout."""
        self.inputs.kept = kept
        condition = dict(zip(self.kinds, stated, strict=True))
        output: Tensor = self.generator(source, condition or None, *noise)
        return output


class _Inputs:
    """Where layers deep inside find the inputs of the call."""

    kept: Sequence[Tensor] = ()


class _Kept(nn.Module):
    """Dropout whose choice is an input."""

    def __init__(self, inputs: _Inputs, number: int) -> None:
        super().__init__()
        self.inputs, self.number = inputs, number

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.inputs.kept[self.number]


class _EitherStatistics(nn.Module):
    """``BatchNorm2d`` with the statistics of the picture, and the running ones for maps of one pixel, without a branch."""

    def __init__(self, layer: BatchNorm2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Tensor) -> Tensor:
        layer = self.layer
        own = F.instance_norm(maps, weight=layer.weight, bias=layer.bias, eps=layer.eps)
        running = F.batch_norm(maps, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)
        is_single = torch.full((), maps.shape[2] * maps.shape[3]) == 1
        return torch.where(is_single, running, own)


def bare(model: Any) -> bytes:
    """The serialised network without what the exporter notes beside it: source lines, paths, names of modules."""
    graph = model.graph
    for thing in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        thing.doc_string = ""
        del thing.metadata_props[:]
    del graph.value_info[:]
    del model.metadata_props[:]
    content: bytes = model.SerializeToString()
    return content


def _tail(texts: Mapping[str, str]) -> bytes:
    """Metadata as the last field of a file: protocol buffers that are joined are one message."""
    onnx = require("onnx", extra="export", purpose="exporting a model")
    pairs = [onnx.StringStringEntryProto(key=key, value=value) for key, value in texts.items()]
    content: bytes = onnx.ModelProto(metadata_props=pairs).SerializeToString()
    return content


@contextmanager
def _quietly() -> Iterator[None]:
    """No remarks of the exporter on packages that are not needed, nor on its own inside."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
