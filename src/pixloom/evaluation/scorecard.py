"""The result of an evaluation, and how it is written: JSON for programs, Markdown for a page of text, HTML with pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from pixloom.errors import OutputError
from pixloom.files import new_folder
from pixloom.images import from_model, to_model
from pixloom.metrics.judging import Estimate, higher_is_better

FEWEST = 10
"""Pictures below which a mean says little, whatever its interval."""

GAP = 4
"""White pixels between the pictures of a strip."""


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on some pictures.

    Attributes:
        model: the model's path.
        split: which pictures.
        count: how many.
        means: by metric, with 95 % intervals over pictures; headline first.
        floors: distance between sets -> its value between two halves of the real pictures.
        per_image: a row per picture: ``id`` and its metrics.
        baselines: the same means of other contenders, "input" among them.
        worst: ids, worst first.
        best: ids, best first.
        strips: source | output | target of those, H W 3 uint8.
        protocol: how the numbers came about.
        missing: metric or baseline -> why it is not there and how to get it.
        ways: from class to class -> the means over the pictures that went that way, and their count.
        notes: sentences on what flatters the figures.
    """

    model: str
    split: str
    count: int
    means: dict[str, Estimate]
    floors: dict[str, float]
    per_image: list[dict[str, Any]]
    baselines: dict[str, dict[str, Estimate]]
    worst: tuple[str, ...]
    best: tuple[str, ...]
    protocol: dict[str, Any]
    missing: dict[str, str]
    ways: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    strips: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def helps(self) -> bool | None:
        """Whether the model is better than translating nothing, by the first measure that both have of LPIPS and PSNR."""
        if (beside := self._beside_the_input) is None:
            return None
        metric, ours, inputs = beside
        return ours > inputs if higher_is_better(metric) else ours < inputs

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the figures say, in sentences."""
        beside = self._beside_the_input
        found = []
        if beside is not None:
            metric, ours, inputs = beside
            better = "better" if self.helps else "not better"
            found.append(f"By {metric} the model is {better} than the input itself: {_number(ours)} for {_number(inputs)}.")
        if self.count < FEWEST:
            found.append(f"{self.count} {'picture is' if self.count == 1 else 'pictures are'} too few for these figures to mean much.")
        return (*found, *self.notes)

    @property
    def _beside_the_input(self) -> tuple[str, float, float] | None:
        inputs = self.baselines.get("input", {})
        metric = next((name for name in ("lpips", "psnr") if name in inputs and name in self.means), None)
        return None if metric is None else (metric, self.means[metric].mean, inputs[metric].mean)

    def to_json(self) -> str:
        """All but the pictures; infinite numbers are written as the text "inf"."""
        tree = {name: value for name, value in vars(self).items() if name not in ("strips", "notes")} | {"verdict": self.verdict}
        return json.dumps(_plain(tree), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the report; see :func:`save`."""
        save(self, Path(folder), overwrite=overwrite)


