"""Losses between shares of classes and label maps, and between a critic's guesses and conditions.

Shares and maps are (batch, classes, height, width) in [-1, 1]: an output is 2 p - 1 with the shares p of a softmax, a target 2 t - 1 with
t = 1 in the plane of the right class, else 0. Pixels whose target is -1 in every plane have no label, and count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pixloom.shapes import Images, Judgement, Scalar

SMALLEST_SHARE = 1e-7
"""Shares below count as this much in a logarithm: in [-1, 1] float32 has no room for smaller ones."""


def cross_entropy(output: Images, target: Images) -> Scalar:
    r"""Minus the logarithm of the right class's share, in nats, the mean over labelled pixels; 0 where none is labelled.

    .. math:: -\frac{\sum_{i,c} t_{ic} \log p_{ic}}{\sum_{i,c} t_{ic}}

    Source: the negative log-likelihood of a categorical distribution (Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.108).

    Args:
        output: 2 p - 1.
        target: 2 t - 1.

    >>> round(cross_entropy(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)).item(), 4)
    0.6931
    """
    share, right = (output + 1) / 2, (target + 1) / 2
    return -(right * torch.log(share.clamp(min=SMALLEST_SHARE))).sum() / right.sum().clamp(min=1)


def dice(output: Images, target: Images) -> Scalar:
    r"""One minus the soft Dice coefficient, the mean over the classes that occur in the batch's targets; 0 where none does.

    .. math:: 1 - \frac{1}{|C|} \sum_{c \in C} \frac{2 \sum_i p_{ic} t_{ic}}{\sum_i p_{ic} + \sum_i t_{ic}}

    Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations", 2017, section 2.1
    (their two-class form, here with every class in its turn); sums over all labelled pixels i of the batch. A class that does not occur is
    left out: its coefficient would be 0 whatever the output.

    Args:
        output: 2 p - 1.
        target: 2 t - 1.

    >>> right = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    >>> dice(right, right).item(), dice(-right, right).item()
    (0.0, 1.0)
    """
    right = (target + 1) / 2
    share = (output + 1) / 2 * right.amax(dim=1, keepdim=True)
    both, either, labelled = (values.sum(dim=(0, 2, 3)) for values in (share * right, share + right, right))
    there = (labelled > 0).to(output.dtype)
    lacking = 1 - 2 * both / either.clamp(min=1)  # where a class occurs, the sum is 1 or more
    return (there * lacking).sum() / there.sum().clamp(min=1)


def classification(judgement: Judgement, condition: Mapping[str, Tensor]) -> dict[str, Scalar]:
    """How far what a critic's classifier reads off pictures is from what they are to show; nothing without a classifier.

        label        -sum_k c_k log softmax(g)_k        over the examples that state one
        attributes   binary cross-entropy of (c + 1) / 2 and sigmoid(g)        over those that are stated

    Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, equation 2; Choi et al., "StarGAN", 2018,
    equations 2 and 3.

    Args:
        judgement: with the guesses, (batch, width) by kind.
        condition: (batch, width) by kind: shares of a label, 0 where none is stated; values of attributes and after them 1 for each that is
            stated.
    """
    terms = []
    if "label" in judgement.guesses:
        wanted = condition["label"]
        terms.append(-(wanted * judgement.guesses["label"].log_softmax(1)).sum() / wanted.sum().clamp(min=1))
    if "attributes" in judgement.guesses:
        wanted, stated = condition["attributes"].chunk(2, 1)
        distance = F.binary_cross_entropy_with_logits(judgement.guesses["attributes"], (wanted.clamp(-1, 1) + 1) / 2, reduction="none")
        terms.append((distance * stated).sum() / stated.sum().clamp(min=1))
    return {"classification": torch.stack(terms).sum()} if terms else {}
