"""Looking at a run from outside: the preview grid, the validation, the models it leaves, the final judgement."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pixloom import __version__
from pixloom.conditions.examples import Stated
from pixloom.config import override
from pixloom.data.loading import Pictures
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, nearest
from pixloom.evaluation import Evaluation, Example, Examples, evaluate, judged, judges_for, shown_by, translated
from pixloom.files import write_bytes
from pixloom.images import from_model, to_model
from pixloom.inference.translator import Translator
from pixloom.methods.base import eyes_of
from pixloom.metrics.judging import Judges, higher_is_better, judge
from pixloom.modelfile import ModelDescription, describe_generator, save_model
from pixloom.tasks import Task
from pixloom.training.folder import RunFolder
from pixloom.training.monitor import Alarm
from pixloom.training.plan import Plan
from pixloom.training.samples import preview_grid
from pixloom.training.state import Progress

PREVIEW_ROWS = 4
MOST_VALIDATED = 64
"""So many validation pictures, evenly spread, are judged while training; the final judgement takes up to :data:`MOST_EVALUATED`."""

MOST_EVALUATED = 200
PERCEPTUAL = ("lpips", "ssim")
CHOSEN = "The model was chosen among the validations of its run by figures on pictures that are judged here, which flatters it somewhat."
NEWEST = "newest"
"""The model of the last validation is the best, where nothing can be measured that would choose another."""


class Watch:
    """Judges the generator of a run on pictures that it does not learn from.

    Raises:
        ConfigError: ``training.best_metric`` names no metric that can be had here.
    """

    def __init__(self, plan: Plan, folder: RunFolder, *, device: torch.device) -> None:
        self.plan, self.folder, self.device = plan, folder, device
        spread = plan.validation[:: max(1, len(plan.validation) // MOST_VALIDATED)][:MOST_VALIDATED]
        self.examples = self._examples(spread)
        self.judges: Judges = validation_judges(plan, device=device)
        self.best_metric = choose_metric(plan.config.training.best_metric, judges=self.judges, task=plan.task)
        self.protocol = f"{len(spread)} validation pictures, short side to {plan.config.data.size} px, centre square"
        self._preview_examples: list[Example] | None = None

    @property
    def bad(self) -> dict[str, str]:
        """Validation pictures that could not be used, and why."""
        return self.examples.pictures.bad

    def preview(self, generator: nn.Module, progress: Progress) -> np.ndarray:
        """Write the grid of the same few pictures (source, output, target) and return it."""
        grid = self.grid(generator)
        _write_picture(self.folder.samples / f"{progress.images:09d}.png", grid)
        return grid

    def alarm(self, alarm: Alarm, generator: nn.Module) -> str:
        """Write the same grid as the evidence of an alarm, and give its path within the run folder."""
        path = self.folder.alarms / f"{alarm.images:09d}-{'-'.join(re.findall('[a-z]+', alarm.name))}.png"
        _write_picture(path, self.grid(generator))
        return path.relative_to(self.folder.root).as_posix()

    def grid(self, generator: nn.Module) -> np.ndarray:
        """The same few pictures every time: source, output, target."""
        if self._preview_examples is None:
            chosen = (example for records in (self.plan.validation, self.plan.train) for example in self._examples(_spread(records)))
            self._preview_examples = [example for _, example in zip(range(PREVIEW_ROWS), chosen, strict=False)]
        translator = self._translator(generator)
        rows = [
            [example.shown.source_beside, translated(translator, example.shown).pixels, example.shown.target]
            for example in self._preview_examples
        ]
        return preview_grid([[_eight_bit(pixels) for pixels in row] for row in rows], labels=("source", "output", "target"))

    def validate(self, generator: nn.Module) -> tuple[dict[str, float], float | None]:
        """Means over the validation pictures, and the value that chooses the best model (None without validation pictures)."""
        examples = iter(self.examples)
        first = next(examples, None)
        if first is None:
            return {}, None
        translator = self._translator(generator)
        predictions = (judged(example, translated(translator, example.shown), task=self.plan.task) for example in chain([first], examples))
        verdict = judge(predictions, judges=self.judges, summary=self.plan.task.totals)
        means = {name: estimate.mean for name, estimate in verdict.means.items() if name != "colourfulness_target"}
        return means, means.get(self.best_metric)

    def is_better(self, value: float | None, best: float | None) -> bool:
        """Whether a validation value beats the best so far; without validation pictures the newest model is the best."""
        if value is None or best is None:
            return True
        return value > best if higher_is_better(self.best_metric) else value < best

    def save_model(
        self,
        generator: nn.Module,
        progress: Progress,
        *,
        folder: Path,
        metrics: dict[str, float] | None = None,
        back: nn.Module | None = None,
    ) -> None:
        """Write the model folder with what is known about it, and with it what translates back, where that is a task of its own."""
        begun = self.folder.lineage()
        facts: dict[str, Any] = {
            "training": {
                "images": progress.images,
                "minutes": round(progress.elapsed_seconds / 60, 2),
                "examples": len(self.plan.train),
                "seed": self.plan.config.training.seed,
                "saved": datetime.now(UTC).isoformat(timespec="seconds"),
                **({"begun from": begun} if begun else {}),
            },
            "data": {"layout": self.plan.listing.layout, "fingerprint": self.plan.fingerprint, "name": self.plan.listing.root.name},
            "versions": {"pixloom": __version__, "torch": torch.__version__},
        }
        if metrics:
            facts["validation"] = {**{name: round(value, 5) for name, value in metrics.items()}, "protocol": self.protocol}
        description = self._description(generator, facts)
        task = None if back is None else self.plan.task.reversed()
        returning = None
        if back is not None and task is not None:
            about = {name: value for name, value in facts.items() if name != "validation"}  # what was judged is the way there
            returning = back, replace(self._description(back, about), task=task)
        save_model(folder, generator=generator, description=description, back=returning)

    def final_evaluation(self, *, told: Callable[[str, int, int], None] | None = None) -> Evaluation | None:
        """The full judgement of the best model, beside the input itself, into the run folder; None without validation pictures.

        Args:
            told: of every picture, as in ``evaluation.evaluate``.
        """
        if not self.folder.model.is_dir() or next(iter(self.examples), None) is None:
            return None
        found = evaluate(
            self.folder.model, self.plan.config.data, split="val", limit=MOST_EVALUATED, device=self.device.type, progress=told
        )
        noted = found if self.best_metric == NEWEST else replace(found, notes=(*found.notes, CHOSEN))
        noted.save(self.folder.evaluation, overwrite=True)
        return noted

    def _translator(self, generator: nn.Module) -> Translator:
        """A translator over a twin that shares the weights, so that the training network's own mode stays as it is."""
        memo = {id(tensor): tensor for tensor in (*generator.parameters(), *generator.buffers())}
        twin = copy.deepcopy(generator, memo)
        return Translator(twin, self._description(generator, {}), device=self.device.type)

    def _description(self, generator: nn.Module, facts: dict[str, Any]) -> ModelDescription:
        config = self.plan.config
        return ModelDescription(
            task=config.task,
            generator=describe_generator(config.generator.name, generator),
            inference=config.inference,
            size=config.data.size,
            recipe=config.recipe,
            conditions=self.plan.conditions.settings(),
            condition_dropout=self.plan.conditions.dropout if self.plan.conditions.kinds else 0.0,
            facts=facts,
        )

    def _examples(self, records: Any) -> Examples:
        config = self.plan.config
        pictures = Pictures(
            records,
            encode=self.plan.task.encode,
            load_side=config.data.size,
            channels=self.plan.picture_channels,
            cache_gib=config.data.cache_gib,
            nearest=self.plan.task.labels,
            steer=Stated(self.plan.conditions, between=self.plan.task.between) if self.plan.conditions.kinds else None,
        )
        return Examples(pictures, self.plan.task, config.data.size, shown_by(self.plan.conditions, self.plan.task, self.plan.train))


