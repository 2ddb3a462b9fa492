"""Colouring by hints and in RGB, and pictures that have no colour to learn from."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from console import Console
from pixloom.config import TaskConfig, load_config, override
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import Picture, read, resize, to_model, write
from pixloom.inference import translator
from pixloom.inference.tiling import Tiling
from pixloom.inference.translator import Translator, as_given
from pixloom.recipes import recipe
from pixloom.tasks import build_task
from pixloom.tasks.colorize import AB_SCALE, Colorize, is_grey, lab_to_rgb, rgb_to_lab
from pixloom.tasks.hints import LONGEST, drawn_hints, painted_hints, smaller_hints
from pixloom.training.api import resume, train
from pixloom.training.plan import complete, make_plan
from tiny import tiny_config


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_colour(height: int = 20, width: int = 30, *, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    values = resize(rng(seed).random((4, 4, 3)).astype(np.float32), height=height, width=width)
    return values if dtype is np.float32 else np.rint(values * np.iinfo(dtype).max).astype(dtype)


# --- RGB -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_in_rgb_the_network_gives_the_picture_itself(dtype):
    task, picture = Colorize(space="rgb"), some_colour(dtype=dtype)
    x, y = task.encode(picture, None, rng=rng())
    assert task.channels(3, None) == (1, 3)
    assert np.array_equal(x, Colorize().encode(picture, None, rng=rng())[0])
    assert np.array_equal(y, to_model(picture))
    shown = task.views(picture, None, rng=rng())
    assert np.abs(task.encode_source(shown.source[..., :1], {}) - task.encode_source(shown.source, {})).max() < 0.01
    assert np.abs(task.compose(y, shown.source, {}).astype(np.float64) - picture).max() <= 1e-6
    small = task.compose(np.full((3, 5, 6), 0.5, np.float32), shown.source[..., :1], {})  # even L is the network's
    assert small.shape == picture.shape
    assert small.dtype == dtype
    assert np.allclose(small / (1 if dtype is np.float32 else np.iinfo(dtype).max), 0.75, atol=0.01)


@pytest.mark.parametrize("options", [{"space": "hsv"}, {"hints": "many"}, {"hint": True}])
def test_settings_that_there_are_not_are_refused(options):
    with pytest.raises(ConfigError, match=f"(?s){next(iter(options))}.*fix"):
        build_task(TaskConfig(name="colorize", options=options))


# --- Hints: drawn --------------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_drawn_hint_is_the_mean_of_the_true_colour_beneath_it(seed, height, width):
    colour = rng(seed).uniform(-0.5, 0.5, (2, height, width)).astype(np.float32)
    planes, again = (drawn_hints(colour, rng(seed)) for _ in range(2))
    assert np.array_equal(planes, again)
    assert planes.shape == (3, height, width)
    assert planes.dtype == np.float32
    there = planes[2] > 0
    assert set(np.unique(planes[2])) <= {-1, 1}
    assert (planes[:2, ~there] == 0).all()
    assert np.abs(planes[:2]).max() <= np.abs(colour).max() + 1e-6
    ramp = np.stack(np.mgrid[:height, :width]).astype(np.float32)  # its mean over a rectangle is the rectangle's middle
    near = np.abs(drawn_hints(ramp, rng(seed))[:2] - ramp)[:, there]
    assert near.size == 0 or near.max() <= LONGEST / 2


def test_often_there_is_none_and_seldom_there_are_many():
    shares = np.array([(drawn_hints(np.zeros((2, 64, 64), np.float32), rng(seed))[2] > 0).mean() for seed in range(400)])
    assert 0.4 < (shares == 0).mean() < 0.6
    assert 0.01 < np.mean(shares[shares > 0]) < 0.1


def test_a_training_example_has_hints_and_what_is_judged_has_none():
    task, picture = Colorize(hints=True), some_colour()
    assert task.channels(3, None) == (4, 2)
    assert Colorize(hints=True, space="rgb").channels(3, None) == (4, 3)
    assert not task.pixelwise
    assert Colorize().pixelwise
    found = [task.encode(picture, None, rng=rng(seed)) for seed in range(20)]
    plain = Colorize().encode(picture, None, rng=rng())
    for x, y in found:
        assert np.array_equal(x[:1], plain[0])
        assert np.array_equal(y, plain[1])
    assert any((x[3] > 0).any() for x, _ in found)
    assert not task.views(picture, None, rng=rng()).given
    none = task.encode_source(picture, {})
    assert np.array_equal(none, np.concatenate([plain[0], np.zeros_like(plain[1]), np.full_like(plain[0], -1)]))
    assert any(np.array_equal(x, none) for x, _ in found)


# --- Hints: painted ------------------------------------------------------------------------------------------------------------------


def test_with_transparency_what_is_opaque_is_a_hint():
    painted = np.zeros((2, 3, 4), np.uint8)
    painted[0, 1] = 255, 0, 0, 255
    painted[1, 2] = 90, 90, 90, 200  # grey is a hint as well: this is to stay grey
    painted[1, 0] = 0, 255, 0, 100  # faint
    got = painted_hints(painted)
    assert got[0, 1].tolist() == [255, 0, 0, 255]
    assert got[1, 2].tolist() == [90, 90, 90, 255]
    assert got.reshape(-1, 4).any(axis=1).sum() == 2
    assert np.array_equal(painted_hints(got), got)
    grey = np.zeros((2, 3, 2), np.uint16)
    grey[0, 0] = 30000, 65535
    assert painted_hints(grey)[0, 0].tolist() == [30000, 30000, 30000, 65535]


def test_without_transparency_what_is_coloured_is_a_hint():
    """On the grey picture itself, on black or on white."""
    for ground in (0, 128, 255):
        painted = np.full((4, 5, 3), ground, np.uint8)
        painted[2, 3] = 200, 30, 30
        painted[0, 0] = np.clip((ground + 3, ground, ground - 3), 0, 255)  # what JPEG does to grey
        there = painted_hints(painted)[..., 3] > 0
        assert there.sum() == 1
        assert there[2, 3]


@pytest.mark.parametrize(
    ("painted", "why"),
    [
        (np.zeros((3, 3, 4), np.uint8), "transparent all over"),
        (np.full((3, 3, 3), 80, np.uint8), "none of its pixels is coloured"),
        (np.full((3, 3, 1), 80, np.uint8), "none of its pixels is coloured"),
        (np.zeros((3, 3, 5), np.uint8), "RGB and alpha"),
    ],
)
def test_hints_in_which_there_are_none_are_refused(painted, why):
    with pytest.raises(ImageError, match=rf"(?s){why}.*fix: "):
        painted_hints(painted)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_no_dot_is_lost_when_a_picture_is_brought_to_the_working_size(dtype):
    full = 1 if dtype is np.float32 else np.iinfo(dtype).max
    hints = np.zeros((500, 300, 4), dtype)
    for row in range(0, 500, 50):
        hints[row, 7] = full, 0, 0, full
    hints[3, 8] = 0, full, 0, full
    small = Colorize(hints=True).fit_given("hints", hints, height=50, width=30)
    assert small.shape == (50, 30, 4)
    assert small.dtype == dtype
    assert np.argwhere(small[..., 3]).tolist() == [[row, 0] for row in range(0, 50, 5)]
    assert np.allclose(small[0, 0] / full, [0.5, 0.5, 0, 1], atol=0.01)
    assert np.allclose(small[5, 0] / full, [1, 0, 0, 1])
    large = Colorize(hints=True).fit_given("hints", small, height=100, width=60)
    assert (large[..., 3] > 0).sum() == 4 * 10
    assert not smaller_hints(np.zeros((8, 8, 4), dtype), height=2, width=2).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_painted_hint_is_what_a_drawn_one_would_be(dtype):
    picture = some_colour(dtype=dtype)
    hints = np.zeros((20, 30, 4), dtype)
    hints[5:9, 10:12, :3] = picture[5:9, 10:12]
    hints[5:9, 10:12, 3] = 1 if dtype is np.float32 else np.iinfo(dtype).max
    task = Colorize(hints=True)
    values = task.encode_source(picture, {"hints": hints})
    colour = task.encode(picture, None, rng=rng())[1]
    assert np.allclose(values[1:3, 5:9, 10:12], colour[:, 5:9, 10:12], atol=1e-6)
    assert (values[3] > 0).sum() == 8
    assert np.array_equal(values[:1], task.encode_source(picture, {})[:1])
    part = task.encode_part(picture, {"hints": hints}, slice(6, 20), slice(3, 11))
    assert np.abs(part - values[:, 6:20, 3:11]).max() < 1e-6


# --- Hints: a model ------------------------------------------------------------------------------------------------------------------


def write_plain(folder: Path, *, count: int = 40, side: int = 24) -> Path:
    """Pictures of one colour each, all of one lightness, so that nothing but a hint can tell it."""
    folder.mkdir(parents=True, exist_ok=True)
    angles = rng().uniform(0, 2 * np.pi, count)
    for number, angle in enumerate(angles):
        lab = np.array([[[60, 40 * np.cos(angle), 40 * np.sin(angle)]]], np.float32)
        colour = np.rint(lab_to_rgb(lab) * 255).astype(np.uint8)
        write(Picture(np.broadcast_to(colour, (side, side, 3)).copy()), folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def hinted(tmp_path_factory) -> Path:
    """A model with hints, trained on :func:`write_plain`."""
    root = tmp_path_factory.mktemp("hinted")
    config = tiny_config(
        write_plain(root / "data"),
        name="regression",
        task__name="colorize",
        task__options={"hints": True},
        training__images=800,
        training__batch_size=8,
        generator__options__width=8,
    )
    config = override(config, {"generator_optimizer.learning_rate": 4e-3, "inference.statistics": "running"})
    train(config, out=root / "run", quiet=True)
    return root / "run/model-last"  # the best is chosen without hints, when there is nothing to go by


def chroma(picture: np.ndarray) -> np.ndarray:
    """The mean (a, b) of a picture."""
    return rgb_to_lab(picture.astype(np.float32) / 255)[..., 1:].mean(axis=(0, 1))


def with_dot(colour: tuple[int, int, int], *, side: int = 24) -> np.ndarray:
    hints = np.zeros((side, side, 4), np.uint8)
    hints[8:16, 8:16] = *colour, 255
    return hints


def test_hints_reach_the_output(hinted):
    """There is a gradient from a hint's colour to the output, and the picture takes the colour of the hint."""
    translate, grey = Translator.from_pretrained(hinted, device="cpu"), np.full((24, 24, 1), 144, np.uint8)
    values = translate.prepare(Picture(grey), given={"hints": with_dot((200, 60, 60))}).values
    x = torch.from_numpy(values[None]).requires_grad_()
    translate.generator(x).square().sum().backward()
    assert x.grad[:, 1:3].abs().max() > 0.01
    red, blue = (chroma(translate(grey, given={"hints": with_dot(colour)})) for colour in ((220, 80, 80), (90, 90, 230)))
    plain = chroma(translate(grey))
    assert red[0] > plain[0] + 5
    assert blue[1] < plain[1] - 5
    assert np.linalg.norm(red - blue) > 20


