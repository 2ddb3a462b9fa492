"""What is wrong with masks, hints, label maps and settings of tasks: what, why and the fix, exit code 2, and nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from console import Console, snapshot
from pixloom.images import read
from pixloom.training.api import train as run_training
from pixloom.training.plan import make_plan
from tiny import blobs

SIDE = 24
NARROW = {"generator.options.width": 4, "data.holdout": 0.3, "compute.threads": 1}
UNET = {**NARROW, "generator.options.depth": 3}
SHUFFLE = {**NARROW, "generator.options.blocks": 1}
TASKS: dict[str, dict[str, Any]] = {
    "inpaint": UNET,
    "colorize": UNET | {"task.options.hints": True},
    "super-resolve": SHUFFLE | {"task.options.scale": 2},
    "restore": SHUFFLE | {"task.options.degradation": "haze"},
    "segment": UNET,
    "synthesize": UNET,
}


@dataclass(frozen=True)
class World:
    """What every case finds: pairs of photo and label map, and a model of each task. No case may change it."""

    root: Path

    @property
    def photos(self) -> Path:
        return self.root / "pairs/photos"

    @property
    def labels(self) -> Path:
        return self.root / "pairs/labels"

    def run(self, task: str) -> Path:
        return self.root / task


@dataclass(frozen=True)
class Case:
    """A mistake: the command that makes it with what it puts into an empty folder, and what the message must name."""

    name: str
    arguments: Callable[[World, Path], list[Any]]
    named: tuple[str, ...]


def write_pairs(folder: Path) -> Path:
    for name in ("photos", "labels"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        mask, photo = blobs(rng, SIDE)
        Image.fromarray(photo).save(folder / f"photos/{number}.png")
        Image.fromarray((mask > 0).astype(np.uint8)).save(folder / f"labels/{number}.png")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    root = tmp_path_factory.mktemp("world")
    pairs = write_pairs(root / "pairs")
    for task, settings in TASKS.items():
        paired = task in ("segment", "synthesize")
        place = {"source_folder": "photos", "target_folder": "labels"} if paired else {}
        plan = make_plan(
            str(pairs if paired else pairs / "photos"),
            task=task,
            recipe_name="regression",
            size=16,
            images=2,
            device="cpu",
            direction="BtoA" if task == "synthesize" else None,
            data_settings=place,
            settings=settings,
        )
        run_training(plan.config, out=root / task, quiet=True)
    return World(root)


# --- What lies in the way ------------------------------------------------------------------------------------------------------------


def picture(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def mask(path: Path, *, value: int | None = None, side: int = SIDE) -> Path:
    pixels = np.zeros((side, side), np.uint8)
    pixels[4:10, 3:20] = 255
    return picture(path, pixels if value is None else np.full_like(pixels, value))


def labelled(tmp: Path, maps: Any, table: str | None = None) -> Path:
    """Pairs whose last label map is this one, and perhaps a table of classes."""
    folder = write_pairs(tmp / "data")
    if not isinstance(maps, np.ndarray) or maps.ndim == 3:  # then the others are in colour as well
        for path in (folder / "labels").iterdir():
            picture(path, np.array([[0, 0, 255], [255, 0, 0]], np.uint8)[read(path).pixels[..., 0]])
    (maps if isinstance(maps, Image.Image) else Image.fromarray(maps)).save(folder / "labels/3.png")
    if table is not None:
        (folder / "classes.csv").write_text(table, encoding="utf-8")
    return folder


def ids(value: int, *, dtype: type = np.uint8) -> np.ndarray:
    """A label map of classes 0 and 1 with a corner of another id."""
    values = np.zeros((SIDE, SIDE), dtype)
    values[12:] = 1
    values[:6, :6] = value
    return values


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray((np.arange(SIDE)[:, None] * len(colours) // SIDE).repeat(SIDE, axis=1).astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


def grey_photos(tmp: Path) -> Path:
    for number in range(3):
        picture(tmp / f"grey/{number}.png", np.full((SIDE, SIDE, 3), 60 * number, np.uint8))
    return tmp / "grey"


def train(data: Path, tmp: Path, task: str, *more: Any) -> list[Any]:
    sizes = ("--recipe", "regression", "--size", "16", "--images", "2")
    return ["train", data, "--task", task, "--out", tmp / "out", *sizes, *more]


def label(data: Path, tmp: Path, *more: Any) -> list[Any]:
    return train(data, tmp, "segment", "--source", "photos", "--target", "labels", "--set", "data.holdout=0", *more)


def translate(world: World, tmp: Path, task: str, *inputs: Any) -> list[Any]:
    return ["translate", world.run(task), *inputs, "--out", tmp / "out", "--device", "cpu"]


def option(text: str) -> tuple[str, str]:
    return ("--set", f"task.options.{text}")


TABLE = "id,name,r,g,b\n0,sky,0,0,255\n1,road,255,0,0\n"
ONE = np.array([[[9, 99, 199]]], np.uint8)


# --- The mistakes --------------------------------------------------------------------------------------------------------------------

CASES = [
    # Masks
    Case(
        "a mask of another size",
        lambda w, t: [*translate(w, t, "inpaint", w.photos / "0.png"), "--mask", mask(t / "mask.png", side=20)],
        ("0.png", "20 x 20 and 24 x 24", "of the picture's size"),
    ),
    Case(
        "a folder with a mask for all but one",
        lambda w, t: [*translate(w, t, "inpaint", w.photos), "--mask", [mask(t / f"masks/{n}.png") for n in range(4)][0].parent],
        ("there is no mask for this picture", "4.png", "--mask"),
    ),
    Case(
        "a mask that is all black",
        lambda w, t: [*translate(w, t, "inpaint", w.photos / "0.png"), "--mask", mask(t / "mask.png", value=0)],
        ("0.png", "the mask has no hole", "white is the hole"),
    ),
    Case(
        "a mask that is all white",
        lambda w, t: [*translate(w, t, "inpaint", w.photos / "0.png"), "--mask", mask(t / "mask.png", value=255)],
        ("0.png", "leaves nothing", "black what is to stay"),
    ),
    Case("no mask", lambda w, t: translate(w, t, "inpaint", w.photos), ("needs a mask", "--mask")),
    Case(
        "a mask for a task without",
        lambda w, t: [*translate(w, t, "segment", w.photos), "--mask", mask(t / "mask.png")],
        ("takes no mask", "--mask"),
    ),
    Case(
        "a single pixel that is all hole",
        lambda w, t: [
            *translate(w, t, "inpaint", picture(t / "one.png", ONE)),
            "--mask",
            picture(t / "m.png", np.full((1, 1), 255, np.uint8)),
        ],
        ("one.png", "leaves nothing"),
    ),
    Case(
        "own masks of which one is white",
        lambda w, t: train(w.photos, t, "inpaint", *option(f"folder={mask(t / 'masks/bad.png', value=255).parent}")),
        ("bad.png", "all white", "take it out"),
    ),
    Case("own masks that are not there", lambda w, t: train(w.photos, t, "inpaint", *option(f"folder={t / 'none'}")), ("no masks", "none")),
    Case(
        "own masks, and a shape that has no effect",
        lambda w, t: train(w.photos, t, "inpaint", *option("mask=boxes"), *option(f"folder={mask(t / 'masks/a.png').parent}")),
        ("task.options.mask=boxes would have no effect", "folder"),
    ),
    Case("a hole of everything", lambda w, t: train(w.photos, t, "inpaint", *option("most=1.0")), ("task.options.most", "less than 1")),
    # Hints and colour
    Case(
        "hints of another size",
        lambda w, t: [
            *translate(w, t, "colorize", w.photos / "0.png"),
            "--hints",
            picture(t / "h.png", np.full((9, 9, 3), (255, 0, 0), np.uint8)),
        ],
        ("0.png", "hints", "9 x 9 and 24 x 24"),
    ),
    Case(
        "hints without a colour",
        lambda w, t: [
            *translate(w, t, "colorize", w.photos / "0.png"),
            "--hints",
            picture(t / "h.png", np.full((24, 24, 3), 70, np.uint8)),
        ],
        ("0.png", "no hints", "none of its pixels is coloured"),
    ),
    Case(
        "hints of which none belongs to a picture",
        lambda w, t: [*translate(w, t, "colorize", w.photos), "--hints", picture(t / "h/nobody.png", ONE).parent],
        ("none of the pictures has hints", "names"),
    ),
    Case(
        "hints for a task without",
        lambda w, t: [*translate(w, t, "restore", w.photos), "--hints", picture(t / "h.png", ONE)],
        ("takes no hints", "--hints"),
    ),
    Case("grey pictures only, in RGB", lambda w, t: train(grey_photos(t), t, "colorize"), ("colorize", "0: grey", "another kind")),
    Case(
        "a colour space that is none",
        lambda w, t: train(w.photos, t, "colorize", *option("space=hsv")),
        ("task.options.space", "'hsv'", "'lab'"),
    ),
    Case("hints that are neither", lambda w, t: train(w.photos, t, "colorize", *option("hints=3")), ("task.options.hints", "3")),
    # Label maps
    Case(
        "an id out of range",
        lambda w, t: label(labelled(t, ids(77), TABLE), t),
        ("3.png", "the id 77 is none of the 2 classes", "6.25%", "ids are 0 to 1", "classes.csv"),
    ),
    Case(
        "an id out of range of 16 bits",
        lambda w, t: label(labelled(t, ids(30000, dtype=np.uint16), TABLE), t),
        ("3.png", "the id 30000 is none of the 2 classes", "classes.csv"),
    ),
    Case(
        "a colour that is no class's",
        lambda w, t: label(labelled(t, np.full((SIDE, SIDE, 3), (200, 200, 0), np.uint8), TABLE), t),
        ("3.png", "colour (200, 200, 0)", "2 classes", "classes.csv"),
    ),
    Case(
        "a palette whose colours are no classes",
        lambda w, t: label(labelled(t, palette((0, 0, 255), (255, 0, 0), (9, 200, 9)), TABLE), t),
        ("3.png", "colour (9, 200, 9)", "a palette counts by its colours"),
    ),
    Case(
        "a table without classes",
        lambda w, t: label(labelled(t, ids(0), "id,name,r,g,b\n"), t),
        ("classes.csv", "there are 0 classes", "1 to 256"),
    ),
    Case(
        "a table without ids to be read",
        lambda w, t: label(labelled(t, ids(0), "id,name,r,g,b\nx,sky,0,0,1\n"), t),
        ("row 1", "classes.csv"),
    ),
    Case(
        "a single class",
        lambda w, t: label(labelled(t, ids(0)), t, *option("ignore=0")),
        ("1 class", "two classes"),
    ),
    Case(
        "an unknown class to ignore",
        lambda w, t: label(labelled(t, ids(0), TABLE), t, *option("ignore=rode")),
        ("ignore=rode", "Did you mean 'road'?"),
    ),
    Case(
        "a photo as a label map",
        lambda w, t: label(labelled(t, np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)), t),
        ("no classes can be made out", "--direction"),
    ),
    Case(
        "a label map to translate with an id that was never learnt",
        lambda w, t: translate(w, t, "synthesize", picture(t / "map.png", ids(7))),
        ("map.png", "the id 7 is none of the 2 classes", "background, foreground"),
    ),
    Case(
        "a photo where a label map is translated",
        lambda w, t: translate(w, t, "synthesize", picture(t / "photo.png", np.full((9, 9, 3), (9, 99, 199), np.uint8))),
        ("photo.png", "colour (9, 99, 199)", "2 classes"),
    ),
    Case("ids of a task without classes", lambda w, t: [*translate(w, t, "restore", w.photos), "--index"], ("no label maps", "--index")),
    Case(
        "ids in a format of colours",
        lambda w, t: [*translate(w, t, "segment", w.photos), "--index", "--format", "jpg"],
        ("--format jpg", "PNG"),
    ),
    # Enlarging
    *(
        Case(
            f"scale {scale}",
            lambda w, t, scale=scale: train(w.photos, t, "super-resolve", *option(f"scale={scale}")),
            (f"task.options.scale cannot be {scale}", why, "leave it out for 4"),
        )
        for scale, why in (
            ("0", "greater than or equal to 2"),
            ("1", "greater than or equal to 2"),
            ("9", "less than or equal to 8"),
            ("2.5", "valid integer"),
        )
    ),
    Case(
        "a working size for enlarging", lambda w, t: [*translate(w, t, "super-resolve", w.photos), "--size", "32"], ("own size", "--size")
    ),
    Case(
        "a degradation that is none",
        lambda w, t: train(w.photos, t, "restore", *option("degradation=fog")),
        ("task.options.degradation", "'fog'", "'haze'"),
    ),
    Case("pairs to be made worse", lambda w, t: train(w.root / "pairs", t, "restore", "--layout", "folders"), ("single pictures",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_and_changes_nothing(case, world, tmp_path, capsys):
    arguments = case.arguments(world, tmp_path)
    before = snapshot(world.root, tmp_path)
    ran = Console(capsys)(*arguments)
    assert ran.code == 2, ran
    assert ran.err.count("error:") == 1, ran.err
    assert "Traceback" not in ran.err
    assert "fix:" in ran.err, ran.err
    for name in case.named:
        assert name in ran.err, ran.err
    assert snapshot(world.root, tmp_path) == before


# --- What is odd and no mistake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_single_pixel_is_a_picture(task, world, tmp_path, capsys):
    one = picture(tmp_path / "one.png", np.ones((1, 1), np.uint8) if task == "synthesize" else ONE)
    extra = ("--mask", mask(tmp_path / "mask.png")) if task == "inpaint" else ()
    if task == "inpaint":  # of one pixel there is nothing to fill by
        one = picture(tmp_path / "one.png", ONE.repeat(2, axis=1))
        extra = ("--mask", picture(tmp_path / "mask.png", np.array([[0, 255]], np.uint8)))
    Console(capsys).ok(*translate(world, tmp_path, task, one), *extra)
    made = read(tmp_path / "out/one.png").pixels
    assert made.shape == {"super-resolve": (2, 2, 3), "inpaint": (1, 2, 3)}.get(task, (1, 1, 3))


def test_pictures_of_a_single_pixel_among_others_do_not_stop_a_training(world, tmp_path, capsys):
    for task in ("colorize", "inpaint", "restore", "super-resolve"):
        folder = tmp_path / task / "photos"
        for number in range(4):
            picture(folder / f"{number}.png", read(world.photos / f"{number}.png").pixels if number else ONE)
        Console(capsys).ok(
            *train(folder, tmp_path / task, task, "--device", "cpu", *(f for k, v in TASKS[task].items() for f in ("--set", f"{k}={v}")))
        )


def test_label_maps_of_16_bits_and_palettes_are_read(world, tmp_path, capsys):
    console = Console(capsys)
    deep = labelled(tmp_path / "deep", ids(30000, dtype=np.uint16))
    console.ok(*label(deep, tmp_path / "deep", "--set", "generator.options.width=4", "--device", "cpu"))
    assert "id: 30000" in (tmp_path / "deep/out/config.yaml").read_text(encoding="utf-8")
    drawn = tmp_path / "drawn"
    for number in range(3):
        picture(drawn / f"photos/{number}.png", read(world.photos / f"{number}.png").pixels)
        (drawn / "labels").mkdir(exist_ok=True)
        palette((0, 0, 255), (255, 0, 0)).save(drawn / f"labels/{number}.png")
    console.ok(*label(drawn, tmp_path, "--set", "generator.options.width=4", "--device", "cpu"))
    assert "#0000ff" in (tmp_path / "out/config.yaml").read_text(encoding="utf-8")


def test_a_mask_or_hints_may_be_a_palette(world, tmp_path, capsys):
    console, photo = Console(capsys), world.photos / "0.png"
    palette((0, 0, 0), (255, 255, 255)).save(tmp_path / "mask.png")
    palette((80, 80, 80), (255, 0, 0)).save(tmp_path / "hints.png")
    console.ok(*translate(world, tmp_path / "filled", "inpaint", photo), "--mask", tmp_path / "mask.png")
    made, source = (read(path).pixels for path in (tmp_path / "filled/out/0.png", photo))
    assert np.array_equal(made[:12], source[:12])
    assert not np.array_equal(made[12:], source[12:])
    console.ok(*translate(world, tmp_path / "hinted", "colorize", photo), "--hints", tmp_path / "hints.png")
    console.ok(*translate(world, tmp_path / "plain", "colorize", photo))
    assert not np.array_equal(*(read(tmp_path / name / "out/0.png").pixels for name in ("hinted", "plain")))


def test_a_picture_with_a_bad_mask_does_not_stop_the_others(world, tmp_path, capsys):
    for number in range(5):
        mask(tmp_path / f"masks/{number}.png", value=0 if number == 2 else None)
    ran = Console(capsys)(*translate(world, tmp_path, "inpaint", world.photos), "--mask", tmp_path / "masks")
    assert ran.code == 2
    assert "4 of 5 translated" in ran.out
    assert "2.png" in ran.err
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["0", "1", "3", "4"]
