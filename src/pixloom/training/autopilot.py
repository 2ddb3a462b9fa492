"""What the autopilot does when an alarm rings: a written policy, as pure functions of the alarm and the settings.

=========================================  ================================================================================
alarm                                      remedy
=========================================  ================================================================================
numbers are not finite                     back; full precision, and the recipe's rate where one is above it; where neither is to be had,
                                           a tenth of the learning rates
training has diverged, weights move too    back; gradients of at most norm 1, and the recipe's rate where one is above it, else a tenth
fast, outputs are saturated, or all alike  of both
a network stands still                     back; the recipe's learning rate for it
the critic wins, its slope explodes        back; R1 and R2 four times as strong, at least gamma 5
it is not held                             gradients of at most norm 1; in a Wasserstein game the gradient penalty
the critic knows its pictures by heart     a quarter more of them augmented, up to three quarters
the generator learns nothing from it       relativistic pairing, and what holds the critic in it: gradients of at most norm 1
=========================================  ================================================================================

"Back" is to the newest checkpoint from before the first evidence, or the beginning: a run with the autopilot writes one at looks that show
nothing of this, :data:`SNAPSHOTS` in all, and keeps the newest of them. An alarm rings when its evidence is there twice
(``monitor.PATIENCE``), or once where no healthy run has it; after a remedy the next :data:`COOLDOWN` looks change nothing, unless the run
has diverged (:data:`GRAVE`); there are at most :data:`MOST` remedies. What the settings of a run forbid is not done. Alarms that no setting
mends (pairs that do not belong together, sources that say nothing, too few pictures) are told and left to the person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixloom.config import RunConfig, override
from pixloom.errors import ConfigError
from pixloom.methods.check import check_config
from pixloom.recipes import RECIPES, recipe
from pixloom.training.conditioning import option_of
from pixloom.training.monitor import DIVERGED, NOT_FINITE, NOT_HELD, Alarm

MOST, COOLDOWN, SNAPSHOTS = 3, 4, 20
GRAVE = (DIVERGED,)
"""What nothing is gained by waiting with."""

STEP, MOST_AUGMENTED = 0.05, 0.8
"""By how much the share of augmented pairs moves, and its end: beyond it changes leak into what is made (ADA, figure 5)."""

PENALTIES: dict[str, Any] = {"losses.r1_gamma": 5.0, "losses.r2_gamma": 5.0, "losses.slopes": "difference", "losses.slope_share": 0.5}
"""What holds a critic's slope where nothing did: healthy runs of the log had them."""


FARTHEST, WIDEST = 2.0, 10.0
"""Mean error, and spread as a share of the targets', beyond which outputs are no pictures, though no alarm rings for it yet."""

HOLD: dict[str, Any] = {"training.clip_norm": 1.0}
"""What holds a critic in a relativistic game without penalties."""


