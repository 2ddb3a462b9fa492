"""Figures for Prometheus; each server has its own registry."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted. Labels come from fixed sets only, so that no client can make them many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("pixloom_requests", "Requests.", ["route", "method", "status"], registry=self.registry)
        self.request_seconds = Histogram(
            "pixloom_request_seconds", "To the answer.", ["route", "status"], buckets=_SECONDS, registry=self.registry
        )
        self.jobs = Counter("pixloom_jobs", "Jobs that ended.", ["model", "state"], registry=self.registry)
        self.job_seconds = Histogram("pixloom_job_seconds", "In the network.", ["model"], buckets=_SECONDS, registry=self.registry)
        self.batch = Histogram("pixloom_batch_pictures", "At once.", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Ask for a figure whenever the figures are read."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def observe(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """A request that was answered."""
        self.requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self.request_seconds.labels(route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self.registry)
