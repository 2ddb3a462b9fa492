"""A model is a folder that explains itself: ``config.json``, ``model.safetensors``, ``README.md``. Nothing in it executes.

Networks are named by their entry in ``pixloom.nets.NETWORKS`` and the options of their constructor; no file names a class to import.
Descriptions are read without torch; it is imported where weights are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors import SafetensorError

from pixloom import __version__
from pixloom.conditions import Condition, build_conditions
from pixloom.config import InferenceConfig, NetworkConfig, TaskConfig
from pixloom.errors import ConfigError, ModelError, PixloomError, nearest
from pixloom.files import checksum, new_folder
from pixloom.tasks import Task, build_task

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT = "pixloom-model"
FORMAT_VERSION = 1
MOST_PIXELS = 4096
"""The largest working size that a model may ask for, as for training."""

WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"

BACK = "back"
"""Sub-folder of a model with the one that translates back."""

JUDGE_FORMAT = "pixloom-critic"
"""Under which the file of a critic describes its network."""

CRITIC = "critic.safetensors"
"""Of an imported model: the critic that it was trained against, which ``train --from`` goes on with; its metadata describe it."""


@dataclass(frozen=True)
class ModelDescription:
    """All that is needed to use a generator, so that the user never repeats any of it.

    Attributes:
        task: what it translates into what.
        generator: the network's name and every option of its constructor.
        inference: which statistics batch norm uses, and whether dropout stays on as noise.
        size: the short side in pixels at which it was trained; pictures are brought to it at use.
        recipe: the recipe it was trained with.
        conditions: what steers it besides the source, by kind, with the vocabularies.
        condition_dropout: how often it learnt without each; 0: they must be given.
        facts: where it comes from (data, training, metrics, versions); for people, never read back by the code.
    """

    task: TaskConfig
    generator: NetworkConfig
    inference: InferenceConfig
    size: int
    recipe: str
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    condition_dropout: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judge:
    """A critic that comes along with a model.

    Attributes:
        network: its name and every option of its constructor.
        tensors: its weights and buffers by name.
    """

    network: NetworkConfig
    tensors: Mapping[str, torch.Tensor]


def save_model(
    folder: Path,
    *,
    generator: nn.Module,
    description: ModelDescription,
    back: tuple[nn.Module, ModelDescription] | None = None,
    judges: tuple[Judge | None, Judge | None] = (None, None),
) -> None:
    """Write a model folder in one piece: a finished folder appears under its name, or nothing changes.

    Args:
        folder: of the model.
        generator: the network.
        description: all else that is needed to use it.
        back: what translates back, where both directions were learnt: a model of its own in the sub-folder :data:`BACK`.
        judges: the critics of this direction and of the one back, where they are at hand: the file :data:`CRITIC` of either.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with new_folder(folder, what="the model") as draft:
        _write_files(draft, generator=generator, description=description, judge=judges[0])
        if back is not None:
            (draft / BACK).mkdir()
            _write_files(draft / BACK, generator=back[0], description=back[1], judge=judges[1])


def load_judge(folder: Path) -> Judge | None:
    """The critic that lies beside a model; None where there is none.

    Raises:
        ModelError: it is damaged, a foreign file, or its tensors are not those of the network that it names.
    """
    import torch
    from safetensors import safe_open

    from pixloom.nets import CRITICS, build

    path = folder / CRITIC
    if not path.is_file():
        return None
    what, fix = "the critic beside the model cannot be read", "import the model again"
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[JUDGE_FORMAT])
            network = NetworkConfig(**about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        if network.name not in CRITICS:
            raise ConfigError(f"there is no critic '{network.name}'")
        with torch.device("meta"):  # whatever sizes it claims, they are the tensors' or refused
            build(network.name, network.options).load_state_dict(tensors, strict=True, assign=True)
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ConfigError("there are weights that are no numbers")
    except PixloomError as error:
        raise ModelError(what, where=path, why=error.what, fix=fix) from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)[:500]
        raise ModelError(what, where=path, why=why, fix=fix) from error
    return Judge(network, tensors)


def load_model(folder: Path) -> tuple[nn.Module, ModelDescription]:
    """The generator, on the CPU and ready for use as its description says, and that description.

    Raises:
        ModelError: no model there, a damaged or foreign one, or weights that do not fit the description.
    """
    import torch

    from pixloom.nets import GENERATORS, build

    description, sha256 = read_description(folder)
    name, options = description.generator.name, description.generator.options
    with _understood(folder / DESCRIPTION):
        if name not in GENERATORS:
            raise ConfigError(f"there is no generator '{name}'", fix=nearest(name, GENERATORS))
        with torch.device("meta"):  # no memory, whatever sizes a foreign file asks for, until the weights are seen to have them
            generator = build(name, options)
    weights = _read_weights(folder, expected=sha256)
    try:
        generator.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelError(
            "the weights do not fit the network that the model describes",
            where=folder / WEIGHTS,
            why=str(error)[:500],
            fix="copy the folder again from its source, with its three files",
        ) from error
    return generator.eval(), description


