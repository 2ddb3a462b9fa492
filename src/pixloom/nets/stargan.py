"""The critic of StarGAN, which judges patches of a picture and classifies the whole of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import nn

from pixloom.errors import ConfigError
from pixloom.nets.discriminators import Critic, steering_of
from pixloom.nets.steering import GUESSED, Widths


class StarGanCritic(Critic):
    """A logit for every patch, and what the whole picture shows (Choi et al., "StarGAN", CVPR 2018, section 7.2 and table 5).

    ``layers`` 4x4 convolutions with stride 2 and LeakyReLU(0.01), width * 2^n channels at stage n, without normalisation; a 3x3 convolution
    to the logits, and one over the whole of the last maps, size / 2^layers a side, to what is guessed of label and attributes. Both are
    without biases. Of a picture that is larger the guesses are means over all places. With the eight expressions of RaFD at 128 pixels it
    has the authors' 44,786,624 parameters.

    Args:
        source_channels: channels of the source; 0: candidates are judged alone, as published.
        target_channels: channels of the candidate.
        size: side of the pictures, in pixels.
        layers: number of halvings.
        width: channels of the first stage.
        conditions: width of each condition by its kind, see ``steering.Widths``: ``label`` and ``attributes`` are guessed, others are
            projected.

    Raises:
        ConfigError: nothing that could be guessed, or more halvings than the size has room for.
    """

    keeps_scale: ClassVar[bool] = True
    sees_source: ClassVar[bool] = False

    def __init__(
        self,
        *,
        source_channels: NonNegativeInt,
        target_channels: PositiveInt,
        size: Annotated[int, Field(ge=2)],
        layers: Annotated[int, Field(ge=1, le=8)] = 6,
        width: PositiveInt = 64,
        conditions: Widths | None = None,
    ) -> None:
        _check_conditions(conditions)
        options: dict[str, Any] = {
            "source_channels": source_channels,
            "target_channels": target_channels,
            "size": size,
            "layers": layers,
            "width": width,
            "conditions": dict(conditions or {}),
        }
        steering = steering_of(conditions, "classifier", channels=target_channels)
        widths = [source_channels + target_channels + steering.num_planes, *(width * 2**stage for stage in range(layers))]
        stages: list[nn.Module] = [nn.Sequential(nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(0.01)) for inner, outer in pairwise(widths)]
        whole = _side_at_end(size, layers)
        head = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        super().__init__(stages, head, steering=steering, features=widths[-1], options=options, min_size=whole << layers, whole=whole)


def _side_at_end(size: int, layers: int) -> int:
    """Rows and columns of the last maps.

    Raises:
        ConfigError: there are none.
    """
    if size < 1 << layers:
        raise ConfigError(
            f"the critic 'stargan' cannot halve {size} pixels {layers} times",
            why="nothing is left of them",
            fix=f"raise data.size, or --set critic.options.layers={max(1, size.bit_length() - 2)}",
        )
    return size >> layers


def _check_conditions(conditions: Widths | None) -> None:
    if not (conditions or {}).keys() & set(GUESSED):
        raise ConfigError(
            "the critic 'stargan' has nothing to guess",
            why=f"it reads {' and '.join(GUESSED)} off a picture, and neither is a condition here",
            fix="--condition label, or another critic, e.g. --set critic.name=patch",
        )
