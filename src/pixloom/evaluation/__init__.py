"""Model x data -> numbers with their protocol: a row per picture, means with intervals, honest baselines, worst and best pictures."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixloom import __version__
from pixloom.conditions import Conditions, build_conditions
from pixloom.conditions.base import Values
from pixloom.conditions.examples import Stated
from pixloom.config import DataConfig, load_config
from pixloom.data.loading import Pictures, own_rng, probe_channels
from pixloom.data.sources import Listing, Record, discover, with_holdout
from pixloom.data.transforms import apply, center_crop
from pixloom.errors import ConfigError, DataError, ImageError, PixloomError
from pixloom.evaluation.answers import answers, check_comparable, ways
from pixloom.evaluation.reader import train_reader
from pixloom.evaluation.scorecard import Evaluation, ranked, save, strip
from pixloom.files import checksum
from pixloom.images import Picture, to_model, with_channels
from pixloom.inference.choice import config_of_run
from pixloom.inference.translator import Translator, find_model
from pixloom.methods.base import eyes_of
from pixloom.metrics.judging import Estimate, Judged, Judges, Reader, Verdict, judge, load_judges
from pixloom.modelfile import WEIGHTS
from pixloom.tasks.base import Shown, Task

__all__ = ["Estimate", "Evaluation", "evaluate", "judge", "load_judges", "save"]

NUM_SHOWN = 4
"""How many of the worst and of the best pictures are shown."""

OTHER_EYES = "LPIPS is seen through AlexNet here, since the run learnt through SqueezeNet: do not set it beside LPIPS through SqueezeNet."

INPUT = "input"
"""The baseline that translates nothing."""

Progress = Callable[[str, int, int], None]
"""Called with the contender's name, the pictures done and the pictures in all."""


@dataclass(frozen=True)
class Example:
    """One example at the working size, as people see it."""

    id: str
    shown: Shown


@dataclass(frozen=True)
class Examples:
    """The examples of a split, decoded when they are asked for."""

    pictures: Pictures
    task: Task
    size: int
    conditions: Conditions = Conditions()

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Example]:
        return (example for index in range(len(self)) if (example := self.load(index)) is not None)

    def load(self, index: int) -> Example | None:
        """The example at a place in the records, its centre cropped to a square; None when it is bad or not to be judged."""
        loaded = self.pictures.load(index)
        if loaded is None:
            return None
        source, target = self._square(loaded.source), None if loaded.target is None else self._square(loaded.target)
        stated = self.conditions.values(
            self.pictures.records[index], {name: self._square(picture) for name, picture in loaded.beside.items()}
        )
        if self.task.between:
            if stated == self.task.wanted():
                return None  # it is what others are to become
            stated = self.task.wanted() or self._stated.wanted(self.pictures.records, index, rng=own_rng(loaded.id))
            target = self._showing(stated, not_at=index)
        try:
            shown = self.task.views(source, target, rng=own_rng(loaded.id))
        except PixloomError as error:
            self.pictures.refuse(index, error)
            return None
        return Example(loaded.id, replace(shown, given={**shown.given, **stated}))

    def _square(self, pixels: np.ndarray) -> np.ndarray:
        crop = center_crop(height=pixels.shape[0], width=pixels.shape[1], size=self.size)
        return apply(crop, pixels, size=self.size)

    @property
    def _stated(self) -> Stated:
        return Stated(self.conditions, between=True)

    def _showing(self, stated: Values, *, not_at: int) -> np.ndarray | None:
        """A real picture that shows what is stated, another one for every place, as long as there are others; None where there is none."""
        places = self._places.get(_key(stated), ())
        for step in range(len(places)):
            loaded = self.pictures.load(places[(not_at + step) % len(places)])
            if loaded is not None:
                return self._square(loaded.source)
        return None

    @cached_property
    def _places(self) -> dict[Hashable, list[int]]:
        """Where the examples are that show the same."""
        places: dict[Hashable, list[int]] = {}
        for index, record in enumerate(self.pictures.records):
            places.setdefault(_key(self.conditions.values(record, {})), []).append(index)
        return places


def _key(stated: Values) -> Hashable:
    """What is stated in names and numbers, to be compared."""
    return tuple(sorted((name, tuple(sorted(value.items())) if isinstance(value, Mapping) else value) for name, value in stated.items()))


