"""The data of the races: links into folders of their own, with the split that is said here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.tasks import datasets
from benchmarks.tasks.datasets import DataSet, link


def facades(data: Path, place: Path, *, count: int) -> Path:
    """Photo and label map side by side: the first ``count``, and 301 to 400."""
    link(data / "facades" / "classes.csv", place / "classes.csv")
    for path in sorted((data / "facades" / "train").glob("*.jpg")):
        number = int(path.stem)
        if number <= count or number > 300:
            link(path, place / ("val" if number > 300 else "train") / path.name)
    return place


def some_facades(count: int) -> DataSet:
    """The first so many of them."""
    whole = datasets.DATA_SETS["facades"]
    return DataSet(whole.title, whole.licence, f"1 to {count} learnt from, 301 to 400 judged", partial(facades, count=count))


DATA_SETS = {
    "bsds500": datasets.DATA_SETS["bsds500"],
    "nuclei": datasets.DATA_SETS["nuclei"],
    **{f"facades-{count}": some_facades(count) for count in (25, 50, 100, 200, 300)},
}
"""By name."""
