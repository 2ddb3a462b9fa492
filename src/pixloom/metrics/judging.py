"""All measures of one contender at once: a row per picture, means with intervals, distances between sets with their floors."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pixloom.backbones.weights import ALEXNET, find_weights
from pixloom.errors import ConfigError, DependencyError
from pixloom.metrics.colour import colourfulness
from pixloom.metrics.distribution import frechet, kid, real_floor
from pixloom.metrics.features import FEATURES, LPIPS, Features
from pixloom.metrics.paired import SSIM_WINDOW, psnr, ssim

PSNR_CAP = 100.0
"""In dB: what an infinite PSNR (equal pictures) counts as in a mean."""

HIGHER_IS_BETTER = frozenset(
    {
        "psnr",
        "ssim",
        "hole_psnr",
        "psnr_y",
        "ssim_y",
        "miou",
        "iou",
        "dice",
        "pixel_accuracy",
        "class_accuracy",
        "target_accuracy",
        "diversity",
    }
)
"""Metrics in which more is better; colourfulness has no better, all others are distances."""


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; what follows a comma says of what part.

    >>> higher_is_better("iou, road"), higher_is_better("lpips")
    (True, False)
    """
    return metric.split(",")[0] in HIGHER_IS_BETTER


SUBSET = 16
"""Size of the random subsets of a second KID, between sets that are no pairs: the mean of 100, and their deviation on either side."""

LEAST_FOR_SETS = 6
"""Pictures below which no distance between sets is computed."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; no interval (None) where none is computed, as for the Frechet distance."""

    mean: float
    low: float | None = None
    high: float | None = None


class Judged(NamedTuple):
    """What is compared: an id and two pictures (channels, height, width) of one shape in [-1, 1], and what a task measured on them.

    Attributes:
        row: the task's own numbers.
        counts: what is added up over pictures before the task makes numbers of it.
        source: what was translated, of the same shape, where the target is another scene.
        stated: the conditions that the prediction is to show.
    """

    id: str
    prediction: Tensor
    target: Tensor
    row: Mapping[str, float] = MappingProxyType({})
    counts: np.ndarray | None = None
    source: Tensor | None = None
    stated: Mapping[str, Any] = MappingProxyType({})


@runtime_checkable
class Reader(Protocol):
    """A classifier that was trained on real pictures, and not by the networks that are judged."""

    def __call__(self, picture: Tensor, stated: Mapping[str, Any]) -> dict[str, float]:
        """The share of what is stated that it reads off a picture (1, channels, height, width) in [-1, 1], by kind."""
        ...

    def protocol(self) -> dict[str, Any]:
        """How it was trained, and how often it is right on real pictures."""
        ...


@dataclass(frozen=True)
class Judges:
    """The loaded networks and the choice of measures; made once by :func:`load_judges`, used for any number of contenders.

    Attributes:
        lpips: None where its weights are not here.
        features: None where distances between sets are not wanted or not possible.
        colour: whether colourfulness means something.
        common: whether PSNR and SSIM mean something.
        paired: whether the target is the same scene, with which a prediction can be compared.
        reader: what reads conditions off pictures.
        device: where the networks are.
        missing: metric -> why it cannot be computed and how to get it.
        learnt_through: the networks that what is judged has learnt through; figures seen through the same flatter it.
    """

    lpips: LPIPS | None = None
    features: Features | None = None
    colour: bool = False
    common: bool = True
    paired: bool = True
    reader: Reader | None = None
    device: str = "cpu"
    missing: Mapping[str, str] = field(default_factory=dict)
    learnt_through: tuple[str, ...] = ()

    def protocol(self) -> dict[str, Any]:
        """How each metric is computed, with the checksums of the weights."""
        record: dict[str, Any] = (
            {}
            if not (self.common and self.paired)
            else {
                "psnr": f"data range 2 on [-1, 1], per picture over all channels; equal pictures count as {PSNR_CAP:g} dB in a mean",
                "ssim": "Wang et al. 2004 on [0, 1]: Gaussian window 11 x 11, sigma 1.5, mean over channels, windows wholly inside",
            }
        )
        if self.reader:
            record["target_accuracy"] = self.reader.protocol()
        if self.lpips:
            record["lpips" if self.paired else "content_lpips"] = {"network": self.lpips.net, "version": "0.1", "sha256": self.lpips.sha256}
        if self.learnt_through:
            record["learnt_through"] = [Path(name).name for name in self.learnt_through]
        if self.features:
            spec = self.features.spec
            record["features"] = {"name": self.features.name, "layer": spec.protocol, "file": spec.file, "sha256": self.features.sha256}
            record[spec.kid] = "unbiased, kernel (x.y/d + 1)^3, full sets; interval = 1.96 jackknife standard errors"
            record[spec.frechet] = (
                "Frechet distance of Gaussians, biased upwards for small sets; not comparable with an FID on the 2048 pooled features"
            )
            record["floors"] = (
                "mean distance of two random disjoint halves of the real pictures (n/2 each), 10 splits; "
                "translations of the very same scenes may lie below it"
            )
        if self.colour:
            record["colourfulness"] = "Hasler and Suesstrunk 2003, on the 0..255 scale"
        return record


