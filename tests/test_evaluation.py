import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from pixloom.config import InferenceConfig, TaskConfig
from pixloom.data.sources import Listing, Record
from pixloom.errors import ConfigError, DataError, OutputError
from pixloom.evaluation import choose_records, evaluate
from pixloom.evaluation.answers import ways
from pixloom.evaluation.scorecard import GAP, Evaluation, ranked, save, strip, to_html, to_markdown
from pixloom.images import to_model
from pixloom.inference.translator import Translator
from pixloom.metrics import distribution, judging
from pixloom.metrics.judging import Estimate
from pixloom.metrics.paired import psnr
from pixloom.modelfile import ModelDescription, describe_generator, save_model
from pixloom.nets import build

SIZE = 32


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("PIXLOOM_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make_model(folder, *, task="pair", direction=None, channels=(3, 3), seed=0):
    torch.manual_seed(seed)
    generator = build("resnet", {"blocks": 1, "width": 4}, source_channels=channels[0], target_channels=channels[1])
    description = ModelDescription(
        task=TaskConfig(name=task, direction=direction),
        generator=describe_generator("resnet", generator),
        inference=InferenceConfig(),
        size=SIZE,
        recipe="test",
        facts={"training": {"images": 120}},
    )
    save_model(folder, generator=generator, description=description)
    return folder


def picture(seed, *, height=40, width=48, channels=3):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return coarse if channels == 3 else coarse.convert("L")


def make_pairs(folder, *, count=7, split="val", source_channels=3, equal=False):
    for side, shift in (("A", 0), ("B", 0 if equal else 100)):
        (folder / split / side).mkdir(parents=True)
        for i in range(count):
            channels = source_channels if side == "A" else 3
            picture(i + shift, channels=channels).save(folder / split / side / f"{i}.png")
    return folder


def test_a_model_is_judged_beside_the_input_and_another_model(tmp_path):
    model, other = make_model(tmp_path / "model"), make_model(tmp_path / "regression", seed=1)
    result = evaluate(model, make_pairs(tmp_path / "data"), against=[other], device="cpu", out=tmp_path / "out")
    assert (result.split, result.count) == ("val", 7)
    assert list(result.means) == ["psnr", "ssim"]
    assert list(result.baselines) == [str(other), "input"]
    assert set(result.missing) == {"lpips", "kid"}
    assert result.means["psnr"].low < result.means["psnr"].mean < result.means["psnr"].high
    assert result.baselines[str(other)] != result.means
    # By hand: short side to 32, centre square, translate, compare.
    loaded = {side: Image.open(tmp_path / "data/val" / side / "3.png") for side in "AB"}
    square = {side: np.asarray(value.resize((38, 32), Image.Resampling.BICUBIC))[:, 3:35] for side, value in loaded.items()}
    translated = Translator.from_pretrained(model, device="cpu")(square["A"])
    expected = psnr(*(torch.from_numpy(to_model(np.ascontiguousarray(value)))[None] for value in (translated, square["B"])))
    row = next(row for row in result.per_image if row["id"].endswith("3"))
    assert row["psnr"] == pytest.approx(float(expected[0]), abs=0.05)
    assert json.loads((tmp_path / "out/evaluation.json").read_text(encoding="utf-8"))["count"] == 7


def test_the_protocol_says_how_the_numbers_came_about(tmp_path):
    data = make_pairs(tmp_path / "data")
    (data / "val/A/bad.png").write_bytes(b"no picture")
    picture(0).save(data / "val/B/bad.png")
    protocol = evaluate(make_model(tmp_path / "model"), data, device="cpu", seed=3).protocol
    assert protocol["data"]["real"] == protocol["data"]["generated"] == 7
    assert list(protocol["data"]["unusable"]) == ["val/bad"]
    assert protocol["model"]["inference"] == {"statistics": "running", "dropout": False}
    assert protocol["model"]["facts"]["training"]["images"] == 120
    assert re.fullmatch("[0-9a-f]{64}", protocol["model"]["weights_sha256"])
    assert "32 px" in protocol["pictures"]
    assert protocol["seed"] == 3
    assert {"pixloom", "torch"} <= set(protocol["versions"])


def test_the_input_is_perfect_where_nothing_changes(tmp_path):
    result = evaluate(make_model(tmp_path / "model"), make_pairs(tmp_path / "data", equal=True), device="cpu")
    assert result.baselines["input"]["psnr"].mean == 100
    assert result.baselines["input"]["ssim"].mean == pytest.approx(1)
    assert result.means["psnr"].mean < 100


def test_a_model_called_input_is_not_taken_for_the_baseline(tmp_path, monkeypatch):
    make_model(tmp_path / "input")
    monkeypatch.chdir(tmp_path)
    result = evaluate("input", make_pairs(tmp_path / "data", equal=True), device="cpu")
    assert result.means["psnr"].mean < result.baselines["input"]["psnr"].mean == 100


@pytest.mark.parametrize(("direction", "channels"), [("AtoB", (1, 3)), ("BtoA", (3, 1))])
def test_grey_inputs_are_shown_in_the_channels_of_the_target(tmp_path, direction, channels):
    model = make_model(tmp_path / "model", direction=direction, channels=channels)
    result = evaluate(model, make_pairs(tmp_path / "data", source_channels=1), device="cpu")
    assert result.baselines["input"]["psnr"].mean > 0
    source, output, target = np.split(
        np.concatenate([result.strips[result.worst[0]], np.zeros((SIZE, GAP, 3), np.uint8)], axis=1), 3, axis=1
    )
    grey = {True: source, False: target}[direction == "AtoB"]
    assert (grey[..., 0] == grey[..., 2]).all()
    assert (output[..., 0] == output[..., 2]).all() == (direction == "BtoA")


def test_colorization_is_judged_in_colour_and_sees_only_the_grey(tmp_path):
    model = make_model(tmp_path / "model", task="colorize", channels=(1, 2))
    (tmp_path / "data/test").mkdir(parents=True)
    for i in range(3):
        picture(i).save(tmp_path / f"data/test/{i}.png")
    result = evaluate(model, tmp_path / "data", device="cpu")
    assert result.split == "test"
    assert "colourfulness" in result.means
    assert result.baselines["input"]["colourfulness"].mean < 2 < result.means["colourfulness_target"].mean
    source = result.strips[result.worst[0]][:, :SIZE].astype(int)
    assert np.abs(source[..., 0] - source[..., 2]).max() <= 2


def test_pictures_are_held_out_where_there_is_no_validation_split(tmp_path):
    make_pairs(tmp_path / "data", count=12, split="train")
    result = evaluate(make_model(tmp_path / "model"), tmp_path / "data", device="cpu")
    assert result.split == "val"
    assert 1 <= result.count <= 6
    assert any("held out" in note for note in result.protocol["data"]["notes"])
    assert evaluate(make_model(tmp_path / "model"), tmp_path / "data", split="all", device="cpu").count == 12


def test_the_limit_is_spread_over_the_split_and_progress_is_told(tmp_path):
    calls = []
    model, data = make_model(tmp_path / "model"), make_pairs(tmp_path / "data", count=9)
    result = evaluate(model, data, limit=3, device="cpu", progress=lambda *call: calls.append(call))
    assert [row["id"][-1] for row in result.per_image] == ["0", "3", "6"]
    assert calls == [(name, done, 3) for name in (str(model), "input") for done in (1, 2, 3)]


def test_real_networks(tmp_path, real_weights):
    data = make_pairs(tmp_path / "data", count=8)
    result = evaluate(make_model(tmp_path / "model"), data, weights=real_weights, features="squeeze", device="cpu")
    assert list(result.means) == ["lpips", "kid_squeeze", "frechet_squeeze", "psnr", "ssim"]
    assert not result.missing
    assert set(result.floors) == {"kid_squeeze", "frechet_squeeze"}
    assert result.protocol["metrics"]["lpips"]["network"] == "squeeze"
    values = {row["id"]: row["lpips"] for row in result.per_image}
    assert [values[name] for name in result.worst] == sorted(values.values(), reverse=True)[:4]


def test_splits_and_limits_are_checked(tmp_path):
    records = tuple(Record(str(i), tmp_path / str(i)) for i in range(4))
    listing = Listing(tmp_path, "pictures", {"train": records[:3], "test": records[3:]})
    assert choose_records(listing) == ("test", records[3:])
    assert choose_records(listing, split="all") == ("all", records)
    assert choose_records(listing, split="train", limit=9) == ("train", records[:3])
    with pytest.raises(DataError, match="no val pictures"):
        choose_records(listing, split="val")
    with pytest.raises(DataError, match="no validation pictures"):
        choose_records(Listing(tmp_path, "pictures", {"train": records}))
    with pytest.raises(ConfigError, match="limit"):
        choose_records(listing, split="train", limit=0)


def test_no_usable_pictures(tmp_path):
    model, data = make_model(tmp_path / "model"), make_pairs(tmp_path / "data", count=2)
    for path in (data / "val/B").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="none of the pictures"):
        evaluate(model, data, device="cpu")


