"""What the commands do that use a trained model: nothing here needs torch or settings before the model itself asks for them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from pixloom.cli.bar import count_bar
from pixloom.errors import ConfigError

FLAT_DIFFERENCE = 1e-2
"""From here on, about a grey level of 8 bits, a difference on pictures of a single colour is worth a word."""


def translate(
    model: Path,
    inputs: Sequence[str],
    *,
    out: Path,
    recursive: bool,
    size: str,
    seed: int,
    image_format: str | None,
    keep_alpha: bool,
    overwrite: bool,
    device: str,
    runtime: str,
    beside: Mapping[str, Path | None],
    stated: Mapping[str, Any],
    index: bool,
    strength: float,
    samples: int,
    direction: str | None,
    watch: bool,
) -> None:
    """Translate files; exit code 2 when any failed."""
    # openvino imports its converter where there is one, for a third of a second; nothing is converted in this process.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from pixloom.inference.choice import find_model, open_model

    opened, description = open_model(
        _towards(find_model(model), direction), runtime=runtime, device=device
    )  # it loads while the rest is imported
    from pixloom.inference.batch import find_jobs, translate_files
    from pixloom.inference.translator import Translator

    translator = Translator(opened, description, index=index, strength=strength)
    working_size, channels = _working_size(size), translator.output_channels
    given = {name: place for name, place in beside.items() if place is not None}
    shown = _stated(stated)
    translator.beside.check([*given, *shown])
    translator.beside.check_stated(shown)
    _check_samples(samples, translator)
    wishes: dict[str, Any] = {"size": working_size, "seed": seed}
    writing: dict[str, Any] = {"out": out, "keep_alpha": keep_alpha}

    def find(pictures: Sequence[str], *, replacing: bool) -> list[Any]:
        if not pictures:
            return []
        return find_jobs(
            pictures,
            **writing,
            samples=samples,
            channels=channels,
            recursive=recursive,
            image_format=_index_format(image_format, keep_alpha=keep_alpha) if index else image_format,
            overwrite=replacing,
            given=given,
            optional=(*translator.task.optional, *translator.conditions.optional),
            exact=translator.task.exact,
        )

    def work(jobs: list[Any], *, replacing: bool) -> Any:
        return translate_files(translator, jobs, **writing, **wishes, overwrite=replacing, stated=shown, progress=count_bar("translating"))

    def show(films: list[Any], *, replacing: bool) -> int:
        return _translate_films(translator, films, given={**given, **shown}, overwrite=replacing, **wishes)

    if watch:
        failed = _follow(inputs, lambda some: find(some, replacing=True), lambda due: work(due, replacing=True), show=show, out=out)
        if failed:
            raise typer.Exit(2)
        return
    films, pictures = _films(inputs, out=out)
    jobs = find(pictures, replacing=overwrite)  # before anything is translated, so that mistakes are seen first
    failed = show(films, replacing=overwrite)
    if pictures:
        failed += _say_translated(work(jobs, replacing=overwrite), count=len(jobs), out=out, runtime=opened.name)
    if failed:
        raise typer.Exit(2)


def _follow(
    folders: Sequence[str],
    find: Callable[[Sequence[str]], list[Any]],
    work: Callable[[list[Any]], Any],
    *,
    show: Callable[..., int],
    out: Path,
) -> int:
    """Translate what comes into folders, pictures and films, until Ctrl-C; how many failed."""
    from pixloom.inference.batch import Report
    from pixloom.inference.video import is_video
    from pixloom.inference.watching import watch

    failed = 0

    def find_all() -> list[Any]:
        films, others = _films(folders, out=out)
        return [*films, *find(others)]

    def work_all(due: list[Any]) -> Any:
        nonlocal failed
        pictures = [job for job in due if not is_video(job.source)]
        failed += show([job for job in due if is_video(job.source)], replacing=True)
        report = work(pictures) if pictures else Report()
        failed += len(report.failed)
        return report

    if not folders or not all(Path(text).is_dir() for text in folders):
        raise ConfigError("only folders can be watched", why=f"given: {', '.join(folders)}", fix="name a folder that is there")
    typer.echo(f"watching {', '.join(folders)}; Ctrl-C ends it", err=True)
    watch(find_all, work_all, say=_say_watched, complain=lambda sentence: typer.echo(f"waiting: {sentence}", err=True))
    typer.echo(f"no longer watching{f', {failed} failed' if failed else ''}", err=True)
    return failed


def _say_translated(report: Any, *, count: int, out: Path, runtime: str) -> int:
    """What became of pictures; how many failed."""
    for error in report.failed.values():
        typer.echo(f"error: {error}", err=True)
    for note, times in Counter(note for notes in report.notes.values() for note in notes).items():
        typer.echo(f"note: {times} of {count}: {note}", err=True)
    failed = f", {len(report.failed)} failed" if report.failed else ""
    typer.echo(f"{report.count} of {count} translated into {out} with {runtime}{failed}")
    return len(report.failed)


def _films(inputs: Sequence[str], *, out: Path) -> tuple[list[Any], list[str]]:
    """What is to be made of the video files among some inputs, those in folders too, and the inputs that are, or hold, something else.

    Raises:
        ConfigError: two would have one output.
    """
    from pixloom.images import list_pictures
    from pixloom.inference.batch import Job
    from pixloom.inference.video import is_video, place_of

    films, others = list[Path](), list[str]()
    for text in inputs:
        path = Path(text)
        inside = sorted(each for each in path.iterdir() if is_video(each) and each.is_file()) if path.is_dir() else []
        own = [path] if path.is_file() and is_video(path) else inside
        films += own
        if not own or (inside and list_pictures(path)):
            others.append(text)
    places: dict[Path, Path] = {}
    for film in films:
        other = places.setdefault(place_of(film, out), film)
        if other != film:
            raise ConfigError(
                f"{other} and {film} would have one output", why=str(place_of(film, out)), fix="translate them into two folders"
            )
    return [Job(film, place) for place, film in places.items()], others


def _say_watched(report: Any) -> None:
    """What came in, and what failed."""
    for out in report.done.values():
        typer.echo(f"wrote {out}")
    for error in report.failed.values():
        typer.echo(f"error: {error}", err=True)


def _translate_films(translator: Any, films: Sequence[Any], *, given: Mapping[str, Any], size: Any, seed: int, overwrite: bool) -> int:
    """Translate video files, and say how much they flicker; how many failed."""
    from pixloom.errors import ImageError, OutputError
    from pixloom.inference.video import translate_video

    failed = 0
    wishes: dict[str, Any] = {"size": size, "seed": seed, "given": given, "overwrite": overwrite}
    for job in films:
        try:
            made = translate_video(translator, job.source, job.out, progress=count_bar(job.source.name), **wishes)
        except (ImageError, OutputError) as error:
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        still = (
            f"; flicker: where the source stands still, the translation changes by {made.flicker:.2f} of 255 grey levels from frame to"
            f" frame, the source by {made.source_flicker:.2f}"
            if made.flicker is not None
            else ""
        )
        for note in made.notes:
            typer.echo(f"note: {note}", err=True)
        typer.echo(f"{made.frames} frames of {job.source} translated into {made.path}{', with its sound' if made.sound else ''}{still}")
    return failed


def describe(model: Path) -> None:
    """Print a model's card."""
    from pixloom.inference.choice import find_model
    from pixloom.inference.onnxfile import read_export
    from pixloom.modelfile import BACK, model_card, read_description

    found = find_model(model)
    description = read_export(found).description if found.is_file() else read_description(found)[0]
    card = model_card(description).partition("\n---\n")[2].strip()
    typer.echo(card.replace("THIS_FOLDER", str(model)))
    if (found / BACK).is_dir():
        other = "AtoB" if _own_direction(description.task.model_dump()) == "BtoA" else "BtoA"
        typer.echo(f"\nIt translates back, too: pixloom translate {model} pictures/ --out back/ --direction {other}")


