"""Joint transforms of a pair, in numpy: drawn once, applied to both sides, so that they stay aligned.

Every picture is resized with the antialiased bicubic filter of :func:`pixloom.images.resize`, label maps too: the data knows pictures,
not what they mean. A task that needs exact ids passes them through ``nearest``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixloom.images import resize


@dataclass(frozen=True)
class Crop:
    """A square cut out of a picture, and whether it is mirrored left to right."""

    top: int
    left: int
    flip: bool = False


def fit(pixels: np.ndarray, *, short_side: int, nearest: bool = False) -> np.ndarray:
    """The picture with its short side at ``short_side``, aspect kept to the nearest pixel.

    Args:
        pixels: H W C.
        short_side: wanted length of the shorter side; smaller pictures are enlarged.
        nearest: take the nearest pixel instead of the bicubic filter.
    """
    height, width = fitted_size(*pixels.shape[:2], short_side=short_side)
    return pixels if (height, width) == pixels.shape[:2] else resize(pixels, height=height, width=width, nearest=nearest)


def fitted_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width after :func:`fit`.

    >>> fitted_size(100, 151, short_side=50)
    (50, 76)
    """
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def draw_crop(rng: np.random.Generator, *, height: int, width: int, size: int, flip: bool) -> Crop:
    """A uniformly drawn crop of ``size`` squared, mirrored with probability 1/2 when ``flip``.

    Raises:
        ValueError: the picture is smaller than the crop.
    """
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return Crop(top, left, flip and bool(rng.integers(2)))


def center_crop(*, height: int, width: int, size: int) -> Crop:
    """The crop in the middle.

    >>> center_crop(height=10, width=20, size=8)
    Crop(top=1, left=6, flip=False)
    """
    return Crop((height - size) // 2, (width - size) // 2)


def apply(crop: Crop, pixels: np.ndarray, *, size: int) -> np.ndarray:
    """Cut ``size`` squared out of H W C pixels; a view, or a copy where it is mirrored."""
    cut = pixels[crop.top : crop.top + size, crop.left : crop.left + size]
    return mirrored(cut) if crop.flip else cut


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """H W C pixels left to right, as a :func:`planar` copy: what runs backwards in memory is slow to convert."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if planes.dtype == np.uint8 and planes.shape[2] % 8 == 0:
        # Eight at a time, twice as quick: words in reverse order, and the bytes of each by reading it from the other end.
        planes = planes.view(">u8")[:, :, ::-1].astype("<u8").view(np.uint8)
    else:
        planes = np.ascontiguousarray(planes[:, :, ::-1])
    return planes.transpose(1, 2, 0)


def planar(pixels: np.ndarray) -> np.ndarray:
    """The same H W C pixels, laid out in memory channel by channel: the order of a network's input, so that encoding copies whole rows.

    Returns:
        ``pixels`` itself where it lies so already, else a copy.
    """
    planes = pixels.transpose(2, 0, 1)
    return pixels if planes.flags.c_contiguous else np.ascontiguousarray(planes).transpose(1, 2, 0)
