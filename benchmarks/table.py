"""Print the recorded results of the foundation's runs as a Markdown table.

    python benchmarks/table.py [benchmarks/results/foundation]

A block of rows per run, one row per metric: the last and the best checkpoint, the input itself, the L1-only twin, and the floor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "foundation"
HEAD = ("run", "metric", "last", "best", "input", "L1-only twin", "floor", "pictures", "images", "processor minutes")
HIGHER = ("psnr", "ssim")
NEITHER = ("colourfulness",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS)
    print(table(parser.parse_args().folder))


def table(folder: Path) -> str:
    """All results in a folder, in the order of their names."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    lines = [HEAD, ("---",) * len(HEAD), *(row for record in records for row in rows(record))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """One run: a row per metric, what belongs to the whole run in the first of them."""
    last, best = record["last"], record["best"]
    training = last["protocol"]["model"]["facts"]["training"]
    common = (str(best["count"]), f"{training['images']:,}", f"{record['processor_minutes']:g}")
    name = record["name"] + (f" (seed {training['seed']})" if training["seed"] else "")
    found = []
    for place, metric in enumerate(best["means"]):
        values = [interval(report["means"].get(metric)) for report in (last, best)]
        values += [number(baselines(best)[role].get(metric)) for role in ("input", "twin")]
        floor = best["floors"].get(metric)
        first = place == 0
        cells = [name if first else "", label(metric), *values, "" if floor is None else f"{floor:.4g}"]
        found.append((*cells, *(common if first else ("",) * len(common))))
    return found


def baselines(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The means of the input itself and of the other model, empty where they were not measured."""
    others = {name: means for name, means in report["baselines"].items() if name != "input"}
    return {"input": report["baselines"].get("input", {}), "twin": next(iter(others.values()), {})}


def label(metric: str) -> str:
    if metric.startswith(NEITHER):
        return metric
    return f"{metric} {'↑' if metric in HIGHER else '↓'}"


def number(estimate: dict[str, Any] | None) -> str:
    return "–" if estimate is None else f"{estimate['mean']:.4g}"


def interval(estimate: dict[str, Any] | None) -> str:
    """The mean with its 95 % interval, where it has one."""
    if estimate is None or estimate["low"] is None:
        return number(estimate)
    return f"{estimate['mean']:.4g} [{estimate['low']:.4g}, {estimate['high']:.4g}]"


if __name__ == "__main__":
    main()
