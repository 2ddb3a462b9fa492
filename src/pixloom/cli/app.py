"""The command line: parses, calls one function of the package per command, prints. No torch before a command needs it."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pixloom import __version__
from pixloom.errors import PixloomError
from pixloom.serve.limits import Limits

LIMITS = Limits()

EPILOG = """\b
Exit codes:
  0    all went well
  1    inspect found a problem in the data, or doctor one in the installation
  2    an error, in one message that says what to do; translate: some pictures failed
  130  interrupted by Ctrl-C; a training is saved and can be resumed
  143  ended by SIGTERM; likewise
"""

app = typer.Typer(
    name="pixloom",
    help="Turn images into other images: train a conditional GAN on your own folder, see how good it is, use it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEBUG = "PIXLOOM_DEBUG"

HEAVY = ("torch", "accelerate", "torchmetrics", "jaxtyping")
"""Packages that using an exported model does not need."""

Data = Annotated[str, typer.Argument(help="A folder of pictures, or an index file (.csv, .jsonl).")]
Layout = Annotated[str, typer.Option(help="How the data lies: auto, sides (A|B in one file), folders, pictures, index.")]
Source = Annotated[str | None, typer.Option("--source", help="Name of the folder of source pictures, where there are more than two.")]
Target = Annotated[str | None, typer.Option("--target", help="Name of the folder of target pictures.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        help="What steers the translation besides the source: label, attributes, text, map, image, style, noise; several with commas.",
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of feature networks for LPIPS, KID and FID (else $PIXLOOM_WEIGHTS, else the user's cache).")
]


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="A folder of pictures, or an index file (.csv, .jsonl).")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="The run folder to make, e.g. runs/x. Needed unless --dry-run.")] = None,
    task: Annotated[str | None, typer.Option(help="A name from: pixloom recipes. Recognised (pair) when the data holds pairs.")] = None,
    recipe: Annotated[str | None, typer.Option(help="The task's own when left out (auto for pairs); see: pixloom recipes.")] = None,
    method: Annotated[
        str | None, typer.Option(help="How it is learnt, instead of a recipe: conditional, bicycle, cycle, ... (docs/methods.md).")
    ] = None,
    condition: Conditions = None,
    size: Annotated[int | None, typer.Option(help="Side of the training pictures in pixels; chosen from the data when left out.")] = None,
    images: Annotated[int | None, typer.Option(help="How many images to see in all.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Or how long to train.")] = None,
    direction: Annotated[str | None, typer.Option(help="AtoB or BtoA: which side of a pair is the source.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same run.")] = None,
    layout: Layout = "auto",
    source: Source = None,
    target: Target = None,
    device: Annotated[str | None, typer.Option(help="auto (when left out), cpu, cuda or mps.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, e.g. --set training.batch_size=4.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Take all settings from the config.yaml of another run.")] = None,
    from_model: Annotated[
        Path | None, typer.Option("--from", help="Go on from the weights of a model or run: its task, networks and size.")
    ] = None,
    weights: Weights = None,
    autopilot: Annotated[
        bool, typer.Option("--autopilot", help="What the watchman finds is mended where a setting can: see docs/watchman.md.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its measured cost, and stop.")] = False,
) -> None:
    """Train a translator on your pictures.

    Writes a run folder: the model, checkpoints, previews, and report.html, which refreshes itself while training.
    """
    from pixloom.cli import work

    place = {"layout": layout, "source_folder": source, "target_folder": target}
    wishes = {
        "task": task,
        "recipe_name": recipe,
        "method": method,
        "size": size,
        "images": images,
        "minutes": minutes,
        "seed": seed,
        "direction": direction,
        "device": device,
        "conditions": _names(condition),
    }
    begun = [] if from_model is None else [f"training.from_model={json.dumps(str(from_model))}"]
    settings = [*(settings or []), *begun, *(["training.autopilot=true"] if autopilot else [])]
    work.train(data, out=out, place=place, wishes=wishes, settings=settings, config=config, weights=weights, dry_run=dry_run)


@app.command()
def tune(
    data: Annotated[str | None, typer.Argument(help="The data to be trained on.")] = None,
    *,
    task: Annotated[str | None, typer.Option(help="As for train.")] = None,
    recipe: Annotated[str | None, typer.Option(help="As for train.")] = None,
    method: Annotated[str | None, typer.Option(help="As for train.")] = None,
    condition: Conditions = None,
    size: Annotated[int | None, typer.Option(help="As for train.")] = None,
    direction: Annotated[str | None, typer.Option(help="As for train.")] = None,
    layout: Layout = "auto",
    source: Source = None,
    target: Target = None,
    device: Annotated[str | None, typer.Option(help="auto (when left out), cpu, cuda or mps.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for train.")] = None,
    config: Annotated[Path | None, typer.Option(help="As for train.")] = None,
) -> None:
    """Measure once how these networks train fastest on this machine (threads, memory format, bf16, torch.compile), and remember it.

    Takes some minutes, most of them for torch.compile (--set compute.compile=no leaves that out). Give it what you will give to train,
    which then uses the result and says so.
    """
    from pixloom.cli import work

    place = {"layout": layout, "source_folder": source, "target_folder": target}
    wishes = {
        "task": task,
        "recipe_name": recipe,
        "method": method,
        "size": size,
        "direction": direction,
        "device": device,
        "conditions": _names(condition),
    }
    work.tune(data, place=place, wishes=wishes, settings=settings or [], config=config)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    *,
    minutes: Annotated[
        float | None, typer.Option(help="So many more minutes from now, at most; by default what the run was given leaves.")
    ] = None,
    weights: Weights = None,
) -> None:
    """Go on with a run that was stopped or killed, bit for bit as if nothing had happened."""
    from pixloom.cli import work

    work.resume(run, minutes=minutes, weights=weights)


@app.command()
def translate(
    model: Annotated[Path, typer.Argument(help="A model folder, a run folder, or an exported .onnx file.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders, quoted patterns such as 'photos/*.jpg', or video files.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the translated pictures, which keep their names and tree.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go into sub-folders and keep their tree.")] = False,
    size: Annotated[
        str,
        typer.Option(
            help="Short side at which the network works: trained, native, or pixels (a picture of extreme aspect is worked on smaller, "
            "with at most 16 times the pixels of a square of that side). The output always has the source's size."
        ),
    ] = "trained",
    seed: Annotated[int, typer.Option(help="Of the noise, for models that have it.")] = 0,
    image_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="png, jpg, webp, bmp, tif or npy, in the most bits that it holds; else as the source, or the nearest that can hold it.",
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="For models that fill holes: a picture, white where the hole is, or a folder of them by name.")
    ] = None,
    hints: Annotated[
        Path | None,
        typer.Option(help="For models that colour by hints: a picture of the source's size with colours painted on, or a folder by name."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", "--domain", help="What it is to show: a class, or shares such as cat=0.5,dog=0.5.")
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="What it is to show: NAME=VALUE, or NAME for 1; may be repeated, or several with commas.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What it is to show, in words.")] = None,
    map: Annotated[Path | None, typer.Option(help="For models steered by a label map: a picture, or a folder of them by name.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="For models steered by another picture, such as edges: it, or a folder of them by name.")
    ] = None,
    style: Annotated[
        Path | None,
        typer.Option("--style", "--reference", help="For models steered by a style: a reference picture, or a folder by name."),
    ] = None,
    samples: Annotated[int, typer.Option(help="So many answers to each picture, of the seed and those that follow it.")] = 1,
    strength: Annotated[
        float, typer.Option(help="From 0, the source itself, over 1, the translation, to 1.5; for sources and translations that are alike.")
    ] = 1.0,
    direction: Annotated[
        str | None, typer.Option(help="BtoA: back, with a model that learnt both directions (the other way round where it was BtoA).")
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="For models that make label maps: PNG of one channel with ids of classes, not colours.")
    ] = False,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="Give the source's transparency back.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: translate pictures that come into the folders, or change, until Ctrl-C.")
    ] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    runtime: Annotated[
        str, typer.Option(help="auto (the fastest here for an exported model, else torch), torch, onnxruntime or openvino.")
    ] = "auto",
) -> None:
    """Translate pictures and videos with a trained model; any size, one bad file does not stop the rest (exit code 2 if any failed)."""
    from pixloom.cli import use

    use.translate(
        model,
        inputs,
        out=out,
        recursive=recursive,
        size=size,
        seed=seed,
        image_format=image_format,
        keep_alpha=keep_alpha,
        overwrite=overwrite,
        device=device,
        runtime=runtime,
        beside={"mask": mask, "hints": hints, "map": map, "image": image, "style": style},
        stated={"label": label, "attributes": _names(attribute) or None, "text": text},
        index=index,
        samples=samples,
        strength=strength,
        direction=direction,
        watch=watch,
    )


@app.command()
def serve(
    places: Annotated[
        list[str],
        typer.Argument(metavar="MODEL_OR_RUN...", help="Model folders, run folders, exported .onnx files; several are served together."),
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen at; one that other machines reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="PIXLOOM_TOKEN", help="What clients must show; made and printed once where other machines reach the server."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A name under which it may be asked, behind a proxy say; may be repeated.")
    ] = None,
    max_bytes: Annotated[int, typer.Option(help="Of a request's body.")] = LIMITS.bytes,
    max_pixels: Annotated[int, typer.Option(help="Of a picture that is read, and of all results of a job together.")] = LIMITS.pixels,
    max_frames: Annotated[int, typer.Option(help="Of a picture's file, the first of which is translated.")] = LIMITS.frames,
    max_seconds: Annotated[float, typer.Option(help="From a job's start to its end.")] = LIMITS.seconds,
    queue: Annotated[int, typer.Option(help="Jobs that may wait; others are told to come again.")] = LIMITS.queue,
    read_seconds: Annotated[float, typer.Option(help="For a request's body to come in.")] = LIMITS.read_seconds,
    keep_seconds: Annotated[float, typer.Option(help="Until results are forgotten.")] = LIMITS.keep_seconds,
    keep_bytes: Annotated[int, typer.Option(help="Of all results; the oldest are forgotten first.")] = LIMITS.keep_bytes,
    waiting_bytes: Annotated[int, typer.Option(help="Of decoded pictures that wait.")] = LIMITS.waiting_bytes,
    batch: Annotated[
        int | None,
        typer.Option(help="Waiting pictures of one size that go through the network together; else as many as suits the device."),
    ] = LIMITS.batch,
    device: Device = "auto",
    runtime: Annotated[str, typer.Option(help="As for translate.")] = "auto",
) -> None:
    """Serve models over HTTP, with a page to use them in the browser, and look at trainings while they go on.

    Ctrl-C or SIGTERM ends it: jobs that were accepted are finished first, for eight seconds at most (exit code 0).
    """
    from pixloom.cli import use

    limits = Limits(
        bytes=max_bytes,
        pixels=max_pixels,
        frames=max_frames,
        seconds=max_seconds,
        queue=queue,
        read_seconds=read_seconds,
        keep_seconds=keep_seconds,
        keep_bytes=keep_bytes,
        waiting_bytes=waiting_bytes,
        batch=batch,
    )
    use.serve(places, host=host, port=port, token=token, allowed=allow_host or [], limits=limits, device=device, runtime=runtime)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    *,
    out: Annotated[Path | None, typer.Option(help="The file; else model.onnx in the model folder, where translate finds it.")] = None,
    format: Annotated[
        str,
        typer.Option(
            help="onnx; int8 (ONNX in eight bits, calibrated on pictures); program (torch.export); litert (TensorFlow Lite); "
            "web (a folder with a page that translates in the browser, without a server); "
            "junyanz (latest_net_G.pth as pytorch-CycleGAN-and-pix2pix loads it)."
        ),
    ] = "onnx",
    pictures: Annotated[
        Path | None, typer.Option(help="Sources to compare on, and to calibrate eight bits with; else the held-out ones of its run.")
    ] = None,
    runtime_files: Annotated[
        Path | None, typer.Option(help="For web: the folder of the npm package onnxruntime-web; else the one installed in this folder.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as one file for other runtimes, check it against torch on pictures, and measure what it takes here."""
    from pixloom.cli import use

    use.export(model, out=out, file_format=format, pictures=pictures, runtime_files=runtime_files, overwrite=overwrite)


