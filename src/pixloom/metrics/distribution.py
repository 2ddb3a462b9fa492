"""Distances between two sets of pictures, on their feature vectors. Computed in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixloom.errors import ConfigError


@dataclass(frozen=True)
class Distance:
    """A distance and its uncertainty.

    Attributes:
        value: the estimate; an unbiased one may be slightly negative.
        error: standard error (full sets: two-sample jackknife) or standard deviation over the subsets.
    """

    value: float
    error: float


def kid(real: Tensor, fake: Tensor, *, subset_size: int | None = None, num_subsets: int = 100, seed: int = 0) -> Distance:
    r"""Kernel distance: the unbiased squared maximum mean discrepancy with the kernel :math:`k(x, y) = (x^\top y / d + 1)^3`.

    .. math::
        \frac{\sum_{i \ne j} k(x_i, x_j)}{m (m - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{n (n - 1)}
        - \frac{2 \sum_{ij} k(x_i, y_j)}{m n}

    Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs" (2018), eq. 4. Its expectation does not depend on the number of
    pictures, which makes it the distance for small sets. It is called KID where the features are those of the Inception network.

    Args:
        real: (count, dim), at least 3.
        fake: (count, dim), at least 3; the counts may differ.
        subset_size: None takes the full sets once, which has the least variance; a number takes the mean over random subsets of
            that size, as publications do for large sets.
        num_subsets: how many subsets; used with ``subset_size``.
        seed: of the subsets.

    Raises:
        ConfigError: too few pictures, or differing dimensions.
    """
    x, y = _checked(real, fake, least=3)
    gram = _polynomial(x, x), _polynomial(y, y), _polynomial(x, y)
    if subset_size is None:
        return Distance(float(_mmd(*gram)), _jackknife_error(*gram))
    if not 2 <= subset_size <= min(len(x), len(y)):
        raise ConfigError(f"subset_size cannot be {subset_size}", why=f"there are {len(x)} real and {len(y)} generated pictures")
    generator = torch.Generator().manual_seed(seed)
    values = torch.stack([_subset_mmd(*gram, size=subset_size, generator=generator) for _ in range(num_subsets)])
    return Distance(float(values.mean()), float(values.std(correction=0)))


def frechet(real: Tensor, fake: Tensor) -> float:
    r"""Frechet distance between the Gaussians fitted to two sets of feature vectors.

    .. math:: \|\mu_x - \mu_y\|^2 + \mathrm{Tr}(\Sigma_x + \Sigma_y - 2 (\Sigma_x \Sigma_y)^{1/2})

    Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium" (2017), eq. 6. With centred features :math:`\Sigma_x = A^\top A` and :math:`\Sigma_y = B^\top B`, the trace of the root
    is the sum of the singular values of :math:`A B^\top`: exact for covariances of any rank, no matrix root needed.

    It is biased upwards, the more so the fewer pictures: always read it beside :func:`real_floor`. It is the FID only on the 2048
    pooled features of the Inception network; elsewhere name the layer.

    Args:
        real: (count, dim), at least 2.
        fake: (count, dim), at least 2; the counts may differ.

    Raises:
        ConfigError: too few pictures, or differing dimensions.
    """
    x, y = _checked(real, fake, least=2)
    a, b = _root_of_covariance(x), _root_of_covariance(y)
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    value = means + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
    return max(float(value), 0.0)


def real_floor(real: Tensor, distance: Callable[[Tensor, Tensor], float], *, repeats: int = 10, seed: int = 0) -> float:
    """What a distance comes to when nothing is wrong: the mean between two random disjoint halves of the real pictures.

    The halves hold n/2 pictures. An unbiased distance (:func:`kid`) has its floor at about 0 whatever n is; the Frechet distance is
    biased upwards with fewer pictures, so its floor is an overestimate of the one at n.

    Args:
        real: (count, dim), at least 6.
        distance: of two such matrices.
        repeats: how many splits are averaged.
        seed: of the splits.

    Raises:
        ConfigError: too few pictures to be halved.
    """
    if len(real) < 6:
        raise ConfigError(f"{len(real)} real pictures are too few for a real-against-real floor", fix="use at least 6")
    generator = torch.Generator().manual_seed(seed)
    half = len(real) // 2
    orders = [torch.randperm(len(real), generator=generator) for _ in range(repeats)]
    values = [distance(real[order[:half]], real[order[half : 2 * half]]) for order in orders]
    return sum(values) / len(values)


def _checked(real: Tensor, fake: Tensor, *, least: int) -> tuple[Tensor, Tensor]:
    if real.shape[1] != fake.shape[1]:
        raise ConfigError(
            f"the feature vectors have {real.shape[1]} and {fake.shape[1]} dimensions", fix="use one feature network for both sets"
        )
    if min(len(real), len(fake)) < least:
        raise ConfigError(f"{len(real)} real and {len(fake)} generated pictures are too few", fix=f"use at least {least} of each")
    return real.detach().double().cpu(), fake.detach().double().cpu()


def _polynomial(x: Tensor, y: Tensor) -> Tensor:
    inner: Tensor = x @ y.T / x.shape[1] + 1
    return inner**3


def _mmd(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    m, n = xy.shape
    return (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1)) - 2 * xy.mean()


def _subset_mmd(xx: Tensor, yy: Tensor, xy: Tensor, *, size: int, generator: torch.Generator) -> Tensor:
    m, n = xy.shape
    i, j = torch.randperm(m, generator=generator)[:size], torch.randperm(n, generator=generator)[:size]
    return _mmd(xx[i][:, i], yy[j][:, j], xy[i][:, j])


def _jackknife_error(xx: Tensor, yy: Tensor, xy: Tensor) -> float:
    """Two-sample jackknife (Efron and Stein, 1981): leave out each picture of either set once."""
    return float((_leave_one_out_variance(xx, xy) + _leave_one_out_variance(yy, xy.T)).sqrt())


def _leave_one_out_variance(xx: Tensor, xy: Tensor) -> Tensor:
    """Jackknife variance over the first set; the term of the second set alone is constant and drops out."""
    m, n = xy.shape
    rows = xx.sum(dim=1) - xx.diagonal()
    within = (rows.sum() - 2 * rows) / ((m - 1) * (m - 2))
    between = (xy.sum() - xy.sum(dim=1)) / ((m - 1) * n)
    return (m - 1) * (within - 2 * between).var(correction=0)


def _root_of_covariance(x: Tensor) -> Tensor:
    """A matrix A of min(count, dim) rows with A^T A = the covariance of x."""
    centred: Tensor = (x - x.mean(dim=0)) / math.sqrt(len(x) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    triangle: Tensor = torch.linalg.qr(centred, mode="r")[1]
    return triangle
