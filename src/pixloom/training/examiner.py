"""Examines a run every now and then on the same few pictures."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import torch

from pixloom.data.batch import Batch
from pixloom.data.loading import Pictures, training_batches
from pixloom.data.unpaired import Balanced, Unpaired
from pixloom.errors import DataError
from pixloom.methods import build_method
from pixloom.training.engine import Engine, derive_seed
from pixloom.training.learner import Learner
from pixloom.training.plan import Plan, load_examples
from pixloom.training.schedule import round_up
from pixloom.training.signs import examine, pace

FEWEST, MOST = 4, 16
"""Pictures of an examination, and so many held-out ones."""

IMAGES_PER_PICTURE = 40
"""So many images are learnt from for each picture of an examination, which then takes less than 2 % of the time."""


class Examiner:
    """Takes the signs of a learner without changing it.

    Args:
        plan: of the run.
        engine: of the run.
        size: side of the crops.
    """

    def __init__(self, plan: Plan, engine: Engine, *, size: int) -> None:
        self.plan, self.engine, self.size = plan, engine, size
        batch_size = plan.config.training.batch_size
        self.count = min(MOST, max(FEWEST, 2 * batch_size))
        self.every = round_up(IMAGES_PER_PICTURE * self.count, batch_size)
        self.batch = self._batch(load_examples(plan, size=size, cache_gib=0.0), count=min(self.count, len(plan.train)))
        self.held_out = self._held_out()

    def signs(self, learner: Learner) -> dict[str, float]:
        """The signs of the networks as they stand, those of the optimizers with them."""
        return signs_of(learner, self.batch, self.held_out, pictures=not self.plan.task.makes_labels)

    def _held_out(self) -> Batch | None:
        """Pictures that are not learnt from, where there are such."""
        plan, records = self.plan, self.plan.validation
        if not records:
            return None
        unseen = replace(plan, listing=replace(plan.listing, splits={"train": records}))
        if plan.unpaired and not all(unseen.collections):
            return None
        try:
            return self._batch(load_examples(unseen, size=self.size, cache_gib=0.0), count=min(self.count, len(records)))
        except DataError:  # none of them can be used, which the validation says
            return None

    def _batch(self, examples: Pictures | Unpaired | Balanced, *, count: int) -> Batch:
        order = {"batch_size": count, "seed": 0, "start_image": 0}
        with closing(training_batches(examples, size=self.size, flip=False, **order)) as batches:
            return self.engine.place(next(iter(batches)))


def signs_of(learner: Learner, batch: Batch, held_out: Batch | None, *, pictures: bool) -> dict[str, float]:
    """The signs of a learner, which is left as it was; the arguments are those of ``signs.examine``."""
    config = learner.config
    method = build_method(config, generator=learner.generator, critic=learner.critic, content=learner.content)
    buffers = [(buffer, buffer.clone()) for network in (learner.generator, learner.critic) if network for buffer in network.buffers()]
    torch.manual_seed(derive_seed(config.training.seed, -2))
    critic = learner.optimizers.get("critic")
    found = examine(method, batch, held_out, pictures=pictures, learnt=critic is None or bool(critic.state))
    with torch.no_grad():
        for buffer, former in buffers:
            buffer.copy_(former)
    rates = learner.rates(1.0)
    moving = {name: optimizer for name, optimizer in learner.optimizers.items() if optimizer.state}
    return found | {f"pace_{name}": pace(optimizer, rate=rates[name]) for name, optimizer in moving.items()}
