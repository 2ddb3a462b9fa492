"""The transforms of Pillow images that the peer composes, each doing what its name says with the same filter and the same result."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from PIL import Image


class InterpolationMode(Enum):
    """Filters by name; the values are Pillow's."""

    NEAREST = Image.Resampling.NEAREST
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    LANCZOS = Image.Resampling.LANCZOS


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, picture: Any) -> Any:
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class Lambda:
    """Any function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, picture: Any) -> Any:
        return self.function(picture)


class Grayscale:
    """Luma, as one channel."""

    def __init__(self, channels: int = 1) -> None:
        assert channels == 1

    def __call__(self, picture: Image.Image) -> Image.Image:
        return picture.convert("L")


class Resize:
    """To (height, width)."""

    def __init__(self, size: Sequence[int], interpolation: InterpolationMode = InterpolationMode.BILINEAR) -> None:
        self.size, self.filter = (size[1], size[0]), interpolation.value

    def __call__(self, picture: Image.Image) -> Image.Image:
        return picture if picture.size == self.size else picture.resize(self.size, self.filter)


class RandomCrop:
    """A square anywhere."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, picture: Image.Image) -> Image.Image:
        left, top = random.randint(0, picture.width - self.side), random.randint(0, picture.height - self.side)
        return picture.crop((left, top, left + self.side, top + self.side))


class RandomHorizontalFlip:
    """Mirrored, half of the time."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else picture


class ToTensor:
    """(channels, height, width) in [0, 1]."""

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        pixels = np.array(picture, copy=True)
        return torch.from_numpy(pixels.reshape(picture.height, picture.width, -1)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Normalize:
    """(values - mean) / deviation, by channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.mean, self.deviation = mean, deviation

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.deviation))
        return values.clone().sub_(mean).div_(deviation)
