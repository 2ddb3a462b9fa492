"""The training loop: learns, resumes bit for bit after kill -9, keeps its promises about NaN, signals, disks and processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from make_golden import trace
from pixloom.config import dump_config, override
from pixloom.data.batch import Batch
from pixloom.errors import CheckpointError, ConfigError, OutputError, TrainingError
from pixloom.training import loop, session
from pixloom.training.api import resume, train
from pixloom.training.ema import Ema
from pixloom.training.engine import Engine
from pixloom.training.folder import RunFolder
from pixloom.training.history import read
from pixloom.training.learner import Learner, learning_rate_factor, weighted_sum
from pixloom.training.plan import complete, make_plan
from pixloom.training.session import Session
from pixloom.training.state import (
    Checkpoint,
    Progress,
    flatten,
    list_checkpoints,
    optimizer_state,
    read_checkpoint,
    restore_optimizer,
)
from tiny import tiny_config, write_pairs

SOURCE = Path(__file__).parents[1] / "src"


torch.set_num_threads(1)  # bit-exactness holds at one thread count, and the children below use one


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs")


def final_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(run / "checkpoints")[-1] / "state.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """Every tensor of the last checkpoint and of the best model is bit-equal, and so is what the history tells."""
    first, second = final_state(one), final_state(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    models = [load_file(run / "model" / "model.safetensors") for run in (one, other)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])

    def told(run: Path) -> list[dict]:
        timeless = ("elapsed_seconds", "images_per_second")
        return [{k: v for k, v in entry.items() if k not in timeless} for entry in read(run / "history.jsonl") if entry["kind"] != "event"]

    assert told(one) == told(other)


# ---- it learns


@pytest.mark.parametrize(("name", "settings"), [("pix2pix", {}), ("cgan", {"training__batch_size": 2}), ("regression", {})])
def test_every_method_overfits_one_batch(pairs, name, settings):
    config = tiny_config(pairs, name=name, generator_optimizer__learning_rate=2e-3, **settings)
    config = override(config, {"generator.options.width": 8})
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    torch.manual_seed(0)
    source = torch.rand(2, 1, 16, 16) * 2 - 1
    batch = Batch(source, torch.cat([source, -source, source**2], dim=1), ("a", "b"))
    losses = [learner.step(batch).generator["pixel"].item() for _ in range(150)]
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])


GOLDEN = Path(__file__).parent / "golden_losses.json"


@pytest.mark.parametrize("name", ["pix2pix", "cgan", "regression"])
def test_golden_losses_of_twenty_steps(pairs, name):
    """A change that is not meant to change numbers keeps them: relative tolerance 1e-3, for other processors' rounding."""
    steps = trace(name, pairs)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for mine, stored in zip(steps, golden[name], strict=True):
        assert mine == pytest.approx(stored, rel=1e-3, abs=1e-4)


def test_one_generator_pass_serves_both_updates(pairs):
    config = tiny_config(pairs)
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    passes = []
    learner.generator.register_forward_hook(lambda *_: passes.append(1))
    learner.step(Batch(torch.zeros(1, 1, 16, 16), torch.zeros(1, 3, 16, 16), ("a",)))
    assert len(passes) == 1


def test_critic_is_not_trained_by_the_generators_step(pairs):
    config = tiny_config(pairs, losses__critic_weight=1e-30)
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    batch = Batch(torch.rand(1, 1, 16, 16), torch.rand(1, 3, 16, 16), ("a",))
    learner.step(batch)
    assert all(p.requires_grad for p in learner.critic.parameters())
    gradients = [p.grad for p in learner.critic.parameters() if p.grad is not None]
    assert gradients
    assert max(float(g.abs().max()) for g in gradients) < 1e-20  # only the critic's own (vanishing) term reached it


