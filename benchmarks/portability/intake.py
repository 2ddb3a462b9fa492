"""``pixloom translate`` on a folder with 25 kinds of broken files among good pictures."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOOD = 5


def measured(pictures: Path, model: Path) -> dict[str, Any]:
    """How many were translated, how the command ended, and what it said of each of the others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        for number, path in enumerate(sorted(pictures.glob("*.jpg"))[:GOOD]):
            shutil.copy(path, place / "in" / f"good{number}.jpg")
        for kind, make in BROKEN.items():
            make(place / "in" / kind)
        command = [sys.executable, "-m", "pixloom.cli.app", "translate", str(model), str(place / "in"), "--out", str(place / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "400"})
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).replace(str(place), "")
        made = sorted(path.name for path in (place / "out").rglob("*") if path.is_file())
    return {
        "kinds": len(BROKEN),
        "good": GOOD,
        "made": made,
        "exit": done.returncode,
        "traceback": "Traceback" in text,
        "said": {kind: said_of(kind, text) for kind in BROKEN},
        "end": next((line for line in text.splitlines() if "translated into" in line), ""),
    }


def said_of(kind: str, text: str) -> str:
    """The sentence of the error about a file, and why, where there is one."""
    for block in re.split(r"(?=^error: )", text, flags=re.MULTILINE):
        if f"/{kind}\n" in f"{block}\n":
            why = re.search(r"^ *why: (.*)$", block, flags=re.MULTILINE)
            return block.splitlines()[0].removeprefix("error: ") + (f": {why[1]}" if why else "")
    return ""


def bytes_of(kind: str, *, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    """A whole picture as a file."""
    stream = BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(stream, kind)
    return stream.getvalue()


def writes(content: Callable[[], bytes] | bytes) -> Callable[[Path], None]:
    """What puts bytes into a file."""
    return lambda path: path.write_bytes(content() if callable(content) else content) and None


def bomb() -> bytes:
    """A PNG of 100,000 x 100,000 pixels in a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def spoilt(content: bytes, *, at: float) -> bytes:
    """With sixteen bytes turned over."""
    place = int(len(content) * at)
    return content[:place] + bytes(255 - byte for byte in content[place : place + 16]) + content[place + 16 :]


def without_rights(path: Path) -> None:
    """A file that may not be read, where there are rights (root may read all)."""
    path.write_bytes(bytes_of("PNG"))
    path.chmod(0)


def of_no_pixels() -> bytes:
    """A PNG whose header says 0 x 0."""
    content = bytearray(bytes_of("PNG"))
    content[16:24] = bytes(8)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


BROKEN: dict[str, Callable[[Path], None]] = {
    "empty.png": writes(b""),
    "empty.jpg": writes(b""),
    "one-byte.jpg": writes(b"\xff"),
    "text.png": writes(b"this is no picture"),
    "page.jpg": writes(b"<!doctype html><title>404 Not Found</title>"),
    "json.webp": writes(b'{"error": "expired"}'),
    "zeros.png": writes(bytes(4096)),
    "noise.jpg": writes(lambda: np.random.default_rng(1).bytes(4096)),
    "half.png": writes(lambda: bytes_of("PNG")[: len(bytes_of("PNG")) // 2]),
    "half.jpg": writes(lambda: bytes_of("JPEG")[: len(bytes_of("JPEG")) // 2]),
    "half.webp": writes(lambda: bytes_of("WEBP")[: len(bytes_of("WEBP")) // 2]),
    "half.tif": writes(lambda: bytes_of("TIFF")[:60]),
    "half.bmp": writes(lambda: bytes_of("BMP")[:100]),
    "half.gif": writes(lambda: bytes_of("GIF")[:40]),
    "header-only.png": writes(lambda: bytes_of("PNG")[:33]),
    "header-only.jpg": writes(lambda: bytes_of("JPEG")[:20]),
    "flipped.png": writes(lambda: spoilt(bytes_of("PNG"), at=0.5)),
    "flipped-header.png": writes(lambda: spoilt(bytes_of("PNG"), at=0.004)),
    "no-pixels.png": writes(of_no_pixels),
    "bomb.png": writes(bomb),
    "script.svg": writes(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    "svg.png": writes(b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "paper.pdf": writes(b"%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF"),
    "postscript.jpg": writes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"),
    "archive.jpg": writes(b"PK\x03\x04" + bytes(200)),
    "folder.png": lambda path: path.mkdir(),
    "dangling.png": lambda path: path.symlink_to("nowhere.png"),
    "pipe.png": lambda path: os.mkfifo(path),
    "locked.png": without_rights,
}
"""What is wrong, by name."""
