"""One network at one size, in a process of its own. A worker.

python -m benchmarks.speed.scaling_run NETWORK SIZE
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.speed.harness import peak_mib, serve
from pixloom.config import InferenceConfig, RunConfig, TaskConfig, override
from pixloom.data.batch import Batch
from pixloom.inference.translator import Translator
from pixloom.modelfile import ModelDescription, describe_generator
from pixloom.recipes import recipe
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner, build_networks

CHANNELS = (3, 3)


def main(network: str, size: int) -> None:
    config = config_of(network, size)

    def train(rounds: int) -> dict[str, Any]:
        return timed(training_step(config), rounds)

    def translate(rounds: int) -> dict[str, Any]:
        return timed(translation(config), rounds)

    serve({"train": train, "translate": translate})


def config_of(network: str, size: int) -> RunConfig:
    """Pix2pix with another generator; the ResNet with instance norm, as it was published."""
    base = {"compute.device": "cpu", "training.images": 1000, "inference.statistics": "running", "inference.dropout": False}
    if network == "unet":
        return override(recipe("pix2pix", size=size), base)
    critic = {"critic.options.norm": "instance"} if network == "resnet" else {}
    return override(recipe("pix2pix", size=size), {**base, "generator.name": network, **critic})


def training_step(config: RunConfig) -> Callable[[], object]:
    """The learner's step on a batch that is ready."""
    learner = Learner(config, channels=CHANNELS, engine=Engine(config))
    shape = (config.training.batch_size, 3, config.data.size, config.data.size)
    batch = Batch(source=torch.rand(shape) * 2 - 1, target=torch.rand(shape) * 2 - 1, ids=())
    return lambda: learner.step(batch)


def translation(config: RunConfig) -> Callable[[], object]:
    """The translator on an 8-bit picture of the trained size."""
    generator, _ = build_networks(config, channels=CHANNELS)
    description = ModelDescription(
        task=TaskConfig(name="pair"),
        generator=describe_generator(config.generator.name, generator),
        inference=InferenceConfig(statistics="running", dropout=False),
        size=config.data.size,
        recipe=config.recipe,
    )
    translator = Translator(generator, description, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (config.data.size, config.data.size, 3), dtype=np.uint8)
    return lambda: translator(pixels)


def timed(work: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Seconds of every round but a first one that is thrown away, and the peak memory of the process."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "peak_mib": peak_mib()}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