# ---- the options act


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("losses.pixel_weight", 1.0),
        ("losses.adversarial_weight", 5.0),
        ("losses.critic_weight", 2.0),
        ("losses.pixel", "l2"),
        ("losses.pixel", "charbonnier"),
        ("losses.adversarial", "minimax"),
        ("losses.adversarial", "least-squares"),
        ("losses.adversarial", "hinge"),
        ("losses.adversarial", "relativistic"),
        ("generator_optimizer.learning_rate", 1e-3),
        ("critic_optimizer.learning_rate", 1e-3),
        ("generator_optimizer.beta1", 0.9),
        ("generator_optimizer.beta2", 0.9),
        ("training.clip_norm", 1e-3),
        ("training.num_critic", 2),
        ("training.seed", 1),
        ("training.ema_halflife_images", 4.0),
        ("compute.precision", "bf16"),
        ("generator.options.noise_channels", 2),
        ("data.flip", False),
        ("data.jitter", 1.5),
        ("training.batch_size", 2),
        ("training.decay_start", 0.0),
    ],
)
def test_every_setting_changes_what_is_learnt(pairs, tmp_path, baseline_tensors, key, value):
    train(override(tiny_config(pairs, training__images=8), {key: value}), out=tmp_path / "run", quiet=True)
    changed = final_state(tmp_path / "run")
    assert changed.keys() != baseline_tensors.keys() or any(not torch.equal(changed[k], baseline_tensors[k]) for k in baseline_tensors)


@pytest.fixture(scope="module")
def baseline_tensors(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("baseline") / "run"
    train(tiny_config(pairs, training__images=8), out=out, quiet=True)
    return final_state(out)


def test_the_same_seed_gives_the_same_run(pairs, tmp_path, baseline_tensors):
    train(tiny_config(pairs, training__images=8), out=tmp_path / "run", quiet=True)
    again = final_state(tmp_path / "run")
    assert all(torch.equal(again[name], tensor) for name, tensor in baseline_tensors.items())


def test_wasserstein_trains_with_its_penalty_and_refuses_batch_norm(pairs, tmp_path):
    config = tiny_config(pairs, losses__adversarial="wasserstein")
    with pytest.raises(ConfigError, match="batch norm") as error:
        train(config, out=tmp_path / "bad", quiet=True)
    assert "critic.options.norm=instance" in str(error.value)
    assert not (tmp_path / "bad").exists()
    train(override(config, {"critic.options.norm": "instance", "training.images": 4}), out=tmp_path / "good", quiet=True)
    losses = next(entry for entry in read(tmp_path / "good" / "history.jsonl") if entry["kind"] == "losses")
    assert losses["critic"]["gradient_penalty"] > 0


def test_learning_rate_is_flat_then_falls_and_never_reaches_zero():
    factors = [learning_rate_factor(i, total=200, decay_start=0.5) for i in range(200)]
    assert factors[:101] == [1.0] * 101
    assert factors[199] == pytest.approx(0.01)
    assert all(b < a for a, b in zip(factors[100:], factors[101:], strict=False))
    assert learning_rate_factor(199, total=200, decay_start=1.0) == 1.0


def test_ema_halves_the_distance_in_one_halflife():
    network = torch.nn.BatchNorm1d(2)
    ema = Ema(network, halflife_images=8)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(4.0)
    for _ in range(4):
        ema.update(network, num_images=2, sound=torch.tensor(True))
    assert ema.network.weight.tolist() == pytest.approx([2.0, 2.0])  # from 1 half-way to 3
    assert ema.network.running_mean.tolist() == pytest.approx([2.0, 2.0])
    ema.update(network, num_images=2, sound=torch.tensor(False))
    assert ema.network.weight.tolist() == pytest.approx([2.0, 2.0])


def test_weights_meet_terms_in_one_place():
    assert float(weighted_sum({"a": torch.tensor(2.0), "b": torch.tensor(3.0)}, {"a": 10.0, "b": 1.0})) == 23.0


# ---- the run folder


def test_a_run_leaves_everything(pairs, tmp_path):
    result = train(tiny_config(pairs, training__preview_every_images=2), out=tmp_path / "run", quiet=True)
    run = tmp_path / "run"
    assert result.state == "finished"
    assert result.images == 12
    models = ("model/config.json", "model-last/model.safetensors")
    for name in ("config.yaml", "history.jsonl", "report.html", "evaluation/evaluation.json", *models):
        assert (run / name).is_file(), name
    assert len(list((run / "samples").glob("*.png"))) >= 5
    history = read(run / "history.jsonl")
    assert {entry["kind"] for entry in history} == {"losses", "validation", "event"}
    losses = [entry for entry in history if entry["kind"] == "losses"]
    assert len(losses) == 6
    assert all(entry["generator"].keys() == {"adversarial", "pixel"} and entry["critic"].keys() == {"real", "fake"} for entry in losses)
    assert not [path for path in run.rglob("*") if path.name.startswith(".") and path.name != ".lock"]


def test_checkpoints_are_limited_and_whole(pairs, tmp_path):
    train(tiny_config(pairs, training__checkpoint_every_images=2, training__keep_checkpoints=3), out=tmp_path / "run", quiet=True)
    folders = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert [folder.name for folder in folders] == ["000000008", "000000010", "000000012"]
    for folder in folders:
        read_checkpoint(folder)


def test_without_a_setting_a_checkpoint_is_a_matter_of_time(pairs, tmp_path, monkeypatch):
    saved = []
    real = Session.save
    monkeypatch.setattr(Session, "save", lambda self, progress: (saved.append(progress.images), real(self, progress))[1])
    train(tiny_config(pairs), out=tmp_path / "short", quiet=True)
    assert saved == [12]
    saved.clear()
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0)
    train(tiny_config(pairs, training__images=4), out=tmp_path / "long", quiet=True)
    assert saved == [1, 2, 3, 4]
    saved.clear()
    train(tiny_config(pairs, training__checkpoint_every_images=5), out=tmp_path / "set", quiet=True)  # then the clock does not count
    assert saved == [5, 10, 12]


