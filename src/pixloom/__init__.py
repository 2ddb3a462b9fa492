"""Image-to-image translation with conditional GANs.

The public names below are imported when they are first used, so that ``import pixloom`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pixloom.config import RunConfig as RunConfig
    from pixloom.errors import PixloomError as PixloomError
    from pixloom.evaluation import Evaluation as Evaluation
    from pixloom.evaluation import evaluate as evaluate
    from pixloom.images import Picture as Picture
    from pixloom.inference.translator import Translator as Translator
    from pixloom.recipes import recipe as recipe
    from pixloom.training.api import resume as resume
    from pixloom.training.api import train as train

_HOMES = {
    "Evaluation": "pixloom.evaluation",
    "Picture": "pixloom.images",
    "PixloomError": "pixloom.errors",
    "RunConfig": "pixloom.config",
    "Translator": "pixloom.inference.translator",
    "evaluate": "pixloom.evaluation",
    "recipe": "pixloom.recipes",
    "resume": "pixloom.training.api",
    "train": "pixloom.training.api",
}

__all__ = ["Evaluation", "Picture", "PixloomError", "RunConfig", "Translator", "evaluate", "recipe", "resume", "train"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixloom' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
