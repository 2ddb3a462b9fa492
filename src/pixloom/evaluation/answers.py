"""What a model is worth beyond its first answer: how its answers differ, whether its source can be found again, and which way it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pixloom.errors import ConfigError
from pixloom.images import Picture, to_model
from pixloom.inference.translator import Translator, translates_back
from pixloom.metrics.distribution import kid
from pixloom.metrics.features import LPIPS
from pixloom.metrics.judging import LEAST_FOR_SETS, Estimate, Judges, Verdict, distinct, estimate

if TYPE_CHECKING:
    from pixloom.evaluation import Example, Examples

ANSWERS = 5
"""So many answers to each source are compared, pair by pair."""

ASKED = 20
"""Of so many sources, evenly spread."""

DIVERSITY, CYCLE = "diversity", "cycle_l1"


def answers(translator: Translator, path: str, examples: Examples, *, judges: Judges) -> dict[str, Estimate]:
    """What a model is worth beyond its first answers, by metric."""
    return diversity(translator, examples, judges=judges) | found_again(translator, _back_of(path, translator), examples)


def _back_of(path: str, translator: Translator) -> Translator | None:
    """The model that translates back, where there is one."""
    return Translator.from_pretrained(path, device=translator.device.type, back=True) if translates_back(Path(path)) else None


def check_comparable(first: Translator, second: Translator) -> None:
    """Refuse to set models side by side that translate something else, or the other way.

    Raises:
        ConfigError: saying what each does.
    """
    tasks = (first.description.task, second.description.task)
    ways = [(task.name, task.direction or "AtoB", task.options.get("to")) for task in tasks]
    if ways[0] != ways[1]:
        why = ", and ".join(" ".join(str(part) for part in way if part) for way in ways)
        raise ConfigError("these models do not translate the same", why=why, fix="leave the other out of --against")


def diversity(translator: Translator, examples: Examples, *, judges: Judges) -> dict[str, Estimate]:
    """LPIPS between answers to one source, the mean over pairs; nothing where there is one answer, or no LPIPS.

    Zhu et al., "Toward Multimodal Image-to-Image Translation", NeurIPS 2017, section 5.2, with all pairs of few answers instead of
    consecutive ones of many.
    """
    if judges.lpips is None or not translator.has_answers or translator.output_channels not in (1, 3):
        return {}
    values = [_differing(judges.lpips, translator, example) for example in spread(examples)]
    return {DIVERSITY: estimate(values)} if values else {}


def found_again(translator: Translator, back: Translator | None, examples: Examples) -> dict[str, Estimate]:
    """How far a source is from what comes back, E|x - F(G(x))| / 2, in [0, 1]; nothing where no model translates back."""
    if back is None:
        return {}
    rows = []
    for example in spread(examples):
        source = _picture(example.shown.source)
        there = translator.translate(source, given=_taken(translator, example))
        rows.append(float((_tensor(back.translate(there).pixels) - _tensor(source.pixels)).abs().mean() / 2))
    return {CYCLE: estimate(rows)} if rows else {}


def ways(verdict: Verdict, examples: Examples, *, judges: Judges) -> dict[str, dict[str, float]]:
    """The means of the rows from each class to each, "cat to dog", and the KID of the predictions to the real pictures of the class asked
    for, each once, where there are at least ``LEAST_FOR_SETS`` of both; nothing where pictures have no classes.
    """
    own = {record.id: record.label for record in examples.pictures.records}
    wanted = {example.id: example.shown.given.get("label") for example in examples}
    pairs = [(own.get(row["id"]), wanted.get(row["id"])) for row in verdict.rows]
    found = {}
    for first, second in sorted({pair for pair in pairs if pair[0] is not None and isinstance(pair[1], str)}):
        group = [place for place, pair in enumerate(pairs) if pair == (first, second)]
        shown = [place for place, pair in enumerate(pairs) if pair[1] == second]
        distance = _kid(verdict, real=shown, fake=group, judges=judges)
        found[f"{first} to {second}"] = {"count": len(group), **_means([verdict.rows[place] for place in group]), **distance}
    return found


def _kid(verdict: Verdict, *, real: Sequence[int], fake: Sequence[int], judges: Judges) -> dict[str, float]:
    """The KID between some targets and some predictions; nothing where they are few, or some were too small to be looked at."""
    if judges.features is None or verdict.real is None or verdict.fake is None:
        return {}
    if not len(verdict.real) == len(verdict.fake) == len(verdict.rows):
        return {}
    targets = distinct(verdict.real[list(real)])
    if min(len(targets), len(fake)) < LEAST_FOR_SETS:
        return {}
    return {judges.features.spec.kid: kid(targets, verdict.fake[list(fake)]).value}


def spread(examples: Examples) -> Iterator[Example]:
    """A few examples of all."""
    count = min(ASKED, len(examples))
    chosen = (examples.load(place * len(examples) // count) for place in range(count))
    return (example for example in chosen if example is not None)


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [name for name in rows[0] if name != "id" and all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


@torch.no_grad()
def _differing(distance: LPIPS, translator: Translator, example: Example) -> float:
    """The mean over pairs of answers."""
    source, given = _picture(example.shown.source), _taken(translator, example)
    device = next(distance.parameters()).device
    answers = [_tensor(translator.translate(source, seed=seed, given=given).pixels).to(device) for seed in range(ANSWERS)]
    pairs = [(first, second) for place, first in enumerate(answers) for second in answers[place + 1 :]]
    firsts, seconds = (torch.stack([pair[side] for pair in pairs]) for side in (0, 1))
    return float(distance(firsts, seconds).mean())


def _taken(translator: Translator, example: Example) -> dict[str, Any]:
    """What is given beside an example's source, as far as the model takes it; no reference, which would be an answer of its own."""
    taken = {*translator.task.takes, *translator.task.optional, *translator.conditions.names} - {"style"}
    return {name: value for name, value in example.shown.given.items() if name in taken}


def _picture(pixels: np.ndarray) -> Picture:
    return Picture(pixels=np.ascontiguousarray(pixels), alpha=None, notes=())


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(to_model(np.ascontiguousarray(pixels)))
