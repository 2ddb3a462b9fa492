"""The data of the races: links into folders of their own, with the split that is said here."""

from __future__ import annotations

import csv
import random
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.tasks import datasets
from benchmarks.tasks.datasets import DataSet, link, sides


def facades(data: Path, place: Path, *, count: int) -> Path:
    """Photo and label map side by side: the first ``count``, and 301 to 400."""
    link(data / "facades" / "classes.csv", place / "classes.csv")
    for path in sorted((data / "facades" / "train").glob("*.jpg")):
        number = int(path.stem)
        if number <= count or number > 300:
            link(path, place / ("val" if number > 300 else "train") / path.name)
    return place


def microscopy(data: Path, place: Path, *, count: int) -> Path:
    """Fluorescence pictures and the masks of their nuclei, in an order drawn once: the first ``count``, and the last 40 to be judged."""
    with (data / "dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        names = sorted(row["file_id"] for row in csv.DictReader(file) if row["kind"] == "gray")
    random.Random(0).shuffle(names)
    for split, part in (("train", names[:-40][:count]), ("val", names[-40:])):
        for folder, name in product(("masks", "images"), part):
            link(data / "dsb2018" / folder / "train" / f"{name}.png", place / split / folder / f"{name}.png")
    return place


def chase(data: Path, place: Path) -> Path:
    """Retinas by another camera than DRIVE's, all to be judged."""
    return sides(data / "chase_db1", place, {"images": "images", "vessels": "vessels"}, is_held_out=lambda number, count: True)


def stained(data: Path, place: Path) -> Path:
    """Stained tissue and its nuclei, all to be judged."""
    with (data / "dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        only = {row["file_id"] for row in csv.DictReader(file) if row["kind"] == "color"}
    folders = {"masks": "masks", "images": "images"}
    return sides(data / "dsb2018", place, folders, is_held_out=lambda number, count: True, only=only)


def some_facades(count: int) -> DataSet:
    """The first so many of them."""
    whole = datasets.DATA_SETS["facades"]
    return DataSet(whole.title, whole.licence, f"1 to {count} learnt from, 301 to 400 judged", partial(facades, count=count))


def some_microscopy(count: int) -> DataSet:
    """So many of them."""
    whole = datasets.DATA_SETS["nuclei"]
    return DataSet(whole.title, whole.licence, f"{count} learnt from, 40 judged", partial(microscopy, count=count), public=True)


DATA_SETS = {
    "bsds500": datasets.DATA_SETS["bsds500"],
    "nuclei": datasets.DATA_SETS["nuclei"],
    "drive": datasets.DATA_SETS["drive"],
    "camvid": datasets.DATA_SETS["camvid"],
    "chase": DataSet("CHASE_DB1 (Fraz et al., 2012), retinas and their vessels", "CC BY 4.0, not verified", "20 judged", chase),
    "stained": DataSet("2018 Data Science Bowl, the stained pictures", "CC0", "91 judged", stained, public=True),
    **{f"facades-{count}": some_facades(count) for count in (25, 50, 100, 200, 300)},
    **{f"microscopy-{count}": some_microscopy(count) for count in (25, 50, 100, 200, 400)},
}
"""By name."""
