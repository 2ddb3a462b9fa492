"""The foundation's real runs: colorize on BSDS500, facades in both directions, by pix2pix and by cgan, with their L1-only twin.

    python benchmarks/foundation.py NAME... --data FOLDER --out runs/foundation [--size 128] [--seed 0]

FOLDER holds `bsds500/` and `facades/` (see benchmarks/README.md). A run that was stopped is continued, a finished one only judged again.
The length is fixed in images, to about 20 minutes of one CPU core, so that a busy machine delays a run but does not change it; the
processor time that it really took is recorded. The numbers of each run go to benchmarks/results/foundation/NAME-seedS.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "foundation"
PIXLOOM = [sys.executable, "-m", "pixloom"]

RUNS = {
    "colorize-pix2pix": ("bsds", 2000, ["--task", "colorize", "--recipe", "pix2pix"]),
    "label2photo-pix2pix": ("facades", 2000, ["--direction", "BtoA", "--recipe", "pix2pix"]),
    "photo2label-pix2pix": ("facades", 2000, ["--direction", "AtoB", "--recipe", "pix2pix"]),
    "colorize-cgan": ("bsds", 4800, ["--task", "colorize", "--recipe", "cgan"]),
    "label2photo-cgan": ("facades", 4800, ["--direction", "BtoA", "--recipe", "cgan"]),
    "colorize-regression": ("bsds", 2000, ["--task", "colorize", "--recipe", "regression"]),
    "label2photo-regression": ("facades", 2000, ["--direction", "BtoA", "--recipe", "regression"]),
}


def facades(data: Path, out: Path) -> Path:
    """Links to the facades with the development split: 1..360 to learn from, 361..400 to judge."""
    folder = out / "data" / "facades"
    for path in (data / "facades" / "train").glob("*.jpg"):
        link = folder / ("val" if int(path.stem) > 360 else "train") / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.resolve())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*RUNS, "all"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/foundation"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in RUNS if "all" in options.names else options.names:
        run(name, options)


def run(name: str, options: argparse.Namespace) -> None:
    source, images, arguments = RUNS[name]
    data = facades(options.data, options.out) if source == "facades" else options.data / "bsds500" / "images"
    folder = options.out / f"{name}-seed{options.seed}"
    result = RESULTS / f"{name}-seed{options.seed}.json"
    former = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    before = os.times()
    if (folder / "model-last").is_dir():
        pass  # finished: only judged again
    elif (folder / "config.yaml").exists():
        call("resume", folder)
    else:
        call("train", data, *arguments, "--size", options.size, "--images", images, "--seed", options.seed, "--out", folder)
    after = os.times()
    minutes = (after.children_user + after.children_system - before.children_user - before.children_system) / 60
    twin = options.out / f"{name.split('-')[0]}-regression-seed{options.seed}"
    against = ["--against", twin] if (twin / "model").is_dir() and twin != folder else []
    reports = {}
    for kind in ("model", "model-last"):
        out = folder / f"judged-{kind}"
        call("evaluate", folder / kind, data, "--split", "val", "--out", out, "--overwrite", *against)
        evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        reports["best" if kind == "model" else "last"] = {
            key: evaluation[key] for key in ("count", "means", "floors", "baselines", "protocol")
        }
    record = {
        "name": name,
        "command": f"python benchmarks/foundation.py {name} --size {options.size} --seed {options.seed}",
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        "processor_minutes": round(minutes, 1) if minutes > 1 else former.get("processor_minutes"),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "environment": {
            key: value for key, value in json.loads((folder / "environment.json").read_text(encoding="utf-8")).items() if key != "command"
        },
        **reports,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1).replace(str(options.data), "DATA").replace(str(options.out), "OUT")
    result.write_text(text + "\n", encoding="utf-8")


def call(*arguments: object) -> None:
    subprocess.run([*PIXLOOM, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
