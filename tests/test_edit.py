"""Between domains, and conditions in whole runs: learnt, judged, used, resumed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from console import Console
from pixloom.config import LossConfig, load_config
from pixloom.data.batch import Batch
from pixloom.errors import ConfigError, DataError
from pixloom.evaluation import evaluate, open_examples
from pixloom.evaluation.reader import train_reader
from pixloom.inference.translator import Translator
from pixloom.methods.multidomain import MultiDomain
from pixloom.nets import build
from pixloom.tasks.stylize import Stylize
from pixloom.training.api import resume, train
from pixloom.training.history import read
from pixloom.training.plan import complete, make_plan

FAST = {
    "generator.name": "encoder_decoder",
    "generator.options.width": 8,
    "generator.options.norm": "instance",
    "critic.options.width": 8,
    "critic.options.layers": 1,
    "losses.adversarial": "least-squares",
    "training.num_critic": 1,
    "training.batch_size": 4,
    "generator_optimizer.learning_rate": 1e-3,
    "critic_optimizer.learning_rate": 1e-3,
}


def write_domains(folder, *, names=("blue", "red"), count=10, side=24):
    """Folders of noisy pictures, each of its own colour."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 90, (side, side, 3))
            pixels[..., 2 - 2 * place] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def edit_plan(data, *, task="edit", images=16, **settings):
    return make_plan(str(data), task=task, size=16, images=images, settings=FAST | settings, device="cpu")


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setenv("PIXLOOM_WEIGHTS", "/nowhere")


# --- the method ------------------------------------------------------------------------------------------------------------------------


def game(**losses):
    torch.manual_seed(0)
    conditions = {"label": 2}
    options = {"width": 4, "conditions": conditions}
    generator = build("encoder_decoder", options | {"injection": "planes"}, source_channels=3, target_channels=3)
    critic = build(
        "patch", options | {"layers": 2, "norm": "none", "conditioning": "classifier"}, source_channels=0, target_channels=3, size=16
    )
    return MultiDomain(generator.eval(), critic, losses=LossConfig(adversarial="least-squares", **losses))


def batch():
    rng = torch.Generator().manual_seed(1)
    own = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    return Batch(torch.rand(3, 3, 16, 16, generator=rng) * 2 - 1, None, ("a", "b", "c"), {"label": own.flip(1)}, {"label": own})


def test_the_terms_are_those_of_the_paper():
    method, given = game(identity_weight=1.0), batch()
    outputs = method.translate(given)
    there, back = outputs.fake, method.generator(outputs.fake, given.own)
    real, fake = method.critic(given.source, given.source), method.critic(given.source, there)
    critic = method.critic_terms(given, outputs)
    assert critic["real"].item() == pytest.approx((real.logits[0] - 1).square().mean().item(), rel=1e-5)
    assert critic["fake"].item() == pytest.approx(fake.logits[0].square().mean().item(), rel=1e-5)
    own = given.own["label"].argmax(1)
    entropy = torch.nn.functional.cross_entropy
    assert critic["classification"].item() == pytest.approx(entropy(real.guesses["label"], own).item(), rel=1e-5)
    terms = method.generator_terms(given, outputs)
    assert terms["classification"].item() == pytest.approx(entropy(fake.guesses["label"], 1 - own).item(), rel=1e-5)
    assert terms["cycle"].item() == pytest.approx((back - given.source).abs().mean().item(), rel=1e-5)
    same = method.generator(given.source, given.own)
    assert terms["identity"].item() == pytest.approx((same - given.source).abs().mean().item(), rel=1e-5)
    assert method.weights["cycle"] == 10


def test_every_weight_acts_and_the_critic_sees_no_source():
    method, given = game(), batch()
    outputs = method.translate(given)
    assert "identity" not in method.generator_terms(given, outputs)
    assert "cycle" not in game(cycle_weight=0.0).generator_terms(given, outputs)
    other = Batch(torch.zeros_like(given.source), None, given.ids, given.condition, given.own)
    first, second = (method.critic(one.source, outputs.fake).logits[0] for one in (given, other))
    assert torch.equal(first, second)


