"""What networks cost: counts against formulas, torch's own counter, the published figures, and the memory that torch's profiler sees."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pixloom.config import override
from pixloom.data.batch import Batch
from pixloom.methods import build_method
from pixloom.nets import GENERATORS, build
from pixloom.nets.cost import critic_cost, generator_cost, generator_inputs, inference_bytes, network_cost, step_cost
from pixloom.recipes import recipe
from pixloom.tasks import build_task
from pixloom.training import counting, preflight
from pixloom.training.counting import counted, step_of
from pixloom.training.learner import frozen, weighted_sum
from pixloom.training.plan import complete
from tiny import tiny_config, write_pairs

SMALL = {
    "encoder_decoder": {"width": 4},
    "unet": {"depth": 5, "width": 4, "dropout": 0.0},
    "resnet": {"blocks": 2, "width": 4},
    "shuffle": {"blocks": 2, "width": 4},
    "enhancer": {"halvings": 2, "blocks": 1, "local_blocks": 1, "width": 4},
    "spade": {"levels": 3, "width": 4, "hidden": 8},
    "residual_unet": {"halvings": 2, "width": 4},
    "rrdb": {"blocks": 1, "width": 4, "growth": 2},
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
    "stargan2": {"width": 4, "halvings": 2, "hidden": 8, "conditions": {"label": 2}},
    "ugatit": {"width": 4, "blocks": 1},
    "stargan": {"width": 4, "layers": 3, "conditions": {"label": 2}},
    "domains": {"width": 4, "halvings": 2, "conditions": {"label": 2}},
    "attention": {"width": 4, "local_layers": 3, "global_layers": 4},
}
GIGA, MIB = 10**9, 2**20
ROOT = Path(__file__).resolve().parents[1]


def script(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


scaling = script(ROOT / "benchmarks" / "scaling_paper.py")


def on_paper(name, *, size, source=3, target=3, **options):
    with torch.device("meta"):
        return build(name, options, source_channels=source, target_channels=target, size=size)


def cost_of(network, *, size, batch=1):
    return (generator_cost if hasattr(network, "size_multiple") else critic_cost)(network, size=size, batch=batch)


# --- multiply-adds ------------------------------------------------------------------------------------------------------------------


def macs(layer, shape):
    return network_cost(layer, [shape]).macs


def test_a_convolution_counts_its_output_positions():
    assert macs(nn.Conv2d(6, 10, 3, stride=2, padding=1, bias=False), (2, 6, 9, 7)) == 2 * (5 * 4) * 9 * 6 * 10
    assert macs(nn.Conv2d(6, 10, 3, groups=2), (2, 6, 9, 7)) == 2 * (7 * 5) * 9 * 3 * 10


def test_a_transposed_convolution_counts_its_input_positions():
    assert macs(nn.ConvTranspose2d(6, 10, 4, 2, 1), (2, 6, 9, 7)) == 2 * (9 * 7) * 16 * 6 * 10
    assert macs(nn.ConvTranspose2d(6, 10, 3, 2, 1, 1, groups=2), (2, 6, 9, 7)) == 2 * (9 * 7) * 9 * 6 * 5


def test_matrix_products_are_counted_wherever_they_are_made():
    class Attention(nn.Module):
        def forward(self, maps):
            return torch.softmax(maps @ maps.transpose(1, 2), -1) @ maps

    assert macs(nn.Linear(7, 5), (3, 7)) == 3 * 7 * 5
    assert macs(nn.Linear(7, 5, bias=False), (3, 7)) == 3 * 7 * 5
    assert macs(Attention(), (2, 11, 5)) == 2 * 2 * 11 * 11 * 5


def test_products_that_are_not_counted_are_an_error():
    class Fused(nn.Module):
        def forward(self, maps):
            return torch.ops.aten._scaled_dot_product_efficient_attention(maps, maps, maps, None, False)

    with pytest.raises(NotImplementedError, match="are not counted yet"):
        network_cost(Fused(), [(1, 1, 4, 8)])


# By hand, per pixel of the picture, for a width w: a 4x4 convolution with stride 2 makes 16 / 4 products for every pixel that comes in.


def encoder_decoder_macs(pixels, *, width, channels):
    return pixels * (6 * width**2 + 6 * width**2 + 4 * width * channels)


def unet_macs(pixels, *, width, depth, source, target):
    outer = 4 * width * source + 8 * width * target + 6 * width**2 + 12 * width**2
    inner = sum(1024 * width**2 / 4**level * (2 if level == depth else 3) for level in range(5, depth + 1))
    return pixels * (outer + inner)


def resnet_macs(pixels, *, width, blocks, channels):
    return pixels * (18 * width**2 * (1 + blocks) + 49 * width * channels)


def patch_macs(size, *, width, channels):
    return size**2 * (4 * width * channels + 4 * width**2) + 512 * width**2 * (size // 8 - 1) ** 2 + 128 * width * (size // 8 - 2) ** 2


def test_whole_networks_by_hand():
    assert cost_of(on_paper("encoder_decoder", size=64), size=64).macs == encoder_decoder_macs(64**2, width=64, channels=6)
    assert cost_of(on_paper("resnet", size=64, blocks=6, target=2), size=64).macs == resnet_macs(64**2, width=64, blocks=6, channels=5)
    for size in (64, 256):
        assert cost_of(on_paper("patch", size=size, source=1), size=size).macs == patch_macs(size, width=64, channels=4)
    assert cost_of(on_paper("pixel", size=32, width=8), size=32).macs == 32**2 * (6 * 8 + 8 * 16 + 16)
    assert cost_of(on_paper("image", size=64), size=64).macs == 64**2 * (4 * 64 * 6 + 6 * 64**2) + 512 * 4 * 4


def test_the_unet_by_hand():
    """But for the innermost pair of layers, which leave out taps that meet nothing but padding."""
    counted = cost_of(on_paper("unet", size=256, depth=8), size=256).macs
    assert counted == pytest.approx(unet_macs(256**2, width=64, depth=8, source=3, target=3), rel=2e-3)


def weights_of(network):
    return sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)


def test_parameters_by_hand():
    """The formulas of docs/scaling.md, without biases and norms."""
    w = 16
    assert weights_of(on_paper("encoder_decoder", size=32, width=w, source=1)) == 16 * (84 * w**2 + w * 4)
    assert weights_of(on_paper("unet", size=256, width=w, depth=8, source=1)) == 16 * ((192 * 8 - 706) * w**2 + w * (1 + 2 * 3))
    assert weights_of(on_paper("resnet", size=32, width=w, blocks=4, source=1)) == (180 + 288 * 4) * w**2 + 49 * w * 4
    assert weights_of(on_paper("patch", size=32, width=w, source=1)) == 16 * (42 * w**2 + w * 4 + 8 * w)
    assert weights_of(on_paper("pixel", size=32, width=w, source=1)) == 2 * w**2 + w * 4 + 2 * w
    assert weights_of(on_paper("image", size=32, width=w, source=1)) == 16 * (42 * w**2 + w * 4) + w * 32**2 // 32


def test_a_layer_is_counted_under_its_name():
    network = on_paper("encoder_decoder", size=32, width=8, source=1)
    by_name = {layer.name: layer for layer in cost_of(network, size=32).layers}
    assert by_name["encoder.0"].macs == 16 * 16 * 16 * 1 * 8
    assert by_name["decoder.9"].macs == 16 * 16 * 16 * 8 * 3
    assert (by_name["encoder.0"].kind, by_name["encoder.0"].parameters) == ("Conv2d", 16 * 8 + 8)
    assert by_name["encoder.1"].elementwise_bytes == 2 * 4 * 16 * 16 * 8
    assert by_name["encoder.1"].macs == by_name["encoder.0"].elementwise_bytes == 0
    assert sum(layer.parameters for layer in by_name.values()) == cost_of(network, size=32).parameters


@pytest.mark.parametrize("name", SMALL)
def test_torchs_own_counter_agrees_on_every_network(name):
    network = on_paper(name, size=32, **SMALL[name]).to_empty(device="cpu")
    inputs = [torch.zeros(2, 3, 32, 32)] * (1 if name in GENERATORS else 2)
    if network.options.get("noise_channels"):
        inputs += [None, torch.zeros(2, network.options["noise_channels"])]
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    assert 2 * cost_of(network, size=32, batch=2).macs == counter.get_total_flops()


def test_the_published_networks():
    """The figures of docs/scaling.md at 256 px: 12.1, 99.1 and 6.4 GFLOP."""
    assert cost_of(on_paper("unet", size=256, depth=8), size=256).macs / GIGA == pytest.approx(6.05, abs=0.01)
    assert cost_of(on_paper("resnet", size=256), size=256).macs / GIGA == pytest.approx(49.55, abs=0.005)
    assert cost_of(on_paper("patch", size=256), size=256).macs / GIGA == pytest.approx(3.20, abs=0.005)


# --- a step -------------------------------------------------------------------------------------------------------------------------


def first_layer_macs(cost):
    return next(layer.macs for layer in cost.layers if layer.macs)


@pytest.mark.parametrize(
    ("name", "judge"), [("unet", "patch"), ("resnet", "pixel"), ("encoder_decoder", "image"), ("encoder_decoder", None)]
)
def test_the_multiples_of_a_step(name, judge):
    critic = judge and on_paper(judge, size=32, **SMALL[judge])
    cost = step_cost(on_paper(name, size=32, **SMALL[name]), critic, size=32, batch=2)
    wanted = 3 * cost.generator.macs - first_layer_macs(cost.generator)
    if cost.critic is not None:
        wanted += 2 * (3 * cost.critic.macs - first_layer_macs(cost.critic)) + 2 * cost.critic.macs
    assert cost.macs == wanted


def test_the_step_of_pix2pix():
    """87.4 GFLOP at 256 px when the gradients of the pictures are counted, which nobody computes."""
    cost = step_cost(on_paper("unet", size=256, depth=8), on_paper("patch", size=256), size=256)
    pictures = first_layer_macs(cost.generator) + 2 * first_layer_macs(cost.critic)
    assert 2 * (cost.macs + pictures) / GIGA == pytest.approx(87.4, abs=0.05)
    assert 2 * cost.macs / GIGA == pytest.approx(86.9, abs=0.05)


@pytest.mark.parametrize("adversarial", ["non-saturating", "relativistic"])
def test_torchs_own_counter_agrees_on_a_real_step(adversarial):
    config = override(recipe("pix2pix", size=32), {"losses.adversarial": adversarial})
    generator, critic = (on_paper(name, size=32, **SMALL[name]) for name in ("unet", "patch"))
    counted = step_cost(generator, critic, size=32, batch=2, play=step_of(config))
    networks = [network.to_empty(device="cpu") for network in (generator, critic)]
    with FlopCounterMode(display=False) as counter:
        real_step(config, *networks, batch=2, size=32)
    assert 2 * counted.macs == counter.get_total_flops()
    passes = {"non-saturating": 0, "relativistic": 1}[adversarial]
    assert counted.macs == step_cost(generator, critic, size=32, batch=2).macs + passes * counted.critic.macs


def real_step(config, generator, critic, *, batch, size):
    """As the learner plays it, without the optimizers."""
    method = build_method(config, generator=generator, critic=critic, content=build_task(config.task).terms(config.losses))
    pictures = torch.zeros(batch, 3, size, size)
    example = Batch(source=pictures, target=pictures.clone(), ids=("",) * batch)
    outputs = method.translate(example)
    weighted_sum(method.critic_terms(example, outputs.detached()), method.weights).backward()
    with frozen(critic):
        weighted_sum(method.generator_terms(example, outputs), method.weights).backward()


def test_a_gradient_penalty_costs_six_passes_of_the_critic():
    """And keeps about as much as two."""
    generator, critic = on_paper("unet", size=256, width=4, depth=5, dropout=0.0), on_paper("patch", size=256, norm="instance", width=8)
    config = override(recipe("pix2pix", size=256), {"losses.adversarial": "wasserstein"})
    plain, penalised = (step_cost(generator, critic, size=256, play=step_of(each)) for each in (no_penalty(config), config))
    assert penalised.macs - plain.macs == pytest.approx(6 * plain.critic.macs, rel=0.02)
    assert penalised.activation_bytes - plain.activation_bytes == pytest.approx(2 * plain.critic.kept_bytes, rel=0.3)


def no_penalty(config):
    return override(config, {"losses.gradient_penalty_weight": 0.0})


def test_noise_is_an_input():
    with_noise, without = (on_paper("encoder_decoder", size=32, width=8, noise_channels=channels) for channels in (4, 0))
    assert generator_inputs(with_noise, size=32, batch=3) == [(3, 3, 32, 32), None, (3, 4)]
    assert generator_inputs(without, size=32) == [(1, 3, 32, 32), None, None]
    assert cost_of(with_noise, size=32).macs - cost_of(without, size=32).macs == 16 * 16 * 16 * 4 * 8
    assert step_cost(with_noise, None, size=32).macs > step_cost(without, None, size=32).macs


# --- memory -------------------------------------------------------------------------------------------------------------------------


def test_what_is_kept_by_hand():
    """Input and output of the activation, the output of the convolution once for itself and the norm, and its statistics."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Flatten())
    picture, maps, statistics = 4 * 3 * 100, 4 * 8 * 100, 2 * 4 * 8
    assert network_cost(layers, [(1, 3, 10, 10)]).kept_bytes == picture + maps + statistics + maps
    assert network_cost(nn.Sequential(layers[0], nn.ReLU(), nn.Identity()), [(1, 3, 10, 10)]).kept_bytes == picture + maps