# --- The report ---


NAMES = ("a/<b>&1", "p2", "雪 3", "p4", "p5")


@pytest.fixture
def evaluation():
    rows = [{"id": name, "psnr": [math.inf, 20.0, 30.0, 10.0, 15.0][i], "ssim": i / 5} for i, name in enumerate(NAMES)]
    worst, best = ranked(rows, num_shown=2)
    return Evaluation(
        model="runs/<x>",
        split="val",
        count=5,
        means={"kid_squeeze": Estimate(0.01, -0.01, 0.03), "frechet_squeeze": Estimate(1.5), "psnr": Estimate(35.0, 20.0, 50.0)},
        floors={"kid_squeeze": 0.002},
        per_image=rows,
        baselines={"input": {"psnr": Estimate(12.0, 11.0, 13.0)}},
        worst=worst,
        best=best,
        protocol={"seed": 0, "nothing": None},
        missing={"lpips": "the weights are not here\n  fix: get <them>"},
        strips={name: np.full((8, 24, 3), 50, np.uint8) for name in NAMES},
    )


def test_worst_and_best_do_not_overlap(evaluation):
    assert (evaluation.worst, evaluation.best) == (("a/<b>&1", "p2"), ("p5", "p4"))
    assert ranked(evaluation.per_image[:3], num_shown=2) == (("a/<b>&1", "p2"), ("雪 3",))
    rows = [{"id": "x", "psnr": 1.0, "lpips": 0.1}, {"id": "y", "psnr": 0.0, "lpips": 0.9}]
    assert ranked(rows, num_shown=1) == (("y",), ("x",))


