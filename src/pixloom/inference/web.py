"""A model as a static folder: the page, the exported network, and ONNX Runtime Web, so that a browser translates without a server.

What the page does with a picture, in JavaScript, is what ``tasks`` and ``translator`` do: :func:`recipe_of` says it in data. What differs
is listed in docs/page.md. Tasks whose steps the page does not know are refused with the reason.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pixloom.conditions import build_conditions
from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError
from pixloom.files import new_folder
from pixloom.inference.choice import find_model
from pixloom.inference.face import Face, face_of
from pixloom.inference.onnxfile import Signature
from pixloom.modelfile import ModelDescription, model_card, read_description
from pixloom.tasks import build_task

MODEL, NETWORK, CARD, RUNTIME = "model.json", "model.onnx", "card.md", "runtime"

MODULES = {"wasm": "ort.wasm.bundle.min.mjs", "webgpu": "ort.webgpu.bundle.min.mjs"}
"""The modules of ONNX Runtime Web by what they compute on; the second one is left out where it is not there."""

BINARIES = {"wasm": "ort-wasm-simd-threaded", "webgpu": "ort-wasm-simd-threaded.asyncify"}
"""What each of them loads, without the suffix."""

INSTALLED = Path("node_modules/onnxruntime-web/dist")

STATED = ("label", "attributes")
"""Conditions that the page can encode."""


@dataclass(frozen=True)
class WebExport:
    """What was written.

    Attributes:
        folder: of the page.
        bytes: of all its files.
        left_out: conditions that the page does not offer.
        runtimes: what it can compute on, ``wasm`` and perhaps ``webgpu``.
    """

    folder: Path
    bytes: int
    left_out: tuple[str, ...]
    runtimes: tuple[str, ...]


def export_web(
    model: str | Path,
    *,
    out: str | Path | None,
    runtime_files: str | Path | None = None,
    pictures: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> WebExport:
    """Write a model as a static folder that any web server can hand out.

    Args:
        model: a model folder or a run folder.
        out: the folder to be made.
        runtime_files: the folder ``dist`` of the npm package onnxruntime-web; None: the one installed in the current folder.
        pictures: to compare the exported network on, see :func:`pixloom.inference.export.export_onnx`.
        overwrite: whether an existing folder that was exported before is replaced.
        say: called with a line once nothing more stands in the way.

    Raises:
        ConfigError: no place is named.
        DependencyError: onnxruntime-web is not there, or the extra ``export`` is not installed.
        ModelError: no model there, or one that a browser cannot use.
        OutputError: the place is taken, or cannot be written.
    """
    folder = find_model(Path(model))
    place = _place(out, overwrite=overwrite)
    description, _ = read_description(folder)
    left_out = check_web(description)
    runtime = find_runtime(runtime_files)
    from pixloom.inference.export import export_onnx
    from pixloom.inference.onnxfile import read_export

    with new_folder(place, what="the web page") as draft:
        export_onnx(folder, out=draft / NETWORK, pictures=pictures, say=say)
        signature = read_export(draft / NETWORK).signature
        names = copy_runtime(runtime, draft / RUNTIME)
        _copy_page(draft)
        name = Path(model).resolve().name
        tree = {
            "id": "model",
            "title": name,
            **face_for_web(description, title=name),
            "onnx": recipe_of(description, signature, runtimes=names),
        }
        (draft / MODEL).write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (draft / CARD).write_text(model_card(description).partition("\n---\n")[2].lstrip(), encoding="utf-8")
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return WebExport(place, size, left_out, tuple(names))


def check_web(description: ModelDescription) -> tuple[str, ...]:
    """Refuse a model whose pictures the page cannot prepare or finish; the conditions that it leaves out.

    Raises:
        ModelError: with the reason.
    """
    task = build_task(description.task)
    if why := _unknown_steps(description):
        raise ModelError(
            f"a model of the task '{description.task.name}' cannot be exported for browsers",
            why=why,
            fix="serve it: pixloom serve, or export it as onnx for a program of your own",
        )
    conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
    left_out = tuple(name for name in conditions.names if name not in STATED)
    needed = next((name for name in left_out if name not in conditions.optional), None)
    only = task.between and not task.wanted() and len(left_out) == len(conditions.names)
    if needed or only:
        raise ModelError(
            "this model cannot be exported for browsers",
            why=f"it needs a {needed or left_out[0]}, which the page cannot prepare without a server",
            fix="serve it: pixloom serve",
        )
    return left_out


def _unknown_steps(description: ModelDescription) -> str | None:
    """Why the page does not know how to prepare or finish pictures of a model."""
    name, options = description.task.name, description.task.options
    channels = int(description.generator.options["source_channels"]) - (1 if name == "inpaint" else 0)
    if name in ("super-resolve", "restore"):
        return "its pictures go through at their own size, in tiles, which takes more memory than a browser gives"
    if name == "inpaint" and options.get("feather"):
        return "its translations fade out around the hole by a blur that browsers do not have"
    if name not in ("synthesize", "colorize") and channels not in (1, 3):
        return f"its pictures have {channels} channels, and a browser reads colour and grey ones"
    if not build_task(description.task).makes_labels and int(description.generator.options["target_channels"]) not in (1, 2, 3):
        return "its translations are neither colour nor grey, and a browser shows nothing else"
    return None


def face_for_web(description: ModelDescription, *, title: str = "") -> Face:
    """The face of a model without what the page cannot do by itself."""
    face = face_of(description, title=title)
    return {**face, "reference": False, "text": False, "map": None, "image": None}


def recipe_of(description: ModelDescription, signature: Signature, *, runtimes: Mapping[str, str]) -> dict[str, Any]:
    """``onnx`` in ``model.json``: what the page does with a picture before and after the network.

    Args:
        description: of the model.
        signature: what the network takes.
        runtimes: modules of ONNX Runtime Web by what they compute on.
    """
    return {
        "file": NETWORK,
        "runtimes": {name: f"{RUNTIME}/{module}" for name, module in runtimes.items()},
        "inputs": {
            "source": int(description.generator.options["source_channels"]),
            "noise": signature.noise_channels,
            "kept": [asdict(layer) for layer in signature.dropped],
            "conditions": {kind: list(shape) for kind, shape in signature.conditions.items()},
        },
        "output": "output",
        "range": [-1, 1],
        "size": {"short_side": description.size, "multiple": signature.size_multiple, "least": signature.min_size, "most_squares": 16},
        "encode": _encoding(description),
        "compose": _composing(description),
    }


def _encoding(description: ModelDescription) -> dict[str, Any]:
    """From a picture to the network's input."""
    name = description.task.name
    if name == "synthesize":
        return {"kind": "planes"}
    if name == "colorize":
        return {"kind": "lightness", "hints": bool(description.task.options.get("hints", False))}
    return {"kind": "hole"} if name == "inpaint" else {"kind": "picture"}


