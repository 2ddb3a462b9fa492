"""The report of a run, its charts and preview grids, and TensorBoard."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from pixloom.training import charts
from pixloom.training.history import History
from pixloom.training.report import GRID_BYTES, NUM_GRIDS, choose_evenly, encode_grid, read_run, show, state, write_report
from pixloom.training.samples import preview_grid

TOTAL = 20_000


def example_pictures(progress, rng):
    """A row of the preview grid: a grey picture, one that gains colour with progress, the coloured one."""
    across, down = np.meshgrid(np.linspace(0, 1, 96), np.linspace(0, 1, 96))
    colour = np.stack([across, down, rng.random() * np.ones_like(across)], axis=-1)
    grey = colour.mean(axis=-1, keepdims=True)
    output = grey + progress * (colour - grey) + (1 - progress) * 0.2 * rng.standard_normal(colour.shape)
    return [(255 * np.clip(pixels, 0, 1)).astype(np.uint8) for pixels in (grey, output, colour)]


def write_history(folder, *, images, rng):
    record = History(folder / "history.jsonl")
    record.append("event", images=0, elapsed_seconds=0.0, event="started", message="on the CPU", total_images=TOTAL)
    for seen in range(50, images + 1, 50):
        fall = math.exp(-seen / 6000)
        generator = {"adversarial": 1.5 + rng.normal(0, 0.25), "pixel": 0.05 + 0.3 * fall + abs(rng.normal(0, 0.02))}
        critic = {"real": 0.5 + rng.normal(0, 0.1), "fake": math.nan if seen == 5000 else 0.5 + rng.normal(0, 0.1)}
        rate = 2e-4 * min(1.0, 2 - 2 * seen / TOTAL)
        record.append(
            "losses", images=seen, elapsed_seconds=seen / 20, generator=generator, critic=critic,
            learning_rate={"generator": rate, "critic": rate}, images_per_second=20 + rng.normal(0, 1),
        )  # fmt: skip
        if seen % 2000 == 0:
            record.append(
                "validation",
                images=seen,
                elapsed_seconds=seen / 20,
                psnr=24 - 6 * fall,
                lpips=0.2 + 0.3 * fall,
                protocol="64 pictures, 96 x 96",
            )
    record.append("event", images=5000, elapsed_seconds=250.0, event="skipped", message="a step with a loss that is not finite")


@pytest.fixture
def run_folder(tmp_path):
    """A run at 12,000 of 20,000 images."""
    folder, rng = tmp_path / "runs" / "flowers", np.random.default_rng(0)
    (folder / "samples").mkdir(parents=True)
    write_history(folder, images=12_000, rng=rng)
    for images in range(1000, 12_001, 1000):
        rows = [example_pictures(images / TOTAL, rng) for _ in range(3)]
        Image.fromarray(preview_grid(rows, labels=["source", "output", "target"])).save(folder / "samples" / f"{images:09}.png")
    config = {"recipe": "pix2pix", "task": {"name": "colorize"}, "generator": {"name": "unet"}, "training": {"images": TOTAL}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_json(
        folder / "data.json",
        {"layout": "folders", "counts": {"train": 1800, "val": 200}, "size": [96, 96], "notes": ["found train and val"]},
    )
    write_json(folder / "bad_files.json", {"数据/broken.jpg": "the file is truncated"})
    write_json(
        folder / "cost.json", {"generator": {"name": "unet", "parameters": 54_413_955, "GMAC per picture": 6.0418}, "step": {"GMAC": None}}
    )
    write_json(folder / "environment.json", {"pixloom": "0.1.0", "device": "cpu", "cuda": None, "deterministic": True})
    return folder


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def report(folder, *, final):
    return write_report(folder, final=final).read_text(encoding="utf-8")


class Tags(html.parser.HTMLParser):
    """Collects every element with its attributes, and checks that they nest."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


# --- the page


def test_while_training_the_page_refreshes_and_tells_the_time_left(run_folder):
    text = report(run_folder, final=False)
    assert '<meta http-equiv="refresh" content="20">' in text
    assert "12,000 of 20,000 images (60%), 10:00 passed, 6:40 left" in text


def test_the_final_page_is_still_and_tells_how_to_go_on(run_folder):
    text = report(run_folder, final=True)
    assert 'http-equiv="refresh"' not in text
    assert ">stopped<" in text
    assert "pixloom resume runs/flowers" in text
    assert "pixloom translate runs/flowers" in text


