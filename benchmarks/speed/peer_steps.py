"""The step of junyanz/pytorch-CycleGAN-and-pix2pix, from a checkout of its own, unchanged. A worker.

    python -m benchmarks.speed.peer_steps CASE --checkout FOLDER --start FILE [--no-dropout]

Its options are its defaults for pix2pix. Only what it imports and this step never calls may be a stand-in (see ``standins``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.peer import flags, stand_in
from benchmarks.speed.plain import L1_WEIGHT
from benchmarks.speed.stepping import Start, Step, arguments, serve_steps, set_parameters


def main() -> None:
    parser = arguments()
    parser.add_argument("--checkout", type=Path, required=True)
    options = parser.parse_args()
    start = Start.load(options.start)
    with tempfile.TemporaryDirectory() as scratch:
        model = model_of(CASES[options.case], checkout=options.checkout, dropout=not options.no_dropout, scratch=Path(scratch))
    set_parameters(model.netG, start.generator)
    set_parameters(model.netD, start.critic)
    serve_steps(step_of(model), start.batches)


def model_of(case: Case, *, checkout: Path, dropout: bool, scratch: Path) -> Any:
    """The peer's pix2pix model with the networks of a case."""
    sys.path[:0] = [str(checkout), *stand_in()]
    sys.argv = ["train.py", "--dataroot", str(scratch), "--checkpoints_dir", str(scratch), *flags(case, dropout=dropout)]
    from models import create_model  # type: ignore[import-not-found]
    from options.train_options import TrainOptions  # type: ignore[import-not-found]

    settings = TrainOptions().parse()
    model = create_model(settings)
    model.setup(settings)
    return model


def step_of(model: Any) -> Step:
    """Its step in the terms of the comparison."""

    def step(source: Tensor, target: Tensor) -> dict[str, float]:
        model.set_input({"A": source, "B": target, "A_paths": [], "B_paths": []})
        model.optimize_parameters()
        losses = {"real": model.loss_D_real, "fake": model.loss_D_fake, "adversarial": model.loss_G_GAN, "pixel": model.loss_G_L1}
        return {name: value.item() / (L1_WEIGHT if name == "pixel" else 1.0) for name, value in losses.items()}

    return step


if __name__ == "__main__":
    main()
