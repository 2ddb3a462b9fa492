"""The vital signs of a game: what generator and critic do with a few pictures that are always the same.

========================  =============================================================================================================
sign                      what it is
========================  =============================================================================================================
``ahead``                 share of places at which the critic ranks a real picture above the one made for the same source; 0.5: by chance
``ahead_held_out``        the same on pictures that are not learnt from
``slope``                 E |grad D(x, y_hat)|, the critic's slope at made pictures; D is the mean over patches. What the critic does is
                          no sign before its first update, as while the generator is pretrained
``push``                  the adversarial gradient on made pictures, as the weight of the L1 term that would be as strong
``spread``                deviation of outputs over sources, as a share of the targets'
``source_spread``         deviation of the sources, in [-1, 1]
``answers``               mean |G(x, z) - G(x, z')|, as a share of the targets' deviation
``ends``                  share of output values at the ends of the range where the targets' are not near them
``fine``                  log10 of the power in the finest octave, outputs over targets: negative, blurred; positive, noisy
``grid``                  decibels by which the power at periods of 2, 4 and 8 pixels stands out, outputs over targets: checkerboards
``error``                 mean |y - y_hat| of pictures that are learnt from, and with ``_held_out`` of others
``pace_generator``        size of an update over that of the weights, root mean squares; and ``pace_critic``
========================  =============================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pixloom.data.batch import Batch
from pixloom.losses.penalties import score
from pixloom.methods import Method
from pixloom.methods.base import Outputs, target_of
from pixloom.methods.game import judge
from pixloom.methods.side import Contest
from pixloom.nets.layers import bare
from pixloom.shapes import Judgement

PERIODS = (2, 4, 8)
END = 0.99
"""Values beyond it, and below its negative, are at the ends."""

NEAR = 0.2
"""How far from an end a target may be for an output to belong there: the black around nuclei is not quite black."""

LEAST_SPREAD = 0.01
"""Targets that differ less are all alike."""

TINY = 1e-8


def examine(method: Method, batch: Batch, held_out: Batch | None, *, pictures: bool, learnt: bool = True) -> dict[str, float]:
    """All signs that can be had.

    Args:
        method: over networks whose buffers may change; whoever calls restores them.
        batch: pictures that are learnt from.
        held_out: pictures that are not.
        pictures: whether outputs are pictures, and not classes.
        learnt: whether the critic has learnt anything.
    """
    found = _of_game(method, batch, held_out) if learnt else None
    if found is None:
        outputs, signs, unseen = method.translate(batch), dict[str, Tensor](), None if held_out is None else method.translate(held_out)
    else:
        outputs, signs, unseen = found
    made, target = outputs.fake.detach(), batch.source if batch.target is None else batch.target
    if len(batch) > 1:
        signs["source_spread"] = spread(batch.source)
    if (wanted := spread(target)) > LEAST_SPREAD:
        signs["spread"] = spread(made) / wanted
        if getattr(bare(method.generator), "noise_channels", 0):
            with torch.no_grad():
                signs["answers"] = (method.translate(batch).fake - made).abs().mean() / wanted
    if pictures and made.shape == target.shape:
        signs |= {"ends": at_ends(made, target), "fine": fineness(made) - fineness(target), "grid": grid(made) - grid(target)}
    if method.learns_from == "pairs" and made.shape == target.shape:
        signs["error"] = (made - target).abs().mean()
        if held_out is not None and unseen is not None:
            signs["error_held_out"] = (unseen.fake - target_of(held_out)).abs().mean()
    return dict(zip(signs, torch.stack([value.detach().float() for value in signs.values()]).tolist(), strict=True))


def _of_game(method: Method, batch: Batch, held_out: Batch | None) -> tuple[Outputs, dict[str, Tensor], Outputs | None] | None:
    """The outputs, what the critic makes of them, and the outputs of held-out pictures; None without a critic."""
    game, critic = method.game, method.critic
    if game is None or critic is None:
        return None
    with torch.no_grad():
        outputs = method.translate(batch)
        unseen = None if held_out is None else method.translate(held_out)
    contest = method.contests(batch, outputs)[0]
    candidate = contest.fake.candidate.detach().requires_grad_()
    with torch.enable_grad():
        on_fake = judge(critic, replace(contest.fake, candidate=candidate), member=contest.member)
        with torch.no_grad():
            on_real = judge(critic, contest.real, member=contest.member)
        term = method.weights["adversarial"] * game.adversarial.generator(on_real.logits, on_fake.logits)
        (push,) = torch.autograd.grad(term, candidate, retain_graph=True)
        (slope,) = torch.autograd.grad(score(on_fake).sum(), candidate)
    signs = {
        "ahead": ahead(on_real, on_fake),
        "slope": slope.flatten(1).norm(dim=1).mean(),
        "push": push.square().mean().sqrt() * push.numel(),
    }
    if held_out is not None and unseen is not None:
        with torch.no_grad():
            other = method.contests(held_out, unseen)[0]
            real_unseen, fake_unseen = _both(method, other)
        signs["ahead_held_out"] = ahead(real_unseen, fake_unseen)
    return outputs, signs, unseen


def _both(method: Method, contest: Contest) -> tuple[Judgement, Judgement]:
    assert method.critic is not None, "there is a contest"
    real, fake = (judge(method.critic, side, member=contest.member) for side in (contest.real, contest.fake))
    return real, fake


def ahead(real: Judgement, fake: Judgement) -> Tensor:
    """Share of places at which the first is ranked above the second, ties half."""
    ranks = [torch.sign(first - second).mean() for first, second in zip(real.logits, fake.logits, strict=True)]
    return (torch.stack(ranks).mean() + 1) / 2


def spread(pictures: Tensor) -> Tensor:
    """Deviation over the pictures of (batch, channels, height, width), its mean over places."""
    return pictures.std(0, correction=0).mean()


def at_ends(made: Tensor, target: Tensor) -> Tensor:
    """Share of values at the ends of the range, and not near the target's."""
    return ((made.abs() > END) & ((made.clamp(-1, 1) - target).abs() > NEAR)).float().mean()


