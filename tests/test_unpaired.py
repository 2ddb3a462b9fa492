"""Collections and domains in whole runs: learnt, resumed, judged, used in both directions and with many answers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from console import Console
from pixloom.data.loading import training_batches
from pixloom.data.unpaired import Balanced
from pixloom.errors import ConfigError, ModelError
from pixloom.evaluation import evaluate, reader
from pixloom.inference.translator import Translator
from pixloom.training.api import resume, train
from pixloom.training.learner import Learner
from pixloom.training.plan import load_examples, make_plan

NARROW = {"generator.options.width": 4, "critic.options.width": 4, "compute.device": "cpu"}
SHALLOW = {"generator.options.blocks": 2, "critic.options.layers": 1}
PACE = {"training.checkpoint_every_images": 4, "training.keep_checkpoints": 9, "training.batch_size": 2}
STYLED = {
    "generator.options.halvings": 1,
    "generator.options.hidden": 8,
    "generator.options.code": 4,
    "conditions.style.code": 4,
    "critic.options.halvings": 2,
}
CODED = {"generator.options.noise_channels": 4, "conditions.style.code": 4, "critic.options.layers": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No feature networks, and a classifier that learns for a moment only."""
    monkeypatch.setenv("PIXLOOM_WEIGHTS", "/nowhere")
    monkeypatch.setattr(reader, "IMAGES", 64)


def write_collections(folder, *, names=("trainA", "trainB"), counts=(9, 7), side=24):
    """Folders of noisy pictures, each of its own colour."""
    rng = np.random.default_rng(0)
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 90, (side, side, 3))
            pixels[..., 2 - place] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{name[-1]}{number}.png")
    return folder


def write_pairs(folder, *, count=8, side=24):
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        for name, picture in (("A", pixels), ("B", 255 - pixels)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return folder


def plan_of(data, recipe, *, images=8, **settings):
    task = settings.pop("task", None)
    base = NARROW | PACE | ({} if recipe in ("starganv2", "bicycle", "ugatit") else SHALLOW)
    return make_plan(str(data), task=task, recipe_name=recipe, size=16, images=images, settings=base | settings)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("cyclegan", {"training.pool_images": 3}),
        ("cut", {}),
        ("fastcut", {}),
        ("ugatit", {"generator.options.blocks": 1, "critic.options.local_layers": 3, "critic.options.global_layers": 0}),
        ("starganv2", STYLED),
    ],
)
def test_a_resumed_run_is_the_same_run(tmp_path, recipe, settings):
    data = write_collections(tmp_path / "data", names=("day", "night"))
    chosen = settings if recipe == "starganv2" else {**settings, "task.options.to": "night"}
    runs = [train(plan_of(data, recipe, **chosen).config, out=tmp_path / name, quiet=True) for name in ("whole", "part")]
    for folder in sorted((runs[1].folder / "checkpoints").iterdir())[1:]:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    again = resume(runs[1].folder, quiet=True)
    files = ["model.safetensors"] + (["back/model.safetensors"] if recipe in ("cyclegan", "ugatit") else [])
    for file in files:
        first, second = ((folder / "model-last" / file).read_bytes() for folder in (runs[0].folder, again.folder))
        assert first == second


def test_both_directions_are_in_the_model(tmp_path, capsys):
    data = write_collections(tmp_path / "data")
    plan = plan_of(data, "cyclegan", images=40, **{"generator_optimizer.learning_rate": 2e-3})
    assert plan.task.name == "stylize"
    assert any("needs no pairs" in reason for reason in plan.reasons)
    run = train(plan.config, out=tmp_path / "run", quiet=True).folder
    there, back = (Translator.from_pretrained(run, back=way) for way in (False, True))
    assert (there.task.to, back.task.to) == ("B", "A")
    picture = data / "trainA" / "A0.png"
    assert not np.array_equal(np.asarray(there(str(picture))), np.asarray(back(str(picture))))
    console = Console(capsys)
    outputs = {}
    for direction in ("AtoB", "BtoA"):
        out = tmp_path / direction
        assert console("translate", str(run), str(picture), "--out", str(out), "--direction", direction).code == 0
        outputs[direction] = np.asarray(Image.open(out / "A0.png"))
    assert np.array_equal(outputs["AtoB"], np.asarray(there(str(picture))))
    assert np.array_equal(outputs["BtoA"], np.asarray(back(str(picture))))
    assert f"pixloom translate {run} pictures/ --out back/ --direction BtoA" in console("describe", str(run)).out
    judged = evaluate(run, plan.config.data)
    assert {"cycle_l1", "target_accuracy, label"} <= judged.means.keys()
    assert list(judged.ways) == ["A to B"]
    assert "from, to" in console("evaluate", str(run), str(data), "--split", "train").out


