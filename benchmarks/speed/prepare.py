"""What several benchmarks need before they start: pairs, and a trained model in everyone's form."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.harness import Options, Worker, run_command
from benchmarks.speed.peer import MODEL_NAME

PAIRS = 64
PYTHON = Path(sys.executable)
PIXLOOM = PYTHON.with_name("pixloom")


def pairs(options: Options, *, count: int = PAIRS) -> Path:
    """A folder of side-by-side JPEG pairs, 512 x 256."""
    folder = options.scratch / f"pairs-{count}"
    if not folder.is_dir():
        with Worker("pictures") as pictures:
            pictures.ask("pairs", folder=str(folder), data=None if options.data is None else str(options.data), count=count)
    return folder


@dataclass(frozen=True)
class Trained:
    """The same U-Net for all, and pictures to translate.

    Attributes:
        model, exported: Pixloom's model folder, without and with an exported network in it.
        plain: the plain script's weights.
        checkpoints: the peer's, where there is a peer.
        photos: a folder of 256 px PNGs.
    """

    model: Path
    exported: Path
    plain: Path
    checkpoints: Path
    photos: Path


def trained(options: Options, *, photos: int) -> Trained:
    """Write the weights and the pictures, and export the network."""
    root = options.scratch
    ready = Trained(root / "model", root / "exported", root / "plain.pth", root / "checkpoints", root / "photos")
    with Worker("pictures") as worker:
        worker.ask("photos", folder=str(ready.photos), pairs=str(pairs(options)), count=photos)
    with Worker("model") as worker:
        for folder in (ready.model, ready.exported):
            worker.ask("model", folder=str(folder), plain=str(ready.plain), photos=str(ready.photos))
        if options.peer is not None:
            path = ready.checkpoints / MODEL_NAME / "latest_net_G.pth"
            worker.ask("peer", path=str(path), plain=str(ready.plain), checkout=str(options.peer.resolve()))
    run_command([PIXLOOM, "export", ready.exported], env=own_cache(options))
    return ready


def own_cache(options: Options) -> Mapping[str, str]:
    """The variable with which Pixloom remembers its choices beside the measurement, not in the user's cache."""
    return {"PIXLOOM_CACHE": str(options.scratch / "cache")}
