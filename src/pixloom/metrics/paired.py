"""Measures between a prediction and its target, one number per picture."""

from __future__ import annotations

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from pixloom.errors import ConfigError
from pixloom.shapes import Images, PerImage

DATA_RANGE = 2.0
"""Pictures are in [-1, 1]."""

SSIM_WINDOW = 11
"""Side of the Gaussian window (sigma 1.5), hence of the smallest picture that SSIM can judge."""


def psnr(prediction: Images, target: Images) -> PerImage:
    r"""Peak signal-to-noise ratio in dB: :math:`10 \log_{10}(2^2 / \mathrm{mean}((\hat y - y)^2))`; higher is better.

    The mean is over channels and pixels. Equal pictures give ``inf``.

    Args:
        prediction: (batch, channels, height, width) in [-1, 1].
        target: the same shape and range.

    >>> float(psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.2))[0])
    20.0
    """
    error = (prediction.double() - target.double()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(DATA_RANGE**2 / error)).float()


def ssim(prediction: Images, target: Images) -> PerImage:
    r"""Structural similarity, at most 1, higher is better.

    .. math:: \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004), eq. 13,
    on intensities (v + 1) / 2 in [0, 1]: Gaussian window of 11 x 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, mean over channels
    and over the places where the whole window lies inside the picture.

    Args:
        prediction: (batch, channels, height, width) in [-1, 1].
        target: the same shape and range.

    Raises:
        ConfigError: the pictures are smaller than the window.
    """
    height, width = prediction.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ConfigError(f"SSIM cannot judge pictures of {width} x {height}", why=f"its window is {SSIM_WINDOW} x {SSIM_WINDOW} pixels")
    # Intensities must not be negative: mu_x mu_y means something only where black is zero.
    # Double precision: the variances are differences of nearly equal numbers where a picture is flat.
    light, wanted = prediction.double() / 2 + 0.5, target.double() / 2 + 0.5
    _, field = structural_similarity_index_measure(light, wanted, data_range=1.0, reduction="none", return_full_image=True)
    # torchmetrics averages its padded border too; the paper and scikit-image do not.
    margin = SSIM_WINDOW // 2
    inside: torch.Tensor = field[..., margin : height - margin, margin : width - margin]
    return inside.mean(dim=(1, 2, 3)).float()