def test_a_model_of_one_direction_does_not_translate_back(tmp_path, capsys):
    data = write_collections(tmp_path / "data")
    run = train(plan_of(data, "cut").config, out=tmp_path / "run", quiet=True).folder
    with pytest.raises(ModelError, match="does not translate back") as caught:
        Translator.from_pretrained(run, back=True)
    assert "cyclegan" in caught.value.fix
    failed = Console(capsys)("translate", run, data / "trainA" / "A0.png", "--out", tmp_path / "x", "--direction", "BtoA")
    assert failed.code == 2


def test_pairs_may_be_learnt_as_if_they_were_none(tmp_path):
    data = write_pairs(tmp_path / "data")
    plan = plan_of(data, "cyclegan")
    assert plan.task.name == "pair"
    examples = load_examples(plan, size=16, cache_gib=1.0)
    order = {"batch_size": 2, "seed": 0, "start_image": 0, "size": 16, "flip": False}
    batch = next(training_batches(examples, **order))
    assert (batch.source + batch.target).abs().max() > 0.5  # partners would be negatives of each other
    run = train(plan.config, out=tmp_path / "run", quiet=True).folder
    assert {"psnr", "cycle_l1"} <= evaluate(run, plan.config.data).means.keys()
    back = Translator.from_pretrained(run, back=True)
    assert back.description.task.direction == "BtoA"


def test_collections_are_shuffled_independently_and_a_pass_shows_the_larger_one(tmp_path):
    data = write_collections(tmp_path / "data", names=("day", "night"), counts=(12, 4))
    plan = plan_of(data, "cut", **{"task.options.to": "night", "data.holdout": 0.0})
    examples = load_examples(plan, size=16, cache_gib=1.0)
    assert len(examples) == 12
    order = {"batch_size": 1, "seed": 0, "size": 16, "flip": True}
    batches = training_batches(examples, start_image=0, **order)
    first = [next(batches) for _ in range(24)]
    assert len({batch.ids[0] for batch in first[:12]}) == 12
    targets = [batch.target.mean().item() for batch in first]
    assert len({round(value, 4) for value in targets}) > 4
    assert all(batch.source[0, 2].mean() > batch.source[0, 1].mean() for batch in first)  # days are blue
    assert all(batch.target[0, 1].mean() > batch.target[0, 2].mean() for batch in first)  # nights are green
    again = next(training_batches(examples, start_image=5, **order))
    assert np.array_equal(again.target.numpy(), first[5].target.numpy())


def test_small_classes_are_shown_as_often_as_large_ones(tmp_path):
    data = write_collections(tmp_path / "data", names=("cat", "dog"), counts=(12, 3))
    plan = plan_of(data, "starganv2", **STYLED, **{"data.holdout": 0.0})
    assert plan.task.name == "edit"
    examples = load_examples(plan, size=16, cache_gib=1.0)
    assert isinstance(examples, Balanced)
    batches = training_batches(examples, batch_size=1, seed=0, start_image=0, size=16, flip=False)
    shown = [next(batches).ids[0].split("/")[-2] for _ in range(24)]
    assert shown.count("dog") == shown.count("cat") == 12


def test_styles_are_drawn_or_read_off_a_reference(tmp_path, capsys):
    data = write_collections(tmp_path / "data", names=("cat", "dog"), counts=(6, 6))
    run = train(plan_of(data, "starganv2", **STYLED).config, out=tmp_path / "run", quiet=True).folder
    translate = Translator.from_pretrained(run)
    picture, reference = (str(data / "cat" / f"t{number}.png") for number in (0, 1))
    one, two, like = (
        np.asarray(translate(picture, given=given, seed=seed), dtype=int)
        for given, seed in (({"label": "dog"}, 0), ({"label": "dog"}, 1), ({"label": "dog", "style": reference}, 0))
    )
    assert np.abs(one - two).max() > 0
    assert np.abs(one - like).max() > 0
    console, out = Console(capsys), tmp_path / "out"
    arguments = ("translate", str(run), picture, "--domain", "dog", "--samples", "3", "--out", str(out))
    assert console(*arguments).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["t0-1.png", "t0-2.png", "t0-3.png"]
    assert np.array_equal(np.asarray(Image.open(out / "t0-2.png"), dtype=int), two)
    assert console("translate", str(run), picture, "--label", "dog", "--reference", reference, "--out", str(tmp_path / "r")).code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "r" / "t0.png"), dtype=int), like)