def _composing(description: ModelDescription) -> dict[str, Any]:
    """From the network's output to a picture."""
    name, options = description.task.name, description.task.options
    if name == "segment":
        return {"kind": "classes"}
    if name == "colorize" and options.get("space", "lab") == "lab":
        return {"kind": "lab"}
    if name == "stylize" and options.get("keep_colour"):
        return {"kind": "picture", "keep_colour": float(options["keep_colour"])}
    return {"kind": "hole"} if name == "inpaint" else {"kind": "picture"}


def find_runtime(folder: str | Path | None) -> Path:
    """The folder with ONNX Runtime Web's files.

    Args:
        folder: as it was named: ``dist`` itself, the package, or a folder in which it was installed; None: the current one.

    Raises:
        DependencyError: they are not there.
    """
    root = Path(folder) if folder is not None else Path()
    for place in (root, root / "dist", root / INSTALLED):
        if (place / MODULES["wasm"]).is_file() and (place / f"{BINARIES['wasm']}.wasm").is_file():
            return place
    raise DependencyError(
        "ONNX Runtime Web is not here",
        where=folder,
        why=f"a browser computes with it, and no folder of it holds {MODULES['wasm']} and {BINARIES['wasm']}.wasm",
        fix="run npm install onnxruntime-web in this folder, or name its folder: --runtime-files node_modules/onnxruntime-web/dist",
    )


def copy_runtime(source: Path, target: Path) -> dict[str, str]:
    """Copy what the page loads of ONNX Runtime Web; the modules by what they compute on."""
    target.mkdir()
    found = {}
    for name, module in MODULES.items():
        wanted = [module, *(f"{BINARIES[name]}{suffix}" for suffix in (".mjs", ".wasm"))]
        if all((source / file).is_file() for file in wanted):
            for file in wanted:
                shutil.copyfile(source / file, target / file)
            found[name] = module
    return found


def _place(out: str | Path | None, *, overwrite: bool) -> Path:
    if out is None:
        raise ConfigError("a page needs a folder of its own", fix="--out web")
    place = Path(out).expanduser().resolve()  # of a link, what it leads to
    if Path.cwd().resolve().is_relative_to(place):
        raise OutputError("the current folder cannot be replaced", where=place, fix="choose another --out, e.g. --out web")
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        if not _is_exported(place):
            raise OutputError("this place is taken by something that is not an exported page", where=place, fix="choose another --out")
        if not overwrite:
            raise OutputError("the folder exists already", where=place, fix="choose another --out, or replace it with --overwrite")
        if others := sorted({path.name for path in place.iterdir()} - {"index.html", "assets", MODEL, NETWORK, CARD, RUNTIME}):
            raise OutputError(
                "there is more in this folder than an exported page",
                where=place,
                why=", ".join(others[:5]),
                fix="move it, or choose another --out",
            )
    return place


def _is_exported(folder: Path) -> bool:
    """Whether a folder holds a page that was exported: its description says what the network takes."""
    try:
        tree = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(tree, dict) and "onnx" in tree and (folder / NETWORK).is_file()


def _copy_page(folder: Path) -> None:
    """The page itself, as the server has it."""
    with as_file(files("pixloom") / "serve" / "page") as page:
        index = (page / "index.html").read_text(encoding="utf-8")
        named = index.replace("<title>", f'<meta name="pixloom-model" content="{MODEL}">\n<title>', 1)
        (folder / "index.html").write_text(named, encoding="utf-8")
        shutil.copytree(page / "assets", folder / "assets")
