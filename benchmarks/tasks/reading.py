"""Label map to photo, judged by what a segmenter of real pictures reads off the photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.tasks.cases import RUN, TWIN, Case, Figures, Found, Number, number_of, value
from benchmarks.tasks.espnet import FILE, load_reader
from benchmarks.tasks.measures import Make, on_examples, opened, picture
from pixloom.evaluation import translated
from pixloom.inference.translator import Translator
from pixloom.metrics.segmentation import confusion, dice, miou, pixel_accuracy
from pixloom.tasks.segment import Segment

REAL = "real pictures"

Read = Callable[[np.ndarray], np.ndarray]
"""Pixels of a photo to numbers of classes."""


def synthesized(case: Case) -> Found:
    """LPIPS and KID; and the mIoU that segmenters read off the photos, against what they read off the real ones."""
    found = on_examples(case, sets=True)
    translators, examples = opened(case)
    makers: dict[str, Make] = {
        name: lambda example, translator=translator: translated(translator, example.shown).pixels
        for name, translator in translators.items()
    }
    makers[REAL] = lambda example: example.shown.target
    segmenter = Translator.from_pretrained(next(iter(case.helpers.values())) / "model-last")
    assert isinstance(segmenter.task, Segment)
    vocabulary = segmenter.task.vocabulary
    readers: dict[str, Read] = {"segmenter trained here": lambda pixels: vocabulary.ids(segmenter.translate(picture(pixels)).pixels)}
    if len(vocabulary.kept) == 11 and (case.weights / FILE).is_file():
        readers["ESPNet"] = load_reader(case.weights)
    figures: Figures = {name: dict(row) for name, row in found.figures.items()} | {REAL: {}}
    for maker, make in makers.items():
        counts: dict[str, np.ndarray] = {}
        for example in examples:
            photo, truth = make(example), vocabulary.ids(example.shown.source)
            for reader, read in readers.items():
                met = confusion(read(photo), truth, classes=len(vocabulary.kept))
                counts[reader] = counts.get(reader, 0) + met
        for reader, total in counts.items():
            figures[maker] |= readings(total, reader)
    if "ESPNet" in readers:
        figures[REAL] |= whole_frames(readers["ESPNet"], case.data, vocabulary.ids)
    needs = {
        f"mIoU that the {reader} reads at least half of that on real pictures": value(figures, RUN, f"miou, {reader}")
        >= value(figures, REAL, f"miou, {reader}") / 2
        for reader in readers
    }
    protocol = {
        **found.protocol,
        "reading": "the segmenter learnt from the real pictures of the training split alone (recipe regression, seed 0); mIoU over all "
        "pixels of the held-out pictures together, against the label maps that the photos were made from; the real pictures are read at "
        "the same size",
    }
    if TWIN in figures:
        needs["KID below the twin's"] = all(
            figures[RUN][name][0] < figures[TWIN][name][0] for name in figures[TWIN] if name.startswith("kid")
        )
    return Found(figures, found.count, protocol, needs, found.strips)


def readings(counts: np.ndarray, reader: str) -> dict[str, Number]:
    """Figures of a confusion matrix."""
    numbers = {f"miou, {reader}": miou(counts), f"pixel accuracy, {reader}": pixel_accuracy(counts)}
    if len(counts) == 2:
        numbers[f"dice, {reader}"] = float(dice(counts)[1])
    return {name: number_of(number) for name, number in numbers.items()}


def whole_frames(read: Read, camvid: Path, ids: Callable[[np.ndarray], np.ndarray]) -> dict[str, Number]:
    """What a reader makes of the real frames at their own size, to show that it is what its authors published."""
    from pixloom.images import list_pictures
    from pixloom.images import read as open_picture

    total: np.ndarray | int = 0
    for path in list_pictures(camvid / "images" / "val"):
        truth = ids(open_picture(camvid / "masks" / "val" / f"{path.stem}.png").pixels)
        total = total + confusion(read(open_picture(path).pixels), truth, classes=11)
    assert isinstance(total, np.ndarray)
    return readings(total, "ESPNet on whole frames of 240 x 180")
