"""Label maps: from the pixels of any kind of file to numbers of classes and back, and how the classes are learnt from training data.

A label file is grey (its values are ids, or two of them for a mask) or colour (one colour per class, or a palette). Ids are looked up,
colours go to the nearest class. Inside, classes are numbered 0 .. n - 1 in their order; :data:`NONE` is a pixel without a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pixloom.errors import ConfigError, DataError, nearest
from pixloom.images import strips
from pixloom.images.picture import full_scale

Pixels = np.ndarray
"""(height, width, channels), uint8, uint16 or float32 in [0, 1]."""

Ids = np.ndarray
"""(height, width) int16: 0 .. n - 1, or :data:`NONE`."""

NONE = -1
"""A pixel without a label: of the class that is left out, or of a colour or id that is no class's."""

UNKNOWN = -2
"""A pixel whose colour or id is no class's; see :meth:`Classes.find`."""

MOST_CLASSES = 64
"""So many are made out in label maps; a list of them may have more, see :data:`MOST_LISTED`."""

MOST_LISTED = 256

TOLERANCE = 48
"""How far in RGB (Euclidean, of 255) a pixel may be from its class's colour: what JPEG makes of a plain colour lies well within."""

WIDE = 16
"""Grey values of classes that are at least so far apart may be missed by half as much: masks of 0 and 255 with soft edges, say."""

NEAR = 12
"""How far in RGB JPEG spreads a plain colour, mostly."""

STRAY = {False: 0.01, True: 0.05}
"""Whether a file is a JPEG, which mixes colours at edges -> the share of it that a colour of no class may fill; an id may not at all."""

SOFT, LEAST_PLAIN = 8, 0.5
"""Of a map of such grey values, at least this share lies so near those of the classes. Seen: of 160 masks of nuclei all of it; of 100 grey
photographs of BSDS500 at most 37 %; of dark fluorescent microscopy 0 to 96 %, so that 95 of 160 such pictures pass."""

Value = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True)
class Label:
    """A class of pixels.

    Attributes:
        name: for people.
        colour: red, green and blue in a colour label map.
        id: value in a grey one; None: its place among the classes.
        share: of the training pixels; what is in a class of share 0 was never seen.
    """

    name: str
    colour: tuple[Value, Value, Value]
    id: Annotated[int, Field(ge=0, le=65535)] | None = None
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


