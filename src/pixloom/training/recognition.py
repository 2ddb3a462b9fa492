"""What data and a recipe say of each other where a person does not: the task, the recipe, the size of the crops, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixloom.config import DataConfig
from pixloom.data.sources import Listing, Record, discover
from pixloom.errors import ConfigError, DataError, ImageError, nearest
from pixloom.images import read_header
from pixloom.inference.runtimes import choose_device
from pixloom.methods import method_of
from pixloom.recipes import RECIPES, recipe

SIZES = (64, 128, 256)
"""Sides of crops that are offered."""

RECIPE_OF = {
    "conditional": "pix2pix",
    "regression": "regression",
    "bicycle": "bicycle",
    "cycle": "cyclegan",
    "contrastive": "cut",
    "multidomain": "retouch",
    "styles": "starganv2",
}
"""Method -> the recipe that is taken where only the method is named."""


def recipe_of(method: str, recipe_name: str | None) -> str:
    """The recipe of a method, where it is not named too."""
    if method not in RECIPE_OF:
        raise ConfigError(f"there is no method '{method}'", fix=nearest(method, RECIPE_OF))
    if recipe_name in RECIPES and recipe(recipe_name, size=256).method != method:
        raise ConfigError(
            f"the recipe '{recipe_name}' does not learn by the method '{method}'",
            why=f"its method is '{recipe(recipe_name, size=256).method}'",
            fix="leave --method or --recipe out",
        )
    return recipe_name or RECIPE_OF[method]


def recognise_task(place: Mapping[str, Any], recipe_name: str | None) -> tuple[str, str]:
    """The task that fits the data and a recipe, with the reason."""
    learns_from = "pairs" if recipe_name is None else method_of(recipe(recipe_name, size=256)).learns_from
    if learns_from == "domains":
        return "edit", f"task edit: the recipe '{recipe_name}' goes between classes or attributes"
    unpaired = f"task stylize: the recipe '{recipe_name}' needs no pairs, and there are none"
    try:
        listing = discover(DataConfig(**place), paired=None)
    except DataError:  # the two folders that are named hold no pairs
        if learns_from == "collections" and place.get("source_folder") and place.get("target_folder"):
            return "stylize", unpaired
        raise
    first = next((record for records in listing.splits.values() for record in records), None)
    if first is not None and (first.target is not None or first.sides):
        return "pair", "task pair: the data holds pairs"
    if learns_from == "collections":
        return "stylize", unpaired
    raise ConfigError(
        "it is not clear what to make of these pictures",
        where=place["path"],
        why=f"they are no pairs ({'; '.join(listing.notes) or listing.layout})",
        fix="name the task that makes the pairs, e.g. --task colorize, or give pairs",
    )


def choose_size(listing: Listing, *, device: str) -> tuple[int, str]:
    """The training size: the largest usual one that the median picture fills, and at most 128 px on a CPU."""
    median = _median_side(listing)
    on_cpu = choose_device(device).type == "cpu"
    fitting = [size for size in SIZES if size <= median and (size <= 128 or not on_cpu)]
    size = max(fitting, default=SIZES[0])
    why = f"the median picture's short side is {median} px" + (
        ", and without a GPU larger ones train too slowly" if on_cpu and median >= 256 else ""
    )
    return size, f"size {size}: {why}"


def enlarged(listing: Listing, *, size: int) -> list[str]:
    """A word where most pictures are smaller than the size that was asked for."""
    median = _median_side(listing)
    return [f"size {size}: most pictures are enlarged for it, the median picture's short side is {median} px"] if 0 < median < size else []


def _median_side(listing: Listing) -> int:
    records = listing.splits.get("train") or next(iter(listing.splits.values()), ())
    sides = sorted(side for record in records[:: max(1, len(records) // 50)] if (side := _short_side(record)))
    return sides[len(sides) // 2] if sides else 0


def _short_side(record: Record) -> int | None:
    try:
        header = read_header(record.source)
    except ImageError:
        return None
    return min(header.height, header.width // 2 if record.sides else header.width)
