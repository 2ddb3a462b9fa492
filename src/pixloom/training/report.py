"""``report.html``: the story of a run in one file that needs nothing else, written again and again while training.

A pure function of the files in the run folder. Whatever is missing, half-written or damaged is left out, never an error: a report
must not end a training run.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

from PIL import Image

from pixloom.files import write_text
from pixloom.training import history
from pixloom.training.charts import line_chart
from pixloom.training.history import Entry
from pixloom.training.monitor import PATIENCE
from pixloom.training.page import page
from pixloom.training.status import format_number, format_seconds
from pixloom.yamltext import read_yaml

NUM_GRIDS = 24
GRID_BYTES = 170_000  # 24 of them in base64 are 5.4 MB
GRID_SIDE = 1600
NUM_EVENTS = NUM_ITEMS = 200
SMOOTHING = 0.04
HIGHER_IS_BETTER = {
    **dict.fromkeys(("psnr", "ssim", "hole", "miou", "iou", "dice"), True),
    **dict.fromkeys(("lpips", "kid", "frechet", "fid", "l1"), False),
}
_NOT_METRICS = ("images", "kind", "elapsed_seconds", "protocol", "count")


@dataclass(frozen=True)
class Run:
    """What the files of a run folder say."""

    folder: Path
    name: str
    final: bool
    config_text: str
    config: Mapping[str, Any]
    entries: Sequence[Entry]
    samples: Sequence[Path]
    data: Any
    bad_files: Any
    cost: Any
    environment: Any
    evaluation: Mapping[str, Any]
    written: datetime | None

    @property
    def images(self) -> int:
        """Images seen."""
        return max((entry["images"] for entry in self.entries), default=0)

    @property
    def total_images(self) -> int | None:
        """Images of the whole run, as the start of it announced or the config says."""
        announced = [entry["total_images"] for entry in self.entries if "total_images" in entry]
        configured = _mapping(self.config.get("training")).get("images")
        total = announced[-1] if announced else configured
        return total if isinstance(total, int) and total > 0 else None

    def of_kind(self, kind: str) -> list[Entry]:
        """The entries of one kind, in order of images."""
        return sorted((entry for entry in self.entries if entry["kind"] == kind), key=lambda entry: int(entry["images"]))


def write_report(run_folder: Path, *, final: bool) -> Path:
    """Write ``report.html`` of a run in one atomic step and return its path.

    Args:
        run_folder: the folder of a run; see :mod:`pixloom.training.history` for the history that it reads.
        final: training has ended; the page no longer asks the browser to read it anew.

    Raises:
        OutputError: the file cannot be written.
    """
    run = read_run(run_folder, final=final)
    html = page(f"{run.name} - Pixloom run", render(run), refresh=not final)
    path = run_folder / "report.html"
    write_text(path, html.encode("utf-8", "backslashreplace").decode("utf-8"))
    return path


def read_run(run_folder: Path, *, final: bool) -> Run:
    """Read what a report tells; files that are missing or damaged count as empty."""
    record = run_folder / "history.jsonl"
    config_text = _text(run_folder / "config.yaml")
    return Run(
        folder=run_folder,
        name=run_folder.resolve().name,
        final=final,
        config_text=config_text,
        config=_mapping(_yaml(config_text)),
        entries=history.read(record),
        samples=sorted((path for path in (run_folder / "samples").glob("*.png") if path.stem.isdecimal()), key=lambda path: int(path.stem)),
        data=_json(run_folder / "data.json"),
        bad_files=_json(run_folder / "bad_files.json"),
        cost=_json(run_folder / "cost.json"),
        environment=_json(run_folder / "environment.json"),
        evaluation=_mapping(_json(run_folder / "evaluation" / "evaluation.json")),
        written=datetime.fromtimestamp(record.stat().st_mtime) if record.is_file() else None,
    )


def render(run: Run) -> str:
    """The body of the page."""
    sections = [
        _header(run),
        _section("Alarms", _alarms(run)),
        _section("Samples over time", _timeline(run)),
        _section("Curves", _curves(run)),
        _section("Evaluation", _evaluation(run.evaluation)),
        _section("Use the model", _usage(run)),
        _section("Data", _data(run)),
        _section("Cost", _cost(run.cost)),
        _section("Events", _events(run.of_kind("event"))),
        _section("Settings", _settings(run.config_text)),
        _section("Environment", _folded("Machine and versions", show(run.environment)) if run.environment else ""),
    ]
    return "\n".join(section for section in sections if section)


def state(run: Run) -> tuple[str, str]:
    """Where the run is (training, finished, out of time, stopped), and a sentence with its progress and remaining time."""
    total, seen = run.total_images, run.images
    progress = f"{seen:,} images" if total is None else f"{seen:,} of {total:,} images ({_percent(seen, total)})"
    passed = f", {format_seconds(_elapsed(run))} passed"
    if not run.final:
        remaining = _remaining_seconds(run)
        return "training", progress + passed + (f", {format_seconds(remaining)} left" if remaining is not None else "")
    last_event = next((entry.get("event") for entry in reversed(run.of_kind("event"))), None)
    whole = seen >= total if total is not None else last_event not in ("interrupted", "stopped", "failed")
    return ("finished" if whole else "out of time" if last_event == "finished" else "stopped"), progress + passed


def show(value: Any) -> str:
    """Any JSON value as HTML: mappings as tables, lists as lists, long ones cut with a count of the rest."""
    if isinstance(value, Mapping):
        rows = "".join(f'<tr><th scope="row">{_words(key)}</th><td>{show(item)}</td></tr>' for key, item in list(value.items())[:NUM_ITEMS])
        return f"<table><tbody>{rows}</tbody></table>{_rest(len(value))}" if value else "none"
    if isinstance(value, list):
        if all(_is_number(item) for item in value):
            return (
                escape(" x ".join(str(item) for item in value))
                if 1 < len(value) <= 3
                else escape(", ".join(map(str, value[:NUM_ITEMS]))) or "none"
            )
        return f"<ul>{''.join(f'<li>{show(item)}</li>' for item in value[:NUM_ITEMS])}</ul>{_rest(len(value))}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def encode_grid(picture: Image.Image, *, most_bytes: int = GRID_BYTES) -> bytes:
    """A picture as JPEG of at most ``most_bytes``: smaller, then coarser, until it fits."""
    picture = picture.convert("RGB")
    side, quality = GRID_SIDE, 88
    while True:
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling=0)
        if buffer.tell() <= most_bytes or side < 64:
            return buffer.getvalue()
        side, quality = int(max(picture.size) * 0.85), max(quality - 4, 60)


def choose_evenly(items: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` items, evenly spaced, with the first and the last.

    >>> choose_evenly([Path(str(i)) for i in range(9)], 3)[1].name
    '4'
    """
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def _header(run: Run) -> str:
    word, sentence = state(run)
    parts = [
        ("recipe", run.config.get("recipe")),
        ("task", _mapping(run.config.get("task")).get("name")),
        ("generator", _mapping(run.config.get("generator")).get("name")),
        ("critic", _mapping(run.config.get("critic")).get("name")),
    ]
    facts = ", ".join(f"{name} <b>{escape(str(value))}</b>" for name, value in parts if value)
    bar = (
        f'<progress max="{run.total_images}" value="{run.images}" aria-label="progress of the run"></progress>' if run.total_images else ""
    )
    written = f' <span class="soft">as of {run.written:%Y-%m-%d %H:%M:%S}</span>' if run.written else ""
    return (
        f'<header><h1>{escape(run.name)}</h1><p>{facts}</p><p><span class="state">{word}</span> {sentence}{written}</p>'
        f"{bar}{_headline(run)}{''.join(f'<p>{escape(said)}</p>' for said in _verdict(run))}</header>"
    )


