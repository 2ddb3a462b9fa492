"""Measures of colour that need no target."""

from __future__ import annotations

from pixloom.errors import ConfigError
from pixloom.shapes import Images, PerImage


def colourfulness(images: Images) -> PerImage:
    r"""Colourfulness on the 0..255 scale: 0 for grey, about 15 slightly, 45 averagely, 80 highly colourful.

    .. math:: \sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3 \sqrt{\mu_{rg}^2 + \mu_{yb}^2},\quad rg = R - G,\; yb = (R + G)/2 - B

    Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), eq. for M^(3).

    Args:
        images: (batch, 3, height, width) RGB in [-1, 1].

    Raises:
        ConfigError: the pictures are not RGB.

    >>> import torch
    >>> float(colourfulness(torch.zeros(1, 3, 8, 8))[0])
    0.0
    """
    if images.shape[1] != 3:
        raise ConfigError(f"colourfulness is defined on RGB pictures, not on {images.shape[1]} channels")
    red, green, blue = ((images + 1) * 127.5).unbind(dim=1)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    deviation = (red_green.var(dim=(1, 2), correction=0) + yellow_blue.var(dim=(1, 2), correction=0)).sqrt()
    mean = (red_green.mean(dim=(1, 2)).square() + yellow_blue.mean(dim=(1, 2)).square()).sqrt()
    return deviation + 0.3 * mean