def save(evaluation: Evaluation, folder: Path, *, overwrite: bool = False) -> None:
    """Write ``evaluation.json``, ``evaluation.md``, ``evaluation.html`` and ``pictures/`` into a new folder, in one piece.

    Raises:
        OutputError: the folder exists and is not to be replaced, or is no report; or the place cannot be written.
    """
    if folder.exists() and not overwrite:
        raise OutputError("the place of the report exists already", where=folder, fix="choose another, or allow it to be overwritten")
    if folder.exists() and not (folder / "evaluation.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError("this is not an evaluation report, so it is not replaced", where=folder, fix="choose another place")
    with new_folder(folder, what="the evaluation report") as draft:
        (draft / "evaluation.json").write_text(evaluation.to_json(), encoding="utf-8")
        (draft / "evaluation.md").write_text(to_markdown(evaluation), encoding="utf-8")
        (draft / "evaluation.html").write_text(to_html(evaluation), encoding="utf-8")
        (draft / "pictures").mkdir()
        for name, place in _places(evaluation):
            Image.fromarray(evaluation.strips[name]).save(draft / "pictures" / f"{place}.png")


def ranked(rows: Sequence[Mapping[str, Any]], *, num_shown: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of the worst and of the best pictures, worst and best first, by LPIPS where it is there, else SSIM, else PSNR, else the first."""
    there = [name for name in ("lpips", "ssim", "psnr", *rows[0]) if name != "id" and all(name in row for row in rows)]
    if not there:
        return (), ()
    metric = there[0]
    ids = [row["id"] for row in sorted(rows, key=lambda row: row[metric], reverse=not higher_is_better(metric))]
    return tuple(ids[:num_shown]), tuple(reversed(ids[num_shown:][-num_shown:]))


def strip(*pictures: np.ndarray) -> np.ndarray:
    """Pictures of one height side by side, as 8-bit RGB."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    columns = [column for pixels in pictures for column in (gap, _rgb(pixels))]
    return np.concatenate(columns[1:], axis=1)


def summary(evaluation: Evaluation) -> str:
    """The table and what is missing, as Markdown: what fits on a terminal."""
    head, rows = _table(evaluation)
    lines = [f"# Evaluation of {evaluation.model}", "", f"{evaluation.count} pictures ({evaluation.split}). {_LEGEND}", ""]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]
    lines += [*evaluation.verdict, ""] if evaluation.verdict else []
    if evaluation.ways:
        head, rows = _ways(evaluation)
        lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]
    if evaluation.missing:
        reasons = (f"- **{name}**: {'; '.join(line.strip() for line in why.splitlines())}" for name, why in evaluation.missing.items())
        lines += ["## Missing", "", *reasons, ""]
    return "\n".join(lines)


def to_markdown(evaluation: Evaluation) -> str:
    """The report as text: the summary, the worst and best pictures, the protocol."""
    lines = [summary(evaluation)]
    for title, ids in (("Worst", evaluation.worst), ("Best", evaluation.best)):
        if ids:
            items = (
                f"- `{name}`: {_words(evaluation, name)} (pictures/{title.lower()}-{place}.png)" for place, name in enumerate(ids, start=1)
            )
            lines += [f"## {title}", "", "Source, output, target.", "", *items, ""]
    protocol = json.dumps(_plain(evaluation.protocol), indent=2, ensure_ascii=False)
    return "\n".join([*lines, "## Protocol", "", "```json", protocol, "```", ""])


def to_html(evaluation: Evaluation) -> str:
    """The report as one page that loads nothing: pictures inside, one small script that sorts the table."""
    head, rows = _table(evaluation)
    missing = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in evaluation.missing.items())
    protocol = json.dumps(_plain(evaluation.protocol), indent=2, ensure_ascii=False)
    sections = [
        f"<h1>Evaluation of {escape(evaluation.model)}</h1><p>{evaluation.count} pictures ({escape(evaluation.split)}). {_LEGEND}</p>",
        _html_table(head, rows),
        *(f"<p>{escape(sentence)}</p>" for sentence in evaluation.verdict),
        f"<h2>From class to class</h2>{_html_table(*_ways(evaluation))}" if evaluation.ways else "",
        f"<h2>Missing</h2><ul>{missing}</ul>" if missing else "",
        *(_gallery(evaluation, title=title, ids=ids) for title, ids in (("Worst", evaluation.worst), ("Best", evaluation.best)) if ids),
        f"<h2>Every picture</h2><p>Select a heading to sort.</p>{_per_image_table(evaluation.per_image)}",
        f"<h2>Protocol</h2><pre>{escape(protocol)}</pre>",
    ]
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _PAGE.substitute(title=escape(evaluation.model), body="\n".join(sections), script=_SCRIPT, digest=digest, style=_STYLE)


_LEGEND = (
    "Mean and 95 % interval; ↑ higher is better, ↓ lower is better; the floor is the distance of real pictures to other real pictures."
)


def _table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """A row per metric: this model, the baselines, the floor."""
    columns = {"this model": evaluation.means} | evaluation.baselines
    metrics = dict.fromkeys(metric for means in columns.values() for metric in means)
    head = ["metric", *columns, "floor"]
    return head, [
        [
            _label(metric),
            *(_interval(means.get(metric)) for means in columns.values()),
            _number(evaluation.floors[metric]) if metric in evaluation.floors else "",
        ]
        for metric in metrics
    ]