def test_validation_takes_a_small_share_of_a_run(pairs, tmp_path):
    config = override(tiny_config(pairs, training__images=300), {"training.validate_every_images": None})
    plan = complete(config)
    made = Session(plan, RunFolder(tmp_path / "run"), Engine(config), quiet=True)
    judged = len(made.watch.examples)
    assert judged == len(plan.validation) > 0
    assert made.validate_every == 300 // (300 // max(50, session.LEARNT_PER_JUDGED * judged))


def test_a_second_run_in_the_same_place_is_refused(pairs, tmp_path):
    train(tiny_config(pairs, training__images=2), out=tmp_path / "run", quiet=True)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*") if path.is_file())
    with pytest.raises(OutputError, match="run here already"):
        train(tiny_config(pairs), out=tmp_path / "run", quiet=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*") if path.is_file()) == before


def test_resuming_a_finished_run_changes_nothing(pairs, tmp_path):
    train(tiny_config(pairs, training__images=4), out=tmp_path / "run", quiet=True)
    before = final_state(tmp_path / "run")
    assert resume(tmp_path / "run", quiet=True).state == "finished"
    assert all(torch.equal(before[name], tensor) for name, tensor in final_state(tmp_path / "run").items())


def test_two_processes_cannot_train_in_one_folder(pairs, tmp_path):
    train(tiny_config(pairs, training__images=2), out=tmp_path / "run", quiet=True)
    with RunFolder(tmp_path / "run").locked(), pytest.raises(OutputError, match="another process"):
        resume(tmp_path / "run", quiet=True)


def test_a_run_out_of_time_says_so_and_goes_on_with_more_minutes(pairs, tmp_path, monkeypatch):
    config = tiny_config(pairs, training__images=8)
    monkeypatch.setattr(session.Session, "out_of_time", lambda self, progress: self.more_minutes is None and progress.images >= 4)
    ended = train(config, out=tmp_path / "run", quiet=True)
    assert (ended.state, ended.images) == ("out of time", 4)
    assert "out of time after 4 of 8 images" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="0 minutes"):
        resume(tmp_path / "run", minutes=0, quiet=True)
    assert resume(tmp_path / "run", minutes=1e-9, quiet=True).state == "out of time"
    whole = resume(tmp_path / "run", minutes=5, quiet=True)
    assert (whole.state, whole.images) == ("finished", 8)
    assert "out of time after" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8").split("</header>")[0]


def test_minutes_set_the_number_of_images(pairs, tmp_path):
    narrow = {"generator.options.width": 4, "critic.options.width": 4, "critic.options.layers": 1}
    plan = make_plan(str(pairs), size=16, minutes=0.02, settings=narrow)
    started = time.monotonic()
    result = loop.train(plan, out=tmp_path / "run", quiet=True)
    assert time.monotonic() - started < 60
    assert result.images >= 1
    assert any("minutes allow" in note for note in json.loads((tmp_path / "run" / "data.json").read_text())["notes"])


