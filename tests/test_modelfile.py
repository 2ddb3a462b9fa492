"""The model folder: whole or absent, checked to the byte, and enough to use the model without being told anything."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixloom.config import InferenceConfig, NetworkConfig, TaskConfig
from pixloom.errors import ModelError, OutputError
from pixloom.files import OLD_SECONDS, checksum, new_folder, recover_folder, remove_drafts, remove_old_drafts, write_text, writing
from pixloom.modelfile import CARD, DESCRIPTION, WEIGHTS, ModelDescription, describe_generator, load_model, model_card, save_model
from pixloom.nets import GENERATORS, build
from pixloom.nets.layers import initialize

FACTS = {
    "training": {"images": 400, "minutes": 1.5},
    "data": {"name": "façades", "layout": "folders"},
    "validation": {"psnr": float("inf"), "intervals": {"psnr": [20.1, 21.3]}},
}
SMALL = {
    "unet": {"depth": 6, "width": 4},
    "resnet": {"blocks": 1, "width": 4, "dropout": 0.2},
    "encoder_decoder": {"width": 4},
    "shuffle": {"width": 4, "blocks": 1},
    "enhancer": {"halvings": 2, "blocks": 1, "local_blocks": 1, "width": 4},
    "spade": {"levels": 3, "width": 4, "hidden": 8},
    "residual_unet": {"halvings": 2, "width": 4},
    "rrdb": {"scale": 2, "folding": 2, "blocks": 1, "width": 4, "growth": 2},
    "compact": {"width": 4, "depth": 1},
    "srresnet": {"width": 4, "blocks": 1},
    "srgan": {"width": 4, "blocks": 1},
}
ENLARGING = ("rrdb", "compact", "srresnet", "srgan")


def describe(name: str, generator: torch.nn.Module, **changes: object) -> ModelDescription:
    given = {"task": TaskConfig(name="pair", direction="BtoA"), "inference": InferenceConfig(statistics="image", dropout=True)}
    given |= {"size": 64, "recipe": "pix2pix", "facts": FACTS} | changes
    return ModelDescription(generator=describe_generator(name, generator), **given)


def trained(name: str, **options: object) -> torch.nn.Module:
    """A network whose weights and running statistics are none of the defaults."""
    torch.manual_seed(0)
    network = build(name, SMALL[name] | options, source_channels=2, target_channels=3)
    initialize(network, gain=0.1)
    multiple = max(16, network.size_multiple)
    z = torch.randn(2, network.noise_channels) if network.noise_channels else None
    network.train()(torch.rand(2, 2, 2 * multiple, multiple), None, z)
    return network


@pytest.fixture
def model(tmp_path) -> Path:
    network = trained("encoder_decoder")
    save_model(tmp_path / "model", generator=network, description=describe("encoder_decoder", network))
    return tmp_path / "model"


@pytest.mark.parametrize(
    "options", [{}, {"noise_channels": 3, "injection": "film"}, {"norm": "instance"}, {"norm": "group"}, {"norm": "none"}], ids=str
)
@pytest.mark.parametrize("name", [name for name in GENERATORS if name not in ("stargan2", "ugatit")])  # see test_nets_unpaired.py
def test_every_generator_comes_back_as_it_was(name, options, tmp_path):
    if name == "spade" or name in ENLARGING:
        options = {key: value for key, value in options.items() if key != "injection"}  # it has one way only
    if name in ("residual_unet", *ENLARGING) and "norm" in options:
        pytest.skip("it has no norm")
    network = trained(name, **options)
    description = describe(name, network)
    save_model(tmp_path / "ein Modell", generator=network, description=description)
    loaded, read = load_model(tmp_path / "ein Modell")
    assert not loaded.training
    assert loaded.options == network.options
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded.state_dict().values(), network.state_dict().values(), strict=True))
    assert (read.task, read.generator, read.inference) == (description.task, description.generator, description.inference)
    assert (read.size, read.recipe) == (64, "pix2pix")
    source = torch.rand(1, 2, 64, 64)
    z = torch.randn(1, network.noise_channels) if network.noise_channels else None
    assert torch.equal(loaded(source, None, z), network.eval()(source, None, z))


def test_the_folder_is_three_files_of_plain_content(model):
    assert sorted(path.name for path in model.iterdir()) == sorted([CARD, DESCRIPTION, WEIGHTS])
    tree = json.loads((model / DESCRIPTION).read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert tree["sha256"] == checksum(model / WEIGHTS)
    assert tree["facts"]["validation"]["psnr"] == "inf"
    options = {
        "source_channels": 2,
        "target_channels": 3,
        "width": 4,
        "norm": "batch",
        "noise_channels": 0,
        "head": "tanh",
        "conditions": {},
        "injection": "planes",
    }
    assert tree["generator"]["options"] == options
    assert load_file(model / WEIGHTS)


def test_every_option_of_the_network_is_written_down(tmp_path):
    """Defaults too: a later version may choose others."""
    network = trained("resnet")
    described = describe_generator("resnet", network)
    own = {"blocks", "halvings", "width", "norm", "dropout", "antialias", "padding", "kernel", "planes"}
    own |= {"noise_channels", "head", "conditions", "injection"}
    assert set(described.options) == {"source_channels", "target_channels"} | own
    assert build("resnet", described.options).options == network.options


def test_the_card_says_what_it_is_how_to_use_it_and_how_good_it_is(model):
    card = (model / CARD).read_text(encoding="utf-8")
    for part in (
        "library_name: pixloom",
        "pipeline_tag: image-to-image",
        "(BtoA)",
        "2 channel(s) into pictures of 3",
        "trained at 64 px",
        "the statistics of each single picture",
        "dropout is on",
        "pixloom translate THIS_FOLDER",
        'Translator.from_pretrained("THIS_FOLDER")',
        "## Training",
        "- images: 400",
        "façades",
        "- intervals:\n  - psnr: [20.1, 21.3]",
        "## Limits",
    ):
        assert part in card
    assert "running statistics" in model_card(describe("encoder_decoder", trained("encoder_decoder"), inference=InferenceConfig()))


@pytest.mark.parametrize("place", range(0, 4000, 400))
def test_a_changed_byte_is_found(model, place):
    content = bytearray((model / WEIGHTS).read_bytes())
    content[place] ^= 64
    (model / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(ModelError, match="damaged"):
        load_model(model)


def test_truncated_weights_are_found(model):
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        load_model(model)


def rewrite(model: Path, **changes: object) -> None:
    tree = json.loads((model / DESCRIPTION).read_text(encoding="utf-8")) | changes
    (model / DESCRIPTION).write_text(json.dumps({key: value for key, value in tree.items() if value != "gone"}), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": {"name": "unett", "options": {}}}, "Did you mean 'unet'"),
        ({"generator": {"name": "patch", "options": {}}}, "no generator 'patch'"),
        ({"generator": {"name": "os.system", "options": {}}}, "no generator"),
        ({"generator": {"name": "unet", "options": {"source_channels": 1}}}, "target_channels"),
        ({"generator": {"name": "unet", "options": {"sourcechannels": 1}}}, "source_channels"),
        ({"generator": {"name": "unet", "options": []}}, "options"),
        ({"generator": {"name": "encoder_decoder", "options": {"source_channels": 2, "target_channels": 3, "width": -4}}}, "width"),
        ({"generator": "gone"}, "lacks 'generator'"),
        ({"task": {"name": "pears"}}, "Did you mean 'pair'"),
        ({"task": {"name": "pair", "direction": "up"}}, "direction"),
        ({"task": {"name": "colorize", "direction": "AtoB"}}, "no direction"),
        ({"task": None}, "description cannot be understood"),
        ({"inference": {"statistics": "images"}}, "statistics"),
        ({"inference": {"dropout": "yes"}}, "dropout"),
        ({"inference": {"temperature": 1}}, "temperature"),
        ({"size": "large"}, "size"),
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"facts": 5}, "description cannot be understood"),
        ({"format": "other"}, "not a pixloom model"),
        ({"format_version": 2}, "newer"),
        ({"format_version": "1"}, "newer"),
        ({"sha256": "gone"}, "damaged"),
        ({"generator": {"name": "encoder_decoder", "options": {"source_channels": 2, "target_channels": 3, "width": 8}}}, "do not fit"),
        ({"generator": {"name": "encoder_decoder", "options": {"source_channels": 2, "target_channels": 3, "width": 10**6}}}, "do not fit"),
    ],
    ids=str,
)
def test_a_description_that_makes_no_sense_is_refused_with_its_place_and_a_fix(model, changes, message):
    rewrite(model, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(model)
    assert str(model) in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(model, content):
    (model / DESCRIPTION).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(model)
    assert caught.value.fix


@pytest.mark.parametrize("change", ["more", "fewer", "shape"])
def test_weights_of_another_network_are_refused(model, change):
    weights = load_file(model / WEIGHTS)
    first = next(name for name in weights if name.endswith("weight"))
    changed = {
        "more": weights | {"extra": torch.zeros(1)},
        "fewer": {name: weights[name] for name in weights if name != first},
        "shape": weights | {first: torch.zeros(1)},
    }
    save_file(changed[change], model / WEIGHTS)
    rewrite(model, sha256=checksum(model / WEIGHTS))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(model)


def test_weights_in_half_precision_are_widened(model):
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in load_file(model / WEIGHTS).items()}
    save_file(halves, model / WEIGHTS)
    rewrite(model, sha256=checksum(model / WEIGHTS))
    assert all(parameter.dtype == torch.float32 for parameter in load_model(model)[0].parameters())


def test_something_that_only_looks_like_weights_is_refused(model):
    (model / WEIGHTS).write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    rewrite(model, sha256=checksum(model / WEIGHTS))
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(model)


# --- Files and folders that are whole or absent --------------------------------------------------------------------------------------


def replace(folder: Path, content: str) -> None:
    with new_folder(folder, what="the test") as draft:
        (draft / "content").write_text(content, encoding="utf-8")


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        replace(tmp_path / "a", "half \ud800")
    assert not list(tmp_path.iterdir())
    replace(tmp_path / "a", "first")
    with pytest.raises(UnicodeEncodeError):
        replace(tmp_path / "a", "half \ud800")
    assert contents(tmp_path) == {"a/content": "first"}
    replace(tmp_path / "a", "second")
    assert contents(tmp_path) == {"a/content": "second"}


class KilledError(BaseException):
    """What stands in for kill -9: nothing after it runs, not even what cleans up."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Die at the given rename of a replacement, and leave everything as it lies."""
    renames = []
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        renames.append(target)
        if len(renames) >= number:
            raise KilledError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **options: None)


