"""Losses of codes z: that those read off pictures are like chance, and that chance leaves a trace."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from pixloom.shapes import Images, Scalar

Codes = Float[Tensor, "batch code"]
"""A code per picture."""


def kl_to_normal(mean: Codes, log_variance: Codes) -> Scalar:
    r"""Divergence of N(mu, sigma^2) from N(0, 1), in nats, the mean over pictures and numbers of the code.

    .. math:: \frac12 E[\mu^2 + \sigma^2 - \log \sigma^2 - 1]

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B. Published weights are for sums: BicycleGAN's 0.01
    over a code of 8 and a batch of 1 is 0.08 here; SPADE's 0.05 over a code of 256 and a batch of n is 12.8 n.

    >>> from torch import zeros
    >>> kl_to_normal(zeros(1, 2), zeros(1, 2)).item()
    0.0
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).mean() / 2


def mode_seeking(first: Images, second: Images, *, codes: tuple[Codes, Codes]) -> Scalar:
    r"""How little two answers differ for how much their codes do: to be minimised.

    .. math:: 1 / (\frac{E|G(x, z_1) - G(x, z_2)|}{E|z_1 - z_2|} + 10^{-5})

    Source: Mao et al., "Mode Seeking Generative Adversarial Networks for Diverse Image Synthesis", CVPR 2019, equation 3 in its reciprocal
    form.

    Args:
        first: answers to one draw of the code.
        second: answers to another, for the same sources.
        codes: both draws.
    """
    ratio = (first - second).abs().mean() / (codes[0] - codes[1]).abs().mean().clamp(min=1e-6)
    return 1 / (ratio + 1e-5)
