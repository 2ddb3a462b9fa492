"""How portable models are: formats, other programs' models, sizes, films and folders with broken pictures.

    python -m benchmarks.portability formats --pictures FOLDER [--only unet resnet auto spade] [--formats onnx int8 program litert]
    python -m benchmarks.portability families
    python -m benchmarks.portability tiles
    python -m benchmarks.portability film --photo FILE --model MODEL
    python -m benchmarks.portability intake --pictures FOLDER --model MODEL
    python -m benchmarks.portability page

From the checkout, on a machine that does nothing else. Records go to benchmarks/results/portability; ``page`` writes docs/portability.md
from them.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "portability", ROOT / "docs" / "portability.md"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    from benchmarks.portability import families, film, formats, intake, page, tiles

    if options.what == "formats":
        record = RESULTS / "formats.json"
        known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))["rows"] if record.is_file() else {}
        for key, row in formats.measured(options.pictures, only=options.only, formats=options.formats):
            print(f"{key}: {row}", flush=True)
            known[key] = row
            write("formats", known)
    elif options.what == "families":
        write("families", families.measured())
    elif options.what == "tiles":
        write("tiles", tiles.measured())
    elif options.what == "film":
        write("film", film.measured(options.photo, options.model))
    elif options.what == "intake":
        write("intake", intake.measured(options.pictures, options.model))
    else:
        page.write_page(RESULTS, PAGE)


def write(name: str, rows: Any) -> None:
    """Keep what was measured, and on what."""
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    from benchmarks.portability.formats import FORMATS, RECIPES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["formats", "families", "tiles", "film", "intake", "page"])
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--photo", type=Path, help="one large photograph")
    parser.add_argument("--model", type=Path, help="a model from pictures to pictures")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    options = parser.parse_args(arguments)
    for wanted, of in (("pictures", ("formats", "intake")), ("photo", ("film",)), ("model", ("film", "intake"))):
        if options.what in of and getattr(options, wanted) is None:
            parser.error(f"{options.what} needs --{wanted}")
    return options


if __name__ == "__main__":
    main()
