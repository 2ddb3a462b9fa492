"""How long ``--help`` takes, as a whole process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.speed.harness import Comparison, Options, Outcome, Reading, alternate, run_command
from benchmarks.speed.peer import run_script
from benchmarks.speed.prepare import PIXLOOM, PYTHON


def run(options: Options) -> Outcome:
    """The command line against a script that imports torch at its top."""
    ways: dict[str, Callable[[], Reading]] = {"plain script": partial(run_command, [PYTHON, "-m", "benchmarks.speed.plain_help", "--help"])}
    if options.peer is not None:
        ways["peer, test.py"] = partial(run_script, options.peer, "test.py", "--help")
    ways["pixloom"] = partial(run_command, [PIXLOOM, "--help"])
    return Outcome([Comparison("--help", alternate(ways, rounds=options.rounds))], notes=NOTES)


NOTES = ("The plain script imports torch, numpy and Pillow at its top and prints the help of argparse.",)
