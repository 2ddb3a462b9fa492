"""What networks cost: parameters, multiply-adds (MAC) and memory, counted from the shapes of the tensors that pass through them.

A MAC is one product and one sum; a FLOP count is twice as large.

    convolution              output positions x weights        weights: taps x input channels of a group x output channels
    transposed convolution   input positions x weights
    matrix product           rows x inner x columns
    their gradients          as many again for the weights, and as many for the input, where these are wanted

These are the products that are really made. (A transposed convolution is often given its output positions, stride^2 times too many.)
Taps that meet nothing but padding are made as well, and counted.

Everything happens on the meta device, where tensors have shapes but no values: nothing is computed and no memory is taken. Memory is
counted as that of the tensors. What a library takes beside them is not in it: scratch space of convolutions, torch itself, the heap.
"""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, UntypedStorage, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pixloom.nets.team import acting

Shape = tuple[int, ...]
"""Of an input, such as (batch, channels, height, width)."""

FLOAT_BYTES = 4


@runtime_checkable
class Play(Protocol):
    """What is done in a step but for the optimizers: forward and backward passes, until every parameter has a gradient."""

    def __call__(self, generator: nn.Module, critic: nn.Module | None, *, source: Tensor, target: Tensor) -> None:
        """Play on pictures, (batch, channels, height, width)."""


@dataclass(frozen=True)
class LayerCost:
    """What one layer does in a forward pass.

    Attributes:
        name: dotted, within its network; empty for what the network does outside its layers.
        kind: the name of its class.
        parameters: its own trainable numbers.
        macs: multiply-adds.
        elementwise_bytes: read and written by all else (norms, activations, padding, joining), every tensor once an operation.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    elementwise_bytes: int


@dataclass(frozen=True)
class NetworkCost:
    """What a forward pass in training costs.

    Attributes:
        layers: those that work, in the order in which they first do.
        parameters: trainable numbers.
        kept_bytes: what autograd keeps for the backward pass, the network's own tensors left out.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    kept_bytes: int

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def elementwise_bytes(self) -> int:
        """Bytes that all layers read and write outside multiply-adds."""
        return sum(layer.elementwise_bytes for layer in self.layers)


@dataclass(frozen=True)
class StepCost:
    """What a step costs in which all networks learn.

    Attributes:
        batch: pictures in the step.
        generator, critic: one forward pass of the batch through each.
        macs: multiply-adds of the step.
        state_bytes: weights, gradients and two Adam moments of both networks, and the averaged generator where there is one.
        activation_bytes: what the tensors of the step hold beyond that at the fullest moment.
    """

    batch: int
    generator: NetworkCost
    critic: NetworkCost | None
    macs: int
    state_bytes: int
    activation_bytes: int

    @property
    def memory_bytes(self) -> int:
        """State and activations: what a step needs beside torch itself and scratch space."""
        return self.state_bytes + self.activation_bytes


def play(generator: nn.Module, critic: nn.Module | None, *, source: Tensor, target: Tensor) -> None:
    """The adversarial game, one generator pass for both updates, with means in the place of the losses.

    With F the multiply-adds of a forward pass, f those of its first layer, and S what it keeps:

                             multiply-adds                                                      kept meanwhile
        generator            forward and backward                               3 F_G - f_G     S_G
        critic's update      real and fake, each forward and backward      2 (3 F_D - f_D)      S_G + 2 S_D
        generator's update   through the frozen critic and back to the picture        2 F_D     S_G + S_D

    The first layer's input is a picture. Its gradient is wanted in the generator's update alone, where the critic's weights have none.
    """
    noise = _tensors_of([_noise_shape(generator, batch=len(source))])
    fake = generator(source, None, *noise)
    objective = fake.mean()
    if critic is not None:
        critic.zero_grad()
        torch.autograd.backward(_mean_logit(critic, source, target) + _mean_logit(critic, source, fake.detach()))
        critic.requires_grad_(False)
        objective = objective + _mean_logit(critic, source, fake)
    generator.zero_grad()
    torch.autograd.backward(objective)


