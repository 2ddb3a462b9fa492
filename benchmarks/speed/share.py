"""Where the time of a training run goes that its networks do not take: by the step, and by what comes due now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.harness import Options, Outcome, Worker
from benchmarks.speed.prepare import pairs

SIZE = 128
IMAGES, QUICK_IMAGES = 300, 12
EXAMPLES = 400

PER_STEP = ("waiting for the loader", "rest of the step", "loop", "log")
PERIODIC = {"preview": 20, "validation": 10, "checkpoint": 10, "report": 30, "check of the weights": 20}
"""How often each comes in a run of any length (the settings' defaults); a report is written with each preview and checkpoint,
the weights are checked before either."""


def run(options: Options) -> Outcome:
    """One run, its parts, and what they would be in a run of the recipe's own length."""
    data = pairs(options, count=8 if options.quick else EXAMPLES)
    images = QUICK_IMAGES if options.quick else IMAGES
    with Worker("share_run") as worker:
        found = worker.ask("run", data=str(data), out=str(options.scratch / "run"), size=SIZE, images=images)
    steps = found["calls"]["rest of the step"]
    rows = [part_row(name, found, steps=steps) for name in found["seconds"]]
    return Outcome(rows=sorted(rows, key=lambda row: -row["share"]), notes=(*NOTES, conclusion(found, steps=steps)))


def part_row(name: str, found: Mapping[str, Any], *, steps: int) -> dict[str, Any]:
    """One part: its seconds, as a share of the loop, and per step or per occasion."""
    seconds, calls = found["seconds"][name], found["calls"].get(name, steps)
    occasions = calls if name in PERIODIC else steps
    return {
        "part": name,
        "kind": "now and then" if name in PERIODIC else "every step",
        "seconds": seconds,
        "share": seconds / found["loop"],
        "times": occasions,
        "ms each": 1000 * seconds / occasions,
    }


def overhead_share(seconds: Mapping[str, float]) -> float:
    """What every step costs beside the networks, as a share of all that every step costs."""
    overhead: float = sum(seconds.get(name, 0.0) for name in PER_STEP)
    return overhead / (overhead + seconds["networks and optimizers"])


def periodic_share(found: Mapping[str, Any], *, steps: int, images: int) -> float:
    """The share of what comes due now and then in a run of ``images``, from the seconds of each occasion and step in this one."""
    seconds, calls = found["seconds"], found["calls"]
    every_step: float = sum(value for name, value in seconds.items() if name not in PERIODIC) / steps * images
    now_and_then: float = sum(times * seconds[name] / calls[name] for name, times in PERIODIC.items() if name in seconds)
    return now_and_then / (now_and_then + every_step)


def conclusion(found: Mapping[str, Any], *, steps: int) -> str:
    """The figures that matter, in sentences."""
    measured = sum(found["seconds"].get(name, 0.0) for name in PERIODIC) / found["loop"]
    images = found["full_length_images"]
    return " ".join(
        [
            f"Beside its networks a step spends {overhead_share(found['seconds']):.2%} of its time.",
            f"What comes due now and then took {measured:.1%} of this short loop of {found['loop']:.0f} s;",
            f"in the recipe's own length of {images:,} images it is {periodic_share(found, steps=steps, images=images):.2%}",
            "(reckoned from the measured parts).",
            f"Setting up and measuring took {found['before']:.0f} s before the loop, the final judgement {found['after']:.0f} s after it.",
        ]
    )


NOTES = (
    f"`pixloom train` at {SIZE} px, batch 1, recipe pix2pix, with a clock round its functions. A part has the time in which it is the "
    "innermost that runs: the rest of the step is what `Learner.step` does beside the method's terms, the backward passes and Adam.",
)