@dataclass(frozen=True)
class Verdict:
    """What the judges say of one contender.

    Attributes:
        means: by metric, headline first: LPIPS, KID, then the rest.
        floors: distance between sets -> its value from real pictures to real ones.
        rows: per picture: ``id`` and its metrics.
        missing: metric -> why it is not there.
        real: the feature vectors of the targets, to be handed to the next contender on the same pictures.
        fake: those of the predictions; both in the order of the rows, and None where there are none.
    """

    means: dict[str, Estimate]
    floors: dict[str, float]
    rows: list[dict[str, Any]]
    missing: dict[str, str]
    real: Tensor | None = field(default=None, repr=False, compare=False)
    fake: Tensor | None = field(default=None, repr=False, compare=False)


def load_judges(
    *,
    weights: Path | str | None = None,
    lpips: str | None = "auto",
    features: str | None = "auto",
    learnt_through: Collection[str] = (),
    colour: bool = False,
    common: bool = True,
    paired: bool = True,
    reader: Reader | None = None,
    device: str | torch.device = "cpu",
) -> Judges:
    """Load what the metrics look through; what is not here is noted in ``missing`` and said so in every report.

    Args:
        weights: where to look first for files of weights.
        lpips: the network of LPIPS, "squeeze" or "alex"; "auto": squeeze, or alex where it is here and squeeze was learnt
            through; None: no LPIPS.
        features: a name in ``FEATURES``; "auto": the first of inception-768 and squeeze that is here, the one not learnt through before the
            other; None: no distances between sets.
        learnt_through: names of the networks that what is judged has learnt through.
        colour: whether colourfulness is measured.
        common: whether pictures are compared as pictures; else nothing is loaded, and only what a task measures counts.
        paired: whether targets are the same scenes as sources.
        reader: what reads conditions off pictures.
        device: where to compute.

    Raises:
        ConfigError: an unknown name.
        DependencyError: features asked for by name are not here.
    """
    if not common:
        return Judges(common=False, device=str(device))
    missing: dict[str, str] = {}
    network: LPIPS | None = None
    if lpips is not None:
        if lpips == "auto":
            spare = "squeeze" in learnt_through and find_weights(ALEXNET, folder=weights)
            lpips = "alex" if spare else "squeeze"
        try:
            network = LPIPS(net=lpips, folder=weights).to(device)
        except DependencyError as error:
            missing["lpips"] = str(error)
    chosen = _choose_features(features, weights=weights, learnt_through=learnt_through)
    found = None
    try:
        found = Features(chosen, folder=weights, device=device) if chosen else None
    except DependencyError as error:
        if features != "auto":
            raise
        missing["kid"] = str(error)
    return Judges(
        network,
        found,
        colour,
        learnt_through=tuple(sorted(learnt_through)),
        paired=paired,
        reader=reader,
        device=str(device),
        missing=missing,
    )


