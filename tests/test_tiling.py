"""Tiles: what a network gives piece by piece is what it gives at once, where that can be; and fades where it cannot."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pixloom.inference.tiling import TILE, bands, choose_tiling, plan_tiles, tiled
from pixloom.inference.translator import pad
from pixloom.nets import build
from pixloom.nets.enlarging import Enlarging, Gentle, Rrdb
from pixloom.nets.layers import initialize, set_inference

LOCAL = {
    "encoder_decoder": {"width": 2, "norm": "batch"},
    "encoder_decoder without": {"width": 2, "norm": "none"},
    "resnet": {"width": 2, "blocks": 1, "norm": "batch"},
    "resnet of two": {"width": 2, "blocks": 2, "norm": "batch"},
    "unet of two": {"width": 2, "depth": 2},
    "unet": {"width": 2, "depth": 3},
    "rrdb": {"scale": 4, "blocks": 1, "width": 6, "growth": 4},
    "rrdb of two, folded": {"scale": 2, "folding": 2, "blocks": 2, "width": 6, "growth": 4},
    "rrdb of no scale": {"scale": 1, "folding": 4, "blocks": 1, "width": 6, "growth": 4},
    "compact": {"scale": 4, "width": 6, "depth": 2},
    "compact of three": {"scale": 3, "width": 6, "depth": 1},
    "srresnet": {"scale": 4, "width": 8, "blocks": 1},
    "srresnet of three": {"scale": 3, "width": 8, "blocks": 1},
    "srgan": {"scale": 4, "width": 6, "blocks": 1},
    "srgan of eight": {"scale": 8, "width": 6, "blocks": 1},
}
"""Networks with a radius, by a name that begins with the network's."""


def make(name: str, options: dict[str, object]) -> nn.Module:
    """A network for use, with random weights and running statistics."""
    torch.manual_seed(0)
    network = build(name.split()[0], options, source_channels=2, target_channels=1)
    initialize(network, gain=0.1 if isinstance(network, Enlarging) else 0.3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, Gentle):  # what it begins with is too little to be seen
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 2 if isinstance(network, Rrdb) else 1  # which damps it twice
    if isinstance(network, Rrdb):
        network.exit.weight.data /= 24  # about grey, of which little is cut off
        network.exit.bias.data.fill_(0.5)
    set_inference(network, statistics="running", dropout=False)
    return network


def runner(network: nn.Module):
    """The network on arrays of any size, padded as the translator does."""

    def run(values: np.ndarray) -> np.ndarray:
        height, width = values.shape[-2:]
        source = pad(np.ascontiguousarray(values), multiple=network.size_multiple, least=network.min_size)
        with torch.inference_mode():
            return network(torch.from_numpy(source)).numpy()[..., :height, :width]

    return run


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


