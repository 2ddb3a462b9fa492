"""Critics of other programs: what their layout computes, and what is not taken for one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import peers_more as peers
from pixloom.errors import ModelError
from pixloom.importers import import_critic
from pixloom.nets.layers import SpectralConv2d, set_inference
from test_importers_more import drawn, edges_of, ids


def taken_in(state, folder, **given):
    torch.save(state, folder / "latest_net_D.pth")
    critic = import_critic(folder / "latest_net_D.pth", **given)
    assert critic.training
    set_inference(critic, statistics="image", dropout=False)  # batch norm as in training, and no turn of what spectral norm keeps
    return critic


def same_logits(critic, wanted, *given):
    with torch.no_grad():
        logits = critic(*given).logits
    assert [tuple(scale.shape) for scale in logits] == [tuple(scale.shape) for scale in wanted]
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(logits, wanted, strict=True))


def one_hot(labels, classes):
    """Theirs, 1 and 0, and ours, 1 and -1 with one plane of no class at the end."""
    theirs = torch.from_numpy(np.eye(classes, dtype=np.float32)[labels]).permute(2, 0, 1)[None]
    return theirs, torch.cat([theirs * 2 - 1, -torch.ones_like(theirs[:, :1])], 1)


# --- pix2pixHD, SPADE, BicycleGAN ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["features", "plain"])
@pytest.mark.parametrize(("scales", "layers", "norm"), [(2, 3, "instance"), (3, 2, "batch"), (1, 1, "instance")])
def test_pix2pixhd_of_pictures(program, scales, layers, norm, tmp_path):
    shape = {"program": program, "scales": scales, "layers": layers, "norm": norm}
    state = peers.peer_scales_state(6, **shape, width=4)
    critic = taken_in(state, tmp_path)
    assert (critic.options["scales"], critic.options["layers"], critic.options["norm"], critic.options["padding"]) == (
        scales,
        layers,
        norm,
        2,
    )
    source, candidate = drawn(1, 3, 37, 50), drawn(1, 3, 37, 50, seed=2)
    assert same_logits(critic, peers.peer_scales(state, torch.cat([source, candidate], 1), **shape), source, candidate)


@pytest.mark.parametrize("edges", [False, True])
def test_pix2pixhd_of_labels(edges, tmp_path):
    shape = {"program": "features", "scales": 2, "layers": 2, "norm": "instance"}
    state = peers.peer_scales_state(9 + edges, **shape, width=4)
    with pytest.raises(ModelError, match=r"(?s)channels are classes.*--set classes=N"):
        taken_in(state, tmp_path)
    critic = taken_in(state, tmp_path, settings={"classes": 6})
    assert (critic.options["source_channels"], critic.options["planes"]) == (7, "binary")
    labels, objects = ids(6), ids(9, seed=2)
    theirs, ours = one_hot(labels, 6)
    given = {"objects": torch.from_numpy(objects.astype(np.float32))[None, None]} if edges else None
    theirs = torch.cat([theirs, edges_of(objects)], 1) if edges else theirs
    candidate = drawn(1, 3, *labels.shape)
    assert same_logits(critic, peers.peer_scales(state, torch.cat([theirs, candidate], 1), **shape), ours, candidate, given)


@pytest.mark.parametrize(("norm", "spectral"), [("instance", True), ("batch", True), ("none", True), ("instance", False), ("batch", False)])
def test_spade(norm, spectral, tmp_path):
    shape = {"program": "spade", "scales": 2, "layers": 3, "norm": norm}
    state = peers.peer_scales_state(5 + 3, **shape, width=4, spectral=spectral)
    critic = taken_in(state, tmp_path, names=("sky", "sea", "sand", "tree", "house"))
    assert (critic.options["norm"], critic.options["spectral"]) == (norm, "inner" if spectral else False)
    theirs, ours = one_hot(ids(5), 5)
    candidate = drawn(1, 3, *theirs.shape[2:])
    assert same_logits(critic, peers.peer_scales(state, torch.cat([theirs, candidate], 1), **shape), ours, candidate)
    assert sum(isinstance(layer, SpectralConv2d) for layer in critic.modules()) == (6 if spectral else 0)


@pytest.mark.parametrize("program", ["bicycle", "bicycle-2017"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_bicycle(program, norm, tmp_path):
    shape = {"program": program, "scales": 2, "layers": 2, "norm": norm}
    state = peers.peer_scales_state(3, **shape, width=8)
    critic = taken_in(state, tmp_path)
    assert (critic.options["widths"], critic.options["source_channels"], critic.options["padding"]) == ([8, 4], 0, 1)
    candidate = drawn(1, 3, 40, 32)
    assert same_logits(critic, peers.peer_scales(state, candidate, **shape), candidate, candidate)


def test_critics_of_several_scales_that_are_not_whole_or_not_alike(tmp_path):
    shape = {"program": "features", "scales": 2, "layers": 2, "norm": "instance"}
    state = peers.peer_scales_state(6, **shape, width=4)
    with pytest.raises(ModelError, match="no critic in this file"):
        taken_in({name: tensor for name, tensor in state.items() if name != "scale0_layer3.0.weight"}, tmp_path)
    with pytest.raises(ModelError, match=r"(?s)looks like the critics of pix2pixHD, but its critics are not alike"):
        taken_in({name: tensor[:, :4] if name == "scale0_layer0.0.weight" else tensor for name, tensor in state.items()}, tmp_path)