def test_strips_are_eight_bit_colour_side_by_side():
    grey, deep = np.full((4, 5, 1), 7, np.uint8), np.full((4, 5, 3), 65535, np.uint16)
    joined = strip(grey, deep)
    assert (joined.shape, joined.dtype) == ((4, 10 + GAP, 3), np.uint8)
    assert (joined[:, :5] == 7).all()
    assert (joined[:, 5:] == 255).all()


def test_the_report_is_written_whole(evaluation, tmp_path):
    folder = tmp_path / "a b" / "雪"
    evaluation.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.html", "evaluation.json", "evaluation.md", "pictures"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["best-1.png", "best-2.png", "worst-1.png", "worst-2.png"]
    tree = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert tree["means"]["psnr"] == {"mean": 35.0, "low": 20.0, "high": 50.0}
    assert tree["per_image"][0]["psnr"] == "inf"
    assert tree["floors"] == {"kid_squeeze": 0.002}
    assert tree["protocol"] == {"seed": 0, "nothing": None}


def test_a_report_is_replaced_only_when_asked_and_nothing_else_ever(evaluation, tmp_path):
    save(evaluation, tmp_path / "report")
    with pytest.raises(OutputError, match="exists already"):
        save(evaluation, tmp_path / "report")
    (tmp_path / "report/stale").touch()
    save(evaluation, tmp_path / "report", overwrite=True)
    assert not (tmp_path / "report/stale").exists()
    (tmp_path / "treasure").mkdir()
    (tmp_path / "treasure/gold").touch()
    with pytest.raises(OutputError, match="not an evaluation report"):
        save(evaluation, tmp_path / "treasure", overwrite=True)
    assert (tmp_path / "treasure/gold").exists()


