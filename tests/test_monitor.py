"""The watchman: signs measure what they say, alarms ring for it and for nothing else, the autopilot mends what it can."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from pixloom.config import DataConfig, override
from pixloom.data.inspect import count_different, inspect
from pixloom.data.kinship import kinship
from pixloom.data.sources import discover
from pixloom.errors import ConfigError, TrainingError
from pixloom.recipes import recipe
from pixloom.shapes import Judgement
from pixloom.tasks.colorize import Colorize
from pixloom.training import examiner, loop, session, state, watch
from pixloom.training.api import resume, train
from pixloom.training.autopilot import MOST, adapted, remedy
from pixloom.training.examiner import signs_of
from pixloom.training.folder import RunFolder
from pixloom.training.history import read
from pixloom.training.learner import Learner
from pixloom.training.lookover import look_over, loose
from pixloom.training.monitor import DIVERGED, MANY, NOT_FINITE, NOT_TOGETHER, RULES, Alarm, Setting, alarms, at_the_start, first_evidence
from pixloom.training.plan import complete, make_plan
from pixloom.training.signs import ahead, at_ends, fineness, grid, pace, spread
from pixloom.training.twin import as_good
from playing import PAIRED, TINY, batch, learner, step, tiny
from tiny import tiny_config, write_pairs

HEALTHY = {
    "images": 320,
    "ahead": 0.7,
    "ahead_held_out": 0.75,
    "slope": 0.05,
    "push": 3.0,
    "source_spread": 0.3,
    "spread": 0.4,
    "answers": 0.1,
    "ends": 0.0,
    "fine": -0.3,
    "grid": 1.0,
    "error": 0.27,
    "error_held_out": 0.35,
    "pace_generator": 5e-3,
    "pace_critic": 3e-3,
    "skipped": 0,
}

BY_HEART = "the critic knows its pictures by heart"

SICK = {
    DIVERGED: {"spread": 1e9},
    NOT_FINITE: {"push": math.nan},
    "sources say nothing": {"source_spread": 0.001},
    "weights move too fast": {"pace_critic": 0.3},
    "outputs are saturated": {"ends": 0.9},
    "the critic stands still": {"pace_critic": 1e-12},
    "the generator stands still": {"pace_generator": 1e-12},
    "the critic wins": {"ahead": 0.999, "push": 0.5},
    "the critic is useless": {"ahead": 0.5, "push": 0.01},
    BY_HEART: {"ahead": 0.85, "ahead_held_out": 0.5},
    "the critic's slope explodes": {"slope": 5.0},
    "the generator learns nothing from the critic": {"push": 1e-5},
    "outputs are all alike": {"spread": 0.01},
    "noise changes nothing": {"answers": 0.001},
    "outputs are noisy": {"fine": 1.0},
    "outputs have a grid": {"grid": 15.0},
    "outputs are blurred": {"fine": -2.5},
    "pictures are known by heart": {"error": 0.1},
}


def story(*changes: dict[str, float]) -> list[dict[str, float]]:
    """Healthy looks, then changed ones."""
    looks = [*({} for _ in range(4)), *changes]
    return [{**HEALTHY, **change, "images": 320 * (place + 1)} for place, change in enumerate(looks)]


def lasting(name: str, change: dict[str, float], *, looks: int = 2) -> list[dict[str, float]]:
    """One change for as long as a rule looks at, and so many looks more that its evidence is there in."""
    return [change] * (looks + (MANY - 1 if name == BY_HEART else 0))


# --- Signs ---------------------------------------------------------------------------------------------------------------------------


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_who_is_ahead_is_counted_place_by_place():
    real, fake = torch.tensor([[[[1.0, 2.0], [0.0, 5.0]]]]), torch.tensor([[[[0.0, 3.0], [0.0, 4.0]]]])
    assert ahead(Judgement([real], [], {}), Judgement([fake], [], {})) == (1 + 0 + 0.5 + 1) / 4


def test_fine_detail_is_power_in_the_highest_octave():
    sharp = noise(2, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sharp, (2, 2, 2, 2), mode="circular"), 5, stride=1)
    assert fineness(sharp) - fineness(blurred) > 1
    assert fineness(10 * sharp) - fineness(sharp) == pytest.approx(2, abs=1e-3)
    slow = torch.sin(torch.arange(32) * 2 * math.pi * 4 / 32).expand(1, 1, 32, 32)
    quick = torch.sin(torch.arange(32) * 2 * math.pi * 12 / 32).expand(1, 1, 32, 32)
    assert fineness(quick) - fineness(slow) > 4


@pytest.mark.parametrize("period", [2, 4, 8])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_grid_stands_out_from_its_neighbours(period, axis):
    plain = 0.2 * noise(4, 3, 64, 64)
    stripes = (torch.arange(64) % period == 0).float().view([-1 if place == axis else 1 for place in range(4)])
    assert grid(plain) < 3
    assert grid(plain + stripes) > 10
    assert grid(plain + torch.sin(torch.arange(64) * 2 * math.pi * 11 / 64)) < 3, "other periods are no grid"


def test_spread_and_ends():
    same = noise(1, 3, 8, 8).expand(4, -1, -1, -1)
    assert spread(same) == 0
    assert spread(noise(64, 1, 4, 4)) == pytest.approx(1 / math.sqrt(3), abs=0.05)
    made, target = torch.tensor([[[[1.0, -1.3, -1.3, 0.5]]]]), torch.tensor([[[[0.0, 0.0, -0.9, 0.5]]]])
    assert at_ends(made, target) == 0.5  # what is nearly black may be made black


def test_pace_is_the_size_of_an_update_over_that_of_the_weights():
    weight = torch.nn.Parameter(torch.full((100,), 2.0))
    optimizer = torch.optim.Adam([{"params": [weight], "share": 1.0}], lr=0.001)
    assert pace(optimizer, rate=0.001) == 0
    for _ in range(200):
        weight.grad = torch.ones_like(weight)
        before = weight.detach().clone()
        optimizer.step()
    assert pace(optimizer, rate=0.001) == pytest.approx(float((weight.detach() - before).norm() / weight.detach().norm()), rel=0.1)
    assert pace(optimizer, rate=0.002) == pytest.approx(2 * pace(optimizer, rate=0.001))


# --- Alarms --------------------------------------------------------------------------------------------------------------------------


def test_a_healthy_run_rings_nothing():
    assert alarms(story(*[{}] * 6), Setting(3200)) == []


def test_what_no_healthy_run_does_rings_at_once():
    gone = {"spread": 4e21, "fine": math.inf, "grid": math.nan}
    found = alarms(story({}, gone), Setting(2240))
    assert [alarm.name for alarm in found] == [DIVERGED]
    assert "4e+21 times" in found[0].evidence
    assert [alarm.name for alarm in alarms(story({}, {"error": 201.0}), Setting(2240))] == [DIVERGED]
    assert alarms(story({}, {"spread": 150.0, "error": 40.0}), Setting(2240)) == [], "a step may throw a network about for a moment"
    assert [alarm.name for alarm in alarms(story({"slope": 10_001.0}), Setting(2240))] == [DIVERGED]
    assert alarms(story({"slope": 9_999.0}), Setting(2240)) == []


def test_what_is_alike_while_pretraining_is_no_failure():
    alike = story({"spread": 0.04}, {"spread": 0.04})
    last = alike[-1]["images"]
    assert [alarm.name for alarm in alarms(alike, Setting(20_000, pretrained=last - 321))] == ["outputs are all alike"]
    assert alarms(alike, Setting(20_000, pretrained=last - 320)) == []


@pytest.mark.parametrize(
    ("settings", "term"),
    [
        ({"losses.adversarial": "wasserstein", "losses.gradient_penalty_weight": 0.0}, "wasserstein"),
        ({"losses.adversarial": "wasserstein"}, ""),
        ({"losses.adversarial": "wasserstein", "losses.gradient_penalty_weight": 0.0, "critic.options.norm": "spectral"}, ""),
        ({"losses.adversarial": "wasserstein", "losses.gradient_penalty_weight": 0.0, "losses.r1_gamma": 1.0, "losses.r2_gamma": 1.0}, ""),
        ({"losses.adversarial": "relativistic"}, "relativistic"),
        ({"losses.adversarial": "relativistic", "training.clip_norm": 1.0}, ""),
        ({}, ""),
    ],
)
def test_a_critic_is_loose_where_its_game_needs_what_is_not_there(settings, term):
    assert loose(override(recipe("pix2pix", size=64), settings)) == term
    found = at_the_start(examples=300, different=300, complaint=None, loose=term)
    assert [alarm.name for alarm in found] == ["the critic is not held"] * bool(term)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.patience == 2])
def test_every_alarm_rings_for_its_evidence_in_two_looks(name):
    sick = SICK[name]
    once, twice = story({}, {}, *lasting(name, sick, looks=1)), story({}, {}, *lasting(name, sick))
    assert name not in [alarm.name for alarm in alarms(once, Setting(2240))]
    found = [alarm for alarm in alarms(twice, Setting(2240)) if alarm.name == name]
    assert len(found) == 1
    assert found[0].evidence
    assert found[0].remedies
    assert found[0].images == twice[-1]["images"]
    assert first_evidence(found[0], twice, Setting(2240)) == twice[-3]["images"]
    assert name not in [alarm.name for alarm in alarms([*twice, *story({})[-1:]], Setting(2240))], "it ends when its evidence does"


@pytest.mark.parametrize(
    ("name", "well", "ill"),
    [
        ("the critic wins", {"ahead": 0.995, "push": 0.5}, {"ahead": 0.9951, "push": 1.0}),
        ("the critic is useless", {"ahead": 0.55, "push": 0.051}, {"ahead": 0.55, "push": 0.05}),
        ("the critic's slope explodes", {"slope": 0.49}, {"slope": 0.51}),
        ("the generator learns nothing from the critic", {"push": 1.1e-3}, {"push": 0.9e-3}),
        ("weights move too fast", {"pace_critic": 0.2}, {"pace_critic": 0.21}),
        ("outputs are saturated", {"ends": 0.5}, {"ends": 0.51}),
        ("outputs are all alike", {"spread": 0.05}, {"spread": 0.049}),
        ("outputs are noisy", {"fine": 0.7}, {"fine": 0.71}),
        ("outputs have a grid", {"grid": 10.0}, {"grid": 10.1}),
        (BY_HEART, {"ahead": 0.8, "ahead_held_out": 0.51}, {"ahead": 0.82, "ahead_held_out": 0.51}),
        ("pictures are known by heart", {"error_held_out": 0.54}, {"error_held_out": 0.55}),
    ],
)
def test_every_threshold_is_where_the_table_says(name, well, ill):
    assert name not in [alarm.name for alarm in alarms(story(*lasting(name, well)), Setting(10_000))]
    assert name in [alarm.name for alarm in alarms(story(*lasting(name, ill)), Setting(10_000))]


def test_colours_beside_the_lightness_of_the_source_cannot_blur_a_picture():
    soft = story(*[{"fine": -2.5}] * 4)
    assert alarms(soft, Setting(2000, detail_from_source=True)) == []
    lab, rgb = Colorize(), Colorize(space="rgb")
    assert (lab.detail_from_source, rgb.detail_from_source) == (True, False)


def test_a_blur_is_no_failure_of_what_has_no_critic():
    blurred = [{**look, "fine": -2.5} for look in story(*[{}] * 4)]
    assert [alarm.name for alarm in alarms(blurred, Setting(2000))] == ["outputs are blurred"]
    assert alarms([{name: value for name, value in look.items() if name != "push"} for look in blurred], Setting(2000)) == []


@pytest.mark.parametrize("name", ["pictures are known by heart", BY_HEART])
def test_nothing_is_known_by_heart_that_was_not_seen_twice(name):
    sick = lasting(name, SICK[name])
    looks = story({}, *sick)
    first = looks[-len(sick)]["images"]
    assert [alarm.name for alarm in alarms(looks, Setting(10_000, examples=first // 2))] == [name]
    assert alarms(looks, Setting(10_000, examples=first // 2 + 1)) == [], "the first of them was too early"


def test_the_critic_is_not_said_to_know_pictures_because_of_chance():
    """Gaps of healthy colours, seed 2: of four pictures, so one look says little."""
    gaps = (0.0, 0.07, 0.22, 0.11, 0.36, 0.305, 0.05, 0.54, -0.01, 0.2, -0.02, 0.37, 0.33, 0.13)
    looks = story(*[{"ahead": 0.5 + gap, "ahead_held_out": 0.5} for gap in gaps])
    assert [alarms(looks[:end], Setting(10_000)) for end in range(1, len(looks) + 1)] == [[]] * len(looks)


def test_what_makes_others_meaningless_hides_them():
    flat = {"ends": 0.99, "spread": 0.0, "fine": -9.0}
    assert [alarm.name for alarm in alarms(story(flat, flat), Setting(10_000))] == ["outputs are saturated"]


def test_late_alarms_wait_for_the_second_half():
    blurred = {"fine": -2.5}
    assert alarms(story(blurred, blurred), Setting(100_000)) == []
    assert [alarm.name for alarm in alarms(story(blurred, blurred), Setting(2000))] == ["outputs are blurred"]


def test_a_critic_that_is_always_right_and_still_pushes_rings_nothing():
    pix2pix = {"ahead": 1.0, "ahead_held_out": 1.0, "push": 40.0, "slope": 0.06}
    assert alarms(story(pix2pix, pix2pix), Setting(3200)) == []


def test_skipped_steps_ring_as_they_grow():
    assert alarms(story({"skipped": 3}, {"skipped": 3}, {"skipped": 3}), Setting(3200)) == []
    assert [alarm.name for alarm in alarms(story({"skipped": 3}, {"skipped": 5}), Setting(3200))] == [NOT_FINITE]


def test_what_data_tells_at_the_start():
    assert at_the_start(examples=300, different=300, complaint=None) == []
    assert [alarm.name for alarm in at_the_start(examples=300, different=10, complaint="They are turned")] == [
        NOT_TOGETHER,
        "pictures are repeated",
        "pictures are few",
    ]


# --- Whether pairs belong together -----------------------------------------------------------------------------------------------------


def listing_of(folder):
    return discover(DataConfig(path=str(folder)), paired=True).splits["train"]


@pytest.fixture
def related(tmp_path):
    return write_pairs(tmp_path / "related", count=30, side=48)


def test_pairs_that_belong_together_are_seen_to(related):
    found = kinship(listing_of(related))
    assert found.complaint is None
    assert found.own > 5


@pytest.mark.parametrize(
    ("turn", "word"), [(np.s_[::-1], "upside down"), (np.s_[:, ::-1], "mirrored"), (np.s_[::-1, ::-1], "turned by 180 degrees")]
)
def test_turned_targets_are_named(related, turn, word):
    for path in (related / "B").iterdir():
        Image.fromarray(np.asarray(Image.open(path))[turn]).save(path)
    assert word in kinship(listing_of(related)).complaint
    findings = inspect(discover(DataConfig(path=str(related)), paired=True))
    assert not findings.ok
    assert any(word in problem for problem in findings.problems)


def test_shuffled_pairs_are_seen(related):
    paths = sorted((related / "B").iterdir())
    pixels = [np.asarray(Image.open(path)) for path in paths]
    for path, others in zip(paths, pixels[7:] + pixels[:7], strict=True):
        Image.fromarray(others).save(path)
    assert "no nearer to those of their own sources" in kinship(listing_of(related)).complaint


@pytest.mark.parametrize(("side", "name"), [("A", "sources"), ("B", "targets")])
def test_a_side_that_is_always_the_same_picture_is_seen(related, side, name):
    paths = sorted((related / side).iterdir())
    first, rng = np.asarray(Image.open(paths[0])).astype(int), np.random.default_rng(0)
    for path in paths:
        noisy = np.clip(first + rng.integers(-1, 2, first.shape), 0, 255)  # as copies have it that were compressed
        Image.fromarray(noisy.astype(np.uint8)).save(path)
    found = kinship(listing_of(related))
    assert f"the {name} are all the same picture" in found.alike(targets=side == "B", called=name)
    assert found.alike(targets=side == "A", called="others") is None
    assert found.complaint is None, "that says it all"
    problems = inspect(discover(DataConfig(path=str(related)), paired=True)).problems
    assert any(f"The {name} are all the same picture" in problem for problem in problems)
    for direction in ("AtoB", "BtoA"):
        plan = make_plan(str(related), task="pair", recipe_name="pix2pix", size=16, images=8, direction=direction)
        says = [(alarm.name, alarm.evidence[:32]) for alarm in look_over(plan)]
        silent = (direction == "AtoB") == (side == "A")
        word = ("sources say nothing", "the sources are all the same pic") if silent else (NOT_TOGETHER, "the targets are all the same pic")
        assert word in says


def test_of_few_or_even_pictures_nothing_is_said(tmp_path, related):
    assert kinship(listing_of(write_pairs(tmp_path / "few", count=5))) is None
    for number, path in enumerate(sorted((related / "A").iterdir())):
        Image.new("L", (48, 48), 8 * number).save(path)
    assert kinship(listing_of(related)) is None, "they differ, but have no edges"
    for path in (related / "A").iterdir():
        Image.new("L", (48, 48), 128).save(path)
    assert "the sources are all the same picture" in kinship(listing_of(related)).alike(targets=False, called="sources")


def test_copies_are_counted_by_their_contents(related):
    assert count_different(listing_of(related)) == 30
    for side in "AB":
        for number in range(2, 20):
            shutil.copy(related / side / f"{number % 2}.png", related / side / f"{number}.png")
    assert count_different(listing_of(related)) == 12


# --- In a run ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setenv("PIXLOOM_WEIGHTS", "/nowhere")


@pytest.fixture
def often(monkeypatch):
    """A look at every eighth image."""
    monkeypatch.setattr(examiner, "IMAGES_PER_PICTURE", 2)


def events(run, kind):
    return [entry for entry in read(run / "history.jsonl") if entry["kind"] == "event" and entry["event"] == kind]


def game(data, **settings):
    given = {"training__images": 48, "training__checkpoint_every_images": 16, "critic__options__norm": "none", **settings}
    return tiny_config(data, **given)


def again_from_its_first_checkpoint(run):
    for folder in sorted((run / "checkpoints").iterdir())[1:]:
        shutil.rmtree(folder)
    shutil.rmtree(run / "model-last")
    resume(run, quiet=True)


def weights_of(run):
    return (run / "model-last" / "model.safetensors").read_bytes()


def test_looking_changes_nothing(related, tmp_path, often, monkeypatch, no_weights):
    """Batch norm, dropout and spectral norm keep their states."""
    config = game(related, critic__options__norm="batch")
    train(config, out=tmp_path / "watched", quiet=True)
    assert [entry["images"] for entry in read(tmp_path / "watched" / "history.jsonl") if entry["kind"] == "signs"] == list(range(8, 49, 8))
    monkeypatch.setattr(examiner, "IMAGES_PER_PICTURE", 10_000)
    train(config, out=tmp_path / "alone", quiet=True)
    assert weights_of(tmp_path / "watched") == weights_of(tmp_path / "alone")


def test_an_alarm_on_pictures_shows_them_and_drawing_changes_nothing(related, tmp_path, often, monkeypatch, no_weights):
    names = sorted((related / "B").glob("*.png"))
    contents = [path.read_bytes() for path in names]
    for place, path in enumerate(names):
        path.write_bytes(contents[(place + 7) % len(names)])
    train(game(related), out=tmp_path / "shown", quiet=True)
    (rung,) = (entry for entry in events(tmp_path / "shown", "alarm") if entry["alarm"] == NOT_TOGETHER)
    assert rung["picture"] == "alarms/000000000-pairs-do-not-belong-together.png"
    assert Image.open(tmp_path / "shown" / rung["picture"]).width > 3 * 16
    assert 'alt="sources, outputs and targets"' in (tmp_path / "shown" / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(session, "shows", lambda alarm: False)
    train(game(related), out=tmp_path / "told", quiet=True)
    assert weights_of(tmp_path / "shown") == weights_of(tmp_path / "told")
    assert not (tmp_path / "told" / "alarms").exists()


def test_an_alarm_of_two_generators_shows_the_way_there(related, tmp_path, often, monkeypatch, no_weights):
    names = sorted((related / "B").glob("*.png"))
    contents = [path.read_bytes() for path in names]
    for place, path in enumerate(names):
        path.write_bytes(contents[(place + 7) % len(names)])
        Image.open(related / "A" / path.name).convert("RGB").save(related / "A" / path.name)
    settings = {"generator.options.width": 4, "generator.options.blocks": 1, "critic.options.width": 4, "compute.device": "cpu"}
    plan = make_plan(str(related), recipe_name="cyclegan", size=32, images=4, settings=settings)
    monkeypatch.setattr(session, "look_over", lambda plan: [Alarm("outputs are noisy", 0, "e", ("r",))])
    train(plan.config, out=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "alarms" / "000000000-outputs-are-noisy.png").is_file()


def test_pictures_of_a_time_that_the_run_went_back_on_are_gone(tmp_path):
    for name in ("alarms/000000000-a.png", "alarms/000000040-outputs-are-noisy.png", "samples/000000040.png", "alarms/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    RunFolder(tmp_path).forget_after(16)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == ["alarms/000000000-a.png", "alarms/notes.txt"]


def test_a_frozen_critic_rings_and_the_autopilot_thaws_it(related, tmp_path, often, no_weights):
    normed = {"critic__options__norm": "batch"}
    frozen = game(related, critic_optimizer__learning_rate=1e-12, **normed)
    train(frozen, out=tmp_path / "frozen", quiet=True)
    (rung,) = events(tmp_path / "frozen", "alarm")
    assert rung["alarm"] == "the critic stands still"
    assert rung["images"] == 16
    assert "ALARM" in rung["message"]
    assert "the critic stands still" in (tmp_path / "frozen" / "report.html").read_text(encoding="utf-8")
    assert not events(tmp_path / "frozen", "autopilot")
    train(override(frozen, {"training.autopilot": True}), out=tmp_path / "mended", quiet=True)
    healthy = train(game(related, **normed), out=tmp_path / "healthy", quiet=True)
    assert healthy.images == 48
    (done,) = events(tmp_path / "mended", "autopilot")
    assert "critic_optimizer.learning_rate=0.0002" in done["message"]
    assert weights_of(tmp_path / "mended") == weights_of(tmp_path / "healthy"), "it went back to the beginning, with the right rate"


def test_a_run_that_was_mended_goes_on_bit_for_bit(related, tmp_path, often, no_weights):
    config = override(game(related, critic_optimizer__learning_rate=1e-12), {"training.autopilot": True, "training.keep_checkpoints": 9})
    train(config, out=tmp_path / "whole", quiet=True)
    train(config, out=tmp_path / "part", quiet=True)
    again_from_its_first_checkpoint(tmp_path / "part")
    assert weights_of(tmp_path / "part") == weights_of(tmp_path / "whole")


def test_rates_that_are_too_high_are_lowered(related, tmp_path, often, no_weights):
    fast = game(related, generator_optimizer__learning_rate=20.0, critic_optimizer__learning_rate=20.0, training__autopilot=True)
    train(fast, out=tmp_path / "run", quiet=True)
    done = events(tmp_path / "run", "autopilot")
    assert 1 <= len(done) <= MOST
    assert "generator_optimizer.learning_rate=0.0002, critic_optimizer.learning_rate=0.0002" in done[0]["message"], "those of the recipe"


def sick_from(monkeypatch, image, **signs):
    """Healthy signs, and from an image on these among them, whatever is done."""
    healthy = {name: value for name, value in HEALTHY.items() if name not in ("images", "skipped")}
    monkeypatch.setattr(examiner.Examiner, "signs", lambda self, one: healthy | (signs if one.seen >= image - 1 else {}))


def test_the_autopilot_goes_back_to_the_last_sound_look_and_waits_before_the_next_remedy(related, tmp_path, often, monkeypatch, no_weights):
    sick_from(monkeypatch, 32, ends=0.99)
    settings = {"training__images": 160, "training__checkpoint_every_images": 3, "training__keep_checkpoints": 1}
    result = train(game(related, training__autopilot=True, **settings), out=tmp_path / "run", quiet=True)
    done = events(tmp_path / "run", "autopilot")
    assert ["back to 24 images" in entry["done"] for entry in done] == [True] * MOST, "though newer checkpoints were written since"
    assert [entry["evidence"].rpartition(", ")[2] for entry in done] == ["at 40 images", "at 56 images", "at 56 images"]
    assert [entry["alarm"] for entry in done] == ["outputs are saturated"] * MOST
    assert [sentence for sentence in result.alarms if sentence.startswith("AUTOPILOT, outputs are saturated")]
    assert "autopilot: back to 24 images" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) <= 2, "one that is kept, one that is held"


def test_a_run_that_has_diverged_is_not_waited_for(related, tmp_path, often, monkeypatch, no_weights):
    sick_from(monkeypatch, 32, spread=1e9)
    train(game(related, training__autopilot=True), out=tmp_path / "run", quiet=True)
    assert [entry["evidence"].rpartition(", ")[2] for entry in events(tmp_path / "run", "autopilot")] == ["at 32 images"] * MOST


def test_a_run_goes_back_behind_what_was_off_before_it_rang(related, tmp_path, often, monkeypatch, no_weights):
    healthy = {name: value for name, value in HEALTHY.items() if name not in ("images", "skipped")}
    off = {16: 0.3, 24: 0.3, 32: 9.0, 40: 150.0}  # the mean error at each look: beyond 200 it rings
    monkeypatch.setattr(
        examiner.Examiner, "signs", lambda self, one: healthy | {"error": off.get(one.seen + 1, 0.3 if one.seen < 30 else 300)}
    )
    train(game(related, training__autopilot=True), out=tmp_path / "run", quiet=True)
    (first, *_) = events(tmp_path / "run", "autopilot")
    assert "at 48 images" in first["evidence"]
    assert "back to 24 images" in first["done"]


def test_what_was_done_stays_told_and_in_force_when_a_run_goes_back_behind_it(related, tmp_path, often, monkeypatch, no_weights):
    healthy = {name: value for name, value in HEALTHY.items() if name not in ("images", "skipped")}

    def signs(self, one):
        now = one.seen + 1
        return healthy | SICK[BY_HEART] | ({"ends": 0.99} if now >= 96 or (now >= 88 and one.config.losses.augment > 0) else {})

    monkeypatch.setattr(examiner.Examiner, "signs", signs)
    config = game(related, training__autopilot=True, training__images=160, training__keep_checkpoints=1)
    train(config, out=tmp_path / "run", quiet=True)
    first, *others = events(tmp_path / "run", "autopilot")
    assert first["alarm"] == BY_HEART
    assert "remedy 1 of 3" in first["done"]
    assert [entry["alarm"] for entry in others] == ["outputs are saturated"] * 2
    assert others[0]["images"] < 88
    assert [entry["deed"] for entry in (first, *others)] == [1, 2, 3]
    assert "losses.augment=0.25" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_a_kill_undid_is_not_told_twice(related, tmp_path, often, monkeypatch, no_weights):
    sick_from(monkeypatch, 24, spread=1e9)
    config = game(related, training__autopilot=True, training__keep_checkpoints=9)
    train(config, out=tmp_path / "run", quiet=True)
    whole = [entry["done"] for entry in events(tmp_path / "run", "autopilot")]
    assert len(whole) == MOST
    for folder in state.list_checkpoints(tmp_path / "run" / "checkpoints")[1:]:
        shutil.rmtree(folder)
    (oldest,) = state.list_checkpoints(tmp_path / "run" / "checkpoints")
    assert json.loads((oldest / "state.json").read_text(encoding="utf-8"))["progress"]["remedies"] == 0
    shutil.rmtree(tmp_path / "run" / "model-last")
    resume(tmp_path / "run", quiet=True)
    assert [entry["done"] for entry in events(tmp_path / "run", "autopilot")] == whole


def test_precision_that_was_changed_stays_so_after_a_stop(related, tmp_path, often, monkeypatch, no_weights):
    healthy = {name: value for name, value in HEALTHY.items() if name not in ("images", "skipped")}
    found = {"bf16": healthy | {"slope": math.nan}, "no": healthy}
    monkeypatch.setattr(examiner.Examiner, "signs", lambda self, one: found[one.config.compute.precision])
    config = game(related, training__autopilot=True, training__keep_checkpoints=9, compute__precision="bf16")
    train(config, out=tmp_path / "whole", quiet=True)
    (done,) = events(tmp_path / "whole", "autopilot")
    assert "compute.precision=no" in done["done"]
    assert "learning_rate" not in done["done"], "one thing at a time"
    train(config, out=tmp_path / "part", quiet=True)
    again_from_its_first_checkpoint(tmp_path / "part")
    assert weights_of(tmp_path / "part") == weights_of(tmp_path / "whole")
    assert not [entry for entry in events(tmp_path / "part", "warning") if "bit for bit" in entry["message"]]


def test_the_best_model_stays_the_best_when_a_run_goes_back_behind_it(related, tmp_path, often, monkeypatch, no_weights):
    sick_from(monkeypatch, 32, ends=0.99)
    real = watch.Watch.validate

    def validate(self, generator):
        means, _ = real(self, generator)
        return means, (0.0 if (tmp_path / "run" / "model").is_dir() and not events(tmp_path / "run", "autopilot") else 1.0)

    monkeypatch.setattr(watch.Watch, "validate", validate)
    monkeypatch.setattr(watch.Watch, "is_better", lambda self, value, best: best is None or value < best)
    config = game(related, training__autopilot=True, training__validate_every_images=16)
    train(config, out=tmp_path / "run", quiet=True)
    model = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    newest = state.list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    progress = json.loads((newest / "state.json").read_text(encoding="utf-8"))["progress"]
    assert progress["rollbacks"] > 0
    assert progress["best_value"] == 0.0
    assert progress["best_images"] == model["facts"]["training"]["images"] == 32, "of the time that was gone back on"


def test_the_autopilot_protects_what_has_no_critic(related, tmp_path, often, no_weights):
    fast = {"training__images": 48, "training__checkpoint_every_images": 16, "generator_optimizer__learning_rate": 1e9}
    train(tiny_config(related, name="regression", training__autopilot=True, **fast), out=tmp_path / "run", quiet=True)
    first, *_ = events(tmp_path / "run", "autopilot")
    assert "generator_optimizer.learning_rate=0.0002" in first["done"]
    assert "critic" not in first["done"]
    assert (tmp_path / "run" / "model-last").is_dir()


def test_what_no_remedy_fits_goes_back_as_without_the_autopilot(related, tmp_path, often, monkeypatch, no_weights):
    monkeypatch.setattr(session, "remedy", lambda *given, **named: None)
    monkeypatch.setattr(Learner, "is_finite", lambda self: False)
    with pytest.raises(TrainingError, match="non-finite"):
        train(game(related, training__autopilot=True), out=tmp_path / "run", quiet=True)
    assert len(events(tmp_path / "run", "rollback")) == session.MAX_ROLLBACKS


def test_moments_that_overflow_are_as_bad_as_weights_that_do():
    playing = learner(tiny("pix2pix"))
    step(playing, batch("pix2pix"), number=0)
    assert playing.is_finite()
    moments = next(iter(playing.optimizers["critic"].state.values()))
    moments["exp_avg_sq"].view(-1)[0] = math.inf
    assert not playing.is_finite()


def test_what_is_not_finite_costs_no_more_with_the_autopilot_than_without(related, tmp_path, often, monkeypatch, no_weights):
    real, bad = Learner.step, []

    def step(self, *given, **named):
        result = real(self, *given, **named)
        if self.seen < 41 or len(bad) == loop.MAX_BAD_STEPS:
            return result
        bad.append(self.seen)
        return type(result)(result.generator, result.critic, torch.zeros((), dtype=torch.bool))

    monkeypatch.setattr(Learner, "step", step)
    train(game(related, training__autopilot=True, training__checkpoint_every_images=42), out=tmp_path / "run", quiet=True)
    (done,) = [entry for entry in events(tmp_path / "run", "autopilot") if entry["alarm"] == NOT_FINITE]
    assert "back to 42 images" in done["done"]


def test_a_critic_that_has_not_begun_says_nothing(related, tmp_path, often, no_weights):
    train(game(related, training__pretrain_share=0.5), out=tmp_path / "run", quiet=True)
    looks = {entry["images"]: entry for entry in read(tmp_path / "run" / "history.jsonl") if entry["kind"] == "signs"}
    assert ["slope" in looks[images] for images in (8, 16, 24, 32, 40, 48)] == [False] * 3 + [True] * 3
    assert all("spread" in look for look in looks.values())


def test_a_kill_while_checkpoints_are_forgotten_leaves_none_that_is_damaged(related, tmp_path, monkeypatch, no_weights):
    train(game(related), out=tmp_path / "run", quiet=True)
    root = tmp_path / "run" / "checkpoints"
    assert [folder.name for folder in state.list_checkpoints(root)] == ["000000032", "000000048"]

    def killed(folder, **options):
        if folder.exists():
            next(folder.iterdir()).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(state.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            state.forget_checkpoints(root, after=0)
    assert [folder.name for folder in state.list_checkpoints(root)] == ["000000032"]
    assert resume(tmp_path / "run", quiet=True).images == 48
    assert not list(root.glob(".*"))


def test_numbers_that_stay_broken_end_the_run_after_every_remedy(related, tmp_path, often, monkeypatch, no_weights):
    real = Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, *given, **named: broken(real(self, *given, **named)))

    def broken(result):
        return type(result)(result.generator, result.critic, torch.zeros((), dtype=torch.bool))

    config = game(related, training__autopilot=True, compute__precision="bf16")
    with pytest.raises(TrainingError, match="non-finite"):
        train(config, out=tmp_path / "run", quiet=True)
    done = events(tmp_path / "run", "autopilot")
    assert len(done) == MOST
    assert all("compute.precision=no" in entry["message"] for entry in done[:1])


@pytest.mark.parametrize("name", TINY)
def test_every_method_can_be_looked_at(name):
    playing = learner(tiny(name))
    step(playing, batch(name, count=4), number=0)
    found = signs_of(playing, batch(name, count=4), batch(name, count=4, seed=1), pictures=True)
    assert all(math.isfinite(value) for value in found.values())
    wanted = {
        "ahead",
        "ahead_held_out",
        "slope",
        "push",
        "spread",
        "source_spread",
        "fine",
        "grid",
        "ends",
        "pace_generator",
        "pace_critic",
    }
    assert wanted <= found.keys()
    assert ("error" in found) == (name in PAIRED)
    assert ("answers" in found) == (name in ("bicycle", "starganv2"))


def test_a_twin_without_a_critic_that_is_as_good_rings(related, tmp_path, no_weights):
    ours, twin = tmp_path / "ours", tmp_path / "twin"
    train(tiny_config(related), out=ours, quiet=True)
    train(tiny_config(related, name="regression"), out=twin, quiet=True)

    def judged(run, **figures):
        path = run / "evaluation" / "evaluation.json"
        tree = json.loads(path.read_text(encoding="utf-8"))
        tree["means"] = {name: {"mean": value, "low": None, "high": None} for name, value in figures.items()}
        path.write_text(json.dumps(tree), encoding="utf-8")

    assert as_good(ours) is None, "without weights nothing that tells"
    judged(ours, lpips=0.3, kid_squeeze=0.02)
    judged(twin, lpips=0.31, kid_squeeze=0.01)
    assert as_good(ours) is None, "one figure is worse"
    judged(twin, lpips=0.29, kid_squeeze=0.01)
    assert "lpips 0.29 in twin against 0.3 here" in as_good(ours).evidence
    assert "lpips 0.29 here against 0.3 in ours" in as_good(twin).evidence, "whichever was first"
    train(tiny_config(related, task__direction="BtoA"), out=tmp_path / "back", quiet=True)
    judged(tmp_path / "back", lpips=0.5, kid_squeeze=0.5)
    assert as_good(tmp_path / "back") is None, "another translation of the same data"
    train(tiny_config(write_pairs(tmp_path / "others", count=9)), out=tmp_path / "elsewhere", quiet=True)
    judged(tmp_path / "elsewhere", lpips=0.5, kid_squeeze=0.5)
    assert as_good(tmp_path / "elsewhere") is None, "other data"
    wider = tiny_config(related, name="regression", generator__options__width=12)
    train(wider, out=tmp_path / "wider", quiet=True)
    judged(tmp_path / "wider", lpips=0.1, kid_squeeze=0.001)
    judged(twin, lpips=0.5, kid_squeeze=0.5)
    assert as_good(ours) is None, "another network"
    judged(twin, lpips=0.29, kid_squeeze=0.01)
    with (ours / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"images": 48, "kind": "event", "event": "alarm", "alarm": DIVERGED}) + "\n")
    assert as_good(twin) is None, "the other has diverged"


# --- The policy ----------------------------------------------------------------------------------------------------------------------


def alarm(name):
    return Alarm(name, 100, "evidence", ())


@pytest.mark.parametrize(
    ("name", "settings", "wanted"),
    [
        ("outputs are saturated", {}, {"generator_optimizer.learning_rate": 1e-4, "critic_optimizer.learning_rate": 1e-4}),
        (
            "outputs are saturated",
            {"generator_optimizer.learning_rate": 0.05, "critic_optimizer.learning_rate": 0.004},
            {"generator_optimizer.learning_rate": 1e-3, "critic_optimizer.learning_rate": 1e-3},
        ),
        ("the critic stands still", {"critic_optimizer.learning_rate": 1e-9}, {"critic_optimizer.learning_rate": 1e-3}),
        ("the critic wins", {}, {"losses.r1_gamma": 80.0, "losses.r2_gamma": 80.0}),
        (BY_HEART, {}, {"losses.augment": 0.75}),
        (NOT_FINITE, {"compute.precision": "bf16"}, {"compute.precision": "no"}),
    ],
)
def test_a_remedy_is_a_few_settings(name, settings, wanted):
    config = override(recipe("auto", size=64), {"losses.r1_gamma": 20.0, "losses.r2_gamma": 20.0, **settings})
    chosen = remedy([alarm(name)], config, channels=(3, 3))
    assert chosen is not None
    assert wanted.items() <= dict(chosen[1].settings).items()
    override(config, chosen[1].settings)


def test_nothing_is_done_against_what_no_setting_mends():
    config = recipe("auto", size=64)
    for name in (NOT_TOGETHER, "sources say nothing", "outputs are blurred"):
        assert remedy([alarm(name)], config, channels=(3, 3)) is None
    assert remedy([alarm("the critic wins")], recipe("pix2pix", size=64), channels=(3, 3)) is None, "its critic has batch norm"
    assert remedy([alarm(NOT_TOGETHER), alarm("outputs are saturated")], config, channels=(3, 3))[0].name == "outputs are saturated"


def test_what_is_done_keeps_what_the_person_chose_and_what_the_settings_allow():
    def settings(name, base, **changes):
        config = override(recipe(base, size=64), {key.replace("__", "."): value for key, value in changes.items()})
        chosen = remedy([alarm(name)], config, channels=(3, 3))
        return None if chosen is None else dict(chosen[1].settings)

    one = {"losses__r1_gamma": 50.0, "losses__r2_gamma": 0.0, "losses__slopes": "exact", "losses__slope_share": 1.0}
    assert settings("the critic wins", "auto", **one) == {"losses.r1_gamma": 200.0, "losses.r2_gamma": 5.0}
    of_one = {"losses.r1_gamma": 5.0, "losses.r2_gamma": 5.0, "losses.slopes": "difference"}
    assert settings("the critic wins", "cut") == settings("the critic wins", "cyclegan") == of_one, "half of one picture is none"
    fast = settings("outputs are saturated", "auto", generator_optimizer__learning_rate=0.05)
    assert fast == {"generator_optimizer.learning_rate": 1e-3, "training.clip_norm": 1.0}, "the critic's rate is as published"
    no_push = "the generator learns nothing from the critic"
    assert settings(no_push, "pix2pix") == {"losses.adversarial": "relativistic", "training.clip_norm": 1.0}
    assert settings(no_push, "auto", losses__adversarial="non-saturating") == {"losses.adversarial": "relativistic"}
    assert settings(no_push, "auto", losses__adversarial="non-saturating", losses__lecam_weight=0.3) is None, "LeCam forbids it"


def test_augmentation_follows_what_the_critic_knows_by_heart():
    known, fair = {"ahead": 0.95, "ahead_held_out": 0.7}, {"ahead": 0.8, "ahead_held_out": 0.78}
    assert adapted(0.5, known, gap=0.1) == 0.55
    assert adapted(0.5, fair, gap=0.1) == 0.45
    assert adapted(0.8, known, gap=0.1) == 0.8
    assert adapted(0.02, fair, gap=0.1) == 0.0


def test_an_adaptive_run_goes_on_bit_for_bit(related, tmp_path, often, no_weights):
    config = game(related, losses__augment_gap=0.02, losses__augment=0.3, training__keep_checkpoints=9)
    train(config, out=tmp_path / "whole", quiet=True)
    shares = [entry["augment"] for entry in read(tmp_path / "whole" / "history.jsonl") if entry["kind"] == "signs"]
    assert len(set(shares)) > 2
    train(config, out=tmp_path / "part", quiet=True)
    again_from_its_first_checkpoint(tmp_path / "part")
    assert weights_of(tmp_path / "part") == weights_of(tmp_path / "whole")


def test_adaptive_augmentation_needs_held_out_pictures(related):
    with pytest.raises(ConfigError, match="augment_gap would have no effect"):
        complete(game(related, losses__augment_gap=0.1, data__holdout=0.0))


def test_sessions_and_policy_agree_on_how_often():
    assert session.MOST_REMEDIES == MOST


def test_auto_is_of_the_size_that_suits(related):
    plan = make_plan(str(related), recipe_name="auto", size=64, device="cpu", settings={"training.batch_size": 3})
    assert (plan.config.generator.options["width"], plan.config.training.batch_size) == (48, 3)
    assert any("medium networks" in reason for reason in plan.reasons)
    small = make_plan(str(related), recipe_name="auto", size=256, device="cpu")
    assert small.config.generator.options["width"] == 32
    other = make_plan(
        str(related), recipe_name="auto", size=64, device="cpu", settings={"generator.name": "unet", "generator.options.depth": 5}
    )
    assert "width" not in other.config.generator.options
    assert not any("networks" in reason for reason in make_plan(str(related), recipe_name="pix2pix", size=64).reasons)
