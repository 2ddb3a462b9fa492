"""The loss terms of the steps since the last log entry."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pixloom.training.engine import Engine
from pixloom.training.state import Checkpoint

NETWORKS = ("generator", "critic")
STATE = "pending_terms"
COUNT = "steps"
"""How many steps were sound, kept beside the terms."""


class Terms:
    """Collects terms step by step, as tensors, so that no step waits for a number; they are part of a checkpoint.

    A run that was stopped between two log entries then tells the same history as one that was not. Steps that were not sound count
    nothing.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[Tensor]]] = {network: {} for network in NETWORKS}

    def add(self, network: str, terms: Mapping[str, Tensor], *, sound: Tensor) -> None:
        """The terms of one network in one step."""
        counted = {**terms, COUNT: torch.ones_like(sound, dtype=torch.float32)} if terms else {}
        for name, value in counted.items():
            self._values[network].setdefault(name, []).append(torch.where(sound, value.detach().float(), 0.0))

    def means(self, engine: Engine) -> dict[str, dict[str, float]]:
        """Means by network and term over the sound steps and the processes; then forgets them."""
        means = {}
        for network, terms in self._values.items():
            sums = engine.mean({name: torch.stack(values).sum() for name, values in terms.items()})
            count = sums.pop(COUNT, 0.0)
            means[network] = {name: total / count for name, total in sums.items()} if count else {}
        self._values = {network: {} for network in NETWORKS}
        return means

    def state(self) -> dict[str, dict[str, Tensor]]:
        """For a checkpoint: the values of each term in one tensor."""
        return {network: {name: torch.stack(values) for name, values in terms.items()} for network, terms in self._values.items()}

    def restore(self, checkpoint: Checkpoint | None, *, device: torch.device) -> None:
        """Take up the values of a checkpoint, or none."""
        self._values = {network: {} for network in NETWORKS}
        for key, tensor in ({} if checkpoint is None else checkpoint.tensors).items():
            first, _, rest = key.partition("/")
            if first == STATE:
                network, name = rest.split("/")
                self._values[network][name] = list(tensor.to(device).unbind())
