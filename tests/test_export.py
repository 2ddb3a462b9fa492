"""Exported models: the same pictures as torch gives, without torch, and never an export that is stale, damaged or foreign."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from console import Console
from pixloom.cli import doctor
from pixloom.config import InferenceConfig, TaskConfig
from pixloom.errors import ConfigError, DependencyError, ImageError, ModelError, OutputError
from pixloom.files import cache_folder, checksum
from pixloom.images import Picture, read, write
from pixloom.inference import choice, export, parity, runtimes, translator
from pixloom.inference.choice import fastest, fresh_export, has_accelerator, remember
from pixloom.inference.export import Export, export_onnx
from pixloom.inference.onnxfile import EXPORT, Dropped, Signature, metadata, read_export
from pixloom.inference.parity import MOST_DIFFERENCE, Difference, Input
from pixloom.inference.runtimes import EXPORTED, OnnxRuntime, TorchRuntime, draw_kept, draw_noise
from pixloom.inference.translator import Translator
from pixloom.modelfile import DESCRIPTION, WEIGHTS, ModelDescription, describe_generator, load_model, save_model
from pixloom.nets import build
from pixloom.nets.layers import Dropout, initialize, set_noise_seed
from playing import wake

pytestmark = pytest.mark.xdist_group("exports")  # which are made once, in one process

NETWORKS = {
    # Every kind of input that a generator has: a picture, noise, and dropout that stays on.
    "unet": ({"depth": 6, "width": 4, "noise_channels": 2}, InferenceConfig(statistics="image", dropout=True), 64),
    # At 16 pixels its innermost maps are single pixels, which have no statistics of their own.
    "encoder_decoder": ({"width": 4}, InferenceConfig(statistics="image"), 16),
    # Every kind of condition.
    "resnet": (
        {
            "blocks": 1,
            "width": 4,
            "noise_channels": 4,
            "injection": "film",
            "conditions": {"label": 2, "attributes": 2, "text": 3, "map": 2, "image": 1, "style": 4},
        },
        InferenceConfig(),
        32,
    ),
    "enhancer": ({"halvings": 1, "blocks": 1, "local_blocks": 1, "width": 4}, InferenceConfig(), 32),
    "spade": ({"levels": 3, "width": 4, "hidden": 8, "noise_channels": 2}, InferenceConfig(), 32),
    "ugatit": ({"width": 4, "blocks": 1}, InferenceConfig(), 32),
    # Networks at the small size, of scales that are written in different ways.
    "rrdb": ({"scale": 2, "folding": 2, "blocks": 1, "width": 4, "growth": 2, "noise_channels": 2}, InferenceConfig(), 32),
    "srgan": ({"scale": 2, "blocks": 1, "width": 4}, InferenceConfig(), 32),
    # Maps of objects, and the look of each.
    "residual_unet": (
        {"halvings": 2, "width": 4, "noise_channels": 2, "injection": "spade", "conditions": {"objects": 1, "look": 3}},
        InferenceConfig(),
        32,
    ),
    "stargan2": (
        {"width": 4, "halvings": 1, "code": 4, "noise_channels": 2, "hidden": 8, "conditions": {"label": 2, "style": 4}},
        InferenceConfig(),
        32,
    ),
}

CONDITIONS = {
    "label": {"names": ["a", "b"]},
    "attributes": {"names": ["s"], "low": [0.0], "high": [1.0], "exclusive": []},
    "text": {"words": ["red", "blue", "flower"]},
    "map": {
        "classes": [{"name": "x", "colour": [0, 0, 0], "id": 0, "share": 0.5}, {"name": "y", "colour": [9, 9, 9], "id": 1, "share": 0.5}]
    },
    "image": {"channels": 1},
    "style": {"code": 4, "channels": 3},
}
OBJECTS = {"map": {"edges": True}, "style": {"code": 3, "channels": 3, "of_objects": True}}


def save(folder: Path, name: str, *, channels: tuple[int, int] = (3, 3), task: str = "pair") -> None:
    """A model with random weights that are large enough to be seen."""
    options, inference, size = NETWORKS[name]
    torch.manual_seed(0)
    network = build(name, options, source_channels=channels[0], target_channels=channels[1])
    initialize(network, gain=0.2)
    wake(network, gain=0.2)
    network.train()(torch.rand(2, channels[0], 128, 64), None, torch.randn(2, network.noise_channels) if network.noise_channels else None)
    described = ModelDescription(TaskConfig(name=task), describe_generator(name, network), inference, size=size, recipe="test")
    if options.get("conditions"):
        stated = OBJECTS if "look" in options["conditions"] else {name: CONDITIONS[name] for name in options["conditions"]}
        described = replace(described, conditions=stated, condition_dropout=0.1)
    save_model(folder, generator=network, description=described)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIXLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cache_folder()


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory) -> dict[str, tuple[Path, Export]]:
    """Every network, exported once: the model folder, and what was said of it."""
    root, found = tmp_path_factory.mktemp("models"), {}
    jaxtyping.config.update("jaxtyping_disable", True)  # to compare shapes, as tests do, would fix the sizes that are to vary
    try:
        for name in NETWORKS:
            save(root / name, name)
            found[name] = (root / name, export_onnx(root / name))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    return found


@pytest.fixture
def model(made, tmp_path) -> Path:
    """A model folder with its export, to be ill-treated."""
    return shutil.copytree(made["unet"][0], tmp_path / "model")


@pytest.fixture
def quick(made, monkeypatch) -> None:
    """Exporting without torch's exporter: the network is the one that it made before."""
    exported = read_export(made["unet"][0] / EXPORT)
    network = onnx.load(exported.path)
    del network.metadata_props[:]
    monkeypatch.setattr(export, "as_onnx", lambda generator, description: (network.SerializeToString(), exported.signature))


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def as_torch(folder: Path) -> TorchRuntime:
    generator, description = load_model(folder)
    return TorchRuntime(generator, description.inference, device="cpu")


