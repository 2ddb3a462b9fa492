"""A server in the test's own process: tiny models with random weights, and a network that waits until it may go on."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from starlette.testclient import TestClient

from pixloom.conditions import build_conditions
from pixloom.config import InferenceConfig, TaskConfig
from pixloom.inference.translator import Translator
from pixloom.modelfile import ModelDescription, describe_generator
from pixloom.nets import build
from pixloom.nets.layers import initialize
from pixloom.serve.app import build_app
from pixloom.serve.guard import Door, door_for
from pixloom.serve.limits import Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.runs import Run
from pixloom.serve.served import Served
from pixloom.serve.service import Service
from pixloom.serve.workplace import Workplace

SIDE = 16
HOST = "http://localhost"


def translator(
    name: str = "encoder_decoder",
    *,
    task: TaskConfig | None = None,
    channels: tuple[int, int] = (3, 3),
    conditions: dict[str, dict[str, Any]] | None = None,
    dropout: bool = False,
    **options: Any,
) -> Translator:
    """Random weights, large enough to be seen."""
    torch.manual_seed(0)
    widths = build_conditions(conditions or {}, dropout=0.0).widths
    options |= {"conditions": widths} if widths else {}
    generator = build(name, {"width": 4, **options}, source_channels=channels[0], target_channels=channels[1])
    initialize(generator, gain=0.3)
    described = ModelDescription(
        task=task or TaskConfig(name="pair"),
        generator=describe_generator(name, generator),
        inference=InferenceConfig(statistics="running", dropout=dropout),
        size=SIDE,
        recipe="test",
        conditions=conditions or {},
    )
    return Translator(generator, described, device="cpu")


class Gate:
    """Holds a network back, and counts what goes through it together."""

    def __init__(self, held: Translator) -> None:
        self.open, self.entered, self.batches = threading.Event(), threading.Event(), list[int]()
        run = held.runtime.run

        def gated(source: np.ndarray, *, condition: Any = None, seed: int) -> np.ndarray:
            self.batches.append(len(source))
            self.entered.set()
            assert self.open.wait(20)
            return run(source, condition=condition, seed=seed)

        held.runtime.run = gated  # type: ignore[method-assign]


def service(
    models: dict[str, Translator],
    *,
    limits: Limits | None = None,
    runs: Sequence[Run] = (),
    clock: Any = None,
    back: Translator | None = None,
) -> Service:
    limits, metrics = limits or Limits(), Metrics()
    workplace = Workplace(limits, metrics, **({} if clock is None else {"clock": clock}))
    served = {name: Served(name, name, model, back) for name, model in models.items()}
    return Service(served, {run.place.id: run for run in runs}, workplace, limits, metrics)


@contextmanager
def client(of: Service, *, door: Door | None = None, base: str = HOST) -> Iterator[TestClient]:
    app = build_app(of, door=door or door_for("127.0.0.1"))
    of.workplace.start({"cpu": []})
    with TestClient(app, base_url=base, raise_server_exceptions=False) as opened:
        yield opened
    of.workplace.close()


def png(height: int = 20, width: int = 24, *, channels: int = 3, seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return saved(Image.fromarray(pixels[..., 0] if channels == 1 else pixels), "PNG", **options)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def code_of(answer: Any) -> str:
    """The code of a refusal, whose shape is checked."""
    error = answer.json()["error"]
    assert set(error) == {"code", "what", "where", "why", "fix"}
    assert error["what"]
    return str(error["code"])
