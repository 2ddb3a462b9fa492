"""The races and faults of benchmarks/quality: every row is a run that can be begun, and the tables say what the records hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.quality.__main__ import main
from benchmarks.quality.faults import FAULTS, section, tally
from benchmarks.quality.races import RACES
from benchmarks.quality.reading import write_page
from benchmarks.quality.running import Entry
from benchmarks.quality.shifts import CORRUPTIONS, spoilt
from pixloom.config import override, parse_settings
from pixloom.evaluation import Example
from pixloom.methods.check import check_config
from pixloom.recipes import recipe
from pixloom.tasks.base import Shown
from pixloom.training.monitor import NOT_HELD, NOT_TOGETHER, RULES

ARMS = [(race, arm) for race in RACES for arm in RACES[race].arms]


@pytest.mark.parametrize(("race", "arm"), ARMS)
def test_every_arm_can_be_begun(race, arm, random_weights, monkeypatch):
    monkeypatch.setenv("PIXLOOM_WEIGHTS", str(random_weights))
    rules, chosen = RACES[race], RACES[race].arms[arm]
    config = override(recipe(chosen.recipe, size=rules.size), {"data.size": rules.size, **parse_settings(list(chosen.settings))})
    check_config(config, channels=(12, 3))


def test_what_there_is_not_is_refused():
    with pytest.raises(SystemExit, match="no race nonsense"):
        main(["nonsense"])
    with pytest.raises(SystemExit, match="no arm bogus"):
        main(["facades-64", "faults", "--arms", "auto", "healthy", "bogus"])


def test_names_of_runs_are_their_own():
    names = [Entry(race, arm, 0).name for race, arm in ARMS]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and " " not in name and "/" not in name for name in names)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_begun_and_has_an_alarm_that_exists(name):
    fault = FAULTS[name]
    check_config(override(recipe("auto", size=64), parse_settings(list(fault.settings))), channels=(12, 3))
    at_start = {NOT_TOGETHER, NOT_HELD, "pictures are few", "pictures are repeated"}
    assert set(fault.alarms) <= RULES.keys() | at_start
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 255, (4, 4, 3)), rng.integers(0, 255, (4, 4, 3))) for _ in range(20)]
    spoilt = fault.spoil(pairs)
    differs = any((a[0] != b[0]).any() or (a[1] != b[1]).any() for a, b in zip(spoilt, pairs, strict=False))
    changed = differs or len(spoilt) != len(pairs)
    assert changed == (name not in ("healthy",) and not fault.settings)


def test_the_tally_counts_what_was_seen_and_mended(tmp_path):
    def write(fault, seed, **tree):
        text = json.dumps({"fault": fault, "seed": seed, **tree})
        (tmp_path / f"fault-{fault.replace(' ', '-')}-seed{seed}.json").write_text(text, encoding="utf-8")

    write("healthy", 0, alone={"seen": False, "alarms": [], "figures": {"lpips": 0.4}})
    write("frozen critic", 0, alone={"seen": True, "alarms": []}, autopilot={"figures": {"lpips": 0.42}})
    write("shuffled pairs", 0, alone={"seen": False, "alarms": []})
    found = tally(tmp_path)
    assert found.seen == {"frozen critic": [True], "shuffled pairs": [False]}
    assert found.shares["frozen critic"] == [pytest.approx(1.05)]
    assert found.healthy == [[]]
    rung = {"alarms": [{"alarm": "the critic wins", "images": 160}]}
    text = section(tmp_path, {"stable-facades": [rung, {"alarms": []}]})
    assert "Seen: 1 of 2; brought back to within 10 % of the healthy run of the same seed: 1 of 1." in text
    assert "Healthy runs that diverged: 0 of 3; that rang an alarm: 1 (the critic wins)." in text
    assert "| frozen critic | 1 | 1 | 1.05 |" in text
    assert "| shuffled pairs | 1 | 0 | – |" in text


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_spoilt_example_differs_in_its_source_alone_and_is_always_the_same(name):
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 255, (24, 20, 1), dtype=np.uint8) for _ in range(2))
    example = Example("a", Shown(source, target))
    one, other = spoilt(example, name), spoilt(example, name)
    assert (one.shown.source == other.shown.source).all()
    assert (one.shown.target == target).all()
    assert (one.shown.source != source).mean() > 0.5
    assert one.shown.source.dtype == np.uint8


def test_the_page_says_what_is_lost_elsewhere(tmp_path):
    for arm, usual, there in (("auto", 0.8, 0.6), ("pix2pix", 0.5, 0.45)):
        look = {"images": 20, "seconds": 60.0, "figures": {"miou": 0.4, "dice": usual}}
        record = {
            **{"race": "shift-stain", "arm": arm, "seed": 0, "title": "t", "size": 64, "images": 20, "processor_minutes": 3.0},
            **{"data": {"title": "nuclei", "split": "some"}, "judgements": [look], "elsewhere": {"stained": {"dice": there}}},
        }
        (tmp_path / f"shift-stain-{arm}-seed0.json").write_text(json.dumps(record), encoding="utf-8")
    page = write_page(tmp_path, tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| sources, Dice ↑ | auto | pix2pix |" in page
    assert "| stained | 0.6 (-25 %) | 0.45 (-10 %) |" in page
    assert "| auto | 20 | 3 | 0.8 | 0.4 |" in page


def test_few_pairs_are_one_table_by_their_number(tmp_path):
    for count, arm, lpips in ((25, "auto", 0.4), (25, "pix2pix", 0.5), (100, "auto", 0.2)):
        figures = {"lpips": lpips, "lpips_alex": 0.6, "kid_inception768": 0.003}
        record = {
            **{"race": f"few-{count}", "arm": arm, "seed": 0, "title": f"maps from {count} pairs"},
            **{"size": 64, "images": 20, "minutes": 3.0},
            "judgements": [{"images": 20, "seconds": 60.0, "figures": figures}],
        }
        (tmp_path / f"few-{count}-{arm}-seed0.json").write_text(json.dumps(record), encoding="utf-8")
    page = write_page(tmp_path, tmp_path / "page.md").read_text(encoding="utf-8")
    assert "## few: quality against the number of pairs\n\nmaps; 64 px; 3 minutes each (20 images of auto, 20 images of pix2pix)" in page
    assert "| 25 | 0.4 | 0.5 | 0.6 | 0.6 | 3 | 3 |\n| 100 | 0.2 | – | 0.6 | – | 3 | – |" in page
    assert "few-25" not in page


def test_the_page_has_means_and_ranges_of_the_last_look(tmp_path):
    def write(arm, seed, lpips):
        figures = {"lpips": lpips, "lpips_alex": 0.5, "kid_inception768": 0.003, "psnr": 14.0, "ssim": 0.3}
        looks = [
            {"images": 10, "seconds": 60.0, "figures": {**figures, "lpips": 0.9}},
            *([{"images": 12, "seconds": 80.0, "figures": {**figures, "lpips": 0.8}}] if seed else []),  # it was stopped there
            {"images": 20, "seconds": 120.0, "figures": figures},
        ]
        record = {
            **{"race": "facades-64", "arm": arm, "seed": seed, "title": "t", "size": 64, "images": 20},
            **{"data": {"title": "facades", "split": "some"}, "judgements": looks},
        }
        (tmp_path / f"facades-64-{arm}-seed{seed}.json").write_text(json.dumps(record), encoding="utf-8")

    for seed, lpips in enumerate((0.3, 0.4)):
        write("auto", seed, lpips)
        write("pix2pix", seed, lpips + 0.1)
    page = write_page(tmp_path, tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| auto | 20 | 2 [2, 2] | 0.35 [0.3, 0.4] |" in page
    assert "| pix2pix | 20 | 2 [2, 2] | 0.45 [0.4, 0.5] |" in page
    way = (
        "| auto | 10 | 60 | 0.9 [0.9, 0.9] | 0.5 [0.5, 0.5] | 3 [3, 3] |\n| auto | 20 | 120 | 0.35 [0.3, 0.4] | 0.5 [0.5, 0.5] | 3 [3, 3] |"
    )
    assert way in page
