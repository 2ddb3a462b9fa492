"""Models of other programs, taken in: recognised by the names and shapes of their tensors, loaded strictly or refused.

Nothing in a file is executed, and nothing is guessed: what names and shapes leave open is asked for, what is assumed is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from pixloom.conditions import build_conditions
from pixloom.config import InferenceConfig, NetworkConfig, TaskConfig
from pixloom.errors import ConfigError, ModelError, OutputError, PixloomError, nearest
from pixloom.files import checksum
from pixloom.importers import junyanz
from pixloom.importers.base import Found
from pixloom.importers.foreign import critic_beside
from pixloom.importers.options import read_options
from pixloom.importers.recognition import FAMILIES, holds_critic, network_in
from pixloom.modelfile import DESCRIPTION, Judge, ModelDescription, describe_generator, description_tree, parse_description, save_model

__all__ = ["FAMILIES", "Imported", "import_critic", "import_model"]

ASKED = (
    *("classes", "edges", "condition"),
    *("generator.options.levels", "generator.options.start", "generator.options.noise_channels", "generator.options.norm"),
)
"""What may be said of some networks only, see ``base.Found.asks``: how many of the channels are classes, whether the last marks where
objects meet, which condition steers it, and sizes that names and shapes leave open."""

SETTINGS = (
    *("task.name", "task.direction", "task.options", "inference.statistics", "inference.dropout", "generator.options.dropout", "size"),
    *ASKED,
)
"""What people may say of a model that its file does not tell."""


@dataclass(frozen=True)
class Imported:
    """What was taken in.

    Attributes:
        folder: the model.
        family: in :data:`FAMILIES`.
        part: under which key the network lay in the file; "" where there was but one.
        description: of the model.
        notes: what was assumed, and what did not come along.
        critic: the family of the critic that came along; None where there was none.
        back: whether the generator that translates back came along, too.
    """

    folder: Path
    family: str
    part: str
    description: ModelDescription
    notes: tuple[str, ...]
    critic: str | None = None
    back: bool = False


def import_model(
    file: str | Path,
    *,
    out: str | Path,
    critic: str | Path | None = None,
    family: str | None = None,
    part: str | None = None,
    settings: Mapping[str, Any] | None = None,
    names: tuple[str, ...] = (),
    overwrite: bool = False,
) -> Imported:
    """Take in a generator from a file of weights of another program, and its critic, and write them as a model folder.

    Args:
        file: ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors``; or the folder ``checkpoints/NAME`` of pytorch-CycleGAN-and-pix2pix, of which
            the latest generator is taken, both of a CycleGAN.
        out: the model folder.
        critic: file of the critic; None: that in the same file, or beside it under the name that its program gives it, if there is one.
        family: a name in :data:`FAMILIES`, where several are possible.
        part: which of several networks in the file, by its key.
        settings: what the file does not tell, by dotted name (:data:`SETTINGS`).
        names: of the classes or attributes that steer it, in the order of its program.
        overwrite: whether an existing model is replaced.

    Raises:
        ConfigError: an unknown family, part or setting.
        ModelError: no such file, a damaged one, one that would have to be executed, none of these networks, or more than one.
        OutputError: the folder exists already, or cannot be written.
    """
    place, target = Path(file).expanduser(), Path(out)
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / DESCRIPTION).is_file()):
        raise OutputError("this place is taken by something that is not a model", where=target, fix="choose another --out")
    if target.exists() and not overwrite:
        raise OutputError("there is something here already", where=target, fix="choose another --out, or replace it with --overwrite")
    path, back = _of_folder(place) if place.is_dir() else (place, None)
    _check_sayable((key for key in settings or {} if not key.startswith("task.options.")), SETTINGS, of="a model")
    said = dict(settings or {})
    generator, found, where = network_in(path, role="generator", family=family, part=part, settings=said, names=names)
    found = found if back is None else replace(found, task=BOTH_WAYS)
    along = _judge_of(path, critic, settings=said, names=names, generator=found)
    _check_idle(said, found, family=where[0], more=along.asks)
    description, notes = _described(found, path, network=generator, family=where[0], settings=said, names=names, critic=along.family)
    returning, along_back = None, _Along()
    lone: tuple[str, ...] = ()
    if back is not None:
        other, found_back, _ = network_in(back, role="generator", family=family, part=part)
        turned = {"task.name": said["task.name"], "task.direction": "BtoA"} if "task.name" in said else {}
        about, _ = _described(replace(found_back, task=BOTH_WAYS), back, network=other, family=where[0], settings=turned, names=names)
        returning = other, about
        along_back = _judge_of(back, None, settings=said, names=names, generator=found_back)
        lone = (LONE,) if (along.judge is None) != (along_back.judge is None) else ()
    save_model(target, generator=generator, description=description, back=returning, judges=(along.judge, along_back.judge))
    alone = () if place.is_dir() or not _has_other_way(path) else (f"it is one way of two: import the folder {path.parent} to have both",)
    return Imported(
        target,
        *where,
        description,
        tuple(dict.fromkeys((*notes, *along.notes, *along_back.notes, *lone, *alone))),
        along.family,
        back=back is not None,
    )


LONE = "of the two directions one has a critic here: in a game of both, both begin anew"

BOTH_WAYS: Mapping[str, Any] = {"name": "stylize"}
"""The task of generators of both directions, which learnt from two collections without pairs."""


def _has_other_way(path: Path) -> bool:
    """Whether the generator of the other direction of a CycleGAN lies beside one."""
    return "_net_G_A." in path.name and path.with_name(path.name.replace("_net_G_A.", "_net_G_B.")).is_file()


@dataclass(frozen=True)
class _Along:
    """The critic that comes along with a generator.

    Attributes:
        judge: it; None where there is none.
        family: in :data:`FAMILIES`.
        asks: see ``base.Found.asks``.
        notes: what was assumed, or why one that is there does not come along.
    """

    judge: Judge | None = None
    family: str | None = None
    asks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _judge_of(path: Path, critic: str | Path | None, *, settings: Mapping[str, Any], names: tuple[str, ...], generator: Found) -> _Along:
    """The critic of a generator.

    Args:
        path: of the generator.
        critic: of the critic, as people say; None: it is looked for.
        settings: what people say of the generator; what is about the critic as well is told it, too.
        names: of the classes or attributes.
        generator: what it judges.

    Raises:
        ModelError: the file that people say cannot be had.
    """
    place = critic_beside(path) or path if critic is None else Path(critic).expanduser()
    if critic is None and place == path and not holds_critic(path):
        return _Along()
    try:
        network, found, (family, _) = network_in(place, role="critic", family=None, part=None, settings=settings, names=names)
        _check_judges(found, generator, where=place)
    except PixloomError as error:
        if critic is not None:
            raise
        word = f"the critic in {place.name} does not come along: {error.what}{f' ({error.why})' if error.why else ''}"
        return _Along(notes=(word,))
    return _Along(Judge(describe_generator(found.name, network), network.state_dict()), family, found.asks, found.notes)


def import_critic(
    file: str | Path,
    *,
    family: str | None = None,
    part: str | None = None,
    settings: Mapping[str, Any] | None = None,
    names: tuple[str, ...] = (),
) -> nn.Module:
    """A critic from a file of weights of another program.

    Arguments and errors are those of :func:`import_model`; of the settings, ``task.name`` and some of :data:`ASKED` are about critics.
    """
    _check_sayable(settings or {}, ("task.name", *ASKED), of="a critic")
    network, found, (name, _) = network_in(Path(file).expanduser(), role="critic", family=family, part=part, settings=settings, names=names)
    _check_idle(settings or {}, found, family=name)
    return network.train()


def _check_judges(critic: Found, generator: Found, *, where: Path) -> None:
    """That a critic judges what a generator makes.

    Raises:
        ModelError: it does not.
    """
    judged, made = critic.options["target_channels"], generator.options["target_channels"]
    if judged != made:
        raise ModelError(f"it judges pictures of {judged} channels, and the generator makes {made}", where=where, fix="give its own")


def _check_idle(settings: Mapping[str, Any], found: Found, *, family: str, more: tuple[str, ...] = ()) -> None:
    """That all that is asked of some networks only is about this one, or ``more``, about the critic that comes along.

    Raises:
        ConfigError: something is not.
    """
    if idle := [setting for setting in settings if setting in ASKED and setting not in (*found.asks, *more)]:
        raise ConfigError(f"'{idle[0]}' would have no effect", why=f"it is not about {FAMILIES[family].title}", fix="leave it out")


def _check_sayable(keys: Iterable[str], known: tuple[str, ...], *, of: str) -> None:
    """That settings are among those that are known.

    Raises:
        ConfigError: one is not.
    """
    for key in keys:
        if key not in known:
            raise ConfigError(f"'{key}' is nothing that can be said of {of} that is imported", fix=nearest(key, known))


def _described(
    found: Found,
    path: Path,
    *,
    network: nn.Module,
    family: str,
    settings: dict[str, Any],
    names: tuple[str, ...],
    critic: str | None = None,
) -> tuple[ModelDescription, tuple[str, ...]]:
    """The description of a model, from the network, the peer's options beside it, and what people said."""
    beside = read_options(path)
    said = {**beside.settings, **settings}
    options = describe_generator(found.name, network).options  # every one, that later defaults may be others
    if "generator.options.dropout" in settings and found.name != "unet":
        raise ConfigError("generator.options.dropout would have no effect", why="the names of the tensors tell", fix="leave it out")
    if "generator.options.dropout" in said and found.name == "unet":
        options["dropout"] = _dropout(said["generator.options.dropout"])
    named = {name.removeprefix("task.options."): value for name, value in said.items() if name.startswith("task.options.")}
    with _said():
        task = TaskConfig(
            name=said.get("task.name", found.task["name"]),
            direction=None if found.task is BOTH_WAYS and "task.name" not in said else said.get("task.direction"),
            options={**found.task.get("options", {}), **said.get("task.options", {}), **named},
        )
        run = found.inference.model_dump() | {key.partition(".")[2]: value for key, value in said.items() if key.startswith("inference.")}
        inference = InferenceConfig(**run)
    called = {"names": list(names)} if names else {}
    conditions = {kind: {**given, **(called if kind in NAMED else {})} for kind, given in found.conditions.items()}
    _check_names(conditions, names, widths=options.get("conditions", {}), of_classes="classes" in task.options)
    own = [note for note in found.notes if note != junyanz.DROPPED or "generator.options.dropout" not in said]
    notes = (*own, *beside.notes, *_assumed(task, said, size=found.size))
    facts = {
        "imported": {
            "from": path.name,
            "sha256": checksum(path),
            "family": FAMILIES[family].title,
            **({"critic": f"{FAMILIES[critic].title} lies beside it, for going on with training"} if critic else {}),
            **({"notes": "; ".join(notes)} if notes else {}),
        }
    }
    description = ModelDescription(
        task=task,
        generator=NetworkConfig(name=found.name, options=options),
        inference=inference,
        size=said.get("size", found.size),
        recipe=f"imported-{family}",
        conditions=conditions,
        facts=facts,
    )
    parse_description(description_tree(description, sha256=""), where=path)  # it is used as it will be read
    return description, notes