def test_states(run_folder):
    record = History(run_folder / "history.jsonl")
    assert state(read_run(run_folder, final=False))[0] == "training"
    assert state(read_run(run_folder, final=True))[0] == "stopped"
    record.append("event", images=12_001, elapsed_seconds=601.0, event="finished")
    assert state(read_run(run_folder, final=True))[0] == "out of time"
    record.append("event", images=TOTAL, elapsed_seconds=1000.0, event="resumed")
    assert state(read_run(run_folder, final=True))[0] == "finished"


def test_it_says_in_sentences_how_the_run_went_and_what_the_autopilot_did(run_folder):
    record = History(run_folder / "history.jsonl")
    done = {"alarm": "outputs are saturated", "evidence": "99% at the ends, at 640 images", "done": "back to 0 images with x=1"}
    record.append("event", images=0, elapsed_seconds=9.0, event="autopilot", message="...", **done)
    record.append("event", images=12_001, elapsed_seconds=601.0, event="out of time", message="out of time after 12,001 images")
    record.append("event", images=12_001, elapsed_seconds=601.0, event="hardly watched", message="so short a run")
    record.append("event", images=12_001, elapsed_seconds=602.0, event="finished")
    (run_folder / "evaluation").mkdir(exist_ok=True)
    (run_folder / "evaluation" / "evaluation.json").write_text('{"verdict": ["By lpips the model is not <better>."]}')
    text = report(run_folder, final=True)
    for said in (
        "<p>By lpips the model is not &lt;better&gt;.</p>",
        "<p>out of time after 12,001 images</p>",
        "<p>so short a run</p>",
        "pixloom resume runs/flowers --minutes 5",
        "<b>outputs are saturated</b></td><td>99% at the ends, at 640 images</td><td>autopilot: back to 0 images with x=1</td>",
    ):
        assert said in text, said
    whole = report(run_folder, final=False)
    assert "<p>out of time after" not in whole


def test_it_tells_everything(run_folder):
    words = " ".join(" ".join(Tags(report(run_folder, final=False)).words).split())
    for fact in (
        "flowers", "colorize", "pix2pix", "Generator losses", "Critic losses", "Validation psnr", "Validation lpips", "Learning rate",
        "Images per second", "found train and val", "1,800", "96 x 96", "数据/broken.jpg", "the file is truncated", "not finite",
        "deterministic yes", "parameters 54,413,955", "GMAC per picture 6.0418", "GMAC -",
        "64 pictures, 96 x 96", "validation at 12,000 images", "best 0.241 at 12,000",
    ):  # fmt: skip
        assert fact in words, fact


def test_a_run_without_its_cost_has_no_such_section(run_folder):
    assert "<h2>Cost</h2>" in report(run_folder, final=True)
    (run_folder / "cost.json").unlink()
    assert "<h2>Cost</h2>" not in report(run_folder, final=True)


def test_it_is_a_pure_function_of_the_files(run_folder):
    assert report(run_folder, final=False) == report(run_folder, final=False)


def test_nothing_is_left_beside_it(run_folder):
    before = {path.name for path in run_folder.iterdir()}
    report(run_folder, final=True)
    assert {path.name for path in run_folder.iterdir()} == before | {"report.html"}


def test_nothing_outside_is_named(run_folder):
    text = report(run_folder, final=True)
    tags = Tags(text)
    links = [
        value for _, attributes in tags.found for name, value in attributes.items() if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://", text)
    assert {tag for tag, _ in tags.found}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})