def evaluate(
    model: str | Path,
    data: str | Path | DataConfig,
    *,
    split: str | None = None,
    against: Sequence[str | Path] = (),
    weights: str | Path | None = None,
    lpips: str = "auto",
    features: str = "auto",
    limit: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a model on pictures that have targets, beside the input itself and other models.

    Every picture is brought to the model's size (short side, then centre crop), translated, and compared at that size.

    Args:
        model: a model folder or a run folder.
        data: a folder or index file, or the settings of one (say, a run's own, to get its held-out pictures).
        split: "train", "val", "test" or "all"; None: the validation pictures (those of the data, or else those held out from training
            by a hash of their names), or else the test pictures.
        against: other models, judged on the same pictures; say, an L1-only regression.
        weights: where to look first for the weights of feature networks.
        lpips: the network of LPIPS, "squeeze" or "alex"; "auto": squeeze, or alex where it is here and the model learnt through squeeze.
        features: the network of KID and Frechet distance, a name in ``pixloom.metrics.features.FEATURES``; "auto": inception-768, else
            squeeze, whichever is here.
        limit: judge only so many pictures, evenly spread over the split.
        out: where to save the report; None: nowhere.
        overwrite: whether an existing report is replaced.
        seed: of noise, bootstrap and floors.
        device: where to compute.
        progress: told of every picture.

    Raises:
        ConfigError: an unknown metric network, or a model whose pictures cannot be compared with the targets.
        DataError: no such split or no usable pictures.
        DependencyError: the weights of features asked for by name are not here.
        ModelError: a model cannot be loaded.
        OutputError: ``out`` exists already, or cannot be written.
    """
    name, translators = _name(model), opened(model, against, device=device)
    main = translators[name]
    data = _as_the_run(Path(model), data if isinstance(data, DataConfig) else DataConfig(path=str(data)))
    found = discover(data, paired=main.task.needs_pairs, beside=main.conditions.folders)
    listing = with_holdout(found, share=_holdout(Path(model), data))
    split, records = choose_records(listing, split=split, limit=limit)
    shown = shown_by(main.conditions, main.task, sum(listing.splits.values(), ()))
    examples = open_examples(records, task=main.task, size=main.description.size, conditions=shown)
    reader = train_reader(listing, examples=examples, seed=seed) if main.task.between else None
    judges = judges_for(
        main.task, weights=weights, lpips=lpips, features=features, learnt_through=_eyes(Path(model)), reader=reader, device=main.device
    )
    verdicts, missing = compare(translators, examples, judges=judges, seed=seed, progress=progress)
    best = verdicts.pop(name)
    worst_ids, best_ids = ranked(best.rows, num_shown=NUM_SHOWN)
    answered = {path: answers(translator, path, examples, judges=judges) for path, translator in translators.items()}
    result = Evaluation(
        model=name,
        split=split,
        count=len(best.rows),
        means=best.means | answered[name],
        ways=ways(best, examples, judges=judges) if main.task.between else {},
        floors=best.floors,
        per_image=best.rows,
        baselines={contender: verdict.means | answered.get(contender, {}) for contender, verdict in verdicts.items()},
        worst=worst_ids,
        best=best_ids,
        strips=_strips((*worst_ids, *best_ids), examples=examples, translator=main, seed=seed),
        protocol=protocol(
            Path(model), translator=main, listing=listing, split=split, examples=examples, count=len(best.rows), judges=judges, seed=seed
        ),
        missing=missing,
        notes=(OTHER_EYES,) if judges.lpips and judges.lpips.net != "squeeze" and lpips == "auto" else (),
    )
    if out is not None:
        save(result, Path(out), overwrite=overwrite)
    return result


def opened(model: str | Path, against: Sequence[str | Path], *, device: str) -> dict[str, Translator]:
    """The models that are judged, by name; the one in question first.

    Raises:
        ConfigError: it is set against itself, or against one that translates something else.
        ModelError: one cannot be loaded.
    """
    if _name(model) in map(_name, against):
        raise ConfigError("a model cannot be set against itself", where=model, fix="name another model with --against")
    translators = {_name(path): Translator.from_pretrained(path, device=device) for path in (model, *against)}
    for other in translators.values():
        check_comparable(translators[_name(model)], other)
    return translators


def shown_by(conditions: Conditions, task: Task, records: Sequence[Record]) -> Conditions:
    """What pictures show, to be judged by: the model's conditions, or, of a model between two collections, which one they are of."""
    if conditions.kinds or not task.between:
        return conditions
    return build_conditions({"label": {}}, dropout=0.0).settled(records)


def _as_the_run(model: Path, data: DataConfig) -> DataConfig:
    """The data with the layout and folder names of the model's run, where it lies as that run's does and names none."""
    named, config = ("source_folder", "target_folder"), config_of_run(model)
    if config is None or data.layout != "auto" or any(getattr(data, name) for name in named):
        return data
    own = load_config(config).data
    there = all(own_name is None or any(Path(data.path).rglob(own_name)) for own_name in (own.source_folder, own.target_folder))
    return data.model_copy(update={name: getattr(own, name) for name in named}) if there else data


def _eyes(model: Path) -> set[str]:
    """The frozen networks that the run of a model learnt through; none are known of a model without its run."""
    config = config_of_run(model)
    return set() if config is None else eyes_of(load_config(config))


def _holdout(model: Path, data: DataConfig) -> float:
    """The share that the run of a model held out, so that it is never judged on what it learnt from; else the data's own."""
    config = config_of_run(model)
    return data.holdout if config is None or "holdout" in data.model_fields_set else load_config(config).data.holdout


def choose_records(listing: Listing, *, split: str | None = None, limit: int | None = None) -> tuple[str, tuple[Record, ...]]:
    """The split to judge on and its records.

    Raises:
        DataError: there is no such split, or nothing but training pictures where no split is named.
        ConfigError: a limit below 1.
    """
    if split is None:
        split = next((name for name in ("val", "test") if name in listing.splits), None)
    pool = sum(listing.splits.values(), ()) if split == "all" else listing.splits.get(split or "", ())
    if not pool or split is None:
        there = ", ".join(listing.splits) or "none"
        raise DataError(
            f"there are no {split or 'validation'} pictures",
            where=listing.root,
            why=f"splits: {there}",
            fix="name one with --split, or all",
        )
    if limit is None or limit >= len(pool):
        return split, pool
    if limit < 1:
        raise ConfigError(f"the limit cannot be {limit}", fix="give a number of pictures")
    return split, tuple(pool[place * len(pool) // limit] for place in range(limit))


def judges_for(
    task: Task,
    *,
    weights: str | Path | None = None,
    lpips: str | None = "auto",
    features: str | None = None,
    learnt_through: Collection[str] = (),
    reader: Reader | None = None,
    device: str | torch.device = "cpu",
) -> Judges:
    """The judges whose measures mean something for a task; the other arguments are those of ``load_judges``."""
    return load_judges(
        weights=weights,
        lpips=lpips,
        features=features,
        learnt_through=learnt_through,
        colour="colourfulness" in task.metrics,
        common=task.common_metrics,
        paired=not task.between,
        reader=reader,
        device=device,
    )


def open_examples(records: Sequence[Record], *, task: Task, size: int, conditions: Conditions | None = None) -> Examples:
    """The examples of some records at a working size.

    Raises:
        DataError: the pictures are not of the kind that the task takes.
    """
    source, target = probe_channels(records)
    task.channels(source, target if task.needs_pairs else None)
    channels = (source, target if task.needs_pairs else None)
    conditions = conditions or Conditions()
    steer = Stated(conditions, between=task.between) if conditions.kinds else None
    pictures = Pictures(records, encode=task.encode, load_side=size, channels=channels, cache_gib=1.0, nearest=task.labels, steer=steer)
    return Examples(pictures, task, size, conditions)


def compare(
    translators: Mapping[str, Translator], examples: Examples, *, judges: Judges, seed: int = 0, progress: Progress | None = None
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """Judge every translator and the input itself on the same pictures.

    Returns:
        A verdict per contender: the translators by their names, and "input" where the source can be shown in the target's channels; and
        what is missing, with the reason.
    """
    verdicts: dict[str, Verdict] = {}
    missing: dict[str, str] = {}
    real = None
    for name, translator in translators.items():

        def translate(example: Example, translator: Translator = translator) -> Picture:
            return translated(translator, example.shown, seed=seed)

        contender = _contender(name, examples, show=translate, progress=progress)
        verdicts[name] = judge(contender, judges=judges, seed=seed, real=real, summary=examples.task.totals)
        real = verdicts[name].real
        missing |= verdicts[name].missing
    try:
        baseline = examples.task.input_baseline
        shown = _contender(INPUT, examples, show=lambda example: _picture(baseline(example.shown)), progress=progress)
        verdicts[INPUT] = judge(shown, judges=judges, seed=seed, real=real, summary=examples.task.totals)
    except ImageError as error:
        missing["baseline: the input itself"] = error.what
    return verdicts, missing


def protocol(
    model: Path, *, translator: Translator, listing: Listing, split: str, examples: Examples, count: int, judges: Judges, seed: int
) -> dict[str, Any]:
    """What must be known to repeat or compare the numbers."""
    description = translator.description
    return {
        "model": {
            "weights_sha256": checksum(weights_of(find_model(model))),
            "task": description.task.model_dump(),
            "generator": description.generator.name,
            "recipe": description.recipe,
            "inference": description.inference.model_dump(),
            "facts": description.facts,
        },
        "data": {
            "path": str(listing.root),
            "layout": listing.layout,
            "split": split,
            "real": count,
            "generated": count,
            "unusable": dict(examples.pictures.bad),
            "resized_targets": len(examples.pictures.resized),
            "notes": list(listing.notes),
        },
        "pictures": f"short side to {examples.size} px with an antialiased bicubic filter, then the centre square; compared at that size",
        "conditions": translator.conditions.settings(),
        "metrics": judges.protocol(),
        "intervals": "95 %, percentile bootstrap over pictures, 1000 resamples, unless a metric says otherwise",
        "seed": seed,
        "runtime": translator.runtime.name,
        "device": translator.device.type,
        "versions": {"pixloom": __version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def weights_of(model: Path) -> Path:
    """The file that holds a model's weights: of a folder, or an exported model itself."""
    return model if model.is_file() else model / WEIGHTS


def _contender(name: str, examples: Examples, *, show: Callable[[Example], Picture], progress: Progress | None) -> Iterator[Judged]:
    """What one contender makes of every example, in the target's channels."""
    done = 0
    for done, example in enumerate(examples, start=1):
        yield judged(example, show(example), task=examples.task)
        if progress:
            progress(name, done, len(examples))
    if not done:
        reasons = "; ".join(f"{place}: {why}" for place, why in sorted(examples.pictures.bad.items())[:3])
        if not reasons:
            raise DataError(
                "there is nothing to judge", why="all of these pictures show already what is asked for", fix="name another --split"
            )
        raise DataError("none of the pictures can be used", why=reasons, fix="run pixloom inspect on the data")


def translated(translator: Translator, shown: Shown, *, seed: int = 0) -> Picture:
    """What a translator makes of an example, from what a person would give it."""
    taken = {*translator.task.takes, *translator.task.optional, *translator.conditions.names}
    given = {name: value for name, value in shown.given.items() if name in taken}  # another model may take less
    return translator.translate(_picture(shown.source), seed=seed, given=given)


def judged(example: Example, prediction: Picture, *, task: Task) -> Judged:
    """A prediction beside what it should be, in the target's channels, with what the task measures."""
    pixels = with_channels(prediction, example.shown.target.shape[-1]).pixels
    measured = task.measure(example.shown, pixels)
    shown = example.shown
    source = _tensor(shown.source_beside) if task.between else None
    return Judged(example.id, _tensor(pixels), _tensor(shown.target), measured.row, measured.counts, source, shown.given)


def _strips(ids: Sequence[str], *, examples: Examples, translator: Translator, seed: int) -> dict[str, np.ndarray]:
    """Source | output | target of some examples."""
    places = {record.id: place for place, record in enumerate(examples.pictures.records)}
    loaded = [example for name in ids if (example := examples.load(places[name])) is not None]
    return {
        example.id: strip(example.shown.source_beside, translated(translator, example.shown, seed=seed).pixels, example.shown.target)
        for example in loaded
    }


def _name(path: str | Path) -> str:
    """How a model is called in the report: by its path, which must not be mistaken for the baseline."""
    return str(Path(path).absolute()) if str(path) == INPUT else str(path)


def _picture(pixels: np.ndarray) -> Picture:
    return Picture(pixels=np.ascontiguousarray(pixels), alpha=None, notes=())


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(to_model(np.ascontiguousarray(pixels))))
