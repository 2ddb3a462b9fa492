"""What exports cost and give: formats against torch, for four generators at 256 px.

    python -m benchmarks.portability --pictures FOLDER [--only unet resnet auto spade] [--formats onnx int8 program litert]

From the checkout, on a machine that does nothing else. Weights are random (drawn as training draws them), so that figures are of the
networks and the formats, not of what was learnt; eight bits are refused where random weights lose too much by them, which is written down.
Writes benchmarks/results/portability.json and the table in docs/portability.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch

from pixloom.config import TaskConfig
from pixloom.errors import DependencyError, ModelError
from pixloom.inference.export import export_onnx
from pixloom.inference.litert import export_litert
from pixloom.inference.program import export_program
from pixloom.inference.quantize import export_int8
from pixloom.modelfile import ModelDescription, describe_generator, save_model
from pixloom.nets import build
from pixloom.nets.layers import initialize
from pixloom.recipes import recipe
from pixloom.training.sizing import MEDIUM

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "portability.json", ROOT / "docs" / "portability.md"

SIDE = 256
RECIPES = {"unet": "pix2pix", "resnet": "cyclegan", "auto": "auto", "spade": "spade"}
TITLES = {"unet": "U-Net-256 (pix2pix)", "resnet": "ResNet-9 (CycleGAN)", "auto": "residual U-Net (auto, medium)", "spade": "SPADE"}
FORMATS = {"onnx": export_onnx, "int8": export_int8, "program": export_program, "litert": export_litert}

HEAD = """# Portability

Made by `python -m benchmarks.portability` from [benchmarks/results/portability.json](../benchmarks/results/portability.json): 256 px, three
channels in and out, random weights, real pictures among those that are compared. *Differs by* is the largest difference of a value in
[-1, 1] from torch's; *faster* is torch's time of a picture over that of the format, median of turns in one process, on {threads} threads of
a CPU ({machine}).

| generator | format | runtime | differs by | PSNR in dB | MiB | ms | faster |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(RECIPES))
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    options = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in options.only:
        for chosen in options.formats:
            known[f"{name}, {chosen}"] = measured(name, chosen, pictures=options.pictures)
            known["machine"] = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
            RESULTS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
            print(f"{name}, {chosen}: {known[f'{name}, {chosen}']}", flush=True)
    write_page(known)


def measured(name: str, chosen: str, *, pictures: Path) -> dict[str, Any]:
    """One network in one format: what it differs by, its size and its times."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        network(name, model)
        try:
            made = FORMATS[chosen](model, pictures=pictures)
        except (ModelError, DependencyError) as error:
            return {"refused": f"{error.what}: {error.why}" if error.why else error.what}
        return {
            "MiB": round(made.path.stat().st_size / 2**20, 1),
            "differences": {runtime: [found.largest, round(found.psnr, 1)] for runtime, found in made.differences.items()},
            "seconds": {runtime: round(value, 4) for runtime, value in made.seconds.items()},
        }


def network(name: str, folder: Path) -> None:
    """A model with the generator of a recipe and random weights."""
    config = recipe(RECIPES[name], size=SIDE)
    options = {**config.generator.options, **({"width": MEDIUM.width, "blocks": MEDIUM.blocks} if name == "auto" else {})}
    options = {key: value for key, value in options.items() if key != "conditions"}
    torch.manual_seed(0)
    generator = build(config.generator.name, options, source_channels=3, target_channels=3, size=SIDE)
    initialize(generator)
    described = describe_generator(config.generator.name, generator)
    inference = config.inference.model_copy(update={"dropout": False})
    save_model(folder, generator=generator, description=ModelDescription(TaskConfig(), described, inference, size=SIDE, recipe=name))


def write_page(known: dict[str, Any]) -> None:
    """The table."""
    rows = []
    for name in RECIPES:
        for chosen in FORMATS:
            found = known.get(f"{name}, {chosen}")
            if found is None:
                continue
            if "refused" in found:
                rows.append(f"| {TITLES[name]} | {chosen} | – | {found['refused']} | – | – | – | – |")
                continue
            own = found["seconds"]["torch"]
            for runtime, (largest, psnr) in found["differences"].items():
                seconds = found["seconds"].get(runtime)
                cells = [f"{1000 * seconds:.1f}", f"{own / seconds:.2f}"] if seconds else ["–", "–"]
                rows.append(
                    f"| {TITLES[name]} | {chosen} | {runtime} | {largest:.1e} | {psnr:.1f} | {found['MiB']} | {' | '.join(cells)} |"
                )
    PAGE.write_text(HEAD.format(**known["machine"]) + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
