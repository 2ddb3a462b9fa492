"""The speed benchmarks: their statistics, their records, and that what they compare with computes the same mathematics."""

# ruff: noqa: E402

from __future__ import annotations

import json
import random
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are run from the checkout and are no part of the package

from benchmarks.speed import __main__ as program
from benchmarks.speed import equality, harness, loading, pictures, plain, record, scaling, share, table
from benchmarks.speed.harness import Comparison, Options, Outcome, Worker, alternate, ratio, run_command, summarise
from benchmarks.speed.plain_translate import translate
from benchmarks.speed.share_run import Clock
from benchmarks.speed.stepping import Steps, set_parameters
from pixloom.config import InferenceConfig, TaskConfig
from pixloom.data.batch import Batch
from pixloom.data.transforms import draw_crop
from pixloom.inference.translator import Translator
from pixloom.modelfile import ModelDescription, describe_generator
from pixloom.nets import build
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner
from tiny import tiny_config

# --- Statistics ------------------------------------------------------------------------------------------------------------------------


def test_candidates_take_turns_and_the_warm_up_is_thrown_away():
    log: list[str] = []

    def candidate(name: str) -> harness.Reading:
        log.append(name)
        return {"seconds": float(len(log))}

    readings = alternate({name: lambda name=name: candidate(name) for name in "AB"}, rounds=3, warm_up=2)
    assert "".join(log) == "AB" * 5
    assert [reading["seconds"] for reading in readings["A"]] == [5.0, 7.0, 9.0]
    assert [reading["seconds"] for reading in readings["B"]] == [6.0, 8.0, 10.0]


def test_summary_is_the_median_quartiles_and_least():
    values = random.Random(0).sample(range(100), 9)
    q1, median, q3 = np.percentile(values, (25, 50, 75))
    assert summarise(values) == {"median": median, "q1": q1, "q3": q3, "min": min(values)}


def test_a_ratio_is_of_medians_and_its_quartiles_are_of_rounds():
    reference, candidate = [2.0, 9.0, 4.0, 8.0, 3.0], [1.0, 3.0, 4.0, 2.0, 2.0]
    rounds = np.divide(reference, candidate)
    expected = {"of_medians": 4.0 / 2.0, "q1": np.percentile(rounds, 25), "q3": np.percentile(rounds, 75)}
    assert ratio(reference, candidate) == pytest.approx(expected)


@pytest.mark.parametrize("work", [lambda: summarise([1.0, 2.0]), lambda: ratio([1.0, 2.0], [1.0, 2.0])])
def test_too_few_rounds_are_not_summarised(work):
    with pytest.raises(ValueError, match="too few"):
        work()


def test_rounds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])


def test_only_measures_that_all_candidates_have_are_summarised():
    readings = {"A": [{"seconds": 1.0, "peak_mib": 3.0}] * 3, "B": [{"seconds": 0.5}] * 3}
    assert list(record.summary(readings)) == ["seconds"]
    assert record.summary(readings)["seconds"]["B"]["ratio"]["of_medians"] == 2.0
    assert "ratio" not in record.summary(readings)["seconds"]["A"]


def test_the_clock_gives_time_to_the_innermost_part(monkeypatch):
    clock, now = Clock(), iter(range(100))
    monkeypatch.setattr("benchmarks.speed.share_run.time", Namespace(perf_counter=lambda: float(next(now))))
    inner = clock.timed(lambda: None, "inner")
    inner()  # before the start: not counted
    clock.start("loop")  # 0
    with clock.within("outer"):  # 1
        inner()  # 2, 3
    clock.stop()  # 4, 5
    inner()
    assert dict(clock.seconds) == {"loop": 2.0, "outer": 2.0, "inner": 1.0}
    assert dict(clock.calls) == {"outer": 1, "inner": 1}


def test_shares_of_a_run():
    seconds = {"networks and optimizers": 96.0, "loop": 3.0, "rest of the step": 1.0, "preview": 10.0}
    found = {"seconds": seconds, "calls": {"preview": 5}, "loop": 110.0, "before": 1.0, "after": 2.0, "full_length_images": 4000}
    assert share.overhead_share(seconds) == pytest.approx(0.04)
    # 20 previews of 2 s beside 4000 steps of 1 s
    assert share.periodic_share(found, steps=100, images=4000) == pytest.approx(40 / 4040)
    assert "4.00%" in share.conclusion(found, steps=100)
    preview = share.part_row("preview", found, steps=100)
    assert (preview["kind"], preview["times"], preview["ms each"]) == ("now and then", 5, 2000.0)
    assert share.part_row("loop", found, steps=100)["ms each"] == pytest.approx(30.0)