def test_the_penalty_is_taken_between_real_and_edited():
    method = game(gradient_penalty_weight=10.0)
    outputs = method.translate(batch())
    term = method.critic_terms(batch(), outputs.detached())["gradient_penalty"]
    term.backward()
    assert method.critic.stages[0][0].weight.grad.abs().max() > 0


# --- runs ------------------------------------------------------------------------------------------------------------------------------


def test_an_edit_is_learnt_and_the_condition_decides(tmp_path, no_weights):
    data = write_domains(tmp_path / "data")
    run = train(edit_plan(data, images=480, **{"losses.cycle_weight": 1.0}).config, out=tmp_path / "run", quiet=True)
    translate = Translator.from_pretrained(run.model)
    picture = np.asarray(Image.open(data / "blue" / "0.png"))
    red, blue = (translate(picture, given={"label": label}).mean((0, 1)) for label in ("red", "blue"))
    assert red[0] - red[2] > blue[0] - blue[2] + 20  # right and wrong condition differ in the right direction
    half = translate(picture, given={"label": {"red": 0.5, "blue": 0.5}}).mean((0, 1))
    assert blue[0] - 5 < half[0] < red[0] + 5


ATTRIBUTES = [
    "--task",
    "edit",
    "--condition",
    "attributes",
    "critic.name=stargan",
    "critic.options.layers=2",
    "losses.classification_weight=2",
]
WHOLE = [
    "--recipe",
    "starganv2",
    "--condition",
    "label",
    "critic.options.whole=true",
    "generator.options.width=4",
    "generator.options.hidden=16",
]


@pytest.mark.parametrize(("name", "chosen", "conditions"), [("stargan", ATTRIBUTES, {"attributes": 4}), ("domains", WHOLE, {"label": 2})])
def test_the_critics_of_stargan_and_its_second_version_learn_by_command(name, chosen, conditions, tmp_path, no_weights, capsys):
    data = write_domains(tmp_path / "data")
    rows = [f"{colour}/{n}.png,{colour},{int(colour == 'red')},{n % 2}" for colour in ("blue", "red") for n in range(10)]
    (data / "index.csv").write_text("\n".join(["source,label,red,odd", *rows]), encoding="utf-8")
    settings = [word for key in ("critic.options.width=4", "training.batch_size=4", *chosen[4:]) for word in ("--set", key)]
    common = ("--size", "16", "--images", "8", "--device", "cpu")
    Console(capsys).ok("train", data, "--out", tmp_path / "run", *common, *chosen[:4], *settings)
    critic = load_config(tmp_path / "run" / "config.yaml").critic
    assert (critic.name, critic.options["conditions"]) == (name, conditions)
    losses = [entry for entry in read(tmp_path / "run" / "history.jsonl") if entry["kind"] == "losses"]
    assert losses
    for terms in (entry[role] for entry in losses for role in ("critic", "generator")):
        assert np.isfinite(list(terms.values())).all()
        assert ("classification" in terms) == (name == "stargan")


def test_an_edit_is_judged_by_a_classifier_that_it_never_saw(tmp_path, no_weights):
    data = write_domains(tmp_path / "data")
    run = train(edit_plan(data).config, out=tmp_path / "run", quiet=True)
    judged = evaluate(run.model, data, split="val")
    assert judged.protocol["metrics"]["target_accuracy"]["on real held-out pictures"] == {"label": 1.0}
    assert {"target_accuracy, label", "content_l1"} <= judged.means.keys()
    assert judged.baselines["input"]["target_accuracy, label"].mean == 0
    assert judged.baselines["input"]["content_l1"].mean == 0
    assert "psnr" not in judged.means


