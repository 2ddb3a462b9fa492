"""Run benchmarks and record them, or write the recorded ones into benchmarks/README.md.

    python -m benchmarks.speed NAME...|all [--data FOLDER] [--peer CHECKOUT] [--out FOLDER] [--quick]
    python -m benchmarks.speed table [--out FOLDER]

From the checkout, with nothing else running. Each takes a few minutes on two cores; --quick only shows that it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.speed import equality, folders, latency, loader, memory, scaling, share, startup, training
from benchmarks.speed.harness import ROOT, Options, Outcome
from benchmarks.speed.record import make_record, replace_text, write_record
from benchmarks.speed.table import load_records, rewrite, section

RESULTS = ROOT / "benchmarks" / "results" / "speed"
QUICK_RESULTS = ROOT / "runs" / "speed"
README = ROOT / "benchmarks" / "README.md"

BENCHMARKS: dict[str, Callable[[Options], Outcome]] = {
    "training": training.run,
    "equality": equality.run,
    "share": share.run,
    "loader": loader.run,
    "latency": latency.run,
    "folder": folders.run,
    "help": startup.run,
    "memory": memory.run,
    "memory-native": memory.run_native,
    "scaling": scaling.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if "table" in options.names:
        records = load_records(options.out or RESULTS, list(BENCHMARKS))
        replace_text(README, rewrite(README.read_text(encoding="utf-8"), records))
        return
    for name in BENCHMARKS if "all" in options.names else options.names:
        path = measure(name, options)
        print(f"wrote {path}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all", "table"])
    parser.add_argument("--data", type=Path, help="a folder with facades/train/*.jpg; else synthetic pictures")
    parser.add_argument("--peer", type=Path, help="a checkout of junyanz/pytorch-CycleGAN-and-pix2pix to measure beside")
    parser.add_argument("--out", type=Path, help="folder of the records; else benchmarks/results/speed, or runs/speed with --quick")
    parser.add_argument("--quick", action="store_true", help="less of everything; such a record is never published")
    return parser.parse_args(arguments)


def measure(name: str, options: argparse.Namespace) -> Path:
    """Run one benchmark, print its table, record it."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    started, before = datetime.now(UTC), os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="pixloom-speed-") as scratch:
        chosen = Options(scratch=Path(scratch), data=options.data, peer=options.peer, quick=options.quick)
        outcome = BENCHMARKS[name](chosen)
    flags = [
        *(["--data", "DATA"] if options.data else []),
        *(["--peer", "PEER"] if options.peer else []),
        *(["--quick"] if options.quick else []),
    ]
    command = " ".join(["python -m benchmarks.speed", name, *flags])
    record = make_record(name, outcome, options=chosen, command=command, started=started, load=(before, os.getloadavg()))
    print(section(record), flush=True)
    return write_record(record, options.out or (QUICK_RESULTS if options.quick else RESULTS))


if __name__ == "__main__":
    main()