def test_hints_are_given_on_the_command_line(hinted, tmp_path, capsys):
    grey = Picture(np.full((30, 24, 1), 144, np.uint8))
    for name in ("in", "hints"):
        (tmp_path / name).mkdir()
    for number in range(3):
        write(grey, tmp_path / f"in/{number}.png")
    for number, colour in ((0, (220, 80, 80)), (1, (90, 90, 230))):
        Image.fromarray(np.pad(with_dot(colour), ((0, 6), (0, 0), (0, 0)))).save(tmp_path / f"hints/{number}.png")
    console = Console(capsys)
    command = ("translate", hinted, tmp_path / "in", "--device", "cpu")
    console.ok(*command, "--out", tmp_path / "some", "--hints", tmp_path / "hints")
    console.ok(*command, "--out", tmp_path / "none")
    console.ok(*command, "--out", tmp_path / "all", "--hints", tmp_path / "hints/0.png")
    made = {place: [read(tmp_path / place / f"{number}.png").pixels for number in range(3)] for place in ("some", "none", "all")}
    assert np.array_equal(made["some"][0], made["all"][0])
    assert not np.array_equal(made["some"][1], made["all"][1])
    assert np.array_equal(made["some"][2], made["none"][2])
    assert all(np.array_equal(made["all"][0], pixels) for pixels in made["all"])
    assert chroma(made["some"][0])[0] > chroma(made["none"][0])[0]


