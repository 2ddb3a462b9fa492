"""Make examples/nuclei from the 2018 Data Science Bowl's nuclei (CC0): fluorescence pictures with some nuclei, at 128 px.

    python benchmarks/make_nuclei.py DSB2018_FOLDER

Sources are the microscopy, targets the masks; every 8th picture goes to val.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, COUNT = 128, 160
OUT = Path(__file__).resolve().parents[1] / "examples" / "nuclei"


def square(path: Path, *, nearest: bool) -> np.ndarray:
    """The centre of a picture, at 1:1 scale where it is large enough."""
    with Image.open(path) as picture:
        grey = picture.convert("L")
        side = min(grey.size)
        left, top = (grey.width - side) // 2, (grey.height - side) // 2
        crop = grey.crop((left, top, left + side, top + side))
        return np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC))


def main(root: Path) -> None:
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "gray" and int(row["n_nuclei"]) >= 8]
    kept = 0
    for row in rows:
        photo = square(root / "images" / "train" / f"{row['file_id']}.png", nearest=False)
        mask = square(root / "masks" / "train" / f"{row['file_id']}.png", nearest=True)
        if photo.max() < 60 or not 0.03 < (mask > 0).mean() < 0.6:  # too dark to see, or next to nothing on it
            continue
        split = "val" if kept % 8 == 7 else "train"
        for name, pixels in (("source", photo), ("target", mask)):
            path = OUT / split / name / f"{kept:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, optimize=True)
        kept += 1
        if kept == COUNT:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
