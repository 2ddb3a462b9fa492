"""Shared by all tests: one thread per worker, shapes checked at run time, and where the real pictures lie."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("pixloom", deadline=None)  # a busy machine is no failure
settings.load_profile("pixloom")

# Shapes and types of the mathematical layers are checked while testing and cost nothing in use.
install_import_hook(["pixloom.nets", "pixloom.losses", "pixloom.metrics", "pixloom.methods", "pixloom.backbones"], "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures, beside the checkout; tests that need it are skipped elsewhere."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real pictures are not here")
    return folder


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder of real feature networks, beside the checkout."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("the feature networks are not here")
    return folder


@pytest.fixture
def random_weights(tmp_path):
    """Files of the right names with random weights in a folder."""
    folder = tmp_path / "random weights"
    folder.mkdir()
    import safetensors.torch
    import torch

    from pixloom.backbones.trunks import alexnet, inception, squeezenet
    from pixloom.backbones.weights import ALEXNET, HEADS, INCEPTION, SQUEEZENET

    torch.manual_seed(0)
    safetensors.torch.save_file(squeezenet().state_dict(), folder / SQUEEZENET)
    safetensors.torch.save_file(alexnet().state_dict(), folder / ALEXNET)
    safetensors.torch.save_file({name: value.half() for name, value in inception(768).state_dict().items()}, folder / INCEPTION)
    heads = {"squeeze": squeezenet().widths, "alex": alexnet().widths}
    tensors = {f"{net}.lin{k}.weight": torch.rand(1, width, 1, 1) for net, widths in heads.items() for k, width in enumerate(widths)}
    safetensors.torch.save_file(tensors, folder / HEADS)
    return folder