@dataclass(frozen=True)
class Remedy:
    """A change of a run under way.

    Attributes:
        settings: dotted keys of the config.
        back: whether the run goes back to before the first evidence.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    back: bool = False


def remedy(found: Sequence[Alarm], config: RunConfig, *, channels: tuple[int, int]) -> tuple[Alarm, Remedy] | None:
    """The first alarm that something can be done against, and what; None where there is none.

    Args:
        found: alarms that ring, the gravest first.
        config: the settings as they are now.
        channels: of the generator's input and output.
    """
    for alarm in found:
        settings = _settings(alarm.name, config)
        if settings and _allowed(override(config, settings), channels=channels):
            return alarm, Remedy(settings, back=alarm.name in BACKWARD)
    return None


def sound(evident: set[str], signs: Mapping[str, float]) -> bool:
    """Whether a look shows nothing that a run would go back on, and outputs that are where pictures can be."""
    return not evident & BACKWARD and signs.get("error", 0.0) <= FARTHEST and signs.get("spread", 0.0) <= WIDEST


def _allowed(config: RunConfig, *, channels: tuple[int, int]) -> bool:
    try:
        check_config(config, channels=channels)
    except ConfigError:
        return False
    return True


BY_HEART = "the critic knows its pictures by heart"
NO_PUSH = "the generator learns nothing from the critic"
TOO_FAST = (DIVERGED, "weights move too fast", "outputs are saturated", "outputs are all alike")
STILL = ("the critic stands still", "the generator stands still")
STEEP = ("the critic wins", "the critic's slope explodes")
BACKWARD = {NOT_FINITE, *TOO_FAST, *STILL, *STEEP}
"""What a run goes back on; the rest is mended as it goes on."""


def adapted(share: float, signs: Mapping[str, float], *, gap: float) -> float:
    """The share of augmented pairs after a look: up where the critic knows its pictures by heart, else down.

    Karras et al., "Training Generative Adversarial Networks with Limited Data" (ADA), NeurIPS 2020, section 3, with another measure of
    overfitting: how much oftener the critic ranks right on pictures that it knows than on held-out ones, which relativistic logits have
    too.

    Args:
        share: now.
        signs: of the look.
        gap: that is put up with.
    """
    step = STEP if signs["ahead"] - signs["ahead_held_out"] > gap else -STEP
    return round(min(MOST_AUGMENTED, max(0.0, share + step)), 6)


def _settings(name: str, config: RunConfig) -> dict[str, Any]:
    if name == NOT_FINITE:
        exact = {"compute.precision": "no"} if config.compute.precision == "bf16" else {}
        return (_too_high(config) | exact) or _tenth(config)
    if name in TOO_FAST:
        return (_too_high(config) or _tenth(config)) | {"training.clip_norm": min(1.0, config.training.clip_norm or 1.0)}
    if name in STILL:
        which = name.split()[1]
        rate = getattr(_usual(config), f"{which}_optimizer").learning_rate
        return {f"{which}_optimizer.learning_rate": rate} if rate > getattr(config, f"{which}_optimizer").learning_rate else {}
    if name in STEEP:
        return _gentler(config)
    if name == NOT_HELD:
        return {"losses.gradient_penalty_weight": 10.0} if config.losses.adversarial == "wasserstein" else HOLD
    if name == BY_HEART:
        return {"losses.augment": min(0.75, config.losses.augment + 0.25)} if config.losses.augment < 0.75 else {}
    if name == NO_PUSH:
        held = bool(config.losses.r1_gamma and config.losses.r2_gamma) or config.training.clip_norm is not None
        return {"losses.adversarial": "relativistic"} | ({} if held else HOLD) if config.losses.adversarial != "relativistic" else {}
    return {}


def _too_high(config: RunConfig) -> dict[str, Any]:
    """The recipe's learning rates for the networks that have higher ones."""
    usual = _rates(_usual(config))
    return {key: usual[key] for key, rate in _rates(config).items() if rate > usual[key]}


def _tenth(config: RunConfig) -> dict[str, Any]:
    return {key: rate / 10 for key, rate in _rates(config).items()}


def _rates(config: RunConfig) -> dict[str, float]:
    """The learning rates of the networks that there are, by dotted key."""
    names = ("generator",) if config.critic is None else ("generator", "critic")
    return {f"{name}_optimizer.learning_rate": getattr(config, f"{name}_optimizer").learning_rate for name in names}


def _usual(config: RunConfig) -> RunConfig:
    """The recipe of a config as it is published; the config itself where there is none of that name."""
    return recipe(config.recipe, size=256) if config.recipe in RECIPES else config


def _gentler(config: RunConfig) -> dict[str, Any]:
    """Stronger penalties on the critic; nothing where its batch norm forbids them."""
    critic, losses = config.critic, config.losses
    if critic is None or option_of(critic, "norm") == "batch":
        return {}
    if not (losses.r1_gamma or losses.r2_gamma):
        return {key: value for key, value in PENALTIES.items() if key != "losses.slope_share" or config.training.batch_size > 1}
    least = PENALTIES["losses.r1_gamma"]
    return {f"losses.{name}": max(least, 4 * getattr(losses, name)) for name in ("r1_gamma", "r2_gamma")}
