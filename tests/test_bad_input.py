"""Whatever is wrong with what a user gives: one message with what, where and the fix, exit code 2, and nothing lost or half written."""

from __future__ import annotations

import json
import resource
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from console import TINY, Console, snapshot
from pixloom.cli.app import main
from pixloom.images import read
from tiny import write_pairs

SHORT = ("--images", "4")


@dataclass(frozen=True)
class World:
    """What every case finds: pairs, a model trained on them, and the run that made it. No case may change it."""

    root: Path
    pairs: Path
    run: Path


@dataclass(frozen=True)
class Case:
    """A mistake: what it puts into an empty folder, the command, and what the message must name."""

    name: str
    arguments: Callable[[World, Path], list[Any]]
    named: tuple[str, ...] = field(default=())


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    root = tmp_path_factory.mktemp("world")
    pairs = write_pairs(root / "pairs")
    main(
        ["train", str(pairs), "--out", str(root / "run"), *TINY, *SHORT, "--set", "training.checkpoint_every_images=2"],
        standalone_mode=False,
    ) if False else None
    with pytest.raises(SystemExit) as ended:
        main(["train", str(pairs), "--out", str(root / "run"), *TINY, *SHORT, "--set", "training.checkpoint_every_images=2"])
    assert not ended.value.code
    return World(root, pairs, root / "run")


@pytest.fixture
def console(capsys) -> Console:
    return Console(capsys)


# --- What lies in the way ------------------------------------------------------------------------------------------------------------


def picture(path: Path, *, size: tuple[int, int] = (24, 24), colour: Any = (200, 80, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def text(path: Path, content: str = "no picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def bomb(path: Path) -> Path:
    """A PNG of a few bytes whose header promises 60000 x 60000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b""))
    return path


def truncated(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    return path


def dangling(path: Path) -> Path:
    path.symlink_to("gone.png")
    return path


def ambiguous(tmp: Path) -> Path:
    for name in ("edges", "paintings", "photos"):
        picture(tmp / "d" / name / "1.png")
    return tmp / "d"


def mismatched(tmp: Path) -> Path:
    for number in range(3):
        picture(tmp / "d/A" / f"{number}.png", size=(24, 24))
        picture(tmp / "d/B" / f"{number}.png", size=(24, 48))
    return tmp / "d"


def unpaired(tmp: Path) -> Path:
    picture(tmp / "d/A/cat.png")
    picture(tmp / "d/B/dog.png")
    return tmp / "d"


def only_bad(tmp: Path) -> Path:
    text(tmp / "d/A/1.png")
    text(tmp / "d/B/1.png")
    return tmp / "d"


def index(tmp: Path, content: str | bytes) -> Path:
    path = tmp / "pairs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def copied(world: World, tmp: Path, what: str = "run") -> Path:
    return Path(shutil.copytree(world.run if what == "run" else world.run / "model", tmp / "copy"))


def flipped(path: Path) -> None:
    """One bit of a file changed."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def model_with(world: World, tmp: Path, **changes: Any) -> Path:
    """The model with some entries of its description changed."""
    folder = copied(world, tmp, "model")
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(tree | changes), encoding="utf-8")
    return folder


def broken_model(world: World, tmp: Path, change: Callable[[Path], Any]) -> Path:
    folder = copied(world, tmp, "model")
    change(folder)
    return folder


def broken_run(world: World, tmp: Path, change: Callable[[Path], Any]) -> Path:
    folder = copied(world, tmp)
    change(folder)
    return folder


def break_all_checkpoints(run: Path) -> None:
    for folder in (run / "checkpoints").iterdir():
        flipped(folder / "state.safetensors")


def with_more_pictures(world: World, tmp: Path) -> Path:
    """A run whose data has changed since."""
    data = Path(shutil.copytree(world.pairs, tmp / "pairs"))
    picture(data / "A/new.png")
    picture(data / "B/new.png")
    run = copied(world, tmp)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace(str(world.pairs), str(data)), encoding="utf-8")
    return run


def foreign_checkpoint(world: World, tmp: Path) -> Path:
    """A run that was given the checkpoint of another one."""
    run = copied(world, tmp)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("seed: 0", "seed: 7"), encoding="utf-8")
    return run