def step_cost(
    generator: nn.Module, critic: nn.Module | None, *, size: int, batch: int = 1, averaged: bool = False, play: Play = play
) -> StepCost:
    """The cost of one step of training on square pictures.

    Args:
        generator: built for the channels that it is to be used with.
        critic: its critic; None: there is no game.
        size: side of the pictures, in pixels.
        batch: pictures in the step.
        averaged: whether an average of the generator is kept.
        play: what is done in the step.
    """
    of_generator = generator_cost(generator, size=size, batch=batch)
    of_critic = None if critic is None else critic_cost(critic, size=size, batch=batch)
    averages = _num_parameters(generator, recurse=True)
    parameters = averages + (0 if critic is None else _num_parameters(critic, recurse=True))
    source, target = (
        torch.empty(batch, _options(acting(generator))[f"{side}_channels"], size, size, device="meta") for side in ("source", "target")
    )
    paper, paper_critic = _learning(generator), None if critic is None else _learning(critic)
    networks = [network for network in (paper, paper_critic) if network is not None]
    gradients = (parameter.grad for network in networks for parameter in network.parameters())
    with torch.enable_grad(), _Held([source, target, *gradients], networks=networks) as held, _Meter() as meter:
        play(paper, paper_critic, source=source, target=target)
    return StepCost(
        batch=batch,
        generator=of_generator,
        critic=of_critic,
        macs=meter.macs.total(),
        state_bytes=FLOAT_BYTES * (4 * parameters + averaged * averages),
        activation_bytes=held.peak_bytes - FLOAT_BYTES * parameters,
    )


def generator_cost(generator: nn.Module, *, size: int, batch: int = 1) -> NetworkCost:
    """The cost of a generator's pass in training over square pictures of ``size`` pixels a side; of a team's ``there``."""
    generator = acting(generator)
    return network_cost(generator, generator_inputs(generator, size=size, batch=batch))


def critic_cost(critic: nn.Module, *, size: int, batch: int = 1) -> NetworkCost:
    """The cost of a critic's pass in training over square pairs of ``size`` pixels a side; of a team's ``there``."""
    critic = acting(critic)
    return network_cost(critic, [(batch, _options(critic)[f"{side}_channels"], size, size) for side in ("source", "target")])


def generator_inputs(generator: nn.Module, *, size: int, batch: int = 1) -> list[Shape | None]:
    """The shapes of source, condition (none) and noise."""
    return [(batch, _options(generator)["source_channels"], size, size), None, _noise_shape(generator, batch=batch)]


def network_cost(network: nn.Module, inputs: Sequence[Shape | None]) -> NetworkCost:
    """The cost of a pass in training of inputs of these shapes (None: no such input).

    Raises:
        NotImplementedError: it makes products by an operation that is not counted here.

    >>> cost = network_cost(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), [(1, 3, 10, 10)])
    >>> cost.parameters, cost.macs
    (224, 21600)
    >>> cost.elementwise_bytes, cost.kept_bytes  # both sides of the ReLU; the input and the ReLU's output
    (6400, 4400)
    """
    paper, tensors = _without_values(network), _tensors_of(inputs)
    kept, meter = _Kept(paper), _Meter()
    meter.follow(paper)
    with torch.enable_grad(), saved_tensors_hooks(kept.keep, lambda tensor: tensor), meter:
        paper.train()(*tensors)
    kinds = dict(network.named_modules())
    layers = [
        LayerCost(name, type(kinds[name]).__name__, _num_parameters(kinds[name], recurse=False), macs, meter.elementwise_bytes[name])
        for name, macs in meter.macs.items()
    ]
    return NetworkCost(tuple(layers), _num_parameters(network, recurse=True), kept_bytes=kept.num_bytes)


def inference_bytes(network: nn.Module, inputs: Sequence[Shape | None]) -> int:
    """The most that the tensors of a pass in use hold at one time, its input and output among them, weights left out.

    >>> inference_bytes(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), [(1, 3, 10, 10)])  # the input, both sides of the ReLU
    7600
    """
    paper, tensors = _without_values(network), _tensors_of(inputs)
    with torch.no_grad(), _Held(tensors, networks=[paper]) as held:
        paper.eval()(*tensors)
    peak: int = held.peak_bytes
    return peak


