"""Other formats than ONNX in full precision: what they give is what the network gives, or they are not written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from console import Console
from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError
from pixloom.images import Picture, from_model, write
from pixloom.inference import parity, quantize
from pixloom.inference.export import export_onnx
from pixloom.inference.litert import Spread, export_litert
from pixloom.inference.parity import MOST_DIFFERENCE, real
from pixloom.inference.program import NOTE, export_program
from pixloom.inference.quantize import INT8, export_int8
from pixloom.inference.runtimes import TorchRuntime
from pixloom.inference.translator import Translator
from pixloom.modelfile import load_model
from test_export import save


@pytest.fixture(autouse=True)
def no_checks_of_shapes() -> Iterator[None]:
    """Comparing shapes, as tests do, would fix the sizes that are to vary."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def photos(folder: Path, *, count: int = 8, side: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        values = parity._like_pictures(1, 3, height=side, width=side + 8)[0]
        write(Picture(from_model(np.roll(values, number * 5, axis=2), dtype=np.uint8)), folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_a_program_of_torch_gives_what_the_network_gives(name, tmp_path):
    save(tmp_path / "model", name)
    made = export_program(tmp_path / "model")
    assert made.differences["torch.export"].largest <= MOST_DIFFERENCE
    note = {NOTE: ""}
    torch.export.load(made.path, extra_files=note)
    tree = json.loads(note[NOTE])
    assert tree["description"]["generator"]["name"] == name
    assert tree["inputs"][0] == "source"
    with pytest.raises(OutputError, match="exists already"):
        export_program(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"\.pt2 file"):
        export_program(tmp_path / "model", out=tmp_path / "x.onnx")


def test_eight_bits_are_calibrated_on_pictures_and_used_like_an_export(tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "LEAST_PSNR", 5.0)  # of random weights
    save(tmp_path / "model", "encoder_decoder")
    made = export_int8(tmp_path / "model", pictures=photos(tmp_path / "photos"))
    assert made.path == tmp_path / "model" / INT8
    found = made.differences["onnxruntime, int8"]
    assert 5 < found.psnr < 100
    assert made.pictures == 2
    assert made.seconds.keys() >= {"torch", "onnxruntime, int8"}
    picture = Image.open(tmp_path / "photos" / "0.png")
    small, whole = (np.asarray(Translator.from_pretrained(path)(picture)).astype(int) for path in (made.path, tmp_path / "model"))
    assert small.shape == whole.shape
    assert 0 < np.abs(small - whole).mean() < 60


def test_too_much_loss_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "LEAST_PSNR", 90.0)
    save(tmp_path / "model", "encoder_decoder")
    pictures = photos(tmp_path / "photos")
    before = sorted((tmp_path / "model").iterdir())
    with pytest.raises(ModelError, match="eight bits are too few"):
        export_int8(tmp_path / "model", pictures=pictures)
    assert sorted((tmp_path / "model").iterdir()) == before


def test_eight_bits_need_pictures(tmp_path):
    save(tmp_path / "model", "encoder_decoder")
    with pytest.raises(ConfigError, match=r"(?s)eight bits need pictures.*--pictures"):
        export_int8(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no pictures here that this model takes"):
        export_int8(tmp_path / "model", pictures=tmp_path / "empty")


def test_an_export_is_compared_on_real_pictures_of_a_folder_or_of_its_run(tmp_path):
    from pixloom.training.api import train
    from tiny import tiny_config, write_pairs

    save(tmp_path / "model", "encoder_decoder")
    assert export_onnx(tmp_path / "model", pictures=photos(tmp_path / "photos")).pictures == 8
    assert export_onnx(tmp_path / "model", overwrite=True).pictures == 0
    train(tiny_config(write_pairs(tmp_path / "pairs"), training__images=2), out=tmp_path / "run", quiet=True)
    generator, description = load_model(tmp_path / "run" / "model")
    shown = real(tmp_path / "run" / "model", TorchRuntime(generator, description.inference, device="cpu"), description)
    assert shown, "the held-out pictures of the run"
    assert all(given.source.shape[1] == 1 for given in shown)


@pytest.mark.parametrize(("kernel", "stride", "padding", "more", "bias"), [(3, 2, 1, 1, True), (4, 2, 1, 0, False), (5, 3, 1, 2, True)])
def test_a_transposed_convolution_may_be_written_as_a_convolution(kernel, stride, padding, more, bias):
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(3, 5, kernel, stride, padding, more, bias=bias)
    maps = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(Spread(layer)(maps), layer(maps))


def test_litert_where_it_is_installed(tmp_path):
    save(tmp_path / "model", "encoder_decoder")
    try:
        import litert_torch  # noqa: F401
    except ImportError:
        with pytest.raises(DependencyError, match=r"pip install .*litert"):
            export_litert(tmp_path / "model")
        return
    assert export_litert(tmp_path / "model").differences["litert"].largest <= MOST_DIFFERENCE


def test_by_command(tmp_path, capsys):
    console = Console(capsys)
    save(tmp_path / "model", "encoder_decoder")
    done = console("export", tmp_path / "model", "--format", "program")
    assert "torch.export       differs by up to" in done.out
    assert "there is no format 'onx'" in console("export", tmp_path / "model", "--format", "onx").err


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "accelerate", "torchmetrics", "jaxtyping", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Absent())
from pixloom.cli.app import main
main(sys.argv[1:])
"""


def test_an_exported_model_runs_where_torch_is_not_installed(tmp_path):
    save(tmp_path / "model", "encoder_decoder")
    made = export_onnx(tmp_path / "model", out=tmp_path / "there.onnx")
    pictures = photos(tmp_path / "photos", count=2)
    command = ["translate", made.path, pictures, "--out", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 translated" in done.stdout
    with_torch = Translator.from_pretrained(made.path)(Image.open(pictures / "0.png"))
    assert np.array_equal(np.asarray(with_torch), np.asarray(Image.open(tmp_path / "out" / "0.png")))
    failed = subprocess.run([sys.executable, "-c", BLOCKED, "train", "x", "--out", "y"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "this needs the package 'torch'" in failed.stderr
    assert "Traceback" not in failed.stderr