@dataclass(frozen=True)
class Classes:
    """The codec of label maps.

    Attributes:
        labels: every class that a file may hold.
        ignore: name or id of one that counts as no label.

    Raises:
        ConfigError: no class, more than :data:`MOST_LISTED`, a name, colour or id twice, or nothing to ignore of that name.
    """

    labels: tuple[Label, ...]
    ignore: str | int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MOST_LISTED:
            raise ConfigError(f"there are {len(self.labels)} classes", why=f"1 to {MOST_LISTED} are possible", fix="join some of them")
        for what, values in (("name", self.names), ("colour", [label.colour for label in self.labels]), ("id", self.values)):
            twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
            if twice is not None:
                raise ConfigError(f"two classes have the {what} {twice}", fix=f"give every class a {what} of its own")
        if self.ignore is not None and self._ignored is None:
            raise ConfigError(
                f"task.options.ignore={self.ignore} would have no effect",
                why="no class has this name or id",
                fix=nearest(str(self.ignore), self.names),
            )

    @property
    def names(self) -> list[str]:
        """Of all classes in their order."""
        return [label.name for label in self.labels]

    @property
    def values(self) -> list[int]:
        """Ids of all classes in grey files, in their order."""
        return [place if label.id is None else label.id for place, label in enumerate(self.labels)]

    @cached_property
    def kept(self) -> tuple[Label, ...]:
        """The classes but the ignored one; a class's number is its place here."""
        return tuple(label for place, label in enumerate(self.labels) if place != self._ignored)

    def find(self, pixels: Pixels) -> Ids:
        """Numbers of classes; NONE where the pixel is of the ignored class, UNKNOWN where it is of none.

        Args:
            pixels: of a grey or colour label map.

        Raises:
            DataError: there are neither 1 nor 3 channels.
        """
        if pixels.shape[2] not in (1, 3):
            raise DataError(
                f"a label map of {pixels.shape[2]} channels cannot be read",
                why="it is either grey (ids) or colour",
                fix="give label maps of 1 or 3 channels",
            )
        return self._by_value(pixels[..., 0]) if pixels.shape[2] == 1 else self._by_colour(pixels)

    def ids(self, pixels: Pixels) -> Ids:
        """Numbers of classes; NONE where the pixel is of the ignored class, or of none."""
        found: Ids = np.maximum(self.find(pixels), NONE)
        return found

    def picture(self, ids: Ids) -> Pixels:
        """The colour label map (height, width, 3) uint8 of numbers of classes; :meth:`ids` gives them back."""
        colours: Pixels = self._palette[ids]
        return colours

    def grey(self, ids: Ids) -> Pixels:
        """The grey label map (height, width, 1) of numbers of classes, uint8 where that holds all ids, else uint16; :meth:`ids` gives them
        back. Where every grey means some class, NONE becomes the first one's.
        """
        values = self._greys if (ids < 0).any() else self._greys[:-1]
        grey: Pixels = values.astype(np.uint8 if values.max() <= 255 else np.uint16)[ids][..., None]
        return grey

    def planes(self, ids: Ids, *, unknown: bool = False) -> np.ndarray:
        """One plane per class, (n, height, width) float32: 1 where the class is, else -1.

        Args:
            ids: numbers of classes.
            unknown: a last plane is 1 where there is no label; else such pixels are -1 in every plane.
        """
        numbers = [*range(len(self.kept)), *([NONE] if unknown else [])]
        return np.where(ids == np.array(numbers, dtype=ids.dtype)[:, None, None], np.float32(1), np.float32(-1))

    @cached_property
    def are_wide(self) -> bool:
        """Whether grey values are so far apart that those between mean the nearest."""
        return len(self.values) > 1 and int(np.diff(sorted(self.values)).min()) >= WIDE

    @cached_property
    def _ignored(self) -> int | None:
        """Place of the ignored class among all."""
        if self.ignore is None:
            return None
        return next((place for place, key in enumerate(zip(self.names, self.values, strict=True)) if self.ignore in key), None)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Number of every class by its place among all, NONE for the ignored one."""
        rest = iter(range(len(self.labels)))
        return np.array([NONE if place == self._ignored else next(rest) for place in range(len(self.labels))], dtype=np.int16)

    @cached_property
    def _palette(self) -> np.ndarray:
        """Colours by number; the last one, which is also that of NONE, is the ignored class's, or one far from all."""
        colours = [label.colour for label in self.kept]
        last = far_colour(colours) if self._ignored is None else self.labels[self._ignored].colour
        return np.array([*colours, last], dtype=np.uint8)

    @cached_property
    def _greys(self) -> np.ndarray:
        """Grey values by number; the last one, which is also that of NONE, is the ignored class's, or the first that is no class's."""
        values = [value for place, value in enumerate(self.values) if place != self._ignored]
        free = np.append(np.flatnonzero(self._lookup == UNKNOWN), 0)
        return np.array([*values, free[0] if self._ignored is None else self.values[self._ignored]])

    @cached_property
    def _lookup(self) -> np.ndarray:
        """Number of the class by grey value, 0 to 65535."""
        values = np.array(self.values, dtype=np.int32)
        far = np.abs(np.arange(2**16, dtype=np.int32)[:, None] - values)
        nearest_one = far.argmin(axis=1)
        reach = int(np.diff(np.sort(values)).min()) // 2 if self.are_wide else 0
        return np.where(far.min(axis=1) <= reach, self._numbers[nearest_one], np.int16(UNKNOWN))

    def _by_value(self, values: np.ndarray) -> Ids:
        found: Ids = self._lookup[_whole(values)]
        return found

    def _by_colour(self, pixels: Pixels) -> Ids:
        codes, places = np.unique(packed(pixels), return_inverse=True)
        number = np.concatenate([self._of_colours(unpacked(codes[rows])) for rows in strips(len(codes), width=1, pixels=2**14)])
        return number[places].reshape(pixels.shape[:2])

    def _of_colours(self, colours: np.ndarray) -> np.ndarray:
        """Numbers of (n, 3) colours."""
        given, known = colours.astype(np.float32), self._palette.astype(np.float32)
        far = np.square(given).sum(axis=1)[:, None] - 2 * given @ known.T + np.square(known).sum(axis=1)  # exact: all below 2^24
        place, last = far.argmin(axis=1), len(self.kept)
        # A colour that was made up for no label stands for itself alone, not for what is near it.
        limit = np.where(place == last, 0 if self._ignored is None else TOLERANCE**2, TOLERANCE**2)
        return np.where(far.min(axis=1) <= limit, np.where(place == last, NONE, place), UNKNOWN).astype(np.int16)