# --- The same pictures ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_an_export_says_how_near_and_how_fast_it_is(made, name):
    exported = made[name][1]
    assert exported.differences.keys() == {"onnxruntime", "openvino"}
    assert all(0 < difference.mean < difference.largest < MOST_DIFFERENCE for difference in exported.differences.values())
    assert exported.seconds.keys() == {"torch", "onnxruntime", "openvino"}
    assert min(exported.seconds.values()) > 0
    assert len(set(exported.sizes)) >= 2


@pytest.mark.parametrize("runtime", EXPORTED)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 64, 64), (1, 128, 64), (3, 64, 192)])
def test_every_runtime_gives_what_torch_gives(made, name, runtime, batch, height, width):
    source = pictures(batch, 3, height, width)
    expected = as_torch(made[name][0]).run(source, seed=7)
    got = EXPORTED[runtime](read_export(made[name][0] / EXPORT)).run(source, seed=7)
    assert (got.shape, got.dtype) == (expected.shape, np.float32)
    assert np.abs(got - expected).max() < MOST_DIFFERENCE


@pytest.mark.parametrize("runtime", EXPORTED)
def test_conditions_steer_an_exported_model_as_they_do_torch(made, runtime):
    folder = made["resnet"][0]
    given = {
        "label": "b",
        "attributes": {"s": 1.2},
        "text": "red flower",
        "map": np.eye(40, 48, dtype=np.uint8),
        "style": np.ones((9, 9, 3), np.uint8),
    }
    source = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    translated = {name: Translator.from_pretrained(folder, runtime=name) for name in ("torch", runtime)}
    for one in ({}, given, {"label": "a"}):
        ours, theirs = (translate(source, given=one).astype(int) for translate in (translated[runtime], translated["torch"]))
        assert np.abs(ours - theirs).max() <= 1
    assert np.abs(translated[runtime](source, given=given).astype(int) - translated[runtime](source)).max() > 1


def test_maps_of_one_pixel_are_normalised_as_torch_does(made):
    folder = made["encoder_decoder"][0]
    source = pictures(1, 3, 16, 16)
    expected = as_torch(folder).run(source, seed=0)
    generator, _ = load_model(folder)
    other = TorchRuntime(generator, InferenceConfig(statistics="running"), device="cpu").run(source, seed=0)
    assert np.abs(other - expected).max() > 100 * MOST_DIFFERENCE
    assert np.abs(OnnxRuntime(read_export(folder / EXPORT)).run(source, seed=0) - expected).max() < MOST_DIFFERENCE


@pytest.mark.parametrize("runtime", ["torch", *EXPORTED])
def test_a_picture_of_a_batch_is_what_it_is_alone_and_the_seed_chooses_the_noise(made, runtime):
    translate = Translator.from_pretrained(made["unet"][0], runtime=runtime, device="cpu")
    values = pictures(3, 3, 50, 70)
    together = translate.generate(values, seed=3)
    assert together.shape == (3, 3, 50, 70)
    for one, picture in zip(together, values, strict=True):
        assert np.abs(translate.generate(picture[None], seed=3)[0] - one).max() < 1e-5
    assert np.abs(translate.generate(values, seed=4) - together).max() > 0.05


