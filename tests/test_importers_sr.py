"""Super-resolution models of other programs: recognised, loaded strictly, and equal to a forward pass written from their layout alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from peers import conv
from peers_sr import (
    FORWARDS,
    STATES,
    peer_compact,
    peer_compact_state,
    peer_esrgan,
    peer_esrgan_state,
    peer_srgan,
    peer_srgan_state,
    peer_srresnet,
    peer_srresnet_state,
    peer_unet_critic,
    peer_unet_critic_state,
    peer_vgg,
    peer_vgg_state,
    repeated,
)
from pixloom.errors import ModelError
from pixloom.importers import import_critic, import_model
from pixloom.inference.translator import Translator
from pixloom.modelfile import load_model


def small_pictures(channels=3, height=24, width=40, *, batch=2):
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(1))


def taken_in(state, folder, **given):
    torch.save(state, folder / "weights.pth")
    return import_model(folder / "weights.pth", out=folder / "model", overwrite=True, **given)


def assert_same(found, wanted, small, *, scale):
    """The network of the model folder gives what the peer gives, of which not too much is cut off to be compared."""
    assert ((wanted > 0) & (wanted < 1)).float().mean() > 0.5
    assert wanted.std() > 0.05
    network, _ = load_model(found.folder)
    with torch.no_grad():
        output = network(2 * repeated(small, scale) - 1)
    assert output.shape == (*small.shape[:2], *(scale * side for side in small.shape[2:]))
    assert output.abs().max() <= 1
    assert (output / 2 + 0.5 - wanted).abs().max() < 1e-5
    task, enlarged = found.description.task, {"scale": scale, "enlargement": "nearest"}
    assert (task.name, task.options) == (("super-resolve", enlarged) if scale > 1 else ("restore", {}))
    assert found.description.size == 128


ESRGANS = [
    ("first", 1, 2, 3),
    ("first", 1, 0, 3),
    ("first", 1, 1, 3),
    ("first", 1, 3, 3),
    ("first", 2, 2, 3),
    ("first", 1, 2, 1),
    ("authors", 1, 2, 3),
    ("basicsr", 1, 2, 3),
    ("basicsr", 2, 2, 3),
    ("basicsr", 4, 2, 3),
]


@pytest.mark.parametrize(("layout", "folding", "doublings", "channels"), ESRGANS)
def test_esrgan_computes_what_its_layout_says(layout, folding, doublings, channels, tmp_path):
    state = peer_esrgan_state(layout, folding=folding, doublings=doublings, channels=channels, blocks=3)
    found, small, scale = taken_in(state, tmp_path), small_pictures(channels), 2**doublings // folding
    options = found.description.generator.options
    assert (found.family, found.description.generator.name) == ("esrgan", "rrdb")
    assert (options["blocks"], options["width"], options["growth"], options["scale"], options["folding"]) == (3, 8, 4, scale, folding)
    assert (options["source_channels"], options["target_channels"]) == (channels, channels)
    wanted = peer_esrgan(state, small, layout=layout, blocks=3, folding=folding, doublings=doublings)
    assert_same(found, wanted, small, scale=scale)
    assert any("by 3 has the same" in note for note in found.notes) == (doublings == 1)
    assert any("does not enlarge" in note for note in found.notes) == (scale == 1)


@pytest.mark.parametrize(("scale", "depth"), [(1, 3), (2, 0), (3, 1), (4, 16)])
def test_compact_computes_what_its_layout_says(scale, depth, tmp_path):
    state = peer_compact_state(scale=scale, depth=depth)
    found, small = taken_in(state, tmp_path), small_pictures()
    options = found.description.generator.options
    assert (found.family, options["scale"], options["depth"], options["width"]) == ("compact", scale, depth, 8)
    assert_same(found, peer_compact(state, small, scale=scale, depth=depth), small, scale=scale)


@pytest.mark.parametrize(("scale", "blocks"), [(2, 1), (3, 2), (4, 5)])
def test_srresnet_computes_what_its_layout_says(scale, blocks, tmp_path):
    state = peer_srresnet_state(scale=scale, blocks=blocks)
    found, small = taken_in(state, tmp_path), small_pictures()
    options = found.description.generator.options
    assert (found.family, options["scale"], options["blocks"], options["width"]) == ("srresnet", scale, blocks, 8)
    assert_same(found, peer_srresnet(state, small, scale=scale, blocks=blocks), small, scale=scale)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("scale", "blocks"), [(2, 5), (4, 5), (8, 2)])
def test_srgan_computes_what_its_layout_says(scale, blocks, counted, tmp_path):
    state = peer_srgan_state(scale=scale, blocks=blocks)
    if not counted:  # as before PyTorch 0.4.1
        state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    found, small = taken_in(state, tmp_path), small_pictures()
    options = found.description.generator.options
    assert (found.family, options["scale"], options["blocks"], options["width"]) == ("srgan", scale, blocks, 8)
    assert_same(found, peer_srgan(state, small, scale=scale, blocks=blocks), small, scale=scale)


def test_the_averaged_weights_are_taken_out_of_their_wrapper(tmp_path):
    state, small = peer_esrgan_state(), small_pictures()
    doubled = {name: 2 * tensor for name, tensor in state.items()}
    for wrapped in ({"params": state}, {"params": doubled, "params_ema": state}, {f"module.{name}": each for name, each in state.items()}):
        assert_same(taken_in(wrapped, tmp_path), peer_esrgan(state, small), small, scale=4)


# --- A picture -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["esrgan", "compact", "srresnet", "srgan"])
def test_a_picture_comes_out_as_their_programs_make_it(family, tmp_path):
    state = STATES[family]()
    taken_in(state, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    made = Translator.from_pretrained(tmp_path / "model", device="cpu")(Image.fromarray(pixels))
    assert made.size == (4 * 34, 4 * 21)
    wanted = FORWARDS[family](state, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(np.asarray(made).astype(float) - wanted).max() <= 1


def test_a_picture_of_odd_sides_is_continued_where_pixels_are_folded(tmp_path):
    taken_in(peer_esrgan_state(folding=2), tmp_path)
    assert Translator.from_pretrained(tmp_path / "model", device="cpu")(Image.new("RGB", (7, 5))).size == (14, 10)
    taken_in(peer_esrgan_state(folding=4), tmp_path)
    assert Translator.from_pretrained(tmp_path / "model", device="cpu")(Image.new("RGB", (7, 5))).size == (7, 5)


# --- What is not whole, or another ------------------------------------------------------------------------------------------------------


WHOLE = {
    "first": lambda: peer_esrgan_state("first"),
    "authors": lambda: peer_esrgan_state("authors"),
    **{"esrgan": STATES["esrgan"], "compact": STATES["compact"], "srresnet": STATES["srresnet"], "srgan": STATES["srgan"]},
}


@pytest.mark.parametrize("name", WHOLE)
def test_one_tensor_more_less_or_of_another_shape_is_refused(name, tmp_path):
    state = WHOLE[name]()
    first, last = next(iter(state)), list(state)[-1]
    convs = [key for key, tensor in state.items() if tensor.ndim == 4]
    middle = convs[len(convs) // 2]
    less = [{key: tensor for key, tensor in state.items() if key != gone} for gone in state]
    cut = dict(list(state.items())[:-2])
    stem = last.rpartition(".")[0]
    more = [state | {f"{stem}.extra": torch.zeros(1)}, state | {f"{first.partition('.')[0]}.77.weight": torch.zeros(1)}]
    other = [state | {middle: state[middle][:, :-1]}]
    for changed in (*less, cut, *more, *other):
        if set(state) - set(changed) and all(key.endswith("num_batches_tracked") for key in set(state) - set(changed)):
            continue  # which old files lack
        with pytest.raises(ModelError):
            taken_in(changed, tmp_path)
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_told_is_said(tmp_path):
    compact = peer_compact_state()
    flat = {name: tensor for name, tensor in compact.items() if tensor.ndim == 4 or name.endswith("bias")}
    with pytest.raises(ModelError, match=r"(?s)activations cannot be told.*ReLU and LeakyReLU.*PReLU"):
        taken_in(flat, tmp_path)
    with pytest.raises(ModelError, match=r"(?s)not those of a whole one.*weights at 0, 1, 2"):
        taken_in({name: tensor for name, tensor in compact.items() if not name.startswith("body.8")}, tmp_path)
    last = {"body.8.weight": torch.zeros(50, 8, 3, 3), "body.8.bias": torch.zeros(50)}
    with pytest.raises(ModelError, match=r"50 channels where a square times 3 is expected"):
        taken_in(compact | last, tmp_path)
    with pytest.raises(ModelError, match=r"enlarges 9 times"):
        taken_in(peer_compact_state(scale=9), tmp_path)
    unfolding = peer_esrgan_state("first")
    unfolding["model.2.weight"] = unfolding.pop("model.3.weight")
    with pytest.raises(ModelError, match=r"(?s)layers outside the blocks are others.*0, 2, 6, 8, 10"):
        taken_in(unfolding, tmp_path)
    with pytest.raises(ModelError, match=r"makes 3 channels of 27"):
        taken_in(peer_esrgan_state(folding=3), tmp_path)
    with pytest.raises(ModelError, match=r"makes 3 channels of 48"):
        taken_in(peer_esrgan_state("first", folding=4, doublings=1), tmp_path)


def test_edsr_is_not_taken_for_srresnet(tmp_path):
    """It shares most names with it, and adds and unfolds otherwise."""
    state = peer_srresnet_state()
    state |= {"conv_after_body.weight": torch.zeros(8, 8, 3, 3), "upsample.0.weight": state.pop("upconv1.weight")}
    with pytest.raises(ModelError, match="no generator in this file"):
        taken_in({name: tensor for name, tensor in state.items() if not name.startswith(("conv_hr", "upconv"))}, tmp_path)


# --- Critics ---------------------------------------------------------------------------------------------------------------------------


def contrasting(side, *, batch=2):
    """Pictures in [0, 1] that differ much from each other."""
    return repeated(torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(1)).round(), side // 4)


def critic_of(state, folder):
    torch.save(state, folder / "netD.pth")
    return import_critic(folder / "netD.pth")


def judged(critic, pictures):
    """What our critic says of pictures in [0, 1]."""
    with torch.no_grad():
        return critic(pictures, 2 * pictures - 1).logits[0]


@pytest.mark.parametrize(
    ("layout", "layers", "side"), [("srgan", 4, 1), ("srgan", 2, 1), ("first", 5, 4), ("first", 5, 3), ("basicsr", 5, 4)]
)
def test_vgg_critics_compute_what_their_layout_says(layout, layers, side, tmp_path):
    state = peer_vgg_state(layout, layers=layers, side=side)
    critic, pictures = critic_of(state, tmp_path), contrasting(side * 2**layers if side > 1 else 48)
    halving = 3 if layout == "srgan" else 4
    wanted = {"layers": layers, "width": 4, "hidden": 10, "side": side, "kernel": halving, "source_channels": 0, "target_channels": 3}
    assert critic.options == critic.options | wanted
    for training in (False, True):  # the first pass in training moves the running statistics
        expected = peer_vgg(state, pictures, layout, layers=layers, training=training)
        assert (expected[0] - expected[1]).abs() > 1e-3
        torch.testing.assert_close(judged(critic.train(training), pictures), expected, rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="this is a critic"):
        import_model(tmp_path / "netD.pth", out=tmp_path / "model")


def test_biases_before_norms_go_into_the_statistics_as_training_moves_them(tmp_path):
    state, pictures = peer_vgg_state("srgan", layers=2), contrasting(32)
    critic = critic_of(state, tmp_path)
    judged(critic.train(), pictures)
    first = torch.nn.functional.leaky_relu(conv(state, "net.0", pictures, padding=1), 0.2)
    mean = 0.9 * state["net.3.running_mean"] + 0.1 * conv(state, "net.2", first, stride=2, padding=1).mean((0, 2, 3))
    torch.testing.assert_close(critic.stages[1][1].running_mean + state["net.2.bias"], mean)


@pytest.mark.parametrize("lag", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("kept", [True, False])
def test_the_u_net_critic_computes_what_its_layout_says_with_its_spectral_norms(lag, kept, tmp_path):
    state, pictures = peer_unet_critic_state(lag=lag), contrasting(48)
    if not kept:  # as before PyTorch 1.0
        state = {name: tensor for name, tensor in state.items() if not name.endswith("weight_v")}
    for wrapped in (state, {"params": state}):
        critic = critic_of(wrapped, tmp_path)
        assert (critic.options["width"], critic.options["layers"], critic.options["target_channels"]) == (8, 3, 3)
        expected = peer_unet_critic(state, pictures)
        assert expected.shape == (2, 1, 48, 48)
        assert expected.std() > 0.02
        torch.testing.assert_close(judged(critic.eval(), pictures), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(critic.stages[2][0].weight, state["conv2.weight_orig"], rtol=0, atol=0)


def test_the_u_net_critic_goes_on_with_its_power_iteration(tmp_path):
    """A step of ours from the vector that was found is nearer to torch's from u than the two vectors were."""
    state = peer_unet_critic_state(lag=0.1)
    begun, critic = critic_of(state, tmp_path), critic_of(state, tmp_path)
    judged(critic, contrasting(16))
    for number in range(1, 9):
        matrix, u = state[f"conv{number}.weight_orig"].flatten(1), state[f"conv{number}.weight_u"]
        theirs = torch.nn.functional.normalize(matrix @ (matrix.t() @ u), dim=0)
        apart = 1 - torch.dot(begun.stages[number][0].u, u)
        assert apart > 1e-3
        assert 1 - torch.dot(critic.stages[number][0].u, theirs) < apart / 4


