"""What data and settings tell before anything is learnt."""

from __future__ import annotations

from pixloom.config import RunConfig
from pixloom.data.inspect import count_different
from pixloom.data.kinship import kinship
from pixloom.training.conditioning import option_of
from pixloom.training.monitor import Alarm, at_the_start
from pixloom.training.plan import Plan


def look_over(plan: Plan) -> list[Alarm]:
    """The alarms that ring at once."""
    related = kinship(plan.train) if plan.task.needs_pairs and not plan.task.between else None
    backwards = plan.config.task.direction == "BtoA"
    constant = related.alike(targets=not backwards, called="targets") if related else None
    return at_the_start(
        examples=len(plan.train),
        different=count_different(plan.train),
        complaint=constant or (related.complaint if related else None),
        silent=related.alike(targets=backwards, called="sources") if related else None,
        loose=loose(plan.config),
    )


def loose(config: RunConfig) -> str:
    """The adversarial term, if it needs a critic that is held, and nothing holds this one."""
    losses = config.losses
    if config.critic is None or (losses.r1_gamma > 0 and losses.r2_gamma > 0):
        return ""
    held = {
        "relativistic": config.training.clip_norm is not None,
        "wasserstein": losses.gradient_penalty_weight != 0 or option_of(config.critic, "norm") == "spectral",
    }
    return "" if held.get(losses.adversarial, True) else losses.adversarial
