"""What the routes work with."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from pixloom.serve.limits import Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.refusal import not_found
from pixloom.serve.runs import Run
from pixloom.serve.served import Served
from pixloom.serve.workplace import Workplace, give_way

Thing = TypeVar("Thing")

_READERS = 2  # threads that decode and prepare


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        models: by id.
        runs: by id.
        workplace: where jobs are.
        limits: of the server.
        metrics: what is counted.
        readers: threads that decode and prepare.
    """

    models: Mapping[str, Served]
    runs: Mapping[str, Run]
    workplace: Workplace
    limits: Limits
    metrics: Metrics
    readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_READERS, thread_name_prefix="read", initializer=give_way)
    )

    def model(self, ident: str) -> Served:
        """A model by its id.

        Raises:
            RefusedError: there is none.
        """
        return _known(self.models, ident, what="model")

    def run(self, ident: str) -> Run:
        """A run by its id.

        Raises:
            RefusedError: there is none.
        """
        return _known(self.runs, ident, what="run")


def _known(things: Mapping[str, Thing], ident: str, *, what: str) -> Thing:
    if ident not in things:
        raise not_found(what, fix=f"known: {', '.join(things) or 'none'}")
    return things[ident]
