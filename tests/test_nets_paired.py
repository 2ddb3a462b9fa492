"""Networks of pix2pixHD, SPADE, OASIS and CUT: published sizes, formulas of layers, how far a pixel acts, features of an encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from pixloom.errors import ConfigError
from pixloom.nets import build
from pixloom.nets import layers as L
from pixloom.nets.layers import initialize
from pixloom.nets.spade import LabelNorm
from playing import wake

SMALL = {
    "residual_unet": {"halvings": 2, "width": 8},
    "residual": {"layers": 2, "width": 8},
    "resnet": {"blocks": 2, "width": 4},
    "enhancer": {"halvings": 2, "blocks": 1, "local_blocks": 1, "width": 4},
    "spade": {"levels": 3, "width": 4, "hidden": 8},
    "patch": {"layers": 2, "width": 4},
    "multiscale": {"layers": 2, "width": 4},
    "segmenting": {"layers": 3, "width": 4},
}


def small(name, *, source=3, target=3, **options):
    torch.manual_seed(0)
    return build(name, {**SMALL[name], **options}, source_channels=source, target_channels=target)


def count(name, options, source=3, target=3):
    with torch.device("meta"):
        network = build(name, options, source_channels=source, target_channels=target)
    return sum(parameter.numel() for parameter in network.parameters())


def drawn(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# --- the published sizes ----------------------------------------------------------------------------------------------------------


def test_the_global_generator_of_pix2pixhd_has_the_published_size():
    assert count("resnet", {"halvings": 4}, 36) == 182_546_755  # 35 labels and instances' edges
    assert count("resnet", {"halvings": 4}) == 182_443_267
    assert count("resnet", {"antialias": True}) == count("resnet", {}) == 11_378_179


def test_the_enhancer_is_the_global_generator_and_a_small_one():
    rest = count("enhancer", {}) - (count("resnet", {"halvings": 4}) - (49 * 64 * 3 + 3))  # the global one without its output
    ends = (49 * 3 * 32 + 32) + (49 * 32 * 3 + 3)
    halving, doubling, blocks = 9 * 32 * 64 + 64, 9 * 64 * 32 + 32, 6 * (9 * 64 * 64 + 64)
    assert rest == ends + halving + doubling + blocks


@pytest.mark.parametrize(("labels", "published", "expected"), [(36, 93.0, 93_038_915), (151, 96.5, 96_483_395), (184, 97.5, 97_471_811)])
def test_spade_has_the_published_size_but_for_biases_that_have_no_effect(labels, published, expected):
    """Cityscapes, ADE20K, COCO-Stuff."""
    without_effect = 1024 + 2 * (3 * 1024 + 512 + 256 + 128 + 64)
    assert count("spade", {}, labels) == expected
    assert (expected + without_effect) / 1e6 == pytest.approx(published, abs=0.05)


def test_multiscale_critics_are_so_many_patch_critics():
    for scales in (1, 2, 3):
        assert count("multiscale", {"scales": scales}) == scales * count("patch", {"norm": "instance"})
    assert count("multiscale", {"spectral": True}) == count("multiscale", {})
    assert count("segmenting", {}, 36) == 22_249_701


@pytest.mark.parametrize(
    ("levels", "strides"), [(2, [4, 2, 2, 1]), (5, [32, 16, 16, 8, 4, 2, 1]), (6, [64, 32, 16, 8, 4, 2, 1])], ids=["2", "normal", "more"]
)
def test_blocks_of_spade(levels, strides):
    with torch.device("meta"):
        network = build("spade", {"levels": levels}, source_channels=3, target_channels=3)
    assert network.strides == strides
    assert [block.convolutions[1].out_channels for block in network.blocks] == [64 * min(16, stride) for stride in strides]


# --- spectral normalisation -------------------------------------------------------------------------------------------------------


def singular_values(weight):
    return np.linalg.svd(weight.detach().flatten(1).double().numpy(), compute_uv=False)


def used_weight(layer):
    """What a layer without bias convolves with, read off its answer to single pixels."""
    inner, (rows, columns) = layer.in_channels, layer.kernel_size
    pixels = torch.eye(inner * rows * columns).reshape(-1, inner, rows, columns)
    with torch.no_grad():
        return F.conv2d(pixels, layer.weight / layer._sigma(layer.weight.flatten(1))).flatten(1).T.reshape(layer.weight.shape)


def test_the_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    layer = L.SpectralConv2d(5, 7, 3, bias=False)
    L.initialize(layer, gain=0.5)
    assert singular_values(layer.weight)[0] > 2
    for _ in range(60):
        layer(drawn(1, 5, 6, 6))
    assert singular_values(used_weight(layer.eval()))[0] == pytest.approx(1, abs=1e-3)
    pixel = torch.zeros(1, 5, 5, 5)
    pixel[0, 1, 2, 2] = 1
    torch.testing.assert_close(layer(pixel)[0], used_weight(layer)[:, 1].flip(1, 2))


@pytest.mark.parametrize("name", ["spade", "segmenting", "multiscale", "patch"])
def test_every_spectral_layer_of_a_network_is_bounded(name):
    network = small(name, **({} if name in ("spade", "segmenting") else {"spectral": True}))
    given = [drawn(2, 3, 32, 32)] * (1 if name == "spade" else 2)
    for _ in range(40):
        network(*given)
    layers = [module for module in network.modules() if isinstance(module, L.SpectralConv2d)]
    others = [module for module in network.modules() if type(module) is nn.Conv2d]
    for layer in layers:
        assert singular_values(used_weight(layer))[0] == pytest.approx(1, abs=0.03)
    assert len(layers) == {"spade": 5 * 2 + 3, "segmenting": 6 * 2 + 5, "multiscale": 8, "patch": 4}[name]
    assert len(others) == {"spade": 2 * 13 + 2, "segmenting": 1}.get(name, 0)  # what reads labels, and the ends


def test_one_pass_is_one_iteration_of_algorithm_1():
    torch.manual_seed(0)
    layer = L.SpectralConv2d(3, 4, 3)
    matrix, u = layer.weight.detach().flatten(1).double().numpy(), layer.u.double().numpy()
    layer(drawn(1, 3, 5, 5))
    v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
    u = matrix @ v / np.linalg.norm(matrix @ v)
    np.testing.assert_allclose(layer.u, u, atol=1e-6)
    layer.eval()
    assert layer._sigma(layer.weight.flatten(1)).item() == pytest.approx(np.linalg.norm(matrix.T @ u), rel=1e-5)


def test_the_iteration_rests_in_use_and_in_passes_that_repeat_one():
    layer, maps = L.SpectralConv2d(3, 4, 3), drawn(1, 3, 5, 5)
    before = layer.u.clone()
    with L.untracked():
        untracked = layer(maps)
    assert torch.equal(layer.eval()(maps), untracked)
    assert torch.equal(layer.u, before)
    layer.u.mul_(0.3)  # as an average of several has it
    torch.testing.assert_close(layer(maps), untracked)
    layer.train()(maps)
    assert not torch.allclose(layer.u, before)


def test_the_gradient_goes_through_the_norm():
    torch.manual_seed(0)
    layer, maps = L.SpectralConv2d(2, 3, 3).double().eval(), drawn(1, 2, 4, 4).double()
    assert torch.autograd.gradcheck(lambda weight: functional_call(layer, {"weight": weight}, (maps,)), layer.weight)
    layer(maps).sum().backward()
    scale = (layer.weight * layer.weight.grad).sum()
    assert scale.abs() < 1e-10  # of W / sigma(W), scaling W changes nothing


def test_passes_of_real_and_fake_before_one_backward_pass():
    critic = small("multiscale", spectral=True)
    x, y = drawn(2, 3, 32, 32), drawn(2, 3, 32, 32, seed=2)
    real, fake = critic(x, y), critic(x, -y)
    (real.logits[0].mean() - fake.logits[0].mean() + fake.logits[1].mean()).backward()
    assert all(parameter.grad is not None for parameter in critic.parameters())


# --- resampling -------------------------------------------------------------------------------------------------------------------


def spread(kernel):
    return np.outer(kernel, kernel)


def test_blur_halving_is_the_binomial_filter():
    maps = drawn(2, 5, 6, 10)
    padded = np.pad(maps.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    kernel = spread(np.array([1, 2, 1]) / 4)
    expected = sum(kernel[i, j] * padded[:, :, i : i + 6 : 2, j : j + 10 : 2] for i in range(3) for j in range(3))
    np.testing.assert_allclose(L.BlurHalving()(maps), expected, atol=1e-6)
    assert not L.BlurHalving().state_dict()


def test_blur_doubling_is_the_binomial_filter_between_zeros():
    maps = drawn(2, 5, 3, 4)
    padded = np.pad(maps.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    holed = np.zeros((2, 5, 10, 12))
    holed[:, :, ::2, ::2] = padded
    kernel = spread(np.array([1, 3, 3, 1]) / 4)
    expected = sum(kernel[i, j] * holed[:, :, i : i + 6, j : j + 8] for i in range(4) for j in range(4))
    np.testing.assert_allclose(L.BlurDoubling()(maps), expected, atol=1e-6)


def test_antialiased_halvings_hardly_feel_a_finer_pattern():
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    assert L.BlurHalving()(stripes).abs().max() < 1e-6
    assert stripes[:, :, ::2, ::2].abs().min() == 1


# --- how far a pixel acts ---------------------------------------------------------------------------------------------------------

LOCAL = [
    ("resnet", {"norm": "none", "blocks": 1, "halvings": 1}),
    ("resnet", {"norm": "none", "blocks": 2, "halvings": 2}),
    ("resnet", {"norm": "none", "blocks": 1, "halvings": 3}),
    ("resnet", {"norm": "none", "blocks": 1, "antialias": True}),
    ("resnet", {"norm": "none", "blocks": 1, "halvings": 3, "antialias": True}),
    ("resnet", {"norm": "none", "blocks": 1, "halvings": 1, "kernel": 4, "padding": "zeros"}),
    ("resnet", {"norm": "none", "blocks": 2, "halvings": 3, "kernel": 4}),
    ("enhancer", {"norm": "none", "halvings": 1, "local_blocks": 2}),
    ("spade", {"norm": "none", "levels": 2, "spectral": False}),
    ("spade", {"norm": "none", "levels": 3, "spectral": False, "bias": True, "planes": "binary"}),
]


@pytest.mark.parametrize(("name", "options"), LOCAL, ids=str)
def test_a_pixel_acts_as_far_as_the_radius(name, options):
    network = small(name, source=1, target=1, **{**options, "width": 1}).double().eval()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() * 0.1 + 0.01  # so that no ReLU hides a path
    multiple = network.size_multiple
    size = multiple * (2 * network.radius // multiple + 3)
    x = torch.rand(1, 1, multiple * max(2, network.min_size // multiple), size, dtype=torch.float64).requires_grad_()
    output, reach = network(x), 0
    for place in range(size // 2, size // 2 + multiple):
        (gradient,) = torch.autograd.grad(output[0, 0, 0, place], x, retain_graph=True)
        seen = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
        reach = max(reach, place - int(seen[0]), int(seen[-1]) - place)
    assert reach == network.radius


def test_a_norm_over_the_picture_has_no_radius():
    assert [small(name, norm="instance").radius for name in ("resnet", "enhancer", "spade")] == [None] * 3
    assert small("resnet", norm="batch").radius == 8 * 2 + 12


# --- features of an encoder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("antialias", [False, True])
def test_features_are_the_maps_of_a_translation(antialias):
    network, x = small("resnet", blocks=5, antialias=antialias).eval(), drawn(2, 3, 32, 16)
    found = {}
    for name, layers in (("stage", network.encoder), ("block", network.blocks)):
        for number, layer in enumerate(layers):
            layer.register_forward_hook(lambda *given, key=(name, number): found.update({key: given[2]}))
    network(x)
    whole = dict(found)
    halving = 4 if antialias else 3
    expected = [x, *(whole["stage", 3 + n * halving] for n in range(3)), *(whole["block", n] for n in range(5))]
    places = range(network.num_places)
    for maps, wanted in zip(network.features(x, places), expected, strict=True):
        assert torch.equal(maps, wanted)
    assert [maps.shape[1] for maps in network.features(x, places)] == network.feature_widths(places) == [3, 4, 8, *[16] * 6]
    assert [tuple(maps.shape[2:]) for maps in expected[:4]] == [(32, 16), (32, 16), (16, 8), (8, 4)]


def test_the_places_of_contrast():
    """Full size twice, half, and two of the blocks: as CUT's layers 0, 4, 8, 12 and 16."""
    network = small("resnet", blocks=9, width=2).eval()
    found = network.features(drawn(1, 3, 64, 32), network.NCE_PLACES)
    assert [maps.shape[2] for maps in found] == [64, 64, 32, 16, 16]
    assert [maps.shape[1] for maps in found] == network.feature_widths(network.NCE_PLACES) == [3, 2, 4, 8, 8]
    for reordered, maps in zip(network.features(drawn(1, 3, 64, 32), [8, 0]), (found[4], found[0]), strict=True):
        assert torch.equal(reordered, maps)