def test_a_reader_reads_attributes(tmp_path, no_weights):
    data = write_domains(tmp_path / "data")
    rows = [f"{name}/{n}.png,{int(name == 'red')},{n % 2}" for name in ("blue", "red") for n in range(10)]
    (data / "index.csv").write_text("\n".join(["source,red,odd", *rows]), encoding="utf-8")
    plan = edit_plan(data)
    assert plan.config.conditions.keys() == {"attributes"}
    examples = open_examples(plan.validation, task=plan.task, size=16, conditions=plan.conditions)
    reader = train_reader(plan.listing, examples=examples, seed=0)
    red = torch.from_numpy(np.asarray(Image.open(data / "red" / "0.png")).transpose(2, 0, 1).copy())[None] / 127.5 - 1
    assert reader(red, {"attributes": {"red": 1}}) == {"attributes": 1.0}
    assert reader(red, {"attributes": {"red": 0}}) == {"attributes": 0.0}


def test_a_resumed_run_is_the_same_run(tmp_path, no_weights):
    data = write_domains(tmp_path / "data")
    settings = {"training.checkpoint_every_images": 8, "training.keep_checkpoints": 9}
    whole = train(edit_plan(data, images=24, **settings).config, out=tmp_path / "whole", quiet=True)
    part = train(edit_plan(data, images=24, **settings).config, out=tmp_path / "part", quiet=True)
    for folder in sorted((part.folder / "checkpoints").iterdir())[1:]:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    again = resume(part.folder, quiet=True)
    first, second = ((folder / "model-last" / "model.safetensors").read_bytes() for folder in (whole.folder, again.folder))
    assert first == second


def test_two_conditions_on_pairs_matter_and_may_be_left_out(tmp_path, no_weights):
    """The target's brightness follows the label, its colour the text; wrong ones score worse than right ones."""
    rng = np.random.default_rng(0)
    (data := tmp_path / "data").mkdir()
    rows = ["source,target,label,text"]
    for n in range(16):
        bright, red = n % 2, n // 2 % 2
        source = rng.integers(0, 60, (24, 24, 3))
        target = source + (150 if bright else 20)
        target[..., 0 if red else 2] += 40
        for role, pixels in (("a", source), ("b", target)):
            Image.fromarray(pixels.astype(np.uint8)).save(data / f"{role}{n}.png")
        rows.append(f"a{n}.png,b{n}.png,{'day' if bright else 'night'},a {'red' if red else 'blue'} sky")
    (data / "index.csv").write_text("\n".join(rows), encoding="utf-8")
    settings = {
        "generator.name": "encoder_decoder",
        "generator.options.width": 8,
        "generator.options.norm": "instance",
        "inference.statistics": "running",
        "generator_optimizer.learning_rate": 2e-3,
        "training.batch_size": 4,
        "data.jitter": 1.0,
    }
    plan = make_plan(
        str(data), size=16, images=1600, recipe_name="regression", conditions=["label", "text"], settings=settings, device="cpu"
    )
    run = train(plan.config, out=tmp_path / "run", quiet=True)
    translate = Translator.from_pretrained(run.model)
    source, target = (np.asarray(Image.open(data / f"{role}1.png")) for role in "ab")  # day, blue

    def error(**given):
        return np.abs(translate(source, given=given).astype(float) - target).mean()

    right = error(label="day", text="a blue sky")
    assert right + 10 < error(label="night", text="a blue sky")
    assert right + 1 < error(label="day", text="a red sky")
    assert np.isfinite(error())
    assert right < error()
    tree = json.loads((run.model / "config.json").read_text(encoding="utf-8"))
    assert tree["conditions"]["label"]["names"] == ["day", "night"]
    assert "--label NAME (day, night)" in (run.model / "README.md").read_text(encoding="utf-8")


# --- stylize ---------------------------------------------------------------------------------------------------------------------------


def test_a_style_needs_no_flag_at_use(tmp_path, no_weights):
    data = write_domains(tmp_path / "data", names=("A", "B"))
    run = train(edit_plan(data, task="stylize").config, out=tmp_path / "run", quiet=True)
    translate = Translator.from_pretrained(run.model)
    picture = np.asarray(Image.open(data / "A" / "0.png"))
    assert np.array_equal(translate(picture), translate(picture, given={"label": "B"}))
    assert not np.array_equal(translate(picture), translate(picture, given={"label": "A"}))
    judged = evaluate(run.model, data, split="val")
    assert judged.count == sum(record.label == "A" for record in complete(edit_plan(data, task="stylize").config).validation)