# ---- bad files while training


def test_a_bad_file_is_skipped_named_and_counted(pairs, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pairs, data)
    (data / "B" / "3.png").write_bytes(b"not a picture")
    train(tiny_config(data), out=tmp_path / "run", quiet=True)
    bad = json.loads((tmp_path / "run" / "bad_files.json").read_text(encoding="utf-8"))
    assert list(bad) == ["3"]
    assert "3.png" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


# ---- not a number


def _poison(monkeypatch, steps: set[int]) -> list[int]:
    """Make the generator's content term NaN at some steps of the process."""
    calls: list[int] = []
    original = Learner.step

    def step(self, batch, **options):
        calls.append(len(calls))
        if calls[-1] in steps:
            batch = Batch(batch.source, batch.target * float("nan"), batch.ids)
        return original(self, batch, **options)

    monkeypatch.setattr(Learner, "step", step)
    return calls


MEASURING = 5
"""Steps that the pre-flight takes on throw-away networks before the run itself begins."""


def test_a_nan_step_is_skipped_and_reported(pairs, tmp_path, monkeypatch):
    _poison(monkeypatch, {MEASURING + 3})
    train(tiny_config(pairs), out=tmp_path / "run", quiet=True)
    events = [entry for entry in read(tmp_path / "run" / "history.jsonl") if entry.get("event") == "skipped"]
    assert [entry["images"] for entry in events] == [4]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in final_state(tmp_path / "run").values() if tensor.is_floating_point())


def test_nan_after_nan_rolls_back_with_half_the_rate(pairs, tmp_path, monkeypatch):
    _poison(monkeypatch, set(range(MEASURING + 6, MEASURING + 6 + loop.MAX_BAD_STEPS)))
    train(tiny_config(pairs, training__checkpoint_every_images=4), out=tmp_path / "run", quiet=True)
    history = read(tmp_path / "run" / "history.jsonl")
    assert [entry["images"] for entry in history if entry.get("event") == "rollback"] == [8]
    assert read_checkpoint(list_checkpoints(tmp_path / "run" / "checkpoints")[-1]).progress.learning_rate_scale == 0.5


def test_nan_for_ever_stops_with_a_named_cause_and_no_poisoned_checkpoint(pairs, tmp_path, monkeypatch):
    _poison(monkeypatch, set(range(MEASURING + 5, 10_000)))
    with pytest.raises(TrainingError, match="non-finite") as error:
        train(tiny_config(pairs, training__images=200, training__checkpoint_every_images=2), out=tmp_path / "run", quiet=True)
    assert "learning_rate" in str(error.value)
    for folder in list_checkpoints(tmp_path / "run" / "checkpoints"):
        assert all(bool(torch.isfinite(t).all()) for t in read_checkpoint(folder).tensors.values() if t.is_floating_point())


def test_poisoned_weights_are_never_saved(pairs, tmp_path, monkeypatch):
    original = Learner.step
    done = []

    def step(self, batch, **options):
        result = original(self, batch, **options)
        done.append(1)
        if len(done) == MEASURING + 5:
            with torch.no_grad():
                next(self.generator.parameters()).fill_(float("nan"))
        return result

    monkeypatch.setattr(Learner, "step", step)
    train(tiny_config(pairs, training__checkpoint_every_images=1), out=tmp_path / "run", quiet=True)
    assert any(entry.get("event") == "rollback" for entry in read(tmp_path / "run" / "history.jsonl"))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in final_state(tmp_path / "run").values() if tensor.is_floating_point())


# ---- full disk


