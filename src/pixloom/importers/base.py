"""What an importer is: from another program's names and shapes to one of our networks, exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from pixloom.config import InferenceConfig
from pixloom.errors import ConfigError, ModelError
from pixloom.importers.foreign import State

Pairs = Iterator[tuple[str, str]]
"""(our layer, theirs), without ``.weight`` and the like."""

Role = Literal["generator", "critic"]


@dataclass(frozen=True)
class Said:
    """What a model's tensors do not tell, from people or from the options beside the file.

    Attributes:
        settings: by dotted name.
        names: of the classes or attributes, in the order of its program.
        encoder: reads the tensors of the style encoder in the file beside it; none where there is no such file.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    encoder: Callable[[], State] = dict

    def number(self, name: str) -> int | None:
        """A setting that is a whole number of 1 or more; None where nothing is said.

        Raises:
            ConfigError: it is none.
        """
        value = self.settings.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ConfigError(f"'{name}' cannot be {value!r}", fix="give a whole number, 1 or more")

    def choice(self, name: str, choices: tuple[Any, ...], *, default: Any) -> Any:
        """A setting that is one of these.

        Raises:
            ConfigError: it is none of them.
        """
        value = self.settings.get(name, default)
        if value not in choices:
            raise ConfigError(f"'{name}' cannot be {value!r}", fix=f"one of: {', '.join(map(str, choices))}")
        return value


@dataclass(frozen=True)
class Found:
    """A network that was recognised.

    Attributes:
        name: of our network, in ``pixloom.nets.NETWORKS``.
        options: of its constructor, recovered from names and shapes.
        state: its tensors under our names.
        task: what it translates, for want of something better said, by name and options.
        size: side in pixels at which it was trained, as far as that can be told.
        inference: how its own program runs it.
        conditions: what steers it, by kind, see ``pixloom.conditions``; vocabularies are given by people.
        notes: what had to be assumed, and what does not come along.
        role: whether it translates or judges.
        asks: settings in ``importers.SETTINGS`` that are about this network, besides those about every model.
        settle: what it is once it is known what people say; None: that changes nothing.
    """

    name: str
    options: dict[str, Any]
    state: State
    task: Mapping[str, Any] = field(default_factory=lambda: {"name": "pair"})
    size: int = 256
    inference: InferenceConfig = InferenceConfig()
    conditions: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    role: Role = "generator"
    asks: tuple[str, ...] = ()
    settle: Callable[[Said], Found] | None = None


Recognise = Callable[[State], Found | None]
"""A network's tensors -> what it is, where it is of this family; raises ModelError where it is, but of a kind that cannot be had."""


@dataclass(frozen=True)
class Family:
    """Networks that one program, or many that copied it, writes.

    Attributes:
        title: for people: program and network.
        recognise: see :data:`Recognise`.
        joined: whether several networks of a file make one of ours; then ``recognise`` sees all that lie beside each other, every name
            after that of its network, ``generator.from_rgb.weight``.
    """

    title: str
    recognise: Recognise
    joined: bool = False


def renamed(state: State, pairs: Pairs, *, ignored: Callable[[str], bool] = lambda name: False) -> State:
    """The tensors under our names.

    Args:
        state: under theirs.
        pairs: the layers.
        ignored: theirs that are passed over.

    Raises:
        ModelError: a tensor belongs to no layer, so that the network is another one.
    """
    found, left = {}, {name for name in state if not ignored(name)}
    for ours, theirs in pairs:
        for name in [name for name in left if name.startswith(f"{theirs}.") and "." not in name[len(theirs) + 1 :]]:
            found[ours + name[len(theirs) :]] = state[name]
            left.discard(name)
    if left:
        raise ModelError(
            "there is more in this file than the network that it seems to hold", why=f"{some(sorted(left))} belong to no layer"
        )
    return found


def folded(state: State) -> State:
    """Without the biases of convolutions that a batch norm follows, under our names: b moves into the running mean, mean - b.

    Where a picture's own statistics are taken instead, they subtract the bias, whatever it is.
    """
    found = dict(state)
    for name in state:
        layer, _, kind = name.rpartition(".")
        before, _, place = layer.rpartition(".")
        bias = f"{before}.{int(place) - 1}.bias" if kind == "running_mean" and place.isdecimal() else ""
        if bias in state:
            found[name] = state[name] - found.pop(bias)
    return found


def completed(state: State) -> State:
    """With the count of batches that old batch norms lack; it has no part in anything but a cumulative average."""
    counts = {
        name.removesuffix("running_mean") + "num_batches_tracked": torch.zeros((), dtype=torch.int64)
        for name in state
        if name.endswith("running_mean")
    }
    return counts | state


def some(names: list[str], *, most: int = 4) -> str:
    """The first of several names, and how many there are.

    >>> some(["a", "b"]), some(list("abcdef"))
    ('a, b', 'a, b, c, d and 2 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def channels(tensor: Tensor, *, transposed: bool = False) -> tuple[int, int]:
    """Input and output channels of a convolution's weight."""
    first, second = tensor.shape[:2]
    return (first, second) if transposed else (second, first)


def norm_of(state: State, layer: str, *, convolution: str) -> str:
    """The normalisation at a layer: with weights and statistics it is batch norm; without either, instance norm where the convolution
    before it has a bias, else none. What old instance norms kept beside it does not count.
    """
    if f"{layer}.weight" in state:
        return "batch"
    return "instance" if f"{convolution}.bias" in state else "none"