def test_noise_and_dropout_are_drawn_as_torch_draws_them():
    layers = torch.nn.Sequential(Dropout(0.5), Dropout(0.2))
    for seed in (0, 5, 2**63 - 1):
        set_noise_seed(layers, seed)
        for number, layer in enumerate(layers, start=1):
            layer.eval().as_noise = True
            expected = layer(torch.ones(2, 5, 6, 7)).numpy()
            drawn = draw_kept(Dropped(5, 8, layer.probability), seed=seed, number=number, height=6, width=7)
            assert np.allclose(drawn, expected)
            assert 0 < (drawn == 0).mean() < 1
    assert draw_noise(0, channels=0, batch=2) is None
    rows = draw_noise(1, channels=4, batch=2)
    assert rows.shape == (2, 4)
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows, draw_noise(2, channels=4, batch=2))


def test_a_comparison_finds_what_differs():
    class Shifted:
        signature = Signature(1, 1)

        def run(self, source: np.ndarray, *, condition: object, seed: int) -> np.ndarray:
            return source + np.float32(0.5) * (source > 0)

    sources = [np.array([[[[1, -1]]]], np.float32), np.full((1, 1, 1, 2), -1, np.float32)]
    inputs = [Input(source, {}) for source in sources]
    found = parity.compare(Shifted(), inputs, sources)
    assert found == Difference(largest=0.5, mean=0.125, psnr=pytest.approx(10 * np.log10(4 / (0.25 / 4))))
    assert parity.compare(Shifted(), inputs[1:], sources[1:]).psnr == np.inf


def test_what_is_compared_on_looks_like_pictures():
    values = parity._like_pictures(2, 3, height=48, width=64)
    assert (values.shape, values.dtype) == ((2, 3, 48, 64), np.float32)
    assert np.abs(values).max() == 1
    assert np.abs(np.diff(values, axis=3)).mean() < 0.7 * np.abs(values - np.roll(values, 24, axis=3)).mean()


# --- The file ------------------------------------------------------------------------------------------------------------------------


def test_the_file_is_whole_and_says_everything_but_nothing_of_this_machine(made):
    folder = made["unet"][0]
    content = (folder / EXPORT).read_bytes()
    loaded = onnx.load_from_string(content)
    onnx.checker.check_model(loaded, full_check=True)
    texts = {entry.key: entry.value for entry in loaded.metadata_props}
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    assert texts["sha256"] == checksum(folder / WEIGHTS)
    assert {key: json.loads(texts[key]) for key in ("task", "generator", "inference", "size")} == {
        key: described[key] for key in ("task", "generator", "inference", "size")
    }
    assert {key: json.loads(texts[key]) for key in ("size_multiple", "min_size", "noise_channels", "radius")} == {
        "size_multiple": 64,
        "min_size": 64,
        "noise_channels": 2,
        "radius": None,
    }
    assert json.loads(texts["dropped"]) == [{"channels": 32, "stride": 16, "probability": 0.5}]
    assert [value.name for value in loaded.graph.input] == ["source", "noise", "kept_1"]
    assert [value.name for value in loaded.graph.output] == ["output"]
    for private in (str(Path(export.__file__).parent), sys.prefix, "site-packages", ".py"):
        assert private.encode() not in content


def test_the_radius_is_that_of_the_network_where_it_is_local():
    network = build("encoder_decoder", {"width": 4}, source_channels=3, target_channels=3)
    assert runtimes.signature_of(network, InferenceConfig(statistics="running")).radius == network.radius
    assert runtimes.signature_of(network, InferenceConfig(statistics="image")).radius is None
    plain = build("resnet", {"width": 4, "blocks": 1, "norm": "none"}, source_channels=3, target_channels=3)
    assert runtimes.signature_of(plain, InferenceConfig(statistics="image")).radius == plain.radius


def test_an_existing_file_is_replaced_only_when_asked_for(quick, model, tmp_path):
    before = (model / EXPORT).read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        export_onnx(model)
    assert (model / EXPORT).read_bytes() == before
    (model / EXPORT).write_bytes(b"old")
    export_onnx(model, overwrite=True)
    assert (model / EXPORT).read_bytes() == before
    assert export_onnx(model, out=tmp_path / "new" / "other.onnx").path.read_bytes() == before
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        export_onnx(model, out=tmp_path / "other.pt")


def test_an_export_that_differs_is_refused_and_leaves_nothing(quick, model, monkeypatch):
    (model / EXPORT).unlink()
    before = sorted(path.name for path in model.iterdir())
    shifted = OnnxRuntime.run
    monkeypatch.setattr(OnnxRuntime, "run", lambda self, source, *, condition, seed: shifted(self, source, seed=seed) + np.float32(2e-4))
    with pytest.raises(ModelError, match="something else than the network"):
        export_onnx(model)
    monkeypatch.setattr(OnnxRuntime, "run", lambda self, source, *, condition, seed: shifted(self, source, seed=seed) * np.float32(np.nan))
    with pytest.raises(ModelError, match="something else than the network"):
        export_onnx(model)
    assert sorted(path.name for path in model.iterdir()) == before