def test_a_large_picture_goes_through_in_pieces_with_its_hints(hinted, monkeypatch):
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 2000)
    monkeypatch.setattr(translator, "choose_tiling", lambda **_: Tiling(tile=48, margin=8, multiple=16, blend=True, note="in tiles"))
    translate, grey = Translator.from_pretrained(hinted, device="cpu"), Picture(np.full((96, 80, 1), 144, np.uint8))
    hints = np.zeros((96, 80, 4), np.uint8)
    hints[10:20, 10:20] = 220, 80, 80, 255
    plain, made = (translate.translate(grey, size="native", given=given).pixels for given in ({}, {"hints": hints}))
    assert not np.array_equal(made[:24, :24], plain[:24, :24])
    assert np.array_equal(made[80:, 60:], plain[80:, 60:])  # far from it


def test_mistakes_with_hints(hinted, tmp_path, capsys):
    grey = np.full((24, 24, 1), 144, np.uint8)
    translate = Translator.from_pretrained(hinted, device="cpu")
    with pytest.raises(ImageError, match="another size"):
        translate(grey, given={"hints": with_dot((1, 2, 3), side=16)})
    with pytest.raises(ConfigError, match="takes no mask"):
        translate(grey, given={"mask": grey})
    plain = tiny_config(hinted.parents[1] / "data", name="regression", task__name="colorize", training__images=2)
    train(plain, out=tmp_path / "plain", quiet=True)
    with pytest.raises(ConfigError, match=r"(?s)takes no hints.*--hints"):
        Translator.from_pretrained(tmp_path / "plain", device="cpu")(grey, given={"hints": with_dot((1, 2, 3))})
    (tmp_path / "others").mkdir()
    write(Picture(grey), tmp_path / "grey.png")
    write(Picture(with_dot((1, 2, 3))[..., :3].copy()), tmp_path / "others/other.png")
    ran = Console(capsys)("translate", hinted, tmp_path / "grey.png", "--out", tmp_path / "out", "--hints", tmp_path / "others")
    assert ran.code == 2
    assert "none of the pictures has hints" in ran.err
    assert not (tmp_path / "out").exists()