def train(data: Any, tmp: Path, *more: Any) -> list[Any]:
    return ["train", data, "--out", tmp / "out", *TINY, *SHORT, *more]


def translate(model: Path, tmp: Path, *inputs: Any) -> list[Any]:
    return ["translate", model, *inputs, "--out", tmp / "out"]


# --- The mistakes --------------------------------------------------------------------------------------------------------------------

CASES = [
    # Data
    Case("data that is not there", lambda w, t: train(t / "nowhere", t), ("nowhere",)),
    Case("data misspelt", lambda w, t: train(w.root / "pairz", t), ("pairz", "Did you mean 'pairs'?")),
    Case("an empty folder", lambda w, t: train((t / "empty").mkdir() or t / "empty", t, "--task", "pair"), ("empty",)),
    Case("a folder of text", lambda w, t: train(text(t / "d/a.txt").parent, t, "--task", "pair"), (".txt",)),
    Case("a picture as data", lambda w, t: train(picture(t / "one.png"), t), ("one.png",)),
    Case("text renamed to .png as the only pictures", lambda w, t: train(only_bad(t), t), ("1.png",)),
    Case("names that match nothing", lambda w, t: train(unpaired(t), t, "--task", "pair"), ("cat.png", "dog.png")),
    Case("names that match nothing, and no task", lambda w, t: train(unpaired(t), t), ("'A' and 'B' share no names",)),
    Case("three folders, none known", lambda w, t: train(ambiguous(t), t, "--task", "pair"), ("edges", "photos", "--source edges")),
    Case("pairs of two shapes", lambda w, t: train(mismatched(t), t), ("24x24", "24x48")),
    Case("grey pictures for colorize", lambda w, t: train(w.pairs / "A", t, "--task", "colorize"), ("colour", "1 channel")),
    Case("single pictures without a task", lambda w, t: train(w.pairs / "B", t), ("--task colorize",)),
    Case(
        "an index without a column",
        lambda w, t: train(index(t, "source,targt\na.png,b.png\n"), t, "--task", "pair"),
        ("'target'", "'targt'", "pairs.csv"),
    ),
    Case("an index of files that are not there", lambda w, t: train(index(t, "source,target\na.png,b.png\n"), t), ("a.png", "pairs.csv")),
    Case("an index that is not UTF-8", lambda w, t: train(index(t, b"source,target\n\xff\xfe.png,b.png\n"), t), ("UTF-8", "pairs.csv")),
    Case("a bomb as the only picture", lambda w, t: train(bomb(t / "bomb.png").parent, t, "--task", "colorize"), ("bomb.png",)),
    # Settings
    Case("an unknown recipe", lambda w, t: ["train", w.pairs, "--out", t / "out", "--recipe", "pix2pics"], ("Did you mean 'pix2pix'?",)),
    Case("an unknown task", lambda w, t: train(w.pairs, t, "--task", "colourise"), ("colourise", "Did you mean 'colorize'?")),
    Case("an unknown layout", lambda w, t: train(w.pairs, t, "--layout", "folder"), ("Did you mean 'folders'?",)),
    Case("a misspelt setting", lambda w, t: train(w.pairs, t, "--set", "training.bach_size=2"), ("Did you mean 'training.batch_size'?",)),
    Case("a setting of the wrong type", lambda w, t: train(w.pairs, t, "--set", "training.keep_checkpoints=many"), ("'many'", "integer")),
    Case("true for a number", lambda w, t: train(w.pairs, t, "--set", "training.keep_checkpoints=true"), ("True", "integer")),
    Case("--set without a value", lambda w, t: train(w.pairs, t, "--set", "training.seed"), ("--set section.key=value",)),
    Case(
        "a setting given twice",
        lambda w, t: train(w.pairs, t, "--set", "data.flip=true", "--set", "data.flip=false"),
        ("data.flip", "twice"),
    ),
    Case("an option and a setting that say one thing", lambda w, t: train(w.pairs, t, "--set", "training.images=9"), ("--images",)),
    Case(
        "an unknown option of a network",
        lambda w, t: train(w.pairs, t, "--set", "generator.options.widht=4"),
        ("widht", "Did you mean 'width'?"),
    ),
    Case("an unknown network", lambda w, t: train(w.pairs, t, "--set", "generator.name=resnett"), ("resnett", "resnet")),
    Case("an unknown loss", lambda w, t: train(w.pairs, t, "--set", "losses.adversarial=hing"), ("Did you mean 'hinge'?",)),
    Case("size 0", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "0"], ("0", "--size")),
    Case("size 3", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "3"], ("3", "--size")),
    Case("size 100", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "100"], ("100", "multiples of 16", "--size 112")),
    Case("size 100 as a setting", lambda w, t: ["train", w.pairs, "--out", t / "out", "--set", "data.size=100"], ("100", "--size 112")),
    Case(
        "negative minutes", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "16", "--minutes=-1"], ("training.minutes", "-1")
    ),
    Case("images and minutes", lambda w, t: train(w.pairs, t, "--minutes", "5"), ("training.images", "training.minutes")),
    Case("a direction that is none", lambda w, t: train(w.pairs, t, "--direction", "sideways"), ("sideways", "AtoB")),
    Case("a direction for colorize", lambda w, t: train(w.pairs / "B", t, "--task", "colorize", "--direction", "BtoA"), ("direction",)),
    Case("a negative seed", lambda w, t: train(w.pairs, t, "--seed=-1"), ("training.seed", "-1")),
    Case("no --out", lambda w, t: ["train", w.pairs], ("--out",)),
    Case(
        "a config file that is none",
        lambda w, t: ["train", "--config", text(t / "c.yaml", "- 1\n"), "--out", t / "out"],
        ("c.yaml", "YAML"),
    ),
    Case(
        "a config file with an unknown key",
        lambda w, t: ["train", "--config", text(t / "c.yaml", "recipee: x\ngenerator: {name: unet}\n"), "--out", t / "out"],
        ("c.yaml", "recipe"),
    ),
    Case(
        "a config file and a recipe",
        lambda w, t: ["train", "--config", w.run / "config.yaml", "--recipe", "cgan", "--out", t / "out"],
        ("--recipe",),
    ),
    Case("weights that are not there", lambda w, t: train(w.pairs, t, "--weights", t / "nothing"), ("nothing", "pixloom weights")),
    Case("cuda where there is none", lambda w, t: train(w.pairs, t, "--device", "cuda"), ("cuda", "--device cpu")),
    Case("an unknown device", lambda w, t: train(w.pairs, t, "--device", "gpu"), ("gpu", "cuda")),
    # Places
    Case("--out is a run", lambda w, t: ["train", w.pairs, "--out", w.run, *TINY, *SHORT], ("pixloom resume",)),
    Case("--out is a file", lambda w, t: ["train", w.pairs, "--out", text(t / "file"), *TINY, *SHORT], ("file",)),
    Case(
        "--out holds something else",
        lambda w, t: ["train", w.pairs, "--out", text(t / "d/thesis.txt").parent, *TINY, *SHORT],
        ("is not a run",),
    ),
    Case("--out below a file", lambda w, t: ["train", w.pairs, "--out", text(t / "file") / "run", *TINY, *SHORT], ("file", "directory")),
    Case("--out in a place of the system", lambda w, t: ["train", w.pairs, "--out", "/proc/run", *TINY, *SHORT], ("/proc/run",)),
    # Use
    Case("a model that is not there", lambda w, t: translate(t / "model", t, w.pairs / "A"), ("model",)),
    Case(
        "a run without a model",
        lambda w, t: translate(broken_run(w, t, lambda f: shutil.rmtree(f / "model")), t, w.pairs / "A"),
        ("pixloom resume",),
    ),
    Case("a data folder as the model", lambda w, t: translate(w.pairs, t, w.pairs / "A"), ("config.json",)),
    Case(
        "damaged weights",
        lambda w, t: translate(broken_model(w, t, lambda f: flipped(f / "model.safetensors")), t, w.pairs / "A"),
        ("checksum",),
    ),
    Case(
        "no weights",
        lambda w, t: translate(broken_model(w, t, lambda f: (f / "model.safetensors").unlink()), t, w.pairs / "A"),
        ("model.safetensors",),
    ),
    Case(
        "a damaged description",
        lambda w, t: translate(broken_model(w, t, lambda f: text(f / "config.json", '{"format":')), t, w.pairs / "A"),
        ("config.json",),
    ),
    Case(
        "a foreign config.json",
        lambda w, t: translate(broken_model(w, t, lambda f: text(f / "config.json", '{"model_type": "bert"}')), t, w.pairs / "A"),
        ("not a pixloom model",),
    ),
    Case(
        "a model of an unknown network",
        lambda w, t: translate(model_with(w, t, generator={"name": "encoder_decoderr", "options": {}}), t, w.pairs / "A"),
        ("encoder_decoderr", "Did you mean 'encoder_decoder'?"),
    ),
    Case(
        "a model of an unknown task",
        lambda w, t: translate(model_with(w, t, task={"name": "pears", "direction": None}), t, w.pairs / "A"),
        ("pears", "Did you mean 'pair'?"),
    ),
    Case("a model without a size", lambda w, t: translate(model_with(w, t, size=0), t, w.pairs / "A"), ("size",)),
    Case(
        "a model of a newer format",
        lambda w, t: translate(model_with(w, t, format_version=2), t, w.pairs / "A"),
        ("newer", "pip install --upgrade"),
    ),
    Case("an input that is not there", lambda w, t: translate(w.run, t, w.pairs / "A/0.png", t / "nobody.png"), ("nobody.png",)),
    Case("a link that leads nowhere", lambda w, t: translate(w.run, t, dangling(t / "link.png")), ("link.png", "gone.png")),
    Case("an empty input", lambda w, t: translate(w.run, t, ""), ("empty",)),
    Case("a name that no system takes", lambda w, t: translate(w.run, t, "x" * 300), ("File name too long",)),
    Case("a pattern that matches nothing", lambda w, t: translate(w.run, t, t / "*.jpg"), ("*.jpg",)),
    Case("a folder without pictures", lambda w, t: translate(w.run, t, text(t / "d/a.txt").parent), ("d",)),
    Case("pictures in sub-folders only", lambda w, t: translate(w.run, t, w.pairs), ("--recursive",)),
    Case("two pictures, one output", lambda w, t: translate(w.run, t, picture(t / "a/1.png"), picture(t / "b/1.png")), ("1.png",)),
    Case(
        "an output that is there",
        lambda w, t: translate(w.run, t, picture(t / "out/1.png") and picture(t / "1.png")),
        ("1.png", "--overwrite"),
    ),
    Case(
        "sources that would be overwritten",
        lambda w, t: ["translate", w.run, picture(t / "1.png").parent, "--out", t, "--overwrite"],
        ("1.png", "never overwritten"),
    ),
    Case("translations into a file", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", text(t / "file")], ("file",)),
    Case("translations below a file", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", text(t / "file") / "out"], ("file",)),
    Case("translations into /proc", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", "/proc/out"], ("/proc/out",)),
    Case("an unknown format", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--format", "gif"], ("gif", "png")),
    Case(
        "transparency in a JPEG",
        lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--format", "jpg", "--keep-alpha"],
        ("jpg", "transparency"),
    ),
    Case("a working size that is none", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--size", "large"], ("large", "native")),
    Case("a working size beyond memory", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--size", "99999999"], ("99999999",)),
    Case("a seed that is none", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--seed=-3"], ("-3",)),
    Case("cuda for a translation", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--device", "cuda"], ("cuda", "--device cpu")),
    Case("only bad pictures", lambda w, t: translate(w.run, t, text(t / "d/1.png").parent), ("1.png", "not a picture")),
    Case("a truncated JPEG", lambda w, t: translate(w.run, t, truncated(t / "cut.jpg")), ("cut.jpg", "truncated")),
    Case("a bomb", lambda w, t: translate(w.run, t, bomb(t / "bomb.png")), ("bomb.png", "60000")),
    # Judging
    Case("no targets to judge by", lambda w, t: ["evaluate", w.run, w.pairs / "B", "--out", t / "out"], ("pairs",)),
    Case("an unknown split", lambda w, t: ["evaluate", w.run, w.pairs, "--split", "testing", "--out", t / "out"], ("testing", "--split")),
    Case("judging nothing", lambda w, t: ["evaluate", w.run, w.pairs, "--limit", "0", "--out", t / "out"], ("limit", "0")),
    Case("a report's place that is taken", lambda w, t: ["evaluate", w.run, w.pairs, "--out", text(t / "d/a.txt").parent], ("exists",)),
    Case(
        "replacing what is no report",
        lambda w, t: ["evaluate", w.run, w.pairs, "--overwrite", "--out", text(t / "d/a.txt").parent],
        ("not an evaluation",),
    ),
    Case("unknown features", lambda w, t: ["evaluate", w.run, w.pairs, "--features", "inceptoin-768"], ("inception-768",)),
    Case("judging with no weights", lambda w, t: ["evaluate", w.run, w.pairs, "--weights", t], ("pixloom weights",)),
    # Going on
    Case("resuming what is not there", lambda w, t: ["resume", t / "nothing"], ("nothing", "pixloom resume")),
    Case("resuming what is no run", lambda w, t: ["resume", w.pairs], ("config.yaml",)),
    Case(
        "resuming with all checkpoints damaged",
        lambda w, t: ["resume", broken_run(w, t, break_all_checkpoints)],
        ("000000002", "000000004", "checksum"),
    ),
    Case("resuming with a foreign checkpoint", lambda w, t: ["resume", foreign_checkpoint(w, t)], ("another run",)),
    Case("resuming on other data", lambda w, t: ["resume", with_more_pictures(w, t)], ("data",)),
    Case(
        "resuming with a damaged config",
        lambda w, t: ["resume", broken_run(w, t, lambda f: text(f / "config.yaml", "recipe: [\n"))],
        ("config.yaml",),
    ),
    # Looking
    Case("inspecting nothing", lambda w, t: ["inspect", t / "nowhere"], ("nowhere",)),
    Case(
        "a preview over a picture",
        lambda w, t: ["inspect", w.pairs, "--no-cost", "--preview", picture(t / "holiday.png")],
        ("holiday.png",),
    ),
    Case("a preview without a format", lambda w, t: ["inspect", w.pairs, "--no-cost", "--preview", t / "preview"], ("suffix",)),
    Case("no published weights", lambda w, t: ["weights", t], ("published", "download")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_and_changes_nothing(case, world, tmp_path, console):
    arguments = case.arguments(world, tmp_path)
    before = snapshot(world.root, tmp_path)
    ran = console(*arguments)
    assert ran.code == 2, ran
    assert ran.err.count("error:") == 1, ran.err
    assert "Traceback" not in ran.err
    assert "fix:" in ran.err, ran.err
    for name in case.named:
        assert name in ran.err, ran.err
    assert snapshot(world.root, tmp_path) == before


def test_there_are_many_kinds_of_mistakes():
    assert len(CASES) >= 34


# --- What goes on in spite of a mistake ----------------------------------------------------------------------------------------------


def test_bad_files_among_good_ones_do_not_stop_a_translation(world, tmp_path, console):
    mixed = Path(shutil.copytree(world.pairs / "A", tmp_path / "mixed"))
    text(mixed / "text.png")
    truncated(mixed / "cut.jpg")
    bomb(mixed / "bomb.png")
    ran = console(*translate(world.run, tmp_path, mixed))
    assert ran.code == 2
    assert "6 of 9 translated" in ran.out
    assert "3 failed" in ran.out
    assert ran.err.count("error:") == ran.err.count("fix:") == 3
    assert all(name in ran.err for name in ("text.png", "cut.jpg", "bomb.png"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{number}.png" for number in range(6)]


def test_bad_files_among_good_ones_do_not_stop_a_training(world, tmp_path, console):
    data = Path(shutil.copytree(world.pairs, tmp_path / "pairs"))
    text(data / "A/7.png")
    truncated(data / "A/8.png")
    for name in ("7", "8"):
        picture(data / "B" / f"{name}.png")
    picture(data / "A/9.png", size=(1, 1))
    picture(data / "B/9.png", size=(1, 1))
    console.ok("train", data, "--out", tmp_path / "out", *TINY, "--images", "18")
    bad = json.loads((tmp_path / "out/bad_files.json").read_text(encoding="utf-8"))
    assert set(bad) == {"7", "8"}
    assert "7.png" in bad["7"]


def test_a_damaged_newest_checkpoint_is_passed_over(world, tmp_path, console):
    run = broken_run(world, tmp_path, lambda folder: flipped(folder / "checkpoints/000000004/state.safetensors"))
    ran = console.ok("resume", run)
    assert "checkpoint 000000004 is damaged" in ran.err
    assert "resumed at 2 of 4 images" in ran.err
    again, first = (load_file(folder / "checkpoints/000000004/state.safetensors") for folder in (run, world.run))
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], first[name]) for name in first)


@pytest.fixture
def small_disk():
    """A limit on the size of a file stands in for a full disk: the system refuses to write on."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_training_survives_a_full_disk(world, tmp_path, console, small_disk):
    small_disk(200_000)
    ran = console(*train(world.pairs, tmp_path))
    small_disk(resource.RLIM_INFINITY)
    assert ran.code == 2
    assert "could not be written" in ran.err
    assert "free some space" in ran.err
    assert "Traceback" not in ran.err
    assert not list((tmp_path / "out").rglob("*.draft"))
    console.ok("resume", tmp_path / "out")
    ours, theirs = (load_file(folder / "checkpoints/000000004/state.safetensors") for folder in (tmp_path / "out", world.run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_disk_too_small_for_the_checkpoints_is_seen_before_the_run(world, tmp_path, console, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=2**30, used=2**30, free=1000))
    ran = console(*train(world.pairs, tmp_path))
    assert ran.code == 2
    assert "GiB free" in ran.err
    assert "fix:" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_translation_stops_at_a_full_disk_and_says_how_far_it_came(world, tmp_path, console, small_disk):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for name, pixels in (("1", noise[:8, :8]), ("2", noise), ("3", noise)):
        np.save(tmp_path / f"{name}.npy", pixels)
    small_disk(20_000)
    ran = console(*translate(world.run, tmp_path, *sorted(tmp_path.glob("*.npy"))))
    small_disk(resource.RLIM_INFINITY)
    assert ran.code == 2
    assert "stopped after 1 of 3 pictures" in ran.err
    assert "free some space" in ran.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.npy"]


def test_pictures_deeper_and_richer_than_those_of_the_training(world, tmp_path, console):
    """16-bit colour and transparency into a model of 8-bit grey pictures: converted by the written rules, depth and transparency kept."""
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = np.random.default_rng(0).integers(0, 65535, (20, 30, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    see_through = np.random.default_rng(1).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(see_through).save(tmp_path / "alpha.png")
    console.ok(*translate(world.run, tmp_path, tmp_path / "deep.png", tmp_path / "alpha.png"), "--keep-alpha")
    assert read(tmp_path / "out/deep.png").pixels.dtype == np.uint16
    alpha = read(tmp_path / "out/alpha.png").alpha
    assert alpha is not None
    assert np.array_equal(alpha, see_through[..., 3])