def _towards(model: Path, direction: str | None) -> Path:
    """The model that translates in a direction: itself, or the one in it that translates back.

    Raises:
        ConfigError: there is no such direction.
        ModelError: only the other direction was learnt.
    """
    import json

    from pixloom.errors import nearest
    from pixloom.inference.choice import find_model

    if direction is None:
        return model
    if direction not in ("AtoB", "BtoA"):
        raise ConfigError(f"there is no direction '{direction}'", fix=nearest(direction, ("AtoB", "BtoA")))
    if model.is_file():
        from pixloom.inference.onnxfile import read_export

        task = read_export(model).tree.get("task") or {}
    else:
        described = (model / "config.json").is_file()
        task = json.loads((model / "config.json").read_text(encoding="utf-8")).get("task") or {} if described else {}
    own = _own_direction(task)
    if model.is_file() and direction != own:
        raise ConfigError(
            "an exported file holds one direction", why=f"this one goes {own}", fix="export the other: pixloom export RUN/model/back"
        )
    return model if direction == own else find_model(model, back=True)


def _own_direction(task: Mapping[str, Any]) -> str:
    """The direction of a model by its task; of two collections A and B the one that leads to what is wanted."""
    to = (task.get("options") or {}).get("to")
    return task.get("direction") or ("BtoA" if str(to).casefold() == "a" else "AtoB")


