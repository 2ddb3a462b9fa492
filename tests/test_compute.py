"""How a step is computed: in parts, with less memory, without waiting, in another format, compiled; the mathematics stays."""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pixloom import heap
from pixloom.config import dump_config, load_config, override
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError, OutputError
from pixloom.methods.check import check_config
from pixloom.nets import build
from pixloom.nets.layers import recompute_activations
from pixloom.recipes import recipe
from pixloom.training import preflight, tuning
from pixloom.training.api import resume, train
from pixloom.training.engine import Engine
from pixloom.training.history import read
from pixloom.training.learner import Learner, batch_factor, split
from pixloom.training.plan import complete, make_plan, with_minutes
from pixloom.training.schedule import size_at, stages
from pixloom.training.session import Session, stays_on
from pixloom.training.state import flatten, newest_checkpoint, read_checkpoint
from pixloom.training.tuning import recall, tune, tuned
from tiny import tiny_config, write_pairs

QUIET = {"generator.options.dropout": 0.0, "inference.dropout": False}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "cache"))


def batch_of(count: int, *, side: int = 16, channels: tuple[int, int] = (1, 3), seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    source, target = (torch.rand(count, number, side, side, generator=generator) * 2 - 1 for number in channels)
    return Batch(source, target, tuple(map(str, range(count))))


def learnt(config, *, steps: int = 4, count: int = 4, side: int = 16) -> tuple[list[dict[str, float]], Learner]:
    """The terms of some steps, and the learner after them."""
    engine = Engine(config)
    learner = Learner(config, channels=(1, 3), engine=engine)
    rows = []
    for step in range(steps):
        engine.seed_step(0, step)
        result = learner.step(engine.place(batch_of(count, side=side, seed=step)))
        rows.append({name: float(value) for name, value in (result.generator | result.critic).items()})
    return rows, learner


def assert_same(one, other, *, rel=2e-3):
    for mine, theirs in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, rel=rel, abs=1e-4)


# ---- a batch in parts


@pytest.mark.parametrize("name", ["pix2pix", "regression"])
def test_a_batch_in_parts_gives_the_update_of_the_whole(pairs, name):
    """Without batch norm, which sees the parts."""
    settings = QUIET | {"generator.options.norm": "none", "training.batch_size": 4, "inference.statistics": "running"}
    config = override(tiny_config(pairs, name=name), settings | ({"critic.options.norm": "none"} if name == "pix2pix" else {}))
    whole, one = learnt(config)
    for parts in (2, 4):
        rows, other = learnt(override(config, {"compute.accumulate": parts}))
        assert_same(rows, whole)
        for mine, theirs in zip(other.generator.parameters(), one.generator.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-5)


