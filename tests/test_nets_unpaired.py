"""The networks of StarGAN v2 and U-GAT-IT, and StarGAN's critic: styles by domain, attention, adaptive layer-instance norm."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pixloom.config import InferenceConfig, TaskConfig
from pixloom.errors import ConfigError
from pixloom.modelfile import ModelDescription, describe_generator, load_model, save_model
from pixloom.nets import build
from pixloom.nets import layers as L
from pixloom.nets.cost import critic_cost, generator_cost
from pixloom.nets.stargan2 import shares
from pixloom.nets.ugatit import AdaLin, LayerInstanceNorm, Mixed

SMALL = {
    "stargan2": {
        "width": 4,
        "max_width": 12,
        "halvings": 2,
        "code": 5,
        "noise_channels": 3,
        "hidden": 6,
        "conditions": {"label": 3, "style": 5},
    },
    "ugatit": {"width": 4, "blocks": 2},
    "stargan": {"size": 24, "layers": 2, "width": 4, "conditions": {"label": 3}},
    "domains": {"width": 4, "max_width": 12, "halvings": 3, "conditions": {"label": 3}},
    "attention": {"width": 4, "local_layers": 3, "global_layers": 4},
}
LABEL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
OTHER = LABEL.flip(0)


def small(name, **options):
    """A small network; StarGAN v2's with He's weights, as published: of smaller ones eight layers leave nothing of the noise."""
    torch.manual_seed(0)
    network = build(name, {**SMALL[name], **options}, source_channels=3, target_channels=3)
    for module in network.modules() if name in ("stargan2", "domains") else ():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return network


def drawn(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def pictures(height=32, width=32, *, seed=1):
    return drawn(2, 3, height, width, seed=seed)


def called(network, height=32, width=32):
    """What comes out with everything that the network takes."""
    source = pictures(height, width)
    if network.options.get("noise_channels"):
        return network(source, {"label": LABEL}, drawn(2, 3))
    condition = {"label": LABEL} if network.options["conditions"] else None
    return network(source) if hasattr(network, "size_multiple") else network(source, source.flip(0), condition)


def numbers_of(output):
    """All that a loss acts on, as one row of numbers."""
    return (
        output.flatten()
        if isinstance(output, torch.Tensor)
        else torch.cat([v.flatten() for v in (*output.logits, *output.guesses.values())])
    )


def gradients(network, *results):
    loss = sum((result * torch.randn_like(result)).sum() for result in results)
    loss.backward()
    return {key: parameter.grad for key, parameter in network.named_parameters()}


def cancelled(key):
    """Biases that an instance norm subtracts; their gradient is zero but for rounding."""
    return ".residual.2.bias" in key or ".residual.3.bias" in key


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- all of them -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_options_are_the_arguments_and_come_back(name, tmp_path):
    network = small(name)
    assert list(network.options) == list(inspect.signature(type(network)).parameters)
    assert network.options == network.options | SMALL[name]
    called(network)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    again = build(name, network.options)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(numbers_of(called(again.eval())), numbers_of(called(network.eval())))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 32), (20, 12)])
@pytest.mark.parametrize("name", ["stargan2", "ugatit"])
def test_generators_take_any_multiple(name, height, width):
    network = small(name)
    assert (network.size_multiple, network.min_size, network.radius) == (4, 8, None)
    output = called(network, height, width)
    assert output.shape == (2, 3, height, width)
    assert output.abs().max() <= 1


SMALLEST = [("stargan", {}, 24), ("domains", {}, 8), ("domains", {"whole": True}, 32), ("attention", {}, 12)]


@pytest.mark.parametrize(("name", "options", "least"), SMALLEST)
def test_critics_take_any_size_from_their_smallest(name, options, least):
    critic = small(name, **options)
    assert critic.min_size == least
    for height, width in ((least, least), (least, 3 * least), (least + 5, least + 3)):
        assert numbers_of(called(critic, height, width)).isfinite().all()
    with pytest.raises(ConfigError, match="too small for the critic") as caught:
        called(critic, least, least - 1)
    assert f"{least} x {least - 1} pixels" in caught.value.why


@pytest.mark.parametrize("name", SMALL)
def test_a_condition_is_never_ignored(name):
    network, x = small(name), pictures()
    arguments = (x, {"text": torch.zeros(2, 3)}, drawn(2, 3)) if name == "stargan2" else (x, {"text": torch.zeros(2, 3)})
    with pytest.raises(ConfigError, match="no condition 'text'"):
        network(*(arguments if hasattr(network, "size_multiple") else (x, *arguments)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stargan2", {"conditions": {}}, "for domains"),
        ("stargan2", {"conditions": {"style": 5}}, "for domains"),
        ("stargan2", {"conditions": {"label": 3, "map": 2}}, "no use for the condition 'map'"),
        ("stargan2", {"conditions": {"label": 3, "style": 6}}, "'style' has 6 numbers, where the styles of this generator have 5"),
        ("stargan2", {"source_channels": 1}, "as many channels as their sources, not 1 into 3"),
        ("stargan2", {"noise_channels": 0}, "noise_channels"),
        ("domains", {"conditions": {}}, "for domains"),
        ("domains", {"conditions": {"label": 3, "text": 2}}, "no use for the condition 'text'"),
        ("domains", {"conditioning": "classifier"}, "no conditioning 'classifier'"),
        ("stargan", {"conditions": {}}, "nothing to guess"),
        ("stargan", {"conditions": {"text": 5}}, "nothing to guess"),
        ("stargan", {"layers": 5}, "cannot halve 24 pixels 5 times"),
        ("ugatit", {"conditions": {"label": 3}}, "no use for the condition 'label'"),
        ("ugatit", {"noise_channels": 2}, "no use for the condition 'noise'"),
        ("attention", {"conditions": {"label": 3}}, "no use for the condition 'label'"),
        ("attention", {"global_layers": 2}, "cannot be 2"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, {"source_channels": 3} | SMALL[name] | options, target_channels=3)


@pytest.mark.parametrize("name", ["stargan2", "ugatit"])
def test_a_model_comes_back_as_it_was(name, tmp_path):
    network = small(name)
    conditions = {"label": {"names": ["a", "b", "c"]}, "style": {"code": 5, "channels": 3}} if name == "stargan2" else {}
    described = ModelDescription(
        TaskConfig(name="pair"), describe_generator(name, network), InferenceConfig(), size=32, recipe="test", conditions=conditions
    )
    save_model(tmp_path / "model", generator=network, description=described)
    loaded, _ = load_model(tmp_path / "model")
    assert loaded.options == network.options
    assert torch.equal(called(loaded), called(network.eval()))


def test_torch_compile_sees_them_whole():
    """(A process without type checks.)"""
    code = """
