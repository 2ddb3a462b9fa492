"""Tasks that make their own examples: holes to fill, pictures made small or bad; and how they are used and measured."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from console import Console
from pixloom.config import DataConfig, LossConfig, TaskConfig
from pixloom.data.sources import discover
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import Picture, as_picture, read, resize, to_model, write
from pixloom.inference.tiling import Tiling
from pixloom.metrics.luma import luma, psnr_y, ssim_y
from pixloom.tasks import TASKS, build_task
from pixloom.tasks.base import Shown
from pixloom.tasks.degradations import DEGRADATIONS, blurred, through_jpeg
from pixloom.tasks.inpaint import Inpaint
from pixloom.tasks.masks import MASKS, as_mask, draw_mask, own_mask
from pixloom.tasks.restore import Restore
from pixloom.tasks.superresolve import SuperResolve
from pixloom.training.api import train
from pixloom.training.plan import make_plan


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(height: int = 48, width: int = 40, channels: int = 3, *, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """Smooth and edgy, so that resizing and blurring it mean something."""
    coarse = rng(seed).uniform(0, 1, (height // 8, width // 8, channels)).astype(np.float32)
    smooth = resize(coarse, height=height, width=width)
    return smooth if dtype is np.float32 else np.rint(smooth * np.iinfo(dtype).max).astype(dtype)


# --- Masks ---------------------------------------------------------------------------------------------------------------------------


@given(shape=st.sampled_from([*MASKS, "mixed"]), height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_a_mask_has_a_hole_and_something_around_it(shape, height, width, seed):
    if height * width == 1:
        return
    masks = [draw_mask(rng(seed), height=height, width=width, shape=shape, least=0.1, most=0.5) for _ in range(2)]
    assert np.array_equal(*masks)
    assert masks[0].shape == (height, width)
    assert masks[0].any()
    assert not masks[0].all()


@pytest.mark.parametrize("shape", MASKS)
def test_a_mask_covers_about_the_share_that_was_asked_for(shape):
    shares = [draw_mask(rng(seed), height=64, width=80, shape=shape, least=0.2, most=0.3).mean() for seed in range(30)]
    assert 0.18 < np.mean(shares) < 0.4
    assert min(shares) >= 0.18
    assert np.std(shares) > 0.005


def test_own_masks_are_used_and_checked(tmp_path):
    mask = np.zeros((10, 12, 1), np.uint8)
    mask[2:5, 3:9] = 255
    write(Picture(mask), tmp_path / "one.png")
    got = own_mask(rng(), tmp_path, height=20, width=24)
    assert np.array_equal(got, mask[..., 0].repeat(2, 0).repeat(2, 1) > 0)
    assert Inpaint(folder=str(tmp_path)).views(photo(20, 24), None, rng=rng()).given["mask"].mean() == pytest.approx(255 * 18 / 120)
    assert Inpaint(folder=str(tmp_path)).settled(()) == Inpaint(folder=str(tmp_path))
    for value, word in ((255, "white"), (0, "black")):
        (tmp_path / word).mkdir()
        write(Picture(mask), tmp_path / word / "good.png")
        write(Picture(np.full((4, 4, 1), value, np.uint8)), tmp_path / word / "bad.png")
        with pytest.raises(DataError, match=rf"(?s)this mask is all {word}.*bad\.png"):
            Inpaint(folder=str(tmp_path / word)).settled(())
    with pytest.raises(DataError, match="no masks here"):
        Inpaint(folder=str(tmp_path / "nowhere")).settled(())
    with pytest.raises(ConfigError, match=r"least=0\.2 would have no effect"):
        Inpaint(folder=str(tmp_path), least=0.2)


def test_shapes_of_objects_are_taken_as_they_are(tmp_path):
    """Masks of any aspect and size; one too fine for the size keeps a pixel of its hole."""
    shapes = [np.zeros((60, 90), bool) for _ in range(3)]
    shapes[0][10:50, 20:40] = True
    shapes[1][np.add.outer((np.arange(60) - 30) ** 2, (np.arange(90) - 60) ** 2) < 400] = True
    shapes[2][0, 0] = True
    for number, shape in enumerate(shapes):
        write(Picture((shape * np.uint8(255))[..., None]), tmp_path / f"{number}.png")
    found = {own_mask(rng(seed), tmp_path, height=20, width=30).tobytes() for seed in range(40)}
    expected = [resize(shape[..., None], height=20, width=30, nearest=True)[..., 0] for shape in shapes[:2]]
    single = np.zeros((20, 30), bool)
    single[10, 0] = True
    assert found == {mask.tobytes() for mask in (*expected, single)}


def test_what_is_transparent_is_no_hole():
    mask = np.full((2, 2, 4), 255, np.uint8)
    mask[0, 0, 3] = 0
    mask[1, 1, 0] = 0
    assert as_mask(mask).tolist() == [[False, True], [True, False]]
    assert as_mask(mask[..., 2:]).tolist() == [[False, True], [True, True]]
    assert as_mask(mask[..., :3]).tolist() == [[True, True], [True, False]]


# --- Inpaint -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_known_pixels_come_back_to_the_bit_and_the_hole_is_filled(dtype):
    task, whole = Inpaint(), photo(dtype=dtype)
    shown = task.views(whole, None, rng=rng())
    hole = as_mask(shown.given["mask"])
    assert np.array_equal(shown.source[~hole], whole[~hole])
    assert (shown.source[hole] == shown.source[hole][0]).all()
    values = task.encode_source(shown.source, shown.given)
    assert values.shape == (4, 48, 40)
    assert (values[:3, hole] == 0).all()
    assert np.array_equal(values[3] > 0, hole)
    small = np.full((3, 24, 20), 0.5, np.float32)  # the network may have worked at another size
    result = task.compose(small, shown.source, shown.given)
    assert result.dtype == dtype
    assert np.array_equal(result[~hole], whole[~hole])
    full = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    assert np.allclose(result[hole] / full, 0.75, atol=0.01)


def test_a_feather_fades_outside_the_hole_and_nowhere_else():
    mask = np.zeros((40, 40, 1), np.uint8)
    mask[10:30, 10:30] = 255
    source, output = np.zeros((40, 40, 1), np.uint8), np.ones((1, 40, 40), np.float32)
    hard, soft = (Inpaint(feather=feather).compose(output, source, {"mask": mask})[20, :, 0] for feather in (0, 6))
    assert hard.tolist() == [0] * 10 + [255] * 20 + [0] * 10
    assert (soft[10:30] == 255).all()
    assert 0 < soft[8] < soft[9] < 255
    assert not soft[:2].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("feather", [2, 12, 40])
def test_a_feather_begins_at_the_hole_without_a_step_and_ends_after_its_pixels(feather, dtype):
    full = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    mask = np.zeros((30, 200, 1), np.uint8)
    mask[:, :80] = 255
    source, output = np.zeros((30, 200, 1), dtype), np.ones((1, 30, 200), np.float32)
    row = Inpaint(feather=feather).compose(output, source, {"mask": mask})[15, :, 0] / full
    assert (row[:80] == 1).all()
    assert (np.diff(row[79:]) <= 0).all()
    assert not row[80 + feather :].any()
    assert row[80 + feather // 2] > 0
    assert 1 - row[80] < 2 / feather  # no seam where the hole ends


def test_losses_look_at_the_hole_and_at_the_rest_apart():
    task = Inpaint(hole_weight=2.0, known_weight=0.5)
    terms = task.terms(LossConfig(pixel_weight=10.0))
    assert {name: weight for name, (weight, _) in terms.items()} == {"hole": 20.0, "known": 5.0}
    mask = -torch.ones(1, 1, 8, 8)
    mask[..., :2] = 1
    source, target = torch.cat([torch.zeros(1, 3, 8, 8), mask], 1), torch.zeros(1, 3, 8, 8)
    output = torch.where(mask > 0, 0.4, 0.1).expand(1, 3, 8, 8)
    found = {name: float(term(output, source, target)) for name, (_, term) in terms.items()}
    assert found == pytest.approx({"hole": 0.4, "known": 0.1})
    assert "known" not in Inpaint(known_weight=0.0).terms(LossConfig())


def test_psnr_in_the_hole_is_that_of_the_hole():
    whole = photo()
    shown = Inpaint(mask="half", least=0.3, most=0.3).views(whole, None, rng=rng())
    hole = as_mask(shown.given["mask"])
    prediction = np.where(hole[..., None], np.clip(whole.astype(int) + 10, 0, 255), 0).astype(np.uint8)  # wrong outside, which is not asked
    row = Inpaint().measure(shown, prediction).row
    assert row["hole_psnr"] == pytest.approx(peak_signal_noise_ratio(whole[hole], prediction[hole]), abs=1e-6)
    assert list(row) == ["hole_psnr", "hole_psnr, 20 to 30 % hole"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "hearts"}, "task.options.mask cannot be 'hearts'"),
        ({"least": 0.6, "most": 0.5}, "is more than"),
        ({"most": 1.5}, "task.options.most cannot be 1.5"),
        ({"masks": "boxes"}, "no setting 'masks'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_task(TaskConfig(name="inpaint", options=options))


# --- Degradations --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_degradation_changes_a_picture_and_keeps_its_form(name, channels):
    good = photo(channels=channels, dtype=np.float32)
    bad = [DEGRADATIONS[name](good, rng(seed)) for seed in (1, 1, 2)]
    assert bad[0].shape == good.shape
    assert bad[0].dtype == np.float32
    assert 0 <= bad[0].min() <= bad[0].max() <= 1
    assert np.array_equal(bad[0], bad[1])
    assert not np.array_equal(bad[0], bad[2])
    assert np.abs(bad[0] - good).max() > 0.005


def test_a_blur_is_the_convolution_that_it_says():
    point = np.zeros((31, 31, 1), np.float32)
    point[15, 15] = 1
    spread = blurred(point, sigmas=(2.0, 1.0), angle=0.0)[..., 0]
    y, x = np.mgrid[-15:16, -15:16]
    expected = np.exp(-0.5 * ((x / 2.0) ** 2 + y**2))
    assert np.allclose(spread, expected / expected.sum(), atol=1e-3)  # cut off at three sigma
    assert np.allclose(blurred(np.full((5, 4, 2), 0.3, np.float32), sigmas=(3.0, 3.0), angle=1.0), 0.3, atol=1e-6)


def test_worse_jpeg_is_further_away():
    good = photo(dtype=np.float32)
    errors = [np.abs(through_jpeg(good, quality=quality) - good).mean() for quality in (90, 50, 5)]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_restore_makes_its_pairs(dtype):
    good = photo(dtype=dtype)
    shown = Restore(degradation="noise").views(good, None, rng=rng())
    assert shown.target is good
    assert shown.source.dtype == dtype
    assert not np.array_equal(shown.source, good)
    x, y = Restore(degradation="noise").encode(good, None, rng=rng())
    assert x.shape == y.shape == (3, 48, 40)


def test_haze_is_koschmieders_law():
    """From the same chance over black and white: t = I(1) - I(0), and I(0) = A (1 - t)."""
    for seed in range(5):
        black, white = (DEGRADATIONS["haze"](np.full((40, 50, 3), value, np.float32), rng(seed)) for value in (0, 1))
        through = white - black
        assert np.allclose(through, through[..., :1], atol=1e-6)  # the same for every colour
        assert np.exp(-3) - 1e-6 <= through.min() < through.max() <= 1 + 1e-6
        assert through.max() - through.min() > 0.2  # near and far
        assert np.abs(np.diff(through, axis=0)).max() < 0.2  # smooth
        far = through[..., 0] < 0.9
        airlight = (black / np.maximum(1 - through, 1e-6))[far]
        assert np.allclose(airlight, airlight[0], atol=1e-3)
        assert 0.6 < airlight.min() <= airlight.max() <= 1 + 1e-3
    assert np.array_equal(Restore(degradation="haze").views(photo(), None, rng=rng()).target, photo())


# --- Super-resolution ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_example_is_a_picture_and_its_small_self_enlarged(scale):
    task, sharp = SuperResolve(scale=scale), photo(50, 41)
    shown = task.views(sharp, None, rng=rng())
    assert shown.source.shape[:2] == (50 // scale, 41 // scale)
    assert np.array_equal(shown.target, sharp[: 50 // scale * scale, : 41 // scale * scale])
    x, y = task.encode(sharp, None, rng=rng())
    assert x.shape == y.shape
    assert np.array_equal(task.compose(y, shown.source, {}), shown.target)
    assert np.array_equal(task.compose(x, shown.source, {}), task.input_baseline(shown))


def test_a_chain_makes_small_pictures_worse():
    sharp = photo(64, 64)
    plain, worse = (SuperResolve(degradation=name).views(sharp, None, rng=rng(3)).source for name in ("bicubic", "chain"))
    assert not np.array_equal(plain, worse)
    with pytest.raises(DataError, match="4 times smaller"):
        SuperResolve().views(photo(8, 8)[:3], None, rng=rng())


def test_what_would_be_too_large_is_refused():
    with pytest.raises(ImageError, match=r"(?s)too many to be enlarged 8 times.*1,000,000,000.*fix"):
        SuperResolve(scale=8).accepted(np.broadcast_to(np.uint8(0), (4000, 4000, 1)), {})
    SuperResolve(scale=7).accepted(np.broadcast_to(np.uint8(0), (4000, 4000, 1)), {})
    assert SuperResolve(scale=8).magnification == 8
    assert Restore().magnification == 1


@pytest.mark.parametrize("scale", [0, 1, 9, 2.5, "four", True])
def test_a_scale_is_a_whole_number_from_2_to_8(scale):
    with pytest.raises(ConfigError, match=rf"(?s)task\.options\.scale cannot be {scale!r}.*why: .*fix: leave it out for 4"):
        build_task(TaskConfig(name="super-resolve", options={"scale": scale}))


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_what_is_enlarged_by_nearest_holds_the_small_picture(scale):
    task, small = SuperResolve(scale=scale, enlargement="nearest"), rng().integers(0, 256, (6, 5, 3), dtype=np.uint8)
    source = task.encode_source(small, {})
    assert np.array_equal(source, to_model(small).repeat(scale, 1).repeat(scale, 2))
    assert np.array_equal(source[:, ::scale, ::scale], to_model(small))
    assert (task.reach, SuperResolve(scale=scale).reach) == (0, 2)
    assert not np.array_equal(source, SuperResolve(scale=scale).encode_source(small, {}))


@pytest.mark.parametrize("scale", range(2, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("enlargement", ["bicubic", "nearest"])
def test_a_part_of_an_enlarged_picture_is_made_of_a_part_of_the_source(scale, dtype, enlargement):
    task, source = SuperResolve(scale=scale, enlargement=enlargement), photo(24, 32, dtype=dtype)
    whole = task.encode_source(source, {})
    for down, across in ((0, 24 * scale), (0, 32 * scale)), ((5, 9), (7, 90)), ((24 * scale - 1, 24 * scale), (3, 4)):
        part = task.encode_part(source, {}, slice(*down), slice(*across))
        expected = whole[:, slice(*down), slice(*across)]
        assert part.shape == expected.shape
        assert np.abs(part - expected).max() < {np.uint8: 0.0079, np.uint16: 4e-5, np.float32: 1e-5}[dtype]  # a step of rounding


def test_luma_psnr_and_ssim_are_those_of_the_tables():
    a, b = photo(40, 44), photo(40, 44, seed=1)
    values = a / 255
    expected = 16 + 65.481 * values[..., 0] + 128.553 * values[..., 1] + 24.966 * values[..., 2]
    assert np.allclose(luma(a), expected)
    inner = (slice(4, -4), slice(4, -4))
    assert psnr_y(a, b, border=4) == pytest.approx(peak_signal_noise_ratio(luma(a)[inner], luma(b)[inner], data_range=255), abs=1e-9)
    assert psnr_y(a, a, border=4) == 100.0
    assert ssim_y(a, a, border=4) == pytest.approx(1.0)
    assert ssim_y(a, b, border=4) < 0.9
    assert ssim_y(a[:12], b[:12], border=4) is None
    row = SuperResolve(scale=4).measure(Shown(a, a), b).row
    assert row == {"psnr_y": psnr_y(b, a, border=4), "ssim_y": ssim_y(b, a, border=4)}


# --- From a folder to a translated picture -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        write(Picture(photo(40, 48, seed=number)), folder / f"{number}.png")
    return folder


SMALL = {
    "inpaint": {"generator.options.depth": 3, "generator.options.width": 4, "generator.options.dropout": 0.0, "inference.dropout": False},
    "super-resolve": {"generator.options.width": 4, "generator.options.blocks": 1, "task.options.scale": 2, "generator.options.factor": 2},
    "restore": {"generator.options.width": 4, "generator.options.blocks": 1},
}


@pytest.fixture(scope="module", params=SMALL)
def run(request, pictures, tmp_path_factory) -> tuple[str, Path]:
    settings = SMALL[request.param] | {"critic.options.width": 4, "data.holdout": 0.4, "compute.threads": 1, "critic.options.layers": 2}
    plan = make_plan(str(pictures), task=request.param, size=32, images=6, device="cpu", settings=settings)
    folder = tmp_path_factory.mktemp("runs") / request.param
    train(plan.config, out=folder, quiet=True)
    return request.param, folder


def test_a_run_trains_judges_and_translates(run, pictures, tmp_path, capsys):
    name, folder = run
    evaluation = json.loads((folder / "evaluation/evaluation.json").read_text(encoding="utf-8"))
    assert set(TASKS[name].measures) <= set(evaluation["means"])
    assert set(TASKS[name].measures) <= set(evaluation["baselines"]["input"])
    again = Console(capsys).ok("evaluate", folder, pictures, "--split", "val", "--json").out
    assert json.loads(again)["means"] == evaluation["means"]  # holes and noise of a picture are its own
    logged = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = next(entry["generator"] for entry in logged if entry["kind"] == "losses")
    assert set(losses) == {"adversarial"} | ({"hole", "known"} if name == "inpaint" else {"pixel"})
    extra = ("--mask", tmp_path / "mask.png") if name == "inpaint" else ()
    mask = np.zeros((40, 48, 1), np.uint8)
    mask[5:20, 7:30] = 255
    write(Picture(mask), tmp_path / "mask.png")
    Console(capsys).ok("translate", folder, pictures / "0.png", "--out", tmp_path / "out", *extra)
    made, source = read(tmp_path / "out/0.png").pixels, read(pictures / "0.png").pixels
    assert made.shape == ((80, 96, 3) if name == "super-resolve" else (40, 48, 3))
    if name == "inpaint":
        assert np.array_equal(made[mask[..., 0] == 0], source[mask[..., 0] == 0])
        assert not np.array_equal(made[mask[..., 0] > 0], source[mask[..., 0] > 0])


def test_what_is_given_must_be_what_the_task_takes(run, pictures, tmp_path, capsys):
    name, folder = run
    console = Console(capsys)
    write(Picture(np.eye(16, dtype=np.uint8)[..., None] * 255), tmp_path / "small.png")
    (tmp_path / "empty").mkdir()
    given = ("translate", folder, pictures / "0.png", "--out", tmp_path / "out")
    if name != "inpaint":
        assert f"the task '{name}' takes no mask" in console(*given, "--mask", tmp_path / "small.png").err
        assert f"the task '{name}' works at the picture's own size" in console(*given, "--size", "16").err
        return
    assert "needs a mask" in console(*given).err
    assert "another size than the picture" in console(*given, "--mask", tmp_path / "small.png").err
    assert "no mask for this picture" in console(*given, "--mask", tmp_path / "empty").err
    assert "there is no such mask" in console(*given, "--mask", tmp_path / "nothing").err
    assert not (tmp_path / "out").exists()


def test_masks_are_found_by_name(run, pictures, tmp_path, capsys):
    name, folder = run
    if name != "inpaint":
        pytest.skip("it takes no mask")
    for number in range(6):
        mask = np.zeros((40, 48, 1), np.uint8)
        mask[:, number * 8 : number * 8 + 8] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        write(Picture(mask), tmp_path / f"masks/{number}.bmp")
    Console(capsys).ok("translate", folder, pictures, "--out", tmp_path / "out", "--mask", tmp_path / "masks")
    for number in range(6):
        made, source = (read(place / f"{number}.png").pixels for place in (tmp_path / "out", pictures))
        changed = (made != source).any(axis=(0, 2))
        assert changed.any()
        assert not np.delete(changed, np.s_[number * 8 : number * 8 + 8]).any()


@pytest.mark.parametrize("feather", [0, 3])
def test_a_large_picture_goes_through_in_pieces_with_its_mask(run, monkeypatch, feather):
    from pixloom import Translator
    from pixloom.inference import translator

    name, folder = run
    if name == "super-resolve":
        pytest.skip("it makes larger ones")
    translate, source = Translator.from_pretrained(folder, device="cpu"), photo(64, 80)
    if name == "inpaint":
        translate.task = replace(translate.task, feather=feather)
    mask = np.zeros((64, 80), bool)
    mask[20:50, 10:70] = True
    given = {"mask": mask} if name == "inpaint" else {}
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 2000)
    monkeypatch.setattr(translator, "choose_tiling", lambda **_: Tiling(tile=48, margin=8, multiple=8, blend=True, note="in tiles"))
    prepared = translate.prepare(as_picture(source), size="native", given=translator.as_given(given))
    assert (prepared.values is None) == (name == "restore" or not feather)
    made = translate(source, size="native", given=given)
    assert made.shape == source.shape
    if name == "inpaint":
        assert np.array_equal(made[:10], source[:10])
        assert feather or np.array_equal(made[~mask], source[~mask])
        assert not np.array_equal(made[mask], source[mask])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("large", [False, True])
def test_what_is_known_and_transparency_come_back_to_the_bit(run, monkeypatch, dtype, large):
    """Of 8 and 16 bits; where the picture goes through at once, and where it goes through in pieces."""
    from pixloom import Translator
    from pixloom.inference import translator

    name, folder = run
    if name != "inpaint":
        pytest.skip("it takes no mask")
    if large:
        monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 2000)
        monkeypatch.setattr(translator, "choose_tiling", lambda **_: Tiling(tile=48, margin=8, multiple=8, blend=True, note="in tiles"))
    noise = rng(5).integers(0, np.iinfo(dtype).max, (64, 80, 4), endpoint=True, dtype=dtype)
    mask = draw_mask(rng(), height=64, width=80, shape="blobs", least=0.3, most=0.3)
    source = Picture(np.ascontiguousarray(noise[..., :3]), np.ascontiguousarray(noise[..., 3]))
    given = translator.as_given({"mask": mask})
    made = Translator.from_pretrained(folder, device="cpu").translate(source, size="native", given=given, keep_alpha=True)
    assert made.pixels.dtype == dtype
    assert np.array_equal(made.pixels[~mask], source.pixels[~mask])
    assert np.array_equal(made.alpha, source.alpha)
    assert (made.pixels[mask] != source.pixels[mask]).mean() > 0.9


def test_files_of_16_bits_with_transparency_are_filled(run, tmp_path, capsys):
    pytest.importorskip("imagecodecs")
    name, folder = run
    if name != "inpaint":
        pytest.skip("it takes no mask")
    noise = rng(5).integers(0, 65536, (30, 34, 4), dtype=np.uint16)
    mask = np.zeros((30, 34, 1), np.uint8)
    mask[4:20, 6:30] = 255
    write(Picture(np.ascontiguousarray(noise[..., :3]), np.ascontiguousarray(noise[..., 3])), tmp_path / "deep.png")
    write(Picture(mask), tmp_path / "mask.png")
    extra = ("--mask", tmp_path / "mask.png", "--keep-alpha")
    Console(capsys).ok("translate", folder, tmp_path / "deep.png", "--out", tmp_path / "out", *extra)
    made, source = (read(place / "deep.png") for place in (tmp_path / "out", tmp_path))
    assert made.pixels.dtype == np.uint16
    assert np.array_equal(made.pixels[mask[..., 0] == 0], source.pixels[mask[..., 0] == 0])
    assert np.array_equal(made.alpha, source.alpha)


def test_what_is_judged_is_the_filled_picture(run, pictures):
    """LPIPS and the other common metrics see the picture with its hole filled, not what the network makes of the rest."""
    from pixloom import Translator
    from pixloom.evaluation import open_examples, translated

    name, folder = run
    if name != "inpaint":
        pytest.skip("it takes no mask")
    translate = Translator.from_pretrained(folder, device="cpu")
    records = discover(DataConfig(path=str(pictures)), paired=False).splits["train"]
    for example in open_examples(records, task=translate.task, size=32):
        hole = as_mask(example.shown.given["mask"])
        made = translated(translate, example.shown).pixels
        assert np.array_equal(made[~hole], example.shown.target[~hole])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_large_enlargement_is_made_band_by_band(run, monkeypatch, dtype):
    """Bit depth and transparency are kept, and it is what the whole at once would be, up to a step of rounding."""
    from pixloom import Translator
    from pixloom.inference import translator

    name, folder = run
    if name != "super-resolve":
        pytest.skip("it enlarges nothing")
    translate = Translator.from_pretrained(folder, device="cpu")
    source = Picture(photo(64, 80, dtype=dtype), photo(64, 80, 1, seed=3, dtype=dtype)[..., 0])
    whole = translate.translate(source, keep_alpha=True)
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 3000)
    monkeypatch.setattr("pixloom.inference.tiling.TILE", 56)
    shares = []
    made = Translator.from_pretrained(folder, device="cpu").translate(source, keep_alpha=True, progress=shares.append)
    assert len(shares) > 4
    assert made.notes == ("translated in tiles",)
    assert made.pixels.shape == (128, 160, 3)
    assert made.pixels.dtype == made.alpha.dtype == dtype
    assert np.abs(made.pixels.astype(int) - whole.pixels).max() <= (2 if dtype is np.uint8 else 4)
    assert np.array_equal(made.alpha, whole.alpha)


def test_an_enlargement_takes_little_memory_beside_its_result(run):
    from pixloom import Translator

    name, folder = run
    if name != "super-resolve":
        pytest.skip("it enlarges nothing")
    translate, source = Translator.from_pretrained(folder, device="cpu"), Picture(photo(1200, 1600))
    tracemalloc.start()
    try:
        made = translate.translate(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.pixels.shape == (2400, 3200, 3)
    assert peak < made.pixels.nbytes + 2400 * 3200 * 12  # floats of the whole, in and out, are twice as much


def test_an_array_is_filled_in_python(run, pictures):
    from pixloom import Translator

    name, folder = run
    if name != "inpaint":
        pytest.skip("it takes no mask")
    translate, source = Translator.from_pretrained(folder, device="cpu"), photo(30, 34)
    mask = np.zeros((30, 34), bool)
    mask[3:9, 4:20] = True
    made = translate(source, given={"mask": mask})
    assert np.array_equal(made[~mask], source[~mask])
    with pytest.raises(ConfigError, match="needs a mask"):
        translate(source)
    with pytest.raises(ImageError, match="another size"):
        translate(source, given={"mask": mask[:-1]})
