"""The loss terms of the steps since the last log entry."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pixloom.training.engine import Engine
from pixloom.training.state import Checkpoint

NETWORKS = ("generator", "critic")
STATE = "pending_terms"


class Terms:
    """Collects terms step by step, as tensors, so that no step waits for a number; they are part of a checkpoint.

    A run that was stopped between two log entries then tells the same history as one that was not.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[Tensor]]] = {network: {} for network in NETWORKS}

    def add(self, network: str, terms: Mapping[str, Tensor]) -> None:
        """The terms of one network in one step."""
        for name, value in terms.items():
            self._values[network].setdefault(name, []).append(value.detach().float())

    def means(self, engine: Engine) -> dict[str, dict[str, float]]:
        """Means by network and term over the steps and the processes; then forgets them."""

        def mean(terms: Mapping[str, list[Tensor]]) -> dict[str, float]:
            return engine.mean({name: torch.stack(values).mean() for name, values in terms.items()})

        means = {network: mean(terms) for network, terms in self._values.items()}
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
