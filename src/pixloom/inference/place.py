"""Where the file of a format goes, and making it without its maker's remarks."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from pixloom.errors import ConfigError, OutputError


def place_for(out: str | Path | None, *, usual: Path, what: str, overwrite: bool) -> Path:
    """The file to write, which is free, or may be replaced.

    Args:
        out: as it was asked for; None: the usual one.
        usual: in the model folder; its suffix is that of the format.
        what: the format, in words.
        overwrite: whether an existing file is replaced.

    Raises:
        ConfigError: a name with another suffix.
        OutputError: the file exists.
    """
    path = usual if out is None else Path(out)
    if path.suffix != usual.suffix:
        raise ConfigError(f"{what} is a {usual.suffix} file", where=path, fix=f"give --out a name that ends in {usual.suffix}")
    if path.exists() and not overwrite:
        raise OutputError("the file exists already", where=path, fix="choose another --out, or replace it with --overwrite")
    return path


@contextmanager
def quietly() -> Iterator[None]:
    """Without the remarks of converters on their own steps: warnings, logs, and what they print."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(former)
