"""Every network: contract, exact published sizes, the same maths as the published layouts; and the layers below them."""

from __future__ import annotations

import copy
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file, save_file
from torch import nn

from pixloom import nets
from pixloom.errors import ConfigError
from pixloom.nets import build
from pixloom.nets import layers as L

APART = {"stargan2", "ugatit", "stargan", "domains", "attention", "frozen"}
"""They have neither a norm nor an injection to choose, and some do not exist without domains or weights: see test_nets_unpaired.py and
test_frozen.py."""

GENERATORS, CRITICS, NETWORKS = (
    {name: network for name, network in table.items() if name not in APART} for table in (nets.GENERATORS, nets.CRITICS, nets.NETWORKS)
)

SMALL = {
    "encoder_decoder": {"width": 4},
    "unet": {"depth": 5, "width": 4, "dropout": 0.0},
    "resnet": {"blocks": 2, "width": 4},
    "shuffle": {"blocks": 2, "width": 4},
    "enhancer": {"halvings": 2, "blocks": 1, "local_blocks": 1, "width": 4},
    "spade": {"levels": 3, "width": 4, "hidden": 8},
    "residual_unet": {"halvings": 2, "width": 4},
    "rrdb": {"scale": 2, "folding": 2, "blocks": 1, "width": 4, "growth": 2},
    "compact": {"width": 4, "depth": 2},
    "srresnet": {"blocks": 2, "width": 4},
    "srgan": {"blocks": 2, "width": 4},
    "residual": {"layers": 2, "width": 4},
    "patch": {"layers": 2, "width": 4},
    "pixel": {"width": 4},
    "image": {"width": 4},
    "multiscale": {"layers": 2, "width": 4},
    "segmenting": {"layers": 3, "width": 4},
    "vgg": {"layers": 2, "width": 4, "hidden": 8},
    "unet_critic": {"layers": 2, "width": 4},
}
NORMS = list(L.NORMS)
CUT_IN_USE = ("rrdb", "compact", "srresnet")
"""Generators whose outputs are cut off at the ends of [-1, 1] in use, and not while they are learnt."""


BLIND = ("segmenting", "vgg", "unet_critic")
"""Critics that do not look at the source."""


def takes(name, option):
    return option in inspect.signature(NETWORKS[name]).parameters


def with_norms(norms):
    """Every network with each of these norms; None where it has no choice of them."""
    return [(name, norm) for name in NETWORKS for norm in (norms if takes(name, "norm") else [None])]


def small(name, *, size=32, source=1, target=3, norm=None, **options):
    torch.manual_seed(0)
    chosen = {**SMALL[name], **({} if norm is None else {"norm": norm}), **options}
    return build(name, chosen, source_channels=source, target_channels=target, size=size)


def pair(size=32, *, batch=2, source=1, target=3):
    rng = torch.Generator().manual_seed(1)
    return tuple(torch.rand(batch, channels, size, size, generator=rng) * 2 - 1 for channels in (source, target))


def run(network, size=32, batch=2):
    """The generator's pictures or the critic's logits, at the first scale."""
    return outputs_of(network, size, batch)[0]


def outputs_of(network, size=32, batch=2):
    """The generator's pictures or the critic's logits, scale by scale."""
    x, y = pair(size, batch=batch)
    return [network(x)] if hasattr(network, "size_multiple") else network(x, y)[0]