def test_features_compute_no_more_than_they_need_and_carry_gradients():
    network = small("resnet")
    network.features(drawn(1, 3, 32, 32), [2, 1])[0].sum().backward()
    reached = {name.rsplit(".", 1)[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached == {"encoder.1", "encoder.4"}


def test_features_state_nothing():
    network, x = small("resnet", noise_channels=3, injection="film", conditions={"label": 2, "map": 2}).eval(), drawn(1, 3, 32, 32)
    found = {}
    network.blocks.register_forward_hook(lambda *given: found.update(maps=given[2]))
    network(x, {"label": torch.zeros(1, 2), "map": torch.zeros(1, 2, 32, 32)}, torch.zeros(1, 3))
    assert torch.equal(network.features(x, [network.num_places - 1])[0], found["maps"])


@pytest.mark.parametrize("places", [[], [6], [-1], [0, 9]])
def test_places_that_there_are_not(places):
    network = small("resnet")
    for look in (network.feature_widths, lambda asked: network.features(drawn(1, 3, 32, 32), asked)):
        with pytest.raises(ConfigError, match="no features at these places"):
            look(places)


# --- the enhancer -----------------------------------------------------------------------------------------------------------------


def test_the_coarse_part_is_a_resnet_without_its_output():
    enhancer, whole = small("enhancer").eval(), small("resnet", blocks=1, width=8, halvings=2).eval()
    theirs = dict(list(whole.state_dict().items())[:-2])
    enhancer.coarse.load_state_dict(dict(zip(enhancer.coarse.state_dict(), theirs.values(), strict=True)))
    x = drawn(1, 3, 32, 64)
    output = whole.decoder[-3:](enhancer.coarse(L.halved(x)))
    assert torch.equal(output, whole(L.halved(x)))


def test_the_enhancer_adds_both_parts():
    enhancer, x = small("enhancer").eval(), drawn(1, 3, 32, 32)
    for part in (enhancer.encoder, enhancer.coarse):
        with torch.no_grad():
            kept = {name: value.clone() for name, value in part.state_dict().items()}
            before = enhancer(x)
            for parameter in part.parameters():
                parameter.zero_()
            assert (enhancer(x) - before).abs().max() > 1e-4
            part.load_state_dict(kept)
    maps = enhancer.encoder(x) + enhancer.coarse(L.halved(x))
    assert torch.equal(enhancer.decoder(enhancer.blocks(maps)), enhancer(x))


@pytest.mark.parametrize("name", ["enhancer", "resnet"])
def test_conditions_that_would_be_subtracted_are_refused(name):
    with pytest.raises(ConfigError, match="would not see its condition"):
        small(name, noise_channels=2)
    small(name, noise_channels=2, norm="group")


# --- SPADE ------------------------------------------------------------------------------------------------------------------------


def test_a_label_norm_is_equation_1():
    torch.manual_seed(0)
    layer = LabelNorm(4, labels=3, vector=2, hidden=5, norm="batch")
    maps, labels, vector = drawn(2, 4, 6, 8), drawn(2, 3, 6, 8), drawn(2, 2)
    mean, variance = (f(maps.double().numpy(), axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    normalised = (maps.double().numpy() - mean) / np.sqrt(variance + 1e-5)
    hidden = F.relu(
        F.conv2d(labels, layer.shared.weight, layer.shared.bias, padding=1) + (vector @ layer.project.weight.T)[:, :, None, None]
    )
    gamma, beta = (
        F.conv2d(hidden, weight, bias, padding=1).double().detach().numpy()
        for weight, bias in zip(layer.affine.weight.split(4), layer.affine.bias.split(4), strict=True)
    )
    np.testing.assert_allclose(layer(maps, labels, vector).detach(), (1 + gamma) * normalised + beta, atol=1e-4)
    assert not list(layer.norm.parameters())


def test_a_vector_is_like_planes_that_are_the_same_everywhere():
    torch.manual_seed(0)
    layer, planes = (LabelNorm(4, labels=labels, vector=vector, hidden=5, norm="none") for labels, vector in ((3, 2), (5, 0)))
    planes.affine.load_state_dict(layer.affine.state_dict())
    with torch.no_grad():
        kernel = torch.zeros(5, 2, 3, 3)
        kernel[:, :, 1, 1] = layer.project.weight
        planes.shared.weight.copy_(torch.cat([layer.shared.weight, kernel], 1))
        planes.shared.bias.copy_(layer.shared.bias)
    maps, labels, vector = drawn(2, 4, 6, 8), drawn(2, 3, 6, 8), drawn(2, 2)
    joined = torch.cat([labels, vector[:, :, None, None].expand(-1, -1, 6, 8)], 1)
    torch.testing.assert_close(layer(maps, labels, vector), planes(maps, joined, None))


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("training", [True, False])
def test_no_normalisation_subtracts_noise_or_labels_that_are_the_same_everywhere(norm, training):
    network = small("spade", norm=norm, noise_channels=4, conditions={"label": 3, "map": 2}).train(training)
    L.initialize(network, gain=0.2)
    x, z = drawn(1, 3, 16, 32), drawn(1, 4)
    plain = network(x, None, z)
    with L.untracked():
        assert (network(x, None, z.flip(1)) - plain).abs().max() > 1e-3
        for given in ({"label": torch.eye(3)[:1]}, {"map": torch.ones(1, 2, 16, 32)}):
            assert (network(x, given, z) - plain).abs().max() > 1e-3
        assert (network(x.flip(1), None, z) - plain).abs().max() > 1e-3


def test_statistics_of_a_norm_without_parameters():
    network = small("spade", spectral=False)
    for seed in range(5):
        network(drawn(4, 3, 32, 32, seed=seed))
    x = drawn(1, 3, 32, 32)
    L.set_inference(network, statistics="running", dropout=False)
    by_running = network(x)
    L.set_inference(network, statistics="image", dropout=False)
    by_image = network(x)
    assert (by_running - by_image).abs().max() > 1e-3
    torch.testing.assert_close(network.train()(x), by_image, rtol=0, atol=1e-4)


def test_a_norm_without_parameters_over_processes(monkeypatch):
    """As if there were two with the same share: the same result as alone, and statistics of twice as many values."""
    monkeypatch.setattr(L, "_mean_over_processes", lambda value: value)
    alone, joint = (L.BatchNorm2d(3, affine=False) for _ in range(2))
    maps = drawn(2, 3, 4, 4)
    expected = alone(maps)
    monkeypatch.setattr(L, "_world_size", lambda: 2)
    torch.testing.assert_close(joint(maps), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(joint.running_mean, alone.running_mean)
    L.initialize(joint)  # it has nothing to draw


def test_every_option_of_spade_acts():
    x = drawn(1, 3, 32, 32)
    plain = small("spade").eval()
    assert type(plain.blocks[0].convolutions[0]) is L.SpectralConv2d
    assert type(small("spade", spectral=False).blocks[0].convolutions[0]) is nn.Conv2d
    assert plain(x).shape == small("spade", levels=2).eval()(x).shape
    assert small("spade", levels=4).size_multiple == 16
    assert torch.equal(plain(x), plain(x))
    assert torch.equal(small("spade", planes="binary").eval()(2 * x - 1), plain(x))
    assert small("spade", levels=7).blocks[0].shortcut is None
    assert small("spade", levels=7).entry.out_channels == 32 * 4
    biases = {name for name, _ in small("spade", bias=True).named_parameters()} - {name for name, _ in small("spade").named_parameters()}
    assert biases == {"entry.bias", *(f"blocks.{block}.convolutions.{place}.bias" for block in range(5) for place in (0, 1))}


def test_spade_may_begin_with_a_map_made_of_noise():
    x, network = drawn(2, 3, 32, 32), small("spade", start=[4, 4], noise_channels=5).eval()
    noise = drawn(2, 5)
    assert network.entry.weight.shape == (8 * 4 * 16, 5)
    assert not torch.equal(network(x, noise=noise), network(x, noise=noise.flip(0)))
    assert network.radius is None
    assert network(drawn(2, 3, 24, 40), noise=noise).shape == (2, 3, 24, 40)
    with pytest.raises(ConfigError, match="does not fit"):
        network(x)
    with pytest.raises(ConfigError, match="start would have no effect"):
        small("spade", start=[4, 4])
    with pytest.raises(ConfigError, match="'label' do not go together"):
        small("spade", start=[4, 4], noise_channels=8, conditions={"style": 8, "label": 2})


def test_the_map_that_spade_begins_with_may_be_read_off_a_reference():
    network = small("spade", start=[4, 4], noise_channels=5, reference_side=32, conditions={"style": 5}).eval()
    x, noise, reference = drawn(1, 3, 32, 32), drawn(1, 5), drawn(1, 3, 32, 32)
    assert all(norm.project is None for norm in network.modules() if isinstance(norm, LabelNorm))
    looks = [network(x, {"style": given}, noise) for given in (reference, -reference, 0 * reference)]
    assert not torch.equal(looks[0], looks[1])
    assert torch.equal(looks[2], network(x, noise=noise))  # a reference of zeros is none
    code = network.steering.style.distribution(reference)[0]
    torch.testing.assert_close(network(x, {"style": code}, noise), looks[0])
    larger = small("spade", noise_channels=5, reference_side=64, conditions={"style": 5})
    assert (larger.steering.shapes["style"], len(larger.steering.style.layers)) == ((3, 64, 64), 12)
    with pytest.raises(ConfigError, match="reference_side would have no effect"):
        small("spade", reference_side=64)
    with pytest.raises(ConfigError, match="side of references cannot be 48"):
        small("spade", noise_channels=5, reference_side=48, conditions={"style": 5})


@pytest.mark.parametrize("name", ["resnet", "enhancer"])
def test_labels_are_seen_as_ones_and_zeros(name):
    x = drawn(1, 3, 32, 32)
    assert torch.equal(small(name, planes="binary").eval()(2 * x - 1), small(name).eval()(x))


def test_the_padding_and_kernels_of_stargan():
    network = small("resnet", padding="zeros", kernel=4, norm="batch")
    shapes = [tuple(layer.weight.shape[2:]) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert shapes == [(7, 7), (4, 4), (4, 4), *[(3, 3)] * 4, (4, 4), (4, 4), (7, 7)]
    assert not any(isinstance(layer, nn.ReflectionPad2d) for layer in network.modules())
    with pytest.raises(ConfigError, match="kernel=4 would have no effect"):
        small("resnet", kernel=4, antialias=True)
    small("resnet", padding="zeros", conditions={"label": 2})  # which mirrored, the instance norm would subtract


def test_a_unet_may_see_noise_at_every_level():
    at = {"noise_channels": 3, "depth": 5, "width": 4, "source_channels": 3, "target_channels": 3}
    torch.manual_seed(0)
    network = build("unet", {**at, "planes_at": "levels", "conditions": {"image": 2}}).eval()
    assert [module.in_channels for module in network.modules() if isinstance(module, L.Halving)] == [8, 7, 11, 19, 35]
    x, noise = drawn(2, 3, 32, 32), drawn(2, 3)
    with torch.no_grad():
        network.encoder[0].weight[:, 3:].zero_()  # the outermost level does not see it, so the others have to
    assert not torch.equal(network(x, noise=noise), network(x, noise=noise.flip(0)))
    with pytest.raises(ConfigError, match="planes_at=levels would have no effect"):
        build("unet", {**at, "noise_channels": 0, "planes_at": "levels"})
    assert build("unet", {**at, "bias": True}).encoder[1][1].bias is not None


@pytest.mark.parametrize("name", ["resnet", "enhancer", "spade"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 56), (72, 24)])
def test_any_aspect(name, height, width):
    network = small(name).eval()
    assert network(drawn(1, 3, height, width)).shape == (1, 3, height, width)
    assert network.size_multiple in (4, 8)


# --- critics ----------------------------------------------------------------------------------------------------------------------


def test_every_scale_judges_a_smaller_copy():
    critic = small("multiscale", scales=3, layers=1, source=2, conditions={"map": 2, "label": 3}).eval()
    x, y, label, regions = drawn(2, 2, 37, 64), drawn(2, 3, 37, 64), torch.eye(3)[:2], drawn(2, 2, 37, 64, seed=3)
    logits, features, guesses = critic(x, y, {"label": label, "map": regions})
    assert len(logits) == len(features) == 3
    assert guesses == {}
    for scale, judge in enumerate(critic.critics):
        smaller = []
        for pictures in (x, y, regions):
            for _ in range(scale):
                padded = F.pad(torch.cat([pictures, torch.ones_like(pictures)]), (1, 1, 1, 1))
                total, number = padded.unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5)).chunk(2)
                pictures = total / number
            smaller.append(pictures)
        expected = judge(smaller[0], smaller[1], {"label": label, "map": smaller[2]})
        torch.testing.assert_close(logits[scale], expected.logits[0], atol=1e-5, rtol=1e-5)
        for mine, theirs in zip(features[scale], expected.features[0], strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("scales", "layers"), [(1, 2), (2, 2), (3, 1)])
def test_smallest_picture_of_all_scales(scales, layers):
    critic = small("multiscale", scales=scales, layers=layers).eval()
    least = drawn(1, 3, critic.min_size, critic.min_size)
    assert critic(least, least).logits[-1].shape[2:] == (1, 1)
    with pytest.raises(ConfigError, match="too small"):
        critic(least[:, :, 1:], least[:, :, 1:])


def test_a_critic_of_candidates_alone_at_every_scale():
    critic, y = small("multiscale", source=0).eval(), drawn(1, 3, 32, 32)
    assert torch.equal(critic(y, y).logits[1], critic(torch.zeros(1, 0, 32, 32), y).logits[1])


def test_scales_guess_together():
    critic, y = small("multiscale", conditions={"label": 3}, conditioning="classifier").eval(), drawn(2, 3, 32, 32)
    guesses = critic(y, y).guesses["label"]
    each = critic.critics[0](y, y).guesses["label"], critic.critics[1](L.halved(y), L.halved(y)).guesses["label"]
    torch.testing.assert_close(guesses, (each[0] + each[1]) / 2)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 50), (1, 3)])
