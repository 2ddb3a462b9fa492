"""The gallery: tables of every record, and pictures where they may be published; and one with all pictures for the person who ran it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.tasks.datasets import DATA_SETS
from benchmarks.tasks.table import EXPERIMENTS
from pixloom.metrics.judging import higher_is_better

Record = Mapping[str, Any]

HEAD = """# Gallery

Made by `python -m benchmarks.tasks gallery` from the records in [benchmarks/results/tasks](../benchmarks/results/tasks). Every figure is
on pictures that were not learnt from. The model is the one that training ended with, never one chosen on the pictures that it is judged
on. Runs are short, minutes of one processor core at small sizes: they show that the tasks work and what they are worth beside simple
baselines, not how good they can become. None of this was run on a GPU.

In brackets: of one seed the 95 % interval over pictures (where there is one), of several seeds the least and the largest. ↑ more is
better, ↓ less is better. KID is on 768 features of the FID network, LPIPS is that of SqueezeNet; neither is comparable with figures of
other networks.

{pictures}
"""

PUBLIC = """Pictures are shown of the data that is free (CC0) only. The same command writes a page with the pictures of all experiments to
`runs/tasks/gallery`, for whoever has the data."""
LOCAL = "These pictures come from data with terms of its own, named with each experiment: this page is for the person who ran it."

SIDE = 128
"""Rows of a picture in the published gallery; larger ones are made smaller."""


def make_galleries(results: Path, *, out: Path, docs: Path) -> list[Path]:
    """Write docs/gallery.md with what may be published, and OUT/gallery with everything; gives the pages."""
    records = load(results)
    public = {name for name in records if DATA_SETS[EXPERIMENTS[name].data].public}
    pages = [docs / "gallery.md", out / "gallery" / "gallery.md", out / "gallery" / "gallery.html"]
    sheets(public, out, docs / "images" / "gallery", side=SIDE)
    there = {path.stem for path in (docs / "images" / "gallery").glob("*.png")}
    write(pages[0], markdown(records, pictures={name: f"images/gallery/{name}.png" for name in sorted(public & there)}, words=PUBLIC))
    made = sheets(records, out, out / "gallery", side=None)
    write(pages[1], markdown(records, pictures={name: f"{name}.png" for name in made}, words=LOCAL))
    write(pages[2], html(records, pictures={name: f"{name}.png" for name in made}))
    return pages


def load(results: Path) -> dict[str, list[Record]]:
    """The records of every experiment, its seeds in order."""
    found: dict[str, list[Record]] = {}
    for name in EXPERIMENTS:
        paths = sorted(results.glob(f"{name}-seed[0-9]*.json"))
        if paths:
            found[name] = sorted((json.loads(path.read_text(encoding="utf-8")) for path in paths), key=lambda record: record["seed"])
    return found


# ---- Text


def markdown(records: Mapping[str, Sequence[Record]], *, pictures: Mapping[str, str], words: str) -> str:
    """The whole page."""
    sections = [section(name, seeds, picture=pictures.get(name)) for name, seeds in records.items()]
    return "\n".join([HEAD.format(pictures=words), *sections])


def section(name: str, seeds: Sequence[Record], *, picture: str | None) -> str:
    """One experiment."""
    lines = [f"## {name}: {seeds[0]['title']}", "", facts(seeds), ""]
    lines += table(seeds) + [""]
    lines += [f"- {line}" for line in requirements(seeds)] + ([""] if requirements(seeds) else [])
    if picture:
        lines += [f"![{name}: {columns_of(seeds)}]({picture})", "", f"From left to right: {columns_of(seeds)}.", ""]
    return "\n".join(lines)


def facts(seeds: Sequence[Record]) -> str:
    """What was done, in a paragraph."""
    first, data = seeds[0], seeds[0]["data"]
    minutes = ", ".join("unknown" if seed["processor_minutes"] is None else f"{seed['processor_minutes']:g}" for seed in seeds)
    numbers = ", ".join(str(seed["seed"]) for seed in seeds)
    text = (
        f"{data['title']} ({data['licence']}); {data['split']}. Trained at {first['size']} px on {first['images']:,} images, "
        f"seed {numbers}, {minutes} processor minutes; judged on {first['count']} pictures. `{first['command'].split(' --seeds')[0]}`"
    )
    return fill(text, width=140, break_long_words=False, break_on_hyphens=False)


def table(seeds: Sequence[Record]) -> list[str]:
    """A row for each metric, a column for each contender."""
    contenders = list(dict.fromkeys(name for seed in seeds for name in seed["figures"]))
    metrics = list(dict.fromkeys(metric for seed in seeds for row in seed["figures"].values() for metric in row))
    lines = [f"| | {' | '.join(contenders)} |", f"|{' --- |' * (len(contenders) + 1)}"]
    for metric in metrics:
        cells = [cell([seed["figures"][name][metric] for seed in seeds if metric in seed["figures"].get(name, {})]) for name in contenders]
        lines.append(f"| {metric.replace('|', chr(92) + '|')}{arrow(metric)} | {' | '.join(cells)} |")
    return lines


def cell(numbers: Sequence[Sequence[float | None]]) -> str:
    """A number with its interval; of several seeds their mean with the least and the largest.

    >>> cell([(0.25, 0.2, 0.3)]), cell([(1.0, None, None), (2.0, None, None)]), cell([])
    ('0.25 [0.2, 0.3]', '1.5 [1, 2]', '')
    """
    if not numbers:
        return ""
    means = [float(number[0] or 0.0) for number in numbers]
    if len(numbers) > 1:
        low, high = min(means), max(means)
        return f"{np.mean(means):.4g} [{low:.4g}, {high:.4g}]" if low < high else f"{low:.4g}"
    mean, low_end, high_end = numbers[0]
    return f"{mean:.4g} [{low_end:.4g}, {high_end:.4g}]" if low_end is not None and high_end is not None else f"{mean:.4g}"


def arrow(metric: str) -> str:
    """Which way is better.

    >>> arrow("miou, ESPNet"), arrow("lpips, set5"), arrow("colourfulness")
    (' ↑', ' ↓', '')
    """
    name = metric.split(",")[0].split(" ")[0]
    if higher_is_better(name) or metric.startswith(("pixel accuracy", "L within")):
        return " ↑"
    return " ↓" if name in ("lpips", "pixel_error", "max", "mean") or name.startswith(("kid", "fid")) else ""


def requirements(seeds: Sequence[Record]) -> list[str]:
    """Every requirement, and of how many seeds it is met."""
    words = list(dict.fromkeys(need for seed in seeds for need in seed["needs"]))
    return [f"{need}: {verdict([seed['needs'][need] for seed in seeds if need in seed['needs']])}" for need in words]


def verdict(met: Sequence[bool]) -> str:
    """In words.

    >>> verdict([True]), verdict([False]), verdict([True, False, True])
    ('met', 'not met', 'met by 2 of 3 seeds')
    """
    if len(met) == 1:
        return "met" if met[0] else "not met"
    return f"met by {sum(met)} of {len(met)} seeds"


def columns_of(seeds: Sequence[Record]) -> str:
    """What a strip shows, from left to right."""
    return ", ".join(seeds[0]["shown"])


def html(records: Mapping[str, Sequence[Record]], *, pictures: Mapping[str, str]) -> str:
    """The local page, for a browser."""
    parts = ["<!doctype html><meta charset='utf-8'><title>Pixloom: gallery</title>", f"<h1>Gallery</h1><p>{escape(LOCAL)}</p>"]
    for name, seeds in records.items():
        rows = [row.strip("| ").split(" | ") for row in table(seeds)]
        cells = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in (["", *rows[0]], *rows[2:])]
        parts += [f"<h2>{escape(name)}: {escape(seeds[0]['title'])}</h2><p>{escape(facts(seeds))}</p>"]
        parts += ["<table border='1' cellspacing='0' cellpadding='4'>", *(f"<tr>{row}</tr>" for row in cells), "</table><ul>"]
        parts += [*(f"<li>{escape(line)}</li>" for line in requirements(seeds)), "</ul>"]
        if name in pictures:
            parts += [f"<p>{escape(columns_of(seeds))}</p><img src='{escape(pictures[name])}' alt='{escape(name)}'>"]
    return "\n".join(parts) + "\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# ---- Pictures


def sheets(names: Iterable[str], out: Path, place: Path, *, side: int | None) -> list[str]:
    """A sheet of strips for each experiment whose run of the first seed is here; gives the experiments that have one."""
    made = []
    for name in names:
        shown = next(iter(sorted(out.glob(f"{name}-seed[0-9]*/gallery/shown.json"))), None)
        if shown is None:
            continue
        rows = [[open_at(shown.parent / file, side) for file in entry["files"].values()] for entry in json.loads(shown.read_text("utf-8"))]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet(rows)).save(place / f"{name}.png", optimize=True)
        made.append(name)
    return made


def open_at(path: Path, side: int | None) -> np.ndarray:
    """A picture, made smaller where its height is more than a side."""
    with Image.open(path) as image:
        colour = image.convert("RGB")
    if side is not None and colour.height > side:
        colour = colour.resize((round(colour.width * side / colour.height), side), Image.Resampling.LANCZOS)
    return np.asarray(colour)


def sheet(rows: Sequence[Sequence[np.ndarray]], *, gap: int = 4) -> np.ndarray:
    """Pictures in rows, on white.

    >>> sheet([[np.zeros((2, 2, 3), np.uint8)], [np.zeros((2, 4, 3), np.uint8)]], gap=1).shape
    (5, 4, 3)
    """
    widths = [sum(picture.shape[1] for picture in row) + gap * (len(row) - 1) for row in rows]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    page = np.full((sum(heights) + gap * (len(rows) - 1), max(widths), 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + gap
        top += height + gap
    return page
