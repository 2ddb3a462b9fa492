"""Examples made ready one after the other, by three ways from the same files. A worker.

python -m benchmarks.speed.loading pixloom|pillow|peer --folder FOLDER [--checkout FOLDER]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.speed.harness import peak_mib, serve

LOAD_SIDE, SIZE = 286, 256
"""Those of pix2pix: resized, then cropped at random."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("pixloom", "pillow", "peer"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--checkout", type=Path)
    options = parser.parse_args()
    if options.side == "pixloom":
        examples = our_batches(options.folder)
    else:
        torch.set_num_threads(1)  # as a worker of torch's DataLoader does
        examples = pillow_examples(options.folder) if options.side == "pillow" else peer_examples(options.folder, options.checkout)

    def draw(count: int) -> dict[str, float]:
        started, started_cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            next(examples)
        return {"seconds": (time.perf_counter() - started) / count, "cpu_seconds": (time.process_time() - started_cpu) / count}

    serve({"draw": draw, "peak": peak_mib})


def pillow_example(path: Path, *, top: int, left: int, flip: bool) -> tuple[Tensor, Tensor]:
    """Decode, part, resize, crop, mirror, scale: (3, 256, 256) in [-1, 1] for both sides."""
    with Image.open(path) as file:
        pair = file.convert("RGB")
    middle = pair.width // 2
    halves = pair.crop((0, 0, middle, pair.height)), pair.crop((middle, 0, pair.width, pair.height))
    first, second = (pillow_side(half, top=top, left=left, flip=flip) for half in halves)
    return first, second


def pillow_side(picture: Image.Image, *, top: int, left: int, flip: bool) -> Tensor:
    """One side of :func:`pillow_example`."""
    picture = picture.resize((LOAD_SIDE, LOAD_SIDE), Image.Resampling.BICUBIC).crop((left, top, left + SIZE, top + SIZE))
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div_(127.5).sub_(1)


def pillow_examples(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Without end, in a new order each pass."""
    paths, rng = sorted((folder / "train").glob("*.jpg")), random.Random(0)
    while True:
        for path in rng.sample(paths, len(paths)):
            top, left = rng.randint(0, LOAD_SIDE - SIZE), rng.randint(0, LOAD_SIDE - SIZE)
            yield pillow_example(path, top=top, left=left, flip=rng.random() < 0.5)


def our_batches(folder: Path) -> Iterator[Any]:
    """Pixloom's training batches of one, as a run at 256 px has them after its first pass."""
    from pixloom.data.loading import training_batches
    from pixloom.training.plan import load_pictures, make_plan

    plan = make_plan(str(folder), size=SIZE, images=1000, device="cpu")
    pictures = load_pictures(plan, size=SIZE, cache_gib=plan.config.data.cache_gib)
    assert pictures.load_side == LOAD_SIDE
    for index in range(len(pictures)):
        pictures.load(index)
        assert pictures.holds(index)
    return training_batches(pictures, batch_size=1, seed=0, start_image=0, size=SIZE, flip=plan.config.data.flip)


def peer_examples(folder: Path, checkout: Path) -> Iterator[Any]:
    """The peer's aligned data set with its defaults, as its loader with no extra process would ask it."""
    from benchmarks.speed.peer import stand_in

    sys.path[:0] = [str(checkout), *stand_in()]
    from data.aligned_dataset import AlignedDataset  # type: ignore[import-not-found]

    options = argparse.Namespace(
        dataroot=str(folder),
        phase="train",
        max_dataset_size=float("inf"),
        direction="AtoB",
        input_nc=3,
        output_nc=3,
        load_size=LOAD_SIDE,
        crop_size=SIZE,
        preprocess="resize_and_crop",
        no_flip=False,
    )
    examples = AlignedDataset(options)
    while True:
        for index in random.Random(0).sample(range(len(examples)), len(examples)):
            yield examples[index]


if __name__ == "__main__":
    main()