def test_a_further_runtime_that_differs_is_not_used(quick, model, monkeypatch):
    right = EXPORTED["openvino"]

    def wrong(exported):
        runtime = right(exported)
        run = runtime.run
        runtime.run = lambda source, *, condition=None, seed: run(source, seed=seed) + 1
        return runtime

    monkeypatch.setitem(EXPORTED, "openvino", wrong)
    exported = export_onnx(model, overwrite=True)
    assert exported.differences["openvino"].largest > 0.9
    assert exported.seconds.keys() == {"torch", "onnxruntime"}
    remember("f" * 64, {"onnxruntime": 1.0})
    assert fastest("f" * 64, ["onnxruntime", "openvino"]) == "onnxruntime"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(made, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=f"exporting a model needs the package '{package}'") as caught:
        export_onnx(made["unet"][0], out=tmp_path / "x.onnx")
    assert caught.value.fix.startswith('pip install "onnx>')
    assert package in caught.value.fix


def test_a_network_that_cannot_be_exported_is_refused_with_the_reason(made, monkeypatch, tmp_path):
    def failing(*arguments: object, **options: object) -> None:
        raise RuntimeError("step 1 failed") from ValueError("this layer has no counterpart\nand more")

    monkeypatch.setattr(torch.onnx, "export", failing)
    with pytest.raises(ModelError, match="cannot be exported") as caught:
        export_onnx(made["unet"][0], out=tmp_path / "x.onnx")
    assert caught.value.why == "this layer has no counterpart"
    monkeypatch.setattr(export, "_MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="too large for one ONNX file"):
        export_onnx(made["unet"][0], out=tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


# --- Damaged, foreign and hostile files ----------------------------------------------------------------------------------------------


def rewrite(path: Path, network: bytes | None = None, **changes: object) -> Path:
    """The file with other metadata or another network, and a digest that fits."""
    loaded = onnx.load(path)
    tree = {entry.key: entry.value for entry in loaded.metadata_props}
    tree = {key: value if key in ("format", "pixloom", "recipe", "sha256", "digest") else json.loads(value) for key, value in tree.items()}
    del loaded.metadata_props[:]
    network = loaded.SerializeToString() if network is None else network
    signature = Signature(**{key: tree.pop(key) for key in ("size_multiple", "min_size", "noise_channels", "radius")}, dropped=())
    texts = metadata(tree, signature=signature, network=network)
    texts |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()}
    texts = {key: value for key, value in texts.items() if value != "gone"}
    path.write_bytes(network + export._tail(texts))
    return path


@pytest.mark.parametrize("place", [0, 1, 2, 100, 5000, -5000, -2000, -900, -300, -100, -1])
def test_a_changed_byte_is_found_wherever_it_is(model, place):
    content = bytearray((model / EXPORT).read_bytes())
    content[place] ^= 2
    (model / EXPORT).write_bytes(bytes(content))
    with pytest.raises(ModelError) as caught:
        read_export(model / EXPORT).check()
    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"\x00", b"{}", b"\xff" * 50, b"PK\x03\x04 and so on", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b\x0c"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="no ONNX file|not exported by pixloom"):
        Translator.from_pretrained(tmp_path / "a.onnx")


@pytest.mark.parametrize("length", [1, 100, 5000, -1, -500])
def test_a_truncated_file_is_refused(model, length):
    content = (model / EXPORT).read_bytes()
    (model / EXPORT).write_bytes(content[:length])
    with pytest.raises(ModelError):
        read_export(model / EXPORT).check()


def plain(*initializers: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("source", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1])
    nodes = nodes or [helper.make_node("Identity", ["source"], ["output"])]
    return helper.make_model(helper.make_graph(nodes, "g", [value], [output], initializer=initializers))


def outside() -> onnx.TensorProto:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def test_an_onnx_file_from_elsewhere_is_refused(tmp_path):
    onnx.save(plain(), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="not exported by pixloom"):
        Translator.from_pretrained(tmp_path / "a.onnx")


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "sparse", "function"])
def test_a_file_that_reads_other_files_is_refused(model, where):
    constant = helper.make_node("Constant", [], ["output"], value=outside())
    if where == "initializer":
        hostile = plain(outside())
    elif where == "attribute":
        hostile = plain(nodes=[constant])
    elif where == "subgraph":
        branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1])])
        hostile = plain(nodes=[helper.make_node("If", ["source"], ["output"], then_branch=branch, else_branch=branch)])
    elif where == "sparse":
        hostile = plain()
        hostile.graph.sparse_initializer.add().values.CopyFrom(outside())
    else:
        hostile = plain()
        hostile.functions.add().node.append(constant)
    rewrite(model / EXPORT, hostile.SerializeToString())
    with pytest.raises(ModelError, match="keeps data in other files"):
        read_export(model / EXPORT)