def test_a_size_that_would_take_too_much_is_not_tried(monkeypatch):
    tried = []

    def measure(network: str, size: int, work: str) -> scaling.Measured:
        tried.append((size, work))
        seconds = {"train": size / 64, "translate": 0.1}[work]
        return {"seconds": [seconds] * 3, "peak_mib": 5000.0 if (size, work) == (256, "translate") else 100.0}

    monkeypatch.setattr(scaling, "measure", measure)
    rows = scaling.rows_of("unet", sizes=(64, 128, 256, 512))
    assert tried == [(64, "train"), (64, "translate"), (128, "train"), (128, "translate"), (256, "train"), (256, "translate")]
    assert rows[2]["seconds_per_step"] == 4.0
    assert rows[3]["seconds_per_step"] is rows[3]["seconds_per_picture"] is None


# --- Processes -------------------------------------------------------------------------------------------------------------------------


def test_a_whole_process_is_read_and_its_failure_is_told():
    reading = run_command([sys.executable, "-c", "held = bytearray(60 * 2**20)"])
    assert reading["peak_mib"] > 60
    assert reading["seconds"] > 0
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno such luck"):
        run_command([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"])


def test_a_worker_answers_and_its_end_is_told(tmp_path):
    with Worker("pictures") as worker:
        assert worker.ask("pairs", folder=str(tmp_path / "pairs"), data=None, count=2) == 2
        with pytest.raises(RuntimeError, match="the worker pictures ended with 1 at 'nonsense'"):
            worker.ask("nonsense")


def test_the_process_that_measures_imports_neither_torch_nor_pixloom():
    code = "import sys, benchmarks.speed.__main__; print(sorted({'torch', 'pixloom', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- Records ---------------------------------------------------------------------------------------------------------------------------


def made_up_record(name: str = "latency", *, quick: bool = False) -> dict:
    readings = {"plain": [{"seconds": value} for value in (2.0, 3.0, 4.0)], "pixloom": [{"seconds": value} for value in (1.0, 1.5, 2.0)]}
    outcome = Outcome([Comparison("a picture", readings)], rows=[{"some_fact": 0.5, "raw": [1, 2]}, {"other": "yes"}], notes=["A note."])
    options = Options(scratch=Path("none"), quick=quick)
    load = [(0.5, 0.4, 0.3), (1.0, 0.5, 0.4)]
    return record.make_record(name, outcome, options=options, command="python -m x", started=datetime.now(UTC), load=load)


def test_a_record_holds_what_its_numbers_depend_on(tmp_path):
    written = json.loads(record.write_record(made_up_record(), tmp_path / "new").read_text(encoding="utf-8"))
    assert written["comparisons"][0]["readings"]["plain"][1] == {"seconds": 3.0}
    assert written["comparisons"][0]["summary"]["seconds"]["pixloom"]["ratio"]["of_medians"] == 2.0
    assert written["machine"]["versions"]["torch"] == torch.__version__
    assert written["load_average"] == {"before": [0.5, 0.4, 0.3], "after": [1.0, 0.5, 0.4]}
    assert {"processor", "cores", "memory_gib", "system", "variables"} <= written["machine"].keys()
    assert {"date", "commit", "command", "pictures", "minutes"} <= written.keys()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["latency.json"]


def test_the_table_is_rewritten_between_its_marks_and_nowhere_else():
    document = f"before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n"
    once = table.rewrite(document, [made_up_record()])
    assert once.startswith(f"before\n\n{table.BEGIN}\n\n### latency\n")
    assert once.endswith(f"A note.\n\n{table.END}\n\nafter\n")
    assert "| a picture | plain | 3 s [2.5 s, 3.5 s], 2 s |  |  |  |" in once
    assert "|  | pixloom | 1.5 s [1.25 s, 1.75 s], 1 s | 2.00 [2.00, 2.00] |  |  |" in once
    assert "| some fact | other |\n| --- | --- |\n| 0.5 |  |\n|  | yes |" in once
    assert table.rewrite(once, [made_up_record()]).count("### latency") == 1


@pytest.mark.parametrize("document", ["", table.BEGIN, f"{table.END} {table.BEGIN}", f"{table.BEGIN}{table.BEGIN}{table.END}"])
def test_a_document_without_its_marks_is_left_alone(document):
    with pytest.raises(ValueError, match="once each"):
        table.rewrite(document, [])


def test_the_readme_has_the_marks():
    assert table.BEGIN in table.rewrite(program.README.read_text(encoding="utf-8"), [])


def test_quick_records_are_not_published(tmp_path):
    for name, quick in (("latency", True), ("training", False), ("unknown", False)):
        record.write_record(made_up_record(name, quick=quick), tmp_path)
    assert [found["name"] for found in table.load_records(tmp_path, list(program.BENCHMARKS))] == ["training"]


def test_a_benchmark_is_run_printed_and_recorded_where_it_belongs(tmp_path, monkeypatch, capsys):
    seen = []

    def benchmark(options: Options) -> Outcome:
        assert options.scratch.is_dir()
        seen.append(replace(options, scratch=Path()))
        return Outcome(rows=[{"fact": 1.0}])

    monkeypatch.setitem(program.BENCHMARKS, "share", benchmark)
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(program, "QUICK_RESULTS", tmp_path / "quick")
    program.main(["share"])
    program.main(["share", "--quick", "--data", "pictures", "--peer", "theirs"])
    program.main(["share", "--out", str(tmp_path / "own")])
    assert sorted(path.parent.name for path in tmp_path.glob("*/share.json")) == ["own", "quick", "results"]
    assert seen[1] == Options(scratch=Path(), data=Path("pictures"), peer=Path("theirs"), quick=True)
    assert seen[0].rounds > seen[1].rounds
    written = json.loads((tmp_path / "quick" / "share.json").read_text(encoding="utf-8"))
    assert written["command"] == "python -m benchmarks.speed share --data DATA --peer PEER --quick"
    assert "| fact |" in capsys.readouterr().out


# --- The references compute the same ---------------------------------------------------------------------------------------------------


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def plain_networks(name: str) -> tuple[nn.Module, nn.Module]:
    if name == "unet":
        return plain.UNet(6, width=4), plain.patch_critic(nn.BatchNorm2d, width=4)
    return plain.resnet(width=4, blocks=2), plain.patch_critic(nn.InstanceNorm2d, width=4)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_the_plain_loop_plays_the_same_game(name, tmp_path):
    other = {"generator__options__blocks": 2, "generator__options__width": 4, "critic__options__norm": "instance"}
    settings = {"critic__options__layers": 3} | ({} if name == "unet" else {"generator__name": "resnet", **other})
    config = tiny_config(tmp_path, size=64, training__batch_size=2, **settings)
    learner = Learner(config, channels=(3, 3), engine=Engine(config))
    assert learner.critic is not None
    loop = plain.Loop(*plain_networks(name))
    set_parameters(loop.generator, list(learner.generator.parameters()))
    set_parameters(loop.critic, list(learner.critic.parameters()))

    def step(source: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
        result = learner.step(Batch(source=source, target=target, ids=("a", "b")))
        return {name: value.item() for name, value in {**result.critic, **result.generator}.items()}

    batches = [(torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1) for _ in range(2)]
    ours, theirs = (Steps(one, batches).run(5)["losses"] for one in (step, loop.step))
    assert ours[0].keys() == {"real", "fake", "adversarial", "pixel"}
    assert max(max(differences.values()) for differences in equality.compare(ours, theirs)) < 1e-9
    assert ours[0] != ours[2]  # the same batch: it has learnt


def test_differences_are_found():
    same, other = [{"real": 1.0, "fake": 2.0}] * 3, [{"real": 1.0, "fake": 2.0}, {"real": 1.1, "fake": 2.0}, {"real": 1.0, "fake": 2.0}]
    differences = equality.compare(same, other)
    assert [step["real"] for step in differences] == pytest.approx([0.0, 0.1 / 1.1, 0.0])
    setting = equality.Setting(equality.EQUAL_CASES[0], dropout=True, double=False)
    assert equality.row(setting, "plain loop", differences)["agrees"] == "NO"
    late = [{"real": 0.0}, {"real": 0.0}, {"real": 0.5}]  # rounding, in single precision
    assert equality.row(setting, "plain loop", late)["agrees"] == "yes"
    assert equality.row(replace(setting, double=True), "plain loop", late)["agrees"] == "NO"
    with pytest.raises(ValueError, match="cannot be compared"):
        equality.compare(same, [{"real": 1.0}] * 3)


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="cannot become"):
        set_parameters(nn.Linear(2, 3), list(nn.Linear(3, 2).parameters()))
    with pytest.raises(ValueError, match="zip"):
        set_parameters(nn.Linear(2, 3), list(nn.Linear(2, 3, bias=False).parameters()))


def test_the_plain_script_translates_alike():
    generator = build("unet", {"depth": 6, "width": 4, "dropout": 0.0}, source_channels=3, target_channels=3)
    network = plain.UNet(6, width=4, dropout=0.0).eval()
    set_parameters(network, list(generator.parameters()))
    description = ModelDescription(
        task=TaskConfig(name="pair"),
        generator=describe_generator("unet", generator),
        inference=InferenceConfig(statistics="running", dropout=False),
        size=64,
        recipe="pix2pix",
    )
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = Translator(generator, description, device="cpu")(picture).astype(int)
    assert np.abs(ours - translate(network, picture).astype(int)).max() <= 1  # a value in the middle may be rounded either way


def test_pillow_makes_the_examples_of_the_loader(tmp_path):
    pictures.write_pairs(str(tmp_path), data=None, count=3)
    batch = next(loading.our_batches(tmp_path))
    path = tmp_path / "train" / f"{Path(batch.ids[0]).stem}.jpg"
    assert batch.source.shape == batch.target.shape == (1, 3, 256, 256)
    rng = np.random.default_rng(np.random.SeedSequence([0, 1, 0]))
    crop = draw_crop(rng, height=loading.LOAD_SIDE, width=loading.LOAD_SIDE, size=loading.SIZE, flip=True)
    source, target = loading.pillow_example(path, top=crop.top, left=crop.left, flip=crop.flip)
    assert (source - batch.source[0]).abs().max() < 2.5 / 255
    assert (target - batch.target[0]).abs().max() < 2.5 / 255