def settled(plan: Plan) -> Plan:
    """The plan with the metric that chooses the best model named, so that a resume elsewhere cannot choose another.

    Raises:
        ConfigError: it cannot be measured here, or there are no validation pictures to measure it on.
    """
    name = plan.config.training.best_metric
    if name != "auto" and not plan.validation:
        raise ConfigError(
            f"training.best_metric={name} would have no effect",
            why="there are no validation pictures",
            fix="leave it out, or set data.holdout",
        )
    metric = choose_metric(name, judges=validation_judges(plan), task=plan.task)
    return replace(plan, config=override(plan.config, {"training.best_metric": metric}))


def validation_judges(plan: Plan, *, device: str | torch.device = "cpu") -> Judges:
    """The judges of a run under way: pictures without targets can be compared as sets only."""
    return judges_for(plan.task, features="auto" if plan.task.between else None, learnt_through=eyes_of(plan.config), device=device)


def choose_metric(name: str, *, judges: Judges, task: Task) -> str:
    """The validation metric that chooses the best model.

    Raises:
        ConfigError: it cannot be measured here.
    """
    if task.between:
        # Of edits of all classes together an identity is as near to real pictures as can be; of one style it is not.
        there = [judges.features.spec.kid] if judges.features and task.wanted() else [NEWEST]
    else:
        there = [*(["psnr", "ssim"] if judges.common else []), *(["lpips"] if judges.lpips else []), *task.measures]
    if name == "auto" and task.between:
        return there[0]
    if name == "auto":
        return next(metric for metric in (*PERCEPTUAL, *task.measures) if metric in there)
    if name not in there:
        why = judges.missing.get(name)
        fix = "say where the weights are with --weights or $PIXLOOM_WEIGHTS" if why else nearest(name, there)
        raise ConfigError(f"training.best_metric cannot be '{name}' here", why=why and why.splitlines()[0], fix=fix)
    return name


def _spread(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """A few records from all over a split, more than are shown, as some may be bad."""
    return records[:: max(1, len(records) // (4 * PREVIEW_ROWS))]


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    write_bytes(path, stream.getvalue())


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else from_model(to_model(np.ascontiguousarray(pixels)), dtype=np.uint8)
