"""What a task is: how pictures become examples, and how an output becomes a picture again.

Five hooks, all but the first with a default that fits a plain picture-to-picture task:

    channels, views    make an example from pictures
    encode_source ...  condition the network on what a person gives at use: the picture, and perhaps a mask
    compose            turn the output into the picture that a person wants
    terms              the content losses
    measure, totals    the metrics
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pixloom.errors import DataError
from pixloom.images import from_model, resize, to_model

if TYPE_CHECKING:
    from torch import Tensor

    from pixloom.config import LossConfig, TaskConfig
    from pixloom.data.sources import Record

Pixels = np.ndarray
"""A picture at the edge: (height, width, channels), uint8, uint16 or float32 in [0, 1]."""

Values = np.ndarray
"""A picture inside: (channels, height, width), float32 in [-1, 1]."""

Given = Mapping[str, Any]
"""What is given at use beside the source, by name: pixels of the source's height and width, and values of conditions."""

Term = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""A content loss: (output, source, target), each (batch, channels, height, width), to a scalar."""


@dataclass(frozen=True)
class Shown:
    """An example as people see it.

    Attributes:
        source: what would be given to the translator.
        target: what should come out.
        given: what would be given beside the source.
    """

    source: Pixels
    target: Pixels
    given: Given = field(default_factory=dict)

    @property
    def source_beside(self) -> Pixels:
        """The source at the target's size, to be shown or compared beside it."""
        height, width = self.target.shape[:2]
        return self.source if self.source.shape[:2] == (height, width) else resize(self.source, height=height, width=width)


@dataclass(frozen=True)
class Measured:
    """What a task measures on one picture.

    Attributes:
        row: numbers of which the mean over pictures means something.
        counts: what is added up over pictures before :meth:`Task.totals` makes numbers of it; None where there is nothing.
    """

    row: Mapping[str, float] = field(default_factory=dict)
    counts: np.ndarray | None = None