def test_palette_control_keeps_the_sources_colours():
    source = np.zeros((4, 4, 3), np.uint8)
    source[...] = (200, 40, 40)
    output = np.full((3, 4, 4), 0.2, np.float32)
    grey, red = (Stylize(to="B", keep_colour=keep).compose(output, source, {}) for keep in (0.0, 1.0))
    assert np.ptp(grey[0, 0]) == 0
    assert int(red[0, 0, 0]) - int(red[0, 0, 1]) > 60
    half = Stylize(to="B", keep_colour=0.5).compose(output, source, {})
    assert grey[0, 0, 0] < half[0, 0, 0] < red[0, 0, 0]


@pytest.mark.parametrize(
    ("names", "settings", "says"),
    [
        (("photo", "monet"), {}, "not clear which style"),
        (("photo", "monet"), {"task.options.to": "manet"}, "no collection 'manet'"),
        (("a", "b", "c"), {}, "needs two collections, and there are 3"),
    ],
)
def test_collections_that_are_not_clear(tmp_path, names, settings, says):
    write_domains(tmp_path / "data", names=names[:2])
    for extra in names[2:]:
        (tmp_path / "data" / extra).mkdir()
        Image.new("RGB", (24, 24)).save(tmp_path / "data" / extra / "x.png")
        Image.new("RGB", (24, 24)).save(tmp_path / "data" / extra / "y.png")
    with pytest.raises(DataError, match=says):
        edit_plan(tmp_path / "data", task="stylize", **settings)


# --- what does not fit -----------------------------------------------------------------------------------------------------------------


def test_a_task_and_a_method_that_do_not_go_together(tmp_path):
    data = write_domains(tmp_path / "data")
    with pytest.raises(ConfigError, match="cannot be learnt by the method 'conditional'") as caught:
        make_plan(str(data), task="edit", recipe_name="pix2pix", size=16, images=8)
    assert "--recipe retouch" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be learnt by the method 'multidomain'"):
        make_plan(str(data), task="colorize", recipe_name="stargan", size=16, images=8, settings={"critic.options.layers": 1})
    rows = [f"{name}/{n}.png,{name},{name}" for name in ("red", "blue") for n in range(10)]
    (data / "index.csv").write_text("\n".join(["source,text,label", *rows]), encoding="utf-8")
    with pytest.raises(ConfigError, match="no use for the condition 'text'"):
        edit_plan(data, **{"conditions.text": {}, "conditions.label": {}})


@pytest.mark.parametrize(
    ("key", "value"), [("losses.cycle_weight", 5.0), ("losses.identity_weight", 1.0), ("losses.classification_weight", 2.0)]
)
def test_weights_that_would_have_no_effect(tmp_path, key, value):
    write_domains(tmp_path / "data")
    with pytest.raises(ConfigError, match="would have no effect"):
        make_plan(str(tmp_path / "data"), task="colorize", size=16, images=8, settings={key: value})
    with pytest.raises(ConfigError, match="would have no effect"):
        make_plan(str(tmp_path / "data"), task="colorize", size=16, images=8, settings={"training.condition_dropout": 0.5})


def test_at_use_it_must_be_said_what_to_show(tmp_path, no_weights, capsys):
    data = write_domains(tmp_path / "data")
    run = train(edit_plan(data).config, out=tmp_path / "run", quiet=True)
    console = Console(capsys)
    for arguments, says in (
        ([], "it is not said what the pictures are to show"),
        (["--label", "rde"], "there is no label 'rde'"),
        (["--label", "red=x"], "'x' is no number"),
        (["--label", "red=5"], "cannot be 5"),
        (["--attribute", "smile=1"], "takes no attributes"),
        (["--text", "red"], "takes no text"),
        (["--map", str(data / "red" / "0.png"), "--label", "red"], "takes no map"),
    ):
        ran = console("translate", run.folder, data / "blue", "--out", tmp_path / "out", *arguments)
        assert ran.code == 2
        assert says in ran.err
        assert not (tmp_path / "out").exists()