import json, sys, torch
from pixloom.nets import build
for name, options in json.loads(sys.argv[1]).items():
    torch._dynamo.reset()
    network = build(name, options, source_channels=3, target_channels=3)
    x, y = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    if not hasattr(network, "size_multiple"):
        given = [x, y, {"label": torch.rand(2, 3)} if network.options["conditions"] else None]
    elif network.noise_channels:
        given = [x, {"label": torch.rand(2, 3), "style": torch.rand(2, 3, 32, 32)}, torch.rand(2, 3)]
    else:
        given = [x]
    result = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)(*given)
    (result if isinstance(result, torch.Tensor) else result.logits[0]).sum().backward()
"""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code, json.dumps(SMALL)], check=True)


@pytest.mark.parametrize("name", SMALL)
def test_the_cost_is_counted(name):
    with torch.device("meta"):
        network = small(name)
    cost = (generator_cost if hasattr(network, "size_multiple") else critic_cost)(network, size=32)
    assert cost.parameters == count(network)
    assert cost.macs > 0


# --- StarGAN v2 ------------------------------------------------------------------------------------------------------------------------


def test_the_published_sizes():
    """The authors' counts at 256 pixels, with two domains; E and D with and without the 4x4 convolution that a mean stands in for."""
    with torch.device("meta"):
        network = build("stargan2", {"conditions": {"label": 2}}, source_channels=3, target_channels=3)
        critic = build("domains", {"conditions": {"label": 2}}, source_channels=0, target_channels=3)
    assert count(network) - count(network.mapping) - count(network.style) == 33_892_995
    assert count(network.mapping) == 2_438_272
    assert count(critic) == 20_852_290 - (16 * 512 * 512 + 512)
    last_block = 2 * (9 * 512 * 512 + 512)  # the sixth halving, which references of 32 pixels have no room for
    assert count(network.style) == 20_916_928 - (16 * 512 * 512 + 512) - last_block
    with torch.device("meta"):
        whole = build("stargan2", {"conditions": {"label": 2}, "reference_side": 256}, source_channels=3, target_channels=3)
        critic = build("domains", {"conditions": {"label": 2}, "whole": True}, source_channels=0, target_channels=3)
    assert count(whole.style) == 20_916_928
    assert (count(critic), critic.min_size) == (20_852_290, 256)


