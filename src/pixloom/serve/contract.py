"""What goes over the wire: the parameters of a translation, and every answer, as ``openapi.json`` has them."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pixloom.conditions.names import parse_names
from pixloom.errors import ConfigError

PICTURES = ("mask", "hints", "reference", "map", "image")
"""Names of the files beside the source in a multipart body."""

MOST_SAMPLES = 16


class Wishes(BaseModel):
    """How a picture is to be translated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(ge=0, le=2**53 - 1, description="Of the noise; the same seed gives the same picture.")] = 0
    samples: Annotated[int, Field(ge=1, le=MOST_SAMPLES, description="Answers, of the seed and those that follow it.")] = 1
    strength: Annotated[
        float, Field(ge=0.0, le=1.5, allow_inf_nan=False, description="From 0, the source, over 1, the translation, to 1.5.")
    ] = 1.0
    size: Annotated[
        str,
        Field(pattern=r"^(trained|native|[1-9][0-9]{0,4})$", description="Short side at which the network works: trained, native, pixels."),
    ] = "trained"
    direction: Annotated[Literal["forward", "back"], Field(description="back: of a model that learnt both directions.")] = "forward"
    label: Annotated[str | None, Field(min_length=1, max_length=1000, description="A class, or shares: cat=0.5,dog=0.5.")] = None
    text: Annotated[str | None, Field(min_length=1, max_length=2000, description="What it is to show, in words.")] = None
    attributes: Annotated[str | None, Field(min_length=2, max_length=20000, description="A JSON object of numbers by name.")] = None
    keep_alpha: Annotated[bool, Field(description="Give the source's transparency back.")] = False
    index: Annotated[bool, Field(description="Ids of classes in one channel, for models that make label maps.")] = False

    @property
    def working_size(self) -> int | Literal["trained", "native"]:
        """The size, as a translator takes it."""
        return self.size if self.size in ("trained", "native") else int(self.size)  # type: ignore[return-value]

    @property
    def stated(self) -> dict[str, Any]:
        """What the translation is to show, by kind of condition.

        Raises:
            ConfigError: something is not as it must be written.
        """
        label = parse_names(self.label.split(",")) if self.label is not None and "=" in self.label else self.label
        numbers = None if self.attributes is None else _numbers(self.attributes)
        stated = {"label": label, "text": self.text, "attributes": numbers}
        return {name: value for name, value in stated.items() if value is not None}


class Failure(BaseModel):
    """What was refused or failed, and what to do."""

    code: str
    what: str
    where: str | None = None
    why: str | None = None
    fix: str | None = None


class Refused(BaseModel):
    """Every answer that is no success."""

    error: Failure


class Status(BaseModel):
    """One word."""

    status: Literal["ok", "ready"]


class ClassView(BaseModel):
    """A class of a label map."""

    id: int
    name: str
    color: tuple[int, int, int]


class Source(BaseModel):
    """What is translated."""

    kind: Literal["picture", "labels", "edges"]
    channels: int
    classes: list[ClassView]
    background: tuple[int, int, int]


class Target(BaseModel):
    """What comes out."""

    kind: Literal["picture", "labels"]
    channels: int
    classes: list[ClassView]


class LabelView(BaseModel):
    """Classes of which one can be asked for."""

    names: list[str]
    given: Literal["one"] = "one"
    default: str | None = None


class AttributeView(BaseModel):
    """A number that can be asked for; of an exclusive group only one can hold."""

    name: str
    low: float
    high: float
    default: float | None = None
    exclusive: int | None = None


class MapView(BaseModel):
    """A label map beside the source; no classes: ids of objects."""

    classes: list[ClassView]


class ImageView(BaseModel):
    """Another picture beside the source."""

    channels: int


class Direction(BaseModel):
    """A way between two kinds of pictures."""

    id: Literal["forward", "back"]
    title: str


class ModelView(BaseModel):
    """All that a page needs to offer a model."""

    id: str
    title: str
    task: str
    summary: str
    size: int
    native: bool
    source: Source
    target: Target
    wants: list[str]
    takes: list[str]
    needed: list[str]
    magnification: int
    strength: bool
    answers: bool
    reference: bool
    text: bool
    label: LabelView | None
    attributes: list[AttributeView]
    map: MapView | None
    image: ImageView | None
    directions: list[Direction]


class ModelList(BaseModel):
    """Every model."""

    models: list[ModelView]


class LimitsView(BaseModel):
    """What is taken on at most."""

    bytes: int
    pixels: int
    seconds: float
    queue: int
    results_seconds: float


class About(BaseModel):
    """The server."""

    version: str
    limits: LimitsView
    models: list[str]
    runs: list[str]


class JobView(BaseModel):
    """A translation that was asked for."""

    id: str
    model: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int | None
    progress: float
    results: int
    width: int
    height: int
    milliseconds: float | None
    notes: list[str]
    error: Failure | None


class Alarm(BaseModel):
    """What the watchman found in a run."""

    name: str
    images: int
    message: str
    remedies: list[str]
    picture: str | None


class RunView(BaseModel):
    """Where a training is."""

    id: str
    title: str
    state: Literal["training", "finished", "stopped", "unknown"]
    recipe: str | None
    task: str | None
    size: int | None
    images: int
    total_images: int | None
    elapsed_seconds: float
    remaining_seconds: float | None
    images_per_second: float | None
    alarms: list[Alarm]
    metrics: dict[str, float]
    has_report: bool


class RunList(BaseModel):
    """Every run."""

    runs: list[RunView]


class HistoryView(BaseModel):
    """Lines of a run's record, and the number to go on from."""

    next: int
    entries: list[dict[str, Any]]


class Sample(BaseModel):
    """A preview."""

    name: str
    images: int


class SampleList(BaseModel):
    """Every preview."""

    samples: list[Sample]


def _numbers(text: str) -> dict[str, float]:
    """Numbers by name from JSON."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(_is_text(name) and _is_number(value) for name, value in found.items()):
        raise ConfigError("attributes are no JSON object of numbers", fix='write them like {"smile": 1, "age": 0.5}')
    return {name: float(value) for name, value in found.items()}


def _is_text(name: str) -> bool:
    """Whether a name is made of whole characters: JSON can write halves of them (surrogates), which cannot be sent back."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30 and math.isfinite(value)
