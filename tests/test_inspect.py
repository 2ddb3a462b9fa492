from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixloom.config import DataConfig
from pixloom.data.inspect import Findings, inspect, preview
from pixloom.data.sources import Listing, discover
from pixloom.errors import DataError, OutputError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Four clean pairs in two splits."""
    root = tmp_path / "data"
    for number, split in enumerate(["train", "train", "train", "val"]):
        save(root / split / "A" / f"{number}.png", noise(20, 30 + number, seed=number))
        save(root / split / "B" / f"{number}.png", noise(20, 30 + number, 3, seed=number + 10))
    return root


def listing_of(root: Path) -> Listing:
    return discover(DataConfig(path=str(root)), paired=None)


def report(root: Path) -> Findings:
    return inspect(listing_of(root))


def test_clean_data_is_ok(good: Path) -> None:
    findings = report(good)
    assert findings.ok
    assert findings.problems == ()
    (few,) = findings.remarks
    assert "3 different training examples" in few
    assert findings.counts == {"train": 3, "val": 1}
    assert findings.sizes == {"min": "30x20", "median": "31x20", "max": "33x20", "distinct": 4}
    assert findings.channels == {"source": {"1": 4}, "target": {"3": 4}}
    assert findings.depths == {"source": {"8": 4}, "target": {"8": 4}}


def test_everything_that_hurts_is_named(good: Path) -> None:
    (good / "train/A/0.png").write_bytes(b"broken")
    save(good / "train/B/1.png", noise(40, 10, 3))
    save(good / "train/A/lonely.png", noise(20, 20))
    for side, shape in (("A", (20, 20)), ("B", (20, 20, 3))):
        for split in ("train", "val"):
            save(good / split / side / "same.png", noise(*shape))
    findings = report(good)
    assert not findings.ok
    assert list(findings.corrupt) == ["train/0"]
    assert findings.mismatched == {"train/1": "source 31x20, target 10x40: skipped"}
    assert findings.orphans == ("train/A/lonely.png",)
    assert findings.duplicates_across == (("train/same", "val/same"),)
    assert findings.duplicates_within == ()
    text = "\n".join(findings.problems)
    assert all(name in text for name in ("train/0", "train/1", "lonely", "train/same=val/same"))
    assert all("Fix: " in problem for problem in findings.problems)
    assert len(findings.problems) == 4


def test_pairs_of_one_aspect_are_resized(good: Path) -> None:
    save(good / "train/B/0.png", noise(40, 60, 3))
    assert report(good).mismatched == {"train/0": "source 30x20, target 60x40: the target is resized"}


def test_harmless_things_are_remarks(good: Path) -> None:
    for name in ("flat", "flat_again"):
        save(good / "train/A" / f"{name}.png", np.full((20, 20), 7, dtype=np.uint8))
        save(good / "train/B" / f"{name}.png", noise(20, 20, 3))
    save(good / "train/A/dot.png", noise(1, 1))
    save(good / "train/B/dot.png", noise(1, 1, 3))
    findings = report(good)
    assert findings.ok
    assert findings.duplicates_within == (("train/flat", "train/flat_again"),)
    assert "train/flat (source)" in findings.constant
    assert findings.tiny == ("train/dot (source)", "train/dot (target)")
    assert len(findings.remarks) == 4


def test_many_examples_that_are_few_different_ones_are_named(tmp_path: Path) -> None:
    for count in range(25):
        save(tmp_path / "train/A" / f"{count}.png", noise(20, 20, seed=count % 12))
        save(tmp_path / "train/B" / f"{count}.png", noise(20, 20, 3, seed=count % 12))
    assert any("12 different training examples" in remark for remark in report(tmp_path).remarks)
    for count in range(25):
        save(tmp_path / "train/A" / f"{count}.png", noise(20, 20, seed=100 + count))
    assert report(tmp_path).remarks == ()


def test_same_pixels_in_another_format_are_duplicates(good: Path) -> None:
    with Image.open(good / "train/A/0.png") as source, Image.open(good / "train/B/0.png") as target:
        source.save(good / "val/A/copy.bmp")
        target.save(good / "val/B/copy.tif")
    assert report(good).duplicates_across == (("train/0", "val/copy"),)


def test_channel_counts_that_no_rule_joins(tmp_path: Path) -> None:
    np.save(tmp_path / "five.npy", noise(20, 20, 5))
    save(tmp_path / "three.png", noise(20, 20, 3))
    findings = report(tmp_path)
    if "5" not in findings.channels["source"]:
        pytest.skip("arrays are not among the formats read here")
    assert any("channels (3, 5)" in problem for problem in findings.problems)


def test_channels_that_cannot_be_converted_are_corrupt(good: Path) -> None:
    findings = inspect(listing_of(good), channels=(7, 3))
    assert len(findings.corrupt) == 4


def test_no_training_picture_is_a_problem(tmp_path: Path) -> None:
    save(tmp_path / "test" / "1.png", noise(20, 20, 3))
    findings = report(tmp_path)
    assert not findings.ok
    assert "no training example" in findings.problems[0]


def test_only_corrupt_files_still_give_a_report(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / side).mkdir()
        (tmp_path / side / "1.png").write_bytes(b"broken")
    findings = report(tmp_path)
    assert findings.sizes == {}
    assert list(findings.corrupt) == ["1"]


def test_findings_are_json_and_progress_is_told(good: Path) -> None:
    told: list[tuple[int, int]] = []
    findings = inspect(listing_of(good), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    plain = findings.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["ok"] is True
    assert plain["counts"]["train"] == 3


def test_preview_shows_source_above_target(good: Path, tmp_path: Path) -> None:
    for number in range(3):
        save(good / "train/A" / f"{number}.png", np.full((20, 20), 100, dtype=np.uint8))
    path = tmp_path / "preview.png"
    preview(listing_of(good), path, count=2)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (320, 320, 3)
    assert tuple(pixels[80, 80]) == (100, 100, 100)
    assert len(np.unique(pixels[200:280, 40:120])) > 20
    with pytest.raises(OutputError):
        preview(listing_of(good), path)
    preview(listing_of(good), path, overwrite=True)


def test_preview_scales_sixteen_bits_and_skips_bad_files(tmp_path: Path) -> None:
    save(tmp_path / "data/1.png", np.full((20, 20), 32896, dtype=np.uint16))
    (tmp_path / "data/2.png").write_bytes(b"broken")
    preview(listing_of(tmp_path / "data"), tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (160, 160)
        assert sheet.getpixel((80, 80)) == (128, 128, 128)
    (tmp_path / "data/1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="preview"):
        preview(Listing(tmp_path, "pictures", listing_splits(tmp_path / "data")), tmp_path / "none.png")


def listing_splits(root: Path) -> dict[str, tuple]:
    return discover(DataConfig(path=str(root), layout="pictures"), paired=None).splits


def test_real_pairs_are_clean(real_data: Path) -> None:
    findings = report(real_data / "euvp_mini")
    assert findings.ok
    assert findings.counts == {"train": 18}
    assert findings.sizes == {"min": "256x256", "median": "256x256", "max": "256x256", "distinct": 1}
