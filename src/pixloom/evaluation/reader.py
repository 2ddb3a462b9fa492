"""An independent classifier: what it reads off translations says whether they show what was asked for.

It is trained here, on the real training pictures of the same data, from its own seed; the networks that are judged never see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixloom.data.loading import Pictures
from pixloom.data.sources import Listing, Record
from pixloom.data.transforms import apply, center_crop, draw_crop
from pixloom.images import to_model

if TYPE_CHECKING:
    from pixloom.conditions import Conditions
    from pixloom.evaluation import Examples

SIDE = 64
"""Side in pixels of what it looks at."""

IMAGES, BATCH = 6000, 32
"""It learns from so many pictures, in batches of so many; on one core that takes about a minute."""

READ = ("label", "attributes")


@dataclass(frozen=True)
class TrainedReader:
    """A classifier with how often it is right on real pictures that it did not learn from.

    Attributes:
        network: picture (batch, channels, 64, 64) to scores of all kinds, one after the other.
        conditions: what it reads, in that order.
        accuracy: on real held-out pictures, by kind.
        count: of those pictures.
    """

    network: nn.Module
    conditions: Conditions
    accuracy: Mapping[str, float]
    count: int

    @torch.no_grad()
    def __call__(self, picture: Tensor, stated: Mapping[str, Any]) -> dict[str, float]:
        """1 or 0 for a label, the share of the stated attributes that are read, by kind."""
        scores = self.network.eval()(_looked_at(picture.to(next(self.network.parameters()).device)))[0].cpu()
        return {name: _hit(name, score, wanted) for name, score, wanted in self._parts(scores, stated)}

    def protocol(self) -> dict[str, Any]:
        """How it was trained, and how often it is right on real pictures."""
        return {
            "classifier": f"five convolutions trained here on {IMAGES} crops of real training pictures at {SIDE} px, seed of its own",
            "on real held-out pictures": dict(self.accuracy),
            "held-out pictures": self.count,
        }

    def _parts(self, scores: Tensor, stated: Mapping[str, Any]) -> list[tuple[str, Tensor, Tensor]]:
        """Scores and what is wanted, for each kind that is stated."""
        wanted = self.conditions.encode({name: value for name, value in stated.items() if name in READ}, size=(1, 1))
        parts, first = [], 0
        for kind in self.conditions.kinds:
            if kind.name in READ:
                if kind.name in stated:
                    parts.append((kind.name, scores[first : first + len(kind.known)], torch.from_numpy(wanted[kind.name])))
                first += len(kind.known)
        return parts


def train_reader(listing: Listing, *, examples: Examples, seed: int) -> TrainedReader:
    """Train a classifier on the training pictures of a listing, and measure it on the pictures that are to be judged.

    Args:
        listing: with a training split.
        examples: what is to be judged, with the conditions to read.
        seed: of the evaluation; the classifier's own is another.
    """
    records = listing.splits.get("train") or examples.pictures.records
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 7919)
        network = _trained(_pictures(records, examples), examples.conditions, rng=np.random.default_rng(seed + 7919))
    reader = TrainedReader(network.eval(), examples.conditions, {}, 0)
    return _measured(reader, _pictures(examples.pictures.records, examples))


def _trained(pictures: Pictures, conditions: Conditions, *, rng: np.random.Generator) -> nn.Module:
    network = classifier(pictures.channels[0], sum(len(kind.known) for kind in conditions.kinds if kind.name in READ))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    steps = IMAGES // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    network.train()
    for _ in range(steps):
        batch, wanted = _batch(pictures, rng.integers(len(pictures), size=BATCH).tolist(), conditions=conditions, rng=rng)
        if batch is None:
            continue
        loss = _loss(network(batch), wanted, conditions)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network


def classifier(channels: int, outputs: int) -> nn.Module:
    """Five 3x3 convolutions, four of them with stride 2, batch norm, the mean over all places, one layer."""
    layers: list[nn.Module] = []
    for inner, outer, stride in ((channels, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1), (128, 128, 2)):
        layers += [nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, outputs))


def _pictures(records: Sequence[Record], examples: Examples) -> Pictures:
    side = round(SIDE * 1.125)
    return Pictures(records, encode=examples.task.encode, load_side=side, channels=examples.pictures.channels, cache_gib=1.0)


def _batch(pictures: Pictures, places: Sequence[int], *, conditions: Conditions, rng: np.random.Generator) -> tuple[Tensor | None, Tensor]:
    """Crops of some examples, and what they show."""
    rows, shown = [], []
    for place in places:
        if (loaded := pictures.load(place)) is None:
            continue
        crop = draw_crop(rng, height=loaded.source.shape[0], width=loaded.source.shape[1], size=SIDE, flip=True)
        rows.append(to_model(np.ascontiguousarray(apply(crop, loaded.source, size=SIDE))))
        shown.append(_wanted(conditions, pictures.records[place]))
    return (torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(shown))) if rows else (None, torch.zeros(0))


def _wanted(conditions: Conditions, record: Record) -> np.ndarray:
    encoded = conditions.encode(conditions.values(record, {}), size=(1, 1))
    return np.concatenate([encoded[kind.name] for kind in conditions.kinds if kind.name in READ])


def _loss(scores: Tensor, wanted: Tensor, conditions: Conditions) -> Tensor:
    total, first, at = scores.new_zeros(()), 0, 0
    for kind in conditions.kinds:
        if kind.name not in READ:
            continue
        part = scores[:, first : first + len(kind.known)]
        aim, at = wanted[:, at : at + kind.width], at + kind.width
        first += len(kind.known)
        total = total + (
            -(aim * part.log_softmax(1)).sum(1).mean()
            if kind.name == "label"
            else F.binary_cross_entropy_with_logits(part, (aim[:, : len(kind.known)].clamp(-1, 1) + 1) / 2)
        )
    return total


def _looked_at(pictures: Tensor) -> Tensor:
    """(batch, channels, height, width) at the size that the classifier knows."""
    if pictures.shape[2:] == (SIDE, SIDE):
        return pictures
    return F.interpolate(pictures, size=(SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


def _hit(name: str, scores: Tensor, wanted: Tensor) -> float:
    """Of a label whether it is the one with the highest score, of attributes the share whose side is right."""
    if name == "label":
        return float(scores.argmax() == wanted.argmax())
    values, stated = wanted.chunk(2)
    return float(((scores > 0) == (values > 0))[stated > 0].float().mean())


def _measured(reader: TrainedReader, pictures: Pictures) -> TrainedReader:
    """The reader with how often it is right on real pictures."""
    hits: dict[str, list[float]] = {}
    for place, record in enumerate(pictures.records):
        if (loaded := pictures.load(place)) is None:
            continue
        crop = center_crop(height=loaded.source.shape[0], width=loaded.source.shape[1], size=SIDE)
        picture = torch.from_numpy(to_model(np.ascontiguousarray(apply(crop, loaded.source, size=SIDE))))[None]
        for name, hit in reader(picture, reader.conditions.values(record, {})).items():
            hits.setdefault(name, []).append(hit)
    accuracy = {name: round(float(np.mean(values)), 4) for name, values in hits.items()}
    return TrainedReader(reader.network, reader.conditions, accuracy, len(pictures.records))
