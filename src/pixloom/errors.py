"""One family of errors: what went wrong, where, the likely cause, and what to do about it."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import re
from collections.abc import Iterable
from types import ModuleType


class PixloomError(Exception):
    """A mistake that the user can mend: carries what, where, why and the fix.

    The command line prints it without a traceback and exits with ``exit_code``.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, why: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        lines = [what]
        lines += [f"  {name}: {value}" for name, value in (("where", where), ("why", why), ("fix", fix)) if value is not None]
        super().__init__("\n".join(lines))


class ConfigError(PixloomError):
    """A setting, option or recipe that is unknown, out of range, or would have no effect."""


class DataError(PixloomError):
    """A data folder or index that cannot be read as examples."""


class ImageError(PixloomError):
    """One picture file that cannot be read, or a picture of a kind that is not accepted."""


class ModelError(PixloomError):
    """A model folder that is missing, damaged, foreign or does not fit the work asked of it."""


class CheckpointError(PixloomError):
    """A run folder or checkpoint that is missing, damaged or belongs to another run."""


class OutputError(PixloomError):
    """Something could not be written: the place exists already, is not writable, or is full."""


class TrainingError(PixloomError):
    """Training cannot go on: for instance, the losses stay non-finite after every remedy."""


class DependencyError(PixloomError):
    """An optional package is needed for what was asked."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, or its kind where it says nothing.

    >>> first_line(ValueError("told")), first_line(KeyError()), first_line(KeyError(101))
    ('told', 'KeyError', 'KeyError')
    """
    text = str(error).strip().splitlines()
    return text[0] if text and not text[0].isdecimal() else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """A closing sentence with the nearest known name, or the list of them.

    >>> nearest("pix2px", ["pix2pix", "cgan"])
    "Did you mean 'pix2pix'?"
    >>> nearest("zzz", ["pix2pix", "cgan"])
    'Known: cgan, pix2pix.'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or say in one sentence what is missing and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(f"{purpose} needs the package '{module}'", fix=installing(extra)) from error


def installing(extra: str) -> str:
    """The command that installs what an extra stands for, whichever way Pixloom itself was installed."""
    try:
        needed = importlib.metadata.requires("pixloom") or []
    except importlib.metadata.PackageNotFoundError:  # run from the source tree
        needed = []
    packages = [need.split(";")[0].strip() for need in needed if re.search(rf"""extra == ['"]{extra}['"]""", need)]
    return f"pip install {' '.join(f'{chr(34)}{package}{chr(34)}' for package in packages)}" if packages else f'pip install ".[{extra}]"'