def test_a_full_disk_keeps_the_former_checkpoint(pairs, tmp_path, monkeypatch):
    from pixloom.training import state

    original, calls = state.save_file, []

    def save_file(tensors, path, *rest, **options):
        calls.append(path)
        if len(calls) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return original(tensors, path, *rest, **options)

    monkeypatch.setattr(state, "save_file", save_file)
    with pytest.raises(OutputError, match="checkpoint could not be written") as error:
        train(tiny_config(pairs, training__checkpoint_every_images=2), out=tmp_path / "run", quiet=True)
    assert "free some space" in str(error.value)
    folders = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert [folder.name for folder in folders] == ["000000002", "000000004"]
    assert read_checkpoint(folders[-1]).progress.images == 4
    monkeypatch.undo()
    resume(tmp_path / "run", quiet=True)
    train(tiny_config(pairs, training__checkpoint_every_images=2), out=tmp_path / "straight", quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


def test_a_disk_too_small_is_seen_before_the_start(pairs, tmp_path, monkeypatch):
    from pixloom.training import preflight

    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(OutputError, match="GiB free"):
        train(tiny_config(pairs), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


# ---- damaged and foreign checkpoints


@pytest.fixture
def stopped(pairs, tmp_path):
    """A run of 12 images, as it stood at 8 with checkpoints at 4 and 8."""
    run = tmp_path / "run"
    train(tiny_config(pairs, training__checkpoint_every_images=4, training__keep_checkpoints=3), out=run, quiet=True)
    shutil.copytree(run, tmp_path / "straight")
    shutil.rmtree(run / "checkpoints" / "000000012")
    return run


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_passed_over(stopped, name, capsys):
    path = stopped / "checkpoints" / "000000008" / name
    path.write_text("{") if name == "manifest.json" else _flip_a_bit(path)
    resume(stopped)
    assert "000000008 is damaged" in capsys.readouterr().err
    assert_same_run(stopped, stopped.parent / "straight")


def test_no_whole_checkpoint_is_an_error_that_says_so(stopped):
    for folder in list_checkpoints(stopped / "checkpoints"):
        _flip_a_bit(folder / "state.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint of this run is whole"):
        resume(stopped, quiet=True)


def test_a_checkpoint_of_another_run_is_refused(stopped, pairs, tmp_path):
    train(tiny_config(pairs, training__seed=7), out=tmp_path / "other", quiet=True)
    shutil.copytree(tmp_path / "other" / "checkpoints" / "000000012", stopped / "checkpoints" / "000000012")
    with pytest.raises(CheckpointError, match="belongs to another run"):
        resume(stopped, quiet=True)


def test_changed_data_is_refused(pairs, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pairs, data)
    train(tiny_config(data, training__images=4), out=tmp_path / "run", quiet=True)
    write_pairs(data, count=8, seed=5)
    with pytest.raises(CheckpointError, match="its config or data"):
        resume(tmp_path / "run", quiet=True)


def test_there_must_be_a_run_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        resume(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_resume_keeps_what_it_wrote_and_drops_the_damaged_future(stopped):
    for name in ("000000008", "000000012"):
        (stopped / "checkpoints" / name).mkdir(exist_ok=True)
        (stopped / "checkpoints" / name / "manifest.json").write_text("{}", encoding="utf-8")
    config = stopped / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("keep_checkpoints: 3", "keep_checkpoints: 1"), encoding="utf-8")
    resume(stopped, quiet=True)
    assert [folder.name for folder in list_checkpoints(stopped / "checkpoints")] == ["000000012"]
    read_checkpoint(stopped / "checkpoints" / "000000012")


def test_the_metric_that_chooses_the_best_is_settled_at_the_start(stopped, monkeypatch):
    text = (stopped / "config.yaml").read_text(encoding="utf-8")
    assert "best_metric: auto" not in text
    monkeypatch.setenv("PIXLOOM_WEIGHTS", "/nowhere")
    (stopped / "config.yaml").write_text(text.replace("best_metric: ssim", "best_metric: lpips"), encoding="utf-8")
    with pytest.raises(ConfigError, match="'lpips' here"):
        resume(stopped, quiet=True)


def test_a_run_killed_while_it_was_being_made_can_be_resumed(pairs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(dump_config(tiny_config(pairs, training__images=2, training__best_metric="ssim")), encoding="utf-8")
    assert resume(run, quiet=True).images == 2


def test_previews_of_a_time_that_was_gone_back_on_are_removed(stopped):
    (stopped / "samples" / "000000011.png").write_bytes(b"from a lost time line")
    resume(stopped, quiet=True)
    assert not (stopped / "samples" / "000000011.png").exists()


def test_ema_counts_the_images_of_every_critic_step(pairs, monkeypatch):
    seen = []
    monkeypatch.setattr(Ema, "update", lambda self, network, *, num_images, **more: seen.append(num_images))
    config = tiny_config(pairs, training__num_critic=3, training__batch_size=2, training__ema_halflife_images=5.0)
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    for step in range(6):
        learner.step(Batch(torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16), ("a", "b")), train_generator=step % 3 == 2)
    assert sum(seen) == 6 * 2


def test_a_generator_that_would_never_train_is_refused(pairs, tmp_path):
    with pytest.raises(ConfigError, match="never be trained"):
        train(tiny_config(pairs, training__num_critic=50), out=tmp_path / "run", quiet=True)


def _adam(network, *, shares):
    """Adam over layers, the last first and each a group; or one group for all."""
    groups = [list(layer.parameters()) for layer in network] if shares else [list(network.parameters())]
    return torch.optim.Adam([{"params": group} for group in (reversed(groups) if shares else groups)], lr=1e-3)


def test_moments_find_their_weights_however_groups_divide_them(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 4))
    before, after = _adam(network, shares=False), _adam(network, shares=True)
    network(torch.ones(1, 3)).sum().backward()
    before.step()
    tensors, scalars = flatten({"adam": optimizer_state(before, network.parameters())})
    checkpoint = Checkpoint(tmp_path, Progress(), tensors, scalars, "", {})
    restore_optimizer(after, checkpoint, "adam", parameters=network.parameters())
    for parameter in network.parameters():
        assert torch.equal(before.state[parameter]["exp_avg"], after.state[parameter]["exp_avg"])
        assert float(after.state[parameter]["step"]) == 1
    again, _ = flatten({"adam": optimizer_state(after, network.parameters())})
    assert again.keys() == tensors.keys()
    with pytest.raises(CheckpointError, match="does not fit the adam") as caught:
        restore_optimizer(after, checkpoint, "adam", parameters=reversed(list(network.parameters())))
    assert "pixloom train" in caught.value.fix


# ---- signals and kills


LIVE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from pixloom.config import load_config
from pixloom.training.api import resume, train
out = Path({out!r})
result = resume(out) if (out / "config.yaml").exists() else train(load_config(Path({config!r})), out=out)
sys.exit(0 if result.signal is None else 128 + result.signal)
"""


def _start(config_path: Path, out: Path, *, log: Path) -> subprocess.Popen:
    program = LIVE.format(out=str(out), config=str(config_path))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with log.open("ab") as stream:
        return subprocess.Popen([sys.executable, "-c", program], stdout=stream, stderr=stream, env=environment)


def _wait_for_progress(out: Path, process: subprocess.Popen, images: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if any(entry["images"] >= images for entry in read(out / "history.jsonl")):
            return
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_and_resume_continues_bit_for_bit(pairs, tmp_path, number):
    config = tiny_config(pairs, training__images=160, training__checkpoint_every_images=80, training__validate_every_images=80)
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    process = _start(tmp_path / "config.yaml", tmp_path / "run", log=tmp_path / "log")
    _wait_for_progress(tmp_path / "run", process, 20)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number, (tmp_path / "log").read_text()
    stopped_at = read_checkpoint(list_checkpoints(tmp_path / "run" / "checkpoints")[-1]).progress.images
    assert 20 <= stopped_at < 160
    assert "pixloom resume" in (tmp_path / "log").read_text(encoding="utf-8")
    resume(tmp_path / "run", quiet=True)
    train(config, out=tmp_path / "straight", quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


KILLS = 10


def test_ten_kills_at_random_moments_change_nothing(pairs, tmp_path):
    """Kill -9 by fork server: torch is imported once, each child trains or resumes until it is killed."""
    script = tmp_path / "victim.py"
    config = tiny_config(
        pairs,
        training__images=480,
        training__checkpoint_every_images=8,
        training__validate_every_images=24,
        training__preview_every_images=24,
        training__ema_halflife_images=20.0,
    )
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    script.write_text(VICTIM, encoding="utf-8")
    log = (tmp_path / "log").open("wb")
    command = [sys.executable, str(script), str(tmp_path / "config.yaml"), str(tmp_path / "run"), str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=environment, timeout=400, check=False)
    assert done.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["kills"] == KILLS  # every kill hit a living run
    assert outcome["furthest"] > outcome["first"]  # and the run moved on between them
    train(config, out=tmp_path / "straight", quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "straight")
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.name != ".lock"]


VICTIM = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from pixloom.config import load_config
from pixloom.training.api import resume, train
from pixloom.training.state import list_checkpoints

config, run, kills = load_config(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
train(config.model_copy(update={"training": config.training.model_copy(update={"images": 2})}), out=run.parent / "warm", quiet=True)
most, share = 1.2, config.training.images / (kills + 4)
rng = random.Random(1234)

def live():
    child = os.fork()
    if child == 0:
        try:
            resume(run, quiet=True) if (run / "config.yaml").exists() else train(config, out=run, quiet=True)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return child

def images():
    folders = list_checkpoints(run / "checkpoints")
    return int(folders[-1].name) if folders else 0

hits, seen = 0, []
while hits < kills:
    child, deadline = live(), time.monotonic() + rng.uniform(0.02, most)
    while time.monotonic() < deadline and images() < share * (hits + 1):  # on a fast machine too all kills hit a living run
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.03))
    finished, status = os.waitpid(child, os.WNOHANG)
    if finished:
        if status != 0:
            sys.exit(3)
        break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    hits += 1
    seen.append(images())
    most = 1.2 if seen[-1] else 1.4 * most  # on a busy machine too some get beyond their beginning
child = live()
_, status = os.waitpid(child, 0)
print(json.dumps({"kills": hits, "first": seen[0], "furthest": max(seen), "seen": seen}))
sys.exit(0 if status == 0 else 4)
"""


# ---- several processes


def _two_process_update(config_path: Path, out: Path, *, processes: int) -> dict[str, torch.Tensor]:
    program = out.parent / "two.py"
    program.write_text(TWO, encoding="utf-8")
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--master_port", str(20000 + random.randrange(20000))]
    command = [sys.executable, *(launcher if processes > 1 else []), str(program), str(config_path), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return final_state(out)


TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from pixloom.config import load_config
from pixloom.training.api import train
train(load_config(Path(sys.argv[1])), out=sys.argv[2], quiet=True)
"""


def test_two_processes_give_the_update_of_the_joined_batch(pairs, tmp_path):
    """Gloo on the CPU, with batch norm in both networks; dropout off, as each process draws its own noise."""
    config = tiny_config(
        pairs, name="pix2pix", training__batch_size=4, training__images=12, generator__options__dropout=0.0, inference__dropout=False
    )
    config = override(config, {"training.ema_halflife_images": 8.0})
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    joined = _two_process_update(tmp_path / "config.yaml", tmp_path / "one", processes=1)
    shared = _two_process_update(tmp_path / "config.yaml", tmp_path / "two", processes=2)
    assert joined.keys() == shared.keys()
    weights = [name for name in joined if name.startswith(("generator/", "critic/", "ema/"))]
    assert len(weights) > 20
    for name in weights:
        torch.testing.assert_close(shared[name], joined[name], rtol=2e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_a_batch_that_does_not_divide_is_refused(pairs, monkeypatch):
    config = tiny_config(pairs, training__batch_size=3)
    engine = Engine(config)
    assert engine.world_size == 1

    class Two:
        device, process_index, num_processes = torch.device("cpu"), 0, 2

    monkeypatch.setattr("pixloom.training.engine.Accelerator", lambda **_: Two())
    with pytest.raises(ConfigError, match="does not divide over 2 processes") as error:
        Engine(config)
    assert "training.batch_size=4" in str(error.value)


# ---- the plan


def test_the_plan_says_why(pairs):
    plan = make_plan(str(pairs))
    text = " ".join(plan.reasons)
    assert "task pair" in text
    assert "size 64" in text
    assert "200 passes" in text
    assert plan.network_channels == (1, 3)
    assert make_plan(str(pairs), direction="BtoA").network_channels == (3, 1)


def test_the_recipe_takes_the_size(pairs):
    assert make_plan(str(pairs), recipe_name="pix2pix", size=128).config.generator.options["depth"] == 7
    assert complete(make_plan(str(pairs), settings={"data.size": 32}).config).config.data.size == 32
