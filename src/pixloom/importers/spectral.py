"""Spectral normalisation as torch keeps it, W, u and v, by sigma = u^T W v, and as ``nets.layers.SpectralConv2d`` does: W and u alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pixloom.errors import ModelError, first_line
from pixloom.importers.foreign import State

MOST_ROWS = 4096
"""Of a matrix; published ones have 1,024 at most, and what is computed of it takes their cube."""

ROUNDING = 1e-4
"""By how much u^T W v may exceed the largest that it can be with vectors of length 1, relatively."""


def without_spectral_norm(state: State) -> State:
    """The tensors with each W / (u^T W v) in the place of W, u and v.

    Raises:
        ModelError: u or v do not fit W.
    """
    return _replaced(state, lambda weight, left, right: {"weight": weight / _sigma(weight.flatten(1), left, right)})


def with_own_u(state: State) -> State:
    """The tensors with each W, u and v as the W and u of a ``SpectralConv2d``, which in use divides by the same sigma.

    Raises:
        ModelError: u or v do not fit W, or no u has that sigma.
    """
    return _replaced(state, _own)


def turned(matrix: Tensor, left: Tensor, *, sigma: Tensor) -> Tensor:
    """A vector u' of length 1 near u with |W^T u'| = sigma.

    v lags a step behind u, so that u^T W v is a little less than |W^T u|. With W = sum s_i a_i b_i^T and u = sum c_i a_i it is

        |W^T u'|^2 = sum s_i^2 c'_i^2,    c'_i^2 = (1 - t) c_i^2, and t more where s_i is smallest

    That is the direction which the next step of the iteration forgets first, so that training goes on as it would have.

    Args:
        matrix: W, (outer, inner).
        left: u, (outer,).
        sigma: u^T W v, a scalar.

    Raises:
        ModelError: no vector has it.
    """
    if len(matrix) > MOST_ROWS:
        raise ModelError(f"a layer of {len(matrix):,} channels is none that is known")
    squares, axes = torch.linalg.eigh(matrix @ matrix.t())  # s_i^2, the smallest first
    parts = axes.t() @ F.normalize(left, dim=0)
    least, most = squares[0].clamp(min=0), (squares * parts.square()).sum()
    if not (sigma > 0 and least <= sigma.square() <= most * (1 + ROUNDING)):
        raise ModelError(f"u^T W v is {float(sigma):.3g}, and |W^T u| {float(most.sqrt()):.3g}")
    share = ((most - sigma.square()) / (most - least).clamp(min=torch.finfo(most.dtype).tiny)).clamp(min=0)
    wanted = (1 - share) * parts.square()
    wanted[0] += share
    found: Tensor = axes @ torch.copysign(wanted.sqrt(), parts)
    return found


def _replaced(state: State, make: Callable[[Tensor, Tensor, Tensor | None], State]) -> State:
    """The tensors with what is made of W, u and v in their place."""
    found = {name: tensor for name, tensor in state.items() if not name.endswith(("weight_orig", "weight_u", "weight_v"))}
    for name, weight in state.items():
        if name.endswith("weight_orig"):
            layer = name.removesuffix("weight_orig")
            left, right = state[f"{layer}weight_u"], state.get(f"{layer}weight_v")
            try:
                found |= {f"{layer}{kind}": tensor for kind, tensor in make(weight, left, right).items()}
            except (ModelError, RuntimeError) as error:
                raise ModelError(
                    "its spectral norms are not those of its weights", why=f"{name}: {first_line(error)}", fix="take another checkpoint"
                ) from error
    return found


def _own(weight: Tensor, left: Tensor, right: Tensor | None) -> State:
    matrix, left = weight.flatten(1).double(), left.double()
    sigma = _sigma(matrix, left, None if right is None else right.double())
    return {"weight": weight, "u": turned(matrix, left, sigma=sigma).to(weight.dtype)}


def _sigma(matrix: Tensor, left: Tensor, right: Tensor | None) -> Tensor:
    """u^T W v; files of before PyTorch 1.0 have no v, which is then W^T u / |W^T u|."""
    right = F.normalize(matrix.t() @ left, dim=0) if right is None else right
    return torch.dot(left, matrix @ right)