def fineness(pictures: Tensor) -> Tensor:
    """log10 of the mean power in the finest octave, both frequencies together above half of what the pixels can carry."""
    power = torch.fft.rfft2(pictures.float() - pictures.float().mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    rows, columns = (torch.fft.fftfreq(pictures.shape[2]), torch.fft.rfftfreq(pictures.shape[3]))
    radius = (rows[:, None].square() + columns[None].square()).sqrt().to(power.device)
    return torch.log10(power[radius > 0.25].mean() + TINY)


def grid(pictures: Tensor) -> Tensor:
    """Decibels by which the power along rows and columns stands out at :data:`PERIODS`, over its neighbours: the largest of them."""
    found = []
    for axis in (2, 3):
        length = pictures.shape[axis]
        window = torch.hann_window(length, periodic=False, device=pictures.device)
        signal = pictures.float() - pictures.float().mean(axis, keepdim=True)
        shaped = signal * window.view([-1 if place == axis else 1 for place in range(4)])
        power = torch.fft.rfft(shaped, dim=axis).abs().square().mean([place for place in range(4) if place != axis])
        for period in PERIODS:
            place = length // period
            around = torch.cat([power[max(1, place - 5) : max(1, place - 2)], power[place + 3 : place + 6]])
            if length % period == 0 and len(around):
                found.append(10 * torch.log10((power[place] + TINY) / (around.mean() + TINY)))
    return torch.stack(found).max() if found else pictures.new_zeros(())


def pace(optimizer: torch.optim.Optimizer, *, rate: float) -> float:
    """Size of Adam's last update over that of the weights, as root mean squares, at a learning rate; 0 before the first one.

    Args:
        optimizer: Adam.
        rate: instead of the present one, which falls to zero at the end of a run.
    """
    moved, weights = [], []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state: Mapping[str, Tensor] = optimizer.state.get(parameter, {})
            weights.append(parameter.detach().square().sum())
            if "exp_avg" in state:
                first, second = (1 - beta ** state["step"] for beta in group["betas"])
                step = group["share"] * (state["exp_avg"] / first) / ((state["exp_avg_sq"] / second).sqrt() + TINY)
                moved.append(step.square().sum())
    if not moved:
        return 0.0
    return rate * float((torch.stack(moved).sum() / (torch.stack(weights).sum() + TINY)).sqrt())