@app.command()
def push(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    name: Annotated[str, typer.Argument(metavar="USER/NAME", help="On the Hugging Face Hub.")],
    *,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the weights, e.g. cc-by-4.0; it follows from that of the training pictures.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that is made is private.")] = False,
) -> None:
    """Put a model on the Hugging Face Hub, with a card that is written from its run's report."""
    from pixloom.cli import use

    use.push(model, name, licence=licence, private=private)


@app.command(name="import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Weights of another program (.pth, .pt, .ckpt, .safetensors), or the peer's folder checkpoints/NAME.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The model folder to make.")],
    critic: Annotated[
        Path | None, typer.Option(help="Weights of its critic, for train --from; looked for in the file, and beside it (net_D, -D).")
    ] = None,
    family: Annotated[str | None, typer.Option("--as", help="Which kind of network it is, where several are possible.")] = None,
    part: Annotated[str | None, typer.Option(help="Which of several networks in the file, by its key.")] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Classes or attributes that steer it, in its program's order; several with commas.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="What the file does not tell: task.name, task.direction, size, inference.statistics ..."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Take in a generator that another program trained, and its critic: recognised by their tensors, loaded strictly, nothing executed."""
    from pixloom.cli import use

    use.import_(
        file,
        out=out,
        critic=critic,
        family=family,
        part=part,
        names=_names(name),
        settings=settings or [],
        overwrite=overwrite,
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    data: Data,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, .md, .html and pictures.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val, test or all; else the validation part.")] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Another model to set beside it, e.g. the L1-only twin; may be repeated.")
    ] = None,
    features: Annotated[str, typer.Option(help="Feature network of KID and the Frechet distance: auto or a name.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Judge only so many pictures.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and the bootstrap.")] = 0,
    layout: Layout = "auto",
    source: Source = None,
    target: Target = None,
    weights: Weights = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how good a model is, in numbers with their protocol, beside honest baselines."""
    from pixloom.cli import work

    place = {"path": data, "layout": layout, "source_folder": source, "target_folder": target}
    work.evaluate(
        model,
        place=place,
        out=out,
        split=split,
        against=against or [],
        features=features,
        limit=limit,
        seed=seed,
        weights=weights,
        overwrite=overwrite,
        device=device,
        as_json=as_json,
    )


@app.command()
def inspect(
    data: Data,
    *,
    task: Annotated[str | None, typer.Option(help="Look at the data as this task would.")] = None,
    preview: Annotated[Path | None, typer.Option(help="Write a picture of a few examples there (PNG).")] = None,
    cost: Annotated[bool, typer.Option("--cost/--no-cost", help="Measure time and memory of the default run.")] = True,
    layout: Layout = "auto",
    source: Source = None,
    target: Target = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look a data set over before training: counts, sizes, orphans, corrupt and duplicate files (exit code 1 if something is wrong)."""
    from pixloom.cli import work

    place = {"path": data, "layout": layout, "source_folder": source, "target_folder": target}
    work.inspect(place, task=task, preview=preview, overwrite=overwrite, cost=cost, as_json=as_json)