def judge(
    predictions: Iterable[Judged],
    *,
    judges: Judges,
    seed: int = 0,
    real: Tensor | None = None,
    summary: Callable[[np.ndarray], Mapping[str, float]] | None = None,
) -> Verdict:
    """Measure one contender, a picture at a time.

    Args:
        predictions: (id, prediction, target), pictures (channels, height, width) in [-1, 1]; sizes may differ between ids.
        judges: from :func:`load_judges`.
        seed: of the bootstrap and of the floors' splits.
        real: ``Verdict.real`` of another contender on the same pictures, which saves computing it again.
        summary: makes numbers of the sum of the counts of all pictures.

    Raises:
        ConfigError: no pictures, or a prediction that is not finite or not of its target's shape.
    """
    rows: list[dict[str, Any]] = []
    fakes: list[Tensor] = []
    reals: list[Tensor] = []
    missing = dict(judges.missing)
    total: np.ndarray | None = None
    for name, prediction, target, own, counts, source, stated in predictions:
        if prediction.shape != target.shape:
            raise ConfigError(f"the prediction is {tuple(prediction.shape)} and the target {tuple(target.shape)}", where=name)
        if not prediction.isfinite().all():
            raise ConfigError("the prediction has values that are not finite", where=name)
        pair = prediction[None].cpu(), target[None].cpu()  # the formulas need double precision, which not every device has
        if judges.paired:
            row, unable = measure(*pair, judges=judges)
        else:
            row, unable = measure_apart(pair[0], source, stated, judges=judges)
        missing |= unable
        rows.append({"id": name, **row, **own})
        total = counts if total is None or counts is None else total + counts
        if judges.features and _looks_at(judges.features.spec.smallest, pair[0]):
            fakes.append(judges.features(pair[0]).cpu())
            reals += [judges.features(pair[1]).cpu()] if real is None else []
    if not rows:
        raise ConfigError("there are no pictures to judge")
    if judges.features:
        real = torch.cat(reals) if reals else real
    distances, floors, unable = set_distances(real if judges.paired or real is None else distinct(real), fakes, judges=judges, seed=seed)
    means = {metric: estimate([row[metric] for row in rows if metric in row], seed=seed) for metric in _metrics(rows)}
    if summary is not None and total is not None:
        means = {metric: Estimate(value) for metric, value in summary(total).items()} | means
    ordered = {metric: means.pop(metric) for metric in ("lpips",) if metric in means} | distances | means
    return Verdict(ordered, floors, rows, missing | unable, real, torch.cat(fakes) if fakes else None)


@torch.no_grad()
def measure(prediction: Tensor, target: Tensor, *, judges: Judges) -> tuple[dict[str, float], dict[str, str]]:
    """The measures of one pair (1, channels, height, width), and those that cannot be taken with the reason."""
    if not judges.common:
        return {}, {}
    row, missing = {"psnr": float(psnr(prediction, target))}, {}
    if _side(prediction) >= SSIM_WINDOW:
        row["ssim"] = float(ssim(prediction, target))
    else:
        missing["ssim"] = f"pictures under {SSIM_WINDOW} pixels"
    if judges.lpips and _looks_at(judges.lpips.smallest, prediction):
        row["lpips"] = float(judges.lpips(prediction.to(judges.device), target.to(judges.device)))
    elif judges.lpips:
        missing["lpips"] = f"LPIPS looks at grey or RGB pictures of at least {judges.lpips.smallest} pixels"
    if judges.colour and prediction.shape[1] == 3:
        row["colourfulness"] = float(colourfulness(prediction))
        row["colourfulness_target"] = float(colourfulness(target))
    elif judges.colour:
        missing["colourfulness"] = "colourfulness is defined on RGB pictures"
    return row, missing


