"""Training from Python."""

from __future__ import annotations

from pathlib import Path

from pixloom.config import RunConfig
from pixloom.training.loop import resume as _resume
from pixloom.training.loop import train as _train
from pixloom.training.plan import complete
from pixloom.training.session import RunResult


def train(config: RunConfig, *, out: str | Path, quiet: bool = False) -> RunResult:
    """Train what a config says into a new run folder.

    Args:
        config: complete settings; a recipe with the data's path is enough.
        out: the run folder to make.
        quiet: print nothing while training.

    Raises:
        ConfigError: settings that do not fit each other.
        DataError: no usable examples.
        OutputError: the folder is taken or not writable, or the disk too full.
        TrainingError: the losses stay non-finite after every remedy.

    >>> from pixloom import recipe, train
    >>> from pixloom.config import override
    >>> config = override(recipe("pix2pix", size=128), {"data.path": "photos", "task.name": "colorize", "training.minutes": 20})
    >>> train(config, out="runs/x")                                     # doctest: +SKIP
    """
    return _train(complete(config), out=out, quiet=quiet)


def resume(run: str | Path, *, minutes: float | None = None, quiet: bool = False) -> RunResult:
    """Go on with a run exactly where its newest whole checkpoint stands.

    Args:
        run: the folder.
        minutes: so many more from now on, at most; None: what its settings leave.
        quiet: print nothing.

    Raises:
        CheckpointError: no run there, no whole checkpoint, or other data than before.
        ConfigError: minutes that are none.
    """
    return _resume(run, minutes=minutes, quiet=quiet)
