"""The pictures that are measured with: real facades where a data folder is given, else synthetic ones of the same sizes. A worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed.harness import serve

SIDE = 256
JPEG_QUALITY = 95


def real_pairs(data: Path) -> list[Path]:
    """The facades as pix2pix prepared them: photo left, labels right, 512 x 256.

    Raises:
        FileNotFoundError: they are not there.
    """
    paths = sorted((data / "facades" / "train").glob("*.jpg"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise FileNotFoundError(f"{data / 'facades' / 'train'} holds no .jpg")
    return paths


def write_pairs(folder: str, *, data: str | None, count: int) -> int:
    """Side-by-side JPEG pairs in FOLDER/train, real or synthetic; how many there are."""
    train = Path(folder) / "train"
    train.mkdir(parents=True)
    if data is not None:
        chosen = real_pairs(Path(data))[:count]
        for path in chosen:
            (train / path.name).symlink_to(path.resolve())
        return len(chosen)
    for number, (photo, labels) in zip(range(count), synthetic_pairs(seed=0), strict=False):
        Image.fromarray(np.hstack([photo, labels])).save(train / f"{number + 1}.jpg", quality=JPEG_QUALITY)
    return count


def synthetic_pairs(*, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Without end: flat rectangles as labels, and a 'photo' that follows from them with light, texture and noise."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (12, 3), dtype=np.uint8)
    while True:
        ids = np.zeros((SIDE, SIDE), dtype=np.int64)
        for _ in range(30):
            top, left = rng.integers(0, SIDE, 2)
            height, width = rng.integers(10, SIDE // 3, 2)
            ids[top : top + height, left : left + width] = rng.integers(12)
        light = np.asarray(Image.fromarray(rng.random((6, 6)).astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        shaded = colours[(ids * 5 + 3) % 12] * (0.4 + 0.6 * light[..., None]) + rng.normal(0, 8, (SIDE, SIDE, 3))
        yield shaded.clip(0, 255).astype(np.uint8), colours[ids]


def write_photos(folder: str, *, pairs: str, count: int) -> None:
    """The left halves of the first pairs as PNG, 256 x 256."""
    Path(folder).mkdir(parents=True)
    paths = sorted(Path(pairs, "train").glob("*.jpg"), key=lambda path: (len(path.stem), path.stem))
    for path in paths[:count]:
        with Image.open(path) as pair:
            pair.crop((0, 0, SIDE, SIDE)).save(Path(folder) / f"{path.stem}.png")


def write_large(path: str, *, pairs: str, side: int, bits: int = 8) -> None:
    """One square picture of any size, tiled from the photos of the pairs; PNG of 8 or 16 bits."""
    paths = sorted(Path(pairs, "train").glob("*.jpg"))
    photos = [np.asarray(Image.open(path).crop((0, 0, SIDE, SIDE))) for path in paths]
    across = -(-side // SIDE)
    tiled = np.empty((side, side, 3), dtype=np.uint8)
    for number in range(across**2):
        top, left = number // across * SIDE, number % across * SIDE
        place = tiled[top : top + SIDE, left : left + SIDE]
        place[:] = photos[number % len(photos)][: place.shape[0], : place.shape[1]]
    if bits == 8:
        Image.fromarray(tiled).save(path, compress_level=1)
        return
    from pixloom.images import as_picture, write  # Pillow has no mode for 16-bit colour

    write(as_picture(tiled.astype(np.uint16) * 257), Path(path))


if __name__ == "__main__":
    serve({"pairs": write_pairs, "photos": write_photos, "large": write_large})
