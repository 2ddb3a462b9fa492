"""What the records say: a table for each race, and its curves."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import faults
from benchmarks.quality.races import RACES

Record = Mapping[str, Any]

FEW = re.compile(r"(few[a-z-]*)-(\d+)")
"""Races that differ in the number of pairs: group and number."""

SHOWN = {
    "lpips": ("LPIPS ↓", 1.0),
    "lpips_alex": ("LPIPS (Alex) ↓", 1.0),
    "kid_inception768": ("KID x 1000 ↓", 1000.0),
    "psnr": ("PSNR ↑", 1.0),
    "ssim": ("SSIM ↑", 1.0),
    "dice": ("Dice ↑", 1.0),
    "miou": ("mIoU ↑", 1.0),
}

HEAD = """# Quality for time

Made by `python -m benchmarks.quality tables` from the records in
[benchmarks/results/quality](../benchmarks/results/quality). Every figure is on pictures that were not learnt from, of the model that
training ended with. The length of a run is chosen beforehand, from measured steps; minutes and seconds are those of the processor, of
one thread, with all that a run does beside its steps, on a machine that did other things as well; of a run that was stopped in between,
seconds are those of the clock.
Of several seeds: the mean, and in brackets the least and the largest. KID is on 768 features of the FID network, LPIPS that of SqueezeNet
where no other is named. None of this was run on a GPU.
Every record names the commit that it was made at (of seven, facades-64 by pix2pix and penalties-64, that commit was rewritten before it
was published and is not in the history). Of those of `auto` facades-64, facades-128, colorize-64, streets-128, sizes, shift-stain,
shift-camera, stable and the faults are of `auto` as it is; the others were made before its critic saw fine detail and its layers learnt at
equal rates (log of 2026-12-01, second and third entry), the ablation with R1 and R2 of gamma 5.
"""


def write_page(results: Path, page: Path) -> Path:
    """The page of all races that are recorded."""
    raced = {name: records for name in RACES if (records := load(results, name))}
    sections = [section(name, records) for name, records in raced.items() if not FEW.fullmatch(name)]
    groups = dict.fromkeys(found[1] for found in map(FEW.fullmatch, raced) if found)
    sections += [by_pairs(group, raced) for group in groups]
    stable = {name: row["auto"] for name in RACES if name.startswith("stable-") and "auto" in (row := load(results, name))}
    sections.append(faults.section(results, stable))
    page.write_text("\n".join([HEAD, *sections]), encoding="utf-8")
    return page


def load(results: Path, race: str) -> dict[str, list[Record]]:
    """Arm -> its records, in the order of seeds."""
    found: dict[str, list[Record]] = defaultdict(list)
    for path in sorted(results.glob(f"{race}-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["race"] == race:
            found[record["arm"]].append(record)
    return {arm: found[arm] for arm in RACES[race].arms if arm in found}


def section(name: str, records: Mapping[str, Sequence[Record]]) -> str:
    """One race: what was done, the end of every arm, and where several looks were taken, the way there."""
    first = next(iter(records.values()))[0]
    words = f"{first['data']['title']}; {first['data']['split']}; {first['size']} px; seeds: " + ", ".join(
        f"{len(seeds)} of {arm}" if len({len(seeds) for seeds in records.values()}) > 1 else str(len(seeds))
        for arm, seeds in list(records.items())[: None if len({len(seeds) for seeds in records.values()}) > 1 else 1]
    )
    parts = [f"## {name}: {first['title']}", words + ".", ends(records)]
    if any(record.get("elsewhere") for seeds in records.values() for record in seeds):
        parts.append(drops(records))
    if any(len(record["judgements"]) > 1 for seeds in records.values() for record in seeds):
        parts.append(way(records))
    return "\n\n".join(parts) + "\n"


def by_pairs(group: str, raced: Mapping[str, Mapping[str, Sequence[Record]]]) -> str:
    """Races of one group: the end of every arm against the number of pairs."""
    races = {int(found[2]): records for name, records in raced.items() if (found := FEW.fullmatch(name)) and found[1] == group}
    arms = list(dict.fromkeys(arm for records in races.values() for arm in records))
    keys = ("lpips", "lpips_alex", "kid_inception768")
    one = {arm: seeds[0] for arm, seeds in next(iter(races.values())).items()}  # all races of a group are equally long
    first = next(iter(one.values()))
    head = ["pairs", *(f"{SHOWN[key][0]}: {arm}" for key in keys for arm in arms)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for count, records in sorted(races.items()):
        looks = {arm: [record["judgements"][-1]["figures"] for record in records.get(arm, ())] for arm in arms}
        cells = [_cell([figures[key] * SHOWN[key][1] for figures in looks[arm]]) for key in keys for arm in arms]
        lines.append(f"| {' | '.join([str(count), *cells])} |")
    images = ", ".join(f"{record['images']:,} images of {arm}" for arm, record in one.items())
    most = max(len(seeds) for records in races.values() for seeds in records.values())
    title = first["title"].rpartition(" from ")[0]
    words = f"{title}; {first['size']} px; {first['minutes']:g} minutes each ({images}); up to {most} seeds."
    return "\n\n".join([f"## {group}: quality against the number of pairs", words, "\n".join(lines)]) + "\n"


def ends(records: Mapping[str, Sequence[Record]]) -> str:
    """The last figures of every arm."""
    shown = [key for key in SHOWN if key in next(iter(records.values()))[0]["judgements"][-1]["figures"]]
    bares = [key for key in ("lpips", "kid_inception768", "dice") if key in shown]
    averaged = any("without the average" in record["judgements"][-1] for seeds in records.values() for record in seeds)
    head = [
        "arm",
        "images",
        "minutes",
        *(SHOWN[key][0] for key in shown),
        *([f"without EMA: {SHOWN[key][0]}" for key in bares] if averaged else []),
    ]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for arm, seeds in records.items():
        last = [record["judgements"][-1] for record in seeds]
        cells = [_cell([look["figures"][key] * factor for look in last]) for key, factor in ((key, SHOWN[key][1]) for key in shown)]
        bare = [look["without the average"] for look in last if "without the average" in look]
        if averaged:
            cells += [_cell([row[key] * SHOWN[key][1] for row in bare]) for key in bares]
        minutes = _cell([passed(record, look) / 60 for record, look in zip(seeds, last, strict=True)])
        images = f"{seeds[0]['images']:,}"
        lines.append(f"| {' | '.join([arm, images, minutes, *cells])} |")
    return "\n".join(lines)


def way(records: Mapping[str, Sequence[Record]]) -> str:
    """LPIPS and KID over the seconds, where every seed was looked at: a run that was stopped has a look more."""
    keys = ("lpips", "lpips_alex", "kid_inception768")
    head = ["arm", "images", "seconds", *(SHOWN[key][0] for key in keys)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for arm, seeds in records.items():
        looks = [{look["images"]: look for look in record["judgements"]} for record in seeds]
        for images in sorted(set.intersection(*(set(row) for row in looks))):
            here = [row[images] for row in looks]
            seconds = f"{np.mean([passed(record, look) for record, look in zip(seeds, here, strict=True)]):.0f}"
            cells = [_cell([look["figures"][key] * SHOWN[key][1] for look in here]) for key in keys]
            lines.append(f"| {' | '.join([arm, f'{images:,}', seconds, *cells])} |")
    return "\n".join(lines)


def passed(record: Record, look: Mapping[str, Any]) -> float:
    """Seconds of the processor until a look, by its share of the images; of a run that was stopped in between, those of the clock."""
    minutes = record.get("processor_minutes")
    return float(look["seconds"] if minutes is None else 60 * minutes * look["images"] / record["images"])


def drops(records: Mapping[str, Sequence[Record]]) -> str:
    """What is lost on sources unlike those that were learnt from: the figure, and beside it how much worse than on the usual ones."""
    first = next(iter(records.values()))[0]
    key = next(key for key in ("dice", "miou", "lpips") if key in first["judgements"][-1]["figures"])
    lines = [f"| sources, {SHOWN[key][0]} | {' | '.join(records)} |", f"| {' | '.join('---' for _ in range(len(records) + 1))} |"]
    usual = {arm: [record["judgements"][-1]["figures"][key] for record in seeds] for arm, seeds in records.items()}
    lines.append(f"| as learnt from | {' | '.join(_cell(usual[arm]) for arm in records)} |")
    for name in first["elsewhere"]:
        there = {arm: [record["elsewhere"][name][key] for record in seeds] for arm, seeds in records.items()}
        worse = {arm: 100 * (np.mean(there[arm]) / np.mean(usual[arm]) - 1) for arm in records}
        lines.append(f"| {name} | {' | '.join(f'{_cell(there[arm])} ({worse[arm]:+.0f} %)' for arm in records)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = f"{np.mean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} [{min(values):.3g}, {max(values):.3g}]"