def test_a_segmenting_critic_names_the_label_of_every_pixel(height, width):
    critic, y = small("segmenting", source=4).eval(), drawn(2, 3, height, width)
    (verdict,), _, guesses = critic(drawn(2, 4, height, width), y)
    segments = guesses["segments"].detach().double().numpy()
    assert segments.shape == (2, 5, height, width)
    expected = np.log(np.exp(segments[:, :4]).sum(1, keepdims=True)) - segments[:, 4:]
    np.testing.assert_allclose(verdict.detach(), expected, atol=1e-5)


def test_a_segmenting_critic_sees_the_whole_picture():
    critic, y = small("segmenting").eval(), drawn(1, 3, 64, 64).requires_grad_()
    critic(y.detach(), y).logits[0][0, 0, 0, 0].backward()
    assert (y.grad[0].abs().sum(0) > 0).float().mean() > 0.2  # deep
    assert y.grad[0, :, 0, 0].abs().sum() > 10 * y.grad[0, :, 20, 20].abs().sum()  # and at the place


@pytest.mark.parametrize("options", [{"conditions": {"map": 3}}, {"conditions": {"label": 3}}, {"conditioning": "classifier"}])
def test_a_segmenting_critic_takes_no_conditions(options):
    with pytest.raises(ConfigError, match="takes no conditions"):
        small("segmenting", **options)


