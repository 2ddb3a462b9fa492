"""Photo to label map: the class of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from pixloom.config import Direction
from pixloom.errors import ConfigError, DataError
from pixloom.images import resized_columns, strips, to_model
from pixloom.images.picture import full_scale
from pixloom.tasks.base import Given, Measured, Pixels, Shown, Task, Term, Values, paired
from pixloom.tasks.labels import Classes, Label, classes_of, plain
from pixloom.tasks.vocabulary import find_classes

if TYPE_CHECKING:
    from pixloom.config import LossConfig
    from pixloom.data.sources import Record

Weight = Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True)
class Segment(Task):
    """x = the photo, y = a plane per class: 1 where the class is, else -1. The network gives 2 p - 1, p the classes' shares of a pixel.

    Label maps may be grey (ids, masks) or colour; their classes are learnt before training and stay with the model. A translation is a
    colour label map. The content losses are cross-entropy and soft Dice with the weights below; ``losses.pixel`` and its weight have no
    part in it.

    Attributes:
        direction: which picture of a pair is the photo.
        classes: of the label maps; none: learnt from a ``classes.csv`` beside or above them, else from the maps themselves.
        ignore: name or id of a class that counts as no label: neither learnt, nor predicted, nor judged.
        cross_entropy_weight: of the cross-entropy.
        dice_weight: of the soft Dice loss, which weighs a rare class as much as a common one.
    """

    direction: Direction = "AtoB"
    classes: tuple[Label, ...] = ()
    ignore: str | int | None = None
    cross_entropy_weight: Weight = 10.0
    dice_weight: Weight = 5.0

    name: ClassVar[str] = "segment"
    summary: ClassVar[str] = "photo to label map; train on pairs of photo and label map (ids, masks or colours)"
    needs_pairs: ClassVar[bool] = True
    head: ClassVar[str] = "softmax"
    makes_labels: ClassVar[bool] = True
    exact: ClassVar[bool] = True
    pixel_loss: ClassVar[bool] = False
    common_metrics: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]] = ("miou", "class_accuracy", "pixel_accuracy")

    def __post_init__(self) -> None:
        if not self.cross_entropy_weight and not self.dice_weight:
            raise ConfigError("nothing would be learnt from the labels", why="both weights are 0", fix="leave one of them out")

    @property
    def vocabulary(self) -> Classes:
        """The codec of the label maps.

        Raises:
            ConfigError: the classes are not known yet, or nothing is to be ignored that there is.
        """
        return classes_of(self.classes, self.ignore)

    @property
    def labels(self) -> tuple[bool, bool]:
        """The second picture, or the first from B to A."""
        return self.direction == "BtoA", self.direction == "AtoB"

    def settled(self, records: Sequence[Record]) -> Self:
        """The task with its classes."""
        task = replace(self, classes=find_classes(records, target=self.labels[1], labels=self.classes))
        count = len(task.vocabulary.kept)
        if count < 2:
            raise DataError(f"the label maps hold {count} class(es)", fix="give label maps of two classes or more")
        return task

    def options(self) -> dict[str, Any]:
        """The settings, the classes as a list of mappings."""
        return super().options() | {"classes": plain(self.classes)}

    def settings(self, recipe: str) -> dict[str, Any]:
        """No noise at use: a label map is right or wrong. In ``auto`` a critic that weighs little: it tells shares from labels at once."""
        return {"inference.dropout": False} | ({"losses.adversarial_weight": 0.1} if recipe == "auto" else {})

    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """The photo's own, and one per class."""
        photo, _ = self._ordered(source, target)
        return photo, len(self.vocabulary.kept)

    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The photo, and the label map in colour."""
        photo, labels = self._ordered(source, target)
        return Shown(photo, self.vocabulary.picture(self.vocabulary.ids(labels)))

    def encode(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> tuple[Values, Values]:
        """(photo, planes)."""
        photo, labels = self._ordered(source, target)
        return to_model(photo), self.encode_target(labels)

    def encode_target(self, target: Pixels) -> Values:
        """A plane per class of a label map in any form; -1 in all of them where there is no label."""
        return self.vocabulary.planes(self.vocabulary.ids(target))

    def output_channels(self, network: int) -> int:
        """Red, green and blue."""
        return 3

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The colour of the class with the largest share; shares, not labels, are enlarged to the source's size."""
        height, width = source.shape[:2]
        ids = np.empty((height, width), np.int16)
        if output.shape[1:] == (height, width):
            ids[:] = output.argmax(axis=0)
        else:
            shares = np.ascontiguousarray(output.transpose(1, 2, 0)) / 2 + np.float32(0.5)
            for columns, part in resized_columns(shares, height=height, width=width):
                ids[:, columns] = part.argmax(axis=2)
        return _of_type(self.vocabulary.picture(ids), source.dtype)

    def indexed(self, translation: Pixels) -> Pixels:
        """Ids as grey label maps have them; those of the classes where they were learnt from colours are their places."""
        known = self.vocabulary
        rows = strips(translation.shape[0], width=translation.shape[1])
        return np.concatenate([known.grey(known.ids(translation[part])) for part in rows])

    def terms(self, losses: LossConfig) -> dict[str, tuple[float, Term]]:
        """Cross-entropy and soft Dice."""
        from pixloom.losses.classes import cross_entropy, dice

        terms: dict[str, tuple[float, Term]] = {
            "cross_entropy": (self.cross_entropy_weight, lambda output, source, target: cross_entropy(output, target)),
            "dice": (self.dice_weight, lambda output, source, target: dice(output, target)),
        }
        return {name: term for name, term in terms.items() if term[0] > 0}

    def measure(self, shown: Shown, prediction: Pixels) -> Measured:
        """The share of labelled pixels that are wrong, and the confusion matrix."""
        from pixloom.metrics.segmentation import confusion, pixel_accuracy

        known = self.vocabulary
        counts = confusion(known.ids(prediction), known.ids(shown.target), classes=len(known.kept))
        return Measured({"pixel_error": 1 - pixel_accuracy(counts)} if counts.any() else {}, counts)

    def totals(self, counts: np.ndarray) -> dict[str, float]:
        """Accuracies and intersections over union of all pixels together, and of two classes the second one's Dice coefficient."""
        from pixloom.metrics import segmentation

        names = [label.name for label in self.vocabulary.kept]
        values = {name: getattr(segmentation, name)(counts) for name in self.measures}
        if len(names) == 2:
            values["dice"] = float(segmentation.dice(counts)[1])
        values |= {f"iou, {name}": float(value) for name, value in zip(names, segmentation.iou(counts), strict=True)}
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def input_baseline(self, shown: Shown) -> Pixels:
        """What needs no network: every pixel of the commonest class of the training data."""
        shares = [label.share for label in self.vocabulary.kept]
        return self.vocabulary.picture(np.full(shown.target.shape[:2], int(np.argmax(shares)), np.int16))

    def _ordered(self, source: Any, target: Any) -> tuple[Any, Any]:
        """What belongs to the photo, and to the label map."""
        paired(self.name, target)
        return (source, target) if self.direction == "AtoB" else (target, source)


def _of_type(colours: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """8-bit colours in another number type, exactly."""
    if dtype == np.uint8:
        return colours
    scale = full_scale(dtype) / 255 if dtype.kind == "f" else full_scale(dtype) // 255
    scaled: Pixels = (colours * scale).astype(dtype)
    return scaled
