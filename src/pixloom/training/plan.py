"""From a folder and a few wishes to a complete run: the defaults that follow from the data and the machine, each with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from pixloom.backbones.perception import PERCEPTIONS
from pixloom.backbones.weights import find_weights
from pixloom.conditions import Conditions
from pixloom.conditions.examples import Stated
from pixloom.config import DataConfig, Direction, RunConfig, TaskConfig, override
from pixloom.data.loading import Pictures, probe_channels
from pixloom.data.sources import Listing, Record, discover, with_holdout
from pixloom.data.unpaired import Balanced, Unpaired
from pixloom.errors import ConfigError, DataError, nearest
from pixloom.inference.runtimes import choose_device
from pixloom.methods import method_of
from pixloom.methods.check import check_config
from pixloom.recipes import RECIPES, recipe
from pixloom.tasks import TASKS, Task, build_task
from pixloom.training.conditioning import conditioned, conditions_of, option_of, settings_for, steered, unused
from pixloom.training.recognition import choose_size, enlarged, recipe_of, recognise_task
from pixloom.training.schedule import round_up, stages
from pixloom.training.sizing import FEW, Size, lightened, lighter, sized
from pixloom.training.startfrom import known_of

STEP_SHARE = 0.8
"""Share of the time that goes into steps; the rest is for previews, validation and checkpoints."""


@dataclass(frozen=True)
class Plan:
    """A run before it starts.

    Attributes:
        config: complete; only ``training.images`` may still wait for a measured step (``--minutes``).
        listing: the examples, validation pictures set aside.
        picture_channels: channels of the source and target pictures as they lie on the disk.
        network_channels: channels of the generator's input and output.
        reasons: why the defaults are what they are, in sentences.
        conditions: what steers the translation besides the source, with the vocabularies.
        sized: of the reasons, why the networks are of their size; None where nothing chose it.
        lighter: smaller networks, for minutes that turn out to be few.
    """

    config: RunConfig
    task: Task
    listing: Listing
    picture_channels: tuple[int, int | None]
    network_channels: tuple[int, int]
    reasons: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    sized: str | None = None
    lighter: tuple[Size, ...] = ()

    @property
    def train(self) -> tuple[Record, ...]:
        """The examples to learn from."""
        return self.listing.splits["train"]

    @property
    def unpaired(self) -> bool:
        """Whether sources are learnt from beside targets that are not their own."""
        return method_of(self.config).learns_from == "collections"

    @property
    def collections(self) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        """The training examples of which sources are taken, and those of which targets are; the same but between two collections."""
        if not self.task.between:
            return self.train, self.train
        wanted = self.task.wanted()["label"]
        return (
            tuple(record for record in self.train if record.label not in (None, wanted)),
            tuple(record for record in self.train if record.label == wanted),
        )

    @property
    def validation(self) -> tuple[Record, ...]:
        """The examples that are never learnt from."""
        return self.listing.splits.get("val", ())

    @property
    def fingerprint(self) -> str:
        """A short digest of which examples there are and how large their files are: a run resumes only on the same data."""
        return digest("\n".join(f"{record.id}:{_file_size(record)}{self._shown(record)}" for record in (*self.train, *self.validation)))

    def _shown(self, record: Record) -> str:
        """What an example states, as far as it steers anything."""
        stated = {**self.conditions.values(record, {}), **{name: _size(path) for name, path in record.pictures.items()}}
        return f":{sorted(stated.items())}" if stated else ""


def make_plan(
    data: str,
    *,
    task: str | None = None,
    recipe_name: str | None = None,
    method: str | None = None,
    size: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    data_settings: Mapping[str, Any] | None = None,
    direction: Direction | None = None,
    device: str = "auto",
    conditions: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """A run from the few first-class wishes; ``settings`` are dotted keys that override everything.

    Raises:
        ConfigError: an unknown name or key, or wishes that contradict each other.
        DataError: no usable examples.
    """
    settings = dict(settings or {})
    if "recipe" in settings:
        raise ConfigError("the recipe is not a setting of its own", fix=f"--recipe {settings['recipe']}")
    task = settings.pop("task.name", None) if task is None else task
    known = None
    if settings.get("training.from_model") is not None:
        known = known_of(settings["training.from_model"])
        settings = {**known.settings, **settings}
        task, direction = task or known.task.name, direction or known.task.direction
        size = known.size if size is None and "data.size" not in settings else size
    if method is not None:
        recipe_name = recipe_of(method, recipe_name)
    _check_wishes(task, recipe_name=recipe_name, direction=direction, images=images, minutes=minutes)
    place = {"path": data, **(data_settings or {})}
    reasons: list[str] = []
    if task is None:
        task, reason = recognise_task(place, recipe_name)
        reasons.append(reason)
    if recipe_name is None:
        recipe_name = TASKS[task].recipe
    size, why = _size_of(place, settings.pop("data.size", None) if size is None else size, task=task, device=device)
    reasons += [why] if why else []
    base = {f"data.{key}": value for key, value in place.items()} | {
        "task.name": task,
        "task.direction": direction,
        "compute.device": device,
    }
    wishes = {"training.images": images, "training.minutes": minutes, "training.seed": seed}
    # The networks must suit the smallest pictures that they are trained on.
    smallest = size if settings.get("data.first_size") is None else _first_size(settings["data.first_size"], size=size)
    usual = recipe(recipe_name, size=smallest)
    if known is not None:
        settings, word = known.with_critic(usual, settings)
        reasons += [word] if word else []
    config = override(
        usual,
        {"data.size": size}
        | _settings_of(task, recipe_name, direction=direction, settings=settings)
        | settings_for(conditions)
        | base
        | {key: value for key, value in wishes.items() if value is not None}
        | settings,
    )
    config, why = sized(
        config,
        examples=len(discover(config.data, paired=TASKS[task].needs_pairs).splits.get("train", ()))
        if recipe_name in ("auto", "twin")
        else 0,
        device=choose_device(device),
        settings=settings,
    )
    reasons += [why] if why else []
    by_size, smaller = why, lighter(config, settings=settings) if why else ()
    if (why := _blind(config)) and "losses.perceptual_weight" not in settings:
        config = override(config, {"losses.perceptual_weight": 0.0})
        reasons.append(why)
    return replace(complete(config, reasons=tuple(reasons)), sized=by_size, lighter=smaller)


def _check_wishes(
    task: str | None, *, recipe_name: str | None, direction: Direction | None, images: int | None, minutes: float | None
) -> None:
    if recipe_name is not None and recipe_name not in RECIPES:
        raise ConfigError(f"there is no recipe '{recipe_name}'", fix=nearest(recipe_name, RECIPES))
    if task is not None and task not in TASKS:
        raise ConfigError(f"there is no task '{task}'", fix=nearest(task, TASKS))
    if direction is not None and direction not in get_args(Direction):
        raise ConfigError(f"there is no direction '{direction}'", fix=nearest(direction, get_args(Direction)))
    if images is not None and minutes is not None:
        raise ConfigError("both --images and --minutes were given", fix="give one of them")


def _size_of(place: Mapping[str, Any], wished: Any, *, task: str, device: str) -> tuple[int, str | None]:
    """Side of the training crops; where it was not wished for, with the reason."""
    if wished is None:
        return choose_size(discover(DataConfig(**place), paired=TASKS[task].needs_pairs), device=device)
    if not isinstance(wished, int) or wished < 16:
        raise ConfigError(f"the size cannot be {wished!r}", why="it is the side of the training crop in pixels", fix="--size 128")
    return wished, None


def _seeing(config: RunConfig, reasons: tuple[str, ...], *, channels: int) -> tuple[RunConfig, tuple[str, ...]]:
    """The config without a recipe's perceptual term where outputs are no pictures that its network could look at."""
    if not config.losses.perceptual_weight or channels in (1, 3):
        return config, reasons
    if config.losses.perceptual_weight != recipe(config.recipe, size=256).losses.perceptual_weight:
        raise ConfigError(
            "losses.perceptual_weight cannot be set here",
            why=f"its network looks at grey or RGB pictures, and the outputs have {channels} channels",
            fix="leave it out",
        )
    word = f"without the recipe's perceptual term: its network looks at grey or RGB pictures, not at {channels} channels"
    return override(config, {"losses.perceptual_weight": 0.0}), (*reasons, word)


