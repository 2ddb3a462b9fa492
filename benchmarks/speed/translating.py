"""One picture after the other through the same weights, in one process. A worker.

python -m benchmarks.speed.translating plain|torch|onnxruntime|openvino MODEL PICTURE
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.speed.harness import peak_mib, serve

Translate = Callable[[np.ndarray], np.ndarray]


def main(side: str, model: str, picture: str) -> None:
    with Image.open(picture) as file:
        pixels = np.array(file)
    translate = plain(model) if side == "plain" else ours(model, runtime=side)

    def run(count: int) -> dict[str, float]:
        started, started_cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            translate(pixels)
        return {"seconds": (time.perf_counter() - started) / count, "cpu_seconds": (time.process_time() - started_cpu) / count}

    serve({"run": run, "peak": peak_mib, "result": lambda: translate(pixels).tolist()})


def plain(weights: str) -> Translate:
    """Eager torch."""
    from benchmarks.speed.plain_translate import load, translate

    return partial(translate, load(weights))


def ours(model: str, *, runtime: str) -> Translate:
    """Pixloom's public call."""
    from pixloom import Translator

    return Translator.from_pretrained(model, runtime=runtime)


if __name__ == "__main__":
    main(*sys.argv[1:])