def test_what_is_held_in_use_by_hand():
    """Two maps at a time, and what a longer-lived variable holds."""
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU()]
    picture = 4 * 8 * 100
    assert inference_bytes(nn.Sequential(*layers * 3), [(1, 8, 10, 10)]) == 3 * picture
    assert inference_bytes(layers[0], [(1, 8, 10, 10)]) == 2 * picture


def test_state_by_hand():
    generator, critic = (on_paper(name, size=32, **SMALL[name]) for name in ("resnet", "patch"))
    count = [sum(parameter.numel() for parameter in network.parameters()) for network in (generator, critic)]
    assert step_cost(generator, critic, size=32).state_bytes == 16 * sum(count)
    assert step_cost(generator, critic, size=32, averaged=True).state_bytes == 16 * sum(count) + 4 * count[0]
    assert step_cost(generator, None, size=32).state_bytes == 16 * count[0]


@pytest.mark.parametrize("name", GENERATORS)
def test_activations_of_a_step_are_those_of_its_passes(name):
    """S_G + 2 S_D, and what comes and goes in between: that is relatively more with few blocks or wide layers at the full size."""
    options = {"unet": {"depth": 5, "dropout": 0.0}, "stargan2": {"conditions": {"label": 2}}}.get(name, {})
    critic = on_paper("patch", size=256, width=8)
    cost = step_cost(on_paper(name, size=256, width=8, **options), critic, size=256, batch=2)
    assert cost.activation_bytes == pytest.approx(
        cost.generator.kept_bytes + 2 * cost.critic.kept_bytes,
        rel={"shuffle": 0.15, "spade": 0.2, "compact": 0.2, "srresnet": 0.12, "srgan": 0.12}.get(name, 0.08),
    )
    assert cost.memory_bytes == cost.state_bytes + cost.activation_bytes


