"""How the peer, a checkout of junyanz/pytorch-CycleGAN-and-pix2pix, is called. No torch here."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from benchmarks.speed.cases import Case
from benchmarks.speed.harness import Reading, run_command

STANDINS = Path(__file__).parent / "standins"
MODEL_NAME = "unet"


def stand_in() -> list[str]:
    """The folders of the stand-ins for those packages of the peer's that are not installed."""
    return [str(folder) for folder in sorted(STANDINS.glob("for_*")) if importlib.util.find_spec(folder.name.removeprefix("for_")) is None]


def flags(case: Case, *, dropout: bool) -> list[str]:
    """Its training options for the networks of a case, on the CPU."""
    network = f"unet_{case.size}" if case.generator == "unet" else "resnet_9blocks"
    norm = "batch" if case.generator == "unet" else "instance"
    chosen = ["--model", "pix2pix", "--netG", network, "--norm", norm, "--gpu_ids", "-1", "--display_id", "-1", "--no_html"]
    return chosen if dropout and case.generator == "unet" else [*chosen, "--no_dropout"]


def run_test(checkout: Path, *, pictures: Path, checkpoints: Path, out: Path) -> Reading:
    """Its ``test.py`` over a folder, in evaluation mode on the CPU."""
    places = ["--dataroot", pictures, "--checkpoints_dir", checkpoints, "--results_dir", out, "--name", MODEL_NAME]
    network = ["--model", "test", "--netG", "unet_256", "--norm", "batch", "--no_dropout", "--eval"]
    return run_script(checkout, "test.py", *places, *network, "--gpu_ids", "-1", "--num_test", 1_000_000)


def run_script(checkout: Path, script: str, *arguments: object) -> Reading:
    """One of its scripts as a whole process."""
    paths = [*stand_in(), *filter(None, [os.environ.get("PYTHONPATH")])]
    return run_command([sys.executable, checkout.resolve() / script, *arguments], env={"PYTHONPATH": os.pathsep.join(paths)})