def test_a_segmenting_critic_needs_labels():
    with pytest.raises(ConfigError, match="source_channels"):
        small("segmenting", source=0)


# --- the residual U-shape ---------------------------------------------------------------------------------------------------------------


def loud(name, **options):
    """With blocks that do something, which they learn only."""
    network = small(name, **options)
    initialize(network)
    wake(network)
    return network


def test_the_residual_u_shape_begins_as_an_even_grey_and_its_blocks_as_nothing():
    generator, critic = small("residual_unet"), small("residual")
    for network in (generator, critic):
        initialize(network)
    x = drawn(2, 3, 32, 32)
    assert not generator(x).any()
    block = generator.middle[0]
    maps = drawn(2, 16, 8, 8)
    assert torch.equal(block(maps), maps)
    assert critic(x, x).logits[0].std() > 0.01


def test_the_residual_u_shape_keeps_the_scale_on_its_way():
    generator = small("residual_unet", width=48, halvings=5)
    initialize(generator)
    sizes: dict[str, float] = {}
    for name, module in generator.named_modules():
        if name.count(".") == 1 and name.startswith(("down", "narrow", "up")):
            module.register_forward_hook(lambda _, __, maps, name=name: sizes.__setitem__(name, maps.std().item()))
    generator(drawn(2, 3, 64, 64))
    assert len(sizes) == 5 + 5 + 4
    assert max(sizes.values()) < 3 * min(sizes.values()), sizes


