"""How runs are judged: functions from a case to figures and pictures, on data that the runs did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.tasks.cases import INPUT, RUN, TWIN, Case, Figures, Found, Number, number_of, value
from pixloom.config import load_config
from pixloom.data.sources import discover
from pixloom.evaluation import Example, Examples, choose_records, judged, judges_for, open_examples, translated
from pixloom.images import Picture, list_pictures, read, with_channels
from pixloom.inference.translator import Translator
from pixloom.metrics.judging import Estimate, Verdict, judge
from pixloom.tasks.colorize import rgb_to_lab
from pixloom.tasks.masks import as_mask

Show = Callable[[Example], Picture]
"""What a contender makes of an example."""

Make = Callable[[Example], np.ndarray]
"""The same, as pixels."""

NUM_SHOWN = 6
"""Examples in a gallery, evenly spread."""


# ---- On the held-out pictures, at the trained size


def restored(case: Case) -> Found:
    """Common metrics against the input and the twin."""
    found = on_examples(case)
    return with_needs(found, "better than its input", psnr=1, lpips=-1, against=INPUT)


def colorized(case: Case) -> Found:
    """Colourfulness and LPIPS against the grey input and the twin; and whether the lightness of large pictures stays as it was."""
    found = on_examples(case)
    lightness, protocol = kept_lightness(case)
    figures = {**found.figures, RUN: found.figures[RUN] | lightness}
    needs = {
        "LPIPS below that of the grey input": value(figures, RUN, "lpips") < value(figures, INPUT, "lpips"),
        "more colourful than the twin": TWIN in figures and value(figures, RUN, "colourfulness") > value(figures, TWIN, "colourfulness"),
        "L kept to within 0.5 (rounding) wherever no channel is clipped": lightness["max |dL|, no channel at 0 or 255"][0] <= 0.5,
    }
    return Found(figures, found.count, {**found.protocol, "lightness": protocol}, needs, found.strips)


def inpainted(case: Case) -> Found:
    """PSNR in the hole and LPIPS against the mean of the known pixels and a classical method, on the same masks."""
    extra = {"mean of the known pixels": mean_fill, "biharmonic (scikit-image)": biharmonic_fill}
    found = on_examples(case, extra=extra, limit=50)
    needs = {
        f"{metric} better than {other}": (value(found.figures, RUN, metric) - value(found.figures, other, metric)) * sign > 0
        for other in extra
        for metric, sign in (("lpips", -1), ("hole_psnr", 1))
    }
    return Found(found.figures, found.count, found.protocol, needs, found.strips)


def segmented(case: Case) -> Found:
    """mIoU (or Dice) against the twin and every pixel of the commonest class."""
    found = on_examples(case)
    metric = "dice" if "dice" in found.figures[RUN] else "miou"
    needs = {f"{metric} at least the twin's": value(found.figures, RUN, metric) >= value(found.figures, TWIN, metric)} if case.twin else {}
    return Found(found.figures, found.count, found.protocol, needs, found.strips)


def on_examples(case: Case, *, extra: Mapping[str, Make] | None = None, limit: int | None = None, sets: bool = False) -> Found:
    """The run, its twin, what others make, and the input itself, on the held-out examples.

    Args:
        case: what is judged.
        extra: other contenders.
        limit: judge only so many, evenly spread.
        sets: whether KID and Frechet distance are computed.
    """
    translators, examples = opened(case, limit=limit)
    task = examples.task
    judges = judges_for(task, weights=case.weights, features="inception-768" if sets else None)
    shows: dict[str, Show] = {name: partial(_translated, translator) for name, translator in translators.items()}
    shows |= {name: partial(made_picture, make) for name, make in (extra or {}).items()}
    shows[INPUT] = partial(made_picture, lambda example: task.input_baseline(example.shown))
    figures: Figures = {}
    real = None
    for name, show in shows.items():
        verdict = judge((judged(example, show(example), task=task) for example in examples), judges=judges, real=real, summary=task.totals)
        real = verdict.real
        figures[name] = numbers(verdict)
    figures[RUN] |= {f"{name}, real against real": number_of(floor) for name, floor in verdict.floors.items()}
    protocol = {
        "split": "val",
        "pictures": f"short side to {examples.size} px, then the centre square; compared at that size",
        "metrics": judges.protocol(),
        "intervals": "95 %, bootstrap over pictures",
        "unusable": dict(examples.pictures.bad),
    }
    return Found(figures, len(examples) - len(examples.pictures.bad), protocol, strips=strips(examples, shows))


def opened(case: Case, *, limit: int | None = None) -> tuple[dict[str, Translator], Examples]:
    """The run and its twin, and the held-out examples at the trained size."""
    folders = {RUN: case.model} | ({TWIN: case.twin / "model-last"} if case.twin else {})
    translators = {name: Translator.from_pretrained(folder) for name, folder in folders.items()}
    main = translators[RUN]
    listing = discover(load_config(case.run / "config.yaml").data, paired=main.task.needs_pairs)
    _, records = choose_records(listing, split="val", limit=limit)
    return translators, open_examples(records, task=main.task, size=main.description.size)


def numbers(verdict: Verdict) -> dict[str, Number]:
    """The means of a verdict as they are recorded."""
    return {name: plain(estimate) for name, estimate in verdict.means.items()}


def plain(estimate: Estimate) -> Number:
    """An estimate as it is recorded."""
    return estimate.mean, estimate.low, estimate.high


def strips(examples: Examples, shows: Mapping[str, Show]) -> dict[str, dict[str, np.ndarray]]:
    """Input, what every contender makes of it, and the target, of a few examples."""
    count = min(NUM_SHOWN, len(examples))
    chosen = [examples.load(place * len(examples) // count) for place in range(count)]
    return {
        example.id: {
            INPUT: example.shown.source_beside,
            **{name: show(example).pixels for name, show in shows.items() if name != INPUT},
            "target": example.shown.target,
        }
        for example in chosen
        if example is not None
    }


def with_needs(found: Found, words: str, *, against: str, **signs: int) -> Found:
    """Requirements that a metric is better than another contender's; the sign says which way is better."""
    needs = {
        f"{metric}: {words}": (value(found.figures, RUN, metric) - value(found.figures, against, metric)) * sign > 0
        for metric, sign in signs.items()
    }
    return Found(found.figures, found.count, found.protocol, {**found.needs, **needs}, found.strips)


