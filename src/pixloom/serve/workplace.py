"""Where jobs wait, are worked on and are kept: one bounded queue, one worker thread per device, results with a lifetime."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pixloom.errors import DependencyError, PixloomError
from pixloom.images import Picture, to_depth
from pixloom.images.codecs import encode
from pixloom.serve.jobs import Job, State
from pixloom.serve.limits import MOST_KEPT, Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.refusal import RefusedError, fault, not_found, refusal_of

_ENCODERS = max(2, min(8, (os.cpu_count() or 2) // 2))
_LINGER_SECONDS = 1.5  # after the last job of a server that stops, for its results to be fetched
_NICENESS = 5

WarmUp = Callable[[], object]


class _OverError(PixloomError):
    """Ends a job's way through the network: nobody waits for it any more."""


@dataclass(frozen=True)
class _Finishing:
    """An answer of the network that is to become a picture and a file."""

    job: Job
    sample: int
    make: Callable[[], Picture]


class Workplace:
    """All jobs of a server. Methods may be called from any thread.

    Args:
        limits: of the server.
        metrics: to count in.
        clock: seconds that only grow.
    """

    def __init__(self, limits: Limits, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self.metrics, self._clock = limits, metrics, clock
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._receiving = 0
        self._warming: set[str] = set()
        self._stopping = False
        self._closed = False
        self._last_end = -math.inf
        self._mean_seconds = 1.0
        self._to_finish: deque[_Finishing] = deque()  # of jobs that are not over
        self._finishing = 0
        metrics.watch("pixloom_queue_jobs", "Jobs that wait or are received.", lambda: self.load)
        metrics.watch("pixloom_running_jobs", "Jobs in the network.", lambda: len(self._running))
        metrics.watch("pixloom_kept_bytes", "Of results.", lambda: self.kept_bytes)

    # ---- the life of the server

    def start(self, devices: Mapping[str, Sequence[WarmUp]]) -> None:
        """Begin to work: a thread per device, which first does what warms it up."""
        self._warming = set(devices)
        for device, warm_ups in devices.items():
            threading.Thread(target=self._work, args=(device, warm_ups), name=f"work {device}", daemon=True).start()
        for number in range(_ENCODERS):  # daemons, as no thread can be stopped that is at something
            threading.Thread(target=self._finish, name=f"finish {number}", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Whether every model is warm and jobs are taken."""
        return not self._warming and not self._stopping

    def stop_taking(self) -> None:
        """Take no new jobs; those that were accepted are finished."""
        self._stopping = True

    @property
    def is_idle(self) -> bool:
        """Whether a server that stops has nothing more to do: no job, and the last results have had a moment to be fetched."""
        with self._changed:
            busy = self._receiving or any(not job.is_over for job in self._jobs.values())
            return not busy and self._clock() - self._last_end > _LINGER_SECONDS

    def give_up(self) -> None:
        """End every job that is not over: the server has no more time."""
        with self._changed:
            for job in [job for job in self._jobs.values() if not job.is_over]:
                self._end(job, "failed", error=_stopping())

    def close(self) -> bool:
        """End the threads; whether none of them was at something."""
        with self._changed:
            self._closed = True
            self._to_finish.clear()
            self._changed.notify_all()
            return not (self._running or self._finishing or self._warming)

    # ---- jobs

    @property
    def load(self) -> int:
        """Jobs that wait or are being received."""
        return len(self._waiting) + self._receiving

    @property
    def kept_bytes(self) -> int:
        """Of all results."""
        with self._changed:
            return sum(job.kept_bytes for job in self._jobs.values())

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, held while a request is received, so that what is read is never refused for want of one.

        Raises:
            RefusedError: the queue is full (429, with ``Retry-After``), or the server stops (503).
        """
        with self._changed:
            if self._stopping:
                raise _stopping()
            if self.load >= self.limits.queue:
                raise self._busy("the queue is full", why=f"{self.limits.queue} jobs wait already")
            self._receiving += 1
        try:
            yield
        finally:
            with self._changed:
                self._receiving -= 1

    def accept(self, job: Job) -> None:
        """Let a job wait.

        Raises:
            RefusedError: the pictures that wait already take too much memory (429).
        """
        with self._changed:
            held = sum(other.memory for other in self._waiting)
            if self._waiting and held + job.memory > self.limits.waiting_bytes:
                raise self._busy("the pictures that wait take too much memory", why="many or large ones were sent before")
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()

    def job(self, ident: str) -> Job:
        """A job by its id.

        Raises:
            RefusedError: there is none, or not any more (404).
        """
        self.sweep()
        with self._changed:
            found = self._jobs.get(ident)
        if found is None:
            raise not_found("job", why=f"results are kept for {self.limits.keep_seconds:g} seconds, as far as memory goes")
        return found

    def position(self, job: Job) -> int | None:
        """The place of a job in the queue, from 1; None when it does not wait."""
        with self._changed:
            return self._waiting.index(job) + 1 if job in self._waiting else None

    def cancel(self, job: Job) -> None:
        """End a job that waits or runs; one that is over stays as it is."""
        with self._changed:
            if not job.is_over:
                self._end(job, "cancelled")

    def forget(self, job: Job) -> None:
        """Forget a job that is over, and its results."""
        with self._changed:
            if job.is_over:
                self._jobs.pop(job.id, None)

    def sweep(self) -> None:
        """End the jobs that take too long, and forget those that are kept long enough, or whose results take too much memory."""
        now = self._clock()
        with self._changed:
            for job in [job for job in self._jobs.values() if not job.is_over]:  # in the network, or finished and encoded after it
                if job.started is not None and now - job.started > self.limits.seconds:
                    self._end(job, "failed", error=_too_slow(self.limits))
            over = [job for job in self._jobs.values() if job.is_over]
            for job in over:
                if job.ended is not None and now - job.ended > self.limits.keep_seconds:
                    self._jobs.pop(job.id)
            self._make_room([job for job in over if job.id in self._jobs])

    # ---- work

    def _work(self, device: str, warm_ups: Sequence[WarmUp]) -> None:
        give_way()
        try:
            for warm_up in warm_ups:
                warm_up()
            self._warming.discard(device)
        except Exception:  # then the server never says that it is ready, and its log says why
            traceback.print_exc()
        while (jobs := self._next(device)) is not None:
            self._translate(jobs)
            with self._changed:
                self._running = [job for job in self._running if job not in jobs]

    def _next(self, device: str) -> list[Job] | None:
        """Wait for the first job of a device, and take with it those that can go through the network together with it."""
        with self._changed:
            while not self._closed:
                mine = [job for job in self._waiting if job.device == device]
                if mine:
                    together = [job for job in mine if job is mine[0] or (job.key is not None and job.key == mine[0].key)]
                    jobs = together[: self.limits.batch or mine[0].translator.batch_size]
                    self._waiting = [job for job in self._waiting if job not in jobs]
                    self._running += jobs
                    for job in jobs:
                        job.state, job.started = "running", self._clock()
                    return jobs
                self._changed.wait()
        return None

    def _translate(self, jobs: list[Job]) -> None:
        """Put jobs through the network together; what fails together is tried alone."""
        try:
            for sample in range(jobs[0].wishes.samples):
                if not self._translate_once([job for job in jobs if not job.is_over], sample=sample):
                    return
        except _OverError:
            return
        except PixloomError as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._translate([job])
                return
            self._fail(jobs[0], error)
        except Exception as error:
            for job in jobs:
                self._fail(job, error)

    def _translate_once(self, jobs: list[Job], *, sample: int) -> bool:
        """One answer to each job; whether any of them still wants one."""
        pairs = [(job, prepared) for job in jobs if (prepared := job.prepared) is not None]
        if not pairs:
            return False
        self.metrics.batch.observe(len(pairs))
        first, one = pairs[0]
        begun, seed = self._clock(), first.wishes.seed + sample
        if one.values is None:
            whole = first.translator.translate_prepared(
                one, seed=seed, keep_alpha=first.wishes.keep_alpha, progress=lambda share: self._tell(first, sample + share)
            )
            makers: list[Callable[[], Picture]] = [lambda: whole]
        else:
            values = np.stack([prepared.values for _, prepared in pairs if prepared.values is not None])
            condition = {kind: np.stack([prepared.condition[kind] for _, prepared in pairs]) for kind in one.condition}
            outputs = first.translator.generate(
                values, condition=condition, seed=seed, progress=lambda share: self._tell(first, sample + share)
            )
            makers = [_finisher(job, prepared, output) for (job, prepared), output in zip(pairs, outputs, strict=True)]
        seconds = self._clock() - begun
        for (job, _), make in zip(pairs, makers, strict=True):
            job.network_seconds += seconds
            self._hand_over(_Finishing(job, sample, make))
        return True

    def _hand_over(self, finishing: _Finishing) -> None:
        """Let an answer of the network be finished; the network waits rather than heap up those that somebody waits for."""
        with self._changed:
            while len(self._to_finish) >= 2 * _ENCODERS and not finishing.job.is_over and not self._closed:
                self._changed.wait()
            if not finishing.job.is_over and not self._closed:
                self._to_finish.append(finishing)
                self._changed.notify_all()

    def _finish(self) -> None:
        """Make pictures and files of what networks gave, one after the other."""
        give_way()
        while (finishing := self._next_to_finish()) is not None:
            try:
                self._encode(finishing)
            except Exception:  # whatever it was, the next one is waited for as well
                traceback.print_exc()
            del finishing  # and what it holds
            with self._changed:
                self._finishing -= 1

    def _next_to_finish(self) -> _Finishing | None:
        with self._changed:
            while not self._closed:
                if self._to_finish:
                    self._finishing += 1
                    self._changed.notify_all()  # the network may wait for the place
                    return self._to_finish.popleft()
                self._changed.wait()
        return None

    def _tell(self, job: Job, done: float) -> None:
        """Note how far a job is that goes through in pieces; it ends here when nobody waits for it any more."""
        self.sweep()
        if job.is_over:
            raise _OverError("nobody waits for this job")
        job.progress = done / job.wishes.samples

    def _encode(self, finishing: _Finishing) -> None:
        job, sample = finishing.job, finishing.sample
        try:
            picture = finishing.make()
            if job.is_over:
                return
            data = _png(picture)
            with self._changed:
                if job.is_over:
                    return
                job.results[sample] = data
                job.notes += picture.notes
                job.progress = len(job.results) / job.wishes.samples
                if len(job.results) == job.wishes.samples:
                    self._end(job, "done")
        except Exception as error:
            self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        refusal = refusal_of(error) if isinstance(error, PixloomError) else fault()
        if refusal.status >= 500:
            traceback.print_exception(error)
        with self._changed:
            if not job.is_over:
                self._end(job, "failed", error=refusal)

    def _end(self, job: Job, state: State, *, error: RefusedError | None = None) -> None:
        """A job that was not over is over; the lock is held."""
        job.state, job.error, job.ended, job.prepared = state, error, self._clock(), None
        if state == "done":
            self._mean_seconds += 0.2 * (job.network_seconds - self._mean_seconds)
            self.metrics.job_seconds.labels(job.model).observe(job.network_seconds)
        else:
            job.results.clear()
        self.metrics.jobs.labels(job.model, state).inc()
        self._waiting = [other for other in self._waiting if other is not job]
        self._to_finish = deque(other for other in self._to_finish if other.job is not job)
        self._changed.notify_all()
        self._jobs.move_to_end(job.id)
        self._last_end = self._clock()
        self._make_room([other for other in self._jobs.values() if other.is_over and other is not job])
        if job.on_end is not None:
            job.on_end()

    def _make_room(self, over: Iterable[Job]) -> None:
        """Forget the oldest of some jobs while too much is kept."""
        kept = self.kept_bytes
        for job in over:
            if kept <= self.limits.keep_bytes and len(self._jobs) <= MOST_KEPT:
                return
            kept -= job.kept_bytes
            self._jobs.pop(job.id, None)

    def _busy(self, what: str, *, why: str) -> RefusedError:
        seconds = min(60, max(1, math.ceil(self._mean_seconds * (len(self._waiting) + 1))))
        return RefusedError(
            what, code="busy", status=429, why=why, fix=f"try again in {seconds} seconds", headers={"Retry-After": str(seconds)}
        )


def _finisher(job: Job, prepared: object, output: np.ndarray) -> Callable[[], Picture]:
    translator, keep_alpha = job.translator, job.wishes.keep_alpha
    return lambda: translator.finish(prepared, output, keep_alpha=keep_alpha)  # type: ignore[arg-type]


def _png(picture: Picture) -> bytes:
    """A PNG without any metadata, in 8 bits where more need a package that is not here."""
    try:
        return encode(picture, ".png")
    except DependencyError:
        return encode(to_depth(picture, np.dtype(np.uint8)), ".png")


def _stopping() -> RefusedError:
    return RefusedError("the server is stopping", code="stopping", status=503, headers={"Retry-After": "10"})


def _too_slow(limits: Limits) -> RefusedError:
    return RefusedError(
        f"the translation took more than {limits.seconds:g} seconds",
        code="too-slow",
        status=422,
        fix="send a smaller picture, or ask for a smaller size or fewer samples",
    )


def give_way() -> None:
    """Let answers go before networks, where a thread has a niceness of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