def cancelled_biases(network):
    """Biases right before a norm have no effect, so their gradient is zero but for rounding."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            for index, (first, second) in enumerate(zip(module, module[1:], strict=False)):
                if isinstance(second, L.InstanceNorm2d | L.BatchNorm2d) and getattr(first, "bias", None) is not None:
                    yield f"{name}.{index}.bias"


# --- the contract -----------------------------------------------------------------------------------------------------------------


def test_every_network_is_tested():
    assert SMALL.keys() | APART == nets.NETWORKS.keys() == {*nets.GENERATORS, *nets.CRITICS}


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize(("name", "norm"), with_norms(NORMS))
def test_call_and_gradient_of_every_parameter(name, size, norm):
    network = small(name, size=size, norm=norm)
    outputs = outputs_of(network, size)
    if name in GENERATORS:
        assert outputs[0].shape == (2, 3, size, size)
        assert outputs[0].abs().max() <= 1 or name in CUT_IN_USE
        assert run(copy.deepcopy(network).eval(), size).abs().max() <= 1
    else:
        patches, all_pixels = size // 4 - 2, size
        sides = {"patch": [patches], "pixel": [all_pixels], "multiscale": [patches, size // 8 - 2], "segmenting": [all_pixels]}
        sides |= {"residual": [size // 4], "unet_critic": [all_pixels]}
        shapes = [(2, 1)] if name in ("image", "vgg") else [(2, 1, side, side) for side in sides[name]]
        assert [output.shape for output in outputs] == shapes
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    without_effect = set(cancelled_biases(network))
    assert bool(without_effect) == (name == "srgan" or (norm == "instance" and name not in ("encoder_decoder", "image", "spade", "vgg")))
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 1e-6 or key in without_effect, key


@pytest.mark.parametrize(("name", "norm"), with_norms(["batch", "instance"]))
def test_saved_and_loaded_from_its_options(name, norm, tmp_path):
    network = small(name, norm=norm)
    run(network)  # moves the running statistics
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    again = build(name, network.options)
    assert again.options == network.options
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(run(again.eval()), run(network.eval()))


@pytest.mark.parametrize("name", CRITICS)
def test_critics_return_features_outermost_first(name):
    critic = small(name).eval()
    x, y = pair()
    logits, features, _ = critic(x, y, {})
    assert len(logits) == len(features) == (2 if name == "multiscale" else 1)
    patch = [4, 8, 16]
    widths = {"patch": patch, "pixel": [4, 8], "image": [4, 8, 16, 32], "multiscale": patch, "segmenting": [4, 4, 8, 4, 4, 2]}
    widths |= {"residual": [2, 4, 8], "vgg": [4, 4, 8, 8], "unet_critic": [4, 8, 16, 8, 4, 4, 4]}
    for scale, (verdict, stages) in enumerate(zip(logits, features, strict=True)):
        assert [maps.shape[1] for maps in stages] == widths[name]
        if name != "segmenting":
            judging = critic.critics[scale] if name == "multiscale" else critic
            assert torch.equal(judging.head(stages[-1]), verdict)
    assert torch.equal(critic(x.flip(0), y)[0][0], logits[0]) == (name in BLIND)  # the others see the source
    assert not torch.equal(critic(x, y.flip(0))[0][0], logits[0])  # and the candidate


@pytest.mark.parametrize("name", NETWORKS)
def test_a_condition_is_never_ignored(name):
    x, y = pair()
    with pytest.raises(ConfigError, match="no condition"):
        small(name)(*((x, {"label": torch.zeros(2)}) if name in GENERATORS else (x, y, {"label": torch.zeros(2)})))


OF_SIZES = [
    ("resnet", {}),
    ("resnet", {"halvings": 1}),
    ("resnet", {"halvings": 3}),
    ("resnet", {"antialias": True}),
    ("enhancer", {"halvings": 1}),
    ("spade", {}),
    ("spade", {"levels": 2}),
    ("rrdb", {"folding": 1}),
    ("rrdb", {"folding": 2}),
    ("compact", {"scale": 3}),
    ("srresnet", {"scale": 3}),
    ("srgan", {"scale": 2}),
]


@pytest.mark.parametrize(("name", "options"), [("encoder_decoder", {}), ("unet", {"depth": 3}), ("unet", {"depth": 4}), *OF_SIZES])
def test_declared_size_multiple_is_the_true_one(name, options):
    network = small(name, **options).eval()

    def keeps_size(size):
        try:
            return run(network, size, 1).shape[-1] == size
        except (RuntimeError, TypeCheckError):  # skips that do not meet, or an output of another size
            return False

    smallest = max(8, network.min_size)
    sizes = range(smallest, 3 * smallest + 1)
    assert [size for size in sizes if keeps_size(size)] == [size for size in sizes if size % network.size_multiple == 0]


def test_generators_take_rectangles():
    for name in GENERATORS:
        assert small(name)(torch.zeros(2, 1, 32, 64)).shape == (2, 3, 32, 64)


@pytest.mark.parametrize("name", ["unet", "resnet", "encoder_decoder", "enhancer", "spade"])
def test_the_head_makes_pictures_or_shares_of_the_same_maps(name):
    pictures, shares = small(name, head="tanh").eval(), small(name, head="softmax").eval()
    assert (pictures.options["head"], shares.options["head"]) == ("tanh", "softmax")
    shares.load_state_dict(pictures.state_dict())  # no parameter has another name
    x, _ = pair()
    logits, output = torch.atanh(pictures(x).double()), shares(x)
    weights = logits.exp()
    torch.testing.assert_close(output.double(), 2 * weights / weights.sum(1, keepdim=True) - 1, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="head"):
        build(name, {"head": "sigmoid"}, source_channels=1, target_channels=3)


# --- noise and dropout ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_noise_is_an_input(name):
    network = small(name, noise_channels=4, **({"injection": "film"} if takes(name, "injection") else {})).eval()
    assert network.noise_channels == 4
    x, _ = pair()
    z = torch.randn(2, 4)
    assert torch.equal(network(x, noise=z), network(x, noise=z))
    assert (network(x, noise=z) - network(x, noise=-z)).abs().max() > 1e-4
    for wrong in (None, torch.randn(2, 3), torch.randn(1, 4)):
        with pytest.raises(ConfigError, match="noise"):
            network(x, noise=wrong)
    with pytest.raises(ConfigError, match="noise"):
        small(name)(x, noise=z)


@pytest.mark.parametrize(("name", "options"), [("unet", {"depth": 6, "dropout": 0.5}), ("resnet", {"dropout": 0.5})])
def test_dropout_as_noise_is_explicit(name, options):
    network = small(name, norm="instance", **options)
    picture = torch.randn(1, 1, 64, 64)
    L.set_inference(network, statistics="running", dropout=True)
    L.set_noise_seed(network, 1)
    first = network(picture)
    assert torch.equal(first, network(picture))
    torch.testing.assert_close(first[0], network(torch.cat([picture, -picture]))[0], atol=1e-5, rtol=1e-5)
    L.set_noise_seed(network, 2)
    assert not torch.allclose(first, network(picture), atol=1e-3)
    L.set_inference(network, statistics="running", dropout=False)
    assert torch.equal(network(picture), network(picture))
    plain = build(name, network.options | {"dropout": 0.0}).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
    assert torch.equal(network(picture), plain(picture))


@pytest.mark.parametrize(("depth", "dropped"), [(5, 0), (6, 1), (7, 2), (8, 3), (9, 4)])
def test_unet_drops_at_levels_four_to_depth_minus_two(depth, dropped):
    network = small("unet", depth=depth, dropout=0.25)
    levels = [depth - 1 - place for place, level in enumerate(network.decoder) if any(isinstance(m, L.Dropout) for m in level)]
    assert levels == list(range(depth - 2, 3, -1))
    assert len(levels) == dropped
    assert all(m.probability == 0.25 for m in network.modules() if isinstance(m, L.Dropout))


def test_dropout_keeps_the_mean():
    dropped = L.Dropout(0.25)(torch.ones(1, 1, 200, 200))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert dropped.max().item() == pytest.approx(1 / 0.75)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_as_noise_drops_its_share_everywhere(probability):
    layer = L.Dropout(probability).eval()
    layer.as_noise = True
    kept = layer(torch.ones(2, 64, 32, 32)) > 0
    assert torch.equal(kept[0], kept[1])
    for axes in ((0, 1, 2), (0, 2, 3), (0, 1, 3)):
        assert kept.float().mean(axes).sub(1 - probability).abs().max() < 0.12
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=0.01)
    assert layer(torch.ones(1, 4, 8, 8)).max().item() == pytest.approx(1 / (1 - probability))


def test_dropout_layers_of_one_network_drop_differently():
    network = nn.Sequential(L.Dropout(0.5), L.Dropout(0.5)).eval()
    L.set_inference(network, statistics="running", dropout=True)
    for seed in (0, 7, 2**63 - 1):
        L.set_noise_seed(network, seed)
        first, second = (layer(torch.ones(1, 8, 16, 16)) > 0 for layer in network)
        assert (first == second).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layer", "plain", "side"), [(L.Halving, nn.Conv2d, 2), (L.Doubling, nn.ConvTranspose2d, 1)])
def test_the_innermost_layers_leave_out_only_what_meets_padding(layer, plain, side, bias):
    ours, theirs = layer(5, 7, bias=bias), plain(5, 7, 4, 2, 1, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    for shape in ((3, 5, side, side), (1, 5, 4, 6)):
        maps = torch.randn(shape)
        x, y = maps.clone().requires_grad_(), maps.clone().requires_grad_()
        torch.testing.assert_close(ours(x), theirs(y), atol=1e-5, rtol=1e-5)
        ours(x).square().sum().backward()
        theirs(y).square().sum().backward()
        torch.testing.assert_close(x.grad, y.grad, atol=1e-4, rtol=1e-4)
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)
            mine.grad = other.grad = None


def test_a_pass_that_is_not_tracked_leaves_the_statistics_alone():
    norm, maps = L.BatchNorm2d(3), torch.randn(4, 3, 5, 5)
    with L.untracked():
        untracked = norm(maps)
    assert (norm.running_mean == 0).all()
    assert norm.num_batches_tracked == 0
    assert torch.equal(untracked, norm(maps))
    assert (norm.running_mean != 0).all()


# --- the published sizes ----------------------------------------------------------------------------------------------------------

UNET_256, UNET_128, RESNET_9, RESNET_6 = (
    ("unet", {"depth": 8}),
    ("unet", {"depth": 7}),
    ("resnet", {"blocks": 9}),
    ("resnet", {"blocks": 6}),
)


def count(name, options, source=3, target=3, size=64):
    with torch.device("meta"):
        network = build(name, options, source_channels=source, target_channels=target, size=size)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "norm", "expected"),
    [
        (UNET_256, "batch", 54_413_955),
        (UNET_256, "instance", 54_409_603),
        (UNET_256, "none", 54_404_099),
        (UNET_128, "batch", 41_828_995),
        (UNET_128, "instance", 41_825_667),
        (UNET_128, "none", 41_821_187),
        (RESNET_9, "batch", 11_383_427),
        (RESNET_9, "instance", 11_378_179),
        (RESNET_9, "none", 11_372_931),
        (RESNET_6, "batch", 7_841_411),
        (RESNET_6, "instance", 7_837_699),
        (RESNET_6, "none", 7_833_987),
    ],
)
def test_generators_have_the_published_size(network, norm, expected):
    name, options = network
    assert count(name, {**options, "norm": norm}) == expected


@pytest.mark.parametrize(("name", "expected"), [("rrdb", 16_697_987), ("srresnet", 1_517_571)])
def test_generators_at_the_small_size_have_what_the_logs_of_their_program_say(name, expected):
    assert count(name, {}) == expected


def test_unet_of_colorization_has_the_published_size():
    assert count("unet", {"depth": 8}, 1, 2) == 54_409_858


@pytest.mark.parametrize(("layers", "expected"), [(1, 139_585), (2, 666_433), (3, 2_768_705), (4, 6_964_033), (5, 11_159_361)])
def test_patch_critics_have_the_published_size(layers, expected):
    assert count("patch", {"layers": layers}) == expected


def test_other_critics_have_the_published_size():
    assert count("patch", {"norm": "batch"}, 1, 2) == 2_765_633
    assert count("patch", {"norm": "instance"}, 1, 2) == 2_764_737
    assert count("pixel", {}) == 9_024
    assert count("pixel", {"norm": "instance"}) == 9_024 - 2 * 128 + 128 + 1


def test_the_documents_networks_have_its_layers():
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    encoder = kernels + 64 + 2 * (128 + 256 + 512)
    decoder = kernels + 2 * (256 + 128 + 64) + 3
    assert count("encoder_decoder", {}) == encoder + decoder
    assert count("image", {}) == encoder + 16 * 3 * 64 + 512 * 4 * 4 + 1  # three more channels to judge, and the fully connected layer


@pytest.mark.parametrize(("layers", "expected"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field_of_a_patch(layers, expected):
    critic = small("patch", layers=layers, width=1).eval()
    x, y = pair(2 * expected - 2 * expected % 2**layers, batch=1)
    y.requires_grad_()
    (logits,), *_ = critic(x, y)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = y.grad.abs().sum((0, 1)) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == expected


def test_map_of_the_published_critic():
    for layers, side in enumerate([126, 62, 30, 14, 6], start=1):
        critic = small("patch", layers=layers, width=1)
        (logits,), *_ = critic(*pair(256, batch=1))
        assert logits.shape == (1, 1, side, side)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_smallest_picture_of_a_patch_critic(layers):
    critic = small("patch", layers=layers).eval()
    assert run(critic, critic.min_size).shape[2:] == (1, 1)
    with pytest.raises(ConfigError, match="too small"):
        run(critic, critic.min_size - 1)


def test_image_critic_judges_one_size():
    assert run(small("image", size=48), 48).shape == (2, 1)
    with pytest.raises(ConfigError, match="one size"):
        run(small("image", size=48), 64)


# --- the published layouts compute the same ---------------------------------------------------------------------------------------


def peer_norm(kind, channels):
    return {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "none": nn.Identity}[kind](channels)


class PeerLevel(nn.Module):
    """One level of the recursive layout: everything further in is a layer between its down and its up convolution."""

    def __init__(self, outer, inner, *, norm, inputs=None, within=None, outermost=False):
        super().__init__()
        self.outermost, bias = outermost, norm == "instance"
        down = nn.Conv2d(outer if inputs is None else inputs, inner, 4, stride=2, padding=1, bias=bias)
        up = nn.ConvTranspose2d(inner if within is None else 2 * inner, outer, 4, stride=2, padding=1, bias=bias or outermost)
        leaky, relu = nn.LeakyReLU(0.2, inplace=True), nn.ReLU(inplace=True)
        if outermost:
            parts = [down, within, relu, up, nn.Tanh()]
        elif within is None:
            parts = [leaky, down, relu, up, peer_norm(norm, outer)]
        else:
            parts = [leaky, down, peer_norm(norm, inner), within, relu, up, peer_norm(norm, outer)]
        self.model = nn.Sequential(*parts)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def peer_unet(depth, width, *, source, target, norm):
    widths = [width * min(2**k, 8) for k in range(depth)]
    level = PeerLevel(widths[-2], widths[-1], norm=norm)
    for k in range(depth - 2, 0, -1):
        level = PeerLevel(widths[k - 1], widths[k], norm=norm, within=level)
    whole = nn.Module()
    whole.model = PeerLevel(target, widths[0], norm=norm, inputs=source, within=level, outermost=True)
    whole.forward = whole.model.forward
    return whole


class PeerBlock(nn.Module):
    def __init__(self, width, *, norm, dropout):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=norm == "instance"), peer_norm(norm, width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=norm == "instance"), peer_norm(norm, width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(True), *([nn.Dropout(dropout)] if dropout else []), *other)

    def forward(self, x):
        return x + self.conv_block(x)


def peer_resnet(blocks, width, *, source, target, norm, dropout=0.0):
    bias = norm == "instance"
    parts = [nn.ReflectionPad2d(3), nn.Conv2d(source, width, 7, bias=bias), peer_norm(norm, width), nn.ReLU(True)]
    for k in (1, 2):
        parts += [nn.Conv2d(k * width, 2 * k * width, 3, 2, 1, bias=bias), peer_norm(norm, 2 * k * width), nn.ReLU(True)]
    parts += [PeerBlock(4 * width, norm=norm, dropout=dropout) for _ in range(blocks)]
    for k in (2, 1):
        up = nn.ConvTranspose2d(2 * k * width, k * width, 3, stride=2, padding=1, output_padding=1, bias=bias)
        parts += [up, peer_norm(norm, k * width), nn.ReLU(True)]
    parts += [nn.ReflectionPad2d(3), nn.Conv2d(width, target, 7), nn.Tanh()]
    whole = nn.Module()
    whole.model = nn.Sequential(*parts)
    whole.forward = whole.model.forward
    return whole


def peer_patch(layers, width, *, inputs, norm):
    parts, before = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2, True)], width
    for n in range(1, layers + 1):
        now = width * min(2**n, 8)
        parts += [
            nn.Conv2d(before, now, 4, 2 if n < layers else 1, 1, bias=norm == "instance"),
            peer_norm(norm, now),
            nn.LeakyReLU(0.2, True),
        ]
        before = now
    return nn.Sequential(*parts, nn.Conv2d(before, 1, 4, 1, 1))


def assert_same_maths(ours, peer, call, picture):
    """Weights copied in order, then output, gradients and running statistics compared, in training and in evaluation mode."""
    theirs = peer.state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in ours.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.values(), strict=True)))
    x, x_peer = picture.clone().requires_grad_(), picture.clone().requires_grad_()
    output, expected = call(x), peer.forward(x_peer)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(expected)
    (output * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, x_peer.grad, rtol=1e-4, atol=1e-5)
    for (key, mine), yours in zip(ours.named_parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-3, atol=1e-4, msg=key)
    for mine, yours in zip(ours.buffers(), peer.buffers(), strict=True):
        torch.testing.assert_close(mine, yours)
    ours.eval(), peer.eval()
    torch.testing.assert_close(call(picture), peer.forward(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_unet_computes_what_the_recursive_layout_does(norm):
    ours = small("unet", depth=6, norm=norm, source=3, target=2)
    peer = peer_unet(6, 4, source=3, target=2, norm=norm)
    innermost = "model" + ".model.1" + ".model.3" * 4
    assert f"{innermost}.model.1.weight" in peer.state_dict()
    assert_same_maths(ours, peer, ours, torch.randn(2, 3, 64, 64))


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_resnet_computes_what_the_sequential_layout_does(norm):
    ours = small("resnet", norm=norm, source=3, target=2)
    peer = peer_resnet(2, 4, source=3, target=2, norm=norm)
    assert_same_maths(ours, peer, ours, torch.randn(2, 3, 32, 32))


def test_resnet_dropout_lies_where_the_published_one_does():
    ours, peer = small("resnet", dropout=0.5), peer_resnet(2, 4, source=1, target=3, norm="instance", dropout=0.5)
    ours.load_state_dict(dict(zip(ours.state_dict(), peer.state_dict().values(), strict=True)))
    x, _ = pair()
    torch.manual_seed(3)
    expected = peer.forward(x)
    torch.manual_seed(3)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_patch_critic_computes_what_the_sequential_layout_does(norm):
    ours, y = small("patch", layers=3, norm=norm), pair(48)[1]
    peer = peer_patch(3, 4, inputs=4, norm=norm)
    assert_same_maths(ours, peer, lambda joined: ours(joined[:, :1], joined[:, 1:])[0][0], torch.cat([pair(48)[0], y], 1))


# --- options ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "Did you mean 'unet'"),
        ("unet", {"widht": 8}, "Did you mean 'width'"),
        ("unet", {"norm": "bach"}, "'batch', 'instance', 'group' or 'none'"),
        ("unet", {"width": "wide"}, "valid integer"),
        ("unet", {"width": 0}, "greater than 0"),
        ("unet", {"dropout": 1.0}, "less than 1"),
        ("unet", {"depth": 1}, "greater than or equal to 2"),
        ("image", {"size": 40}, "multiple of 16"),
        ("unet", {"source_channels": 4}, "is 4, but 3 is needed"),
        ("resnet", {"self": 4}, "no option 'self'"),
    ],
)
def test_wrong_options_are_errors(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options, source_channels=3, target_channels=3)


def test_build_passes_on_what_fits():
    assert "size" not in build("pixel", {}, source_channels=3, target_channels=3, size=64).options
    assert build("image", {"size": 64, "width": "8"}, source_channels=3, target_channels=3, size=64).options["width"] == 8
    with pytest.raises(ConfigError, match="lacks the option 'size'"):
        build("image", {}, source_channels=3, target_channels=3)


@pytest.mark.parametrize("name", NETWORKS)
def test_options_are_the_arguments(name):
    norm = {"norm": "group"} if takes(name, "norm") else {}
    network = small(name, **norm)
    assert list(network.options) == list(inspect.signature(type(network)).parameters)
    assert network.options | SMALL[name] | norm | {"source_channels": 1, "target_channels": 3} == network.options


# --- layers -----------------------------------------------------------------------------------------------------------------------


def test_initialize_draws_the_published_distribution():
    network = small("unet", depth=4, width=32, dropout=0.0)
    L.initialize(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert module.weight.mean().item() == pytest.approx(0.0, abs=5e-4)
        if isinstance(module, nn.BatchNorm2d) and module.num_features >= 128:
            assert module.weight.mean().item() == pytest.approx(1.0, abs=0.01)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.3)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()
    critic = small("image", width=16)
    L.initialize(critic, gain=0.1)
    assert critic.head[1].weight.std().item() == pytest.approx(0.1, rel=0.2)
    assert not critic.head[1].bias.any()


def test_has_batch_norm():
    assert {norm for norm in NORMS if L.has_batch_norm(small("patch", norm=norm))} == {"batch"}


def trained_norm(channels=3):
    torch.manual_seed(0)
    norm = L.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1.0, 0.5)
    nn.init.normal_(norm.bias, 0.0, 0.5)
    for _ in range(3):
        norm(2 * torch.randn(4, channels, 6, 5) + 1)
    return norm


def test_batch_norm_alone_is_torchs_bit_for_bit():
    ours, torchs = L.BatchNorm2d(3), nn.BatchNorm2d(3)
    for seed in range(3):
        inputs = [torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_() for _ in range(2)]
        outputs = [norm(x) for norm, x in zip((ours, torchs), inputs, strict=True)]
        for output in outputs:
            (output**3).sum().backward()
        assert torch.equal(*outputs)
        assert torch.equal(inputs[0].grad, inputs[1].grad)
    for ours_value, torchs_value in zip(ours.state_dict().values(), torchs.state_dict().values(), strict=True):
        assert torch.equal(ours_value, torchs_value)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


def test_batch_norm_by_image_equals_training_on_one_picture():
    norm, x = trained_norm(), torch.randn(4, 3, 6, 5) * 3 - 1
    training = nn.BatchNorm2d(3)
    training.load_state_dict(norm.state_dict())
    expected = torch.cat([training(picture[None]) for picture in x])
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    L.set_inference(norm, statistics="image", dropout=False)
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(norm(x)[:1], norm(torch.cat([x[:1], 100 * x[1:]]))[:1])  # whatever the others are
    L.set_inference(norm, statistics="running", dropout=False)
    assert (norm(x) - expected).abs().max() > 0.1
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("name", ["encoder_decoder", "unet", "resnet"])
def test_a_generator_by_image_statistics_is_its_training_mode(name):
    network = small(name, norm="batch")
    run(network)
    x, _ = pair(batch=1)
    L.set_inference(network, statistics="running", dropout=False)
    by_running = network(x)
    L.set_inference(network, statistics="image", dropout=False)
    by_image = network(x)
    torch.testing.assert_close(network.train()(x), by_image, rtol=0, atol=1e-5)
    assert (by_running - by_image).abs().max() > 1e-3


def test_maps_of_one_pixel():
    norm, pixel = trained_norm(), torch.randn(1, 3, 1, 1)
    with pytest.raises(ConfigError, match="single value per channel"):
        norm(pixel)
    norm(torch.randn(2, 3, 1, 1))
    L.set_inference(norm, statistics="running", dropout=False)
    by_running = norm(pixel)
    L.set_inference(norm, statistics="image", dropout=False)
    assert torch.equal(norm(pixel), by_running)
    instance = L.InstanceNorm2d(3)
    assert not instance(pixel).any()
    assert not instance.eval()(pixel).any()
    assert not torch.equal(L.group_norm(8)(torch.arange(8.0).reshape(1, 8, 1, 1)), torch.zeros(1, 8, 1, 1))


PROCESS = """
import sys, torch, torch.distributed as dist
from pixloom.nets.layers import BatchNorm2d
from safetensors.torch import save_file
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
data = torch.load(f"{folder}/data.pt")
norm = BatchNorm2d(3)
norm.load_state_dict(data["state"])
x = data["x"].chunk(2)[rank].clone().requires_grad_()
y = norm(x)
(y ** 2 * data["w"].chunk(2)[rank]).sum().backward()
results = {"y": y.detach(), "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
save_file(results | {"b." + key: value for key, value in norm.named_buffers()}, f"{folder}/{rank}.safetensors")
dist.destroy_process_group()
"""


def test_two_processes_compute_what_one_does_with_the_joined_batch(tmp_path):
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(4, 3, 5, 4, generator=rng) * 2 + 5, torch.rand(4, 3, 5, 4, generator=rng)
    x[2:] -= 4  # the halves differ, so that their own statistics would be wrong
    norm = trained_norm()
    torch.save({"x": x, "w": w, "state": norm.state_dict()}, tmp_path / "data.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else ""}
    command = [sys.executable, "-W", "error::FutureWarning", "-c", PROCESS]
    processes = [subprocess.Popen([*command, str(rank), str(Path(tmp_path))], env=environment) for rank in (0, 1)]
    expected = nn.BatchNorm2d(3)
    expected.load_state_dict(norm.state_dict())
    x.requires_grad_()
    y = expected(x)
    (y**2 * w).sum().backward()
    assert [process.wait(120) for process in processes] == [0, 0]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]), x.grad, **close)
    torch.testing.assert_close(first["weight"] + second["weight"], expected.weight.grad, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(first["bias"] + second["bias"], expected.bias.grad, rtol=1e-6, atol=1e-5)
    for key, value in expected.named_buffers():
        torch.testing.assert_close(first[f"b.{key}"], value, **close)
        assert torch.equal(first[f"b.{key}"], second[f"b.{key}"])


def test_torch_compile_sees_every_network_whole():
    """A break would leave pieces that are compiled one by one, over again for every layer of a kind. (A process without type checks.)"""
    code = """
import torch
import sys
from pixloom.nets import GENERATORS, build
for name in sys.argv[1:]:
    options = {"depth": 8, "dropout": 0.5} if name == "unet" else {}
    torch._dynamo.reset()
    network = build(name, {"width": 2, **options}, source_channels=1, target_channels=3, size=256)
    given = [torch.rand(2, channels, 256, 256) for channels in ((1,) if name in GENERATORS else (1, 3))]
    torch.compile(network, backend="eager", fullgraph=True, dynamic=False)(*given)
"""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code, *NETWORKS], check=True)
