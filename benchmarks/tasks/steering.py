"""How runs with conditions are judged: edits by an independent classifier, and conditions right, wrong, and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.tasks.cases import INPUT, RUN, Case, Figures, Found, value
from benchmarks.tasks.measures import NUM_SHOWN, numbers, plain
from pixloom.conditions import Conditions
from pixloom.config import load_config
from pixloom.data.sources import discover
from pixloom.evaluation import Example, Examples, choose_records, evaluate, judged, judges_for, open_examples, shown_by, translated
from pixloom.inference.translator import Translator
from pixloom.metrics.judging import judge

WRONG, NONE = "wrong", "no"


def edited(case: Case) -> Found:
    """Target accuracy by a classifier of real pictures, distance to the source, KID to real pictures that show what is asked for."""
    config = load_config(case.run / "config.yaml")
    result = evaluate(case.model, config.data, split="val", weights=case.weights)
    figures: Figures = {RUN: {name: plain(number) for name, number in result.means.items()}}
    figures[INPUT] = {name: plain(number) for name, number in result.baselines["input"].items()}
    figures[RUN] |= {f"{name}, real against real": (floor, None, None) for name, floor in result.floors.items()}
    accuracy = next(name for name in figures[RUN] if name.startswith("target_accuracy"))
    distance = next(name for name in figures[RUN] if name.startswith("kid"))
    needs = {"read as what was asked for more often than the input": value(figures, RUN, accuracy) > value(figures, INPUT, accuracy) + 0.1}
    if config.task.name == "stylize":  # else all classes are asked for together, and the inputs are such a mixture themselves
        needs["nearer to the style than the input (KID)"] = value(figures, RUN, distance) < value(figures, INPUT, distance)
    return Found(figures, result.count, result.protocol["metrics"], needs, every_domain(case))


def every_domain(case: Case) -> dict[str, dict[str, np.ndarray]]:
    """Held-out pictures, each as every class or with every attribute, or as what the model makes of them."""
    translator = Translator.from_pretrained(case.model)
    examples = examples_of(case, translator)
    names = [(kind.name, name) for kind in translator.conditions.kinds for name in kind.known]
    shown = [examples.load(place * len(examples) // NUM_SHOWN) for place in range(NUM_SHOWN)]
    return {
        example.id: {
            INPUT: example.shown.source,
            **({} if names else {RUN: made(translator, example, {})}),
            **{name: made(translator, example, {kind: name if kind == "label" else {name: 1.0}}) for kind, name in names},
        }
        for example in shown
        if example is not None
    }


def steered(case: Case) -> Found:
    """Every condition right, wrong (another example's, that differs) and left out, one at a time, and all left out."""
    translator = Translator.from_pretrained(case.model)
    examples = examples_of(case, translator)
    judges = judges_for(examples.task, weights=case.weights)
    kinds = translator.conditions.names
    ways: dict[str, Mapping[str, str]] = {RUN: {}}
    ways |= {f"{way} {kind}": {kind: way} for kind in kinds for way in (WRONG, NONE)}
    ways[f"{NONE} condition"] = dict.fromkeys(kinds, NONE)
    figures: Figures = {}
    strips: dict[str, dict[str, np.ndarray]] = {}
    every = list(examples)
    for name, way in ways.items():
        given = [changed(every, place, way, translator.conditions) for place in range(len(every))]
        verdict = judge(
            (
                judged(example, translated(translator, replace(example.shown, given=stated)), task=examples.task)
                for example, stated in zip(every, given, strict=True)
            ),
            judges=judges,
        )
        figures[name] = numbers(verdict)
        for place in range(0, len(every), max(1, len(every) // NUM_SHOWN)):
            strip = strips.setdefault(every[place].id, {INPUT: every[place].shown.source_beside})
            strip[name] = made(translator, every[place], given[place])
    for example in every:
        if example.id in strips:
            strips[example.id]["target"] = example.shown.target
    needs = {
        f"lpips: right {kind} better than wrong": value(figures, RUN, "lpips") < value(figures, f"{WRONG} {kind}", "lpips")
        for kind in kinds
    }
    needs |= {"lpips: all right better than none": value(figures, RUN, "lpips") < value(figures, f"{NONE} condition", "lpips")}
    protocol = {
        "wrong": "what the next held-out example states that states something else",
        "pictures": f"short side to {examples.size} px, then the centre square; compared at that size",
        "metrics": judges.protocol(),
        "conditions": {name: settings for name, settings in translator.conditions.settings().items() if name != "map"},
    }
    return Found(figures, len(every), protocol, needs, strips)


def changed(examples: list[Example], place: int, ways: Mapping[str, str], conditions: Conditions) -> dict[str, Any]:
    """What is given to one example when some conditions are wrong or left out."""
    given = dict(examples[place].shown.given)
    for kind, way in ways.items():
        own = given.pop(kind, None)
        if way == WRONG:
            others = (examples[(place + step) % len(examples)].shown.given.get(kind) for step in range(1, len(examples)))
            given[kind] = next(other for other in others if other is not None and not _same(other, own))
    return given


def _same(first: Any, second: Any) -> bool:
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else bool(first == second)


def examples_of(case: Case, translator: Translator) -> Examples:
    """The held-out examples with their conditions."""
    listing = discover(load_config(case.run / "config.yaml").data, paired=translator.task.needs_pairs, beside=translator.conditions.folders)
    _, records = choose_records(listing, split="val")
    shown = shown_by(translator.conditions, translator.task, sum(listing.splits.values(), ()))
    return open_examples(records, task=translator.task, size=translator.description.size, conditions=shown)


def made(translator: Translator, example: Example, given: Mapping[str, Any]) -> np.ndarray:
    """The pixels of a translation."""
    return translated(translator, replace(example.shown, given=given)).pixels