def _ways(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """A row for each way from class to class."""
    names = list(dict.fromkeys(name for row in evaluation.ways.values() for name in row))
    rows = [[way, *(_number(row[name]) if name in row else "" for name in names)] for way, row in evaluation.ways.items()]
    return ["from, to", *("pictures" if name == "count" else _label(name) for name in names)], rows


def _label(metric: str) -> str:
    if metric.startswith(("colourfulness", "content_")):
        return metric
    return f"{metric} {'↑' if higher_is_better(metric) else '↓'}"


def _interval(value: Estimate | None) -> str:
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return _number(value.mean)
    return f"{_number(value.mean)} [{_number(value.low)}, {_number(value.high)}]"


def _number(value: float) -> str:
    return "inf" if math.isinf(value) else f"{value:.4g}"


def _words(evaluation: Evaluation, name: str) -> str:
    row = next(row for row in evaluation.per_image if row["id"] == name)
    return ", ".join(f"{metric} {_number(value)}" for metric, value in row.items() if metric != "id")


def _places(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(id, file name without suffix) of the strips."""
    named = [("worst", evaluation.worst), ("best", evaluation.best)]
    return [(name, f"{title}-{place}") for title, ids in named for place, name in enumerate(ids, start=1) if name in evaluation.strips]


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _per_image_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "id"]
    head = "".join(f'<th scope="col"><button>{escape(name)}</button></th>' for name in ("id", *names))
    body = "".join(f"<tr><td>{escape(row['id'])}</td>{''.join(_cell(row.get(name)) for name in names)}</tr>" for row in rows)
    return f'<div class="wide"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    sortable = "Infinity" if math.isinf(value) else repr(value)
    return f'<td data-value="{sortable}">{_number(value)}</td>'


def _gallery(evaluation: Evaluation, *, title: str, ids: Sequence[str]) -> str:
    figures = "".join(
        f'<figure><img alt="source, output and target of {escape(name)}" src="data:image/jpeg;base64,{_jpeg(evaluation.strips[name])}">'
        f"<figcaption>{escape(name)}: {_words(evaluation, name)}</figcaption></figure>"
        for name in ids
        if name in evaluation.strips
    )
    return f"<h2>{title}</h2><p>Source, output, target.</p>{figures}"


def _jpeg(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode()


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """The first three channels, or the first one three times, in 8 bits."""
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    return shown if shown.dtype == np.uint8 else from_model(to_model(np.ascontiguousarray(shown)))


def _plain(value: Any) -> Any:
    """The same tree in JSON's own types."""
    if isinstance(value, Estimate):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#59636e;--rule:#d5dae0}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ed;--soft:#a0a9b4;--rule:#39404a}}
body{margin:0 auto;padding:1.5rem;max-width:76rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid var(--rule)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--rule);white-space:nowrap}
button{all:unset;cursor:pointer;font-weight:600;text-decoration:underline dotted}button:focus-visible{outline:3px solid currentColor}
figure{margin:1rem 0}img{max-width:100%;display:block}figcaption,p{color:var(--soft)}pre{overflow-x:auto;font-size:.85rem}
"""

_SCRIPT = """
document.querySelectorAll(".sortable").forEach(table=>{
  const body=table.tBodies[0];
  table.querySelectorAll("th").forEach((cell,column)=>cell.querySelector("button").addEventListener("click",()=>{
    const rising=cell.getAttribute("aria-sort")!=="ascending";
    const key=row=>{const item=row.cells[column];return item.dataset.value===undefined?item.textContent:Number(item.dataset.value)};
    const order=(a,b)=>a<b?-1:a>b?1:0;
    const rows=[...body.rows].sort((a,b)=>order(key(a),key(b))*(rising?1:-1));
    table.querySelectorAll("th").forEach(other=>other.removeAttribute("aria-sort"));
    cell.setAttribute("aria-sort",rising?"ascending":"descending");
    body.append(...rows);
  }));
});
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'sha256-$digest'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of $title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
<script>$script</script>
</body>
</html>
""")