def test_policy_allows_exactly_the_script(run_folder):
    text = report(run_folder, final=True)
    policy = next(a["content"] for a in Tags(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_hostile_names_are_text(run_folder):
    evil = "<script>alert('x')</script>\"&amp;"
    folder = run_folder.rename(run_folder.with_name("a <b>&'run'"))
    record = History(folder / "history.jsonl")
    record.append("losses", images=12_050, elapsed_seconds=700.0, generator={evil: 1.0}, critic={evil: 1.0})
    record.append("validation", images=12_050, elapsed_seconds=700.0, **{evil: 1.0}, protocol={evil: evil})
    record.append("event", images=12_050, elapsed_seconds=700.0, event=evil, message=evil)
    interval = {evil: {"mean": 1.0, "low": 0.0, "high": 2.0}}
    write_json(folder / "evaluation" / "evaluation.json", {"means": interval, "baselines": {evil: interval}, "protocol": {evil: [evil]}})
    for name in ("data.json", "bad_files.json", "cost.json", "environment.json"):
        write_json(folder / name, {evil: [evil, {evil: evil}]})
    (folder / "config.yaml").write_text(yaml.safe_dump({"recipe": evil, "task": {"name": evil}}), encoding="utf-8")
    for final in (False, True):
        tags = Tags(report(folder, final=final))
        assert len(tags.all("script")) == 1
        assert "".join(tags.words).count("<script>alert('x')</script>\"&amp;") > 10


@pytest.mark.parametrize("junk", ["", "{", "[1, 2", "null", "[]", "3", '"text"', '{"means": 3, "counts": {"a": []}}', "\x00\xff", "- {: ["])
def test_damaged_files_never_stop_it(run_folder, junk):
    (run_folder / "evaluation").mkdir()
    for name in (
        "data.json",
        "bad_files.json",
        "cost.json",
        "environment.json",
        "config.yaml",
        "history.jsonl",
        "evaluation/evaluation.json",
    ):
        (run_folder / name).write_text(junk, encoding="utf-8")
    (run_folder / "samples" / "000001000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + junk.encode())
    (run_folder / "samples" / "notes.png").write_bytes(b"")
    assert "12,000 images" in report(run_folder, final=False)


def test_strange_entries_never_stop_it(run_folder):
    record = History(run_folder / "history.jsonl")
    record.append("losses", images=12_050, elapsed_seconds=math.nan, generator=3.0, critic=None, learning_rate={"generator": math.inf})
    record.append("losses", images=12_100, elapsed_seconds=None, generator={"pixel": "text"})
    record.append("validation", images=12_100, elapsed_seconds=1.0, psnr=math.nan, lpips=None, sizes=[1], total_images="many")
    record.append("event", images=12_100, elapsed_seconds=math.inf)
    Tags(report(run_folder, final=False))


def test_an_empty_folder_has_a_report(tmp_path):
    for final in (False, True):
        Tags(report(tmp_path, final=final))


def test_evaluation_is_a_table_with_baselines_and_intervals(run_folder):
    means = {"psnr": {"mean": 24.56, "low": 24.1, "high": 25.0}, "kid": {"mean": "inf", "low": None}}
    baselines = {"the input itself": {"psnr": {"mean": 20.0, "low": 19.5, "high": 20.5}}}
    evaluation = {
        "means": means,
        "baselines": baselines,
        "floors": {"kid": 0.001},
        "count": 200,
        "protocol": {"feature network": "squeeze"},
    }
    write_json(run_folder / "evaluation" / "evaluation.json", evaluation | {"missing": {"lpips": "no weights"}})
    text = re.sub(r"<[^>]+>", " ", report(run_folder, final=True).split("<h2>Evaluation</h2>")[1].split("</table>")[0])
    assert " ".join(text.split("metric", 1)[1].split()) == (
        "this model the input itself floor (real against real) psnr ↑ 24.6 [24.1, 25] 20 [19.5, 20.5] - kid ↓ inf - 0.001"
    )
    for fact in ("final evaluation", "Means over 200 pictures", "feature network", "no weights"):
        assert fact in report(run_folder, final=True)
    assert "validation at" not in report(run_folder, final=True)


def test_it_is_usable_without_a_mouse(run_folder):
    tags = Tags(report(run_folder, final=True))
    (slider,) = tags.all("input")
    assert slider["type"] == "range"
    assert slider["step"] == "1"
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "11", "11")
    assert [label["for"] for label in tags.all("label")] == [slider["id"]]
    assert all(image["alt"] for image in tags.all("img"))
    assert all("aria-label" in svg or svg.get("aria-hidden") == "true" for svg in tags.all("svg"))
    assert [image["data-when"] for image in tags.all("img") if "hidden" not in image] == ["12,000 images (60%)"]
    assert ("html", {"lang": "en"}) in tags.found


def test_many_large_grids_keep_the_file_small(run_folder):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8))
    for images in range(13_000, 13_040):
        noise.save(run_folder / "samples" / f"{images:09}.png", compress_level=0)
    path = write_report(run_folder, final=True)
    tags = Tags(path.read_text(encoding="utf-8"))
    assert len(tags.all("img")) == NUM_GRIDS
    assert tags.all("img")[0]["data-when"].startswith("1,000 ")
    assert tags.all("img")[-1]["data-when"].startswith("13,039 ")
    assert path.stat().st_size < 6_000_000


