"""Recipes against each other on real pictures for equal times.

    python -m benchmarks.quality RACE...|all --data FOLDER --weights FOLDER [--seeds 0 1 2] [--arms NAME...] [--out runs/quality]
    python -m benchmarks.quality faults --data FOLDER --weights FOLDER [--seeds 0 1 2] [--arms NAME...]
    python -m benchmarks.quality list
    python -m benchmarks.quality tables

From the checkout. A run that was stopped, by a kill too, goes on where it was when the same command is given again; one that is recorded
is left alone. Every run takes one CPU thread. Its length follows from steps that are measured first, on this machine, so it should not be
doing more than it has cores for. Records go to benchmarks/results/quality; ``tables`` writes docs/quality.md from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.quality.running import Places

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "quality"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    from benchmarks.quality.faults import FAULTS
    from benchmarks.quality.faults import run as run_fault
    from benchmarks.quality.races import RACES
    from benchmarks.quality.reading import write_page
    from benchmarks.quality.running import Places
    from pixloom.heap import keep_heap

    if options.names in (["list"], ["tables"]):
        rows = (f"{n:16} {r.title}; {r.data}, {r.size} px, {r.minutes:g} minutes, {len(r.arms)} arms" for n, r in RACES.items())
        print("\n".join(rows) if options.names == ["list"] else write_page(RESULTS, ROOT / "docs" / "quality.md"))
        return
    unknown = [name for name in options.names if name not in RACES and name not in ("all", "faults")]
    if unknown:
        raise SystemExit(f"there is no race {', '.join(unknown)}; see: python -m benchmarks.quality list")
    known = {arm for name in options.names for arm in (FAULTS if name == "faults" else RACES[name].arms if name in RACES else ())}
    if "all" not in options.names and (strange := set(options.arms or ()) - known):
        raise SystemExit(f"there is no arm {', '.join(sorted(strange))}; there are: {', '.join(known)}")
    if options.data is None or options.weights is None:
        raise SystemExit("--data and --weights are needed for training and judging")
    keep_heap()  # judging asks for the same memory again and again
    places = Places(options.data, options.weights, options.out, RESULTS)
    for seed in options.seeds:
        if options.names == ["faults"]:
            for fault in FAULTS:
                if options.arms is None or fault in options.arms:
                    print(run_fault(fault, seed, places).name, flush=True)
            continue
        race_all(list(RACES) if "all" in options.names else options.names, seed, places, options=options)


def race_all(names: Sequence[str], seed: int, places: Places, *, options: argparse.Namespace) -> None:
    """Every arm of some races."""
    from benchmarks.quality.races import RACES
    from benchmarks.quality.running import Entry, run

    for name in names:
        for arm in RACES[name].arms:
            if options.arms is None or arm in options.arms:
                print(run(Entry(name, arm, seed), places, again=options.again).name, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="races, all, list or tables")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", help="only these")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--again", action="store_true", help="train and judge anew what is recorded already")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
