"""Whether sources and targets belong together, found out without learning: their edges lie at the same places, or do not. No torch.

The edges of every source are compared with those of every target. Where pairs belong together, a source is nearer to its own target than to
others; how much nearer than pairs that are drawn at random says how sure that is (a permutation test). The same with targets that are
mirrored or turned finds label maps that were stored the other way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixloom.data.pairs import Pixels, read_pair
from pixloom.data.sources import Record
from pixloom.errors import PixloomError
from pixloom.images import resize

SIDE = 48
"""Edges are looked at in pictures of this side."""

MOST, FEWEST = 48, 8
"""Pairs that are looked at, evenly chosen; of fewer nothing is said."""

DRAWS = 200
"""Random pairings that the own one is compared with."""

SURE = 3.5
"""Deviations above random pairings from which on pairs belong together; those of a turned target must be so many more than its own."""

LEAST_APART = 0.05
"""Pictures whose pixels differ less from each other, as a share of how much pixels differ within all of them, are all the same one."""

TURNS = {"mirrored": np.s_[:, ::-1], "upside down": np.s_[::-1, :], "turned by 180 degrees": np.s_[::-1, ::-1]}


@dataclass(frozen=True)
class Kinship:
    """How surely pairs belong together.

    Attributes:
        count: pairs that were looked at.
        own: mean likeness of the own pairs less that of random ones, in deviations of random pairings.
        turned: the same by how the targets are turned.
        apart: deviation of the pixels of sources, and of targets, over the pairs, as a share of that over pairs and places.
    """

    count: int
    own: float
    turned: dict[str, float]
    apart: tuple[float, float] = (1.0, 1.0)

    def alike(self, *, targets: bool, called: str) -> str | None:
        """A sentence, where all pictures of a side are the same one.

        Args:
            targets: whether it is the side of the targets.
            called: the side, in the sentence.
        """
        apart = self.apart[targets]
        if apart >= LEAST_APART:
            return None
        return f"the {called} are all the same picture ({self.count} were looked at)"

    @property
    def complaint(self) -> str | None:
        """A sentence, where targets are not those of their sources."""
        if min(self.apart) < LEAST_APART:
            return None
        how, most = max(self.turned.items(), key=lambda item: item[1])
        if most > self.own + SURE:
            return (
                f"The targets seem to be {how}: their edges then lie where those of the sources do "
                f"({most:.1f} deviations above random pairs, as they are {self.own:.1f}; {self.count} pairs)"
            )
        if self.own < SURE:
            return (
                f"The edges of targets lie no nearer to those of their own sources than to those of others "
                f"({self.own:.1f} deviations above random pairs, where {SURE:g} are sure; {self.count} pairs)"
            )
        return None


def kinship(records: Sequence[Record]) -> Kinship | None:
    """Compare the edges of some pairs; None where too few can be read, or one side shows none.

    Args:
        records: examples with targets.
    """
    if not any(record.target is not None or record.sides for record in records):
        return None
    pairs = [pair for record in records[:: max(1, len(records) // MOST)] if (pair := _small(record)) is not None][:MOST]
    if len(pairs) < FEWEST:
        return None
    first, second = (_apart([pair[place] for pair in pairs]) for place in (0, 1))
    source, target = (np.stack([edges(pair[place]) for pair in pairs]) for place in (0, 1))
    if min(first, second) < LEAST_APART:
        return Kinship(len(pairs), SURE, dict.fromkeys(TURNS, 0.0), apart=(first, second))
    if any(side.std() < 1e-6 for side in (source, target)):
        return None
    turned = {how: likeness(source, target[(slice(None), *turn)]) for how, turn in TURNS.items()}
    return Kinship(len(pairs), likeness(source, target), turned, apart=(first, second))


def likeness(source: np.ndarray, target: np.ndarray) -> float:
    """Mean correlation of the own pairs of (count, rows, columns), in deviations of random pairings from their mean."""
    first, second = (_directions(side) for side in (source, target))
    correlations = first @ second.T
    count, rng = len(correlations), np.random.default_rng(0)
    drawn = np.array([correlations[np.arange(count), rng.permutation(count)].mean() for _ in range(DRAWS)])
    return float((np.trace(correlations) / count - drawn.mean()) / (drawn.std() + 1e-12))


def _directions(edges: np.ndarray) -> np.ndarray:
    """Edges as unit vectors, without what all of them have in common."""
    flat = np.sqrt(edges).reshape(len(edges), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12)
    apart = flat - flat.mean(0)
    normed: np.ndarray = apart / (np.linalg.norm(apart, axis=1, keepdims=True) + 1e-12)
    return normed


def _small(record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Source and target with SIDE pixels a side, of at most 1 in size."""
    try:
        source, target = read_pair(record, None)
    except (PixloomError, OSError, MemoryError):
        return None
    return None if target is None else (_shrunk(source), _shrunk(target))


def _apart(side: Sequence[np.ndarray]) -> float:
    """How much pixels at one place differ over the pictures, as a share of how much they differ over pictures and places."""
    shades = np.stack([small[..., :3] @ np.array([0.3, 0.6, 0.1])[: small.shape[2]] for small in side])
    return float(shades.std(0).mean() / (shades.std() + 1e-12))


def _shrunk(pixels: Pixels) -> np.ndarray:
    small = resize(pixels, height=SIDE, width=SIDE).astype(np.float64)
    return small / (np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0)


def edges(small: np.ndarray) -> np.ndarray:
    """How fast a picture changes, (SIDE - 1, SIDE - 1), a little blurred."""
    small = small / max(1e-12, np.abs(small).max())
    across, down = (np.abs(np.diff(small, axis=axis)).sum(2) for axis in (1, 0))
    change: np.ndarray = np.hypot(across[:-1], down[:, :-1])
    kernel = np.array([0.25, 0.5, 0.25])
    for axis in (0, 1):
        change = np.apply_along_axis(np.convolve, axis, change, kernel, "same")
    return change