# --- The radius ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCAL)
def test_nothing_beyond_the_radius_acts_and_something_at_it_does(name):
    """By the gradient of every phase of an output column, and the same of a row."""
    network = make(name, LOCAL[name]).double()
    multiple, radius = network.size_multiple, network.radius
    middle = (radius // multiple + 1) * multiple
    side = 2 * middle + multiple
    for axis in (2, 3):
        shape = [1, 2, *2 * [max(multiple, network.min_size)]]
        shape[axis] = side
        source = torch.from_numpy(noise(*shape).astype(np.float64)).requires_grad_()
        output = network(source).sum((0, 1, 5 - axis))
        reach = 0
        for place in range(middle, middle + multiple):
            (gradient,) = torch.autograd.grad(output[place], source, retain_graph=True)
            acting = gradient.abs().sum((0, 1, 5 - axis)).nonzero().flatten() - place
            reach = max(reach, int(acting.abs().max()))
        assert reach == radius


@pytest.mark.parametrize("norm", ["instance", "group"])
@pytest.mark.parametrize("name", ["encoder_decoder", "resnet", "unet"])
def test_a_norm_over_the_whole_picture_leaves_no_radius(name, norm):
    network = make(name, {"width": 4, "norm": norm} | ({"depth": 2} if name == "unet" else {}))
    assert network.radius is None
    local = make(name, {"width": 4, "norm": "batch"} | ({"depth": 2} if name == "unet" else {"blocks": 1} if name == "resnet" else {}))
    values = noise(1, 2, local.radius // 16 * 16 + 48, 16)
    changed = values.copy()
    changed[..., -8:, :] *= -1
    near = slice(0, values.shape[2] - 8 - local.radius)
    assert np.array_equal(runner(local)(values)[:, :, near], runner(local)(changed)[:, :, near])
    assert not np.allclose(runner(network)(values)[:, :, near], runner(network)(changed)[:, :, near])


# --- Exact tiles ---------------------------------------------------------------------------------------------------------------------


def exact(network: nn.Module, *, more: int) -> dict[str, int]:
    """Tiles that hold ``more`` steps of the network's strides beside their margins."""
    multiple = network.size_multiple
    margin = -(-network.radius // multiple) * multiple
    return {"tile": 2 * margin + more * multiple, "margin": margin, "multiple": multiple}


@pytest.mark.parametrize("name", LOCAL)
@given(st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_exact_tiles_give_what_the_whole_picture_gives(name, data):
    network = make(name, LOCAL[name])
    tiles = exact(network, more=data.draw(st.integers(1, 3)))
    height, width = (data.draw(st.integers(1, 2 * tiles["tile"])) for _ in range(2))
    values = noise(1, 2, height, width)
    whole = runner(network)(values)
    assert np.abs(tiled(runner(network), values, **tiles) - whole).max() < 1e-5


@pytest.mark.parametrize("name", LOCAL)
def test_a_smaller_margin_would_not_be_exact(name):
    network = make(name, LOCAL[name])
    tiles = exact(network, more=1)
    short = {**tiles, "margin": tiles["margin"] // tiles["multiple"] // 2 * tiles["multiple"]}
    values = noise(1, 2, 40, tiles["tile"] * 2)
    whole = runner(network)(values)
    assert np.abs(tiled(runner(network), values, **tiles) - whole).max() < 1e-5
    assert np.abs(tiled(runner(network), values, **short) - whole).max() > 1e-5


def test_a_batch_goes_through_together():
    network = make("unet", LOCAL["unet"])
    values = noise(3, 2, 100, 70)
    tiles = exact(network, more=1)
    alone = [tiled(runner(network), values[i : i + 1], **tiles)[0] for i in range(3)]
    assert np.abs(tiled(runner(network), values, **tiles) - np.stack(alone)).max() < 1e-5


# --- The plan ------------------------------------------------------------------------------------------------------------------------


PLANS = st.tuples(st.integers(1, 400), st.sampled_from([1, 4, 16]), st.integers(0, 3), st.integers(1, 8))


@given(PLANS, st.booleans())
@settings(deadline=None)
def test_a_plan_covers_every_pixel_once_with_tiles_on_the_grid(plan, blend):
    length, multiple, margins, inner = plan
    margin = margins * multiple
    tile = 2 * margin + (max(inner, 2 * margins) if blend else inner) * multiple
    blend = blend and margin > 0
    rows, columns = plan_tiles(7, length, tile=tile, margin=margin, multiple=multiple, blend=blend)
    assert [span.read for span in rows] == [slice(0, 7)] or tile < 7
    total = np.zeros(length)
    for span in columns:
        assert span.read.start % multiple == 0
        assert span.read.stop - span.read.start <= tile
        assert span.read.start <= span.keep.start < span.keep.stop <= span.read.stop
        assert span.read.start == 0 or blend or span.keep.start - span.read.start >= margin
        assert span.read.stop == length or blend or span.read.stop - span.keep.stop >= margin
        assert span.weight.shape == (span.keep.stop - span.keep.start,)
        total[span.keep] += span.weight
    assert np.allclose(total, 1, atol=1e-6)
    sizes = {-(-(span.read.stop - span.read.start) // multiple) for span in columns}
    assert len(sizes) == 1, "so that a runtime meets one shape"


@pytest.mark.parametrize("blend", [False, True])
def test_what_changes_nothing_changes_nothing(blend):
    values = noise(2, 3, 75, 131)
    got = tiled(lambda part: part, values, tile=48, margin=8, multiple=16, blend=blend)
    assert got.dtype == np.float32
    assert np.array_equal(got, values) if not blend else np.abs(got - values).max() < 1e-6


def test_a_picture_no_larger_than_a_tile_goes_through_once():
    seen = []
    tiled(lambda part: seen.append(part.shape) or part, noise(1, 1, 48, 30), tile=48, margin=8, multiple=16)
    assert seen == [(1, 1, 48, 30)]


def test_plans_that_could_not_be_exact_are_refused():
    with pytest.raises(AssertionError, match="more than its margins"):
        plan_tiles(100, 100, tile=32, margin=16, multiple=16)
    with pytest.raises(AssertionError, match="grid"):
        plan_tiles(100, 100, tile=64, margin=12, multiple=16)


# --- Fading --------------------------------------------------------------------------------------------------------------------------


def test_neighbours_fade_into_each_other():
    """A network that says something else in every tile: cut, there is a step; faded, none is larger than its share."""
    numbers = iter(range(100))

    def run(part: np.ndarray) -> np.ndarray:
        return np.full(part.shape, next(numbers), np.float32)

    values = np.zeros((1, 1, 8, 224), np.float32)
    cut = tiled(run, values, tile=64, margin=16, multiple=16)
    numbers = iter(range(100))
    faded = tiled(run, values, tile=64, margin=16, multiple=16, blend=True)
    assert np.abs(np.diff(cut)).max() == 1
    assert np.abs(np.diff(faded)).max() < 0.06  # 1.5 / 32 is the steepest place of 3 d^2 - 2 d^3 over 32 pixels
    assert cut[0, 0, 0, 0] == faded[0, 0, 0, 0] == 0
    assert cut[..., -1].max() == faded[..., -1].max()


def test_the_seams_of_a_network_of_whole_pictures_are_softer():
    """Beside the steps at the seams there is what the network sees differently within its tiles, which fading cannot mend."""
    network = make("resnet", {"width": 4, "blocks": 1, "norm": "instance"})
    values = np.tile(np.linspace(-1, 1, 160, dtype=np.float32), (1, 2, 64, 1))  # so that its tiles differ in their statistics
    tiles = {"tile": 64, "margin": 16, "multiple": 4}
    seams = [span.keep.start - 1 for span in plan_tiles(64, 160, **tiles)[1][1:]]
    whole = runner(network)(values)
    errors = [tiled(runner(network), values, blend=blend, **tiles) - whole for blend in (False, True)]
    cut, faded = (np.abs(np.diff(error))[..., seams].mean() for error in errors)
    assert len(seams) > 1
    assert faded < 0.8 * cut


# --- Which tiles ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("radius", "multiple", "tile", "margin", "blend"),
    [
        (45, 16, TILE, 48, False),
        (84, 4, TILE, 84, False),
        (189, 64, TILE, 192, False),
        (381, 128, TILE, 64, True),
        (765, 256, TILE, 128, True),
        (None, 4, TILE, 64, True),
        (None, 512, 1024, 256, True),
        (0, 1, TILE, 0, False),
    ],
)
def test_tiles_are_exact_where_that_costs_at_most_four_times_the_work(radius, multiple, tile, margin, blend):
    tiling = choose_tiling(radius=radius, multiple=multiple)
    assert (tiling.tile, tiling.margin, tiling.multiple, tiling.blend) == (tile, margin, multiple, blend)
    assert blend or (tile / (tile - 2 * margin)) ** 2 <= 4
    plan_tiles(5000, 5000, tile=tiling.tile, margin=tiling.margin, multiple=tiling.multiple, blend=tiling.blend)


def test_the_note_says_why_a_picture_is_not_what_it_would_be_at_once():
    assert choose_tiling(radius=45, multiple=16).note == "translated in tiles"
    assert "since the network looks 765 pixels far" in choose_tiling(radius=765, multiple=256).note
    assert "since the network looks at the whole picture" in choose_tiling(radius=None, multiple=4).note


# --- Memory --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blend", [False, True])
def test_bands_come_in_order_and_hold_one_row_of_tiles(blend):
    """Of a source that is never there as a whole."""
    height, width, side = 4096, 512, 128

    def read(down: slice, across: slice) -> np.ndarray:
        rows, columns = np.arange(down.start, down.stop), np.arange(across.start, across.stop)
        return (rows[:, None] * 1000.0 + columns).astype(np.float32)[None]

    rows, columns = plan_tiles(height, width, tile=side, margin=16, multiple=16, blend=blend)
    tracemalloc.start()
    try:
        seen = 0
        for kept, band in bands(lambda part: part, read, rows=rows, columns=columns):
            assert kept.start == seen
            seen = kept.stop
            assert np.allclose(band, read(kept, slice(0, width)), rtol=1e-5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == height
    assert peak < 16 * side * width * 4 < height * width * 4