def test_data_after_the_metadata_is_refused(model):
    hostile = plain(outside()).SerializeToString()
    (model / EXPORT).write_bytes((model / EXPORT).read_bytes() + hostile)
    with pytest.raises(ModelError, match="after the metadata"):
        read_export(model / EXPORT)


@pytest.mark.parametrize(
    "changes",
    [
        {"size_multiple": 0},
        {"size_multiple": 10**9},
        {"size_multiple": 1.5},
        {"min_size": "-3"},
        {"noise_channels": True},
        {"noise_channels": "gone"},
        {"radius": "far"},
        {"radius": -1},
        {"dropped": [{"channels": 4, "stride": 16, "probability": 1.0}]},
        {"dropped": [{"channels": 4, "stride": 0, "probability": 0.5}]},
        {"dropped": [5]},
        {"dropped": 5},
        {"generator": {"name": "unet", "options": {"source_channels": 3}}},
        {"generator": []},
        {"sha256": "../../../etc/passwd"},
        {"sha256": "gone"},
        {"digest": "gone"},
        {"digest": "../../../etc/passwd"},
        {"format_version": 2},
        {"task": "{"},
        {"task": {"name": "pears"}},
        {"size": 10**9},
        {"inference": "gone"},
        {"facts": 5},
    ],
    ids=str,
)
def test_metadata_that_make_no_sense_are_refused(model, changes):
    rewrite(model / EXPORT, **changes)
    with pytest.raises(ModelError) as caught:
        Translator.from_pretrained(model / EXPORT)
    assert str(model) in str(caught.value)
    assert caught.value.fix


def test_a_file_that_the_runtime_cannot_load_is_an_error_with_a_fix(model):
    rewrite(model / EXPORT, b"")
    for runtime in EXPORTED:
        translate = Translator.from_pretrained(model / EXPORT, runtime=runtime)
        with pytest.raises(ModelError, match="cannot load") as caught:
            translate(np.zeros((8, 8, 3), np.uint8))
        assert "export it again" in caught.value.fix


# --- Which runtime -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_cpu(monkeypatch) -> None:
    monkeypatch.setattr(choice, "has_accelerator", lambda: False)


def test_a_fresh_export_is_used_unless_torch_is_asked_for(made, on_cpu):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    folder = made["unet"][0]
    expected = Translator.from_pretrained(folder, runtime="torch")(image, seed=2)
    for runtime in ("auto", *EXPORTED):
        translate = Translator.from_pretrained(folder, runtime=runtime)
        assert translate.runtime.name in EXPORTED if runtime == "auto" else translate.runtime.name == runtime
        assert np.abs(translate(image, seed=2).astype(int) - expected).max() <= 1
        assert translate.device.type == "cpu"
        assert translate.batch_size == 1
    assert Translator.from_pretrained(folder, runtime="torch").runtime.name == "torch"


def test_on_an_accelerator_torch_is_used(made, monkeypatch):
    monkeypatch.setattr(choice, "has_accelerator", lambda: True)
    folder = made["unet"][0]
    assert Translator.from_pretrained(folder).runtime.name == "torch"
    assert Translator.from_pretrained(folder, device="cpu").runtime.name in EXPORTED
    assert Translator.from_pretrained(folder, runtime="onnxruntime").runtime.name == "onnxruntime"