def read_description(folder: Path) -> tuple[ModelDescription, str]:
    """What a model folder says of itself, and the SHA-256 of the weights that it says it of.

    Raises:
        ModelError: no model there, or a damaged or foreign description.
    """
    tree = _read_tree(folder)
    return parse_description(tree, where=folder / DESCRIPTION), str(tree.get("sha256", ""))


def description_tree(description: ModelDescription, *, sha256: str) -> dict[str, Any]:
    """A description as JSON has it; :func:`parse_description` reads it back.

    Args:
        description: of the model.
        sha256: of its weights, in hex.
    """
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pixloom": __version__,
        "task": description.task.model_dump(),
        "generator": description.generator.model_dump(),
        "inference": description.inference.model_dump(),
        "size": description.size,
        "recipe": description.recipe,
        "conditions": description.conditions,
        "condition_dropout": description.condition_dropout,
        "sha256": sha256,
        "facts": _plain(description.facts),
    }


def parse_description(tree: dict[str, Any], *, where: Path) -> ModelDescription:
    """The description in a tree of JSON, every value checked but those of the network, which it alone knows.

    Raises:
        ModelError: it cannot be understood; names the file ``where`` it stands.
    """
    with _understood(where):
        description = ModelDescription(
            task=TaskConfig(**tree["task"]),
            generator=NetworkConfig(**tree["generator"]),
            inference=InferenceConfig(**tree["inference"]),
            size=tree["size"],
            recipe=str(tree["recipe"]),
            conditions=tree.get("conditions", {}),
            condition_dropout=float(tree.get("condition_dropout", 0.0)),
            facts=tree.get("facts", {}),
        )
        build_task(description.task)
        _check_conditions(description)
        if not isinstance(description.facts, dict):
            raise ConfigError("facts is not a mapping")
        if type(description.size) is not int or not 1 <= description.size <= MOST_PIXELS:
            raise ConfigError(f"the size cannot be {description.size!r}")
        return description


def _check_conditions(description: ModelDescription) -> None:
    """That the vocabularies are those that the network was built for."""
    widths = build_conditions(description.conditions, dropout=description.condition_dropout).widths
    if widths != (description.generator.options.get("conditions") or {}):
        raise ConfigError("the conditions are not those of the network")


@contextmanager
def _understood(where: Path) -> Iterator[None]:
    """Any failure to understand a description as a ModelError that names its file."""
    what, fix = "the model's description cannot be understood", "use a model as it was saved, by this or an older version of pixloom"
    try:
        yield
    except PixloomError as error:
        raise ModelError(what, where=where, why=error.what, fix=error.fix or fix) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(what, where=where, why=f"{'.'.join(map(str, first['loc']))}: {first['msg']}", fix=fix) from error
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(what, where=where, why=why, fix=fix) from error


def _write_files(folder: Path, *, generator: nn.Module, description: ModelDescription, judge: Judge | None) -> None:
    from safetensors.torch import save_file

    if judge is not None:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in judge.tensors.items()}
        save_file(kept, folder / CRITIC, metadata={JUDGE_FORMAT: judge.network.model_dump_json()})
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": FORMAT})
    tree = description_tree(description, sha256=checksum(folder / WEIGHTS))
    (folder / DESCRIPTION).write_text(json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(description), encoding="utf-8")


def _read_tree(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            "there is no model here",
            where=folder,
            why=f"the folder has no {DESCRIPTION}",
            fix="give a model folder or the run folder of a training, e.g. runs/NAME",
        )
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError("the model's description is damaged", where=path, why=str(error), fix="restore it from a copy") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise ModelError("this is not a pixloom model", where=path, fix="give a folder that pixloom saved")
    if type(tree.get("format_version")) is not int or not 1 <= tree["format_version"] <= FORMAT_VERSION:
        raise ModelError(
            f"the model has format {tree.get('format_version')}, newer than or foreign to this pixloom, which reads {FORMAT_VERSION}",
            where=path,
            fix="pip install --upgrade pixloom",
        )
    return tree