def test_a_whole_encoder_takes_references_of_its_side_and_larger():
    network = small("stargan2", reference_side=64)
    label = torch.eye(3)[:2]
    assert network.encoded(drawn(2, 3, 64, 64), label).shape == network.encoded(drawn(2, 3, 80, 96), label).shape
    with pytest.raises(ConfigError, match="64 x 64"):
        network.encoded(drawn(2, 3, 32, 32), label)
    with pytest.raises(ConfigError, match="power of two"):
        small("stargan2", reference_side=96)
    with pytest.raises(ConfigError, match="no style encoder"):
        small("stargan2", reference_side=64, references=False)


def test_every_parameter_of_stargan2_learns():
    network, x = small("stargan2"), pictures()
    noise, other = drawn(2, 3), drawn(2, 3, seed=5)
    everywhere = torch.full((2, 3), 1 / 3)
    results = [network(x, {"label": everywhere}, noise), network.encoded(x, everywhere), network.mapped(other, everywhere)]
    for key, gradient in gradients(network, *results).items():
        assert gradient is not None, key
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 1e-6 or cancelled(key), key


def test_only_the_chosen_domain_learns():
    network = small("stargan2")
    found = gradients(network, network.mapped(drawn(2, 3), LABEL[:1].expand(2, -1)))
    assert found["mapping.heads.0.0.weight"].abs().max() > 0
    assert found["mapping.heads.1.0.weight"].abs().max() == 0
    rates = network.rates
    assert {key for key in found if any(key.startswith(name) for name in rates)} == {key for key in found if "mapping" in key}
    assert rates == {"mapping": 0.01}


def test_label_and_noise_change_the_translation():
    network, x, noise = small("stargan2").eval(), pictures(), drawn(2, 3)
    output = network(x, {"label": LABEL}, noise)
    assert torch.equal(output, network(x, {"label": LABEL}, noise))
    for other in (network(x, {"label": OTHER}, noise), network(x, {"label": LABEL}, -noise), network(x, None, noise)):
        assert (output - other).abs().amax((1, 2, 3)).min() > 1e-4
    for wrong in (None, drawn(2, 4), drawn(1, 3)):
        with pytest.raises(ConfigError, match="noise does not fit"):
            network(x, {"label": LABEL}, wrong)


def test_a_style_is_a_code_or_a_picture_of_it():
    network, x, noise = small("stargan2").eval(), pictures(), drawn(2, 3)
    reference = pictures(64, 48, seed=7)
    code = network.encoded(reference, LABEL)
    by_picture = network(x, {"label": LABEL, "style": reference}, noise)
    torch.testing.assert_close(by_picture, network(x, {"label": LABEL, "style": code}, noise))
    torch.testing.assert_close(by_picture, network(x, {"label": LABEL, "style": reference}, -noise))
    assert (by_picture - network(x, {"label": LABEL, "style": reference.flip(0)}, noise)).abs().max() > 1e-4
    assert (by_picture - network(x, {"label": LABEL}, noise)).abs().max() > 1e-4
    mapped = network.mapped(noise, LABEL)
    torch.testing.assert_close(network(x, {"label": LABEL, "style": mapped}, noise), network(x, {"label": LABEL}, noise))


@pytest.mark.parametrize("shape", [(3, 64, 64), (5,)])
def test_a_style_of_zeros_is_none_for_its_example_alone(shape):
    network, x, noise = small("stargan2").eval(), pictures(), drawn(2, 3)
    style = drawn(2, *shape, seed=7)
    whole, without = network(x, {"label": LABEL, "style": style}, noise), network(x, {"label": LABEL}, noise)
    style[0] = 0
    mixed = network(x, {"label": LABEL, "style": style}, noise)
    torch.testing.assert_close(mixed[0], without[0])
    torch.testing.assert_close(mixed[1], whole[1])
    assert (mixed[1] - without[1]).abs().max() > 1e-4