def _translated(translator: Translator, example: Example) -> Picture:
    return translated(translator, example.shown)


def made_picture(make: Make, example: Example) -> Picture:
    """What a function of pixels makes of an example."""
    return picture(make(example))


def picture(pixels: np.ndarray) -> Picture:
    """Pixels as a picture."""
    return Picture(pixels=np.ascontiguousarray(pixels), alpha=None, notes=())


# ---- Holes


def mean_fill(example: Example) -> np.ndarray:
    """The hole filled with the mean of the known pixels."""
    hole, filled = as_mask(example.shown.given["mask"]), example.shown.source.copy()
    filled[hole] = np.rint(filled[~hole].mean(axis=0))
    return filled


def biharmonic_fill(example: Example) -> np.ndarray:
    """The hole filled by the biharmonic equation (Damelin and Hoang, 2018), as scikit-image solves it."""
    from skimage.restoration import inpaint_biharmonic

    hole, source = as_mask(example.shown.given["mask"]), example.shown.source
    filled = inpaint_biharmonic(source, hole, split_into_regions=True, channel_axis=-1)
    return np.where(hole[..., None], np.rint(np.clip(filled, 0, 1) * 255), source).astype(np.uint8)


# ---- Lightness


def kept_lightness(case: Case, *, count: int = 10) -> tuple[dict[str, Number], str]:
    """How far L of a translation is from L of its source, on pictures of about 1024 px; both as 8-bit RGB."""
    translate = Translator.from_pretrained(case.model)
    paths = list_pictures(case.pictures / "sun_hays80")
    parts = [_lightness(translate, path) for path in paths[:: max(1, len(paths) // count)][:count]]
    difference, inside = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    figures = {
        "max |dL|": difference.max(),
        "max |dL|, no channel at 0 or 255": difference[inside].max(),
        "mean |dL|": difference.mean(),
        "L within 1, % of pixels": 100 * (difference <= 1).mean(),
    }
    words = (
        f"{len(parts)} pictures of sun_hays80, 1024 px; CIE Lab under D65 of the 8-bit source and the 8-bit translation. Rounding to 8 "
        "bits moves L by up to about 0.5; a colour outside sRGB is clipped, which leaves a channel at 0 or 255 and moves L further"
    )
    return {name: number_of(number) for name, number in figures.items()}, words


def _lightness(translate: Translator, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """|dL| of every pixel, and whether the translated pixel is inside the gamut for sure."""
    source = with_channels(read(path), 3)
    made = translate.translate(source).pixels
    lightness = [rgb_to_lab(pixels.astype(np.float32) / 255)[..., 0] for pixels in (source.pixels, made)]
    return np.abs(lightness[0] - lightness[1]).ravel(), ((made > 0) & (made < 255)).all(axis=-1).ravel()
