"""PSNR and SSIM on the luma, as the tables of super-resolution have them."""

from __future__ import annotations

import numpy as np
import torch

from pixloom.images.picture import full_scale
from pixloom.metrics.paired import SSIM_WINDOW, ssim


def luma(pixels: np.ndarray) -> np.ndarray:
    """Y of (height, width, channels) pixels, (height, width) in [16, 235] of 255 (ITU-R BT.601, as MATLAB's ``rgb2ycbcr``); grey as it is.

        Y = 16 + 65.481 R + 128.553 G + 24.966 B,   R, G, B in [0, 1]

    >>> luma(np.full((1, 1, 3), 255, np.uint8)).round(3).tolist()
    [[235.0]]
    """
    values = pixels.astype(np.float64) / full_scale(pixels.dtype)
    if values.shape[2] != 3:
        grey: np.ndarray = values.mean(axis=2) * 255
        return grey
    weighted: np.ndarray = 16 + values @ np.array([65.481, 128.553, 24.966])
    return weighted


def psnr_y(prediction: np.ndarray, target: np.ndarray, *, border: int) -> float:
    """10 log10(255^2 / mean((Y' - Y)^2)) in dB, ``border`` pixels left out at each side; 100 for equal pictures."""
    error = np.square(_cropped(luma(prediction), border) - _cropped(luma(target), border)).mean()
    return float(min(100.0, 10 * np.log10(255.0**2 / max(error, 1e-12))))


def ssim_y(prediction: np.ndarray, target: np.ndarray, *, border: int) -> float | None:
    """SSIM of Y (Wang et al., 2004), ``border`` pixels left out at each side; None where what is left is smaller than its window."""
    sides = [_cropped(luma(pixels), border) for pixels in (prediction, target)]
    if min(sides[0].shape) < SSIM_WINDOW:
        return None
    first, second = (torch.from_numpy(np.ascontiguousarray(side / 127.5 - 1))[None, None] for side in sides)
    return float(ssim(first.float(), second.float()))


def _cropped(values: np.ndarray, border: int) -> np.ndarray:
    height, width = values.shape
    return values[border : height - border, border : width - border] if min(height, width) > 2 * border else values