def test_long_lists_are_cut_with_their_count():
    assert "and 100 more" in show(list("ab") * 150)
    assert show([]) == "none"
    assert show({"a_key": True}) == '<table><tbody><tr><th scope="row">a key</th><td>yes</td></tr></tbody></table>'


def test_grids_are_encoded_to_a_bound():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1400, 3), dtype=np.uint8))
    encoded = encode_grid(noise)
    assert len(encoded) <= GRID_BYTES
    small = Image.new("P", (40, 20))
    with Image.open(io.BytesIO(encoded)) as big, Image.open(io.BytesIO(encode_grid(small))) as same:
        assert big.width / big.height == pytest.approx(14 / 9, rel=0.02)
        assert same.size == (40, 20)


def test_even_choice():
    assert choose_evenly(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert choose_evenly([1, 2], 5) == [1, 2]


def test_no_torch_is_imported():
    code = "import sys, pixloom.training.report, pixloom.training.status, pixloom.training.history; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


# --- charts


def drawn(text):
    """The coordinates of every line in a chart."""
    paths = re.findall(r'<path class="line s\d" d="(M[^H"]*)"', text)
    return [[tuple(map(float, pair)) for pair in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)] for path in paths]


def test_a_straight_line_is_drawn_straight_to_the_edges():
    ((*points,),) = drawn(charts.line_chart("t", {"a": [(0, 0.0), (50, 1.0), (100, 2.0)]}))
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x0, x2) == (charts.LEFT, charts.WIDTH - charts.RIGHT)
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert charts.TOP <= y2 < y0 <= charts.HEIGHT - charts.BOTTOM


def test_a_gap_is_left_where_a_value_is_not_finite():
    text = charts.line_chart("t", {"a": [(0, 1.0), (1, 2.0), (2, math.nan), (3, 1.0), (4, math.inf), (5, 2.0)]})
    (path,) = re.findall(r'<path class="line s0" d="(M[^H"]*)"', text)
    assert re.sub(r"[\d. -]", "", path) == "MLMM"


def test_wide_positive_ranges_are_logarithmic():
    text = charts.line_chart("t", {"a": [(0, 100.0), (1, 10.0), (2, 1.0)]})
    assert "log scale" in text
    ((_, (_, middle), _),) = drawn(text)
    ((_, top), _, (_, bottom)) = drawn(text)[0]
    assert middle == pytest.approx((top + bottom) / 2, abs=0.1)
    assert "log scale" not in charts.line_chart("t", {"a": [(0, 100.0), (1, -10.0), (2, 1.0)]})


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [0.0, 0.0], [-3.0, -3.0], [1e-12, 1e12], [math.nan, 2.0], [1e-300, 2e-300], [1e300, -1e300]]
)
def test_odd_values_stay_inside_the_frame(values):
    text = charts.line_chart("t", {"a": list(enumerate(values))}, smoothing=0.1, markers=True)
    ElementTree.fromstring(text)
    for x, y in drawn(text)[0]:
        assert 0 <= x <= charts.WIDTH
        assert 0 <= y <= charts.HEIGHT


def test_nothing_to_draw_is_no_chart():
    assert charts.line_chart("t", {}) == charts.line_chart("t", {"a": []}) == charts.line_chart("t", {"a": [(0, math.nan)]}) == ""


def test_an_outlier_does_not_flatten_the_line():
    points = [(i, 1.0 + math.sin(i)) for i in range(250)]
    points[120] = (120, 100.0)
    raw = re.search(r'<path class="raw s0" d="([^"]*)"', charts.line_chart("t", {"a": points}, smoothing=0.2))
    heights = np.array(re.findall(r"[ML][\d.-]+ ([\d.-]+)", raw[1]), dtype=float)
    assert np.ptp(np.delete(heights, 120)) > 0.5 * charts.HEIGHT