def test_soft_labels_mix_and_no_label_is_all_in_equal_shares():
    network, critic, x, noise = small("stargan2").eval(), small("domains").eval(), pictures(), drawn(2, 3)
    for outputs in (
        lambda label: network.mapped(noise, label),
        lambda label: network.encoded(x, label),
        lambda label: critic(x, x, {"label": label}).logits[0],
    ):
        ends = [outputs(torch.eye(3)[[domain, domain]]) for domain in range(3)]
        torch.testing.assert_close(outputs(torch.tensor([[0.25, 0.75, 0.0]] * 2)), 0.25 * ends[0] + 0.75 * ends[1])
        torch.testing.assert_close(outputs(torch.zeros(2, 3)), sum(ends) / 3)
        assert (ends[0] - ends[1]).abs().max() > 1e-5
    assert torch.equal(shares(LABEL), LABEL)
    torch.testing.assert_close(network(x, {}, noise), network(x, {"label": torch.full((2, 3), 1 / 3)}, noise))
    assert torch.equal(critic(x, x).logits[0], critic(x, x, {"label": torch.zeros(2, 3)}).logits[0])


def test_references_of_any_size_from_the_smallest():
    network = small("stargan2", halvings=4)
    for height, width in ((32, 32), (32, 100), (77, 45)):
        assert network.encoded(pictures(height, width), LABEL).shape == (2, 5)
    with pytest.raises(ConfigError, match="reference pictures are too small") as caught:
        network.encoded(pictures(31, 64), LABEL)
    assert "31 x 64 pixels, where it needs 32 x 32" in caught.value.why


def test_an_export_is_told_what_it_takes():
    assert small("stargan2").steering.shapes == {"label": (3,), "style": (3, 64, 64)}
    assert small("stargan2", conditions={"label": 2}).steering.shapes == {"label": (2,)}