def test_an_accelerator_is_seen_without_torch(monkeypatch):
    there: set[str] = set()
    monkeypatch.setattr(choice.os.path, "exists", lambda path: path in there)
    monkeypatch.setattr(choice.shutil, "which", lambda name: None)
    monkeypatch.setattr(choice.importlib.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setattr(choice.platform, "system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not has_accelerator()
    there.add("/proc/driver/nvidia/version")
    assert has_accelerator()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not has_accelerator()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(choice.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert not has_accelerator()
    monkeypatch.setattr(choice.platform, "system", lambda: "Darwin")
    for machine, expected in (("arm64", True), ("x86_64", False)):
        monkeypatch.setattr(choice.platform, "machine", lambda machine=machine: machine)
        assert has_accelerator() is expected


def stale(model: Path) -> None:
    tree = json.loads((model / DESCRIPTION).read_text(encoding="utf-8"))
    (model / DESCRIPTION).write_text(json.dumps(tree | {"size": 128}), encoding="utf-8")


def other_weights(model: Path) -> None:
    generator, description = load_model(model)
    initialize(generator)
    save_model(model.with_name("new"), generator=generator, description=description)
    shutil.copy(model / EXPORT, model.with_name("new") / EXPORT)
    shutil.rmtree(model)
    model.with_name("new").rename(model)


def damaged(model: Path) -> None:
    content = bytearray((model / EXPORT).read_bytes())
    content[len(content) // 2] ^= 1
    (model / EXPORT).write_bytes(bytes(content))


def broken(model: Path) -> None:
    (model / EXPORT).write_bytes(b"no model")


@pytest.mark.parametrize("spoil", [stale, other_weights, damaged, broken])
def test_an_export_that_does_not_fit_is_left_aside_and_said_so(model, spoil, capsys, on_cpu):
    spoil(model)
    assert Translator.from_pretrained(model).runtime.name == "torch"
    said = capsys.readouterr().err
    assert said.startswith("note: ")
    assert said.count("\n") == 1
    assert "torch is used" in said
    for runtime in EXPORTED:
        with pytest.raises(ModelError):
            Translator.from_pretrained(model, runtime=runtime)


def test_a_model_without_an_export_runs_in_torch_and_says_nothing(model, capsys, on_cpu):
    (model / EXPORT).unlink()
    assert Translator.from_pretrained(model).runtime.name == "torch"
    assert not capsys.readouterr().err
    with pytest.raises(ModelError, match="has not been exported") as caught:
        Translator.from_pretrained(model, runtime="onnxruntime")
    assert caught.value.fix == f"pixloom export {model}"


def test_the_weights_are_not_needed_where_the_export_runs(model, on_cpu):
    (model / WEIGHTS).unlink()
    assert fresh_export(model).signature.size_multiple == 64
    assert Translator.from_pretrained(model)(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8, 3)


def test_runtimes_that_are_not_here(model, monkeypatch, on_cpu):
    for package in EXPORTED:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(DependencyError, match=package) as caught:
            Translator.from_pretrained(model, runtime=package)
        assert caught.value.fix.startswith("pip install ")
        assert f'"{package}>' in caught.value.fix
    assert Translator.from_pretrained(model).runtime.name == "torch"
    with pytest.raises(DependencyError, match="onnxruntime"):
        Translator.from_pretrained(model / EXPORT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnx"}, "Did you mean 'onnxruntime'"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "runs on the CPU"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"runtime": "openvino", "device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_what_cannot_go_together_is_refused(model, options, message):
    with pytest.raises(ConfigError, match=message):
        Translator.from_pretrained(model, **options)


@pytest.mark.parametrize("options", [{"runtime": "torch"}, {"device": "cuda"}])
def test_an_exported_file_runs_without_torch_on_the_cpu_or_not_at_all(model, options):
    with pytest.raises(ConfigError, match="without torch"):
        Translator.from_pretrained(model / EXPORT, **options)


def test_the_fastest_by_measurement_is_taken(cache, monkeypatch):
    names = ["onnxruntime", "openvino", "torch"]
    assert fastest("0" * 64, names) == "onnxruntime"
    remember("0" * 64, {"torch": 0.4, "onnxruntime": 0.3, "openvino": 0.2})
    assert fastest("0" * 64, names) == "openvino"
    assert fastest("0" * 64, ["onnxruntime", "torch"]) == "onnxruntime"
    assert fastest("1" * 64, names) == "onnxruntime"
    remember("0" * 64, {"torch": 0.1, "onnxruntime": 0.3, "openvino": 0.2})
    assert fastest("0" * 64, names) == "torch"
    remember("0" * 64, {"torch": 0.001, "onnxruntime": 0.003})  # it would take a thousand pictures to pay for importing torch
    assert fastest("0" * 64, names) == "onnxruntime"
    remember("0" * 64, {"onnxruntime": 0.3, "openvino": 0.2})
    monkeypatch.setattr(choice.platform, "node", lambda: "another-machine")
    assert fastest("0" * 64, names) == "onnxruntime"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"machine": "x"}', '{"seconds": 5}'])
def test_a_damaged_memory_is_no_memory(cache, content, monkeypatch):
    monkeypatch.setattr(choice, "_machine", lambda: "x")
    remember("2" * 64, {"openvino": 1.0})
    (path,) = (cache / "runtimes").glob("2222*")
    path.write_text(content, encoding="utf-8")
    assert fastest("2" * 64, ["onnxruntime", "openvino"]) == "onnxruntime"


def test_a_cache_that_cannot_be_written_costs_nothing_but_speed(made, tmp_path, monkeypatch, on_cpu):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "file"))
    remember("3" * 64, {"openvino": 1.0})
    translate = Translator.from_pretrained(made["unet"][0], runtime="openvino")
    assert translate(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8, 3)


def test_the_cache_lies_where_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("PIXLOOM_CACHE")
    assert cache_folder() == tmp_path / "system/pixloom"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/pixloom"


def test_compiled_models_do_not_pile_up(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path))
    for number in range(runtimes._COMPILED_MODELS + 2):
        exported = SimpleNamespace(path=tmp_path / "model.onnx", tree={"digest": f"{number:064x}"[::-1]})
        folder = runtimes.compiled_folder(exported)
        assert folder is not None
        os.utime(folder, (number, number))
    left = [path.name for path in sorted((tmp_path / "openvino").iterdir(), key=lambda path: path.stat().st_mtime)]
    assert len(left) == runtimes._COMPILED_MODELS
    assert folder.name in left


def test_one_file_in_several_places_is_several_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path))
    places = {runtimes.compiled_folder(SimpleNamespace(path=tmp_path / name, tree={"digest": "0" * 64})) for name in "ab"}
    assert len(places) == 2


