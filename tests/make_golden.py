"""Write tests/golden_losses.json anew, after a change that is meant to change numbers: python tests/make_golden.py."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from pixloom.data.batch import Batch
from pixloom.training.engine import Engine
from pixloom.training.learner import Learner
from playing import TINY, batch, learner, step, tiny
from tiny import tiny_config, write_pairs


def trace(name: str, data: Path) -> list[dict[str, float]]:
    """The terms of twenty steps on random pictures; in double precision, see :func:`steps_of`."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _trace(name, data)
    finally:
        torch.set_default_dtype(former)


def _trace(name: str, data: Path) -> list[dict[str, float]]:
    settings = {"training__batch_size": 2} if name == "cgan" else {}
    config = tiny_config(data, name=name, **settings)
    learner = Learner(config, channels=(1, 3), engine=Engine(config))
    rng = np.random.default_rng(0)
    rows = []
    for number in range(20):
        values = torch.from_numpy(rng.uniform(-1, 1, (2, 4, 16, 16)))
        torch.manual_seed(number)
        result = learner.step(Batch(values[:, :1], values[:, 1:], ("a", "b")))
        rows.append({key: float(value.detach()) for key, value in (result.generator | result.critic).items()})
    return rows


def steps_of(name: str) -> list[dict[str, float]]:
    """The terms of twenty steps of a method on smooth pictures; in double precision, in which processors agree after twenty steps too."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        playing = learner(tiny(name))
        return [step(playing, batch(name, seed=number % 3), number=number) for number in range(20)]
    finally:
        torch.set_default_dtype(former)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = write_pairs(Path(folder))
        golden = {name: trace(name, data) for name in ("pix2pix", "cgan", "regression")}
    Path(__file__).with_name("golden_losses.json").write_text(json.dumps(golden, indent=0) + "\n", encoding="utf-8")
    methods = {name: steps_of(name) for name in TINY}
    Path(__file__).with_name("golden_methods.json").write_text(json.dumps(methods, indent=0) + "\n", encoding="utf-8")
