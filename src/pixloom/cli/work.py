"""What the commands do: call the package, print, choose the exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from pixloom.cli.bar import count_bar
from pixloom.config import DataConfig, load_config, override, parse_settings
from pixloom.errors import ConfigError, nearest
from pixloom.heap import keep_heap
from pixloom.recipes import RECIPES


def train(
    data: str | None,
    *,
    out: Path | None,
    place: Mapping[str, Any],
    wishes: Mapping[str, Any],
    settings: Sequence[str],
    config: Path | None,
    weights: Path | None,
    dry_run: bool,
) -> None:
    """Plan, print the plan, train."""
    if out is None and not dry_run:
        raise ConfigError("--out is missing", fix="name the run folder to make, e.g. --out runs/x, or only look with --dry-run")
    _use_weights(weights)
    plan = _plan(data, place=place, wishes=wishes, settings=settings, config=config)
    if dry_run:
        from pixloom.training.lookover import look_over

        _print_cost(plan, out=out or Path("."))
        for alarm in look_over(plan):
            typer.echo(alarm.sentence)
        return
    assert out is not None
    from pixloom.training.loop import train as run

    try:
        result = run(plan, out=out)
    except KeyboardInterrupt:  # while a run is under way, Ctrl-C saves it
        typer.echo("interrupted before the first step or after the last: nothing more was saved", err=True)
        raise typer.Exit(130) from None
    _finish(result)


def tune(
    data: str | None,
    *,
    place: Mapping[str, Any],
    wishes: Mapping[str, Any],
    settings: Sequence[str],
    config: Path | None,
) -> None:
    """Measure how the training of a plan computes fastest here, print it and remember it."""
    from pixloom.training.tuning import tune as measure

    plan = _plan(data, place=place, wishes=wishes, settings=settings, config=config)
    size, batch = plan.config.data.size, plan.config.training.batch_size
    typer.echo(f"{plan.config.generator.name} at {size} px, batch {batch}:")
    best = measure(plan.config, channels=plan.network_channels, say=typer.echo)
    chosen = ", ".join(f"{name} {value}" for name, value in best.items()) or "as it is"
    typer.echo(f"remembered: {chosen}; training with these networks will use it")


def resume(run: Path, *, minutes: float | None, weights: Path | None) -> None:
    """Go on with a run."""
    _use_weights(weights)
    from pixloom.training.loop import resume as go_on

    _finish(go_on(run, minutes=minutes))


def evaluate(
    model: Path, *, place: Mapping[str, Any], out: Path | None, against: Sequence[Path], weights: Path | None, as_json: bool, **options: Any
) -> None:
    """Judge a model and print the table."""
    _check_weights(weights)
    from pixloom.evaluation import evaluate as judge
    from pixloom.evaluation.scorecard import summary

    keep_heap()  # every picture asks for the same again: a third less time, the same peak
    evaluation = judge(model, DataConfig(**place), against=against, weights=weights, out=out, progress=_evaluation_progress(), **options)
    typer.echo(evaluation.to_json() if as_json else summary(evaluation))
    if out is not None and not as_json:
        typer.echo(f"report: {out / 'evaluation.html'}")


def inspect(place: Mapping[str, Any], *, task: str | None, preview: Path | None, overwrite: bool, cost: bool, as_json: bool) -> None:
    """Look data over; exit code 1 when something would hurt training."""
    from pixloom.data.inspect import inspect as look
    from pixloom.data.inspect import preview as draw
    from pixloom.data.sources import discover
    from pixloom.tasks import TASKS

    if overwrite and preview is None:
        raise ConfigError("--overwrite would have no effect without --preview", fix="leave it out")
    if task is not None and task not in TASKS:
        raise ConfigError(f"there is no task '{task}'", fix=nearest(task, TASKS))
    listing = discover(DataConfig(**place), paired=None if task is None else TASKS[task].needs_pairs)
    findings = look(listing, progress=None if as_json else count_bar("looking"))
    tree = findings.as_dict()
    if preview is not None:
        draw(listing, preview, overwrite=overwrite)
        tree["preview"] = str(preview)
    if cost:
        tree["default_run"] = _default_run(place, task)
    typer.echo(json.dumps(tree, indent=1, ensure_ascii=False) if as_json else _findings_text(tree))
    if not findings.ok:
        raise typer.Exit(1)


def recipes(*, as_json: bool) -> None:
    """List recipes, tasks and conditions."""
    from pixloom.conditions import CONDITIONS
    from pixloom.tasks import TASKS

    tree = {
        "recipes": {name: (function.__doc__ or "").strip().splitlines()[0] for name, function in RECIPES.items()},
        "tasks": {name: task.summary for name, task in TASKS.items()},
        "conditions": {name: condition.summary for name, condition in CONDITIONS.items()} | {"noise": "chance, by --seed at use"},
    }
    if as_json:
        typer.echo(json.dumps(tree, indent=1))
        return
    for title, rows in tree.items():
        typer.echo(f"{title}:")
        for name, summary in rows.items():
            typer.echo(f"  {name:14} {summary}")


def doctor(*, as_json: bool) -> None:
    """Check the installation; exit code 1 when something does not work."""
    from pixloom.cli.doctor import examine

    checks = examine()
    if as_json:
        typer.echo(json.dumps([vars(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(
                f"{'ok ' if check.ok else 'BAD' if check.needed else '-- '} {check.name:22} {check.found}"
                + (f"\n    fix: {check.fix}" if not check.ok and check.fix else "")
            )
    if not all(check.ok for check in checks if check.needed):
        raise typer.Exit(1)


def weights(files: Path, *, out: Path | None) -> None:
    """Bring in downloaded feature networks."""
    from pixloom.backbones.weights import import_weights

    for path in import_weights(files, target=out):
        typer.echo(f"wrote {path}")


def _finish(result: Any) -> None:
    """Say where everything is; 130 or 143 when a signal ended the run."""
    typer.echo(f"{result.state} after {result.images:,} images")
    if result.evaluation is not None:
        typer.echo("\n".join(_comparison(result.evaluation)))
        if result.evaluation.helps is False:
            typer.echo(f"  {'what went wrong is said below' if result.alarms else 'a longer run may help: more --images or --minutes'}")
    for sentence in result.alarms:
        typer.echo(sentence)
    typer.echo(f"report: {result.folder / 'report.html'}")
    if result.preview is not None:
        typer.echo(f"before and after (source, output, target): {result.preview}")
    if result.model is not None:
        typer.echo(f"use it: pixloom translate {result.folder} PICTURES --out translated{_options_of(result.model)}")
    if result.signal is not None:
        raise typer.Exit(128 + result.signal)


def _options_of(model: Path) -> str:
    """What a translation with a model has to be given beside pictures."""
    from pixloom.conditions import build_conditions
    from pixloom.modelfile import read_description
    from pixloom.tasks import build_task

    description, _ = read_description(model)
    task = build_task(description.task)
    conditions = build_conditions(description.conditions, dropout=description.condition_dropout)
    asked = [] if task.wanted() else [kind.example for kind in conditions.kinds]
    return "".join(f" {option}" for option in (*(f"--{name} FILE" for name in task.takes), *asked))


def _comparison(evaluation: Any) -> list[str]:
    """The model beside the input itself on the held-out pictures."""
    inputs = evaluation.baselines.get("input", {})
    rows = [f"{evaluation.count} held-out pictures:      the model   the input itself"]
    for name, value in evaluation.means.items():
        beside = f"{inputs[name].mean:18.4f}" if name in inputs else " " * 18
        rows.append(f"  {name:24} {value.mean:10.4f} {beside}")
    return [*rows, *(f"  {sentence}" for sentence in evaluation.verdict)]


_KEYS = {
    "task": "task.name",
    "size": "data.size",
    "images": "training.images",
    "minutes": "training.minutes",
    "seed": "training.seed",
    "direction": "task.direction",
    "device": "compute.device",
}
"""Options of ``train`` that are a setting of their own."""

_MACHINES_OWN = {"compute.memory_format": "auto", "compute.compile": "auto", "compute.threads": None}
"""What a run's config has from the machine that it ran on, and another run is to have from its own; the mathematics stay the same."""