def test_equal_rates_throw_the_output_about_less():
    """A few steps on L1 at the rate of ``auto``: with one rate for all layers an error of more than twice the first one is seen."""

    def worst(*, equal):
        generator = small("residual_unet", width=48, halvings=5)
        initialize(generator)
        shares = generator.rates if equal else {}
        layers = {name: layer for name, layer in generator.named_modules() if isinstance(layer, nn.Conv2d)}
        assert {id(p) for layer in layers.values() for p in layer.parameters()} == {id(p) for p in generator.parameters()}
        groups = [{"params": list(layer.parameters()), "lr": 1e-3 * shares.get(name, 1.0)} for name, layer in layers.items()]
        optimizer, errors = torch.optim.Adam(groups, betas=(0.5, 0.99)), []
        for number in range(6):
            source = F.interpolate(drawn(2, 3, 8, 8, seed=number).sign(), size=64, mode="nearest")
            target = source.mean(1, keepdim=True) / 2 + F.interpolate(drawn(2, 3, 8, 8, seed=number + 50), size=64, mode="bilinear") / 4
            loss = F.l1_loss(generator(source), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            errors.append(loss.item())
        return max(errors) / errors[0] - 1

    assert worst(equal=False) > 1
    assert worst(equal=True) < worst(equal=False) / 2


def test_fine_detail_is_what_a_low_pass_loses():
    even = torch.full((1, 2, 9, 14), 0.3)
    assert L.fine_detail(even).abs().max() < 1e-6
    ramp = torch.linspace(-1, 1, 32).view(1, 1, 1, 32).repeat(1, 1, 32, 1)
    assert L.fine_detail(ramp)[..., 4:-4].abs().max() < 1e-5
    stripes = torch.tensor([1.0, -1.0]).repeat(16).view(1, 1, 1, 32).repeat(1, 1, 32, 1)
    assert torch.allclose(L.fine_detail(stripes)[..., 4:-4], stripes[..., 4:-4], atol=1e-5)


@pytest.mark.parametrize("side", [32, 33])
def test_a_critic_that_looks_at_fine_detail_tells_it_four_times_as_well(side):
    stripes = torch.tensor([0.1, -0.1]).repeat(17)[:side].view(1, 1, 1, side).repeat(1, 3, side, 1)
    plain, keen = small("residual"), small("residual", detail=4.0)
    maps = keen.stacked(torch.zeros(1, 3, side, side), stripes, None)[0]
    assert maps.shape[1] == plain.stacked(torch.zeros(1, 3, side, side), stripes, None)[0].shape[1] + 3 == 9
    assert maps[0, 6:, 4:-4, 4:-4].abs().mean().item() == pytest.approx(0.4, rel=1e-3)
    assert keen(torch.zeros(1, 3, side, side), stripes).logits[0].isfinite().all()


@pytest.mark.parametrize("name", ["residual_unet", "residual"])
def test_no_picture_depends_on_another(name):
    network = loud(name)
    first, second = drawn(1, 3, 32, 32), drawn(1, 3, 32, 32, seed=2)
    both = torch.cat([first, second])
    alone, together = (network(x) if name == "residual_unet" else network(x, x).logits[0] for x in (first, both))
    assert torch.allclose(alone, together[:1], atol=1e-4)


def test_the_residual_u_shape_doubles_without_a_grid():
    """A step of its last doubling is a ramp, and an even map stays even."""
    generator = loud("residual_unet")
    even = generator.doubling(torch.ones(1, 2, 8, 8))
    assert torch.equal(even, torch.ones_like(even))
    ramp = generator.doubling(torch.arange(8.0).view(1, 1, 1, 8).repeat(1, 1, 8, 1))[0, 0, 3]
    assert ramp[2:-2].diff().std() < 1e-6


@pytest.mark.parametrize(("halvings", "blocks", "middle"), [(1, 1, 1), (2, 1, 1), (2, 2, 0), (3, 1, 1)])
def test_how_far_a_pixel_acts_in_the_residual_u_shape(halvings, blocks, middle):
    generator = loud("residual_unet", source=1, target=1, halvings=halvings, blocks=blocks, middle=middle).double()
    side, far = 16 * 2**halvings, 0
    still = torch.zeros(1, 1, side, side, dtype=torch.double)
    for place in range(side // 2, side // 2 + 2**halvings):
        moved = still.clone()
        moved[0, 0, place, place] = 1
        rows = (generator(moved) - generator(still))[0, 0].abs().amax(1).nonzero().flatten()
        far = max(far, int((rows - place).abs().max()))
    assert far <= generator.radius
    assert far > generator.radius / 2