@pytest.mark.parametrize("name", ["model", "model-last", "m[1]"])
@pytest.mark.parametrize("kill_before", [1, 2])
def test_a_kill_in_the_middle_of_a_replacement_loses_nothing(tmp_path, monkeypatch, kill_before, name):
    replace(tmp_path / name, "first")
    replace(tmp_path / "other", "other")
    with monkeypatch.context() as patched:
        kill_at(patched, kill_before)
        with pytest.raises(KilledError):
            replace(tmp_path / name, "second")
    left = {path.name for path in tmp_path.iterdir()}
    assert any(entry.startswith(f".{name}-") for entry in left)  # the abandoned draft
    assert (name in left) == (kill_before == 1)
    recover_folder(tmp_path / name)
    assert contents(tmp_path) == {f"{name}/content": "first", "other/content": "other"}


def test_recovering_one_folder_leaves_what_belongs_to_another(tmp_path):
    """model and model-last share a beginning: the drafts and the former version of one are not the other's."""
    for name in (".model-last.retired", ".model-last-abcdefgh.draft", ".model.retired", ".model-abcdefgh.draft", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name, encoding="utf-8")
    recover_folder(tmp_path / "model")
    assert contents(tmp_path / "model") == {"content": ".model.retired"}
    assert {path.name for path in tmp_path.iterdir()} == {".model-last.retired", ".model-last-abcdefgh.draft", "model", "mine"}
    recover_folder(tmp_path / "model-last")
    assert {path.name for path in tmp_path.iterdir()} == {"model-last", "model", "mine"}


