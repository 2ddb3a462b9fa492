"""Networks that read planes of labels: which of their channels are classes, and what our task gives them instead.

Theirs are 1 and 0, then perhaps a plane of pixels without a label, then perhaps one of the boundaries of objects (Wang et al., 2018,
section 3.3; Park et al., 2019, appendix). Ours are 1 and -1, and one of none follows always: ``planes=binary`` gives the network ones and
zeros, a plane that it never had gets weights of zero, and the boundaries are those of the condition ``map`` with ``edges=true``. All of
it is exact.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from pixloom.errors import ModelError
from pixloom.importers.base import Found, Said

MOST_OF_A_PICTURE = 4
"""Channels that a picture may have, with transparency: what reads more reads labels, unless it is said otherwise."""

UNLABELLED = 255
"""The id of pixels without a label, in the files of Cityscapes, COCO-Stuff and the program of SPADE."""


def may_be_labels(found: Found, *, readers: tuple[str, ...]) -> Found:
    """A generator of pix2pixHD, which reads pictures, or planes of labels and perhaps of boundaries.

    Args:
        found: as one that reads pictures.
        readers: the layers that read the source, under our names.
    """

    def settle(said: Said) -> Found:
        source = found.options["source_channels"]
        if said.settings.get("task.name", "synthesize") != "synthesize":
            return found
        if source <= MOST_OF_A_PICTURE and not (said.number("classes") or said.names) and "task.name" not in said.settings:
            return found
        return with_classes(found, said, readers=readers, seen=source, ignorable=False)

    return replace(found, asks=("classes", "edges"), settle=settle)


def with_classes(found: Found, said: Said, *, readers: tuple[str, ...], seen: int, ignorable: bool) -> Found:
    """The network as one that reads label maps.

    Args:
        found: its tensors are those of the file, but for what reads labels.
        said: at least ``classes``, or their names.
        readers: the layers that read labels, under our names.
        seen: channels of labels that they read; what a critic reads after them is the picture, which in ours stands before the boundaries.
        ignorable: whether its program may have a plane of pixels without a label.

    Raises:
        ModelError: how many of the channels are classes is not said, or they cannot be as it is.
    """
    classes = said.number("classes") or len(said.names)
    if not classes:
        raise ModelError(
            f"it is not said how many of its {seen} channels are classes",
            why="after them may come one of the boundaries of objects" + (" and one of pixels without a label" if ignorable else ""),
            fix="--set classes=N, or --name with the classes" + ("" if ignorable else "; --set task.name=pair where it reads pictures"),
        )
    if said.names and len(said.names) != classes:
        raise ModelError(f"there are {classes} classes, and {len(said.names)} names", fix="give a name for each, in the order of their ids")
    unlabelled, edges = _after(seen, classes=classes, edges=said.choice("edges", (True, False, None), default=None), ignorable=ignorable)
    known = classes + unlabelled
    tensors = dict(found.state)
    for name in (f"{reader}.weight" for reader in readers):
        weight = tensors[name]
        parts = weight[:, :known], torch.zeros_like(weight[:, :1]), weight[:, seen:], weight[:, known:seen]
        tensors[name] = torch.cat(parts, 1)
    steered = {**found.options.get("conditions", {}), **({"objects": 1} if edges else {})}
    options = {**found.options, "source_channels": known + 1, "planes": "binary", "conditions": steered}
    notes = (
        *(() if said.names else ("the classes have no names; name them with --name",)),
        "the classes have colours of our own: give label maps of ids",
        *(("the last channel is of boundaries: give the map of objects with --map",) if edges else ()),
    )
    return replace(
        found,
        options=options,
        state=tensors,
        task={"name": "synthesize", "options": {"classes": listed(classes, names=said.names, unlabelled=unlabelled)}},
        conditions={**found.conditions, **({"map": {"edges": True}} if edges else {})},
        notes=(*found.notes, *notes),
    )


def listed(classes: int, *, names: tuple[str, ...] = (), unlabelled: bool = False) -> list[dict[str, Any]]:
    """Classes with the ids 0, 1, ..., as a task has them; colours on a grid, as far from each other as so many can be.

    >>> listed(2, names=("sky", "sea"))
    [{'name': 'sky', 'colour': [0, 0, 0], 'id': 0}, {'name': 'sea', 'colour': [0, 0, 255], 'id': 1}]
    >>> listed(1, unlabelled=True)[-1]
    {'name': 'unlabelled', 'colour': [0, 0, 255], 'id': 255}
    """
    called = [*(names or [f"class {number}" for number in range(classes)]), *(["unlabelled"] if unlabelled else [])]
    steps = max(2, math.ceil(round(len(called) ** (1 / 3), 6)))
    values = [round(255 * step / (steps - 1)) for step in range(steps)]
    return [
        {
            "name": name,
            "colour": [values[number // steps**2], values[number // steps % steps], values[number % steps]],
            "id": UNLABELLED if unlabelled and number == classes else number,
        }
        for number, name in enumerate(called)
    ]


def _after(seen: int, *, classes: int, edges: bool | None, ignorable: bool) -> tuple[bool, bool]:
    """Whether a plane of pixels without a label, and one of boundaries, follow the classes.

    Raises:
        ModelError: that is not said, or something else follows.
    """
    more = seen - classes
    if more == 1 and ignorable and edges is None:
        raise ModelError(
            "one channel follows the classes, and it is not said what it holds",
            why="its program has one for pixels without a label (--contain_dontcare_label), and one of boundaries (without --no_instance)",
            fix="--set edges=true for boundaries, or --set edges=false",
        )
    found = {(0, False): (False, False), (0, True): (False, False), (1, False): (False, True), (2, True): (True, True)}.get(
        (more, ignorable)
    )
    if more == 1 and ignorable:
        found = (not edges, bool(edges))
    if found is None:
        most = "boundaries of objects and of pixels without a label" if ignorable else "boundaries of objects"
        raise ModelError(
            f"it reads {seen} channels, which are not {classes} classes",
            why=f"after them may come channels of {most}; features of an encoder (--instance_feat, --label_feat) cannot be had",
            fix="--set classes=N with the right number",
        )
    if edges is not None and edges != found[1]:
        said = "no channel" if edges else "one channel more"
        raise ModelError(
            f"edges={str(edges).lower()} does not go with it",
            why=f"of its {seen} channels {said} would be left over",
            fix="leave edges out",
        )
    return found
