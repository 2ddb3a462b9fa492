"""Losses: pure functions of tensors, by name."""

from __future__ import annotations

from pixloom.losses.adversarial import ADVERSARIAL, AdversarialLoss
from pixloom.losses.penalties import gradient_penalty
from pixloom.losses.pixels import PIXEL

__all__ = ["ADVERSARIAL", "PIXEL", "AdversarialLoss", "gradient_penalty"]
