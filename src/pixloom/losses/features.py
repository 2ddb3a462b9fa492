"""Losses between activations: those of the critic, and those of a network that was trained to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pixloom.shapes import FeatureLists, Images, Scalar


def feature_matching(real: FeatureLists, fake: FeatureLists) -> Scalar:
    r"""The mean distance between a critic's activations on real and on made pictures, over its layers and scales.

    .. math:: \frac{1}{KL} \sum_{k,l} E |D_k^{(l)}(x, y) - D_k^{(l)}(x, G(x))|_1

    Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD), CVPR 2018,
    equation 4, with means over layers and scales. The authors' weight of 10 is for the sum over the four activations of a critic of three
    layers, so it is 40 here; beside their sum over two scales of the adversarial term it is 20.

    Args:
        real: on the targets; no gradient flows to them.
        fake: on the outputs, of the same shapes.
    """
    distances = [
        (ours - theirs.detach()).abs().mean()
        for ours_of_scale, theirs_of_scale in zip(fake, real, strict=True)
        for ours, theirs in zip(ours_of_scale, theirs_of_scale, strict=True)
    ]
    return torch.stack(distances).mean()


def perceptual(extract: Callable[[Tensor], Sequence[Tensor]], output: Images, target: Images) -> Scalar:
    r"""The mean distance between what a network trained on photographs sees in the output and in the target, over its layers.

    .. math:: \frac{1}{L} \sum_l E |\phi_l(G(x)) - \phi_l(y)|_1

    Source: Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, equation 2, with the L1
    distance of Wang et al. (pix2pixHD), CVPR 2018, section 3.4. Layers weigh alike here; pix2pixHD and SPADE weigh five of VGG-19 by 1/32,
    1/16, 1/8, 1/4 and 1, their sum 1.47, so that their weight of 10 is about 15 in all.

    Args:
        extract: pictures to the activations of the layers; its weights take no gradient.
        output: in [-1, 1].
        target: in [-1, 1]; no gradient flows to it.
    """
    with torch.no_grad():
        wanted = extract(target)
    return torch.stack([(ours - theirs).abs().mean() for ours, theirs in zip(extract(output), wanted, strict=True)]).mean()
