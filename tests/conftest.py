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
install_import_hook(["pixloom.nets", "pixloom.losses", "pixloom.metrics", "pixloom.methods"], "beartype.beartype")

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