def _check_samples(samples: int, translator: Any) -> None:
    """Refuse to ask for several answers where there is one."""
    if samples < 1:
        raise ConfigError(f"--samples cannot be {samples}", fix="give a number of answers, 1 or more")
    if samples > 1 and not translator.has_answers:
        raise ConfigError(
            f"--samples {samples}: this model has one answer for each picture",
            why="it was trained without noise",
            fix="leave --samples out, or train with --condition noise, or --recipe bicycle",
        )


def import_(
    file: Path,
    *,
    out: Path,
    critic: Path | None,
    family: str | None,
    part: str | None,
    names: Sequence[str],
    settings: Sequence[str],
    overwrite: bool,
) -> None:
    """Take in a model of another program and say what it is."""
    from pixloom.config import parse_settings
    from pixloom.importers import FAMILIES, import_model
    from pixloom.training.startfrom import known_of

    said = parse_settings(list(settings))
    found = import_model(file, out=out, critic=critic, family=family, part=part, settings=said, names=tuple(names), overwrite=overwrite)
    options = found.description.generator.options
    where = f" (part '{found.part}')" if found.part else ""
    classes = found.description.task.options.get("classes")
    reads = f"{len(classes)} classes" if classes else f"{options['source_channels']} channels"
    both = ", both ways" if found.back else ""
    typer.echo(f"{FAMILIES[found.family].title}{where}{both}: {reads} to {options['target_channels']} channels")
    if found.critic is not None:
        fit = " or ".join(known_of(found.folder).recipes())
        more = f", to go on with: pixloom train DATA --from {found.folder} --recipe {fit}" if fit else ""
        typer.echo(f"with {FAMILIES[found.critic].title}{more}")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {found.folder}; use it: pixloom translate {found.folder} PICTURES --out FOLDER")


def export(model: Path, *, out: Path | None, file_format: str, pictures: Path | None, runtime_files: Path | None, overwrite: bool) -> None:
    """Export a model and say how far and how fast its translations are."""
    from pixloom.errors import nearest
    from pixloom.importers.back import FORMATS
    from pixloom.inference.choice import find_model, is_exported, is_measured

    known = ("onnx", "int8", "program", "litert", "web", *FORMATS)
    if file_format not in known:
        raise ConfigError(f"there is no format '{file_format}'", fix=nearest(file_format, known))
    if runtime_files is not None and file_format != "web":
        raise ConfigError(
            "--runtime-files would have no effect", why=f"the format is {file_format}", fix="leave it out, or give --format web"
        )
    if file_format == "web":
        _export_web(model, out=out, runtime_files=runtime_files, pictures=pictures, overwrite=overwrite)
        return
    folder = find_model(model)
    if file_format in FORMATS:
        _export_peer(folder, out=out, overwrite=overwrite)
        return
    if file_format == "onnx" and out is None and pictures is None and not overwrite and is_exported(folder):
        typer.echo("the export is up to date (--overwrite makes it anew)")
        if not is_measured(folder):
            from pixloom.inference.export import measure

            _print_seconds(measure(folder), what="a picture of the trained size")
        return
    _print_export(_exported(folder, file_format, out=out, pictures=pictures, overwrite=overwrite))


def serve(places: Sequence[str], **wishes: Any) -> None:
    """Serve models and runs until a signal comes; the wishes are those of :func:`pixloom.serve.command.serve`.

    Raises:
        DependencyError: the packages of the server are not installed.
    """
    from pixloom.errors import require

    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(package, extra="serve", purpose="the server")
    from pixloom.serve.command import serve as run

    run(places, **wishes, say=lambda line: typer.echo(line, err=True))


def push(model: Path, name: str, *, licence: str | None, private: bool) -> None:
    """Put a model on the Hugging Face Hub and say where it is."""
    from pixloom.inference.hub import push as put

    typer.echo(f"the model is at {put(model, name, licence=licence, private=private)}")


