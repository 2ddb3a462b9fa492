"""What data and settings tell before anything is learnt."""

from __future__ import annotations

from pixloom.data.inspect import count_different
from pixloom.data.kinship import kinship
from pixloom.training.monitor import Alarm, at_the_start
from pixloom.training.plan import Plan


def look_over(plan: Plan) -> list[Alarm]:
    """The alarms that ring at once."""
    losses, clipped = plan.config.losses, plan.config.training.clip_norm is not None
    related = kinship(plan.train) if plan.task.needs_pairs and not plan.task.between else None
    backwards = plan.config.task.direction == "BtoA"
    constant = related.alike(targets=not backwards, called="targets") if related else None
    return at_the_start(
        examples=len(plan.train),
        different=count_different(plan.train),
        complaint=constant or (related.complaint if related else None),
        silent=related.alike(targets=backwards, called="sources") if related else None,
        held=losses.adversarial != "relativistic" or (losses.r1_gamma > 0 and losses.r2_gamma > 0) or clipped,
    )
