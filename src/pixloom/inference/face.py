"""What a model looks like from outside: all that a page needs to offer it to people, as plain JSON. Pure, without torch.

The server gives it for every model, and an exported web folder holds it in ``model.json``.
"""

from __future__ import annotations

from typing import Any

from pixloom.conditions import Conditions, build_conditions
from pixloom.modelfile import ModelDescription
from pixloom.tasks import Task, build_task
from pixloom.tasks.labels import Classes

Face = dict[str, Any]
"""MODEL in the contract between server and page, but for what only a server knows: ``id`` and ``title``."""

WHITE, BLACK = [255, 255, 255], [0, 0, 0]


def face_of(description: ModelDescription, *, title: str = "", back: bool = False) -> Face:
    """A model as a page sees it.

    Args:
        description: of the model.
        title: of the model; with the name of its data all that says whether its sources are drawings.
        back: whether a model that translates back is at hand.

    Returns:
        A tree of JSON: what is given (``source``, ``wants``, ``takes``, the conditions), what comes out (``target``), and which controls
        mean something. ``needed`` names the conditions without which nothing is translated.
    """
    task = build_task(description.task)
    conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
    options = description.generator.options
    return {
        "task": description.task.name,
        "summary": _summary(task, description),
        "size": description.size,
        "native": task.native,
        "source": _source(task, int(options["source_channels"]), is_drawn=_is_drawn(description, title)),
        "target": _target(task, int(options["target_channels"])),
        "wants": list(task.takes),
        "takes": list(task.optional),
        "needed": _needed(task, conditions),
        "magnification": task.magnification,
        "strength": has_strength(task, options),
        "answers": bool(options.get("noise_channels") or description.inference.dropout),
        "reference": "style" in conditions.names,
        "text": "text" in conditions.names,
        "label": _label(task, conditions),
        "attributes": _attributes(conditions),
        "map": _map(conditions),
        "image": _image(conditions),
        "directions": _directions(description, back=back),
    }


def has_strength(task: Task, options: dict[str, Any]) -> bool:
    """Whether there is a way between a source and its translation, as ``Translator`` has it for its strength."""
    alike = options["source_channels"] == options["target_channels"] and task.magnification == 1
    return bool(alike and not (task.makes_labels or task.source_is_labels or task.exact))


def _summary(task: Task, description: ModelDescription) -> str:
    """One sentence, without what only concerns training."""
    to, origin = (description.task.options.get(name) for name in ("to", "origin"))
    sentence = task.summary.partition(";")[0].partition(" (or ")[0]
    return f"{sentence}: {origin} to {to}" if to and origin else sentence


def _source(task: Task, network: int, *, is_drawn: bool) -> dict[str, Any]:
    if task.source_is_labels:
        classes: Classes = task.vocabulary  # type: ignore[attr-defined]
        commonest = max(classes.kept, key=lambda label: label.share)
        return {"kind": "labels", "channels": 3, "classes": _classes(classes), "background": list(commonest.colour)}
    channels = task.source_channels(3, network)
    background = WHITE if is_drawn or channels != 1 else BLACK  # masks lie on black
    return {"kind": "edges" if is_drawn else "picture", "channels": channels, "classes": [], "background": background}


def _is_drawn(description: ModelDescription, title: str) -> bool:
    """Whether sources are drawings, as far as names say: nothing else in a model does."""
    data = description.facts.get("data")
    words = f"{title} {data.get('name', '') if isinstance(data, dict) else ''}".casefold()
    return description.task.name == "pair" and any(word in words for word in ("edge", "sketch", "drawing"))


def _target(task: Task, network: int) -> dict[str, Any]:
    classes = _classes(task.vocabulary) if task.makes_labels else []  # type: ignore[attr-defined]
    return {"kind": "labels" if task.makes_labels else "picture", "channels": task.output_channels(network), "classes": classes}


def _classes(classes: Classes) -> list[dict[str, Any]]:
    """Those that count, with their ids in grey files and their colours in others."""
    values = dict(zip(classes.names, classes.values, strict=True))
    return [{"id": values[label.name], "name": label.name, "color": list(label.colour)} for label in classes.kept]


def _needed(task: Task, conditions: Conditions) -> list[str]:
    """Conditions that must be given; where any of several will do, the first."""
    shown = task.wanted()
    always = [name for name in conditions.names if name not in conditions.optional and name not in shown]
    if task.between and not shown and not always:
        always = list(conditions.names[:1])
    return always


def _label(task: Task, conditions: Conditions) -> dict[str, Any] | None:
    settings = conditions.settings().get("label")
    return None if settings is None else {"names": settings["names"], "given": "one", "default": task.wanted().get("label")}


def _attributes(conditions: Conditions) -> list[dict[str, Any]]:
    settings = conditions.settings().get("attributes")
    if settings is None:
        return []
    group = {name: number for number, names in enumerate(settings["exclusive"] or []) for name in names}
    rows = zip(settings["names"], settings["low"], settings["high"], strict=True)
    return [{"name": name, "low": low, "high": high, "default": None, "exclusive": group.get(name)} for name, low, high in rows]


def _map(conditions: Conditions) -> dict[str, Any] | None:
    found = next((kind for kind in conditions.kinds if kind.name == "map"), None)
    if found is None:
        return None
    objects = bool(found.settings()["edges"])
    return {"classes": [] if objects else _classes(found.vocabulary)}  # type: ignore[attr-defined]


def _image(conditions: Conditions) -> dict[str, Any] | None:
    planes = conditions.planes.get("image")
    return None if planes is None else {"channels": planes}


def _directions(description: ModelDescription, *, back: bool) -> list[dict[str, str]]:
    """The ways in which it translates, by the names of their ends."""
    options = description.task.options
    ends = (str(options.get("origin") or "A"), str(options.get("to") or "B"))
    first, second = ends if description.task.direction != "BtoA" else ends[::-1]
    ways = [{"id": "forward", "title": f"{first} to {second}"}, {"id": "back", "title": f"{second} to {first}"}]
    return ways if back else ways[:1]