_LENGTHS = ("training.images", "training.minutes", "training.epochs")


def _check_wishes(wishes: Mapping[str, Any], parsed: Mapping[str, Any], *, config: Path | None) -> None:
    """Refuse what is said twice, or said and then not used."""
    given = {_KEYS[name]: value for name, value in wishes.items() if name in _KEYS and value is not None}
    for name, key in _KEYS.items():
        if key in given and key in parsed:
            raise ConfigError(f"--{name} and --set {key} say the same thing", fix="give one of them")
    lengths = [key for key in _LENGTHS if {**given, **parsed}.get(key) is not None]
    if len(lengths) > 1:
        raise ConfigError(f"{' and '.join(lengths)} are both given", why="either decides how long the run is", fix="give one of them")
    if config is not None and wishes.get("conditions"):
        raise ConfigError("--condition would have no effect", why=f"all settings come from {config}", fix="give --condition or --config")
    if config is not None and wishes.get("method") is not None:
        raise ConfigError("--method would have no effect", why=f"all settings come from {config}", fix="give --method or --config")
    if config is not None and wishes["recipe_name"] is not None:
        raise ConfigError("--recipe would have no effect", why=f"all settings come from {config}", fix="give --recipe or --config")


def _changes(data: str | None, place: Mapping[str, Any], wishes: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line says on top of a config file; only what was given."""
    changes = {_KEYS[name]: value for name, value in wishes.items() if name in _KEYS and value is not None}
    changes |= {f"data.{name}": value for name, value in place.items() if value not in (None, "auto")} | dict(parsed)
    if any(changes.get(key) is not None for key in _LENGTHS):  # the config's own length must not contradict it
        changes = {"training.images": None, "training.minutes": None} | changes
    return changes | ({} if data is None else {"data.path": data})


def _use_weights(folder: Path | None) -> None:
    """Make a folder of feature networks the first place where they are sought."""
    _check_weights(folder)
    if folder is not None:
        os.environ["PIXLOOM_WEIGHTS"] = str(folder)


def _check_weights(folder: Path | None) -> None:
    """Refuse a folder that holds no feature network, rather than leave metrics out in silence."""
    if folder is not None and not any(folder.glob("*.safetensors")):
        raise ConfigError(
            "there are no feature networks here",
            where=folder,
            why="there is no such folder" if not folder.is_dir() else "it has no .safetensors file",
            fix="see docs/metrics.md for the files, then: pixloom weights FILES --out FOLDER",
        )


def _plan(data: str | None, *, place: Mapping[str, Any], wishes: Mapping[str, Any], settings: Sequence[str], config: Path | None) -> Any:
    """The run that the command line asks for."""
    parsed = parse_settings(list(settings))
    _check_wishes(wishes, parsed, config=config)
    print("looking at the data ...", file=sys.stderr, flush=True)
    from pixloom.training.plan import complete, make_plan

    if config is not None:
        return complete(override(load_config(config), _MACHINES_OWN | _changes(data, place, wishes, parsed)))
    if data is None:
        raise ConfigError("the data is missing", fix="name a folder of pictures, or a run's config with --config")
    given = {name: value for name, value in wishes.items() if value is not None}
    return make_plan(data, data_settings=place, settings=parsed, **given)


def _print_cost(plan: Any, *, out: Path) -> None:
    from pixloom.training.engine import Engine
    from pixloom.training.preflight import checked
    from pixloom.training.tuning import tuned

    plan = tuned(plan)
    checked(plan, Engine(plan.config), out=out)


def _default_run(place: Mapping[str, Any], task: str | None) -> list[str]:
    """The plan and measured cost of ``pixloom train`` on this data, or why there is none."""
    from pixloom.errors import PixloomError
    from pixloom.training.engine import Engine
    from pixloom.training.plan import make_plan
    from pixloom.training.preflight import describe, measure
    from pixloom.training.tuning import tuned

    settings = dict(place)
    try:
        plan = tuned(make_plan(settings.pop("path"), data_settings=settings, task=task))
        return describe(plan, measure(plan, Engine(plan.config)))
    except PixloomError as error:
        return [str(error)]


def _findings_text(tree: Mapping[str, Any]) -> str:
    lines = [f"{tree['root']}: layout {tree['layout']}", *(f"  {note}" for note in tree["notes"])]
    counted = ("counts", "sizes", "channels", "depths")
    lines += [f"{name:9} {', '.join(f'{key} {value}' for key, value in tree[name].items())}" for name in counted]
    lines += [f"remark: {sentence}" for sentence in tree["remarks"]]
    lines += [f"problem: {sentence}" for sentence in tree["problems"]]
    lines += [f"  {name}: {' '.join(reason.split())}" for name, reason in tree["corrupt"].items()]
    if "default_run" in tree:
        lines += ["the default run here:", *(f"  {line}" for line in tree["default_run"])]
    if "preview" in tree:
        lines.append(f"preview: {tree['preview']}")
    return "\n".join([*lines, "all well" if tree["ok"] else "not well: see the problems above"])


def _evaluation_progress() -> Any:
    bar = count_bar("judging")
    return None if bar is None else lambda name, done, total: bar(done, total)