def _assumed(task: TaskConfig, said: Mapping[str, Any], *, size: int) -> list[str]:
    """What is taken for granted where neither the file nor anyone says it."""
    notes = [] if "size" in said else [f"pictures are brought to {size} px; what it was trained at cannot be seen: --set size=N"]
    if task.name == "pair" and "task.direction" not in said:
        notes.append("for comparing with pairs the direction is taken to be AtoB: --set task.direction=BtoA")
    return notes


@contextmanager
def _said() -> Iterator[None]:
    """A value that cannot be, as an error that names it."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"'{where}' cannot be {first['input']!r}", why=first["msg"], fix="see docs/reference/settings.md") from error


def _dropout(share: Any) -> float:
    """A share of activations to drop.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < 1:
        raise ConfigError(f"generator.options.dropout cannot be {share!r}", fix="a share from 0 to below 1, e.g. 0.5")
    return float(share)


NAMED = ("label", "attributes")
"""Conditions that have names."""


def _check_names(
    conditions: Mapping[str, Mapping[str, Any]], names: tuple[str, ...], *, widths: Mapping[str, int], of_classes: bool
) -> None:
    """That what steers a model has its names; where they are ``of_classes``, these have them.

    Raises:
        ConfigError: they are missing, too many or too few, or steer nothing.
    """
    if names and not of_classes and not any(kind in NAMED for kind in conditions):
        raise ConfigError("--name would have no effect", why="nothing steers this model", fix="leave it out")
    for kind in (kind for kind in NAMED if kind in conditions):
        wanted = widths[kind] // (2 if kind == "attributes" else 1)  # of attributes, values and whether they are stated
        if len(conditions[kind].get("names", ())) != wanted:
            raise ConfigError(
                f"the model is steered by {wanted} names, and {len(conditions[kind].get('names', ()))} are given",
                fix=f"--name A,B,... with {wanted} names, in the order in which its program has them",
            )
    build_conditions(dict(conditions), dropout=0.0)


def _of_folder(folder: Path) -> tuple[Path, Path | None]:
    """The generator in ``checkpoints/NAME``, and where there are two the one that translates back.

    Raises:
        ModelError: there is none.
    """
    one, there, back = (folder / f"latest_net_{name}.pth" for name in ("G", "G_A", "G_B"))
    if one.is_file():
        return one, None
    if there.is_file():
        return there, back if back.is_file() else None
    if (folder / DESCRIPTION).is_file():
        raise ModelError("this is a model of Pixloom already", where=folder, fix="use it as it is, e.g. pixloom translate MODEL PICTURES")
    raise ModelError(
        "there is no generator in this folder",
        where=folder,
        why="neither latest_net_G.pth nor latest_net_G_A.pth is in it",
        fix="give the file of weights itself",
    )
