"""What the records say: a table for each race, and its curves."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.races import RACES

Record = Mapping[str, Any]

SHOWN = {
    "lpips": ("LPIPS ↓", 1.0),
    "lpips_alex": ("LPIPS (Alex) ↓", 1.0),
    "kid_inception768": ("KID x 1000 ↓", 1000.0),
    "psnr": ("PSNR ↑", 1.0),
    "ssim": ("SSIM ↑", 1.0),
}

HEAD = """# Quality for time

Made by `python -m benchmarks.quality tables` from the records in
[benchmarks/results/quality](../benchmarks/results/quality). Every figure is on pictures that were not learnt from, of the model that
training ended with. Times are wall clock on one thread of a CPU, of which the length of each run is chosen beforehand from measured steps.
Of several seeds: the mean, and in brackets the least and the largest. KID is on 768 features of the FID network, LPIPS that of SqueezeNet
where no other is named. None of this was run on a GPU.
"""


def write_page(results: Path, page: Path) -> Path:
    """The page of all races that are recorded."""
    sections = [section(name, records) for name in RACES if (records := load(results, name))]
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
    if any(len(record["judgements"]) > 1 for seeds in records.values() for record in seeds):
        parts.append(way(records))
    return "\n\n".join(parts) + "\n"


def ends(records: Mapping[str, Sequence[Record]]) -> str:
    """The last figures of every arm."""
    averaged = any("without the average" in record["judgements"][-1] for seeds in records.values() for record in seeds)
    head = [
        "arm",
        "images",
        "minutes",
        *(title for title, _ in SHOWN.values()),
        *(["without EMA: LPIPS", "KID x 1000"] if averaged else []),
    ]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for arm, seeds in records.items():
        last = [record["judgements"][-1] for record in seeds]
        cells = [_cell([look["figures"][key] * factor for look in last]) for key, (_, factor) in SHOWN.items()]
        bare = [look["without the average"] for look in last if "without the average" in look]
        if averaged:
            cells += [_cell([row[key] * SHOWN[key][1] for row in bare]) for key in ("lpips", "kid_inception768")]
        minutes = _cell([look["seconds"] / 60 for look in last])
        images = f"{seeds[0]['images']:,}"
        lines.append(f"| {' | '.join([arm, images, minutes, *cells])} |")
    return "\n".join(lines)


def way(records: Mapping[str, Sequence[Record]]) -> str:
    """LPIPS and KID over the seconds."""
    lines = ["| arm | " + " | ".join(("seconds", "LPIPS", "KID x 1000")) + " |", "| --- | --- | --- | --- |"]
    for arm, seeds in records.items():
        for looks in zip(*(record["judgements"] for record in seeds), strict=False):
            seconds = f"{np.mean([look['seconds'] for look in looks]):.0f}"
            cells = [_cell([look["figures"][key] * SHOWN[key][1] for look in looks]) for key in ("lpips", "kid_inception768")]
            lines.append(f"| {' | '.join([arm, seconds, *cells])} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = f"{np.mean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} [{min(values):.3g}, {max(values):.3g}]"
