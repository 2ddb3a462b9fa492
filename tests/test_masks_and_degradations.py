"""Tasks that make their own examples: holes to fill, pictures made small or bad; and how they are used and measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from console import Console
from pixloom.config import LossConfig, TaskConfig
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import Picture, as_picture, read, resize, write
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
    (tmp_path / "white").mkdir()
    write(Picture(np.full((4, 4, 1), 255, np.uint8)), tmp_path / "white/white.png")
    with pytest.raises(DataError, match="both black and white"):
        own_mask(rng(), tmp_path / "white", height=4, width=4)
    with pytest.raises(DataError, match="no masks here"):
        own_mask(rng(), tmp_path / "nowhere", height=4, width=4)


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
    with pytest.raises(ImageError, match="too many to be enlarged 8 times"):
        SuperResolve(scale=8).encode_source(np.zeros((1300, 1300, 1), np.uint8), {})
    assert SuperResolve(scale=8).magnification == 8
    assert Restore().magnification == 1


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
        pytest.skip("it enlarges the whole picture first")
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
