"""What a critic is to judge, and who meets whom."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pixloom.nets.layers import Condition
from pixloom.shapes import Images


@dataclass(frozen=True)
class Side:
    """Candidates as a critic is to judge them.

    Attributes:
        source: beside which they are judged; a critic that sees none ignores it.
        candidate: real pictures, or made ones.
        condition: what they are to show.
    """

    source: Tensor
    candidate: Images
    condition: Condition

    def first(self, share: float) -> Side:
        """The first examples of a batch, whose order is by chance; at least one."""
        count = max(1, round(share * len(self.candidate)))
        return Side(self.source[:count], self.candidate[:count], {kind: value[:count] for kind, value in self.condition.items()})


@dataclass(frozen=True)
class Contest:
    """Real and made pictures that one critic is to tell apart.

    Attributes:
        real, fake: the two sides.
        member: of a team of critics; None: the critic plays alone.
        suffix: of the names of its terms, where a method has several contests.
    """

    real: Side
    fake: Side
    member: str | None = None
    suffix: str = ""