def test_a_compiled_network_that_was_damaged_is_not_run(made, monkeypatch, tmp_path):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path))
    exported = read_export(made["unet"][0] / EXPORT)
    source = pictures(1, 3, 64, 64)
    expected = EXPORTED["openvino"](exported).run(source, seed=0)
    (blob,) = (tmp_path / "openvino").rglob("*.blob")
    whole = blob.read_bytes()
    blob.chmod(0o644)
    middle = len(whole) // 2
    blob.write_bytes(whole[:middle] + bytes(4096) + whole[middle + 4096 :])
    assert np.array_equal(EXPORTED["openvino"](exported).run(source, seed=0), expected)
    assert blob.read_bytes() != whole[:middle] + bytes(4096) + whole[middle + 4096 :]
    kept = blob.stat().st_mtime_ns
    EXPORTED["openvino"](exported).run(source, seed=0)
    assert blob.stat().st_mtime_ns == kept  # what is whole is used again


def test_a_model_that_changes_under_its_export_is_not_exported(model, quick, monkeypatch, tmp_path):
    sums = iter(["1" * 64, "2" * 64])
    monkeypatch.setattr(export, "read_description", lambda folder: (None, next(sums)))
    with pytest.raises(ModelError, match="replaced while it was exported"):
        export_onnx(model, out=tmp_path / "x.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_abandoned_drafts_of_an_export_are_removed(model, quick, tmp_path):
    old, new = tmp_path / ".x.onnx-abcdefgh.draft.onnx", tmp_path / ".x.onnx-ijklmnop.draft.onnx"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    export_onnx(model, out=tmp_path / "x.onnx")
    assert not old.exists()
    assert new.exists()


def test_an_export_that_was_not_measured_here_is_measured_and_kept(model, monkeypatch, capsys, tmp_path, on_cpu):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "new"))
    written = (model / EXPORT).stat().st_mtime_ns
    ran = Console(capsys).ok("export", model)
    assert "up to date" in ran.out
    assert "onnxruntime" in ran.out
    assert "onnxruntime" not in Console(capsys).ok("export", model).out
    assert (model / EXPORT).stat().st_mtime_ns == written


def test_pictures_of_one_value_are_compared_apart(model, quick):
    result = export_onnx(model, overwrite=True)
    assert result.flat.keys() == result.differences.keys()
    assert result.flat["onnxruntime"].largest <= 1e-4


# --- In use --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        write(Picture(pixels), tmp_path / f"photos/{number}.png")
    return tmp_path / "photos"


LIST_MODULES = """
import sys
from pixloom.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code
print("torch" in sys.modules)
"""


