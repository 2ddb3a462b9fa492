"""Every loss against its formula, written again in NumPy; the penalty against a critic whose gradient is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pixloom.losses import ADVERSARIAL, PIXEL, gradient_penalty
from pixloom.shapes import Judgement


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


# name -> (critic's terms, generator's term) of float64 arrays of logits: real r, fake f
FORMULAS = {
    "minimax": (lambda r, f: {"real": -np.log(sigmoid(r)), "fake": -np.log(1 - sigmoid(f))}, lambda r, f: np.log(1 - sigmoid(f))),
    "non-saturating": (lambda r, f: {"real": -np.log(sigmoid(r)), "fake": -np.log(1 - sigmoid(f))}, lambda r, f: -np.log(sigmoid(f))),
    "least-squares": (lambda r, f: {"real": (r - 1) ** 2, "fake": f**2}, lambda r, f: (f - 1) ** 2),
    "hinge": (lambda r, f: {"real": np.maximum(0, 1 - r), "fake": np.maximum(0, 1 + f)}, lambda r, f: -f),
    "wasserstein": (lambda r, f: {"real": -r, "fake": f}, lambda r, f: -f),
    "relativistic": (lambda r, f: {"relativistic": -np.log(sigmoid(r - f))}, lambda r, f: -np.log(sigmoid(f - r))),
}


def logits(seed, *, scale=2.0):
    """Two scales, of unequal size: a mean over all patches would weigh them otherwise."""
    rng = np.random.default_rng(seed)
    return [torch.tensor(scale * rng.standard_normal(shape)) for shape in ((3, 1, 4, 5), (3, 1, 2, 2))]


def over_scales(function, *lists):
    return np.mean([function(*(scale.numpy() for scale in scales)).mean() for scales in zip(*lists, strict=True)])


def test_every_loss_is_tested():
    assert FORMULAS.keys() == ADVERSARIAL.keys()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses_are_their_formulas(name):
    loss, (critic, generator) = ADVERSARIAL[name], FORMULAS[name]
    real, fake = logits(0), logits(1)
    terms = loss.critic(real, fake)
    expected = critic(np.zeros(1), np.zeros(1))
    assert terms.keys() == expected.keys()
    for key, term in terms.items():
        assert term.item() == pytest.approx(over_scales(lambda r, f, key=key: critic(r, f)[key], real, fake), rel=1e-9)
    value = loss.generator(real if loss.needs_real else None, fake)
    assert value.item() == pytest.approx(over_scales(generator, real, fake), rel=1e-9)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_sides_pull_where_they_should(name):
    loss = ADVERSARIAL[name]
    real, fake = torch.zeros(4, 1, requires_grad=True), torch.zeros(4, 1, requires_grad=True)
    sum(loss.critic([real], [fake]).values()).backward()
    if name != "least-squares":  # its target for fakes is 0 itself
        assert (fake.grad > 0).all()
    assert (real.grad < 0).all()
    real.grad = fake.grad = None
    loss.generator([real], [fake]).backward()
    assert (fake.grad < 0).all()
    assert real.grad is None  # the real pictures do not depend on the generator


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_stay_finite_for_sure_critics(name):
    loss = ADVERSARIAL[name]
    for sign in (-1, 1):
        real, fake = torch.full((2, 1), sign * 1e4, requires_grad=True), torch.full((2, 1), -sign * 1e4, requires_grad=True)
        total = sum(loss.critic([real], [fake]).values()) + loss.generator([real], [fake])
        total.backward()
        assert total.isfinite()
        assert real.grad.isfinite().all()
        assert fake.grad.isfinite().all()


def test_minimax_saturates_where_non_saturating_does_not():
    gradients = {}
    for name in ("minimax", "non-saturating"):
        fake = torch.tensor([[-8.0]], requires_grad=True)
        ADVERSARIAL[name].generator(None, [fake]).backward()
        gradients[name] = fake.grad.item()
    assert gradients["minimax"] == pytest.approx(-sigmoid(-8.0), rel=1e-4)
    assert gradients["non-saturating"] == pytest.approx(-sigmoid(8.0), rel=1e-4)


def test_minimax_is_a_zero_sum_game_in_the_fakes():
    fake = logits(3)
    critic, generator = ADVERSARIAL["minimax"].critic(fake, fake)["fake"], ADVERSARIAL["minimax"].generator(None, fake)
    assert critic.item() == pytest.approx(-generator.item())


def test_relativistic_pairs_must_match():
    with pytest.raises(ValueError, match="zip"):
        ADVERSARIAL["relativistic"].critic(logits(0), logits(1)[:1])


# --- penalty ----------------------------------------------------------------------------------------------------------------------


class Known(nn.Module):
    """D(x, v) = a mean over pixels of k v^2 / 2 on a map, or k <u, v> at one number: gradients known by hand."""

    def __init__(self, k=3.0, *, quadratic=True):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(k))
        self.quadratic = quadratic
        self.seen = []

    def forward(self, source, candidate, condition=None):
        self.seen.append((source, candidate, condition))
        values = candidate.square() / 2 if self.quadratic else candidate
        return Judgement([self.k * values.mean(1, keepdim=True)], [[]], {})


def pictures(batch=3, channels=2, size=4):
    rng = torch.Generator().manual_seed(5)
    return [torch.randn(batch, c, size, size, generator=rng) for c in (1, channels, channels)]


def test_gradient_penalty_of_a_linear_critic():
    source, real, fake = pictures()
    critic = Known(k=3.0, quadratic=False)
    penalty = gradient_penalty(critic, source, real, fake, rng=None)
    slope = 3.0 * np.sqrt(2 * 16) / (2 * 16)  # every one of 32 values has the derivative k / 32
    assert penalty.item() == pytest.approx((slope - 1) ** 2, rel=1e-5)
    penalty.backward()
    unit = np.sqrt(32) / 32
    assert critic.k.grad.item() == pytest.approx(2 * (3 * unit - 1) * unit, rel=1e-5)


def test_gradient_penalty_is_taken_between_real_and_fake():
    source, real, fake = pictures()
    fake.requires_grad_()
    critic, condition = Known(), {"label": torch.zeros(3)}
    penalty = gradient_penalty(critic, source, real, fake, condition, rng=torch.Generator().manual_seed(7))
    seen_source, between, seen_condition = critic.seen[0]
    assert seen_source is source
    assert seen_condition is condition
    shares = (between - fake) / (real - fake)
    share = shares.flatten(1).median(1).values
    torch.testing.assert_close(shares, share[:, None, None, None].expand_as(shares), rtol=0, atol=1e-3)  # one per picture
    assert ((share > 0) & (share < 1)).all()
    assert len(set(share.tolist())) == 3
    norms = (3.0 * between.detach() / 32).flatten(1).norm(dim=1)
    assert penalty.item() == pytest.approx((norms - 1).square().mean().item(), rel=1e-5)
    penalty.backward()
    assert fake.grad is None
    assert critic.k.grad.abs() > 0


def test_gradient_penalty_draws_from_the_given_generator():
    images = pictures()
    values = [gradient_penalty(Known(), *images, rng=torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_gradient_penalty_averages_the_scales():
    source, real, fake = pictures()
    single = Known(quadratic=False)

    def doubled(source, candidate, condition):
        (logits,), features, _ = single(source, candidate, condition)
        return Judgement([logits, 3 * logits.mean((2, 3))], features * 2, {})

    unit = np.sqrt(32) / 32
    assert gradient_penalty(doubled, source, real, fake, rng=None).item() == pytest.approx((2 * 3 * unit - 1) ** 2, rel=1e-5)


def test_gradient_penalty_is_finite_for_a_flat_critic():
    critic = Known(k=0.0)
    penalty = gradient_penalty(critic, *pictures(), rng=None)
    penalty.backward()
    assert penalty.item() == 1.0
    assert critic.k.grad.isfinite()


# --- pixels -----------------------------------------------------------------------------------------------------------------------

PIXEL_FORMULAS = {
    "l1": lambda d: np.abs(d).mean(),
    "l2": lambda d: (d**2).mean(),
    "charbonnier": lambda d: np.sqrt(d**2 + 1e-6).mean(),
}


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_losses_are_their_formulas(name):
    _, prediction, target = pictures()
    prediction = prediction.double().requires_grad_()
    value = PIXEL[name](prediction, target.double())
    assert value.item() == pytest.approx(PIXEL_FORMULAS[name]((prediction.detach() - target).numpy()), rel=1e-9)
    value.backward()
    assert (prediction.grad.sign() == (prediction.detach() - target).sign()).all()


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_losses_of_equal_pictures(name):
    same = pictures()[1].requires_grad_()
    value = PIXEL[name](same, same.detach())
    value.backward()
    assert value.item() <= 1.1e-3
    assert not same.grad.any()


def test_every_pixel_loss_is_tested():
    assert PIXEL.keys() == PIXEL_FORMULAS.keys()