@torch.no_grad()
def measure_apart(
    prediction: Tensor, source: Tensor | None, stated: Mapping[str, Any], *, judges: Judges
) -> tuple[dict[str, float], dict[str, str]]:
    """The measures of a picture (1, channels, height, width) that has no target of its own: whether it shows what is stated, and how far it
    is from its source.
    """
    row, missing = dict[str, float](), dict[str, str]()
    if judges.reader:
        row = {f"target_accuracy, {kind}": value for kind, value in judges.reader(prediction, stated).items()}
    if judges.lpips and source is not None and _looks_at(judges.lpips.smallest, prediction):
        row["content_lpips"] = float(judges.lpips(prediction.to(judges.device), source[None].to(judges.device)))
    elif judges.lpips:
        missing["content_lpips"] = f"LPIPS looks at grey or RGB pictures of at least {judges.lpips.smallest} pixels"
    if source is not None:
        row["content_l1"] = float((prediction - source[None]).abs().mean() / 2)
    return row, missing


def set_distances(
    real: Tensor | None, fakes: Sequence[Tensor], *, judges: Judges, seed: int = 0
) -> tuple[dict[str, Estimate], dict[str, float], dict[str, str]]:
    """KID and Frechet distance between feature vectors, their real-against-real floors, and what cannot be computed."""
    if judges.features is None:
        return {}, {}, {}
    spec = judges.features.spec
    if real is None or min(len(real), len(fakes)) < LEAST_FOR_SETS:
        return (
            {},
            {},
            dict.fromkeys(
                (spec.kid, spec.frechet),
                f"needs at least {LEAST_FOR_SETS} grey or RGB pictures of {spec.smallest} pixels or more on either side",
            ),
        )
    fake = torch.cat(list(fakes))
    kernel = kid(real, fake)
    spread = 1.96 * kernel.error
    distances = {
        spec.kid: Estimate(kernel.value, kernel.value - spread, kernel.value + spread),
        spec.frechet: Estimate(frechet(real, fake)),
    }
    if not judges.paired and min(len(real), len(fake)) >= SUBSET:
        subsets = kid(real, fake, subset_size=SUBSET, seed=seed)
        distances[f"{spec.kid}, subsets of {SUBSET}"] = Estimate(
            subsets.value, subsets.value - subsets.error, subsets.value + subsets.error
        )
    floors = {
        spec.kid: real_floor(real, lambda x, y: kid(x, y).value, seed=seed),
        spec.frechet: real_floor(real, frechet, seed=seed),
    }
    return distances, floors, {}


def distinct(features: Tensor) -> Tensor:
    """Each picture once, where several examples were shown the same one: a picture beside itself would bias an unbiased distance."""
    once: Tensor = torch.unique(features, dim=0)
    return once


def estimate(values: Sequence[float], *, seed: int = 0, resamples: int = 1000) -> Estimate:
    """The mean over pictures with its 95 % percentile bootstrap interval (Efron, "Bootstrap methods: another look at the jackknife", 1979).

    Infinite values count as :data:`PSNR_CAP`.

    >>> estimate([2.0, 2.0])
    Estimate(mean=2.0, low=2.0, high=2.0)
    """
    finite = np.array([PSNR_CAP if math.isinf(value) else value for value in values], dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(finite), size=(resamples, len(finite)))
    low, high = np.percentile(finite[picks].mean(axis=1), [2.5, 97.5])
    return Estimate(float(finite.mean()), float(low), float(high))


def _choose_features(name: str | None, *, weights: Path | str | None, learnt_through: Collection[str]) -> str | None:
    if name != "auto":
        return name
    order = sorted(("inception-768", "squeeze"), key=lambda choice: choice.partition("-")[0] in learnt_through)
    return next((choice for choice in order if find_weights(FEATURES[choice].file, folder=weights)), order[-1])


def _metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in dict.fromkeys(key for row in rows for key in row) if name != "id"]


def _side(images: Tensor) -> int:
    return min(images.shape[-2:])


def _looks_at(smallest: int, images: Tensor) -> bool:
    return images.shape[1] in (1, 3) and _side(images) >= smallest
