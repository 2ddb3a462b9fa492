"""A film that pans over a photograph and then stands still, with sound, through ``pixloom translate``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixloom.errors import require

SIDE, RATE, PANNED, STILL = 192, 24, 48, 24
NOISE = 1.0
"""Of the camera, in grey levels: what stands still still changes a little."""


def measured(photo: Path, model: Path) -> dict[str, Any]:
    """What the command says, and what is in the file that it made."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        record(photo, place / "clip.mp4")
        command = [sys.executable, "-m", "pixloom.cli.app", "translate", str(model), str(place / "clip.mp4"), "--out", str(place / "out")]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - started
        made = place / "out" / "clip.mp4"
        said = [
            line for line in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).splitlines() if "flicker" in line or "sound" in line
        ]
        row = {"seconds": round(seconds, 1), "source": inside(place / "clip.mp4"), "translation": inside(made)}
    return row | {"said": [line.replace(str(place), "").strip() for line in said]}


def record(photo: Path, path: Path) -> None:
    """The film: H.264 and AAC."""
    av = require("av", extra="video", purpose="films")
    picture = np.asarray(Image.open(photo).convert("RGB"))
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        video, audio = film.add_stream("libx264", rate=RATE), film.add_stream("aac", rate=44100)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        for number in range(PANNED + STILL):
            place = min(number, PANNED) * (picture.shape[1] - SIDE) // PANNED
            frame = picture[:SIDE, place : place + SIDE] + rng.normal(0, NOISE, (SIDE, SIDE, 3))
            film.mux(video.encode(av.VideoFrame.from_ndarray(frame.round().clip(0, 255).astype(np.uint8), format="rgb24")))
        film.mux(video.encode())
        wave = np.sin(2 * np.pi * 440 * np.arange(44100 * (PANNED + STILL) // RATE) / 44100).astype(np.float32)
        for first in range(0, len(wave) - 1023, 1024):
            sound = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 44100, first, Fraction(1, 44100)
            film.mux(audio.encode(sound))
        film.mux(audio.encode())


def inside(path: Path) -> dict[str, Any]:
    """Frames, their size, and packets of sound of a film, and a sum over these."""
    av = require("av", extra="video", purpose="films")
    import hashlib

    digest, packets = hashlib.sha256(), 0
    with av.open(str(path)) as film:
        frames = list(film.decode(film.streams.video[0]))
    with av.open(str(path)) as film:
        for packet in film.demux(film.streams.audio[0]):
            if packet.size:
                packets += 1
                digest.update(bytes(packet))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    return {
        "frames": len(frames),
        "size": [frames[0].width, frames[0].height],
        "seconds": round(times[-1] - times[0], 3),
        "packets of sound": packets,
        "sha256 of the sound": digest.hexdigest()[:16],
    }
