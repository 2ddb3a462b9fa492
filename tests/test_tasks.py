"""Tasks: pictures become examples and outputs become pictures again."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixloom import images
from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, DataError
from pixloom.tasks import TASKS, build_task
from pixloom.tasks.colorize import AB_SCALE, Colorize, lab_to_rgb, rgb_to_lab
from pixloom.tasks.pair import Pair

RNG = np.random.default_rng(0)
PIXELS = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


def every_colour(step: int = 17) -> np.ndarray:
    """A regular grid of the sRGB cube with its corners, (n, n, 3) uint8."""
    values = np.arange(0, 256, step, dtype=np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1)
    return grid.reshape(len(values), -1, 3)


# --- CIE Lab -------------------------------------------------------------------------------------------------------------------------


def test_lab_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    rgb = every_colour().astype(np.float32) / 255
    assert np.abs(rgb_to_lab(rgb) - color.rgb2lab(rgb)).max() < 0.02


def test_the_way_back_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    rng = np.random.default_rng(0)
    lab = np.stack([rng.uniform(25, 100, (50, 50)), *rng.uniform(-40, 40, (2, 50, 50))], axis=-1).astype(np.float32)
    expected = color.lab2rgb(lab)
    inside = ((expected > 0.005) & (expected < 0.995)).all(axis=-1)
    assert inside.mean() > 0.5
    assert np.abs(lab_to_rgb(lab) - expected)[inside].max() < 2e-3


def test_known_colours():
    """Bruce Lindbloom's values under D65: white, mid grey and the primaries."""
    rgb = np.array([[[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], dtype=np.float32)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    assert np.abs(rgb_to_lab(rgb)[0] - expected).max() < 0.05


@given(PIXELS)
@settings(deadline=None)
def test_lab_and_back_gives_every_colour_back(pixels):
    rgb = pixels.astype(np.float32) / 255
    assert np.abs(lab_to_rgb(rgb_to_lab(rgb)) - rgb).max() < 2e-3


def test_no_colour_exceeds_the_scale():
    lab = rgb_to_lab(every_colour(5).astype(np.float32) / 255)
    assert np.abs(lab[..., 1:]).max() <= AB_SCALE
    assert -1e-3 <= lab[..., 0].min() <= lab[..., 0].max() <= 100.01


def test_what_lies_outside_srgb_is_clipped():
    wild = np.array([[[50, 200, -200], [120, 0, 0], [-10, 5, 5]]], dtype=np.float32)
    rgb = lab_to_rgb(wild)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert np.isfinite(rgb).all()


# --- Colorize ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colorize_encodes_l_and_ab_into_one_range(dtype):
    full = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    image = (every_colour().astype(np.float64) / 255 * full).round(0 if full > 1 else 9).astype(dtype)
    x, y = Colorize().encode(image, None, rng=RNG)
    lab = rgb_to_lab(image.astype(np.float32) / np.float32(full))
    assert (x.shape[0], y.shape[0]) == (1, 2)
    assert x.dtype == y.dtype == np.float32
    assert max(np.abs(x).max(), np.abs(y).max()) <= 1.001
    assert np.allclose(x[0], lab[..., 0] / 50 - 1, atol=1e-4)
    assert np.allclose(y, lab[..., 1:].transpose(2, 0, 1) / 110, atol=1e-4)
    assert np.array_equal(Colorize().encode_source(image, {}), x)


@given(PIXELS)
@settings(deadline=None)
def test_the_true_colour_gives_the_picture_back(pixels):
    _, y = Colorize().encode(pixels, None, rng=RNG)
    assert np.abs(Colorize().compose(y, pixels, {}).astype(int) - pixels).max() <= 1


def test_sixteen_bits_come_back_as_sixteen_bits():
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    _, y = Colorize().encode(pixels, None, rng=RNG)
    got = Colorize().compose(y, pixels, {})
    assert got.dtype == np.uint16
    assert np.abs(got.astype(int) - pixels).max() <= 65  # 1e-3 of the range: float32 through cubes and cube roots


@pytest.mark.parametrize("channels", [1, 3])
def test_the_lightness_is_the_sources_own_at_its_full_resolution(channels):
    """Whatever a smaller network says about colour: as long as the colour exists, L is untouched."""
    rng = np.random.default_rng(0)
    source = rng.integers(80, 200, (64, 48, channels), dtype=np.uint8)
    colour = rng.uniform(-0.12, 0.12, (2, 16, 12)).astype(np.float32)
    got = Colorize().compose(colour, source, {})
    assert got.shape == (64, 48, 3)
    wanted = rgb_to_lab(np.repeat(source, 3 // channels, axis=-1).astype(np.float32) / 255)[..., 0]
    inside = ((got > 0) & (got < 255)).all(axis=-1)
    assert inside.mean() > 0.95
    found = rgb_to_lab(got.astype(np.float32) / 255)[..., 0]
    assert np.abs(found - wanted)[inside].max() < 0.5  # a step of 8-bit colour
    assert np.abs(rgb_to_lab(got.astype(np.float32) / 255)[..., 1:]).max() > 5


def test_no_colour_leaves_a_grey_picture_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    got = Colorize().compose(np.zeros((2, 16, 16), dtype=np.float32), grey, {})
    assert np.abs(got.astype(int) - grey).max() <= 1


def test_colour_is_predicted_at_the_working_size_and_spread_without_a_shift():
    source = np.full((32, 32, 1), 128, dtype=np.uint8)
    colour = np.zeros((2, 8, 8), dtype=np.float32)
    colour[0, :, 4:] = 0.3
    got = rgb_to_lab(Colorize().compose(colour, source, {}).astype(np.float32) / 255)[..., 1]
    assert np.abs(got[:, :12]).max() < 4
    assert got[:, 20:].min() > 25
    assert abs(got[0, 15] + got[0, 16] - 33) < 3  # the edge lies in the middle


def test_views_are_what_went_in_and_what_should_come_out():
    image = every_colour(51)
    shown = Colorize().views(image, None, rng=RNG)
    grey, colour = shown.source, shown.target
    assert np.array_equal(colour, image)
    assert np.abs(grey.astype(int) - grey[..., :1]).max() <= 1
    assert np.abs(rgb_to_lab(grey / np.float32(255))[..., 0] - rgb_to_lab(image / np.float32(255))[..., 0]).max() < 0.5


@pytest.mark.parametrize(("source", "target"), [(1, None), (4, None), (3, 3)])
def test_colorize_learns_from_colour_pictures_alone(source, target):
    with pytest.raises(DataError, match="colorize"):
        Colorize().channels(source, target)


def test_colorize_channels():
    assert Colorize().channels(3, None) == (1, 2)
    assert [Colorize().source_channels(picture, 1) for picture in (1, 2, 3, 4)] == [1, 3, 3, 3]
    assert Colorize().output_channels(2) == 3


# --- Pair ----------------------------------------------------------------------------------------------------------------------------


def test_direction_chooses_which_side_is_the_source():
    a, b = np.full((4, 5, 1), 0, dtype=np.uint8), np.full((4, 5, 3), 255, dtype=np.uint8)
    forward, backward = Pair(), Pair(direction="BtoA")
    assert forward.channels(1, 3) == (1, 3)
    assert backward.channels(1, 3) == (3, 1)
    for task, (x, y) in ((forward, (a, b)), (backward, (b, a))):
        seen_x, seen_y = task.encode(a, b, rng=RNG)
        assert seen_x.shape == (x.shape[2], 4, 5)
        assert np.array_equal(seen_x.transpose(1, 2, 0), x / np.float32(127.5) - 1)
        assert np.array_equal(seen_y.transpose(1, 2, 0), y / np.float32(127.5) - 1)
        shown = task.views(a, b, rng=RNG)
        assert np.array_equal(shown.source, x)
        assert np.array_equal(shown.target, y)
        assert np.array_equal(task.encode_source(x, {}), seen_x)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_pair_encoded_and_composed_is_itself(dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (6, 7, 4), dtype=dtype)
    assert np.array_equal(Pair().compose(Pair().encode_source(image, {}), image, {}), image)


def test_an_output_takes_the_size_and_type_of_its_source():
    source = np.zeros((40, 30, 1), dtype=np.uint16)
    got = Pair().compose(np.ones((3, 10, 8), dtype=np.float32), source, {})
    assert (got.shape, got.dtype) == ((40, 30, 3), np.uint16)
    assert (got == 65535).all()


def test_pair_needs_a_partner():
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    for call in (lambda: Pair().channels(3, None), lambda: Pair().views(image, None, rng=RNG), lambda: Pair().encode(image, None, rng=RNG)):
        with pytest.raises(DataError, match="pair"):
            call()


# --- Large pictures ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("task", [Pair(), Colorize()])
def test_a_picture_can_be_encoded_and_composed_in_pieces(task, dtype):
    source = some_picture(40, 50, dtype=dtype)
    output = np.random.default_rng(1).uniform(-0.3, 0.3, (2 if task == Colorize() else 3, 40, 50)).astype(np.float32)
    encoded, composed = task.encode_source(source, {}), task.compose(output, source, {}).astype(np.float64)
    for rows, columns in ((slice(0, 7), slice(0, 50)), (slice(7, 40), slice(3, 20)), (slice(39, 40), slice(49, 50))):
        assert np.abs(task.encode_source(source[rows, columns], {}) - encoded[:, rows, columns]).max() < 1e-6
        part = task.compose(output[:, rows, columns], source[rows, columns], {})
        assert np.abs(part - composed[rows, columns]).max() <= {np.uint8: 1, np.uint16: 2, np.float32: 1e-5}[dtype]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("task", [Pair(), Colorize()])
def test_a_small_output_is_spread_over_a_large_picture_piece_by_piece(task, dtype, monkeypatch):
    source = some_picture(90, 120, dtype=dtype)
    output = np.random.default_rng(1).uniform(-0.3, 0.3, (2 if task == Colorize() else 3, 30, 40)).astype(np.float32)
    whole = task.compose(output, source, {})
    monkeypatch.setattr(images, "_AT_ONCE", 2000)
    assert np.abs(task.compose(output, source, {}) - whole.astype(np.float64)).max() <= {np.uint8: 1, np.uint16: 2, np.float32: 1e-5}[dtype]


@pytest.mark.parametrize("side", ["small", "own"])
@pytest.mark.parametrize("task", [Pair(), Colorize()])
def test_a_large_picture_takes_little_memory_beside_its_result(task, side, monkeypatch):
    monkeypatch.setattr(images, "_AT_ONCE", 2**16)
    source = np.full((1500, 2000, 3), 100, np.uint8)
    size = (100, 150) if side == "small" else source.shape[:2]
    output = np.zeros((2 if task == Colorize() else 3, *size), np.float32)
    results = {"encode_source": task.encode_source(source, {}).nbytes, "compose": source.nbytes}
    work = {"encode_source": lambda: task.encode_source(source, {}), "compose": lambda: task.compose(output, source, {})}
    for name, call in work.items():
        tracemalloc.start()
        try:
            call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < results[name] + 3 * 2**23, name  # strips of 2^18 pixels; done at once, colorize takes ten times as much


def some_picture(height: int, width: int, *, dtype: type) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width, 3))
    return values.astype(dtype) if dtype is np.float32 else np.rint(values * np.iinfo(dtype).max).astype(dtype)


# --- By name -------------------------------------------------------------------------------------------------------------------------


def test_tasks_are_found_by_their_names():
    for name, task in TASKS.items():
        assert task.name == name
        assert type(build_task(TaskConfig(name=name))) is task
        assert task.summary
    assert build_task(TaskConfig(name="pair", direction="BtoA")) == Pair(direction="BtoA")


def test_an_unknown_task_and_a_useless_direction_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'colorize'"):
        build_task(TaskConfig(name="colourise"))
    with pytest.raises(ConfigError, match="direction"):
        build_task(TaskConfig(name="colorize", direction="AtoB"))