def test_the_blocks_compute_the_formulas():
    network, x = small("stargan2").eval(), drawn(2, 4, 8, 8)
    block = network.encoder[0]
    for module in block.residual:
        if isinstance(module, L.InstanceNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    first, _, one, _, second, _, two = block.residual

    def affine(norm, maps):
        mean, deviation = maps.mean((2, 3), keepdim=True), (maps.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
        return (maps - mean) / deviation * norm.weight[:, None, None] + norm.bias[:, None, None]

    inner = F.avg_pool2d(F.conv2d(F.leaky_relu(affine(first, x), 0.2), one.weight, one.bias, padding=1), 2)
    residual = F.conv2d(F.leaky_relu(affine(second, inner), 0.2), two.weight, two.bias, padding=1)
    expected = (F.avg_pool2d(F.conv2d(x, block.shortcut[0].weight), 2) + residual) / 2**0.5
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_a_critic_of_domains():
    critic, x, y = small("domains"), pictures(), pictures(seed=2)
    (logits,), (features,), guesses = critic(x, y, {"label": LABEL})
    assert (logits.shape, guesses) == ((2, 1), {})
    assert [maps.shape[1:] for maps in features] == [(4, 32, 32), (8, 16, 16), (12, 8, 8), (12, 4, 4)]
    assert torch.equal(critic.head(features[-1])[[0, 1], [0, 2]], logits[:, 0])
    assert torch.equal(critic(x.flip(0), y, {"label": LABEL}).logits[0], logits)  # there are no pairs
    assert (critic(x, y, {"label": OTHER}).logits[0] - logits).abs().max() > 1e-5
    found = gradients(critic, logits)
    assert all(gradient.abs().max() > 1e-7 for gradient in found.values())
    assert found["head.3.weight"].abs().amax(1).count_nonzero() == 2  # the second domain was not asked for


def test_a_whole_critic_of_domains_sees_where_things_are():
    mean, whole = (small("domains", whole=whole) for whole in (False, True))
    x = pictures()
    (logits,), (features,), _ = whole(x, x, {"label": LABEL})
    moved = features[-1].flip(-1)
    torch.testing.assert_close(mean.head(moved), mean.head(features[-1]))
    assert (whole.head(moved) - whole.head(features[-1])).abs().max() > 1e-3
    found = gradients(whole, logits)
    assert all(gradient.abs().max() > 1e-7 for gradient in found.values())


# --- StarGAN ---------------------------------------------------------------------------------------------------------------------------


def test_the_critic_of_stargan():
    critic, x, y = small("stargan"), pictures(24, 24), pictures(24, 24, seed=2)
    (logits,), (features,), guesses = critic(x, y, {"label": LABEL})
    assert [maps.shape[1:] for maps in features] == [(4, 12, 12), (8, 6, 6)]
    assert (logits.shape, guesses["label"].shape) == ((2, 1, 6, 6), (2, 3))
    whole = critic.reading.guesses["label"].weight.flatten(1)
    torch.testing.assert_close(guesses["label"], features[-1].flatten(1) @ whole.t())
    assert torch.equal(critic(x, y, {"label": OTHER}).logits[0], logits)  # it reads labels, and is not told them
    assert (critic(x.flip(0), y).logits[0] - logits).abs().max() > 1e-4
    alone = build("stargan", SMALL["stargan"], source_channels=0, target_channels=3)
    assert torch.equal(alone(x, y).logits[0], alone(x.flip(0), y).logits[0])
    found = gradients(critic, logits, guesses["label"])
    assert all(gradient.abs().max() > 1e-6 for gradient in found.values())


def test_the_critic_of_stargan_reads_attributes_and_is_told_the_rest():
    critic, y = small("stargan", conditions={"label": 3, "attributes": 10, "text": 9}), pictures(24, 24)
    texts = torch.tensor([[1, 2] + [0] * 30, [3, 4] + [0] * 30])
    judged, other = critic(y, y, {"text": texts}), critic(y, y, {"text": texts.flip(0)})
    assert {kind: guess.shape[1] for kind, guess in judged.guesses.items()} == {"label": 3, "attributes": 5}
    assert (judged.logits[0] - other.logits[0]).abs().max() > 1e-5


def test_the_published_size_of_the_critic_of_stargan():
    with torch.device("meta"):
        critic = build("stargan", {"conditions": {"label": 8}}, source_channels=0, target_channels=3, size=128)
    assert count(critic) == 44_786_624
    assert all(layer.negative_slope == 0.01 for layer in critic.modules() if isinstance(layer, nn.LeakyReLU))


# --- U-GAT-IT --------------------------------------------------------------------------------------------------------------------------


def test_every_parameter_of_ugatit_learns():
    network = small("ugatit")
    for key, gradient in gradients(network, *network.judged(pictures())).items():
        assert gradient is not None, key
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 1e-7, key


def test_the_translation_and_what_it_attends_to():
    network, x = small("ugatit").eval(), pictures(32, 48)
    translated, logits = network.judged(x)
    assert torch.equal(translated, network(x))
    assert logits.shape == (2, 2)
    maps = network.encoder(x)
    mean, most = network.focus.classify.weight
    torch.testing.assert_close(logits, torch.stack([maps.mean((2, 3)) @ mean, maps.amax((2, 3)) @ most], 1))
    weighted = torch.cat([maps * mean[:, None, None], maps * most[:, None, None]], 1)
    heat = F.relu(network.focus.merge[0](weighted)).sum(1, keepdim=True)
    seen = network.attention(x)
    assert seen.shape == (2, 1, 8, 12)
    assert torch.equal(seen.amin((1, 2, 3)), torch.zeros(2))
    assert torch.equal(seen.amax((1, 2, 3)), torch.ones(2))
    for ours, theirs in zip(seen, heat, strict=True):
        torch.testing.assert_close(ours, (theirs - theirs.min()) / (theirs.max() - theirs.min()))
    with torch.no_grad():
        network.focus.merge[0].weight.zero_()
    assert not network.attention(x).any()


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.3, 1.0, 1.5])
@pytest.mark.parametrize("training", [True, False])
def test_adalin_is_the_formula_with_rho_clipped(rho, training):
    norm, maps, modulation = AdaLin(4).train(training), drawn(2, 4, 6, 5) * 3 + 1, drawn(2, 8)
    assert norm.mixed.rho.tolist() == pytest.approx([0.9] * 4)
    nn.init.constant_(norm.mixed.rho, rho)
    h = maps.double().numpy()
    instance = (h - h.mean((2, 3), keepdims=True)) / np.sqrt(h.var((2, 3), keepdims=True) + 1e-5)
    layer = (h - h.mean((1, 2, 3), keepdims=True)) / np.sqrt(h.var((1, 2, 3), keepdims=True) + 1e-5)
    clipped = min(max(rho, 0.0), 1.0)
    gamma, beta = (part.double().numpy()[:, :, None, None] for part in modulation.chunk(2, 1))
    expected = gamma * (clipped * instance + (1 - clipped) * layer) + beta
    np.testing.assert_allclose(norm(maps, modulation).detach().numpy(), expected, atol=1e-5)


