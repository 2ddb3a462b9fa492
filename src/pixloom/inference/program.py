"""A trained generator as a program that torch runs without Pixloom: what ``torch.export`` writes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixloom.errors import ModelError, first_line
from pixloom.files import new_file
from pixloom.inference.choice import find_model
from pixloom.inference.export import Export, OneByOne, exportable, one_by_one
from pixloom.inference.onnxfile import Signature
from pixloom.inference.parity import answer, check, compare, made_up, real, seconds_of, sizes_of
from pixloom.inference.place import place_for
from pixloom.inference.runtimes import TorchRuntime, feeds
from pixloom.modelfile import description_tree, load_model, read_description

PROGRAM = "model.pt2"
"""The name of the file inside a model folder, unless another is given."""

NOTE = "pixloom.json"
"""What is kept inside it beside the program: the model's description and the names of the inputs."""

NAME = "torch.export"


class ProgramRuntime:
    """An exported program. It takes the inputs of :func:`runtimes.feeds` in their order."""

    name = NAME
    batch_size = 1

    def __init__(self, path: Path, signature: Signature) -> None:
        self.signature = signature
        # The guards note which way comparisons of sizes went in tracing, which changes nothing here: outputs at other sizes are compared.
        self.module = torch.export.load(path).module(check_guards=False)

    def run(self, source: np.ndarray, *, condition: Mapping[str, np.ndarray] | None = None, seed: int) -> np.ndarray:
        """See :meth:`Runtime.run`."""
        rows = [{kind: values[place : place + 1] for kind, values in (condition or {}).items()} for place in range(len(source))]
        return np.concatenate([self._one(source[place : place + 1], row, seed) for place, row in enumerate(rows)])

    def _one(self, source: np.ndarray, condition: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        given = feeds(self.signature, source, condition=condition, seed=seed)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in given.items()}
        with torch.inference_mode():
            output: torch.Tensor = self.module(*tensors.values())
        return output.numpy()


def export_program(
    model: str | Path, *, out: str | Path | None = None, pictures: str | Path | None = None, overwrite: bool = False
) -> Export:
    """Write a model as a program of ``torch.export`` (one picture at a time, of any size that the network takes), and compare it with the
    network.

    ``torch.export.load(FILE).module(check_guards=False)(source, ...)``: the source (1, channels, height, width) in [-1, 1], and after it
    what else the network takes, in the order of :func:`runtimes.feeds`. (The guards note which way comparisons of sizes went in tracing.)

    Args:
        model: a model folder or a run folder.
        out: the file; by default ``model.pt2`` in the model folder.
        pictures: a folder of sources to compare on, see :func:`export.export_onnx`.
        overwrite: whether an existing file is replaced.

    Raises:
        ModelError: no model there; or one that cannot be exported, or whose program gives something else: then nothing is written.
        OutputError: the file exists, or cannot be written.
    """
    folder = find_model(Path(model))
    path = place_for(out, usual=folder / PROGRAM, what="an exported program", overwrite=overwrite)
    generator, description = load_model(folder)
    reference = TorchRuntime(generator, description.inference, device="cpu")
    network, arguments, signature = exportable(generator, description)
    shown = real(folder, reference, description, folder=None if pictures is None else Path(pictures))
    inputs = [*made_up(description, signature), *shown]
    expected = [answer(reference, given) for given in inputs]
    note = {"description": description_tree(description, sha256=read_description(folder)[1]), "inputs": arguments["input_names"]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                OneByOne(network, signature).eval(),
                tuple(tensor[:1] for tensor in one_by_one(arguments["args"])),
                dynamic_shapes={"given": tuple(_symbols(shape) for shape in one_by_one(arguments["dynamic_shapes"]))},
                strict=False,
            )
    except Exception as error:  # the exporter's errors have no class in common
        why = first_line(error)
        raise ModelError("this network cannot be exported", why=why, fix="use the model with torch") from error
    with new_file(path, what="the exported program") as draft:
        torch.export.save(program, draft, extra_files={NOTE: json.dumps(note)})
        runtime = ProgramRuntime(draft, signature)
        try:
            differences = {NAME: compare(runtime, inputs, expected)}
        except RuntimeError as error:
            why = first_line(error)
            raise ModelError("the exported program does not take all sizes", why=why, fix="pixloom export MODEL, for ONNX") from error
        check(differences[NAME], what="the exported program")
    seconds = seconds_of({"torch": reference, NAME: runtime}, inputs[0])
    return Export(path, sizes_of(inputs), differences, seconds, {}, pictures=len(shown))


def _symbols(shape: dict[int, str]) -> dict[int, Any]:
    """Names of dimensions as marks that they vary, but for the batch: what divides them is found out by the exporter."""
    return {place: torch.export.Dim.AUTO for place in shape if place > 1}
