"""The plain loop's step. A worker.

python -m benchmarks.speed.plain_steps CASE --start FILE [--no-dropout]
"""

from __future__ import annotations

from torch import nn

from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.plain import Loop, UNet, patch_critic, resnet
from benchmarks.speed.stepping import Start, arguments, serve_steps, set_parameters


def main() -> None:
    options = arguments().parse_args()
    start = Start.load(options.start)
    loop = loop_of(CASES[options.case], dropout=not options.no_dropout)
    set_parameters(loop.generator, start.generator)
    set_parameters(loop.critic, start.critic)
    serve_steps(loop.step, start.batches)


def loop_of(case: Case, *, dropout: bool) -> Loop:
    """The plain loop of a case."""
    if case.generator == "unet":
        return Loop(UNet(case.depth, dropout=0.5 if dropout else 0.0), patch_critic(nn.BatchNorm2d))
    return Loop(resnet(), patch_critic(nn.InstanceNorm2d))


if __name__ == "__main__":
    main()