def test_the_learnt_norm_begins_as_layer_norm():
    maps = drawn(2, 4, 6, 5)
    torch.testing.assert_close(LayerInstanceNorm(4)(maps), F.layer_norm(maps, maps.shape[1:]))


def test_rho_comes_back_from_outside():
    norm, maps = Mixed(4, rho=0.5), drawn(1, 4, 6, 5)
    slope = (F.instance_norm(maps) - F.group_norm(maps, 1)).detach()
    for value, sign, moves in ((1.5, 1, True), (1.5, -1, False), (-0.5, 1, False), (-0.5, -1, True), (0.5, 1, True), (0.5, -1, True)):
        nn.init.constant_(norm.rho, value)
        norm.rho.grad = None
        (sign * slope * norm(maps)).sum().backward()  # a gradient of this sign
        assert (norm.rho.grad.abs() > 1e-3).all() == moves, (value, sign)
        assert moves or not norm.rho.grad.any()


@pytest.mark.parametrize("name", ["ugatit", "stargan2"])
def test_generators_in_training_and_in_use_are_the_same(name):
    network = small(name)
    torch.testing.assert_close(called(network.train()), called(network.eval()))


def test_critics_with_attention():
    critic, x, y = small("attention").eval(), pictures(), pictures(seed=2)
    judgement = critic(x, y)
    assert [logits.shape for logits in judgement.logits] == [(2, 1, 14, 14), (2, 1, 6, 6)]
    assert [[maps.shape[1] for maps in scale] for scale in judgement.features] == [[4, 8], [4, 8, 16]]
    assert {kind: guess.shape for kind, guess in judgement.guesses.items()} == {"cam": (2, 4)}
    assert not torch.equal(critic(x.flip(0), y).logits[0], judgement.logits[0])
    assert not torch.equal(critic(x, y.flip(0)).logits[0], judgement.logits[0])
    found = gradients(critic, *judgement.logits, judgement.guesses["cam"])
    assert all(gradient.abs().max() > 1e-7 for gradient in found.values())


def test_a_critic_with_attention_may_be_alone_and_without_a_source():
    critic = build("attention", {"width": 4, "global_layers": 0}, source_channels=0, target_channels=3).eval()
    assert critic.min_size == 24
    judgement = critic(pictures(), pictures(seed=2))
    assert [logits.shape for logits in judgement.logits] == [(2, 1, 2, 2)]
    assert judgement.guesses["cam"].shape == (2, 2)
    assert torch.equal(critic(pictures(seed=3), pictures(seed=2)).logits[0], critic(pictures(), pictures(seed=2)).logits[0])


def test_the_classifier_of_a_critic_has_spectral_norm_one():
    critic, y = small("attention").eval(), pictures(seed=2)
    before = critic(y, y).guesses["cam"]
    with torch.no_grad():
        for scale in critic.scales:
            scale.focus.classify.weight *= 7
    torch.testing.assert_close(critic(y, y).guesses["cam"], before)


@pytest.mark.parametrize(("layers", "patch"), [(3, 16), (5, 70), (7, 286)])
def test_patches_of_a_critic_with_attention(layers, patch):
    """The attention weighs the maps by fixed numbers, so that they stay local."""
    critic = build("attention", {"width": 1, "local_layers": layers, "global_layers": 0}, source_channels=0, target_channels=1).eval()
    side = -(-2 * patch // 2 ** (layers - 2)) * 2 ** (layers - 2)
    y = drawn(1, 1, side, side).requires_grad_()
    logits = critic(y, y).logits[0]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = y.grad.abs().sum((0, 1)) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == patch
