"""The same mathematics: every loss of Pixloom's step against the plain loop's (and the peer's), step after step from the same weights.

In double precision, because in single precision two correct programs part ways: Adam divides a gradient by its own size, so that where it
is nothing but rounding, a last digit turns a step round, and the game between two networks makes much of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.cases import EQUAL_CASES, Case
from benchmarks.speed.harness import Options, Outcome
from benchmarks.speed.prepare import pairs
from benchmarks.speed.training import sides

STEPS, QUICK_STEPS = 20, 3
TOLERANCE = {"double": 1e-9, "single": 1e-4}
"""Largest relative difference of a loss: in double precision in all steps, in single precision in the first two, the second of which
comes after an update of both networks."""

SINGLE_STEPS = 2

Losses = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Setting:
    """A case with or without dropout, in one precision."""

    case: Case
    dropout: bool
    double: bool

    @property
    def precision(self) -> str:
        """Its name."""
        return "double" if self.double else "single"


def run(options: Options) -> Outcome:
    """Every setting with each of the other sides."""
    unet, *others = EQUAL_CASES
    settings = [Setting(unet, dropout, double) for double in (True, False) for dropout in (False, True)]
    settings += [] if options.quick else [Setting(case, dropout=False, double=True) for case in others]
    data, steps = str(pairs(options)), QUICK_STEPS if options.quick else STEPS
    return Outcome(rows=[row for setting in settings for row in rows_of(setting, options=options, data=data, steps=steps)], notes=NOTES)


def rows_of(setting: Setting, *, options: Options, data: str, steps: int) -> list[dict[str, Any]]:
    """One setting: a row for each of the other sides."""
    with sides(setting.case, options=options, data=data, dropout=setting.dropout, double=setting.double) as workers:
        losses: dict[str, Losses] = {name: worker.ask("steps", count=steps)["losses"] for name, worker in workers.items()}
    ours = losses.pop("pixloom")
    return [row(setting, name, compare(ours, theirs)) for name, theirs in losses.items()]


def row(setting: Setting, name: str, differences: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The largest difference of every loss, and whether the tolerance holds."""
    worst = [max(step.values()) for step in differences]
    counted = worst if setting.double else worst[:SINGLE_STEPS]
    return {
        "work": setting.case.name,
        "precision": setting.precision,
        "dropout": "on" if setting.dropout else "off",
        "against": name,
        "first step": worst[0],
        f"first {SINGLE_STEPS} steps": max(worst[:SINGLE_STEPS]),
        **{f"{term}, {len(worst)} steps": max(step[term] for step in differences) for term in differences[0]},
        "agrees": "yes" if max(counted) <= TOLERANCE[setting.precision] else "NO",
        "differences": worst,
    }


def compare(ours: Losses, theirs: Losses) -> list[dict[str, float]]:
    """The relative difference of every loss, step by step.

    Raises:
        ValueError: not the same number of steps, or other losses.
    """
    for one, other in zip(ours, theirs, strict=True):
        if one.keys() != other.keys():
            raise ValueError(f"{', '.join(one)} cannot be compared with {', '.join(other)}")
    return [{name: relative(one[name], other[name]) for name in one} for one, other in zip(ours, theirs, strict=True)]


def relative(one: float, other: float) -> float:
    """The difference of two numbers as a share of the larger: |a - b| / max(|a|, |b|).

    >>> relative(1.0, 0.5), relative(0.0, 0.0)
    (0.5, 0.0)
    """
    return 0.0 if one == other else abs(one - other) / max(abs(one), abs(other))


NOTES = (
    "Relative difference |a - b| / max(|a|, |b|) of every unweighted loss, from the same weights on the same batches; with dropout "
    f"on, all sides draw from the same seed before each step. It agrees when no loss differs by more than {TOLERANCE['double']:g} in "
    f"double precision, and by more than {TOLERANCE['single']:g} in the first {SINGLE_STEPS} steps in single precision, where rounding "
    "alone sets two equal games apart later on.",
)