def test_a_bicycle_has_many_answers(tmp_path):
    data = write_pairs(tmp_path / "data")
    run = train(plan_of(data, "bicycle", **CODED).config, out=tmp_path / "run", quiet=True).folder
    translate = Translator.from_pretrained(run)
    picture = str(data / "A" / "0.png")
    answers = [np.asarray(translate(picture, seed=seed), dtype=int) for seed in (0, 0, 1)]
    assert np.array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 0
    like = np.asarray(translate(picture, given={"style": str(data / "B" / "3.png")}), dtype=int)
    assert np.abs(like - answers[0]).max() > 0


def test_samples_of_a_model_with_one_answer_are_refused(tmp_path, capsys):
    data = write_collections(tmp_path / "data")
    run = train(plan_of(data, "cut").config, out=tmp_path / "run", quiet=True).folder
    for samples in ("3", "0"):
        failed = Console(capsys)("translate", str(run), str(data / "trainA"), "--samples", samples, "--out", str(tmp_path / "x"))
        assert failed.code == 2
        assert "--samples" in failed.err
    strength = [
        np.asarray(Translator.from_pretrained(run, strength=value)(str(data / "trainA" / "A0.png")), dtype=int) for value in (0.0, 0.5, 1.0)
    ]
    source = np.asarray(Image.open(data / "trainA" / "A0.png"), dtype=int)
    assert np.array_equal(strength[0], source)
    assert np.abs(strength[1] - (source + strength[2]) / 2).max() <= 1
    with pytest.raises(ConfigError, match="strength"):
        Translator.from_pretrained(run, strength=2.0)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"recipe_name": "cyclegan", "task": "edit"}, "--task stylize"),
        ({"recipe_name": "pix2pix", "task": "stylize"}, "no pairs"),
        ({"recipe_name": "starganv2", "task": "colorize"}, "learns from pairs"),
        ({"method": "cicle"}, "cycle"),
        ({"method": "cycle", "recipe_name": "pix2pix"}, "does not learn by"),
    ],
)
def test_tasks_and_methods_that_do_not_go_together(tmp_path, settings, word):
    data = write_collections(tmp_path / "data")
    with pytest.raises(ConfigError) as caught:
        make_plan(str(data), size=16, images=8, settings=NARROW, **settings)
    assert word in str(caught.value)


def test_a_method_named_alone_brings_its_recipe(tmp_path):
    data = write_collections(tmp_path / "data")
    plan = make_plan(str(data), method="contrastive", size=16, images=8, settings=NARROW | SHALLOW)
    assert (plan.config.recipe, plan.task.name) == ("cut", "stylize")


# --- what a critic found ---------------------------------------------------------------------------------------------------------------


def test_diversity_fades_over_the_run(tmp_path, monkeypatch):
    data = write_collections(tmp_path / "data", names=("cat", "dog"), counts=(6, 6))
    seen = []
    usual = Learner.step

    def step(self, *given, **named):
        seen.append((self.passed, self.weights["diversity"]))
        return usual(self, *given, **named)

    plan = plan_of(data, "starganv2", **STYLED)
    monkeypatch.setattr(Learner, "step", step)
    train(plan.config, out=tmp_path / "run", quiet=True)
    assert seen[-4:] == [(passed, pytest.approx(-(1 - passed))) for passed in (0.0, 0.25, 0.5, 0.75)]


def test_of_every_class_some_are_held_out_and_never_the_last(tmp_path):
    data = write_collections(tmp_path / "data", names=("cat", "dog"), counts=(20, 8))
    plan = plan_of(data, "starganv2", **STYLED)
    held = [record.label for record in plan.validation]
    assert {"cat", "dog"} == set(held)
    write_collections(tmp_path / "few", names=("cat", "dog"), counts=(8, 1))
    plan = plan_of(tmp_path / "few", "starganv2", **STYLED)
    assert "dog" not in [record.label for record in plan.validation]
    assert plan.conditions.kinds[0].known == ("cat", "dog")


