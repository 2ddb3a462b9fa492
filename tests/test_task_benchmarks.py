"""The benchmarks of the tasks: the table is one that can be trained, runs go on where they were, records become tables."""

# ruff: noqa: E402

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are run from the checkout and are no part of the package

from benchmarks.tasks import __main__ as program
from benchmarks.tasks import gallery, measures, running
from benchmarks.tasks.cases import INPUT, RUN, TWIN, Found
from benchmarks.tasks.datasets import DATA_SETS
from benchmarks.tasks.espnet import ESPNet
from benchmarks.tasks.running import Places, next_command, prepared, train_arguments
from benchmarks.tasks.table import EXPERIMENTS
from pixloom.config import dump_config, override, parse_settings
from pixloom.evaluation import Example
from pixloom.recipes import recipe
from pixloom.tasks.base import Shown

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def photo(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.integers(0, 255, (rows, columns, 3), dtype=np.uint8)


def ids(most: int) -> Draw:
    return lambda rng, rows, columns: (np.arange(rows)[:, None] * most // rows + np.zeros(columns)).astype(np.uint8)


def mask(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (ids(2)(rng, rows, columns) * 255).astype(np.uint8)


def write(folder: Path, names: list[str], draw: Draw, *, rows: int = 40, columns: int = 48) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(draw(rng, rows, columns)).save(folder / name, quality=95)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A made-up FOLDER of the real one's layout."""
    root = tmp_path_factory.mktemp("tasks")
    data = root / "data"
    classes = "id,name,r,g,b\n0,Sky,128,128,128\n1,Road,128,64,128\n2,Unlabelled,0,0,0\n"
    for split in ("train", "val"):
        write(data / "bsds500" / "images" / split, ["1.jpg", "2.jpg"], photo)
        write(data / "camvid" / "images" / split, [f"{split}1.jpg", f"{split}2.jpg"], photo)
        write(data / "camvid" / "masks" / split, [f"{split}1.png", f"{split}2.png"], ids(3))
    (data / "camvid" / "classes.csv").write_text(classes, encoding="utf-8")
    write(data / "facades" / "train", ["1.jpg", "2.jpg", "361.jpg"], photo, columns=80)
    left = Image.fromarray(np.repeat(np.array([[[128, 128, 128]], [[128, 64, 128]]], np.uint8), 20, axis=0).repeat(40, axis=1))
    for path in (data / "facades" / "train").iterdir():
        with Image.open(path) as image:
            pair = image.copy()
        pair.paste(left, (40, 0))
        pair.save(path, quality=95)
    (data / "facades" / "classes.csv").write_text(classes, encoding="utf-8")
    names = [f"{number}.png" for number in range(21, 41)]
    write(data / "drive" / "images" / "train", names, photo)
    write(data / "drive" / "vessels" / "train", names, mask)
    names = [f"{number:02}.png" for number in range(26)]
    write(data / "dsb2018" / "images" / "train", names, lambda *given: photo(*given)[..., 0])
    for folder in ("masks", "instances"):
        write(data / "dsb2018" / folder / "train", names, mask)
    with (data / "dsb2018" / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["file_id", "kind"], *((name[:2], "gray" if name < "15" else "color") for name in names)])
    rows = [["file", "cloudy", "shine", "sunrise"]]
    for place, kind in enumerate(rows[0][1:]):
        names = [f"{kind}{number:02}.jpg" for number in range(11)]
        write(data / "weather" / "train" / kind, names, photo)
        rows += [[f"train/{kind}/{name}", *(str(int(one == place)) for one in range(3))] for name in names]
    with (data / "weather" / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    for kind in ("daisy", "dandelion", "rose", "sunflower", "tulip"):
        write(data / "flowers32" / "train" / kind, [f"{number:02}.png" for number in range(11)], photo)
    for kind in ("cat", "dog", "wild"):
        write(data / "afhq_mini" / "train" / kind, [f"{number}.jpg" for number in range(5)], photo)
    for side in "AB":
        write(data / "euvp_mini" / "train" / side, [f"{number}.jpg" for number in range(1, 9)], photo)
    return Places(data, root / "weights", root / "out", root / "results")


# ---- The table


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_one_that_can_be_trained(name, places, monkeypatch):
    from pixloom.cli import app, work

    plans = []
    monkeypatch.setattr(work, "_print_cost", lambda plan, out: plans.append(plan))
    experiment = EXPERIMENTS[name]
    arguments = ["train", str(prepared(experiment, places)), *train_arguments(experiment, seed=3), "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["pixloom", *arguments])
    app.app(arguments, standalone_mode=False)
    plan = plans[0]
    assert plan.config.training.images == experiment.images
    assert plan.config.training.seed == 3
    assert plan.validation
    assert not {record.id for record in plan.train} & {record.id for record in plan.validation if experiment.data != "bsds500"}


def test_twins_differ_in_the_critic_alone():
    for experiment in EXPERIMENTS.values():
        if experiment.twin is None:
            continue
        twin = EXPERIMENTS[experiment.twin]
        assert (twin.data, twin.size, twin.images) == (experiment.data, experiment.size, experiment.images)
        dropped = set(experiment.settings) - set(twin.settings)
        assert set(twin.settings) <= set(experiment.settings)
        assert all(setting.startswith(("critic", "losses.adversarial")) for setting in dropped)
        assert [part for part in experiment.arguments if part != "pix2pix"] == [part for part in twin.arguments if part != "regression"]


def test_names_in_the_table_are_there():
    for experiment in EXPERIMENTS.values():
        assert experiment.data in DATA_SETS
        assert all(helper in EXPERIMENTS for helper in experiment.helpers)
        assert experiment.twin is None or experiment.twin in EXPERIMENTS


def test_only_free_pictures_are_published():
    public = {name: data_set.licence for name, data_set in DATA_SETS.items() if data_set.public}
    assert public == {"nuclei": "CC0", "nuclei-described": "CC0", "stains": "CC0"}


def test_what_is_held_out_is_the_end_or_every_tenth(places):
    drive = prepared(EXPERIMENTS["drive-segment"], places)
    assert sorted(path.stem for path in (drive / "images" / "val").iterdir()) == ["36", "37", "38", "39", "40"]
    nuclei = prepared(EXPERIMENTS["nuclei-synthesize"], places)
    assert [path.stem for path in (nuclei / "masks" / "val").iterdir()] == ["09"]
    assert len(list((nuclei / "masks" / "train").iterdir())) == 14  # the grey ones


# ---- Going on


def test_a_run_is_begun_gone_on_with_or_left_alone(tmp_path):
    experiment, folder = EXPERIMENTS["inpaint"], tmp_path / "run"
    begun = next_command(folder, experiment, seed=1, data=tmp_path)
    assert begun is not None
    assert begun[:2] == ["train", str(tmp_path)]
    assert begun[-2:] == ["--out", str(folder)]
    folder.mkdir()
    (folder / "config.yaml").touch()  # from its first file on a run can be resumed
    assert next_command(folder, experiment, seed=1, data=tmp_path) == ["resume", str(folder)]
    (folder / "model-last").mkdir()
    assert next_command(folder, experiment, seed=1, data=tmp_path) is None


def test_a_run_of_other_settings_is_not_taken_for_this_one(tmp_path):
    experiment = EXPERIMENTS["colorize"]
    assert running.differing(tmp_path, experiment) == []  # nothing there yet
    config = override(recipe("pix2pix", size=experiment.size), parse_settings(list(experiment.settings)))
    text = dump_config(override(config, {"training.images": experiment.images}))
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert running.differing(tmp_path, experiment) == []
    assert running.differing(tmp_path, EXPERIMENTS["inpaint"])[0] == "training.images"


def test_processor_time_is_unknown_where_a_process_was_killed(tmp_path):
    assert running.processor_minutes(tmp_path) is None
    path = tmp_path / "processor_seconds.txt"
    path.write_text("resume 60.0\n", encoding="utf-8")  # the first process left no line
    assert running.processor_minutes(tmp_path) is None
    path.write_text("train 60.0\nresume 30.0\n", encoding="utf-8")
    assert running.processor_minutes(tmp_path) == 1.5


def test_a_record_counts_only_for_its_own_settings(tmp_path):
    experiment, record = EXPERIMENTS["inpaint"], tmp_path / "record.json"
    assert not running.is_current(record, experiment)
    record.write_text(json.dumps(running.settings_of(experiment)), encoding="utf-8")
    assert running.is_current(record, experiment)
    assert not running.is_current(record, EXPERIMENTS["colorize"])


def test_unknown_experiments_are_named():
    with pytest.raises(SystemExit, match="there is no experiment nonsense"):
        program.main(["nonsense", "--data", ".", "--weights", "."])


# ---- Judging


def example() -> Example:
    source, hole = np.full((24, 24, 3), 50, np.uint8), np.zeros((24, 24, 1), np.uint8)
    source[:, 12:], hole[8:12, 8:16] = 100, 255
    target = source.copy()
    source[hole[..., 0] > 0] = 127
    return Example("x", Shown(source, target, {"mask": hole}))


@pytest.mark.parametrize("fill", [measures.mean_fill, measures.biharmonic_fill])
def test_baselines_fill_the_hole_and_nothing_else(fill):
    shown = example().shown
    filled = fill(example())
    hole = shown.given["mask"][..., 0] > 0
    assert np.array_equal(filled[~hole], shown.target[~hole])
    assert 50 <= filled[hole].min() <= filled[hole].max() <= 100


def test_the_mean_is_that_of_the_known_pixels():
    shown = example().shown
    hole = shown.given["mask"][..., 0] > 0
    assert set(measures.mean_fill(example())[hole].ravel()) == {round(shown.target[~hole].mean())}


def test_espnet_keeps_the_size():
    with torch.no_grad():
        assert ESPNet().eval()(torch.zeros(1, 3, 64, 48)).shape == (1, 12, 64, 48)


# ---- Tables and pictures


def record(seed: int, *, lpips: float) -> dict:
    figures = {RUN: {"lpips": [lpips, 0.1, 0.3]}, TWIN: {"lpips": [0.4, None, None]}, INPUT: {"lpips": [0.5, 0.4, 0.6]}}
    data = {"title": "Pictures", "licence": "CC0", "split": "1 and 1"}
    words = {"name": "nuclei-synthesize", "title": "mask to microscopy", "command": f"python -m x --seeds {seed}", "shown": [INPUT, RUN]}
    numbers = {"seed": seed, "size": 64, "images": 100, "processor_minutes": 1.5, "count": 4}
    return {**words, **numbers, "data": data, "figures": figures, "needs": {"LPIPS below the input's": lpips < 0.5}}


def test_records_become_a_page_with_pictures_of_free_data_only(tmp_path):
    results, out, docs = (tmp_path / name for name in ("results", "out", "docs"))
    results.mkdir()
    found = Found({}, 1, strips={"x": {INPUT: np.zeros((200, 100, 1), np.uint8), RUN: np.zeros((200, 100, 3), np.uint8)}})
    for name in ("nuclei-synthesize", "inpaint"):
        for seed in (0, 1):
            text = json.dumps(record(seed, lpips=0.2 + 0.4 * seed) | {"name": name})
            (results / f"{name}-seed{seed}.json").write_text(text, encoding="utf-8")
        running.save_strips(found, out / f"{name}-seed0" / "gallery")
    pages = gallery.make_galleries(results, out=out, docs=docs)
    text = pages[0].read_text(encoding="utf-8")
    assert "| lpips ↓ | 0.4 [0.2, 0.6] | 0.4 | 0.5 |" in text
    assert "LPIPS below the input's: met by 1 of 2 seeds" in text
    assert "(images/gallery/nuclei-synthesize.png)" in text
    assert [path.name for path in (docs / "images" / "gallery").iterdir()] == ["nuclei-synthesize.png"]
    with Image.open(docs / "images" / "gallery" / "nuclei-synthesize.png") as image:
        assert image.size == (2 * 64 + 4, 128)
    assert {path.name for path in (out / "gallery").iterdir()} == {"gallery.md", "gallery.html", "inpaint.png", "nuclei-synthesize.png"}
    assert "inpaint.png" in pages[2].read_text(encoding="utf-8")


def test_records_name_no_place_of_this_machine(tmp_path):
    places = Places(tmp_path / "pictures", tmp_path / "weights", tmp_path / "out", tmp_path / "results")
    text = f"{places.pictures}/a {places.weights}/b {places.out}/c"
    assert running.without_places(text, places) == "DATA/a WEIGHTS/b OUT/c"


def test_what_is_recorded_is_whole_and_names_no_place():
    for path in (ROOT / "benchmarks" / "results" / "tasks").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        told = json.loads(text)
        assert path.stem == f"{told['name']}-seed{told['seed']}"
        assert told["figures"][RUN]
        assert told["count"] > 0
        assert not re.search(r"""["' =]/\w+/\w""", text)
