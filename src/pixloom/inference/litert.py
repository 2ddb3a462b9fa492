"""A trained generator as one LiteRT file (formerly TensorFlow Lite), for phones and small computers: pictures of one size."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.errors import ModelError, first_line, require
from pixloom.files import new_file
from pixloom.inference.choice import find_model
from pixloom.inference.export import Export, OneByOne, exportable
from pixloom.inference.onnxfile import Signature
from pixloom.inference.parity import Input, answer, check, compare, made_up, real, seconds_of, sizes_of
from pixloom.inference.place import place_for, quietly
from pixloom.inference.runtimes import TorchRuntime, feeds
from pixloom.modelfile import load_model

LITERT = "model.tflite"
"""The name of the file inside a model folder, unless another is given."""

NAME = "litert"


class LiteRt:
    """An exported file in the LiteRT interpreter, on the CPU."""

    name = NAME
    batch_size = 1

    def __init__(self, path: Path, signature: Signature) -> None:
        interpreter = require("ai_edge_litert.interpreter", extra="litert", purpose="running a LiteRT file")
        self.signature = signature
        self.interpreter = interpreter.Interpreter(model_path=str(path), num_threads=torch.get_num_threads())
        self.runner = self.interpreter.get_signature_runner()

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`; one picture of the size that the file is for."""
        values = list(feeds(self.signature, source, condition=condition, seed=seed).values())
        names = [f"args_{place}" for place in range(len(values))]
        (output,) = self.runner(**dict(zip(names, values, strict=True))).values()
        return np.asarray(output)


def export_litert(
    model: str | Path, *, out: str | Path | None = None, pictures: str | Path | None = None, overwrite: bool = False
) -> Export:
    """Write a model as a LiteRT file for one picture of the trained size, and compare it with the network.

    Inputs and output are float32 in [-1, 1], (1, channels, height, width): the source, then noise, conditions and what dropout keeps, as
    far as the network has them. It is made by Google's ``litert-torch``.

    Args:
        model: a model folder or a run folder.
        out: the file; by default ``model.tflite`` in the model folder.
        pictures: a folder of sources to compare on, see :func:`export.export_onnx`.
        overwrite: whether an existing file is replaced.

    Raises:
        DependencyError: the extra ``litert`` is not installed.
        ModelError: no model there; or one that cannot be exported, or whose file gives something else: then nothing is written.
        OutputError: the file exists, or cannot be written.
    """
    folder = find_model(Path(model))
    path = place_for(out, usual=folder / LITERT, what="a LiteRT model", overwrite=overwrite)
    litert = require("litert_torch", extra="litert", purpose="exporting to LiteRT")
    generator, description = load_model(folder)
    reference = TorchRuntime(generator, description.inference, device="cpu")
    network, _, signature = exportable(without_output_padding(copy.deepcopy(generator)), description)
    first = made_up(description, signature)[0]
    shown = [_cut(given, first) for given in real(folder, reference, description, folder=None if pictures is None else Path(pictures))]
    inputs = [first, *(given for given in shown if given is not None)]
    expected = [answer(reference, given) for given in inputs]
    rows = feeds(signature, first.source, condition=first.condition or None, seed=0)
    arguments = tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in rows.values())
    try:
        with quietly():
            made: Any = litert.convert(OneByOne(network, signature).eval(), arguments)
    except Exception as error:  # the converter's errors have no class in common
        why = first_line(error)
        raise ModelError("this network cannot be exported to LiteRT", why=why[:300], fix="pixloom export MODEL, for ONNX") from error
    with new_file(path, what="the LiteRT model") as draft:
        with quietly():
            made.export(str(draft))
            runtime = LiteRt(draft, signature)
        differences = {NAME: compare(runtime, inputs, expected)}
        check(differences[NAME], what="the LiteRT model")
    seconds = seconds_of({"torch": reference, NAME: runtime}, first)
    return Export(path, sizes_of([first]), differences, seconds, {}, pictures=len(inputs) - 1)


def without_output_padding(network: nn.Module) -> nn.Module:
    """The network with its transposed convolutions that pad their output written as convolutions, which the converter has a rule for."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ConvTranspose2d) and any(layer.output_padding):
                setattr(parent, name, Spread(layer))
    return network


class Spread(nn.Module):
    """A transposed convolution as a convolution of its input with zeros between the pixels, its kernel turned over.

        y = conv(pad(x with s - 1 zeros after every row and column), flip(W)^T),   k - 1 - p before, k - 1 - p + o - (s - 1) after

    for a square kernel k, stride s, padding p and output padding o.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.stride = layer.stride[0]
        before = layer.kernel_size[0] - 1 - int(layer.padding[0])
        self.pad = (before, before + layer.output_padding[0] - (self.stride - 1)) * 2
        self.register_buffer("weight", layer.weight.detach().flip(2, 3).transpose(0, 1).contiguous())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inner, height, width) to (batch, outer, s height, s width) where k + o = s + 2 p."""
        batch, channels, height, width = maps.shape
        zeros = self.stride - 1
        rows = F.pad(maps[:, :, :, None], (0, 0, 0, zeros)).reshape(batch, channels, self.stride * height, width)
        spread = F.pad(rows[..., None], (0, zeros)).reshape(batch, channels, self.stride * height, self.stride * width)
        return F.conv2d(F.pad(spread, self.pad), self.weight, self.bias)


def _cut(given: Input, like: Input) -> Input | None:
    """A real input cut to the size that the file is for; None where it is smaller, or conditions have places."""
    height, width = like.source.shape[2:]
    if given.source.shape[2] < height or given.source.shape[3] < width or any(values.ndim == 4 for values in given.condition.values()):
        return None
    return Input(np.ascontiguousarray(given.source[:1, :, :height, :width]), {kind: values[:1] for kind, values in given.condition.items()})
