"""Every method: gradients of all parameters, one batch learnt by heart, settings that act, golden traces, and the terms of the papers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from make_golden import steps_of
from pixloom.backbones.perception import PERCEPTIONS, Perception
from pixloom.backbones.trunks import vgg16, vgg19
from pixloom.backbones.weights import VGG16
from pixloom.config import LossConfig, override
from pixloom.errors import ConfigError, ModelError
from pixloom.losses.contrastive import patch_nce
from pixloom.losses.features import feature_matching
from pixloom.losses.latent import kl_to_normal, mode_seeking
from pixloom.losses.penalties import SLOPES, lecam, slope, slope_by_difference
from pixloom.losses.segments import segmenting_critic, segmenting_generator
from pixloom.methods import METHODS, method_of
from pixloom.methods.augment import augmented, draw, recoloured
from pixloom.methods.base import Outputs
from pixloom.methods.check import check_config
from pixloom.methods.game import Game
from pixloom.methods.side import Contest, Side
from pixloom.nets.team import Team, acting, returning
from pixloom.recipes import RECIPES
from pixloom.shapes import Judgement
from pixloom.training.ema import Ema
from pixloom.training.examiner import signs_of
from pixloom.training.learner import masked
from pixloom.training.pool import Pool
from playing import CHANNELS, TINY, batch, learner, step, tiny

GOLDEN = Path(__file__).with_name("golden_methods.json")
LEARNT = {
    "auto": "pixel",
    "pix2pix": "pixel",
    "pix2pixhd": "feature",
    "spade": "feature",
    "bicycle": "pixel",
    "cyclegan": "cycle",
    "cut": "nce",
    "fastcut": "nce",
    "sincut": "nce",
    "ugatit": "cycle",
    "stargan": "cycle",
    "starganv2": "cycle",
}
"""The term that must fall when one batch is learnt by heart."""


def test_every_method_has_a_recipe_that_is_tested():
    assert {method_of(tiny(name)) for name in TINY} | {METHODS["regression"]} == set(METHODS.values())
    assert set(TINY) | {"cgan", "regression", "retouch", "twin"} == set(RECIPES)


@pytest.mark.parametrize("name", TINY)
def test_a_gradient_reaches_every_parameter(name):
    playing = learner(tiny(name))
    given = batch(name)
    torch.manual_seed(0)
    method, outputs = playing.method, playing.method.translate(given)
    for network, terms in (
        (playing.critic, method.critic_terms(given, outputs.detached())),
        (playing.generator, method.generator_terms(given, outputs)),
    ):
        assert all(math.isfinite(term.item()) for term in terms.values()), terms
        assert terms.keys() <= method.weights.keys()
        network.zero_grad()
        torch.stack([method.weights[key] * value for key, value in terms.items()]).sum().backward()
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", TINY)
def test_one_batch_is_learnt_by_heart(name):
    fast = {"generator_optimizer__learning_rate": 2e-3, "losses__adversarial_weight": 0.1}
    fast |= {"losses__attention_weight": 1.0} if name == "ugatit" else {}
    playing, given = learner(tiny(name, **fast)), batch(name)
    rows = [step(playing, given, number=number)[LEARNT[name]] for number in range(60)]
    assert np.mean(rows[-5:]) < 0.8 * np.mean(rows[:3]), (rows[:3], rows[-5:])


@pytest.mark.parametrize("name", TINY)
def test_golden_losses_of_twenty_steps(name):
    torch.set_num_threads(1)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for mine, stored in zip(steps_of(name), golden[name], strict=True):
        assert mine.keys() == stored.keys()
        for key, value in stored.items():
            assert mine[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key


WEIGHTS = {
    "auto": {
        "losses.r1_gamma": 5.0,
        "losses.r2_gamma": 5.0,
        "losses.slopes": "exact",
        "losses.slope_share": 1.0,
        "losses.augment": 0.0,
    },
    "pix2pix": {
        "losses.r1_gamma": 5.0,
        "losses.feature_weight": 3.0,
        "losses.instance_noise": 0.3,
        "losses.lecam_weight": 1.0,
        "data.disturb": 1.0,
    },
    "bicycle": {"losses.kl_weight": 3.0, "losses.latent_weight": 3.0},
    "cyclegan": {"losses.cycle_weight": 1.0, "losses.identity_weight": 0.0},
    "cut": {"losses.nce_weight": 5.0, "losses.nce_identity": False},
    "ugatit": {"losses.attention_weight": 1.0},
    "starganv2": {"losses.style_weight": 5.0, "losses.diversity_weight": 5.0, "losses.r1_gamma": 0.0},
}


def gradients(config, name):
    playing, given = learner(config), batch(name)
    playing.optimizers = {role: torch.optim.SGD(optimizer.param_groups, lr=0.0) for role, optimizer in playing.optimizers.items()}
    step(playing, given, number=1)
    return torch.cat(
        [p.grad.flatten() for network in (playing.generator, playing.critic) for p in network.parameters() if p.grad is not None]
    )


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name, settings in WEIGHTS.items() for setting in settings])
def test_every_setting_changes_a_gradient(name, setting):
    norm = {"critic__options__norm": "instance"} if name == "pix2pix" and setting == "losses.r1_gamma" else {}
    plain = gradients(tiny(name, **norm), name)
    changed = gradients(tiny(name, **norm, **{setting.replace(".", "__"): WEIGHTS[name][setting]}), name)
    assert plain.shape != changed.shape or (plain - changed).abs().max() > 1e-6 * plain.abs().max()


def test_mode_seeking_pulls_answers_apart():
    given = batch("pix2pix")
    noisy = {"generator__options__noise_channels": 4, "generator__options__injection": "film"}
    playing = learner(tiny("pix2pix", losses__mode_seeking_weight=1.0, **noisy))
    torch.manual_seed(0)
    outputs = playing.method.translate(given)
    terms = playing.method.generator_terms(given, outputs)
    first, second = outputs.more["first"], outputs.more["second"]
    ratio = (first - second).abs().mean() / (outputs.more["z"] - outputs.more["other_z"]).abs().mean()
    assert terms["mode_seeking"].item() == pytest.approx(1 / (ratio.item() + 1e-5), rel=1e-4)


# --- the terms of the papers -----------------------------------------------------------------------------------------------------------


def test_cyclegan_in_both_directions():
    playing, given = learner(tiny("cyclegan")), batch("cyclegan")
    there, back = playing.generator["there"], playing.generator["back"]
    playing.generator.eval()
    outputs = playing.method.translate(given)
    terms = playing.method.generator_terms(given, outputs)
    x, y = given.source, given.target
    assert terms["cycle"].item() == pytest.approx((F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)).item(), rel=1e-4)
    assert terms["identity"].item() == pytest.approx((F.l1_loss(there(y), y) + F.l1_loss(back(x), x)).item(), rel=1e-4)
    critic = playing.critic
    for member, fake in (("there", there(x)), ("back", back(y))):
        logits = critic[member](x, fake).logits[0]
        key = "adversarial" if member == "there" else "adversarial_back"
        assert terms[key].item() == pytest.approx((logits - 1).square().mean().item(), rel=1e-4)
    assert returning(playing.generator) is back
    assert acting(playing.generator) is there


def test_patch_nce_is_the_cross_entropy_of_the_own_place():
    rng = np.random.default_rng(0)
    query, key = (rng.normal(size=(2, 5, 3)).astype(np.float32) for _ in range(2))
    query, key = (values / np.linalg.norm(values, axis=2, keepdims=True) for values in (query, key))
    losses = []
    for picture in range(2):
        scores = query[picture] @ key[picture].T / 0.07
        losses += [-scores[s, s] + np.log(np.exp(scores[s] - scores[s].max()).sum()) + scores[s].max() for s in range(5)]
    assert patch_nce(torch.from_numpy(query), torch.from_numpy(key)).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_fastcut_mirrors_half_of_its_batches():
    playing, given = learner(tiny("fastcut")), batch("fastcut")
    playing.generator.eval()
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        outputs = playing.method.translate(given)
        mirrored = "mirrored" in outputs.more
        seen.add(mirrored)
        source = given.source.flip(3) if mirrored else given.source
        assert torch.allclose(outputs.fake, playing.generator["there"](source), atol=1e-5)
    assert seen == {True, False}


def test_the_heads_of_cut_are_no_part_of_the_model():
    playing = learner(tiny("cut"))
    assert set(playing.generator) == {"there", "heads"}
    assert playing.best_generator is playing.generator["there"]
    assert playing.best_return is None


def test_bicycle_reads_the_code_of_the_target_and_learns_nothing_from_the_latent_term():
    playing, given = learner(tiny("bicycle")), batch("bicycle")
    torch.manual_seed(0)
    outputs = playing.method.translate(given)
    terms = playing.method.generator_terms(given, outputs)
    mean, log_variance = playing.generator.steering.style.distribution(given.condition["style"])
    assert torch.allclose(outputs.more["mean"], mean)
    assert terms["kl"].item() == pytest.approx(kl_to_normal(mean, log_variance).item(), rel=1e-5)
    terms["latent"].backward()
    assert all(p.grad is None or not p.grad.any() for p in playing.generator.steering.style.parameters())
    assert any(p.grad is not None and p.grad.any() for key, p in playing.generator.named_parameters() if "style" not in key)


def test_kl_and_mode_seeking_are_their_formulas():
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2, -0.3]])
    expected = np.mean([0.5 * (m * m + math.exp(v) - v - 1) for m, v in ((0.5, 0.2), (-1.0, -0.3))])
    assert kl_to_normal(mean, log_variance).item() == pytest.approx(expected, rel=1e-5)
    pictures = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    assert mode_seeking(*pictures, codes=(torch.zeros(1, 2), torch.ones(1, 2))).item() == pytest.approx(1 / 0.50001, rel=1e-4)


def test_a_perceptual_term_sees_with_a_frozen_network(tmp_path, monkeypatch):
    torch.manual_seed(0)
    save_file(vgg16().state_dict(), tmp_path / VGG16)
    monkeypatch.setenv("PIXLOOM_WEIGHTS", str(tmp_path))
    settings = {"losses__perceptual_weight": 2.0, "losses__perceptual": "vgg16"}
    playing, given = learner(tiny("pix2pix", **settings)), batch("pix2pix")
    torch.manual_seed(0)
    outputs = playing.method.translate(given)
    terms = playing.method.generator_terms(given, outputs)
    seen = Perception("vgg16", folder=tmp_path)
    expected = np.mean([(ours - theirs).abs().mean().item() for ours, theirs in zip(seen(outputs.fake), seen(given.target), strict=True)])
    assert terms["perceptual"].item() == pytest.approx(expected, rel=1e-4)
    terms["perceptual"].backward()
    assert all(parameter.grad is None for parameter in playing.method.extract.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in playing.generator.parameters())
    plain = learner(tiny("pix2pix", losses__perceptual_normalised=False, **settings)).method.extract(given.target)
    assert not torch.allclose(plain[0], seen(given.target)[0])


@pytest.mark.parametrize("name", PERCEPTIONS)
def test_every_network_can_be_seen_with_by_its_name_or_its_path(name, tmp_path):
    file, construct = PERCEPTIONS[name]
    torch.manual_seed(0)
    save_file(construct().state_dict(), tmp_path / file)
    elsewhere = tmp_path / "mine.safetensors"
    elsewhere.write_bytes((tmp_path / file).read_bytes())
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    by_name, by_path = (Perception(chosen, folder=tmp_path) for chosen in (name, str(elsewhere)))
    assert [maps.shape[1] for maps in by_name(pictures)] == list(by_name.trunk.widths)
    for mine, other in zip(by_name(pictures), by_path(pictures), strict=True):
        assert torch.equal(mine, other)
    as_it_is = Perception(name, normalised=False, folder=tmp_path)(pictures)
    assert torch.equal(by_name(pictures)[0], as_it_is[0]) == (name == "inception")
    moving = pictures.clone().requires_grad_()
    by_name(moving)[-1].square().sum().backward()
    assert moving.grad.abs().max() > 0
    small = by_name.smallest - 1
    with pytest.raises(ConfigError, match="cannot look at pictures of less than"):
        by_name(pictures[..., :small, :small])


def test_a_file_of_other_weights_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"(?s)no known network has these weights.*vgg19"):
        Perception(str(tmp_path / "x.safetensors"))
    with pytest.raises(ConfigError, match=r"(?s)no network 'nothing.pth'.*path of its weights"):
        Perception("nothing.pth")
    torch.save(vgg19().state_dict(), tmp_path / "vgg19-mine.pth")
    assert Perception(str(tmp_path / "vgg19-mine.pth")).trunk.taps == (1, 6, 11, 20, 29)  # the first ReLU of each size


def test_feature_matching_is_a_mean_over_layers_and_scales():
    real = [[torch.zeros(1, 2, 2, 2), torch.ones(1, 1, 1, 1)], [torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)]]
    fake = [[torch.ones(1, 2, 2, 2), torch.ones(1, 1, 1, 1)], [torch.full((1, 1, 1, 1), 3.0), torch.zeros(1, 1, 1, 1)]]
    assert feature_matching(real, fake).item() == pytest.approx((1 + 0 + 3 + 0) / 4)


def test_r1_is_half_the_squared_slope():
    weight = torch.tensor([2.0, -1.0, 0.5]).view(1, 3, 1, 1)

    def critic(source, candidate, condition):
        return Judgement([(candidate * weight).sum((1, 2, 3), keepdim=True)], [], {})

    value = slope(critic, torch.zeros(2, 1, 4, 4), torch.rand(2, 3, 4, 4)).item()
    assert value == pytest.approx(0.5 * 16 * (4 + 1 + 0.25), rel=1e-5)


def test_a_segmenting_critic_balances_classes_and_knows_made_pixels():
    labels = torch.full((1, 2, 2, 2), -1.0)
    labels[0, 0, 0, :], labels[0, 0, 1, 0], labels[0, 1, 1, 1] = 1.0, 1.0, 1.0  # three pixels of the first class, one of the second
    logits = torch.zeros(1, 3, 2, 2)
    terms = segmenting_critic(logits, logits, labels=labels)
    assert terms["fake"].item() == pytest.approx(math.log(3), rel=1e-5)
    assert terms["real"].item() == pytest.approx(math.log(3), rel=1e-5)  # weights 4/6 for three pixels, 2 for one: their mean is 1
    sure = logits.clone()
    sure[0, 1, 1, 1] = 5.0
    assert segmenting_generator(sure, labels=labels).item() < segmenting_generator(logits, labels=labels).item()


def test_the_game_of_a_segmenting_critic_is_played():
    settings = {"losses__feature_weight": 0.0, "losses__critic_weight": 1.0, "losses__adversarial": "non-saturating"}
    config = tiny("spade", critic__name="segmenting", **settings)
    config = config.model_copy(update={"critic": config.critic.model_copy(update={"options": {"width": 4, "layers": 2}})})
    given = batch("spade")
    one_hot = F.one_hot(given.source.argmax(1), CHANNELS).permute(0, 3, 1, 2) * 2.0 - 1
    playing = learner(config)
    rows = [step(playing, replace(given, source=one_hot), number=number) for number in range(30)]
    assert rows[-1]["real"] < rows[0]["real"]


def test_starganv2_has_fading_diversity_and_a_slow_mapping():
    playing = learner(tiny("starganv2"))
    assert playing.weights["diversity"] == -1.0
    playing.passed = 0.75
    assert playing.weights["diversity"] == -0.25
    rates = playing.set_learning_rates(1.0)
    by_share = {group["share"]: group for group in playing.optimizers["generator"].param_groups}
    assert set(by_share) == {1.0, 0.01}
    assert by_share[0.01]["lr"] == pytest.approx(0.01 * rates["generator"])
    assert {id(p) for p in by_share[0.01]["params"]} == {id(p) for p in playing.generator.mapping.parameters()}


def test_ugatit_learns_which_collection_a_picture_is_of():
    playing, given = learner(tiny("ugatit")), batch("ugatit")
    first = step(playing, given, number=0)
    assert first["attention"] > 0
    assert "adversarial_back" in first


# --- the pool --------------------------------------------------------------------------------------------------------------------------


def test_a_pool_shows_earlier_pictures_and_never_keeps_what_is_not_finite():
    torch.manual_seed(0)
    pool = Pool(4)
    shown = [float(pool.exchanged(torch.full((1, 1, 2, 2), float(number))).mean()) for number in range(40)]
    assert shown[:4] == [0.0, 1.0, 2.0, 3.0]
    old = sum(value != number for number, value in enumerate(shown))
    assert 8 <= old <= 28  # about half of 36
    assert len(set(shown)) == 40 - sum(value < 4 for value in shown[4:])  # what is shown again leaves the pool
    pool.exchanged(torch.full((8, 1, 2, 2), math.nan))
    assert torch.isfinite(pool.pictures).all()
    again = Pool(4)
    again.restore(pool.state())
    torch.manual_seed(1)
    one = pool.exchanged(torch.ones(6, 1, 2, 2))
    torch.manual_seed(1)
    assert torch.equal(one, again.exchanged(torch.ones(6, 1, 2, 2)))


def test_the_critic_is_shown_pictures_of_earlier_steps():
    playing = learner(tiny("cyclegan", training__pool_images=2))
    given = batch("cyclegan")
    for number in range(3):
        step(playing, given, number=number)
    assert set(playing.pools) == {"fake", "back"}
    assert all(pool.count == 2 for pool in playing.pools.values())
    assert {"pool_fake", "pool_back"} <= playing.states().keys()


# --- refusals --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("pix2pix", {"losses.cycle_weight": 3.0}, "losses.cycle_weight"),
        ("pix2pix", {"losses.nce_weight": 3.0}, "no such term"),
        ("pix2pix", {"training.pool_images": 50}, "pool_images"),
        ("pix2pix", {"losses.mode_seeking_weight": 1.0}, "there is no noise"),
        ("pix2pix", {"losses.kl_weight": 1.0}, "there is no code"),
        ("cyclegan", {"losses.pixel_weight": 3.0}, "losses.pixel_weight"),
        ("cyclegan", {"losses.attention_weight": 3.0}, "no class activation"),
        ("cyclegan", {"conditions.label": {"names": ["a", "b"]}}, "which of two collections"),
        ("cut", {"generator.name": "unet", "generator.options.depth": 4}, "can be looked at"),
        ("starganv2", {"generator.name": "shuffle", "conditions.label": {"names": ["a", "b"]}}, "maps noise"),
        ("pix2pix", {"losses.r1_gamma": 1.0}, "batch norm"),
        ("pix2pix", {"losses.perceptual": "vgg61"}, "vgg1"),
        ("pix2pix", {"losses.perceptual": "vgg16"}, "perceptual_weight is 0"),
    ],
)
def test_combinations_without_meaning_are_refused(name, settings, word):
    with pytest.raises(ConfigError) as caught:
        check_config(override(tiny(name), settings), channels=(CHANNELS, CHANNELS))
    assert word in str(caught.value)


def test_channels_that_a_method_cannot_use_are_refused():
    for name, word in (("cut", "same channels"), ("cyclegan", "identity_weight")):
        with pytest.raises(ConfigError, match=word):
            check_config(tiny(name), channels=(1, 3))
    check_config(tiny("cyclegan", losses__identity_weight=0.0), channels=(1, 3))


def test_a_bicycle_needs_a_code():
    with pytest.raises(ConfigError, match="reads a code"):
        learner(tiny("bicycle", generator__options__noise_channels=0, generator__options__injection="film"))


def test_a_team_acts_by_name():
    team = Team({"there": torch.nn.Identity(), "other": torch.nn.ReLU()})
    assert torch.equal(team("other", torch.tensor([-1.0, 1.0])), torch.tensor([0.0, 1.0]))
    assert team("there", 5) == 5


# --- the toolbox --------------------------------------------------------------------------------------------------------------------


def quadratic(source, candidate, condition):
    """D = sum of squares, so that its slope is 2 v."""
    return Judgement([candidate.square().sum((1, 2, 3), keepdim=True)], [], {})


def test_the_slope_by_a_difference_is_the_slope_on_average():
    pictures, source = torch.rand(2, 3, 4, 4) * 2 - 1, torch.zeros(2, 1, 4, 4)
    exact = slope(quadratic, source, pictures).item()
    assert exact == pytest.approx((2 * pictures).square().sum((1, 2, 3)).mean().item() / 2, rel=1e-5)
    torch.manual_seed(0)
    drawn = [slope_by_difference(quadratic, source, pictures, step=1e-3).item() for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("way", SLOPES)
def test_slopes_have_a_gradient_in_the_critic_and_none_in_the_pictures(way):
    weight, pictures = torch.ones(3, requires_grad=True), torch.rand(2, 3, 4, 4, requires_grad=True)

    def critic(source, candidate, condition):
        return Judgement([(candidate * weight.view(1, 3, 1, 1)).sum((1, 2, 3), keepdim=True)], [], {})

    SLOPES[way](critic, torch.zeros(2, 1, 4, 4), pictures).backward()
    assert weight.grad.abs().max() > 0
    assert pictures.grad is None


def test_a_share_of_the_batch_is_at_least_one_picture():
    side = Side(torch.zeros(8, 1, 2, 2), torch.zeros(8, 3, 2, 2), {"label": torch.zeros(8, 2)})
    assert [len(side.first(share).candidate) for share in (0.01, 0.25, 1.0)] == [1, 2, 8]
    assert len(side.first(0.25).condition["label"]) == 2


def test_pairs_are_augmented_together():
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(6, 3, 16, 16, generator=rng)
    side = Side(picture, picture, {"map": picture[:, :1], "label": torch.eye(6)})
    torch.manual_seed(0)
    change = draw(picture, share=1.0)
    seen = augmented(side, change)
    assert len({tuple(row) for row in change.shifts}) > 1
    assert torch.equal(seen.condition["map"], seen.source[:, :1])  # what has places moves with the source
    assert torch.equal(seen.condition["label"], side.condition["label"])
    assert torch.equal(recoloured(seen.source, change), seen.candidate)  # the same shift, and other colours
    assert not torch.equal(seen.source, side.source)
    assert all(abs(step) <= 2 for row in change.shifts for step in row)
    unchanged = augmented(side, draw(picture, share=0.0))
    assert torch.equal(unchanged.source, picture)
    assert torch.allclose(unchanged.candidate, picture, atol=1e-6)


def test_gradients_flow_through_the_augmentation():
    picture = torch.rand(4, 3, 16, 16, requires_grad=True)
    augmented(Side(picture.detach(), picture, {}), draw(picture.detach(), share=1.0)).candidate.square().sum().backward()
    assert (picture.grad != 0).float().mean() > 0.8


def test_real_and_made_pictures_are_changed_alike():
    """A relativistic critic of equal pictures sees no difference, whatever is drawn."""
    config = tiny("auto", losses__augment=1.0)
    playing, given = learner(config), batch("auto")
    terms = playing.method.critic_terms(given, Outputs(given.target))
    assert terms["relativistic"].item() == pytest.approx(math.log(2), rel=1e-4)


@pytest.mark.parametrize(("share", "seen", "halflife"), [(None, 10, 100.0), (0.05, 40, 2.0), (0.05, 10**6, 100.0)])
def test_the_half_life_grows_with_what_was_seen(share, seen, halflife):
    network = torch.nn.Linear(1, 1)
    average = Ema(network, halflife_images=100.0, share=share)
    before = network.weight.clone()
    with torch.no_grad():
        network.weight += 1
    average.update(network, num_images=2, seen=seen, sound=torch.tensor(True))
    moved = (average.network.weight - before).item()
    assert moved == pytest.approx(1 - 0.5 ** (2 / halflife), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"losses.slopes": "difference"}, "slopes"),
        ({"losses.slope_share": 0.5}, "slope_share"),
        ({"losses.slope_share": 0.9, "losses.r1_gamma": 1.0, "critic.options.norm": "none"}, "slope_share.*the whole"),
        ({"training.decay": "cosine", "training.decay_start": 1.0}, "decay=cosine"),
        ({"training.ema_share": 0.05}, "ema_share"),
        ({"losses.r2_gamma": 1.0}, "batch norm"),
        ({"losses.lecam_weight": 1.0, "losses.adversarial": "relativistic"}, "lecam_weight.*by themselves"),
    ],
)
def test_tools_that_would_do_nothing_are_refused(settings, word):
    with pytest.raises(ConfigError, match=f"(?s){word}"):
        check_config(tiny("pix2pix", **{key.replace(".", "__"): value for key, value in settings.items()}), channels=(3, 3))


def test_lecam_holds_logits_to_the_average_of_the_other_kind():
    real, fake, anchors = [torch.tensor([[3.0, -1.0]])], [torch.tensor([[-2.0, 4.0]])], torch.tensor([1.0, 0.5])
    assert lecam(real, fake, anchors=anchors) == pytest.approx((2.5**2 + 0) / 2 + (3.0**2 + 0) / 2)


def test_the_averages_of_lecam_are_part_of_the_critic():
    playing, given = learner(tiny("cyclegan", losses__lecam_weight=0.5)), batch("cyclegan")
    step(playing, given, number=0)
    averages = {name: value for name, value in playing.states()["critic"].items() if "anchors" in name}
    assert len(averages) == 2
    assert all(value.shape == (2,) and (value != 0).all() for value in averages.values())
    former = {name: value.clone() for name, value in averages.items()}
    signs_of(playing, given, None, pictures=True)
    assert all(torch.equal(value, former[name]) for name, value in playing.states()["critic"].items() if name in former)


def test_instance_noise_fades():
    game = Game(LossConfig(instance_noise=0.5), {})
    picture = Side(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64), {})
    for passed, deviation in ((0.0, 0.5), (0.5, 0.25), (1.0, 0.0)):
        game.passed = passed
        for side in game._shown(Contest(picture, picture)):
            assert float(side.candidate.std()) == pytest.approx(deviation, abs=0.02)
            assert not side.source.any()
    real, fake = game._shown(Contest(picture, picture))
    game.passed = 0.0
    real, fake = game._shown(Contest(picture, picture))
    assert not torch.equal(real.candidate, fake.candidate)


def test_a_learner_says_how_much_of_the_run_has_passed():
    playing = learner(tiny("auto"))
    playing.passed = 0.25
    step(playing, batch("auto"), number=0)
    assert playing.method.game.passed == 0.25


def test_half_of_the_squares_are_hidden():
    hidden = masked(torch.ones(64, 2, 32, 48))
    assert hidden.mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert set(hidden.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).unique().tolist()) == {0.0, 1.0}
    assert masked(torch.ones(1, 1, 17, 23)).shape == (1, 1, 17, 23)


def test_in_pretraining_the_generator_learns_alone():
    playing, given = learner(tiny("auto", training__pretrain_share=0.5, generator_optimizer__learning_rate=3e-3)), batch("auto")
    critic = {name: value.clone() for name, value in playing.critic.state_dict().items()}
    rows = [step(playing, given, number=number) for number in range(30)]
    assert rows[0].keys() == {"pixel"}
    assert np.mean([row["pixel"] for row in rows[-5:]]) < 0.8 * rows[0]["pixel"]
    assert all(torch.equal(value, critic[name]) for name, value in playing.critic.state_dict().items())
    assert "pace_critic" not in signs_of(playing, given, None, pictures=True)
    playing.passed = 0.5
    assert "relativistic" in step(playing, given, number=30)


@pytest.mark.parametrize(("name", "settings"), [("cyclegan", {}), ("pix2pix", {"losses__pixel_weight": 0.0})])
def test_pretraining_that_cannot_be_is_refused(name, settings):
    with pytest.raises(ConfigError, match="pretrain_share would have no effect"):
        check_config(tiny(name, training__pretrain_share=0.2, **settings), channels=(3, 3))
