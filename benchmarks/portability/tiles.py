"""Large pictures: tiles against the whole, and the memory and time of the command at 2,000, 4,000 and 8,000 px."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.portability.formats import TITLES, save_network
from pixloom.inference.tiling import choose_tiling, tiled
from pixloom.inference.translator import Translator
from pixloom.training.sizing import SMALL

LOCAL = ("unet", "resnet", "auto", "spade")
WHOLE = 1024
SIDES = (2000, 4000, 8000)


def measured() -> dict[str, Any]:
    """Both."""
    return {"equal": [equal(name) for name in LOCAL], "large": [large(side) for side in SIDES]}


def equal(name: str) -> dict[str, Any]:
    """A picture of 1,024 px in tiles and as a whole, where every layer is local (batch norm by running statistics)."""
    with tempfile.TemporaryDirectory() as place:
        save_network(name, Path(place) / "model", **({"norm": "batch"} if name == "resnet" else {}))
        runtime = Translator.from_pretrained(Path(place) / "model", runtime="torch").runtime
    signature = runtime.signature
    values = np.random.default_rng(0).uniform(-1, 1, (1, 3, WHOLE, WHOLE)).astype(np.float32)
    tiling = choose_tiling(radius=signature.radius, multiple=signature.size_multiple)
    whole = runtime.run(values, condition={}, seed=0)
    parts = tiled(
        lambda part: runtime.run(part, condition={}, seed=0),
        values,
        tile=tiling.tile,
        margin=tiling.margin,
        multiple=tiling.multiple,
        blend=tiling.blend,
    )
    row = {
        "title": TITLES[name],
        "radius": signature.radius,
        "blend": tiling.blend,
        "largest": float(np.abs(parts - whole).max()),
        "mean": float(np.abs(parts - whole).mean()),
    }
    print(row, flush=True)
    return row


def large(side: int) -> dict[str, Any]:
    """``pixloom translate --size native`` on one picture of so many pixels a side: seconds and the most memory of its process."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        save_network("auto", place / "model", width=SMALL.width, blocks=SMALL.blocks)
        small = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3)).astype(np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(place / "large.png", compress_level=1)
        command = [sys.executable, "-m", "pixloom.cli.app", "translate", "model", "large.png", "--out", "out", "--size", "native"]
        started, most = time.monotonic(), 0
        child = subprocess.Popen([*command, "--runtime", "torch"], cwd=place, stdout=subprocess.DEVNULL)
        while child.poll() is None:
            most = max(most, most_memory(child.pid))
            time.sleep(0.1)
        seconds = time.monotonic() - started
        made = next((place / "out").glob("*.png"), None) if child.returncode == 0 else None
        size = None if made is None else Image.open(made).size
    row = {"side": side, "seconds": round(seconds, 1), "MiB": round(most / 1024), "made": size}
    print(row, flush=True)
    return row


def most_memory(pid: int) -> int:
    """The most memory that a process had so far, in KiB (Linux); what wait4 tells of a child begins with its parent's."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) if found else 0