def test_a_run_without_anything_to_judge_ends_well(tmp_path):
    data = write_collections(tmp_path / "data", counts=(1, 9))
    run = train(plan_of(data, "cut").config, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"
    assert run.model is not None
    assert run.evaluation is None


def test_models_that_go_another_way_are_not_set_side_by_side(tmp_path):
    data = write_collections(tmp_path / "data", names=("day", "night"))
    runs = {
        to: train(plan_of(data, "cut", **{"task.options.to": to}).config, out=tmp_path / to, quiet=True).folder for to in ("day", "night")
    }
    with pytest.raises(ConfigError, match="do not translate the same"):
        evaluate(runs["day"], str(data), split="train", against=[runs["night"]])


def test_the_card_says_what_must_be_given_and_which_way_it_goes(tmp_path):
    data = write_collections(tmp_path / "data", names=("cat", "dog"), counts=(6, 6))
    run = train(plan_of(data, "starganv2", **STYLED).config, out=tmp_path / "run", quiet=True).folder
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "(label must be given)" in card
    assert "--out translated/ --label 'dog' --samples 4" in card or "--out translated/ --label 'cat' --samples 4" in card
    run = train(plan_of(data, "cyclegan", **{"task.options.to": "dog"}).config, out=tmp_path / "cyc", quiet=True).folder
    assert "(cat to dog)" in (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "(dog to cat)" in (run / "model" / "back" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("recipe", "settings", "word"),
    [
        ("cyclegan", {"generator.name": "ugatit"}, "class activation"),
        ("ugatit", {"critic.name": "patch"}, "class activation"),
        ("cyclegan", {"generator.options.noise_channels": 4}, "no use for noise"),
        ("cut", {"losses.nce_weight": 0.0}, "heads would have no effect"),
        ("starganv2", {**STYLED, "training.batch_size": 1}, "two pictures at a time"),
    ],
)
def test_parts_that_do_not_go_together(tmp_path, recipe, settings, word):
    data = write_collections(tmp_path / "data", names=("day", "night"))
    chosen = {"task.options.to": "night"} if recipe != "starganv2" else {}
    with pytest.raises(ConfigError) as caught:
        make_plan(str(data), recipe_name=recipe, size=16, images=8, settings={"compute.device": "cpu"} | settings | chosen)
    assert word in str(caught.value)


def test_two_of_several_collections_are_named(tmp_path):
    data = write_collections(tmp_path / "three", names=("day", "dusk", "night"), counts=(4, 4, 4))
    named = {"source_folder": "day", "target_folder": "night"}
    plan = make_plan(str(data), recipe_name="cyclegan", size=16, device="cpu", data_settings=named)
    assert (plan.task.name, plan.task.to, plan.task.origin) == ("stylize", "night", "day")
    assert {record.label for record in plan.train} == {"day", "night"}
    two = write_collections(tmp_path / "two", names=("day", "night"), counts=(4, 4))
    only_target = {"task": "stylize", "size": 16, "device": "cpu", "data_settings": {"target_folder": "day"}}
    assert make_plan(str(two), **only_target).task.to == "day"
    shouted = make_plan(
        str(data), recipe_name="cut", size=16, device="cpu", data_settings={"source_folder": "Day", "target_folder": "NIGHT"}
    )
    assert (shouted.task.to, shouted.task.origin) == ("night", "day")
    with pytest.raises(ConfigError, match="both 'night' and 'day' are wanted"):
        make_plan(str(data), recipe_name="cut", size=16, device="cpu", data_settings=named, settings={"task.options.to": "day"})
    with pytest.raises(ConfigError, match="are both 'day'"):
        make_plan(str(data), recipe_name="cut", size=16, device="cpu", data_settings={"source_folder": "day", "target_folder": "Day"})
    with pytest.raises(ConfigError, match=r"(?s)target_folder would have no effect.*makes its targets"):
        make_plan(str(two), **{**only_target, "task": "colorize"})
    with pytest.raises(ConfigError, match=r"(?s)target_folder would have no effect.*takes all classes"):
        make_plan(str(two), **{**only_target, "task": "edit"})


def test_the_way_back_of_a_label_map_is_no_task(tmp_path):
    data = write_pairs(tmp_path / "data")
    with pytest.raises(ConfigError, match="way back"):
        make_plan(str(data), task="segment", recipe_name="cyclegan", size=16, images=8)
    with pytest.raises(ConfigError, match="needs label maps as sources"):
        make_plan(str(data), recipe_name="spade", size=16, images=8, settings={"critic.name": "segmenting"})


def test_a_critic_that_segments_goes_with_spade_as_it_is(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        ids = np.kron(rng.integers(0, 3, (3, 3)), np.ones((8, 8), int)).astype(np.uint8)
        for name, picture in (("A", ids), ("B", np.stack([ids * 80] * 3, axis=2))):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "data" / name / f"{number}.png")
    narrow = {"critic.options.width": 4, "critic.options.layers": 2, "generator.options.width": 4, "generator.options.levels": 2}
    settings = {"critic.name": "segmenting", "generator.options.hidden": 4, "compute.device": "cpu", **narrow}
    plan = make_plan(str(tmp_path / "data"), task="synthesize", recipe_name="spade", size=16, images=8, settings=settings)
    assert train(plan.config, out=tmp_path / "run", quiet=True).state == "finished"
