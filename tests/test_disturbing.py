"""Sources that are disturbed while they are learnt from."""

from __future__ import annotations

import shutil

import pytest
import torch

from pixloom.data.disturbing import BLUR, blurred, disturbed
from pixloom.errors import ConfigError
from pixloom.training.api import resume, train
from pixloom.training.plan import complete
from pixloom.training.state import list_checkpoints, read_checkpoint
from tiny import tiny_config, write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs")


def pictures(count=64, side=24):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def test_the_share_is_of_the_pictures_and_half_of_the_changes_meet_each():
    sources = pictures(400)
    torch.manual_seed(0)
    found = disturbed(sources, share=0.5)
    assert found.shape == sources.shape
    assert found.abs().max() <= 1
    changed = (found - sources).abs().amax((1, 2, 3)) > 1e-5
    assert 0.35 < changed.float().mean() < 0.55  # of the chosen half, one in eight meets no change
    assert disturbed(sources, share=0.0) is sources
    torch.manual_seed(0)
    assert torch.equal(disturbed(sources, share=0.5), found)


def test_each_is_blurred_by_its_own_deviation():
    dot = torch.zeros(3, 1, 31, 31)
    dot[:, :, 15, 15] = 1.0
    soft = blurred(dot, torch.tensor([0.0, 0.7, BLUR]))
    torch.testing.assert_close(soft[0], dot[0])
    torch.testing.assert_close(soft.sum((1, 2, 3)), torch.ones(3))
    places = torch.arange(31.0) - 15
    spread = (soft.sum((1, 2)) * places**2).sum(1).sqrt()
    torch.testing.assert_close(spread[1:], torch.tensor([0.7, BLUR]), atol=0.03, rtol=0)


def test_small_pictures_can_be_blurred():
    small = pictures(2, side=3)
    assert blurred(small, torch.tensor([BLUR, 0.5])).shape == small.shape


def test_a_run_with_disturbed_sources_goes_on_bit_for_bit(pairs, tmp_path):
    run, kept = tmp_path / "run", {"training__checkpoint_every_images": 4, "training__keep_checkpoints": 3}
    train(tiny_config(pairs, data__disturb=1.0, **kept), out=run, quiet=True)
    train(tiny_config(pairs, **kept), out=tmp_path / "clean", quiet=True)
    straight, clean = (read_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).tensors for folder in (run, tmp_path / "clean"))
    assert any(not torch.equal(straight[name], clean[name]) for name in straight)
    shutil.rmtree(run / "checkpoints" / "000000012")
    resume(run, quiet=True)
    again = read_checkpoint(list_checkpoints(run / "checkpoints")[-1]).tensors
    assert all(torch.equal(straight[name], again[name]) for name in straight)


@pytest.mark.parametrize("task", ["inpaint", "synthesize"])
def test_what_is_no_picture_is_not_disturbed(task, pairs):
    with pytest.raises(ConfigError, match=r"data\.disturb is for sources that are pictures"):
        complete(tiny_config(pairs, task__name=task, data__disturb=0.5))
