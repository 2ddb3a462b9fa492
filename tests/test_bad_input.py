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
from console import NARROW, TINY, Console, snapshot
from PIL import Image
from safetensors.torch import load_file
from tiny import write_pairs

from pixloom.cli.app import main
from pixloom.images import read

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
    Case("names that match nothing", lambda w, t: train(unpaired(t), t), ("cat.png", "dog.png")),
    Case("three folders, none known", lambda w, t: train(ambiguous(t), t, "--task", "pair"), ("edges", "photos", "data.source_folder")),
    Case("pairs of two shapes", lambda w, t: train(mismatched(t), t), ("24x24", "24x48")),
    Case("grey pictures for colorize", lambda w, t: train(w.pairs / "A", t, "--task", "colorize"), ("colour", "1 channel")),
    Case("single pictures without a task", lambda w, t: train(w.pairs / "B", t), ("--task colorize",)),
    Case("an index without a column", lambda w, t: train(index(t, "source,targt\na.png,b.png\n"), t), ("target", "pairs.csv")),
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
    Case("a setting given twice", lambda w, t: train(w.pairs, t, "--set", "data.flip=true", "--set", "data.flip=false"), ("data.flip", "twice")),
    Case("an option and a setting that say one thing", lambda w, t: train(w.pairs, t, "--set", "training.images=9"), ("--images",)),
    Case("an unknown option of a network", lambda w, t: train(w.pairs, t, "--set", "generator.options.widht=4"), ("widht", "Did you mean 'width'?")),
    Case("an unknown network", lambda w, t: train(w.pairs, t, "--set", "generator.name=resnett"), ("Did you mean 'resnet'?",)),
    Case("an unknown loss", lambda w, t: train(w.pairs, t, "--set", "losses.adversarial=hing"), ("Did you mean 'hinge'?",)),
    Case("size 0", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "0"], ("0", "--size")),
    Case("size 3", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "3"], ("3", "--size")),
    Case("size 100", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "100"], ("100", "multiples of 16", "--size 112")),
    Case("size 100 as a setting", lambda w, t: ["train", w.pairs, "--out", t / "out", "--set", "data.size=100"], ("100", "--size 112")),
    Case("negative minutes", lambda w, t: ["train", w.pairs, "--out", t / "out", "--size", "16", "--minutes=-1"], ("training.minutes", "-1")),
    Case("images and minutes", lambda w, t: train(w.pairs, t, "--minutes", "5"), ("training.images", "training.minutes")),
    Case("a direction that is none", lambda w, t: train(w.pairs, t, "--direction", "sideways"), ("sideways", "AtoB")),
    Case("a direction for colorize", lambda w, t: train(w.pairs / "B", t, "--task", "colorize", "--direction", "BtoA"), ("direction",)),
    Case("a negative seed", lambda w, t: train(w.pairs, t, "--seed=-1"), ("training.seed", "-1")),
    Case("no --out", lambda w, t: ["train", w.pairs], ("--out",)),
    Case("a config file that is none", lambda w, t: ["train", "--config", text(t / "c.yaml", "- 1\n"), "--out", t / "out"], ("c.yaml", "YAML")),
    Case("a config file with an unknown key", lambda w, t: ["train", "--config", text(t / "c.yaml", "recipee: x\ngenerator: {name: unet}\n"), "--out", t / "out"], ("c.yaml", "recipe")),
    Case("a config file and a recipe", lambda w, t: ["train", "--config", w.run / "config.yaml", "--recipe", "cgan", "--out", t / "out"], ("--recipe",)),
    Case("weights that are not there", lambda w, t: train(w.pairs, t, "--weights", t / "nothing"), ("nothing", "pixloom weights")),
    Case("cuda where there is none", lambda w, t: train(w.pairs, t, "--device", "cuda"), ("cuda", "--device cpu")),
    Case("an unknown device", lambda w, t: train(w.pairs, t, "--device", "gpu"), ("gpu", "cuda")),
    # Places
    Case("--out is a run", lambda w, t: ["train", w.pairs, "--out", w.run, *TINY, *SHORT], ("pixloom resume",)),
    Case("--out is a file", lambda w, t: ["train", w.pairs, "--out", text(t / "file"), *TINY, *SHORT], ("file",)),
    Case("--out holds something else", lambda w, t: ["train", w.pairs, "--out", text(t / "d/thesis.txt").parent, *TINY, *SHORT], ("is not a run",)),
    Case("--out below a file", lambda w, t: ["train", w.pairs, "--out", text(t / "file") / "run", *TINY, *SHORT], ("file", "directory")),
    Case("--out in a place of the system", lambda w, t: ["train", w.pairs, "--out", "/proc/run", *TINY, *SHORT], ("/proc/run",)),
    # Use
    Case("a model that is not there", lambda w, t: translate(t / "model", t, w.pairs / "A"), ("model",)),
    Case("a run without a model", lambda w, t: translate(broken_run(w, t, lambda f: shutil.rmtree(f / "model")), t, w.pairs / "A"), ("pixloom resume",)),
    Case("a data folder as the model", lambda w, t: translate(w.pairs, t, w.pairs / "A"), ("config.json",)),
    Case("damaged weights", lambda w, t: translate(broken_model(w, t, lambda f: flipped(f / "model.safetensors")), t, w.pairs / "A"), ("checksum",)),
    Case("no weights", lambda w, t: translate(broken_model(w, t, lambda f: (f / "model.safetensors").unlink()), t, w.pairs / "A"), ("model.safetensors",)),
    Case("a damaged description", lambda w, t: translate(broken_model(w, t, lambda f: text(f / "config.json", '{"format":')), t, w.pairs / "A"), ("config.json",)),
    Case("a foreign config.json", lambda w, t: translate(broken_model(w, t, lambda f: text(f / "config.json", '{"model_type": "bert"}')), t, w.pairs / "A"), ("not a pixloom model",)),
    Case("a model of an unknown network", lambda w, t: translate(model_with(w, t, generator={"name": "encoder_decoderr", "options": {}}), t, w.pairs / "A"), ("encoder_decoderr", "Did you mean 'encoder_decoder'?")),
    Case("a model of an unknown task", lambda w, t: translate(model_with(w, t, task={"name": "pears", "direction": None}), t, w.pairs / "A"), ("pears", "Did you mean 'pair'?")),
    Case("a model without a size", lambda w, t: translate(model_with(w, t, size=0), t, w.pairs / "A"), ("size",)),
    Case("a model of a newer format", lambda w, t: translate(model_with(w, t, format_version=2), t, w.pairs / "A"), ("newer", "pip install --upgrade")),
    Case("an input that is not there", lambda w, t: translate(w.run, t, w.pairs / "A/0.png", t / "nobody.png"), ("nobody.png",)),
    Case("a pattern that matches nothing", lambda w, t: translate(w.run, t, t / "*.jpg"), ("*.jpg",)),
    Case("a folder without pictures", lambda w, t: translate(w.run, t, text(t / "d/a.txt").parent), ("d",)),
    Case("pictures in sub-folders only", lambda w, t: translate(w.run, t, w.pairs), ("--recursive",)),
    Case("two pictures, one output", lambda w, t: translate(w.run, t, picture(t / "a/1.png"), picture(t / "b/1.png")), ("1.png",)),
    Case("an output that is there", lambda w, t: translate(w.run, t, picture(t / "1.png"), picture(t / "out/1.png").parent), ("1.png",)),
    Case("sources that would be overwritten", lambda w, t: ["translate", w.run, picture(t / "1.png").parent, "--out", t, "--overwrite"], ("1.png", "never overwritten")),
    Case("translations into a file", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", text(t / "file")], ("file",)),
    Case("translations below a file", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", text(t / "file") / "out"], ("file",)),
    Case("translations into /proc", lambda w, t: ["translate", w.run, w.pairs / "A", "--out", "/proc/out"], ("/proc/out",)),
    Case("an unknown format", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--format", "gif"], ("gif", "png")),
    Case("transparency in a JPEG", lambda w, t: [*translate(w.run, t, w.pairs / "A"), "--format", "jpg", "--keep-alpha"], ("jpg", "transparency")),
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
    Case("replacing what is no report", lambda w, t: ["evaluate", w.run, w.pairs, "--overwrite", "--out", text(t / "d/a.txt").parent], ("not an evaluation",)),
    Case("unknown features", lambda w, t: ["evaluate", w.run, w.pairs, "--features", "inceptoin-768"], ("inception-768",)),
    Case("judging with no weights", lambda w, t: ["evaluate", w.run, w.pairs, "--weights", t], ("pixloom weights",)),
    # Going on
    Case("resuming what is not there", lambda w, t: ["resume", t / "nothing"], ("nothing", "pixloom resume")),
    Case("resuming what is no run", lambda w, t: ["resume", w.pairs], ("config.yaml",)),
    Case("resuming with all checkpoints damaged", lambda w, t: ["resume", broken_run(w, t, break_all_checkpoints)], ("000000002", "000000004", "checksum")),
    Case("resuming with a foreign checkpoint", lambda w, t: ["resume", foreign_checkpoint(w, t)], ("another run",)),
    Case("resuming on other data", lambda w, t: ["resume", with_more_pictures(w, t)], ("data",)),
    Case("resuming with a damaged config", lambda w, t: ["resume", broken_run(w, t, lambda f: text(f / "config.yaml", "recipe: [\n"))], ("config.yaml",)),
    # Looking
    Case("inspecting nothing", lambda w, t: ["inspect", t / "nowhere"], ("nowhere",)),
    Case("a preview over a picture", lambda w, t: ["inspect", w.pairs, "--no-cost", "--preview", picture(t / "holiday.png")], ("holiday.png",)),
    Case("a preview without a format", lambda w, t: ["inspect", w.pairs, "--no-cost", "--preview", t / "preview"], ("suffix",)),
    Case("no published weights", lambda w, t: ["weights", t], ("published", "download")),
]  # fmt: skip


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