def _read_weights(folder: Path, *, expected: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError("the model has no weights", where=path, fix="copy the whole folder, with its three files")
    if checksum(path) != expected:
        raise ModelError(
            "the model's weights are damaged",
            where=path,
            why="the checksum is not the one that the description states",
            fix="copy the folder again from its source",
        )
    try:
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError("the model's weights cannot be read", where=path, why=str(error), fix="copy the folder again") from error


def model_card(description: ModelDescription) -> str:
    """The README of a model: what it is, how to use it, where it comes from, how good it is, what it cannot do."""
    sections = [
        _HEADER.format(task=description.task.name, recipe=description.recipe),
        _what_it_is(description),
        _USE.format(options=_needed_options(description)),
    ]
    sections += [f"## {title.capitalize()}\n\n{_as_list(content)}\n" for title, content in description.facts.items()]
    return "\n".join([*sections, _LIMITS])


MOST_NAMES = 20
"""So many names are listed in a card."""

_HEADER = """---
library_name: pixloom
pipeline_tag: image-to-image
tags: [{task}, {recipe}]
---

# {task} ({recipe})
"""

_USE = """## Use

```
pixloom translate THIS_FOLDER pictures/ --out translated/{options}
```

```python
from pixloom import Translator

translate = Translator.from_pretrained("THIS_FOLDER")
translate("picture.jpg").save("translated.png")
```
"""

_LIMITS = """## Limits

It knows only pictures like those it was trained on; judge it on your own with `pixloom evaluate`. The licence of the weights follows
from that of the training pictures.
"""


def _what_it_is(description: ModelDescription) -> str:
    """Network, channels, size and how it is run, in sentences."""
    task, options, inference = build_task(description.task), description.generator.options, description.inference
    source, target = options["source_channels"], task.output_channels(options["target_channels"])
    statistics = {"running": "the running statistics of training", "image": "the statistics of each single picture"}[inference.statistics]
    to, origin = (description.task.options.get(name) for name in ("to", "origin"))
    at = "that is given them at" if "imported" in description.facts else "trained at"  # what other programs trained at is not known
    way = f"{origin} to {to}" if to and origin else description.task.direction
    direction = f" ({way})" if way and f"({way})" not in task.summary else ""
    direction += f", {description.task.options['scale']} times here" if "scale" in description.task.options else ""
    return (
        f"Task: {task.summary}{direction}. Translates pictures of {source} channel(s) into pictures of {target}, of any size, with a\n"
        f"`{description.generator.name}` {at} {description.size} px. Batch norm, where it has any, uses {statistics}; dropout is"
        f" {'on, with a fixed seed' if inference.dropout else 'off'}.\n{_classes_of(task)}{_what_steers_it(description)}"
    )


def _classes_of(task: Task) -> str:
    """The classes of its label maps."""
    if not (task.source_is_labels or task.makes_labels):
        return ""
    names = task.vocabulary.names  # type: ignore[attr-defined]
    where = "the source" if task.source_is_labels else "the output"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"\nClasses of its label maps ({where}): {', '.join(names[:MOST_NAMES])}{more}.\n"


def _needed_options(description: ModelDescription) -> str:
    """The options without which the model does not translate, and those that bring more answers."""
    task = build_task(description.task)
    conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
    always = [kind for kind in conditions.kinds if kind.name not in conditions.optional]
    if task.between and not task.wanted() and not always:
        always = list(conditions.kinds[:1])
    options = [f" --{name} FILE" for name in task.takes]
    options += [f" {kind.example}" for kind in always]
    options += [" --samples 4"] if description.generator.options.get("noise_channels") else []
    return "".join(options)


def _what_steers_it(description: ModelDescription) -> str:
    """The conditions and how they are given, as bullets."""
    conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
    if not conditions.kinds:
        return ""
    lines = [f"- {kind.name}: {kind.offer}{_names_of(kind)}" for kind in conditions.kinds]
    task = build_task(description.task)
    always = [kind.name for kind in conditions.kinds if kind.name not in conditions.optional]
    other = "at least one must be given" if task.between and not task.wanted() else "each may be left out"
    needed = f"{' and '.join(always)} must be given" if always else other
    return "\n".join(["", f"What steers it besides the source ({needed}):", "", *lines, ""])


def _names_of(kind: Condition) -> str:
    return f" ({', '.join(kind.known[:MOST_NAMES])}{', ...' if len(kind.known) > MOST_NAMES else ''})" if kind.known else ""


def _as_list(content: Any, indent: str = "") -> str:
    """Markdown bullets of nested facts."""
    if not isinstance(content, dict):
        return f"{indent}- {content}"
    rows = [
        f"{indent}- {key}:\n{_as_list(value, indent + '  ')}" if isinstance(value, dict) else f"{indent}- {key}: {value}"
        for key, value in content.items()
    ]
    return "\n".join(rows)


def _plain(value: Any) -> Any:
    """Facts as JSON has them: numbers that are not finite become texts such as "inf"."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def describe_generator(name: str, generator: nn.Module) -> NetworkConfig:
    """The config that rebuilds a network exactly: its name and every option, defaults included."""
    options: dict[str, Any] = dict(generator.options)  # type: ignore[arg-type]
    return NetworkConfig(name=name, options=options)
