"""What is translated into what: one small file per task, found by name in ``TASKS``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, nearest
from pixloom.tasks.base import Given, Measured, Shown, Task
from pixloom.tasks.colorize import Colorize
from pixloom.tasks.edit import Edit
from pixloom.tasks.inpaint import Inpaint
from pixloom.tasks.pair import Pair
from pixloom.tasks.restore import Restore
from pixloom.tasks.segment import Segment
from pixloom.tasks.stylize import Stylize
from pixloom.tasks.superresolve import SuperResolve
from pixloom.tasks.synthesize import Synthesize

__all__ = ["TASKS", "Given", "Measured", "Shown", "Task", "build_task"]

TASKS: dict[str, type[Task]] = {
    "pair": Pair,
    "colorize": Colorize,
    "inpaint": Inpaint,
    "super-resolve": SuperResolve,
    "restore": Restore,
    "segment": Segment,
    "synthesize": Synthesize,
    "stylize": Stylize,
    "edit": Edit,
}


def build_task(config: TaskConfig) -> Task:
    """The task that a config names, with its settings checked against its fields.

    Raises:
        ConfigError: an unknown name, or a setting that the task has no use for or that does not fit.
    """
    if config.name not in TASKS:
        raise ConfigError(f"there is no task '{config.name}'", fix=nearest(config.name, TASKS))
    task = TASKS[config.name]
    known = [field.name for field in fields(task)]
    if config.direction is not None and "direction" not in known:
        raise ConfigError(f"the task '{config.name}' has no direction", fix="leave --direction out")
    chosen = {name: _checked(task, name, value) for name, value in config.options.items()}
    return task(**chosen, **({} if config.direction is None else {"direction": config.direction}))


def _checked(task: type[Task], name: str, value: Any) -> Any:
    """A setting with its value converted to the type of the field."""
    known = {field.name: field for field in fields(task) if field.name != "direction"}
    if name not in known:
        fix = nearest(name, known) if known else "leave it out"
        raise ConfigError(f"the task '{task.name}' has no setting '{name}'", fix=fix)
    try:
        return TypeAdapter(get_type_hints(task, include_extras=True)[name]).validate_python(value)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise ConfigError(f"task.options.{name} cannot be {value!r}", why=why, fix=f"leave it out for {known[name].default!r}") from error
