"""How super-resolution is judged: on Set5 and Set14, as the field's tables have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.tasks.cases import RUN, Case, Figures, Found, number_of, value
from benchmarks.tasks.measures import Make, made_picture, numbers, picture
from pixloom.evaluation import Example, judged
from pixloom.images import list_pictures, read, with_channels
from pixloom.inference.translator import Translator
from pixloom.metrics.judging import judge, load_judges


def enlarged(case: Case) -> Found:
    """Set5 and Set14 whole, at their own size: PSNR and SSIM of Y as the field's tables have them, and LPIPS, against bicubic enlarging."""
    translate = Translator.from_pretrained(case.model)
    judges = load_judges(weights=case.weights, features=None)
    figures: Figures = {RUN: {}, "bicubic": {}, "real pictures": {}}
    shown: dict[str, dict[str, np.ndarray]] = {}
    count = 0
    for name in ("set5", "set14"):
        examples = [whole_example(translate, path) for path in list_pictures(case.pictures / name)]
        made = {example.id: translate.translate(picture(example.shown.source), size="native").pixels for example in examples}
        makers: dict[str, Make] = {RUN: lambda example, made=made: made[example.id], "bicubic": lambda example: example.shown.source_beside}
        for contender, make in makers.items():
            verdict = judge((judged(example, made_picture(make, example), task=translate.task) for example in examples), judges=judges)
            figures[contender] |= {f"{metric}, {name}": number for metric, number in numbers(verdict).items() if metric != "psnr"}
            figures[contender][f"grid of 4 px, {name}"] = number_of(np.mean([grid(make(example)) for example in examples]))
        figures["real pictures"][f"grid of 4 px, {name}"] = number_of(np.mean([grid(example.shown.target) for example in examples]))
        for example in examples[:: max(1, len(examples) // 4)]:
            shown[f"{name} {example.id}"] = {**{who: make(example) for who, make in makers.items()}, "target": example.shown.target}
        count += len(examples)
        ratio = value(figures, RUN, f"lpips, {name}") / value(figures, "bicubic", f"lpips, {name}")
        figures[RUN][f"lpips as a share of bicubic's, {name}"] = number_of(ratio)
    needs = {
        f"{words}, {name}": met
        for name in ("set5", "set14")
        for words, met in {
            "PSNR-Y at least bicubic's": value(figures, RUN, f"psnr_y, {name}") >= value(figures, "bicubic", f"psnr_y, {name}"),
            "LPIPS at most 0.7 of bicubic's": figures[RUN][f"lpips as a share of bicubic's, {name}"][0] <= 0.7,
        }.items()
    }
    protocol = {
        "pictures": "whole pictures at their own size, cut to a multiple of 4; 5 of Set5, 13 of Set14 (lenna left out); RGB",
        "metrics": judges.protocol() | {"psnr_y, ssim_y": "Y of ITU-R BT.601, 4 pixels left out at every border"},
        "grid of 4 px": "log10 of the power of the 15 frequencies whose periods are 4 and 2 px, each over the median of its neighbours', "
        "mean over frequencies and pictures: 0 where there is no such grid",
        "intervals": "95 %, bootstrap over pictures",
    }
    return Found(figures, count, protocol, needs, shown)


def whole_example(translate: Translator, path: Path) -> Example:
    """A picture at its own size, made small and as it is."""
    pixels = with_channels(read(path), 3).pixels
    return Example(path.stem, translate.task.views(pixels, None, rng=np.random.default_rng(0)))


def grid(pixels: np.ndarray, *, period: int = 4, reach: int = 8) -> float:
    """How much of a grid of so many pixels a picture carries: see the protocol of :func:`enlarged`.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.uniform(0, 255, (64, 64, 3))
    >>> noise[::4, ::4] += 200
    >>> bool(grid(noise) > 1 > grid(rng.uniform(0, 255, (64, 64, 3))))
    True
    """
    grey = pixels.astype(np.float64).mean(axis=2)
    rows, columns = (side // (4 * period) * 4 * period for side in grey.shape)
    grey = (grey - grey.mean())[:rows, :columns] * np.hanning(rows)[:, None] * np.hanning(columns)
    power, found = np.square(np.abs(np.fft.fft2(grey))), []
    for vertical, horizontal in np.ndindex(period, period):
        if vertical or horizontal:
            around = [
                np.arange(part * side // period - reach, part * side // period + reach + 1) % side
                for part, side in ((vertical, rows), (horizontal, columns))
            ]
            near = power[np.ix_(*around)]
            found.append(np.log10(near[reach - 1 : reach + 2, reach - 1 : reach + 2].mean() / np.median(near)))
    return float(np.mean(found))