def test_transparency_is_given_along():
    assert as_given({"hints": Image.fromarray(with_dot((1, 2, 3)))})["hints"].shape == (24, 24, 4)


# --- Pictures without colour ---------------------------------------------------------------------------------------------------------


def write_mixed(folder: Path, *, grey: int = 3, colour: int = 5) -> Path:
    """Grey pictures in every disguise, and coloured ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(colour):
        write(Picture(some_colour(40, 40, seed=number)), folder / f"colour{number}.png")
    for number in range(grey):
        values = some_colour(40, 40, seed=number)[..., :1]
        pixels = np.repeat(values, 3, axis=2) if number else values[..., 0]
        Image.fromarray(pixels).save(folder / f"grey{number}.{'jpg' if number == 1 else 'png'}", **({"quality": 70} if number == 1 else {}))
    return folder


def test_grey_is_seen_through_jpeg_and_noise(tmp_path):
    values = np.repeat(some_colour(60, 60)[..., :1], 3, axis=2)
    noisy = np.clip(values + rng().integers(-3, 4, values.shape), 0, 255).astype(np.uint8)
    spot = values.copy()
    spot[20:30, 20:30] = 200, 60, 60
    wide = np.repeat(some_colour(60, 60, dtype=np.uint16)[..., :1], 3, axis=2)
    named = {"grey.png": values, "grey.jpg": values, "noisy.png": noisy, "spot.png": spot, "spot.jpg": spot, "wide.npy": wide}
    for name, pixels in named.items():
        np.save(tmp_path / name, pixels) if name.endswith("npy") else Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
    found = {path.name: is_grey(path) for path in sorted(tmp_path.iterdir())}
    assert found == {name: not name.startswith(("spot", "text")) for name in found}


def test_real_photographs_have_colour(real_data):
    photos = sorted((real_data / "bsds500/images/train").glob("*.jpg"))
    begun = time.perf_counter()
    grey = [path.name for path in photos if is_grey(path)]
    assert len(grey) <= 0.02 * len(photos), grey
    assert (time.perf_counter() - begun) / len(photos) < 0.1  # thousands in a minute


def test_grey_pictures_are_left_out_of_training_and_said_and_judged_all_the_same(tmp_path):
    data = write_mixed(tmp_path / "data")
    for name in ("train", "val"):
        write_mixed(data / name)
    for path in data.glob("*.*"):
        path.unlink()
    plan = make_plan(str(data), task="colorize", recipe_name="regression", size=16, images=4)
    assert sorted(record.id for record in plan.train) == [f"train/colour{number}" for number in range(5)]
    assert len(plan.validation) == 8
    note = next(reason for reason in plan.reasons if "left out" in reason)
    assert note == "3 of 8 training examples are left out: grey, with no colour to learn; the first is train/grey0."
    result = train(tiny_config(data, name="regression", task__name="colorize", training__images=4), out=tmp_path / "run", quiet=True)
    assert result.evaluation.count == 8
    assert resume(tmp_path / "run", quiet=True).folder == tmp_path / "run"
    assert len(complete(load_config(tmp_path / "run/config.yaml")).train) == 5


def test_nothing_but_grey_is_refused(tmp_path):
    data = write_mixed(tmp_path / "data", colour=0)
    with pytest.raises(DataError, match=r"(?s)colorize.*nothing.*grey0: grey, with no colour.*fix"):
        make_plan(str(data), task="colorize", recipe_name="regression", size=16, images=4)


def test_hints_leave_the_scale_alone():
    """(a, b) of a hint has the scale of the target's: what it is to become."""
    hints = painted_hints(np.full((1, 1, 4), (255, 0, 0, 255), np.uint8))
    values = Colorize(hints=True).encode_source(np.zeros((1, 1, 1), np.uint8), {"hints": hints})
    assert np.allclose(values[1:3, 0, 0] * AB_SCALE, [80.09, 67.20], atol=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_lightness_is_the_sources_whatever_colour_is_predicted(dtype):
    """Even where sRGB has no such colour: chroma gives way, not lightness."""
    rng = np.random.default_rng(0)
    most = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    source = (rng.random((32, 32, 3)) * most).astype(dtype)
    output = rng.uniform(-1, 1, (2, 32, 32)).astype(np.float32)
    ours = Colorize().compose(output, source, {})
    lightness = [rgb_to_lab((pixels / np.float64(most)).astype(np.float32))[..., 0] for pixels in (source, ours)]
    assert np.abs(lightness[0] - lightness[1]).max() < {np.uint8: 0.3, np.uint16: 0.02, np.float32: 0.02}[dtype]
    assert np.abs(ours.astype(float) - source).max() > 0.1 * most


def test_auto_holds_colours_more_to_the_true_ones_than_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    wanted = {("auto", None): 100.0, ("auto", 7.0): 7.0, ("cgan", None): override(recipe("cgan", size=16), {}).losses.pixel_weight}
    for (name, said), weight in wanted.items():
        settings = {} if said is None else {"losses.pixel_weight": said}
        plan = make_plan(str(tmp_path), task="colorize", recipe_name=name, size=16, images=4, settings=settings)
        assert plan.config.losses.pixel_weight == weight
