"""Train and judge the tasks on real pictures, or make the gallery of what came of it.

    python -m benchmarks.tasks NAME...|all --data FOLDER --weights FOLDER [--seeds 0 1 2] [--out runs/tasks] [--again]
    python -m benchmarks.tasks list
    python -m benchmarks.tasks gallery [--out runs/tasks]
    python -m benchmarks.tasks methods
    python -m benchmarks.tasks readme

From the checkout. A run that was stopped, by a kill too, goes on where it was when the same command is given again; one that is recorded
is left alone. Each run takes some minutes of one CPU thread. Records go to benchmarks/results/tasks/NAME-seedS.json. ``gallery`` writes
docs/gallery.md, with pictures only of data that may be published, and OUT/gallery with all of them; ``methods`` the tables of
docs/methods.md, ``readme`` those of both READMEs, of what has three seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "tasks"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    from benchmarks.tasks.comparing import write_tables
    from benchmarks.tasks.gallery import load, make_galleries
    from benchmarks.tasks.running import Places, run_all
    from benchmarks.tasks.summary import write_headlines
    from benchmarks.tasks.table import EXPERIMENTS

    if options.names == ["list"]:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:24} {experiment.title}; {experiment.data}, {experiment.size} px, {experiment.images:,} images")
    elif options.names == ["methods"]:
        print(write_tables(load(RESULTS), ROOT / "docs" / "methods.md"))
    elif options.names == ["readme"]:
        print(*write_headlines(load(RESULTS), [ROOT / "README.md", ROOT / "README.zh-CN.md"]), sep="\n")
    elif options.names == ["gallery"]:
        print(*make_galleries(RESULTS, out=options.out, docs=ROOT / "docs"), sep="\n")
    else:
        unknown = [name for name in options.names if name not in EXPERIMENTS and name != "all"]
        if unknown:
            raise SystemExit(f"there is no experiment {', '.join(unknown)}; see: python -m benchmarks.tasks list")
        if options.data is None or options.weights is None:
            raise SystemExit("--data and --weights are needed for training and judging")
        places = Places(options.data, options.weights, options.out, RESULTS)
        run_all(list(EXPERIMENTS) if "all" in options.names else options.names, options.seeds, places, again=options.again)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="experiments, all, list, gallery, methods or readme")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--again", action="store_true", help="judge anew what is recorded already")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
