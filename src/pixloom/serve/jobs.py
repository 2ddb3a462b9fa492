"""A job: one picture on its way through a model, with one result or several."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from pixloom.inference.tiling import MAX_PIXELS_AT_ONCE
from pixloom.inference.translator import Prepared, Translator
from pixloom.serve.contract import Failure, JobView, Wishes
from pixloom.serve.intake import memory_of
from pixloom.serve.refusal import RefusedError, body_of

State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Job:
    """A translation that was asked for; only :class:`pixloom.serve.workplace.Workplace` changes it, under its lock.

    Attributes:
        model: id of the model.
        device: where it is computed.
        translator: with the wishes that its last step needs.
        wishes: the parameters.
        prepared: what the network is to see; None once it is not needed any more.
        memory: bytes of that.
        key: jobs of one key can go through the network together; None: it goes alone.
        state: where it is.
        progress: share that is done.
        results: PNG files, in order.
        notes: what to know about the results.
        error: why it failed.
        started: the clock, when the network took it.
        ended: the clock, when it was over.
        network_seconds: spent in the network.
        on_end: called once when it is over, in any thread.
    """

    model: str
    device: str
    translator: Translator
    wishes: Wishes
    prepared: Prepared | None
    size: tuple[int, int] = (0, 0)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    memory: int = 0
    key: Hashable | None = None
    state: State = "queued"
    progress: float = 0.0
    results: dict[int, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: RefusedError | None = None
    started: float | None = None
    ended: float | None = None
    network_seconds: float = 0.0
    on_end: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def kept_bytes(self) -> int:
        """Of its results."""
        return sum(map(len, self.results.values()))


def new_job(model: str, translator: Translator, prepared: Prepared, *, wishes: Wishes, device: str) -> Job:
    """A job that is ready to wait."""
    scale = translator.task.magnification
    size = prepared.picture.width * scale, prepared.picture.height * scale
    key = _key(model, prepared, wishes)
    return Job(model, device, translator, wishes, prepared, size=size, memory=memory_of(prepared), key=key)


def view(job: Job, *, position: int | None) -> JobView:
    """What a client is told about a job."""
    return JobView(
        id=job.id,
        model=job.model,
        state=job.state,
        position=position,
        progress=round(job.progress, 4),
        results=len(job.results) if job.state == "done" else job.wishes.samples,
        width=job.size[0],
        height=job.size[1],
        milliseconds=round(job.network_seconds * 1000, 1) if job.is_over and job.network_seconds else None,
        notes=list(dict.fromkeys(job.notes)),
        error=None if job.error is None else Failure(**body_of(job.error)["error"]),
    )


def _key(model: str, prepared: Prepared, wishes: Wishes) -> Hashable | None:
    """What jobs must have in common to go through together; what goes through in pieces goes alone."""
    values = prepared.values
    if values is None or values.shape[1] * values.shape[2] > MAX_PIXELS_AT_ONCE:
        return None
    shapes = tuple(sorted((kind, array.shape) for kind, array in prepared.condition.items()))
    return model, wishes.direction, wishes.seed, wishes.samples, values.shape, shapes