def test_a_replacement_that_fails_at_the_last_step_brings_the_former_back(tmp_path, monkeypatch):
    replace(tmp_path / "a", "first")
    rename = Path.rename

    def refusing(self: Path, target: Path) -> Path:
        if self.name.endswith(".draft"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(OutputError, match="Input/output error"):
        replace(tmp_path / "a", "second")
    assert contents(tmp_path) == {"a/content": "first"}


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "a.txt", "eins")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "zwei \ud800")
    assert contents(tmp_path) == {"a.txt": "eins"}
    write_text(tmp_path / "a.txt", "drei")
    assert contents(tmp_path) == {"a.txt": "drei"}


def test_refusals_of_the_system_become_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="the thing could not be written") as caught, writing("the thing", tmp_path):
        (tmp_path / "file/below").mkdir(parents=True)
    assert caught.value.why == "Not a directory"
    with pytest.raises(OutputError, match="free some space"), writing("the thing", tmp_path):
        raise OSError(28, "No space left on device")


def test_a_description_can_be_made_by_hand():
    described = ModelDescription(TaskConfig(), NetworkConfig(name="unet"), InferenceConfig(), size=64, recipe="x")
    assert described.facts == {}


def test_drafts_that_killed_processes_left_are_removed(tmp_path):
    (tmp_path / "inner").mkdir()
    drafts = [tmp_path / ".a.png-ab12_xyz.draft.png", tmp_path / "inner" / ".b-12345678.draft", tmp_path / ".h.jsonl-00000000.draft.jsonl"]
    names = (".lock", ".my-notebook", "a.png", ".lab-protocol.md", ".labels-verified.json", ".a.png-short.draft")
    kept = [tmp_path / name for name in names]
    for path in (*drafts, *kept):
        path.write_bytes(b"x")
    remove_drafts(tmp_path)
    assert [path.exists() for path in drafts] == [False] * 3
    assert all(path.exists() for path in kept)


def test_only_old_drafts_of_the_same_file_are_removed(tmp_path):
    names = ("clip.mp4-abcdefgh.draft.mp4", "clip.mp4-12345678.draft.mp4", "film.mp4-abcdefgh.draft.mp4")
    old, young, other = (tmp_path / f".{name}" for name in names)
    for path in (old, young, other):
        path.write_bytes(b"x")
    for path in (old, other):
        os.utime(path, (time.time() - 2 * OLD_SECONDS,) * 2)
    remove_old_drafts(tmp_path / "clip.mp4")
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_of_a_link_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for content in ("first", "second"):
        with new_folder(tmp_path / "link", what="the test") as draft:
            (draft / "content").write_text(content, encoding="utf-8")
        assert (tmp_path / "real" / "content").read_text(encoding="utf-8") == content
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