@app.command()
def describe(model: Annotated[Path, typer.Argument(help="A model folder, a run folder, or an exported .onnx file.")]) -> None:
    """What a model is: what it translates, what steers it and with which names, how good it was, how to use it."""
    from pixloom.cli import use

    use.describe(model)


@app.command()
def recipes(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the recipes, tasks and conditions."""
    from pixloom.cli import work

    work.recipes(as_json=as_json)


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check the installation: versions, whether the device really works, memory, disk, feature networks."""
    from pixloom.cli import work

    work.doctor(as_json=as_json)


@app.command()
def weights(
    files: Annotated[Path, typer.Argument(help="A downloaded file, or the folder where such files lie.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Where to put them; else the user's cache.")] = None,
) -> None:
    """Bring in downloaded feature networks (for LPIPS, KID and FID); docs/metrics.md says which files and from where."""
    from pixloom.cli import work

    work.weights(files, out=out)


def _names(texts: list[str] | None) -> list[str]:
    """What was given with an option that may be repeated, or name several at once."""
    return [name.strip() for text in texts or [] for name in text.split(",") if name.strip()]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pixloom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")] = False,
) -> None:
    del version
    if debug:
        os.environ[DEBUG] = "1"


def main(arguments: list[str] | None = None) -> Any:
    """The console script: every mistake of the user's is one clear message on standard error, and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    try:
        return app(arguments)
    except PixloomError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        if error.name not in HEAVY:
            raise
        _fail(
            PixloomError(
                f"this needs the package '{error.name}', which is not installed",
                why="without it, exported models can be used, and nothing else",
                fix="pixloom translate MODEL.onnx ..., or install pixloom with its dependencies",
            )
        )
    except OSError as error:
        _fail(
            PixloomError(
                "the system refused", where=error.filename, why=error.strerror or str(error), fix="see more with: pixloom --debug ..."
            )
        )


def _fail(error: PixloomError) -> None:
    if os.environ.get(DEBUG):
        raise error
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
