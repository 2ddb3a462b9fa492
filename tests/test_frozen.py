"""The critic with a frozen network's eyes: it judges by them, never changes them, and is not judged through them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixloom.config import override
from pixloom.errors import ConfigError, DependencyError
from pixloom.evaluation import evaluate
from pixloom.methods.base import eyes_of
from pixloom.metrics.judging import load_judges
from pixloom.nets import build
from pixloom.nets.layers import initialize
from pixloom.recipes import recipe
from pixloom.training.api import resume, train
from pixloom.training.state import list_checkpoints
from playing import wake
from tiny import write_pairs

OWN = {"layers": 2, "width": 4, "heads": 8}


@pytest.fixture
def eyes(random_weights, monkeypatch):
    monkeypatch.setenv("PIXLOOM_WEIGHTS", str(random_weights))
    return random_weights


def critic_of(**options):
    torch.manual_seed(0)
    critic = build("frozen", {**OWN, **options}, source_channels=options.pop("source_channels", 1), target_channels=3, size=32)
    initialize(critic)
    wake(critic)
    return critic


def pair(side=64):
    torch.manual_seed(1)
    return torch.rand(2, 1, side, side) * 2 - 1, torch.rand(2, 3, side, side) * 2 - 1


def test_a_head_for_every_size_beside_a_critic_of_its_own(eyes):
    critic = critic_of()
    judgement = critic(*pair())
    assert [logits.shape[1:] for logits in judgement.logits] == [(1, side, side) for side in (16, 31, 15, 7, 3)]
    assert [len(features) for features in judgement.features] == [3, 2, 2, 2, 2]
    sum((logits * torch.randn_like(logits)).sum() for logits in judgement.logits).backward()
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_eyes_are_no_part_of_it(eyes, tmp_path):
    critic = critic_of()
    there = load_file(eyes / "squeezenet1_1_features_torchvision.safetensors")
    assert all(torch.equal(value, there[name]) for name, value in critic.eyes[0].trunk.state_dict().items()), "not drawn anew"
    assert not any("features" in name for name in critic.state_dict())
    assert sum(p.numel() for p in critic.parameters()) < 30_000 < sum(p.numel() for p in critic.eyes[0].parameters())
    save_file(critic.state_dict(), tmp_path / "critic.safetensors")
    again = build("frozen", critic.options)
    again.load_state_dict(load_file(tmp_path / "critic.safetensors"))
    for one, other in zip(critic(*pair()).logits, again(*pair()).logits, strict=True):
        assert torch.equal(one, other)


def test_what_they_see_reaches_the_generator_and_the_source_counts(eyes):
    critic = critic_of()
    source, candidate = pair()
    candidate.requires_grad_()
    *_, coarsest = critic(source, candidate).logits
    coarsest.sum().backward()
    assert candidate.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in critic.own.parameters())
    *_, elsewhere = critic(-source, candidate).logits
    assert not torch.allclose(coarsest, elsewhere)
    assert not torch.allclose(coarsest, critic_of(network="alex")(source, candidate).logits[-1].mean())
    alone = critic_of(source_channels=0)
    assert torch.equal(alone(source, candidate).logits[1], alone(-source, candidate).logits[1])


def test_the_activations_weigh_alike(eyes):
    """Whatever a network's scale: brighter pictures do not shout."""
    from pixloom.nets.frozen import even

    maps = torch.rand(2, 5, 3, 3)
    assert torch.allclose(even(maps), even(1000 * maps), atol=1e-5)
    assert torch.allclose(even(maps).square().mean(1), torch.ones(2, 3, 3), atol=1e-4)
    assert even(torch.zeros(1, 2, 1, 1)).abs().max() == 0


def test_what_it_cannot_do_is_said(eyes, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'frozen' cannot judge these outputs.*12 channels.*residual"):
        build("frozen", OWN, source_channels=3, target_channels=12, size=32)
    with pytest.raises(ConfigError, match="cannot look at pictures of less than 17 pixels"):
        critic_of()(*pair(side=16))
    with pytest.raises(ConfigError, match="there is no network 'sqeeze' to see with"):
        critic_of(network="sqeeze")
    monkeypatch.setenv("PIXLOOM_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(DependencyError, match="squeezenet"):
        critic_of()


def frozen_run(data, **settings):
    return override(
        recipe("auto", size=32),
        {
            "data.path": str(data),
            "data.holdout": 0.3,
            "training.images": 8,
            "training.checkpoint_every_images": 4,
            "training.keep_checkpoints": 3,
            "generator.options.width": 4,
            "generator.options.halvings": 2,
            "critic.name": "frozen",
            "critic.options": OWN,
            "compute.device": "cpu",
            **settings,
        },
    )


def test_a_run_is_resumed_with_it_and_judged_through_another_network(eyes, tmp_path):
    data = write_pairs(tmp_path / "data", count=8, side=32)
    train(frozen_run(data), out=tmp_path / "straight", quiet=True)
    shutil.copytree(tmp_path / "straight", tmp_path / "stopped")
    shutil.rmtree(list_checkpoints(tmp_path / "stopped" / "checkpoints")[-1])
    resume(tmp_path / "stopped", quiet=True)
    last = [list_checkpoints(tmp_path / run / "checkpoints")[-1] / "state.safetensors" for run in ("straight", "stopped")]
    one, other = map(load_file, last)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    report = json.loads((tmp_path / "straight" / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert report["protocol"]["metrics"]["lpips"]["network"] == "alex"
    assert report["protocol"]["metrics"]["learnt_through"] == ["squeeze"]
    assert any("seen through AlexNet" in sentence for sentence in report["verdict"])
    assert any("was chosen among the validations" in sentence for sentence in report["verdict"])
    again = evaluate(tmp_path / "straight", data, lpips="squeeze")
    assert again.protocol["metrics"]["lpips"]["network"] == "squeeze", "what is asked for by name is used"


def test_judges_look_elsewhere_where_they_can(eyes):
    plain, wary = load_judges(), load_judges(learnt_through={"squeeze"})
    assert (plain.lpips.net, wary.lpips.net) == ("squeeze", "alex")
    assert (plain.features.name, load_judges(learnt_through={"inception"}).features.name) == ("inception-768", "squeeze")
    (eyes / "alexnet_features_torchvision.safetensors").unlink()
    assert load_judges(learnt_through={"squeeze"}).lpips.net == "squeeze"


def test_what_a_run_learns_through(tmp_path):
    assert eyes_of(frozen_run(tmp_path)) == {"squeeze"}
    assert eyes_of(frozen_run(tmp_path, **{"critic.options.network": "alex"})) == {"alex"}
    assert eyes_of(recipe("auto", size=64)) == set()
