"""Several networks that one side of the game trains as one: two directions, a generator and the heads that help it, two critics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

THERE, BACK = "there", "back"
"""Members of a team: what translates from the source's side to the target's, and what translates back."""


class Team(nn.ModuleDict):
    """Networks by name. One optimizer trains them; the average, the checkpoint and the processes see one network.

    Args:
        members: by name; one is called ``there``, and is what a trained model is.

    >>> team = Team({"there": nn.Identity(), "heads": nn.Identity()})
    >>> team("there", 3), sorted(team)
    (3, ['heads', 'there'])
    """

    def __init__(self, members: Mapping[str, nn.Module]) -> None:
        super().__init__(members)
        self.options: dict[str, Any] = {name: getattr(member, "options", {}) for name, member in members.items()}

    def forward(self, member: str, *arguments: Any, act: str | None = None) -> Any:
        """What a member makes of its arguments, by a method of another name where ``act`` says so: all of it in one wrapper."""
        return (self[member] if act is None else getattr(self[member], act))(*arguments)


def acting(network: nn.Module) -> nn.Module:
    """The network that translates, or that judges translations: the member ``there`` of a team, or the network itself.

    >>> isinstance(acting(Team({"there": nn.Identity()})), nn.Identity), isinstance(acting(nn.ReLU()), nn.ReLU)
    (True, True)
    """
    return network[THERE] if isinstance(network, Team) else network


def returning(network: nn.Module) -> nn.Module | None:
    """The network that translates back, where there is one."""
    return network[BACK] if isinstance(network, Team) and BACK in network else None
