"""The critics of super-resolution: published sizes, what they see, sizes of pictures, and training by them."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional as F

from pixloom.config import override
from pixloom.errors import ConfigError
from pixloom.nets import build
from pixloom.nets import layers as L
from pixloom.training.api import train
from tiny import tiny_config, write_pairs

SMALL = {"vgg": {"layers": 2, "width": 4, "hidden": 8}, "unet_critic": {"layers": 2, "width": 4}}
ESRGAN = {"layers": 5, "kernel": 4, "side": 4, "hidden": 100}


def small(name, **options):
    torch.manual_seed(0)
    return build(name, {**SMALL[name], **options}, source_channels=3, target_channels=3).eval()


def drawn(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def judged(critic, pictures):
    with torch.no_grad():
        return critic(pictures, pictures).logits[0]


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [("vgg", {}, 5_213_569), ("vgg", ESRGAN, 14_499_401), ("vgg", {**ESRGAN, "layers": 6}, 21_055_049), ("unet_critic", {}, 4_376_897)],
    ids=["SRGAN", "ESRGAN, 128 px", "ESRGAN, 256 px", "Real-ESRGAN"],
)
def test_they_have_the_published_sizes(name, options, parameters):
    """SRGAN's without the biases before its norms, of which it has 1,856."""
    with torch.device("meta"):
        critic = build(name, options, source_channels=0, target_channels=3)
    assert sum(parameter.numel() for parameter in critic.parameters()) == parameters


@pytest.mark.parametrize("name", SMALL)
def test_options_are_the_arguments(name):
    critic = small(name)
    assert list(critic.options) == list(inspect.signature(type(critic)).parameters)
    assert critic.options == critic.options | SMALL[name]


@pytest.mark.parametrize(
    ("name", "options", "least"), [("vgg", {}, 4), ("vgg", {"kernel": 4}, 4), ("vgg", {"kernel": 4, "side": 4}, 16), ("unet_critic", {}, 4)]
)
def test_they_take_any_size_from_their_smallest(name, options, least):
    critic = small(name, **options)
    assert critic.min_size == least
    for height, width in ((least, least), (least, 3 * least), (least + 5, least + 3)):
        assert judged(critic, drawn(2, 3, height, width)).shape == ((2, 1) if name == "vgg" else (2, 1, height, width))
    with pytest.raises(ConfigError, match="too small for the critic"):
        judged(critic, drawn(2, 3, least, least - 1))


def test_maps_of_the_size_that_a_vgg_critic_reads_are_read_as_they_are():
    critic, pictures = small("vgg", kernel=4, side=4), drawn(2, 3, 16, 16)
    maps = critic(pictures, pictures).features[0][-1]
    assert maps.shape[2:] == (4, 4)
    _, _, first, activation, last = critic.head
    torch.testing.assert_close(judged(critic, pictures), last(activation(first(maps.flatten(1)))), rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_they_see_pictures_in_0_to_1(name):
    """So that the zeros around a picture are as the black in it."""
    critic, pictures = small(name), torch.full((1, 3, 8, 8), -1.0)
    first = critic(pictures, pictures).features[0][0]
    assert torch.equal(first, first[..., :1, :1].expand_as(first))
    assert not torch.equal(first, critic(pictures, -pictures).features[0][0])


def test_a_u_net_critic_judges_a_pixel_from_near_and_from_far():
    critic, pictures = small("unet_critic"), drawn(1, 3, 32, 32).requires_grad_()
    critic(pictures.detach(), pictures).logits[0][0, 0, 16, 16].backward()
    seen = pictures.grad[0].abs().sum(0)
    assert seen[16, 16] > 10 * seen[16, 24] > 0


def test_what_a_u_net_critic_adds_on_its_way_up_comes_from_its_way_down():
    critic, pictures = small("unet_critic"), drawn(2, 3, 16, 16)
    *_, half, down, up, _, _, _ = features = critic(pictures, pictures).features[0]
    assert len(features) == 7
    assert half.shape[2:] == up.shape[2:] == (8, 8)
    enlarged = F.interpolate(down, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up, critic.stages[3](enlarged) + half)


def test_only_the_ends_of_a_u_net_critic_have_no_spectral_norm():
    critic = small("unet_critic")
    others = [name for name, module in critic.named_modules() if type(module) is torch.nn.Conv2d]
    assert others == ["stages.0.0", "head"]
    assert sum(isinstance(module, L.SpectralConv2d) for module in critic.modules()) == 6


@pytest.mark.parametrize("name", SMALL)
def test_runs_learn_by_them(name, tmp_path):
    data = write_pairs(tmp_path / "data")
    config = override(
        tiny_config(data, training__images=8),
        {"critic.name": name, **{f"critic.options.{key}": value for key, value in SMALL[name].items()}},
    )
    result = train(config, out=tmp_path / "run", quiet=True)
    assert result.state == "finished"