@dataclass(frozen=True)
class Task(ABC):
    """What is translated into what. A task is a small frozen dataclass; its fields are the task's settings, ``task.options``.

    Attributes:
        name: in ``TASKS``.
        summary: a line for people.
        needs_pairs: whether an example is two pictures; else the task makes the second one.
        between: whether pictures without partners are taken from what they show to something else.
        recipe: what it is learnt by unless another is named.
        native: whether pictures are worked on at their own size whatever size was trained.
        head: what the generator's last layer does: ``tanh`` for pictures, ``softmax`` for shares of classes.
        makes_labels: whether translations are label maps.
        exact: whether some pixels of a translation are what they are to the bit, so that no lossy format may hold it.
        pixel_loss: whether ``losses.pixel`` and its weight have a part in :meth:`terms`.
        common_metrics: whether PSNR, SSIM, LPIPS and distances between sets mean something here.
        metrics: names of further metrics of the common kind (``colourfulness``).
        measures: what :meth:`measure` and :meth:`totals` give that says how good a translation is, the one that chooses the best first.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_pairs: ClassVar[bool] = False
    between: ClassVar[bool] = False
    recipe: ClassVar[str] = "auto"
    native: ClassVar[bool] = False
    head: ClassVar[str] = "tanh"
    makes_labels: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    pixel_loss: ClassVar[bool] = True
    common_metrics: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    # ---- an example from pictures

    @property
    def detail_from_source(self) -> bool:
        """Whether the finest detail of a translation is the source's, whatever the network makes."""
        return False

    @property
    def pixelwise(self) -> bool:
        """Whether an example's values are made from each pixel alone, without chance, so that it may be cut after it is encoded."""
        return True

    @property
    def labels(self) -> tuple[bool, bool]:
        """Whether the pictures of source and target are label maps, which must not be smoothed when they are resized."""
        return False, False

    def settled(self, records: Sequence[Record]) -> Self:
        """The task with what it has to learn from the training data before anything else: its classes, say."""
        return self

    def unfit(self, records: Sequence[Record]) -> Mapping[str, str]:
        """Training examples from which nothing can be learnt, so that they are left out: id -> why. They are judged on all the same."""
        return {}

    @abstractmethod
    def channels(self, source: int, target: int | None) -> tuple[int, int]:
        """Channels of the network's input and output, from those of the pictures (``target`` is None for lone pictures).

        Raises:
            DataError: the task cannot use such pictures.
        """

    @abstractmethod
    def views(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> Shown:
        """The example that the pictures of a record make, as people see it.

        Args:
            source: the picture, or the first of two.
            target: the second one, of the same size; None where there is one picture.
            rng: where chance comes from.
        """

    def encode(self, source: Pixels, target: Pixels | None, *, rng: np.random.Generator) -> tuple[Values, Values]:
        """An example (x, y) of one height and width, as the networks see it."""
        shown = self.views(source, target, rng=rng)
        return self.encode_source(shown.source, shown.given), self.encode_target(shown.target)

    def settings(self, recipe: str) -> dict[str, Any]:
        """What this task wants otherwise than ``recipe`` has it, by dotted key; a person's own settings come after these."""
        return {}

    def reversed(self) -> TaskConfig | None:
        """The task that translates back, for methods that learn both directions; None where that is no task of its own."""
        return None

    def wanted(self) -> dict[str, Any]:
        """Conditions that a translation shows unless others are asked for."""
        return {}

    # ---- in and out of the network

    @property
    def takes(self) -> tuple[str, ...]:
        """What is given at use beside the source; all of it is needed."""
        return ()

    @property
    def optional(self) -> tuple[str, ...]:
        """What may be given at use beside the source, and need not be."""
        return ()

    @property
    def local(self) -> bool:
        """Whether a large picture may go through piece by piece: :meth:`compose` works pixel by pixel, and :meth:`encode_source` too,
        but for :attr:`reach`.
        """
        return True

    @property
    def reach(self) -> int:
        """How many pixels around one of the source :meth:`encode_source` looks at."""
        return 0

    @property
    def source_is_labels(self) -> bool:
        """Whether what is translated is a label map, which must not be smoothed when it is resized."""
        return False

    @property
    def magnification(self) -> int:
        """How many times as many rows and columns a translation has as its source."""
        return 1

    def accepted(self, source: Pixels, given: Given) -> Given:
        """What a person gives beside a source, in the form in which :attr:`Shown.given` has it.

        Raises:
            PixloomError: nothing can be made of the source, or of what is given beside it.
        """
        return given

    def fit_given(self, name: str, pixels: Pixels, *, height: int, width: int) -> Pixels:
        """What is given beside a source, at another size: the nearest pixels."""
        return resize(pixels, height=height, width=width, nearest=True)

    def encode_source(self, source: Pixels, given: Given) -> Values:
        """The network's input from what a person gives; a large one is encoded in pieces, see :attr:`local`."""
        return to_model(source)

    def encode_part(self, source: Pixels, given: Given, down: slice, across: slice) -> Values:
        """Some rows and columns of what :meth:`encode_source` gives, from as little of the source as they need."""
        scale, reach = self.magnification, self.reach
        rows, columns = (slice(max(0, part.start // scale - reach), -(-part.stop // scale) + reach) for part in (down, across))
        values = self.encode_source(source[rows, columns], {name: extra[rows, columns] for name, extra in given.items()})
        top, left = down.start - rows.start * scale, across.start - columns.start * scale
        return values[:, top : top + down.stop - down.start, left : left + across.stop - across.start]

    def encode_target(self, target: Pixels) -> Values:
        """The network's aim."""
        return to_model(target)

    def source_channels(self, picture: int, network: int) -> int:
        """The channels to which a picture of ``picture`` channels is brought for a network that takes ``network``."""
        return network

    def output_channels(self, network: int) -> int:
        """The channels of a translated picture, from those that the network gives."""
        return network

    def compose(self, output: Values, source: Pixels, given: Given) -> Pixels:
        """The translated picture, of the source's number type and (but where enlarging is the task) size, from an output of any size.

        Pixel by pixel where the output has the source's size, for a large one is composed in pieces.
        """
        height, width = source.shape[:2]
        pixels = from_model(output, dtype=source.dtype)
        return pixels if pixels.shape[:2] == (height, width) else resize(pixels, height=height, width=width)

    def indexed(self, translation: Pixels) -> Pixels:
        """The ids of classes in a translation of a task that :attr:`makes_labels`, one channel of 8 or 16 bits."""
        raise NotImplementedError

    # ---- losses and metrics

    def terms(self, losses: LossConfig) -> dict[str, tuple[float, Term]]:
        """The content losses with their weights, by name; none with weight 0."""
        from pixloom.losses.pixels import PIXEL

        pixel = PIXEL[losses.pixel]
        return {"pixel": (losses.pixel_weight, lambda output, source, target: pixel(output, target))}

    def measure(self, shown: Shown, prediction: Pixels) -> Measured:
        """What this task measures beside the common metrics."""
        return Measured()

    def totals(self, counts: np.ndarray) -> dict[str, float]:
        """Numbers for a whole set, from the sum of the counts of its pictures."""
        return {}

    def input_baseline(self, shown: Shown) -> Pixels:
        """What translating nothing would give: the source, at the target's size."""
        return shown.source_beside

    def options(self) -> dict[str, Any]:
        """The settings by name, as ``task.options`` in a config has them."""
        return {name: value for name, value in vars(self).items() if name != "direction"}


def unit(pixels: Pixels) -> np.ndarray:
    """Pixels of any number type as float32 in [0, 1], still H W C."""
    values: np.ndarray = to_model(pixels).transpose(1, 2, 0) / 2 + 0.5
    return values


def as_pixels(values: np.ndarray, dtype: np.dtype[Any]) -> Pixels:
    """Float values in [0, 1], H W C, in a number type."""
    return from_model(np.ascontiguousarray(values.transpose(2, 0, 1)) * 2 - 1, dtype=dtype)


def folding(factor: int) -> dict[str, Any]:
    """Settings for translations that stay near their source: the generator that folds pixels and adds to it, which has no chance at use."""
    return {
        "generator.name": "shuffle",
        "generator.options": {"factor": factor},
        "inference.dropout": False,
        "inference.statistics": "running",
    }


def lone(name: str, target: int | None) -> None:
    """Refuse pairs for a task that makes them itself.

    Raises:
        DataError: there is a second picture.
    """
    if target is not None:
        raise DataError(f"the task '{name}' makes its own pairs", fix="give one folder of pictures, or choose --task pair")


def paired(name: str, target: Any) -> None:
    """Refuse lone pictures for a task on pairs.

    Raises:
        DataError: there is no second picture.
    """
    if target is None:
        raise DataError(
            f"the task '{name}' needs two pictures per example", fix="give pairs, or choose a task that makes them, e.g. --task colorize"
        )