def _blind(config: RunConfig) -> str | None:
    """Why a recipe's perceptual term cannot be had here; None where it can, or there is none."""
    losses = config.losses
    if not losses.perceptual_weight or losses.perceptual not in PERCEPTIONS or find_weights(PERCEPTIONS[losses.perceptual][0]):
        return None
    return f"without the recipe's perceptual term: the weights of '{losses.perceptual}' are not here, see docs/metrics.md"


def _settings_of(task: str, recipe_name: str, *, direction: Direction | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a task with these options wants otherwise than a recipe has it."""
    prefix = "task.options."
    options = {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
    return build_task(TaskConfig(name=task, direction=direction, options=options)).settings(recipe_name)


def complete(config: RunConfig, *, reasons: tuple[str, ...] = ()) -> Plan:
    """The plan of a config: data found, channels known, number of images decided where it can be.

    Raises:
        ConfigError: settings that do not fit each other.
        DataError: no usable examples.
    """
    config = _towards(config)
    task = build_task(config.task)
    listing = discover(config.data, paired=task.needs_pairs, beside=conditions_of(config).folders)
    listing = with_holdout(listing, share=config.data.holdout)
    if not listing.splits.get("train"):
        raise DataError(
            "there are no pictures to train on",
            where=config.data.path,
            why=f"found only: {', '.join(listing.splits) or 'nothing'}",
            fix="put training pictures into a folder named train",
        )
    _check_method(config, task)
    task = task.settled(listing.splits["train"])
    picture_channels = probe_channels(listing.splits["train"])
    network_channels = task.channels(*picture_channels)
    config, conditions = conditioned(config, task, listing, picture_channels=picture_channels)
    listing = _without_unfit(listing, task)
    config = override(config, {f"task.options.{name}": value for name, value in task.options().items()})
    _check_pixel_loss(config, task)
    _check_disturbed(config, task, more=network_channels[0] > max(filter(None, picture_channels)))
    config, reasons = _seeing(config, reasons, channels=network_channels[1])
    if task.head != "tanh":
        if option_of(config.generator, "head") is None:
            raise ConfigError(
                f"the generator '{config.generator.name}' makes no label maps",
                why="it has no head of classes",
                fix="--set generator.name=unet",
            )
        config = override(config, {"generator.options.head": task.head})
    if config.recipe not in RECIPES:
        raise ConfigError(f"there is no recipe '{config.recipe}'", fix=nearest(config.recipe, RECIPES))
    check_config(config, channels=network_channels)
    if config.losses.augment_gap and not listing.splits.get("val"):
        raise ConfigError(
            "losses.augment_gap would have no effect",
            why="there are no held-out pictures to compare with",
            fix="leave it out, or set data.holdout",
        )
    if config.training.images is not None:
        config = override(config, {"training.images": round_up(config.training.images, config.training.batch_size)})
    elif config.training.minutes is None:
        count = _per_pass(config, task, listing.splits["train"])
        images = round_up(config.training.epochs * count, config.training.batch_size)
        config = override(config, {"training.images": images})
        reasons = (*reasons, f"{images:,} images: the recipe's {config.training.epochs:g} passes over {count} examples")
    _check_length(config)
    backwards = ("direction BtoA: what is called the target above is translated into what is called the source",)
    reasons = (*listing.notes, *(backwards if config.task.direction == "BtoA" else ()), *reasons, *enlarged(listing, size=config.data.size))
    reasons = (*reasons, *steered(conditions), *unused(conditions, listing))
    return Plan(config, task, listing, picture_channels, network_channels, reasons, conditions)


def _towards(config: RunConfig) -> RunConfig:
    """The config with what a named target folder means to its task: of two collections, the one that is wanted."""
    task, wanted = build_task(config.task), config.data.target_folder
    if wanted is None or task.needs_pairs:
        return config
    if task.name != "stylize":
        raise ConfigError(
            "data.target_folder would have no effect",
            why=f"the task '{task.name}' {'takes all classes' if task.between else 'makes its targets from the sources'}",
            fix="leave --target out",
        )
    asked = config.task.options.get("to")
    if asked is not None and str(asked).casefold() != wanted.casefold():
        raise ConfigError(
            f"both '{wanted}' and '{asked}' are wanted", why="--target and task.options.to differ", fix="leave one of them out"
        )
    return override(config, {"task.options.to": wanted})


def _per_pass(config: RunConfig, task: Task, records: Sequence[Record]) -> int:
    """How many images a pass has: all examples; of two collections as many as the larger one."""
    if method_of(config).learns_from != "collections" or not task.between:
        return len(records)
    return max(Counter(record.label for record in records if record.label is not None).values())


def _check_method(config: RunConfig, task: Task) -> None:
    learns_from = method_of(config).learns_from
    reasons = {
        ("pairs", True): "it has no pairs",
        ("domains", False): "it learns from pairs, and that method from pictures without partners",
    }
    why = reasons.get((learns_from, task.between))
    if learns_from == "collections" and task.between and task.name != "stylize":
        why = "that method goes from one collection to another, and not between classes or attributes: for two folders take --task stylize"
    if config.method == "cycle" and task.reversed() is None and not task.between:
        why = "that method learns the way back too, and the way back is no picture of a source's kind"
    if why:
        raise ConfigError(
            f"the task '{task.name}' cannot be learnt by the method '{config.method}'", why=why, fix=f"--recipe {task.recipe}"
        )
    if config.critic is not None and config.critic.name == "segmenting" and not task.source_is_labels:
        raise ConfigError(
            "the critic 'segmenting' needs label maps as sources", why=f"those of '{task.name}' are none", fix="--task synthesize"
        )


def _without_unfit(listing: Listing, task: Task) -> Listing:
    """The listing without the training examples from which the task can learn nothing, and a note on them."""
    train = listing.splits["train"]
    unfit = task.unfit(train)
    if not unfit:
        return listing
    first, why = next(iter(unfit.items()))
    if len(unfit) == len(train):
        raise DataError(
            f"the task '{task.name}' can learn nothing from these pictures",
            where=listing.root,
            why=f"{first}: {why}",
            fix="give pictures of another kind",
        )
    note = f"{len(unfit)} of {len(train)} training examples are left out: {why}; the first is {first}."
    fit = tuple(record for record in train if record.id not in unfit)
    return replace(listing, splits={**listing.splits, "train": fit}, notes=(*listing.notes, note))


def _check_disturbed(config: RunConfig, task: Task, *, more: bool) -> None:
    if config.data.disturb and (task.source_is_labels or more):
        what = "classes" if task.source_is_labels else "a picture and marks on it"
        raise ConfigError(
            "data.disturb is for sources that are pictures", why=f"those of '{task.name}' are {what} here", fix="leave data.disturb out"
        )


def _check_pixel_loss(config: RunConfig, task: Task) -> None:
    if task.pixel_loss:
        return
    usual = recipe(config.recipe, size=256).losses
    for name in ("pixel", "pixel_weight"):
        if getattr(config.losses, name) != getattr(usual, name):
            raise ConfigError(
                f"losses.{name}={getattr(config.losses, name)} would have no effect",
                why=f"the task '{task.name}' has content losses of its own",
                fix="leave it out, and see the weights in docs/tasks.md",
            )


def _first_size(first: Any, *, size: int) -> int:
    """The side of the first crops, when it leads to ``size``."""
    offers = [side for side in (size >> halvings for halvings in range(1, 8)) if side >= 32 and side % 16 == 0 and size % side == 0]
    if first not in offers or isinstance(first, (bool, float)):
        fix = f"--set data.first_size={offers[0]}" if offers else "leave it out"
        raise ConfigError(f"data.first_size cannot be {first!r} here", why=f"the side of the crops is doubled until it is {size}", fix=fix)
    return int(first)


def _check_length(config: RunConfig) -> None:
    """Refuse a run too short for what it is to do."""
    _check_generator_trains(config)
    images, count = config.training.images, len(stages(config.data))
    if images is not None and images < count * config.training.batch_size:
        raise ConfigError(
            f"{images} images are too few to grow from {stages(config.data)[0]} to {config.data.size} px",
            why=f"there are {count} sizes, and a batch holds {config.training.batch_size} images",
            fix=f"--images {count * config.training.batch_size} or more, or leave data.first_size out",
        )


def _check_generator_trains(config: RunConfig) -> None:
    images, per_update = config.training.images, config.training.batch_size * config.training.num_critic
    if images is not None and images < per_update:
        raise ConfigError(
            f"the generator would never be trained in {images} images",
            why=f"it is updated once in {per_update} images (training.batch_size x training.num_critic)",
            fix=f"--images {per_update} or more, or a smaller training.num_critic",
        )


def with_minutes(plan: Plan, *, seconds_per_image: float, start_seconds: float = 0.0) -> Plan:
    """The plan with its number of images set from a time budget and a measured speed."""
    minutes = plan.config.training.minutes
    if minutes is None or plan.config.training.images is not None:
        return plan
    batch = plan.config.training.batch_size
    images = max(batch, round_up(STEP_SHARE * max(0.0, minutes * 60 - start_seconds) / seconds_per_image, batch))
    reason = f"{images:,} images: what {minutes:g} minutes allow at {seconds_per_image:.3g} s per image"
    config = override(plan.config, {"training.images": images})
    _check_length(config)
    return replace(plan, config=config, reasons=(*plan.reasons, reason))


def hastened(plan: Plan, *, images: int) -> Plan | None:
    """The plan with the next smaller networks, where its minutes allow only so few images; None where it is well, or there are none."""
    minutes = plan.config.training.minutes
    if minutes is None or plan.config.training.images is not None or images >= FEW or not plan.lighter:
        return None
    size, *rest = plan.lighter
    reason = f"{size.name} networks instead: in {minutes:g} min those would see only {images:,} images"
    former = tuple(said for said in plan.reasons if said != plan.sized)
    return replace(plan, config=lightened(plan.config, size), lighter=tuple(rest), sized=reason, reasons=(*former, reason))


def load_examples(plan: Plan, *, size: int, cache_gib: float) -> Pictures | Unpaired | Balanced:
    """The training examples, loaded for crops of ``size``: as they are, classes alike, or sources and targets shuffled independently."""
    if not plan.unpaired:
        pictures = load_pictures(plan, size=size, cache_gib=cache_gib)
        between_classes = plan.task.between and "label" in plan.conditions.names
        return Balanced(pictures, [record.label for record in plan.train]) if between_classes else pictures
    first, second = (load_pictures(plan, size=size, cache_gib=cache_gib / 2, records=records) for records in plan.collections)
    return Unpaired(first, second)


def load_pictures(plan: Plan, *, size: int, cache_gib: float, records: Sequence[Record] | None = None) -> Pictures:
    """The training examples, or some of them, loaded for crops of ``size``."""
    task = plan.task
    return Pictures(
        plan.train if records is None else records,
        encode=task.encode,
        load_side=round(size * plan.config.data.jitter),
        channels=plan.picture_channels,
        cache_gib=cache_gib,
        nearest=task.labels,
        steer=Stated(plan.conditions, between=task.between, training=True, backwards=plan.config.task.direction == "BtoA")
        if plan.conditions.kinds
        else None,
    )


def digest(text: str) -> str:
    """A short name for a text, the same on every machine."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:16]


def count_parameters(network: torch.nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _file_size(record: Record) -> int:
    return _size(record.source)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