def test_smoothing_is_a_centred_mean():
    points = [(i, float(v)) for i, v in enumerate([0, 3, 6, 3, math.nan, 9])]
    means = [value for _, value in charts.smooth(points, span=3)]
    np.testing.assert_allclose(means, [1.5, 3.0, 4.0, 4.5, math.nan, 9.0])
    assert charts.smooth(points[:4], span=1) == points[:4]


def test_thinning_keeps_the_mean_and_the_end():
    points = [(i, float(i % 7)) for i in range(1, 3001)]
    thinned = charts.thin(points, 300)
    assert len(thinned) == 300
    assert thinned[-1][0] == 3000
    assert np.mean([v for _, v in thinned]) == pytest.approx(np.mean([v for _, v in points]))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 60_000), (-3.2, 7.7), (0.0199, 0.0204), (1e-5, 2e-4)])
def test_ticks_are_round_and_inside(low, high):
    found = charts.ticks(low, high)
    assert 3 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert np.allclose(np.diff(found), found[1] - found[0])


# --- preview grids


def flat(height, width, *values):
    return np.full((height, width, len(values)), values, dtype=np.uint8)


def test_grid_places_rows_and_columns():
    grid = preview_grid([[flat(40, 60, 10), flat(40, 60, 1, 2, 3)], [flat(40, 60, 20), flat(40, 60, 4, 5, 6)]], labels=["source", "output"])
    assert grid.dtype == np.uint8
    gap, title = 4, grid.shape[0] - 2 * (40 + 4)
    assert grid.shape == (title + 88, gap + 2 * (60 + gap), 3)
    assert title > 8
    for row, column, colour in [(0, 0, (10,) * 3), (0, 1, (1, 2, 3)), (1, 0, (20,) * 3), (1, 1, (4, 5, 6))]:
        top, left = title + row * 44, gap + column * 64
        assert (grid[top : top + 40, left : left + 60] == colour).all()
    assert (grid[:, :gap] == 255).all()
    assert (grid[:title, gap : gap + 60] < 128).any()  # the title is written
    assert (grid[title + 40 : title + 44] == 255).all()


def test_grid_resizes_to_the_first_and_takes_any_channels():
    grid = preview_grid([[flat(32, 48, 7), flat(64, 96, 9, 8, 7, 6, 5), flat(16, 24, 3, 200)]], labels=[])
    assert (grid[-20, 10] == 7).all()
    assert tuple(grid[-20, 60]) == (9, 8, 7)
    assert tuple(grid[-20, 120]) == (3, 3, 3)


def test_grid_with_rows_of_different_size_and_length():
    grid = preview_grid([[flat(32, 32, 0)], [flat(16, 64, 50), flat(16, 64, 60)]], labels=["a", "long title that does not fit in"])
    assert grid.shape[1] == 4 + 2 * 68
    assert (grid[-20:-4, 4:68] == 50).all()
    assert (grid[-20:-4, 72:136] == 60).all()
    assert (grid[:, 136:] == 255).all()  # the long title is cut


# --- TensorBoard


def test_tensorboard_tags_and_purging(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pixloom.training.tensorboard import open_writer

    record = History(tmp_path / "history.jsonl")

    def train(writer, steps, value):
        for images in steps:
            terms = {"generator": {"pixel": value}, "critic": {"real": 1.0}, "learning_rate": {"critic": 2e-4}}
            entry = record.append("losses", images=images, elapsed_seconds=1.0, images_per_second=5.0, **terms)
            writer.record(entry)
        writer.record(record.append("validation", images=images, elapsed_seconds=2.0, psnr=20.0, protocol="p"))
        writer.record(record.append("event", images=images, elapsed_seconds=2.0, event="resumed"))
        writer.preview(images, flat(8, 8, 1, 2, 3))
        writer.close()

    train(open_writer(tmp_path), (10, 20, 30), 1.0)
    train(open_writer(tmp_path, resume_images=20), (30, 40), 2.0)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["images/s", "loss/critic/real", "loss/generator/pixel", "lr/critic", "val/psnr"]
    assert events.Tags()["images"] == ["samples"]
    assert [(event.step, event.value) for event in events.Scalars("loss/generator/pixel")] == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]


def test_without_tensorboard_there_is_no_writer(tmp_path, monkeypatch):
    from pixloom.training.tensorboard import open_writer

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert open_writer(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