def _verdict(run: Run) -> list[str]:
    """What the figures say, and what must be known of how the run went, in sentences."""
    word, _ = state(run)
    told = {entry.get("event"): str(entry.get("message", "")) for entry in run.of_kind("event")}
    events = (["out of time"] if word == "out of time" else []) + (
        ["hardly watched"] if run.final and len(run.of_kind("signs")) < PATIENCE else []
    )
    return [*map(str, _list(run.evaluation.get("verdict"))), *(told[event] for event in events if event in told)]


def _headline(run: Run) -> str:
    """The metrics that count, with how they were measured: those of the evaluation when there is one, else of the last validation."""
    means = _mapping(run.evaluation.get("means"))
    if means:
        cards = [_card(name, _interval(value), "final evaluation") for name, value in means.items()]
        return f'<ul class="metrics">{"".join(cards)}</ul>{_protocol(run.evaluation.get("protocol"))}'
    validations = run.of_kind("validation")
    if not validations:
        return ""
    names = _metric_names(validations)
    cards = [_card(name, *_last_and_best(validations, name)) for name in names]
    return f'<ul class="metrics">{"".join(cards)}</ul>{_protocol(validations[-1].get("protocol"))}'


def _alarms(run: Run) -> str:
    """What the watchman found, with its evidence and what to do, and what the autopilot did; nothing where nothing rang."""
    rung = [entry for entry in run.of_kind("event") if entry.get("event") in ("alarm", "autopilot", "rollback")]
    rows = "".join(
        f"<tr><td>{entry['images']:,}</td><td><b>{escape(str(entry.get('alarm', 'autopilot')))}</b></td>"
        f"<td>{escape(str(entry.get('evidence', entry.get('message', ''))))}{_shown(run.folder, entry)}</td>"
        f"<td>{escape(_told_to_do(entry))}</td></tr>"
        for entry in rung
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("images", "alarm", "evidence", "what to do"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>' if rows else ""


def _told_to_do(entry: Entry) -> str:
    """What helps against an alarm, or what the autopilot has done."""
    return f"{entry['event']}: {entry['done']}" if "done" in entry else ", or ".join(map(str, _list(entry.get("remedies"))))


def _shown(folder: Path, entry: Entry) -> str:
    """The picture of an alarm, folded away; nothing where it has none, or the file is damaged or elsewhere."""
    name = str(entry.get("picture", ""))
    if not re.fullmatch(r"alarms/[0-9]+(-[a-z]+)+\.png", name) or not (encoded := _grid(folder / name)):
        return ""
    return _folded("Picture", f'<img class="grid" alt="sources, outputs and targets" src="data:image/jpeg;base64,{encoded}">')


def _card(name: str, value: str, note: str) -> str:
    return f"<li>{_metric(name)}<b>{value}</b><small>{note}</small></li>"


def _last_and_best(validations: Sequence[Entry], name: str) -> tuple[str, str]:
    found = [(entry["images"], entry[name]) for entry in validations if _is_number(entry.get(name))]
    images, last = found[-1]
    note = f"validation at {images:,} images"
    direction = _direction(name)
    finite = [pair for pair in found if math.isfinite(pair[1])]
    if direction is not None and finite:
        best_images, best = (max if direction else min)(finite, key=lambda pair: pair[1])
        note += f"<br>best {format_number(best)} at {best_images:,}"
    return format_number(last), note


def _protocol(protocol: Any) -> str:
    if not protocol:
        return ""
    if isinstance(protocol, Mapping):
        return _folded("How this was measured", show(protocol))
    return f'<p class="soft">{escape(str(protocol))}</p>'


def _timeline(run: Run) -> str:
    """The preview grids with a slider; without scripts the newest one shows."""
    found = [(path, encoded) for path in choose_evenly(run.samples, NUM_GRIDS) if (encoded := _grid(path))]
    if not found:
        return ""
    labels = [_moment(path, run.total_images) for path, _ in found]
    hidden = [""] + [" hidden"] * (len(found) - 1)
    grids = "".join(
        f'<img class="grid" data-when="{label}" alt="preview grid after {label}" src="data:image/jpeg;base64,{encoded}"{hide}>'
        for (_, encoded), label, hide in zip(found, labels, reversed(hidden), strict=True)
    )
    slider = (
        f'<div class="timeline"><label for="when">When</label><input type="range" id="when" min="0" max="{len(found) - 1}" step="1" '
        f'value="{len(found) - 1}" aria-valuetext="{labels[-1]}"><output id="when-label" for="when">{labels[-1]}</output></div>'
    )
    return '<p class="soft">The same pictures every time. Drag the slider, or select it and use the arrow keys.</p>' + slider + grids


def _moment(path: Path, total: int | None) -> str:
    images = int(path.stem)
    return f"{images:,} images" + (f" ({_percent(images, total)})" if total else "")


def _grid(path: Path) -> str:
    """A grid as a JPEG in base64, empty when the file is damaged."""
    try:
        return _encoded(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""


@lru_cache(maxsize=2 * NUM_GRIDS)
def _encoded(path: Path, modified_ns: int) -> str:
    """Kept by the time stamp of the file, since the report is written again and again."""
    with Image.open(path) as picture:
        return base64.b64encode(encode_grid(picture)).decode()


def _curves(run: Run) -> str:
    losses, signs, validations = run.of_kind("losses"), run.of_kind("signs"), run.of_kind("validation")
    charts = [
        line_chart("Generator losses", _series(losses, "generator"), smoothing=SMOOTHING),
        line_chart("Critic losses", _series(losses, "critic"), smoothing=SMOOTHING),
        *(line_chart(f"Validation {name}", {name: _points(validations, name)}, markers=True) for name in _metric_names(validations)),
        line_chart("Real above made, share of places", {name: _points(signs, name) for name in ("ahead", "ahead_held_out")}, markers=True),
        line_chart("Strength of the critic", {name: _points(signs, name) for name in ("push", "slope")}, markers=True),
        line_chart("Learning rate", _series(losses, "learning_rate")),
        line_chart("Images per second", _series(losses, "images_per_second"), smoothing=SMOOTHING),
    ]
    drawn = "".join(charts)
    note = '<p class="soft">Over images seen. Strong lines are moving averages of the faint ones.</p>'
    return f'{note}<div class="charts">{drawn}</div>' if drawn else ""


def _series(entries: Iterable[Entry], group: str) -> dict[str, list[tuple[float, float]]]:
    """The points of each term in one group of values; a lone number is a group of one."""
    series: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        values = entry.get(group)
        for name, value in (values if isinstance(values, Mapping) else {group.replace("_", " "): values}).items():
            if _is_number(value):
                series.setdefault(str(name), []).append((entry["images"], value))
    return series


def _points(entries: Iterable[Entry], name: str) -> list[tuple[float, float]]:
    return [(entry["images"], entry[name]) for entry in entries if _is_number(entry.get(name))]


def _metric_names(validations: Iterable[Entry]) -> list[str]:
    return list(
        dict.fromkeys(key for entry in validations for key, value in entry.items() if key not in _NOT_METRICS and _is_number(value))
    )


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    """A row per metric; columns: this model, then each baseline."""
    means, baselines = _mapping(evaluation.get("means")), _mapping(evaluation.get("baselines"))
    if not means:
        return ""
    columns = {"this model": means} | {str(name): _mapping(values) for name, values in baselines.items()}
    if floors := _mapping(evaluation.get("floors")):
        columns["floor (real against real)"] = floors
    metrics = dict.fromkeys(metric for values in columns.values() for metric in values)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    rows = "".join(_evaluation_row(metric, columns.values()) for metric in metrics)
    table = f'<div class="wide"><table><thead><tr><th scope="col">metric</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    count, missing = evaluation.get("count"), evaluation.get("missing")
    measured = f"Means over {count:,} pictures" if isinstance(count, int) else "Means over the pictures"
    not_measured = _folded("What was not measured, and why", show(missing)) if missing else ""
    return f'<p class="soft">{measured}, with their confidence intervals.</p>{table}{not_measured}{_protocol(evaluation.get("protocol"))}'


def _evaluation_row(metric: str, columns: Iterable[Mapping[str, Any]]) -> str:
    cells = "".join(f"<td>{_interval(values.get(metric))}</td>" for values in columns)
    return f'<tr><th scope="row">{_metric(metric)}</th>{cells}</tr>'


def _interval(value: Any) -> str:
    if _is_number(value):
        return format_number(value)
    mean, low, high = (_mapping(value).get(key) for key in ("mean", "low", "high"))
    if not _is_number(mean):
        return escape(mean) if isinstance(mean, str) else "-"  # "inf" is written as text
    return format_number(mean) + (
        f" <small>[{format_number(low)}, {format_number(high)}]</small>" if _is_number(low) and _is_number(high) else ""
    )


def _data(run: Run) -> str:
    summary = f'<div class="wide">{show(run.data)}</div>' if run.data else ""
    if not run.bad_files or not isinstance(run.bad_files, (list, dict)):
        return summary
    count = len(run.bad_files)
    title = f"{count:,} {'file' if count == 1 else 'files'} could not be read and {'was' if count == 1 else 'were'} left out"
    return summary + _folded(title, show(run.bad_files), opened=True)


def _cost(cost: Any) -> str:
    """What was counted and measured before the run started."""
    note = "Multiply-adds (GMAC: 10^9 of them) and memory by count; seconds and the peak as measured on the first steps."
    return f'<p class="soft">{note}</p><div class="wide">{show(cost)}</div>' if cost else ""


def _events(entries: Sequence[Entry]) -> str:
    shown = entries[-NUM_EVENTS:]
    rows = "".join(
        f"<tr><td>{entry['images']:,}</td><td>{format_seconds(entry.get('elapsed_seconds'))}</td>"
        f"<td>{_words(entry.get('event', ''))}</td><td>{escape(str(entry.get('message', '')))}</td></tr>"
        for entry in shown
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("images", "time", "event", "message"))
    left_out = f'<p class="soft">The last {len(shown)} of {len(entries):,} events.</p>' if len(shown) < len(entries) else ""
    return f'{left_out}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>' if rows else ""


def _usage(run: Run) -> str:
    if not run.final:
        return ""
    folder = f"runs/{run.name}"
    commands = f"pixloom translate {shlex.quote(folder)} picture.png --out translated"
    if (word := state(run)[0]) in ("stopped", "out of time"):
        more = " --minutes 5" if word == "out of time" else ""
        commands = f"pixloom resume {shlex.quote(folder)}{more}    # go on where it stopped\n{commands}"
    code = (
        f'from pixloom import Translator\n\ntranslate = Translator.from_pretrained({folder!r})\ntranslate("picture.png").save("result.png")'
    )
    return f"<pre>{escape(commands)}</pre><p>or in Python</p><pre>{escape(code)}</pre>"


def _settings(config_text: str) -> str:
    return _folded("config.yaml", f"<pre>{escape(config_text)}</pre>") if config_text else ""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _folded(title: str, body: str, *, opened: bool = False) -> str:
    return f'<details{" open" if opened else ""}><summary>{escape(title)}</summary><div class="wide">{body}</div></details>'


def _remaining_seconds(run: Run) -> float | None:
    """From the speed between the last twenty entries, so that it follows the machine."""
    recent, total = [entry for entry in run.of_kind("losses") if _is_number(entry.get("elapsed_seconds"))][-20:], run.total_images
    if len(recent) < 2 or total is None:
        return None
    seconds, images = (recent[-1][key] - recent[0][key] for key in ("elapsed_seconds", "images"))
    return max(total - run.images, 0) * seconds / images if images > 0 and seconds > 0 else None


def _elapsed(run: Run) -> float:
    return max((entry["elapsed_seconds"] for entry in run.entries if _is_number(entry.get("elapsed_seconds"))), default=0.0)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole}%"


def _words(key: object) -> str:
    return escape(str(key).replace("_", " "))


def _metric(name: str) -> str:
    """The metric's name with an arrow that points to where better is."""
    arrow = {True: ' <span title="higher is better">↑</span>', False: ' <span title="lower is better">↓</span>', None: ""}
    return _words(name) + arrow[_direction(name)]


def _direction(metric: str) -> bool | None:
    """Whether higher is better, None where that is unknown; "kid_inception" is a "kid"."""
    return HIGHER_IS_BETTER.get(re.split(r"[\W_]", metric.lower())[0])


def _rest(count: int) -> str:
    return f'<p class="soft">and {count - NUM_ITEMS:,} more</p>' if count > NUM_ITEMS else ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path) or "null")
    except (ValueError, RecursionError):
        return None


def _yaml(text: str) -> Any:
    try:
        return read_yaml(text)
    except (ValueError, RecursionError):
        return None
