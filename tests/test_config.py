"""Settings: typed, complete, and an unknown one, or one without effect, is an error that names the right one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixloom.config import (
    DataConfig,
    RunConfig,
    TrainingConfig,
    dump_config,
    known_keys,
    load_config,
    override,
    parse_settings,
    validate,
)
from pixloom.errors import ConfigError
from pixloom.methods import method_of
from pixloom.methods.check import check_config
from pixloom.recipes import RECIPES, recipe, unet_depth
from pixloom.yamltext import read_yaml

SIZES = (16, 32, 64, 96, 128, 256, 512)


@pytest.fixture
def config() -> RunConfig:
    return recipe("pix2pix", size=64)


# --- Files ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_config_written_and_read_is_itself(name, tmp_path):
    config = override(recipe(name, size=64), {"data.path": "mes façades: 1 # no comment", "generator_optimizer.learning_rate": 1e-7})
    (tmp_path / "c.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize("path", ["1e100", "1e5", "010", "no", "~", "1_000", "0x10", "12:30", "2026-11-22", ".5", "True", "null"])
def test_a_path_that_looks_like_something_else_stays_a_text(config, path):
    assert validate(read_yaml(dump_config(override(config, {"data.path": path})))).data.path == path


@given(
    st.floats(1e-12, 1e3), st.integers(0, 2**31 - 1), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), st.booleans()
)
def test_any_values_survive_yaml(rate, seed, path, flip):
    changes = {"generator_optimizer.learning_rate": rate, "training.seed": seed, "data.path": path, "data.flip": flip}
    config = override(recipe("cgan", size=64), changes)
    assert validate(read_yaml(dump_config(config))) == config


@pytest.mark.parametrize("content", ["", "- a\n", "text", "a: [\n", "\t", "recipe: x\n", "recipe: x\ngenerator: unet\n"])
def test_a_file_that_is_no_config_is_refused_with_its_name(content, tmp_path):
    (tmp_path / "c.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.yaml") as caught:
        load_config(tmp_path / "c.yaml")
    assert caught.value.fix


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("binary.yaml", "missing.yaml"):
        with pytest.raises(ConfigError, match=name):
            load_config(tmp_path / name)


# --- Single settings -----------------------------------------------------------------------------------------------------------------


def test_a_setting_is_replaced_and_nothing_else(config):
    changed = override(config, {"training.batch_size": 4, "generator.options.width": 8})
    assert changed.training == TrainingConfig(batch_size=4)
    assert changed.generator.options == config.generator.options | {"width": 8}
    assert override(changed, {"training.batch_size": 1, "generator.options": config.generator.options}) == config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1e-4", 1e-4),
        ("a=2E+3", 2000.0),
        ("a=.5", 0.5),
        ("a=-3", -3),
        ("a=no", "no"),
        ("a=on", "on"),
        ("a=true", True),
        ("a=null", None),
        ("a=~", None),
        ("a=", None),
        ("a=010", "010"),
        ("a=1:30", "1:30"),
        ("a=2024-01-01", "2024-01-01"),
        ("a='7'", "7"),
        ("a=[1, 2.5]", [1, 2.5]),
        ("a=b=c", "b=c"),
        (" a = x ", "x"),
    ],
)
def test_values_are_read_as_yaml_1_2(text, value):
    parsed = parse_settings([text])
    assert parsed == {"a": value}
    assert type(parsed["a"]) is type(value)


@pytest.mark.parametrize("text", ["training.seed", "=4", " =4", "a=[1", "a={", "a=!!python/object/apply:os.system [ls]"])
def test_a_text_that_is_no_setting_is_refused(text):
    with pytest.raises(ConfigError, match="cannot read"):
        parse_settings([text])


def test_a_setting_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        parse_settings(["a=1", "b=2", "a=1"])


@pytest.mark.parametrize("text", ["generator_optimizer.learning_rate=1e-4", "compute.precision=no", "training.minutes=3", "critic=null"])
def test_values_that_must_work(config, text):
    override(config, parse_settings([text]))


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("training.bach_size", "training.batch_size"),
        ("training.batchsize", "training.batch_size"),
        ("trainin.seed", "training.seed"),
        ("losses.pixel_wieght", "losses.pixel_weight"),
        ("critic.nam", "critic.name"),
        ("data.source_foldr", "data.source_folder"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_one(config, key, wanted):
    with pytest.raises(ConfigError, match=f"no setting '{key}'") as caught:
        override(config, {key: 1})
    assert f"'{wanted}'" in str(caught.value.fix)


@pytest.mark.parametrize("key", ["training", "seed", "training.seed.more", "recipe.name", ""])
def test_what_is_no_single_setting_is_refused(config, key):
    with pytest.raises(ConfigError) as caught:
        override(config, {key: 1})
    assert caught.value.fix


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.batch_size", 0),
        ("training.batch_size", "four"),
        ("training.batch_size", 2.5),
        ("training.batch_size", True),
        ("training.batch_size", "4"),
        ("training.minutes", -1),
        ("training.minutes", float("inf")),
        ("training.minutes", 1e300),
        ("critic_optimizer.learning_rate", float("inf")),
        ("losses.pixel_weight", float("nan")),
        ("training.images", 0),
        ("training.seed", -1),
        ("training.seed", 2**31),
        ("training.decay_start", 1.5),
        ("compute.device", "gpu"),
        ("compute.precision", "fp8"),
        ("data.size", 4),
        ("data.jitter", 0.5),
        ("data.flip", "maybe"),
        ("data.flip", 1),
        ("data.holdout", 1.0),
        ("task.direction", "left"),
        ("losses.critic_weight", 0.0),
        ("losses.pixel_weight", -1.0),
        ("generator_optimizer.beta1", 1.0),
        ("generator_optimizer.learning_rate", "fast"),
        ("inference.statistics", "batch"),
        ("generator", "unet"),
        ("generator", None),
        ("generator.options", 5),
        ("generator.name", 5),
        ("critic", "patch"),
    ],
)
def test_a_value_out_of_range_or_of_the_wrong_type_is_refused(config, key, value):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")) as caught:
        override(config, {key: value})
    assert caught.value.fix
    assert caught.value.why


def test_every_setting_says_what_it_is():
    def fields(model):
        for name, field in model.model_fields.items():
            inner = [kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(kind, "model_fields")]
            yield from fields(inner[0]) if inner else [(name, field.description)]

    assert [name for name, description in fields(RunConfig) if not description] == []
    assert "training.batch_size" in known_keys()


def test_a_config_cannot_be_changed(config):
    with pytest.raises(Exception, match="frozen"):
        config.data.size = 3


def test_another_network_starts_without_the_options_of_the_former(config):
    changed = override(config, {"generator.options.blocks": 2, "generator.name": "resnet"})
    assert changed.generator.options == {"blocks": 2}
    assert override(config, {"generator.name": "unet"}) == config
    assert override(recipe("regression", size=64), {"critic.name": "patch"}).critic.name == "patch"


# --- Recipes -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete_and_without_a_useless_setting(name, size):
    config = recipe(name, size=size)
    assert (config.recipe, config.data.size) == (name, size)
    if method_of(config).learns_from == "domains":  # domains follow from the data
        config = override(
            config, {"conditions.label": {}, "generator.options.conditions": {"label": 3}, "critic.options.conditions": {"label": 3}}
        )
    if config.method == "bicycle":
        config = override(config, {"generator.options.conditions": {"style": 8}})
    check_config(config, channels=(3, 3))


def test_pix2pix_keeps_its_published_noise_where_the_network_has_room_for_it():
    for size in (64, 128, 256, 512):
        config = recipe("pix2pix", size=size)
        assert config.inference.dropout
        assert config.generator.options == {"depth": unet_depth(size), "dropout": 0.5}
    assert not recipe("pix2pix", size=32).inference.dropout


@pytest.mark.parametrize(("size", "offers"), [(0, "--size 32"), (8, "--size 32"), (100, "--size 96 or --size 112"), (-16, "--size")])
def test_a_size_that_no_network_takes_is_refused_with_the_next_ones(size, offers):
    with pytest.raises(ConfigError, match=str(size)) as caught:
        recipe("cgan", size=size)
    assert offers in str(caught.value.fix)


def test_an_unknown_recipe_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match="Did you mean 'pix2pix'"):
        recipe("pixtopix", size=64)


# --- Settings that fit each other ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("regression", {"training.num_critic": 2}, "training.num_critic=2"),
        ("regression", {"losses.adversarial": "hinge"}, "losses.adversarial=hinge"),
        ("regression", {"losses.adversarial_weight": 2.0}, "losses.adversarial_weight"),
        ("regression", {"losses.critic_weight": 1.0}, "losses.critic_weight"),
        ("regression", {"losses.gradient_penalty_weight": 10.0}, "losses.gradient_penalty_weight"),
        ("regression", {"critic_optimizer.learning_rate": 1e-3}, "critic_optimizer.learning_rate"),
        ("regression", {"critic.name": "patch"}, "patch"),
        ("regression", {"losses.pixel_weight": 0.0}, "losses.pixel=l1"),
        ("regression", {"inference.dropout": True, "generator.options.dropout": 0.0}, "inference.dropout=true"),
        ("pix2pix", {"critic": None}, "needs a critic"),
        ("pix2pix", {"method": "regresion"}, "Did you mean 'regression'"),
        ("pix2pix", {"losses.adversarial_weight": 0.0}, "the critic would have no effect"),
        ("pix2pix", {"losses.pixel_weight": 0.0, "losses.pixel": "l2"}, "losses.pixel=l2"),
        ("pix2pix", {"losses.pixel": "l3"}, "losses.pixel cannot be 'l3'"),
        ("pix2pix", {"losses.adversarial": "hing"}, "Did you mean 'hinge'"),
        ("pix2pix", {"generator.options.depth": 4}, "inference.dropout=true"),
        ("pix2pix", {"generator.options.depth": 4, "inference.dropout": False}, "generator.options.dropout=0.5"),
        ("pix2pix", {"generator.options.norm": "instance"}, "inference.statistics=image"),
        ("pix2pix", {"generator.name": "resnet", "inference.dropout": False}, "inference.statistics=image"),
        ("pix2pix", {"generator.name": "unnet"}, "Did you mean 'unet'"),
        ("pix2pix", {"generator.name": "patch"}, "no generator 'patch'"),
        ("pix2pix", {"critic.name": "unet"}, "no critic 'unet'"),
        ("pix2pix", {"generator.options.widht": 4}, "Did you mean 'width'"),
        ("pix2pix", {"critic.options.layers": 0}, "layers"),
        ("pix2pix", {"generator.options.source_channels": 7}, "source_channels"),
        ("cgan", {"inference.dropout": True}, "inference.dropout=true"),
        ("cgan", {"generator.options.norm": "group", "inference.statistics": "image"}, "inference.statistics=image"),
    ],
)
def test_a_setting_without_effect_or_without_sense_is_refused(name, changes, named):
    with pytest.raises(ConfigError, match=named) as caught:
        check_config(override(recipe(name, size=64), changes), channels=(3, 3))
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("pix2pix", {"losses.pixel_weight": 0.0}),
        ("pix2pix", {"losses.gradient_penalty_weight": 10.0, "critic.options.norm": "instance"}),
        ("pix2pix", {"generator.name": "resnet", "inference.dropout": False, "inference.statistics": "running"}),
        ("pix2pix", {"generator.name": "resnet", "generator.options.dropout": 0.5, "generator.options.norm": "batch"}),
        ("regression", {"generator.options.dropout": 0.0}),
        ("regression", {"method": "conditional", "critic.name": "patch"}),
        ("cgan", {"training.num_critic": 5, "losses.adversarial": "wasserstein", "critic.options.norm": "none"}),
    ],
)
def test_settings_that_fit_each_other_are_accepted(name, changes):
    check_config(override(recipe(name, size=64), changes), channels=(1, 3))


def test_settings_need_no_torch():
    code = "import sys, pixloom.config, pixloom.recipes, pixloom.errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_data_settings_have_sensible_defaults():
    assert DataConfig().layout == "auto"