class _Meter(TorchDispatchMode):
    """Books the work of every operation on the layer that runs at that time.

    Attributes:
        macs: multiply-adds by the layer's name.
        elementwise_bytes: likewise what is read and written by operations without products.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self.elementwise_bytes: Counter[str] = Counter()
        self._running = [""]

    def follow(self, network: nn.Module) -> None:
        """Tell the layers of a network apart; it never lets go, so give it a copy."""
        for name, module in network.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: self._running.append(name))
            module.register_forward_hook(lambda *_: self._running.pop() and None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation, layer = func.overloadpacket, self._running[-1]
        if operation in flop_registry and operation not in _PRODUCTS:
            raise NotImplementedError(f"the products of {func} in the layer '{layer}' are not counted yet")
        products = _PRODUCTS.get(operation)
        self.macs[layer] += 0 if products is None else products(args, result)
        self.elementwise_bytes[layer] += _moved_bytes(func, args, result) if products is None and operation not in _EMPTY else 0
        return result


class _Kept:
    """Gathers what autograd keeps for the backward pass; tensors that share their memory count once."""

    def __init__(self, network: nn.Module) -> None:
        self._own = _own_places(network)
        self._kept: dict[int, UntypedStorage] = {}

    @property
    def num_bytes(self) -> int:
        """Kept, the network's own tensors left out."""
        return sum(storage.nbytes() for place, storage in self._kept.items() if place not in self._own)

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that is kept, and pass it on."""
        self._kept[_place(tensor)] = tensor.untyped_storage()
        return tensor


class _Held(TorchDispatchMode):
    """Follows the memory of all tensors that are made, from their making until nothing refers to it.

    Attributes:
        peak_bytes: the most that was held at one time, with the tensors that were there before, without those of the networks.
    """

    def __init__(self, before: Iterable[Tensor | None], *, networks: Iterable[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = self._held_bytes = 0
        self._known = {place for network in networks for place in _own_places(network)}
        self._watch(list(before))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._watch(result)
        return result

    def _watch(self, made: Any) -> None:
        for tensor in _tensors(made):
            place, num_bytes = _place(tensor), tensor.untyped_storage().nbytes()
            if place not in self._known:
                self._known.add(place)
                self._held_bytes += num_bytes
                weakref.finalize(tensor.untyped_storage(), self._forget, place, num_bytes)
        self.peak_bytes = max(self.peak_bytes, self._held_bytes)

    def _forget(self, place: int, num_bytes: int) -> None:
        self._known.discard(place)
        self._held_bytes -= num_bytes


def _of_convolution(args: Sequence[Any], result: Tensor) -> int:
    maps, weight, transposed = args[0], args[1], args[6]
    return _positions(maps if transposed else result) * int(weight.numel())


def _of_gradients(args: Sequence[Any], _: Any) -> int:
    gradient, maps, weight, transposed, (of_maps, of_weight, _) = *args[:3], args[7], args[10]
    return int(of_maps + of_weight) * _positions(maps if transposed else gradient) * int(weight.numel())


def _of_matrices(args: Sequence[Any], result: Tensor) -> int:
    return result.numel() * int(args[-1].shape[-2])


def _positions(maps: Tensor) -> int:
    """Batch x height x width."""
    return len(maps) * prod(maps.shape[2:])


aten = torch.ops.aten

_PRODUCTS: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.convolution: _of_convolution,
    aten.convolution_backward: _of_gradients,
    **dict.fromkeys((aten.mm, aten.bmm, aten.addmm, aten.baddbmm), _of_matrices),
}
"""Operation -> multiply-adds from its arguments and result."""

_EMPTY = {aten.empty, aten.empty_like}
"""Operations that neither read nor write."""


def _moved_bytes(func: Any, args: Any, result: Any) -> int:
    """Bytes of operands and results; none where only the view of a tensor changes."""
    operands, results = list(_tensors(args)), list(_tensors(result))
    places = {_place(tensor) for tensor in operands}
    if not func._schema.is_mutable and all(_place(tensor) in places for tensor in results):
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in (*operands, *results))


def _place(tensor: Tensor) -> int:
    """The same number for tensors that share their memory."""
    return int(tensor.untyped_storage()._cdata)


def _own_places(network: nn.Module) -> set[int]:
    return {_place(tensor) for tensor in chain(network.parameters(), network.buffers())}


def _tensors(things: Any) -> Iterator[Tensor]:
    """The tensors among arguments or results, however nested."""
    if isinstance(things, Tensor):
        yield things
    elif isinstance(things, (tuple, list)):
        for thing in things:
            yield from _tensors(thing)


def _mean_logit(critic: nn.Module, source: Tensor, candidate: Tensor) -> Tensor:
    logits = critic(source, candidate).logits
    return torch.stack([scale.mean() for scale in logits]).mean()


def _options(network: nn.Module) -> Mapping[str, Any]:
    options: Mapping[str, Any] = network.options  # type: ignore[assignment]
    return options


def _noise_shape(generator: nn.Module, *, batch: int) -> Shape | None:
    channels = _options(generator)["noise_channels"]
    return (batch, channels) if channels else None


def _num_parameters(module: nn.Module, *, recurse: bool) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse))


def _tensors_of(shapes: Iterable[Shape | None]) -> list[Tensor | None]:
    """Inputs of these shapes."""
    return [None if shape is None else torch.empty(shape, device="meta") for shape in shapes]


def _learning(network: nn.Module) -> nn.Module:
    """A copy as a step finds it: with the gradients of the step before."""
    paper = _without_values(network).train()
    for parameter in paper.parameters():
        parameter.grad = torch.empty_like(parameter)
    return paper


def _without_values(network: nn.Module) -> nn.Module:
    """A copy on the meta device: it takes no memory, and counting leaves no trace in the network (batch norm's statistics)."""
    memo: dict[int, Any] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()}
    memo |= {id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta")) for parameter in network.parameters()}
    return copy.deepcopy(network, memo)