@pytest.mark.parametrize(("metric", "ours", "better"), [("lpips", 0.2, True), ("lpips", 0.4, False), ("psnr", 20.0, False)])
def test_the_verdict_is_in_sentences(evaluation, metric, ours, better):
    other = {"lpips": 0.3, "psnr": 25.0}[metric]
    few = replace(
        evaluation,
        count=2,
        means={metric: Estimate(ours, None, None)},
        baselines={"input": {metric: Estimate(other, None, None)}},
        notes=("It was chosen.",),
    )
    assert few.helps is better
    first, second, third = few.verdict
    assert first == f"By {metric} the model is {'' if better else 'not '}better than the input itself: {ours:g} for {other:g}."
    assert "2 pictures are too few" in second
    assert third == "It was chosen."
    assert json.loads(few.to_json())["verdict"] == list(few.verdict)
    for text in (to_markdown(few), to_html(few)):
        assert all(sentence in text for sentence in few.verdict)
    assert replace(few, baselines={}, count=10, notes=()).verdict == ()


def test_markdown_says_everything(evaluation):
    text = to_markdown(evaluation)
    assert "| metric | this model | input | floor |" in text
    assert "| psnr ↑ | 35 [20, 50] | 12 [11, 13] |  |" in text
    assert "| kid_squeeze ↓ | 0.01 [-0.01, 0.03] | – | 0.002 |" in text
    assert "| frechet_squeeze ↓ | 1.5 |" in text
    assert "**lpips**: the weights are not here; fix: get <them>" in text
    assert '"seed": 0' in text


class Page(HTMLParser):
    """Checks that tags nest, and collects what is loaded from where."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_escapes_names(evaluation):
    html = to_html(evaluation)
    page = Page()
    page.feed(html)
    assert page.open == []
    assert len(page.addresses) == 4
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert "http" not in html.replace("http-equiv", "")
    assert "<b>&1" not in html
    text = "".join(page.text)
    assert all(name in text for name in NAMES)
    assert 'data-value="Infinity"' in html


def test_from_class_to_class_every_real_picture_counts_once():
    """Examples that ask for the same class may be shown the same picture, which beside itself would bias the distance."""
    rng = torch.Generator().manual_seed(0)
    pictures, made = torch.randn(8, 5, generator=rng), torch.randn(20, 5, generator=rng)
    rows = [{"id": str(number), "target_accuracy, label": 1.0} for number in range(20)]
    shown = pictures[torch.arange(20) % 8]
    verdict = judging.Verdict({}, {}, rows, {}, real=shown, fake=made)

    class Shown(list):
        """Examples as ``ways`` reads them."""

        pictures = SimpleNamespace(records=[SimpleNamespace(id=row["id"], label="cat") for row in rows])

    examples = Shown(SimpleNamespace(id=row["id"], shown=SimpleNamespace(given={"label": "dog"})) for row in rows)
    jaxtyping.config.update("jaxtyping_disable", True)  # what is handed in is no network and no folder of pictures
    try:
        found = ways(verdict, examples, judges=judging.Judges(features=SimpleNamespace(spec=SimpleNamespace(kid="kid"))))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert found["cat to dog"]["count"] == 20
    assert found["cat to dog"]["kid"] == pytest.approx(distribution.kid(pictures, made).value)
    assert found["cat to dog"]["kid"] < distribution.kid(shown, made).value