def test_a_part_keeps_one_graph_at_a_time_and_draws_the_same_noise_twice(pairs):
    config = override(tiny_config(pairs, size=64), {"training.batch_size": 2, "compute.accumulate": 2})
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    passes = []
    learner.generator.register_forward_hook(lambda _module, _inputs, output: passes.append(output))
    torch.manual_seed(0)
    learner.step(batch_of(2, side=64))
    assert [output.requires_grad for output in passes] == [False, False, True, True]
    torch.testing.assert_close(passes[0], passes[2])
    torch.testing.assert_close(passes[1], passes[3])
    counted = [int(m.num_batches_tracked) for m in learner.generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(counted) == {2}  # two parts, each counted once


def test_parts_are_consecutive_and_complete():
    batch = batch_of(6)
    parts = split(batch, 3)
    assert [part.ids for part in parts] == [("0", "1"), ("2", "3"), ("4", "5")]
    assert torch.equal(torch.cat([part.source for part in parts]), batch.source)
    assert torch.equal(torch.cat([part.target for part in parts]), batch.target)


def test_a_batch_that_does_not_divide_into_parts_is_refused(pairs):
    with pytest.raises(ConfigError, match="1 processes x 3 parts") as error:
        Engine(override(tiny_config(pairs), {"training.batch_size": 4, "compute.accumulate": 3}))
    assert "training.batch_size=6" in str(error.value)


# ---- less memory


@pytest.mark.parametrize("name", ["unet", "resnet", "encoder_decoder", "patch", "image"])
def test_recomputed_activations_give_the_same_gradients_and_statistics(name):
    torch.manual_seed(0)
    options = {"unet": {"depth": 6, "dropout": 0.5}, "resnet": {"blocks": 2, "norm": "batch", "dropout": 0.5}}.get(name, {})
    plain = build(name, {"width": 4, **options}, source_channels=2, target_channels=2, size=64)
    thrifty = copy.deepcopy(plain)
    recompute_activations(thrifty)
    kept = []
    for network in (plain, thrifty):
        saved = set()
        pictures = [
            torch.randn(2, 2, 64, 64, generator=torch.Generator().manual_seed(n))
            for n in range(1 if hasattr(network, "noise_channels") else 2)
        ]
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: (saved.add((t.data_ptr(), t.numel())), t)[1], lambda t: t):
            torch.manual_seed(1)
            output = network(*pictures)
        output = output if isinstance(output, torch.Tensor) else output[0][0]
        output.square().sum().backward()
        kept.append(sum(numel for _, numel in saved))
    assert kept[1] < 0.8 * kept[0]
    for mine, theirs in zip(thrifty.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    for mine, theirs in zip(thrifty.buffers(), plain.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_recomputing_trains_the_same(pairs):
    config = tiny_config(pairs, size=64, training__ema_halflife_images=4.0)
    plain, one = learnt(config, count=1, side=64)
    again, other = learnt(override(config, {"compute.recompute_activations": True}), count=1, side=64)
    assert again == plain
    for mine, theirs in zip(other.ema.network.parameters(), one.ema.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_recomputing_goes_with_a_gradient_penalty(pairs):
    settings = {"losses.adversarial": "wasserstein", "critic.options.norm": "instance"}
    config = override(tiny_config(pairs), settings)
    plain, _ = learnt(config, count=1)
    again, _ = learnt(override(config, {"compute.recompute_activations": True}), count=1)
    assert_same(again, plain, rel=1e-5)


# ---- nobody waits


def poisoned(batch: Batch) -> Batch:
    return Batch(batch.source, batch.target * float("nan"), batch.ids)


def test_an_unsound_step_changes_nothing(pairs):
    config = tiny_config(pairs, training__ema_halflife_images=4.0, training__clip_norm=1.0)
    _, learner = learnt(config, count=1)
    before = copy.deepcopy(learner.states())
    result = learner.step(poisoned(batch_of(1)))
    assert not result.sound
    tensors, _ = flatten(before)
    after, _ = flatten(learner.states())
    assert all(torch.equal(after[name], tensor) for name, tensor in tensors.items())
    assert learner.step(batch_of(1)).sound


def test_when_only_the_generators_loss_is_bad_the_critics_update_stands(pairs, monkeypatch):
    _, learner = learnt(tiny_config(pairs, training__ema_halflife_images=4.0), count=1)
    before, _ = flatten(copy.deepcopy(learner.states()))
    real = type(learner.method).generator_terms
    nan = float("nan")
    monkeypatch.setattr(type(learner.method), "generator_terms", lambda *given: {name: value * nan for name, value in real(*given).items()})
    assert not learner.step(batch_of(1)).sound
    after, _ = flatten(learner.states())
    changed = {name.partition("/")[0] for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert changed == {"critic", "critic_optimizer"}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if "running" in name)


def test_bad_steps_in_a_row_are_counted_over_a_stop(pairs, tmp_path, monkeypatch):
    """Four before the stop and one after it are five."""
    real = Session.batches

    def bad(self, start_image):
        for number, batch in enumerate(real(self, start_image), start=start_image):
            if number == 4 and not (tmp_path / "resumed").exists():
                raise KeyboardInterrupt
            yield poisoned(batch) if number < 5 else batch

    monkeypatch.setattr(Session, "batches", bad)
    rolled = []
    monkeypatch.setattr(
        Session, "roll_back", lambda self, progress, why: rolled.append(progress.bad_steps) or replace(progress, bad_steps=0)
    )
    config = tiny_config(pairs, training__checkpoint_every_images=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "run", quiet=True)
    (tmp_path / "resumed").touch()
    resume(tmp_path / "run", quiet=True)
    assert rolled == [5]


def test_the_host_may_work_ahead_and_the_run_is_the_same(pairs, tmp_path, monkeypatch):
    """As on CUDA, where the answer whether a step was sound is read while the next is under way."""
    real = Session.batches

    def some_bad(self, start_image):
        for number, batch in enumerate(real(self, start_image), start=start_image):
            yield poisoned(batch) if number in (3, 6) else batch

    monkeypatch.setattr(Session, "batches", some_bad)
    config = tiny_config(pairs, training__log_every_images=4)
    train(config, out=tmp_path / "now", quiet=True)
    original = Engine.__init__

    def ahead(self, config):
        original(self, config)
        self.lag = 1

    monkeypatch.setattr(Engine, "__init__", ahead)
    train(config, out=tmp_path / "ahead", quiet=True)
    states = [newest_checkpoint(tmp_path / name / "checkpoints", identity=identity(tmp_path / name))[0] for name in ("now", "ahead")]
    assert states[0].progress.skipped_steps == states[1].progress.skipped_steps == 2
    assert all(torch.equal(states[1].tensors[name], tensor) for name, tensor in states[0].tensors.items())
    losses = [[entry for entry in history(tmp_path / name) if entry["kind"] == "losses"] for name in ("now", "ahead")]
    assert [entry["generator"] for entry in losses[0]] == [entry["generator"] for entry in losses[1]]


def identity(run):
    return json.loads((max((run / "checkpoints").iterdir()) / "state.json").read_text())["identity"]


def history(run):
    return [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def test_examples_that_stay_on_the_device_give_the_same_run(pairs, tmp_path, monkeypatch):
    config = tiny_config(pairs, training__images=8)
    train(config, out=tmp_path / "read", quiet=True)
    monkeypatch.setattr("pixloom.training.session.stays_on", lambda *_arguments, **_options: True)
    train(config, out=tmp_path / "resident", quiet=True)
    one, other = (read_checkpoint(tmp_path / name / "checkpoints" / "000000008").tensors for name in ("read", "resident"))
    assert all(torch.equal(other[name], tensor) for name, tensor in one.items())


def test_examples_stay_on_cuda_when_they_fit(pairs):
    plan = complete(tiny_config(pairs))
    assert stays_on(torch.device("cuda"), plan, size=16)
    assert not stays_on(torch.device("cpu"), plan, size=16)
    assert not stays_on(torch.device("cuda"), complete(tiny_config(pairs, data__device_gib=0.0)), size=16)


# ---- formats, compiling, the heap


def test_channels_last_reaches_the_weights_and_the_pictures_and_gives_the_same(pairs):
    config = tiny_config(pairs, size=64)
    plain, _ = learnt(config, count=2, side=64)
    config = override(config, {"compute.memory_format": "channels_last"})
    other, learner = learnt(config, count=2, side=64)
    assert_same(other, plain)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in learner.generator.parameters() if p.ndim == 4)
    assert Engine(config).place(batch_of(2, channels=(3, 3))).target.is_contiguous(memory_format=torch.channels_last)


def test_a_run_in_channels_last_is_resumed_bit_for_bit(pairs, tmp_path, monkeypatch):
    config = tiny_config(pairs, compute__memory_format="channels_last", training__images=8, training__checkpoint_every_images=4)
    train(config, out=tmp_path / "whole", quiet=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "000000008")
    resume(tmp_path / "cut", quiet=True)
    whole, cut = (read_checkpoint(tmp_path / name / "checkpoints" / "000000008").tensors for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())


def test_the_engine_does_not_hold_on_to_networks(pairs):
    config = tiny_config(pairs)
    engine = Engine(config)
    learner = Learner(config, channels=(1, 3), engine=engine)
    gone = weakref.ref(learner.generator)
    del learner
    gc.collect()
    assert gone() is None


COMPILED = """
import sys
import torch
torch.set_num_threads(1)
from pixloom.config import load_config, override
from pixloom.nets.layers import bare
from pathlib import Path
from test_compute import assert_same, learnt

config = load_config(Path(sys.argv[1]))
plain, _ = learnt(config, count=1, steps=2)
other, learner = learnt(override(config, {"compute.compile": "default"}), count=1, steps=2)
assert_same(other, plain)
assert learner.method.generator is not learner.generator
assert bare(learner.method.generator) is learner.generator
print("same")
"""


@pytest.mark.slow
def test_compiled_networks_give_the_same(pairs, tmp_path):
    """In a process without the tests' type checking, which the compiler cannot trace; the penalty needs the plain critic."""
    config = override(tiny_config(pairs), {"losses.adversarial": "wasserstein", "critic.options.norm": "instance"} | QUIET)
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMPILED, str(tmp_path / "config.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_the_heap_is_kept_unless_the_flag_is_off(pairs, monkeypatch):
    kept = []
    monkeypatch.setattr("pixloom.training.engine.keep_heap", lambda: kept.append(1))
    Engine(override(tiny_config(pairs), {"compute.keep_heap": False}))
    assert kept == []
    Engine(tiny_config(pairs))
    assert kept == [1]


def test_keeping_the_heap_asks_glibc_for_it(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, name, value):
            asked.append((name, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    monkeypatch.setattr(heap.sys, "platform", "linux")
    monkeypatch.setattr(heap.platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert heap.keep_heap()
    assert dict(asked) == {-4: 0, -1: -1, -2: 64 * 2**20}
    monkeypatch.setattr(heap.platform, "libc_ver", lambda: ("musl", ""))
    asked.clear()
    assert not heap.keep_heap()
    assert not asked


def test_threads_are_set_and_never_more_than_there_are(pairs, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = torch.get_num_threads()
    try:
        for wanted, got in ((1, 1), (64, 2)):
            Engine(override(tiny_config(pairs), {"compute.threads": wanted}))
            assert torch.get_num_threads() == got
    finally:
        torch.set_num_threads(before)


# ---- batch and learning rate


def test_learning_rates_grow_with_the_batch_when_asked(pairs):
    def factor(batch_size, scaling):
        return batch_factor(override(tiny_config(pairs), {"training.batch_size": batch_size, "training.batch_scaling": scaling}))

    assert factor(16, "none") == 1.0
    assert factor(16, "sqrt") == 4.0
    assert factor(16, "linear") == 16.0
    config = override(tiny_config(pairs), {"training.batch_size": 4, "training.batch_scaling": "sqrt"})
    rates = Learner(config, channels=(1, 3), engine=Engine(config)).set_learning_rates(1.0)
    assert rates["generator"] == pytest.approx(2 * config.generator_optimizer.learning_rate)


def test_scaling_by_a_batch_of_the_recipes_own_size_is_refused(pairs):
    with pytest.raises(ConfigError, match="batch_scaling=sqrt would have no effect"):
        check_config(override(tiny_config(pairs), {"training.batch_scaling": "sqrt"}), channels=(1, 3))


# ---- small first


def test_a_run_grows_in_equal_shares_and_goes_on_bit_for_bit(pairs, tmp_path, monkeypatch):
    config = tiny_config(pairs, size=64, data__first_size=16, training__images=12, training__checkpoint_every_images=3)
    config = override(config, {"generator.options.depth": 4} | QUIET)
    sides = []
    real = Learner.step
    monkeypatch.setattr(
        Learner, "step", lambda self, batch, **options: (sides.append(batch.source.shape[-1]), real(self, batch, **options))[1]
    )
    train(config, out=tmp_path / "whole", quiet=True)
    steps = sides[-12:]
    assert steps == [16] * 4 + [32] * 4 + [64] * 4

    whole_batches = Session.batches

    def cut(self, start_image):
        for number, batch in enumerate(whole_batches(self, start_image), start=start_image):
            if number == 7:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(Session, "batches", cut)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "parts", quiet=True)
    monkeypatch.setattr(Session, "batches", whole_batches)
    sides.clear()
    resume(tmp_path / "parts", quiet=True)
    assert sides == [32] * 2 + [64] * 4
    whole, parts = (read_checkpoint(tmp_path / name / "checkpoints" / "000000012").tensors for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_a_growing_run_says_when_it_grows_and_what_each_size_costs(pairs, tmp_path, capsys):
    config = override(tiny_config(pairs, size=64, data__first_size=16), {"generator.options.depth": 4} | QUIET)
    train(config, out=tmp_path / "run", quiet=True)
    lines = capsys.readouterr().out
    for size, end in ((16, 4), (32, 8), (64, 12)):
        assert f"  - {size} px to image {end}: " in lines
    events = [entry["message"] for entry in read(tmp_path / "run/history.jsonl") if entry.get("event") == "size"]
    assert events == [f"training at {size} px until image {end}" for size, end in ((16, 4), (32, 8), (64, 12))]


def test_a_run_that_ran_out_of_time_before_its_last_size_says_so(pairs, tmp_path, monkeypatch):
    settings = {"generator.options.depth": 4, "training.minutes": 1.0} | QUIET
    config = override(tiny_config(pairs, size=64, data__first_size=16), settings)
    monkeypatch.setattr(Session, "out_of_time", lambda self, progress: progress.images >= 6)
    assert train(config, out=tmp_path / "run", quiet=True).state == "out of time"
    messages = [entry["message"] for entry in read(tmp_path / "run/history.jsonl") if entry.get("event") == "warning"]
    assert any("before any training at 64 px" in message for message in messages)


def test_the_networks_of_a_growing_run_suit_its_smallest_pictures(pairs):
    plan = make_plan(str(pairs), recipe_name="pix2pix", size=256, settings={"data.first_size": 64})
    assert plan.config.generator.options["depth"] == 6
    assert plan.config.data.size == 256
    assert stages(plan.config.data) == [64, 128, 256]
    assert [size_at(n, plan.config.data, total=9) for n in range(9)] == [64] * 3 + [128] * 3 + [256] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.first_size": 24}, "does not lead to data.size=64"),
        ({"data.first_size": 64}, "does not lead to data.size=64"),
        ({"data.first_size": 32, "generator.options.depth": 6}, "cannot take pictures of 32 px"),
        ({"data.first_size": 32, "critic.name": "image"}, "'image' judges no picture that is smaller"),
        ({"data.first_size": 32, "critic.name": "stargan"}, "'stargan' judges no picture that is smaller"),
    ],
)
def test_a_first_size_that_does_not_fit_is_refused(pairs, settings, message):
    config = override(tiny_config(pairs, size=64), {"generator.options.depth": 4} | settings | QUIET)
    with pytest.raises(ConfigError, match=message):
        complete(config)


@pytest.mark.parametrize("value", ["abc", [1], 32.0, True, 24, 64, 128, 16])
def test_a_first_size_on_the_command_line_that_does_not_fit_is_refused(pairs, value):
    with pytest.raises(ConfigError, match="data.first_size cannot be") as error:
        make_plan(str(pairs), size=64, settings={"data.first_size": value})
    assert "data.first_size=32" in str(error.value)


def test_a_run_too_short_to_grow_is_refused(pairs):
    with pytest.raises(ConfigError, match="too few to grow from 16 to 64 px") as error:
        complete(override(tiny_config(pairs, size=64), {"generator.options.depth": 4, "data.first_size": 16, "training.images": 2} | QUIET))
    assert "--images 3" in str(error.value)


def test_too_few_minutes_to_train_the_generator_are_refused(pairs):
    config = override(tiny_config(pairs), {"training.images": None, "training.minutes": 0.1, "training.num_critic": 5})
    with pytest.raises(ConfigError, match="never be trained"):
        with_minutes(complete(config), seconds_per_image=10.0)


def test_settings_of_an_older_run_are_read_under_their_new_names(pairs, tmp_path):
    tree = json.loads(tiny_config(pairs).model_dump_json())
    del tree["compute"]
    tree["training"] |= {"device": "cpu", "precision": "bf16"}
    (tmp_path / "config.yaml").write_text(json.dumps(tree), encoding="utf-8")
    compute = load_config(tmp_path / "config.yaml").compute
    assert (compute.device, compute.precision) == ("cpu", "bf16")


# ---- the machine's own choice


def test_tune_measures_remembers_and_is_used(pairs, monkeypatch):
    config = tiny_config(pairs, compute__compile="no")
    speeds = {"contiguous": 2.0, "channels_last": 1.0}

    def fake_step(config, settings, *, channels):
        merged = override(config, {f"compute.{name}": value for name, value in settings.items()}).compute
        seconds = speeds[merged.memory_format] * (3.0 if merged.precision == "bf16" else 1.0)
        return lambda: seconds

    monkeypatch.setattr(tuning, "_step", fake_step)
    lines = []
    plan = complete(config)
    assert tuned(plan).config.compute.memory_format == "contiguous"
    assert "pixloom tune" in tuned(plan).reasons[-1]
    best = tune(config, channels=(1, 3), say=lines.append)
    assert best["memory_format"] == "channels_last"
    assert best["precision"] == "no"
    assert any("channels_last" in line and "2.00 times as fast: chosen" in line for line in lines)
    assert any("1000.0 ms a step where the best so far takes 2000.0" in line for line in lines)
    assert any("bf16" in line and "chosen" not in line for line in lines)
    used = tuned(complete(config))
    assert used.config.compute.memory_format == "channels_last"
    assert used.config.compute.precision == "no"
    assert "pixloom tune" in used.reasons[-1]
    assert tuned(complete(override(config, {"compute.memory_format": "contiguous"}))).config.compute.memory_format == "contiguous"
    assert recall(override(config, {"training.batch_size": 2}), channels=(1, 3)) is None


def test_a_short_run_is_not_compiled(pairs, monkeypatch):
    """Compiling takes 1 s here and saves half a second a step."""
    config = tiny_config(pairs, compute__memory_format="contiguous", compute__precision="no", compute__threads=1)
    clock = iter(range(1000))
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(tuning, "_step", lambda config, settings, **_: lambda: 0.5 if settings.get("compile") == "default" else 1.0)
    assert tune(config, channels=(1, 3), say=lambda _line: None) == {"compile": "default"}
    assert tuned(complete(override(config, {"training.images": 2}))).config.compute.compile == "default"
    short = tuned(complete(override(config, {"training.images": 1})))
    assert short.config.compute.compile == "no"
    assert "1 steps would save less than the 1 s" in short.reasons[-1]
    timed = override(config, {"training.images": None, "training.minutes": 0.1})
    assert tuned(complete(timed)).config.compute.compile == "default"
    assert tuned(complete(override(timed, {"training.minutes": 0.01}))).config.compute.compile == "no"


def test_the_start_is_part_of_the_plan(pairs, monkeypatch):
    monkeypatch.setattr(preflight, "_seconds", lambda *_given, **_options: [9.0, 3.0, 1.0, 1.0, 1.0])
    config = tiny_config(pairs, training__images=100)
    plan = complete(config)
    cost = preflight.measure(plan, Engine(config))
    assert (cost.seconds_per_image, cost.start_seconds) == (1.0, 10.0)
    lines = preflight.describe(plan, cost)
    assert any("1.00 s per step of 1 after a start of 10 s" in line for line in lines)
    assert "100 images take about 2:15" in lines[-1]  # 100 s of steps are 80 % of the time, and the start comes on top
    minutes = override(config, {"training.images": None, "training.minutes": 1.0})
    assert with_minutes(complete(minutes), seconds_per_image=1.0, start_seconds=10.0).config.training.images == 40


def test_an_untuned_run_names_tune_and_a_doubtful_one_says_so(pairs, monkeypatch):
    config = tiny_config(pairs, compute__compile="no", compute__threads=1, compute__precision="no")
    assert any("pixloom tune" in reason for reason in tuned(complete(config)).reasons)
    monkeypatch.setattr(tuning, "busy", lambda: "this machine is busy")
    monkeypatch.setattr(tuning, "_step", lambda config, settings, **_: lambda: 1.0 if settings["memory_format"] == "channels_last" else 2.0)
    tune(config, channels=(1, 3), say=lambda _line: None)
    assert tuned(complete(config)).reasons[-1].endswith("while the machine was busy")


def test_what_is_the_machines_own_is_not_taken_from_another_run(pairs, tmp_path, monkeypatch):
    from pixloom.cli import work

    config = tiny_config(pairs, compute__memory_format="channels_last", compute__threads=1, compute__precision="bf16")
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    place = {"layout": "auto", "source_folder": None, "target_folder": None}
    wishes = dict.fromkeys(("task", "recipe_name", "size", "images", "minutes", "seed", "direction", "device"))
    plan = work._plan(None, place=place, wishes=wishes, settings=["compute.threads=2"], config=tmp_path / "config.yaml")
    compute = plan.config.compute
    assert (compute.memory_format, compute.compile, compute.threads, compute.precision) == ("auto", "auto", 2, "bf16")


def test_a_rejected_number_of_threads_does_not_reach_the_next_trial(pairs, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    before = torch.get_num_threads()
    tried = []

    def fake_step(config, settings, *, channels):
        merged = override(config, {f"compute.{name}": value for name, value in settings.items()}).compute
        tried.append(merged.threads)
        torch.set_num_threads(merged.threads)
        return lambda: float(1 if merged.threads == before else 2)

    monkeypatch.setattr(tuning, "_step", fake_step)
    best = tune(tiny_config(pairs, compute__compile="no"), channels=(1, 3), say=lambda _line: None)
    assert "threads" not in best
    assert tried[-1] == tried[0] == before
    assert torch.get_num_threads() == before


def test_what_is_hopeless_is_not_measured_to_the_end(pairs, monkeypatch):
    steps = []

    def fake_step(config, settings, *, channels):
        slow = settings.get("precision") == "bf16"
        return lambda: (steps.append(slow), 60.0 if slow else 1.0)[1]

    monkeypatch.setattr(tuning, "_step", fake_step)
    lines = []
    given = {"compute__compile": "no", "compute__threads": 1, "compute__memory_format": "contiguous"}
    assert tune(tiny_config(pairs, **given), channels=(1, 3), say=lines.append) == {"precision": "no"}
    assert steps.count(True) == 1
    assert "a step takes 60.0 s" in lines[-1]


def test_what_was_given_and_what_was_open_are_remembered_apart(pairs):
    places = {
        tuning._place(override(tiny_config(pairs), {f"compute.{name}": value}), channels=(1, 3))
        for name, value in (("precision", "auto"), ("precision", "bf16"), ("threads", 1), ("accumulate", 2), ("compile", "default"))
    }
    assert len(places) == 5


def test_a_cache_that_cannot_be_written_is_found_out_first(pairs, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "taken"))
    monkeypatch.setattr(tuning, "_step", lambda *_given, **_options: pytest.fail("measured for nothing"))
    with pytest.raises(OutputError):
        tune(tiny_config(pairs), channels=(1, 3))


def test_tune_makes_real_steps(pairs):
    config = tiny_config(pairs, compute__compile="no", compute__threads=1)
    lines = []
    tune(config, channels=(1, 3), say=lines.append)
    assert sum("ms a step" in line for line in lines) == 3


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (5.0, 0.0, 0.0))
    assert "load 5.0 on 2 cores" in tuning.busy()
    monkeypatch.setattr("os.getloadavg", lambda: (0.3, 0.0, 0.0))
    assert tuning.busy() is None


def test_luck_is_no_gain(pairs, monkeypatch):
    """Faster in three rounds of five, by much, and slower in two."""
    times = iter([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 1.0, 1.5, 1.0, 1.5])  # first the look whether it is hopeless
    monkeypatch.setattr(tuning, "_step", lambda config, settings, *, channels: lambda: next(times))
    monkeypatch.setattr(tuning, "_seconds_alone", lambda *_given, **_options: 1.0)
    given = {"compute__compile": "no", "compute__threads": 1, "compute__memory_format": "contiguous"}
    lines = []
    assert tune(tiny_config(pairs, **given), channels=(1, 3), say=lines.append) == {"precision": "no"}
    assert "2.00 times as fast" in lines[-1]
    assert "chosen" not in lines[-1]


def test_what_fails_is_told_and_not_chosen(pairs, monkeypatch):
    real = tuning._step

    def broken(config, settings, *, channels):
        if settings.get("memory_format") == "channels_last":
            raise RuntimeError("no such kernel\nand a long trace")
        return real(config, settings, channels=channels)

    monkeypatch.setattr(tuning, "_step", broken)
    lines = []
    config = tiny_config(pairs, compute__compile="no", compute__threads=1, compute__precision="no")
    assert tune(config, channels=(1, 3), say=lines.append) == {"memory_format": "contiguous"}
    assert "does not work here: no such kernel" in lines[-1]


def test_a_damaged_memory_is_no_memory(pairs):
    config = tiny_config(pairs)
    place = tuning._place(config, channels=(1, 3))
    place.parent.mkdir(parents=True)
    for text in ("{", '{"settings": {"precision": "fp3"}}', '{"settings": 3}', "[]"):
        place.write_text(text)
        assert recall(config, channels=(1, 3)) is None
        assert tuned(complete(config)).config.compute.precision == "no"


def test_nothing_to_choose_is_said(pairs):
    given = {"compute.precision": "no", "compute.memory_format": "contiguous", "compute.compile": "no", "compute.threads": 1}
    with pytest.raises(ConfigError, match="nothing to choose"):
        tune(override(tiny_config(pairs), given), channels=(1, 3))


def test_a_run_records_what_was_settled(pairs, tmp_path):
    train(tiny_config(pairs, training__images=2), out=tmp_path / "run", quiet=True)
    text = (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    assert "precision: 'no'" in text or "precision: no" in text
    assert "precision: auto" not in text


def test_every_recipe_can_be_tuned_from_its_defaults():
    for name in ("pix2pix", "cgan", "regression"):
        assert tuning._open_settings(recipe(name, size=64)) == {"precision", "memory_format", "compile", "threads"}
