"""The interface of a task: how pictures become examples, and how an output becomes a picture again."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

Pixels = np.ndarray
"""A picture at the edge: (height, width, channels), uint8, uint16 or float32 in [0, 1]."""

Values = np.ndarray
"""A picture inside: (channels, height, width), float32 in [-1, 1]."""


class Task(Protocol):
    """What is translated into what. Tasks are small frozen dataclasses; their fields are the task's settings."""

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_pairs: ClassVar[bool]
    pixelwise: ClassVar[bool]
    """Whether :meth:`encode` makes every pixel's values from that pixel alone, so that pictures may be cropped after it."""

    metrics: ClassVar[tuple[str, ...]]
    """Names of metrics that mean something here beside the common ones (PSNR, SSIM, LPIPS, KID)."""

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """Channels of the network's input and output, from those of the pictures (``target`` is None for lone pictures)."""
        ...

    def encode(self, source: Pixels, target: Pixels | None) -> tuple[Values, Values]:
        """An example (x, y) of one height and width from the pictures of a record."""
        ...

    def encode_source(self, source: Pixels) -> Values:
        """The network's input from the picture that a person wants translated; pixel by pixel, for a large one is encoded in pieces."""
        ...

    def source_channels(self, picture: int, network: int) -> int:
        """The channels to which a picture of ``picture`` channels is brought for a network that takes ``network``."""
        ...

    def output_channels(self, network: int) -> int:
        """The channels of a translated picture, from those that the network gives."""
        ...

    def compose(self, output: Values, source: Pixels) -> Pixels:
        """The translated picture, of the source's size and number type, from the network's output (of any size).

        Pixel by pixel where the output has the source's size, for a large one is composed in pieces.
        """
        ...

    def views(self, source: Pixels, target: Pixels | None) -> tuple[Pixels, Pixels]:
        """The two pictures to look at and compare with: what goes in and what should come out."""
        ...
