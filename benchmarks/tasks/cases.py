"""What an experiment is, what it is judged with, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Number = tuple[float, float | None, float | None]
"""A figure and its 95 % interval, where there is one."""

Figures = dict[str, dict[str, Number]]
"""Contender -> metric -> number. The first contender is the run itself."""

RUN, TWIN, INPUT = "this run", "twin without a critic", "input"
"""Names of contenders."""


@dataclass(frozen=True)
class Case:
    """A trained run that is to be judged.

    Attributes:
        run: its folder.
        data: the folder that it was trained on.
        pictures: FOLDER, where other pictures lie.
        weights: of feature networks.
        twin: the run without a critic, of the same seed.
        helpers: other runs that are needed, by their experiment.
    """

    run: Path
    data: Path
    pictures: Path
    weights: Path
    twin: Path | None = None
    helpers: Mapping[str, Path] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The model as training left it; the best one would have been chosen on the pictures that it is judged on."""
        return self.run / "model-last"


@dataclass(frozen=True)
class Found:
    """What a measurement gives.

    Attributes:
        figures: every number.
        count: of pictures judged.
        protocol: how the numbers came about.
        needs: requirement -> whether it is met.
        strips: picture -> what is shown side by side, by its name; uint8.
    """

    figures: Figures
    count: int
    protocol: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, bool] = field(default_factory=dict)
    strips: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


Measure = Callable[[Case], Found]


@dataclass(frozen=True)
class Experiment:
    """One row of the table.

    Attributes:
        title: what is done, in a few words.
        data: a name in ``datasets.DATA_SETS``.
        arguments: of ``pixloom train``, all but data, settings, size, images, seed and out.
        settings: ``section.key=value``.
        size: side of the training crops.
        images: the length; fixed, so that a busy machine delays a run but does not change it.
        measure: judges the trained run; any function of a Case.
        twin: the experiment without a critic that it is compared with, trained for the same seed.
        helpers: experiments of which a run of seed 0 is needed to judge this one.
    """

    title: str
    data: str
    arguments: tuple[str, ...]
    settings: tuple[str, ...]
    size: int
    images: int
    measure: Measure
    twin: str | None = None
    helpers: tuple[str, ...] = ()


def value(found: Figures, contender: str, metric: str) -> float:
    """A number without its interval."""
    return found[contender][metric][0]


def number_of(figure: float) -> Number:
    """A figure without an interval."""
    return float(figure), None, None