@lru_cache(maxsize=8)
def classes_of(labels: tuple[Label, ...], ignore: str | int | None = None) -> Classes:
    """The codec of some classes, whose tables are made once.

    Raises:
        ConfigError: the classes are not known yet, or as :class:`Classes`.
    """
    if not labels:
        raise ConfigError(
            "the classes are not known yet",
            why="they are learnt from the training data when a run is planned",
            fix="train first, or list them in task.options.classes",
        )
    return Classes(labels, ignore)


def plain(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Classes as JSON and YAML have them.

    >>> plain([Label("road", (128, 64, 128), 3)])
    [{'name': 'road', 'colour': [128, 64, 128], 'id': 3, 'share': 0.0}]
    """
    return [asdict(label) | {"colour": list(label.colour)} for label in labels]


def edges(pixels: Pixels, *, beyond: int = 0) -> np.ndarray:
    """Where a pixel differs from one of its four neighbours by more than this in some channel, (height, width) bool.

    Of ids of objects these are the boundaries by which a network tells apart objects of one class (Wang et al., "High-Resolution Image
    Synthesis and Semantic Manipulation with Conditional GANs", 2018, section 3.3).

    >>> edges(np.array([[1, 1, 1, 2, 2]], dtype=np.uint16)[..., None]).tolist()
    [[False, False, True, True, False]]
    """
    wide = pixels if pixels.dtype.kind == "f" else pixels.astype(np.int32)
    found = np.zeros(pixels.shape[:2], bool)
    across, down = (np.abs(np.diff(wide, axis=axis)).max(axis=2) > beyond for axis in (1, 0))
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def numbered(pixels: Pixels) -> np.ndarray:
    """Objects by number: 0, 1, ... for each value that there is, or each combination of channels, (height, width).

    >>> numbered(np.array([[7, 7, 900]], dtype=np.uint16)[..., None]).tolist()
    [[0, 0, 1]]
    """
    flat = pixels.reshape(-1, pixels.shape[2])
    found = np.unique(flat, axis=0 if flat.shape[1] > 1 else None, return_inverse=True)[1]
    return found.reshape(pixels.shape[:2])


def packed(pixels: Pixels) -> np.ndarray:
    """One number per RGB pixel of any type: 65536 r + 256 g + b of 8 bits each, (height, width) int32.

    >>> packed(np.array([[[1, 2, 3]]], dtype=np.uint8)).tolist()
    [[66051]]
    """
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * (255 / np.float32(full_scale(pixels.dtype)))).astype(np.uint8)
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    code: np.ndarray = (red << 16) | (green << 8) | blue
    return code


def unpacked(codes: np.ndarray) -> np.ndarray:
    """RGB of :func:`packed` numbers, (..., 3) uint8."""
    return np.stack([codes >> 16, codes >> 8, codes], axis=-1).astype(np.uint8)


def counted(pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a label map, (n, 1) or (n, 3), and how often each is there.

    >>> [array.tolist() for array in counted(np.array([[[7], [7], [9]]], dtype=np.uint8))]
    [[[7], [9]], [2, 1]]
    """
    grey = pixels.shape[2] == 1
    parts = [pixels[rows] for rows in strips(pixels.shape[0], width=pixels.shape[1], pixels=2**22)]
    found = [np.unique(_whole(part[..., 0]) if grey else packed(part), return_counts=True) for part in parts]
    codes, places = np.unique(np.concatenate([values for values, _ in found]), return_inverse=True)
    counts = np.bincount(places, weights=np.concatenate([counts for _, counts in found])).astype(np.int64)
    return codes[:, None] if grey else unpacked(codes), counts


def check_labels(values: np.ndarray, counts: np.ndarray, *, classes: Classes, where: Path | None) -> Ids:
    """Refuse a label map with an id that is no class, or with much of a colour that is none; what the values mean, (n,).

    Args:
        values: what the map holds, (n, 1) or (n, 3).
        counts: how often each is there.
        classes: that are known.
        where: the file; None: a label map that is to be translated, wherever it comes from.

    Raises:
        DataError: naming the commonest such id or colour, its share of the map, and the number of classes.
    """
    found: Ids = classes.find(values[None])[0]
    unknown = np.flatnonzero(found == UNKNOWN)
    if values.shape[1] == 1 and classes.are_wide:
        _check_plain(values, counts, classes=classes, where=where)
    if not len(unknown):
        return found
    grey, stray = values.shape[1] == 1, values[unknown].astype(np.int32)
    commonest = stray[counts[unknown].argmax()]
    alike = np.square(stray - commonest).sum(axis=1) <= (NEAR if classes.are_wide or not grey else 0) ** 2
    share = counts[unknown][alike].sum() / counts.sum()
    if share <= (0 if grey and not classes.are_wide else STRAY[where is None or is_blurred(where)]):
        return found
    name = f"id {commonest[0]}" if grey else f"colour {tuple(commonest.tolist())}"
    to_learn = "list every class in a classes.csv beside the label maps (columns name,r,g,b and, for grey ones, id), or mend the file"
    raise DataError(
        f"the {name} is none of the {len(classes.labels)} classes",
        where=where,
        why=f"{share:.2%} of the label map has it; {_known(classes, grey=grey)}",
        fix=f"use the classes that were learnt: {', '.join(classes.names)}" if where is None else to_learn,
    )


def _check_plain(values: np.ndarray, counts: np.ndarray, *, classes: Classes, where: Path | None) -> None:
    """Refuse a grey picture that is no map of classes whose values are far apart, though every value is nearest to one of them.

    Raises:
        DataError: it is none.
    """
    apart = np.abs(values.astype(np.int32) - np.array(classes.values)).min(axis=1)
    share = counts[apart <= SOFT].sum() / counts.sum()
    if share < LEAST_PLAIN:
        raise DataError(
            "this is no label map of these classes, more likely a photograph",
            where=where,
            why=f"{1 - share:.0%} of it lies between their values ({', '.join(map(str, sorted(classes.values)))})",
            fix="give label maps, or the other --direction if these are the photos",
        )


def is_blurred(path: Path) -> bool:
    """Whether the values in a file are not what was drawn: it is a JPEG.

    >>> is_blurred(Path("a.JPG")), is_blurred(Path("a.png"))
    (True, False)
    """
    return path.suffix.lower() in (".jpg", ".jpeg")


def _whole(values: np.ndarray) -> np.ndarray:
    """Grey values as whole numbers; floats are those of 8 bits."""
    return np.rint(values * np.float32(255)).astype(np.uint8) if values.dtype.kind == "f" else values


def _known(classes: Classes, *, grey: bool) -> str:
    if not grey:
        return f"a class's colour may be missed by {TOLERANCE}, and a palette counts by its colours"
    values = sorted(classes.values)
    run = values == list(range(values[0], values[-1] + 1))
    return f"ids are {values[0]} to {values[-1]}" if run else f"ids are {', '.join(map(str, values))}"


def far_colour(colours: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """A colour that no class can be taken for: black or white where it is well away from all, else the farthest on a grid.

    >>> far_colour([(255, 0, 0)]), far_colour([(0, 0, 0), (255, 255, 255)])
    ((0, 0, 0), (0, 102, 255))
    """
    steps = np.arange(0, 256, 51)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    far = np.square(grid[:, None] - np.array(colours)).sum(axis=2).min(axis=1)
    choices = [0, len(grid) - 1, int(far.argmax())]
    best = next((place for place in choices if far[place] > (2 * TOLERANCE) ** 2), choices[-1])
    red, green, blue = grid[best].tolist()
    return red, green, blue