def profiled_peak_bytes(run):
    """The most that torch's profiler sees allocated at one time on the CPU, scratch space included."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = peak = 0
    for event in sorted(
        (event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def test_the_profiler_sees_as_much_memory():
    """And half as much again at most, for the scratch space of convolutions."""
    generator, critic = on_paper("unet", size=128, depth=5, width=8, dropout=0.0), on_paper("patch", size=128, width=8)
    networks = [network.to_empty(device="cpu") for network in (generator, critic)]
    counted = step_cost(generator, critic, size=128, batch=2).activation_bytes
    seen = profiled_peak_bytes(lambda: real_step(recipe("pix2pix", size=128), *networks, batch=2, size=128))
    assert 0.98 * counted < seen < 1.5 * counted
    counted = inference_bytes(generator, generator_inputs(generator, size=128, batch=2))
    with torch.no_grad():
        seen = profiled_peak_bytes(lambda: networks[0].eval()(torch.zeros(2, 3, 128, 128)))
    assert 0.98 * counted < seen < 1.5 * counted


def test_counting_leaves_no_trace():
    network = build("unet", SMALL["unet"] | {"dropout": 0.5, "depth": 6}, source_channels=3, target_channels=3, size=64)
    critic = build("patch", SMALL["patch"], source_channels=3, target_channels=3, size=64)
    network.eval().requires_grad_(False)
    state, numbers = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    step_cost(network, critic, size=64)
    inference_bytes(network, generator_inputs(network, size=64))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert not any(module.training or module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())


# --- the plan -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path):
    return complete(tiny_config(write_pairs(tmp_path / "pairs"), training__batch_size=2))


def counted_of(plan, *, processes=1, **settings):
    return counted(override(plan.config, settings), channels=plan.network_channels, processes=processes)


def test_the_plan_is_counted_as_it_will_be_played(plan):
    counted = counted_of(plan)
    assert counted.batch == 2
    assert counted.generator.macs == generator_cost(on_paper_generator(plan), size=16, batch=2).macs
    assert counted_of(plan, processes=2).macs * 2 == counted.macs
    regression = counted_of(complete(tiny_config(plan.listing.root, name="regression")))
    assert regression.critic is None
    assert regression.macs == 3 * regression.generator.macs - first_layer_macs(regression.generator)


def on_paper_generator(plan):
    config = plan.config.generator
    return on_paper(config.name, size=16, source=plan.network_channels[0], target=plan.network_channels[1], **config.options)


def test_settings_of_a_step_act_on_its_count(plan):
    plain = counted_of(plan)
    assert counted_of(plan, **{"training.ema_halflife_images": 100.0}).state_bytes == plain.state_bytes + 4 * plain.generator.parameters
    assert counted_of(plan, **{"losses.adversarial": "relativistic"}).macs == plain.macs + plain.critic.macs
    in_parts = counted_of(plan, **{"compute.accumulate": 2})
    assert in_parts.macs == plain.macs + plain.generator.macs
    assert in_parts.activation_bytes < plain.activation_bytes
    anew = counted_of(plan, **{"compute.recompute_activations": True})
    assert plain.macs < anew.macs < plain.macs + plain.generator.macs + 3 * plain.critic.macs
    assert anew.generator.kept_bytes == plain.generator.kept_bytes
    assert anew.activation_bytes < plain.activation_bytes


def test_the_lines_before_a_run(plan):
    cost = preflight.Cost(2_500_000, 30_000, {32: 0.25}, 0.0, 3 * 2**30, 2**31, step=counted_of(plan))
    lines = preflight.describe(plan, cost)
    macs_of = [f"{network.macs / 2 / GIGA:.3g}" for network in (cost.step.generator, cost.step.critic)]
    assert f"generator unet 2.5 M parameters, {macs_of[0]} GMAC per picture" in lines
    assert f"critic patch 0.03 M parameters, {macs_of[1]} GMAC per picture" in lines
    (step,) = [line for line in lines if "per step of 2" in line]
    assert step.startswith(f"0.50 s per step of 2 for {cost.step.macs / GIGA:.3g} GMAC, peak memory 3.0 GiB (networks 0 MiB, activations ")
    without = preflight.describe(plan, replace(cost, step=None))
    assert "0.50 s per step of 2, peak memory 3.0 GiB, disk up to 2.0 GiB" in without
    assert "generator unet 2.5 M parameters" in without


def test_what_is_not_counted_does_not_stop_a_run(plan, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(counting, "step_cost", refuse)
    assert counted_of(plan) is None
    tree = preflight.facts(plan, preflight.Cost(1, 1, {32: 1.0}, 0.0, None, 1))
    assert tree["generator"]["GMAC per picture"] is None
    assert tree["step"]["GMAC"] is None


def test_the_cost_is_recorded_for_the_report(plan, tmp_path):
    cost = preflight.Cost(2_500_000, 30_000, {32: 0.25}, 0.0, 3 * 2**30, 2**31, step=counted_of(plan, processes=2))
    preflight.record(plan, cost, folder=tmp_path)
    tree = json.loads((tmp_path / "cost.json").read_text(encoding="utf-8"))
    assert tree["generator"] == {"name": "unet", "parameters": 2_500_000, "GMAC per picture": cost.step.generator.macs / GIGA}
    assert tree["step"] == {"pictures": 2, "GMAC": 2 * cost.step.macs / GIGA, "seconds": 0.5}
    memory = tree["memory of a process in GiB"]
    assert memory["together, by count"] == pytest.approx(memory["weights, gradients, moments"] + memory["activations"])
    assert memory["measured peak, with all libraries"] == 3.0


# --- docs/scaling.md ----------------------------------------------------------------------------------------------------------------


def test_the_tables_on_paper_are_those_of_the_code(monkeypatch):
    """Where one is not: python benchmarks/scaling_paper.py --write."""
    document = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    for name in ("critics", "one card", "measured", "cards", "pictures", "checkpoints"):
        assert scaling.BLOCKS[name]() in document, name
    monkeypatch.setattr(scaling, "SIZES", (128, 256))  # of the two long ones a part
    rows = scaling.table(scaling.generators()).splitlines()
    monkeypatch.setattr(scaling, "PAIRED", ["encoder_decoder"])
    for row in rows + scaling.table(scaling.savings()).splitlines():
        assert f"\n{row}\n" in document


def test_blocks_are_made_anew_and_the_rest_is_left(monkeypatch):
    monkeypatch.setattr(scaling, "BLOCKS", {"one": lambda: "new 1", "two": lambda: "new 2"})
    begin, end = "<!-- {}: made by benchmarks/scaling_paper.py -->", "<!-- end of {} -->"
    document = f"a\n{begin.format('one')}\n\nold\n\n{end.format('one')}\nb\n{begin.format('two')}\n{end.format('two')}\nc\n"
    made = scaling.filled(document)
    assert made == document.replace("old", "new 1").replace(f"-->\n{end.format('two')}", f"-->\n\nnew 2\n\n{end.format('two')}")
    assert scaling.filled(made) == made


def test_a_block_without_a_place_is_an_error():
    with pytest.raises(ValueError, match="generators: made by"):
        scaling.filled("# Nothing here")


def test_measured_figures_stand_beside_the_counted_ones(tmp_path):
    path = tmp_path / "scaling.json"
    assert "Not measured yet" in scaling.measured(path)
    row = {"network": "unet", "size": 64, "batch": 1, "seconds_per_step": 0.25, "step_peak_mib": 700.0}
    rows = [row | {"seconds_per_picture": None, "picture_peak_mib": None}]
    machine = {"processor": "a processor", "cores": 2, "versions": {"torch": "2.13.0"}}
    record = {"rows": rows, "machine": machine, "commit": "abc", "date": "2026-11-22T10:00:00+00:00", "notes": ["A note."]}
    path.write_text(json.dumps(record), encoding="utf-8")
    step = scaling.counted("unet", size=64)
    text = scaling.measured(path)
    macs, memory = step.macs / GIGA / 0.25, step.memory_bytes / MIB
    assert f"| unet | 64 | 1 | 0.25 | {macs:.3g} | 700 | {memory:.0f} |  |  |" in text
    assert text.endswith("a processor, 2 cores, torch 2.13.0, commit abc, 2026-11-22.\n\nA note.")


def test_the_load_of_a_cluster():
    given = scaling.Assumptions(cards=8, tflops=10, link_gbytes=10, reduction_us=100, launch_ms=1)
    step = scaling.counted("unet", size=256)
    parameters = step.generator.parameters + step.critic.parameters
    alone, all_of_them = (scaling.load_of(given, share=2, cards=cards) for cards in (1, 8))
    assert alone.step_ms == alone.compute_ms == pytest.approx(2 * 2 * step.macs / 1e10)
    assert all_of_them.gradients_ms == pytest.approx(2 * 7 / 8 * 4 * parameters / 1e7)
    assert all_of_them.statistics_ms == pytest.approx(88 * 0.1)  # 13 norms in the generator, 3 in the critic, 4 (13 + 3 x 3) reductions
    assert all_of_them.step_ms == all_of_them.compute_ms + 8.8 + max(0, all_of_them.gradients_ms - 2 / 3 * all_of_them.compute_ms)
    assert scaling.load_of(scaling.CLUSTERS["fast cards, one box"], share=1, cards=1).compute_ms == 10  # kernels must be launched
