"""How methods are compared on one task: quality, how much answers differ, and what they cost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tasks.cases import INPUT, RUN, Case, Figures, Found, Number, number_of
from benchmarks.tasks.measures import on_examples, plain
from benchmarks.tasks.steering import edited, examples_of
from pixloom.evaluation import Examples, judges_for, translated
from pixloom.evaluation.answers import ANSWERS, ASKED, DIVERSITY, diversity
from pixloom.inference.translator import Translator

COMPARISONS: dict[str, Sequence[str]] = {
    "Cloudy skies as sunrises, no pairs": (
        "sunrise-cyclegan",
        "sunrise-cut",
        "sunrise-fastcut",
        "sunrise-ugatit",
        "stylize-sunrise",
    ),
    "Fluorescent nuclei as stained ones, no pairs": ("stain-cyclegan", "stain-cut", "stain-fastcut"),
    "Facades from label maps": ("facade-pix2pix", "facade-pix2pixhd", "facade-spade", "facade-bicycle", "facade-plain"),
    "Flowers of another kind": ("edit-flowers", "flowers-stargan", "flowers-starganv2"),
    "Skies of another kind": ("weather-stargan", "weather-starganv2"),
}
"""Title -> the experiments that are set side by side."""

SHOWN = {
    "kid_inception768": ("KID x 1000 ↓", 1000.0),
    "lpips": ("LPIPS ↓", 1.0),
    "target_accuracy, label": ("read as asked ↑", 1.0),
    "content_lpips": ("LPIPS to the source", 1.0),
    "diversity": ("LPIPS between answers ↑", 1.0),
    "parameters, M": ("parameters, M", 1.0),
    "ms per picture": ("ms per picture", 1.0),
    "peak memory of training, MiB": ("peak, MiB", 1.0),
}
"""Figure -> its column, and what it is multiplied by."""


def compared(case: Case) -> Found:
    """Pairs: the common metrics and KID; else what an edit is judged by. With both, diversity and costs."""
    translator = Translator.from_pretrained(case.model)
    found = edited(case) if translator.task.between else on_examples(case, sets=True)
    examples = examples_of(case, translator)
    extra = costs(case, translator, examples) | differing(translator, examples, weights=case.weights)
    figures: Figures = {**found.figures, RUN: found.figures[RUN] | extra}
    protocol = {
        **found.protocol,
        "diversity": f"LPIPS between {ANSWERS} answers (seeds) to each of {ASKED} sources, mean over pairs; 0 where there is one answer",
        "costs": "one picture at a time in torch, one thread, median of 10; peak memory of the measured training steps, libraries included",
    }
    return Found(figures, found.count, protocol, found.needs, found.strips)


def differing(translator: Translator, examples: Examples, *, weights: Path) -> dict[str, Number]:
    """How much answers to one source differ; 0 where there is one."""
    judges = judges_for(translator.task, weights=weights)
    found = diversity(translator, examples, judges=judges)
    return {name: plain(number) for name, number in found.items()} or {DIVERSITY: number_of(0.0)}


def costs(case: Case, translator: Translator, examples: Examples) -> dict[str, Number]:
    """Parameters of what translates, time for a picture, memory of training."""
    example = next(iter(examples))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        translated(translator, example.shown)
        seconds.append(time.perf_counter() - started)
    cost = json.loads((case.run / "cost.json").read_text(encoding="utf-8"))
    memory = cost["memory of a process in GiB"]["measured peak, with all libraries"]
    return {
        "parameters, M": number_of(sum(parameter.numel() for parameter in translator.generator.parameters()) / 1e6),
        "ms per picture": number_of(1000 * float(np.median(seconds[2:]))),
        "peak memory of training, MiB": number_of(1024 * memory),
    }


def write_tables(records: Mapping[str, Sequence[Mapping[str, Any]]], document: Path) -> Path:
    """The tables of all comparisons that are recorded, between the document's markers."""
    text = document.read_text(encoding="utf-8")
    there = {title: [name for name in names if name in records] for title, names in COMPARISONS.items()}
    tables = "\n\n".join(table(title, names, records) for title, names in there.items() if names)
    marked = re.sub(r"(<!-- comparisons.*?-->\n).*?(<!-- end of comparisons -->)", rf"\1\n{tables}\n\n\2", text, flags=re.DOTALL)
    document.write_text(marked, encoding="utf-8")
    return document


def table(title: str, names: Sequence[str], records: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One comparison: a row for each experiment, the means over its seeds."""
    figures = {name: [record["figures"][RUN] for record in records[name]] for name in names}
    shown = [key for key in SHOWN if any(key in row for rows in figures.values() for row in rows)]
    head = ["run", "images", "processor minutes", *(SHOWN[key][0] for key in shown)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for name, rows in figures.items():
        record = records[name][0]
        cells = [name, f"{record['images']:,}", f"{record['processor_minutes'] or '-'}", *(_cell(rows, key) for key in shown)]
        lines.append(f"| {' | '.join(cells)} |")
    inputs = next((records[name][0]["figures"].get(INPUT) for name in names), None)
    if inputs:
        lines.append(f"| {' | '.join(['the sources themselves', '', '', *(_cell([inputs], key) for key in shown)])} |")
    return f"**{title}**\n\n" + "\n".join(lines)


def _cell(rows: Sequence[Mapping[str, Number]], key: str) -> str:
    values = [row[key][0] * SHOWN[key][1] for row in rows if key in row]
    return f"{np.mean(values):.3g}" if values else ""