def test_translating_with_an_export_never_imports_torch(made, photos, tmp_path):
    arguments = ("translate", made["unet"][0], photos, "--out", tmp_path / "out", "--device", "cpu")
    ran = subprocess.run([sys.executable, "-c", LIST_MODULES, *map(str, arguments)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
    assert not ran.stderr
    expected = Translator.from_pretrained(made["unet"][0], runtime="torch")
    for path in photos.iterdir():
        assert np.abs(read(tmp_path / "out" / path.name).pixels.astype(int) - expected.translate(read(path)).pixels).max() <= 1


def test_a_model_begins_to_load_before_settings_are_imported():
    code = "import sys, pixloom.cli.use, pixloom.inference.choice; sys.exit(bool({'pydantic', 'yaml', 'PIL'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["pixloom.inference.translator", "pixloom.inference.batch", "pixloom.modelfile", "pixloom.tasks"])
def test_what_using_a_model_needs_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_exports_and_translates(model, photos, tmp_path, capsys, quick):
    console = Console(capsys)
    (model / EXPORT).unlink()
    assert f"wrote {model / EXPORT}" in console.ok("export", model).out
    assert "up to date" in console.ok("export", model).out
    described = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(described | {"size": 32}), encoding="utf-8")
    again = console("export", model)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert "minute" not in again.err
    (model / "config.json").write_text(json.dumps(described), encoding="utf-8")
    ran = console.ok("export", model, "--out", tmp_path / "elsewhere.onnx")
    assert f"wrote {tmp_path / 'elsewhere.onnx'}" in ran.out
    for part in ("64 x 64", "128 x 64", "torch", "onnxruntime", "openvino", "differs by up to", "ms"):
        assert part in ran.out
    outputs = []
    for runtime in ("torch", *EXPORTED):
        console.ok("translate", model, photos, "--out", tmp_path / runtime, "--runtime", runtime, "--device", "cpu")
        outputs.append(read(tmp_path / runtime / "0.png").pixels.astype(int))
    console.ok("translate", tmp_path / "elsewhere.onnx", photos, "--out", tmp_path / "file")
    outputs.append(read(tmp_path / "file/0.png").pixels.astype(int))
    assert all(np.abs(output - outputs[0]).max() <= 1 for output in outputs)
    assert console("translate", model, photos, "--out", tmp_path / "x", "--runtime", "tensorrt").code == 2


def test_a_translator_of_an_export_can_be_saved_where_its_weights_are(model, tmp_path, on_cpu):
    Translator.from_pretrained(model, runtime="onnxruntime").save_pretrained(tmp_path / "copy")
    assert checksum(tmp_path / "copy" / WEIGHTS) == checksum(model / WEIGHTS)
    shutil.copy(model / EXPORT, tmp_path / "lonely.onnx")
    with pytest.raises(ModelError, match="no model here"):
        Translator.from_pretrained(tmp_path / "lonely.onnx").save_pretrained(tmp_path / "none")
    other_weights(model)
    with pytest.raises(ModelError, match="not beside it"):
        Translator.from_pretrained(model / EXPORT).save_pretrained(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_failing_runtime_is_an_error_that_says_what_to_do(made, monkeypatch):
    translate = Translator.from_pretrained(made["unet"][0], runtime="onnxruntime")
    for message, kind in (("std::bad_alloc", ImageError), ("Failed to allocate memory", ImageError), ("no such kernel", ModelError)):
        monkeypatch.setattr(
            translate.runtime, "run", lambda source, *, condition=None, seed, message=message: (_ for _ in ()).throw(Exception(message))
        )
        with pytest.raises(kind) as caught:
            translate(np.zeros((8, 8, 3), np.uint8))
        assert caught.value.fix


def test_torch_tensors_are_taken_by_every_runtime(made):
    source = torch.from_numpy(pictures(2, 3, 40, 50))
    expected = Translator.from_pretrained(made["unet"][0], runtime="torch", device="cpu")(source)
    got = Translator.from_pretrained(made["unet"][0], runtime="openvino")(source)
    assert isinstance(got, torch.Tensor)
    assert torch.allclose(got, expected, atol=MOST_DIFFERENCE)


def test_the_doctor_names_the_extras():
    assert {"onnxruntime": "export", "onnxscript": "export", "openvino": "openvino"}.items() <= doctor.EXTRAS.items()
    assert translator.find_model is choice.find_model


SERVE = """
import sys
from starlette.testclient import TestClient
from pixloom.serve.app import build_app
from pixloom.serve.command import assembled
from pixloom.serve.guard import door_for
from pixloom.serve.limits import Limits

service = assembled([sys.argv[1]], limits=Limits(), device="cpu")
with TestClient(build_app(service, door=door_for("127.0.0.1")), base_url="http://localhost") as site:
    head = {"content-type": "image/png"}
    answer = site.post("/api/models/unet/translate?seed=2", content=open(sys.argv[2], "rb").read(), headers=head)
assert answer.status_code == 200, answer.text
open(sys.argv[3], "wb").write(answer.content)
sys.exit("torch" in sys.modules)
"""


def test_an_export_is_served_without_torch(made, photos, tmp_path):
    shutil.copy(made["unet"][0] / EXPORT, tmp_path / "unet.onnx")
    arguments = [str(path) for path in (tmp_path / "unet.onnx", photos / "0.png", tmp_path / "out.png")]
    subprocess.run([sys.executable, "-c", SERVE, *arguments], check=True)
    expected = Translator.from_pretrained(made["unet"][0], runtime="torch").translate(read(photos / "0.png"), seed=2).pixels
    assert np.abs(read(tmp_path / "out.png").pixels.astype(int) - expected).max() <= 1
