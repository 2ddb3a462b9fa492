"""Pixloom's own step, set up as ``pixloom train`` does. A worker; it writes the start that the other sides take over.

python -m benchmarks.speed.our_steps CASE --data FOLDER --start FILE [--no-dropout]
"""

from __future__ import annotations

from contextlib import closing

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.stepping import Start, Step, arguments, serve_steps
from pixloom.data.batch import Batch
from pixloom.data.loading import training_batches
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner
from pixloom.training.plan import Plan, load_pictures, make_plan

BATCHES = 8


def main() -> None:
    parser = arguments()
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    plan = plan_of(CASES[options.case], data=options.data, dropout=not options.no_dropout)
    learner = Learner(plan.config, channels=plan.network_channels, engine=Engine(plan.config))
    start = start_of(learner, first_batches(plan))
    start.save(options.start)
    serve_steps(step_of(learner), start.batches)


def plan_of(case: Case, *, data: str, dropout: bool) -> Plan:
    """The run that ``pixloom train`` would make of a case."""
    return make_plan(data, size=case.size, device="cpu", settings=case.settings(dropout=dropout))


def first_batches(plan: Plan, *, count: int = BATCHES) -> list[Batch]:
    """The first batches of a run."""
    data, training = plan.config.data, plan.config.training
    pictures = load_pictures(plan, size=data.size, cache_gib=0.0)
    batches = training_batches(pictures, batch_size=training.batch_size, seed=training.seed, start_image=0, size=data.size, flip=data.flip)
    with closing(batches):
        return [next(batches) for _ in range(count)]


def start_of(learner: Learner, batches: list[Batch]) -> Start:
    """The learner's weights now, and the batches."""
    assert learner.critic is not None
    dtype = torch.get_default_dtype()
    pairs = [(batch.source.to(dtype), batch.target.to(dtype)) for batch in batches if batch.target is not None]
    return Start(copies(learner.generator), copies(learner.critic), pairs)


def copies(network: nn.Module) -> list[Tensor]:
    """The parameters by position."""
    return [parameter.detach().clone() for parameter in network.parameters()]


def step_of(learner: Learner) -> Step:
    """The learner's step in the terms of the comparison."""

    def step(source: Tensor, target: Tensor) -> dict[str, float]:
        result = learner.step(learner.engine.place(Batch(source=source, target=target, ids=())))
        return {name: value.item() for name, value in {**result.critic, **result.generator}.items()}

    return step


if __name__ == "__main__":
    main()