def _exported(model: Path, file_format: str, *, out: Path | None, pictures: Path | None, overwrite: bool) -> Any:
    """Write the file of a format."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if file_format == "onnx":
        from pixloom.inference.export import export_onnx

        return export_onnx(model, out=out, pictures=pictures, overwrite=overwrite, say=say)
    if file_format == "int8":
        from pixloom.inference.quantize import export_int8

        return export_int8(model, out=out, pictures=pictures, overwrite=overwrite, say=say)
    if file_format == "program":
        from pixloom.inference.program import export_program

        return export_program(model, out=out, pictures=pictures, overwrite=overwrite)
    from pixloom.inference.litert import export_litert

    return export_litert(model, out=out, pictures=pictures, overwrite=overwrite)


def _print_export(exported: Any) -> None:
    typer.echo(f"wrote {exported.path} ({exported.path.stat().st_size / 2**20:.1f} MiB)")
    real = f", {exported.pictures} real pictures among them" if exported.pictures else ", on pictures that are made up"
    typer.echo(f"compared with torch at {', '.join(f'{width} x {height}' for height, width in exported.sizes)} pixels{real}:")
    for name, difference in exported.differences.items():
        refused = "" if name in exported.seconds else "; too far, it will not be used"
        far = f"differs by up to {difference.largest:.1e}, by {difference.mean:.1e} in the mean, {difference.psnr:.1f} dB"
        typer.echo(f"  {name:18} {far}{refused}")
    if (flat := max((difference.largest for difference in exported.flat.values()), default=0.0)) > FLAT_DIFFERENCE:
        typer.echo(
            f"pictures of a single colour differ by up to {flat:.1e}: of those this network makes little but rounding, in torch as well"
        )
    _print_seconds(exported.seconds, what=f"a picture of {exported.sizes[0][1]} x {exported.sizes[0][0]} pixels")


def _export_web(model: Path, *, out: Path | None, runtime_files: Path | None, pictures: Path | None, overwrite: bool) -> None:
    from pixloom.inference.web import export_web

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    made = export_web(model, out=out, runtime_files=runtime_files, pictures=pictures, overwrite=overwrite, say=say)
    for name in made.left_out:
        typer.echo(f"note: the page takes no {name}: a browser cannot prepare it", err=True)
    typer.echo(f"wrote {made.folder} ({made.bytes / 2**20:.1f} MiB; computes with {' or '.join(made.runtimes)})")
    typer.echo(f"any web server can hand it out; to see it here: python -m http.server --directory {made.folder}")


def _export_peer(model: Path, *, out: Path | None, overwrite: bool) -> None:
    from pixloom.importers.back import export_weights

    if out is None:
        raise ConfigError("a file for another program needs a place", fix="--out checkpoints/NAME/latest_net_G.pth")
    written = export_weights(model, out=out, overwrite=overwrite)
    typer.echo(f"wrote {written.path} ({written.path.stat().st_size / 2**20:.1f} MiB)")
    typer.echo(f"with: {written.options}")


def _print_seconds(seconds: Mapping[str, float], *, what: str) -> None:
    typer.echo(f"time for {what} on this machine:")
    for name, value in seconds.items():
        typer.echo(f"  {name:18} {1000 * value:8.1f} ms")


def _stated(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """What translations are to show, by kind of condition."""
    from pixloom.conditions.names import parse_names

    stated = {name: value for name, value in wishes.items() if value is not None}
    if "=" in stated.get("label", ""):
        stated["label"] = parse_names(stated["label"].split(","))
    if "attributes" in stated:
        stated["attributes"] = parse_names(stated["attributes"])
    return stated


def _index_format(image_format: str | None, *, keep_alpha: bool) -> str:
    """The one format of ids, which no other way of writing a picture may change."""
    if keep_alpha or image_format not in (None, "png"):
        wish = "--keep-alpha" if keep_alpha else f"--format {image_format}"
        raise ConfigError(f"{wish} does not go with --index", why="ids are written as PNG of one channel", fix="leave one of them out")
    return "png"


def _working_size(text: str) -> Any:
    if text in ("trained", "native"):
        return text
    if not (text.isdecimal() and len(text) < 10) or int(text) < 1:
        raise ConfigError(f"--size cannot be '{text}'", fix="trained, native, or a number of pixels")
    return int(text)
