"""The patchwise contrastive loss: a place of the output should be told from the source's other places by what lies at its own."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, arange
from torch.nn import functional as F

from pixloom.shapes import Scalar

Patches = Float[Tensor, "batch places dim"]
"""Vectors of length 1, of some places of each picture."""


def patch_nce(query: Patches, key: Patches, *, temperature: float = 0.07) -> Scalar:
    r"""Cross-entropy of finding a query's own place among the places of its picture.

    .. math:: -E_s \log \frac{\exp(v_s \cdot v_s^+ / \tau)}{\sum_{s'} \exp(v_s \cdot v_{s'}^+ / \tau)}

    Source: Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, equations 2 and 3: the negatives are the
    other places of the same picture.

    Args:
        query: of the output.
        key: of the source, at the same places; no gradient flows to it.
        temperature: tau.
    """
    batch, places, _ = query.shape
    similar = query @ key.detach().transpose(1, 2) / temperature
    own = arange(places, device=query.device).expand(batch, places)
    return F.cross_entropy(similar.reshape(-1, places), own.reshape(-1))