def test_spectral_norms_that_no_vector_has_are_refused(tmp_path):
    state = peer_unet_critic_state()
    for changed in ({"conv3.weight_v": -state["conv3.weight_v"]}, {"conv3.weight_v": 2 * state["conv3.weight_v"]}):
        with pytest.raises(ModelError, match=r"(?s)U-Net critic.*spectral norms are not those.*conv3.weight_orig.*and \|W\^T u\| "):
            critic_of(state | changed, tmp_path)
    for name in ("conv3.weight_u", "conv3.weight_v"):
        with pytest.raises(ModelError, match="spectral norms are not those"):
            critic_of(state | {name: torch.ones(7)}, tmp_path)


CONVOLUTIONS_BEFORE_NORMS = {"srgan": ("net.2", "net.5", "net.8"), "first": ("features.2", "features.5", "features.8")}


@pytest.mark.parametrize("name", ["srgan", "first", "basicsr", "unet"])
def test_a_critic_with_one_tensor_more_less_or_of_another_shape_is_refused(name, tmp_path):
    state = peer_unet_critic_state() if name == "unet" else peer_vgg_state(name, layers=2, side=1 if name == "srgan" else 4)
    before = {f"{convolution}.bias" for convolution in CONVOLUTIONS_BEFORE_NORMS.get(name, ())}  # whose bias means nothing
    less = [
        {key: tensor for key, tensor in state.items() if key != gone}
        for gone in state
        if gone not in before and not gone.endswith(("num_batches_tracked", "weight_v"))  # which old files lack
    ]
    more = [state | {f"{key.rpartition('.')[0]}.extra": torch.zeros(1)} for key in state]
    first, *convolutions = [key for key, tensor in state.items() if tensor.ndim == 4]
    other = [state | {key: state[key][:, :-1]} for key in convolutions] + [state | {first: state[first][:-1]}]
    for changed in (*less, *more, *other):
        with pytest.raises(ModelError):
            critic_of(changed, tmp_path)
