"""An exported model in whole numbers of eight bits: a quarter of the size, on some processors faster; what that costs is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pixloom.errors import ConfigError, ModelError, require
from pixloom.files import new_file
from pixloom.inference.choice import find_model, installed
from pixloom.inference.export import Export, as_onnx, bare, with_metadata
from pixloom.inference.onnxfile import read_export
from pixloom.inference.parity import answer, compare, real, seconds_of, sizes_of
from pixloom.inference.place import place_for, quietly
from pixloom.inference.runtimes import EXPORTED, Runtime, TorchRuntime, feeds
from pixloom.modelfile import load_model, read_description

INT8 = "model-int8.onnx"
"""The name of the file inside a model folder, unless another is given."""

LEAST_PSNR = 30.0
"""In dB against the network's own outputs: below it, eight bits are seen to be missing."""

CALIBRATED, JUDGED = 32, 8
"""Pictures that ranges are taken from, and others that the loss is measured on, at most."""

FEWEST = 4
"""Pictures below which no ranges are taken."""

_SEED = 0


def export_int8(
    model: str | Path,
    *,
    pictures: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Export:
    """Write a model as an ONNX file that computes in eight bits, calibrated on pictures, and measure its loss on others.

    Weights per output channel, symmetric; activations by the range that keeps most of what they say (least relative entropy), over the
    pictures (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018; for
    the ranges Migacz, "8-bit Inference with TensorRT", 2017). The file is used like an exported one.

    Args:
        model: a model folder or a run folder.
        pictures: a folder of sources; None: the held-out ones of the model's own run.
        out: the file; by default ``model-int8.onnx`` in the model folder.
        overwrite: whether an existing file is replaced.
        say: called with a line once nothing more stands in the way.

    Raises:
        ConfigError: no pictures, or too few.
        DependencyError: the extra ``export`` is not installed.
        ModelError: no model there; or too much is lost (:data:`LEAST_PSNR`): then nothing is written.
        OutputError: the file exists, or cannot be written.
    """
    folder = find_model(Path(model))
    path = place_for(out, usual=folder / INT8, what="a model in eight bits", overwrite=overwrite)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="export", purpose="exporting a model")
    generator, description = load_model(folder)
    reference = TorchRuntime(generator, description.inference, device="cpu")
    inputs = real(folder, reference, description, folder=None if pictures is None else Path(pictures), most=CALIBRATED + JUDGED)
    if len(inputs) < FEWEST:
        raise ConfigError(
            "eight bits need pictures to take their ranges from",
            why=f"{len(inputs)} could be had",
            fix="--pictures FOLDER with a few dozen sources like those that will be translated",
        )
    count = max(1, min(JUDGED, len(inputs) // 4))
    judged, calibrated = inputs[:count], inputs[count:]
    say(f"calibrating on {len(calibrated)} pictures; this takes a minute ...")
    network, signature = as_onnx(generator, description)
    expected = [answer(reference, given) for given in judged]
    rows = [feeds(signature, given.source, condition=given.condition or None, seed=_SEED) for given in calibrated]
    quantised = _quantised(network, rows)
    with new_file(path, what="the model in eight bits") as draft:
        draft.write_bytes(with_metadata(quantised, signature, description, sha256=read_description(folder)[1]))
        runtimes: dict[str, Runtime] = {f"{name}, int8": EXPORTED[name](read_export(draft)) for name in installed()}
        differences = {name: compare(runtime, judged, expected) for name, runtime in runtimes.items()}
        for name, found in differences.items():
            if found.psnr < LEAST_PSNR:
                raise ModelError(
                    "eight bits are too few for this model",
                    why=f"its pictures have {found.psnr:.1f} dB against the network's own with {name}, and {LEAST_PSNR:g} are wanted",
                    fix="calibrate on more pictures, or export in full precision: pixloom export MODEL",
                )
    seconds = seconds_of({"torch": reference, **runtimes}, judged[0])
    return Export(path, sizes_of(judged), differences, seconds, {}, pictures=len(judged))


def _quantised(network: bytes, rows: Sequence[dict[str, Any]]) -> bytes:
    """The network with quantised convolutions and products, their ranges taken from what it is given in ``rows``."""
    onnx = require("onnx", extra="export", purpose="exporting a model in eight bits")
    quantization = require("onnxruntime.quantization", extra="export", purpose="exporting a model in eight bits")
    preparing = require("onnxruntime.quantization.shape_inference", extra="export", purpose="exporting a model in eight bits")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        """Gives what the network is given, one by one."""

        def __init__(self) -> None:
            self.left = iter(rows)

        def __len__(self) -> int:
            return len(rows)

        def set_range(self, start_index: int, end_index: int) -> None:
            """Go on with some of them."""
            self.left = iter(rows[start_index:end_index])

        def get_next(self) -> dict[str, Any] | None:
            """The next one, or None."""
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as place, quietly():
        plain, prepared, made = (Path(place) / name for name in ("plain.onnx", "prepared.onnx", "made.onnx"))
        plain.write_bytes(network)
        preparing.quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(made),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Entropy,
            # Of one picture's activations at a time, whatever the method: all of them together filled 18 GB with SPADE at 256 px.
            extra_options={"CalibStridedMinMax": 1},
        )
        return bare(onnx.load(made))
