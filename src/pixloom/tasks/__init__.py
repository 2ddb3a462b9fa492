"""What is translated into what: one small file per task, found by name in ``TASKS``."""

from __future__ import annotations

from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, nearest
from pixloom.tasks.base import Task
from pixloom.tasks.colorize import Colorize
from pixloom.tasks.pair import Pair

__all__ = ["TASKS", "Task", "build_task"]

TASKS: dict[str, type[Task]] = {"pair": Pair, "colorize": Colorize}


def build_task(config: TaskConfig) -> Task:
    """The task that a config names.

    Raises:
        ConfigError: an unknown name, or a setting that the task has no use for.
    """
    if config.name not in TASKS:
        raise ConfigError(f"there is no task '{config.name}'", fix=nearest(config.name, TASKS))
    if config.name == "pair":
        return Pair(direction=config.direction or "AtoB")
    if config.direction is not None:
        raise ConfigError(f"the task '{config.name}' has no direction", fix="leave --direction out")
    return TASKS[config.name]()
