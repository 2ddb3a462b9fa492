"""The recorded numbers as Markdown, between two marks in benchmarks/README.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- speed: made by python -m benchmarks.speed table -->", "<!-- end of speed -->"
HEAD = ("work", "candidate", "time: median [quartiles], least", "x less time [quartiles]", "processor time", "peak memory")


def rewrite(document: str, records: Iterable[Mapping[str, Any]]) -> str:
    """The document with the block between the marks made anew.

    Raises:
        ValueError: the marks are not there, once each and in order.
    """
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"the document must hold once each, in this order: {BEGIN} {END}")
    before, rest = document.split(BEGIN)
    sections = [section(record) for record in records]
    return "\n\n".join([before + BEGIN, *sections, END]) + rest.split(END)[1]


def load_records(folder: Path, order: Sequence[str]) -> list[dict[str, Any]]:
    """The records of a folder that may be published, in the order of the benchmarks; quick ones may not."""
    paths = [folder / f"{name}.json" for name in order]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    return [record for record in records if not record["quick"]]


def section(record: Mapping[str, Any]) -> str:
    """One benchmark: what it ran on, its tables, its notes."""
    parts = [f"### {record['name']}", circumstances(record)]
    if record["comparisons"]:
        parts.append(markdown(HEAD, (row for comparison in record["comparisons"] for row in comparison_rows(comparison))))
    if record["rows"]:
        names = list(dict.fromkeys(key for row in record["rows"] for key, value in row.items() if not isinstance(value, list)))
        rows = ([cell(row.get(name)) for name in names] for row in record["rows"])
        parts.append(markdown([name.replace("_", " ") for name in names], rows))
    return "\n\n".join([*parts, *record["notes"]])


def circumstances(record: Mapping[str, Any]) -> str:
    """Command, time, commit, pictures, machine, versions and load, in one line."""
    machine, load = record["machine"], record["load_average"]
    threads = machine["variables"].get("OMP_NUM_THREADS", machine["cores"])
    return ", ".join(
        [
            f"`{record['command']}`",
            f"{record['date'][:16].replace('T', ' ')} UTC",
            f"commit {record['commit']}",
            *([f"peer at {record['peer_commit']}"] if record["peer_commit"] else []),
            f"{record['pictures']} pictures",
            f"{machine['processor']} with {machine['cores']} cores, {threads} threads and {machine['memory_gib']} GiB",
            *(f"{name} {number}" for name, number in machine["versions"].items() if number),
            f"load average {load['before'][0]:.1f} before and {load['after'][0]:.1f} after",
        ]
    )


def comparison_rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    """A row per candidate."""
    summary, rows = comparison["summary"], []
    for place, name in enumerate(comparison["readings"]):
        time, others = summary["seconds"][name], {key: values[name] for key, values in summary.items()}
        interval = f"{seconds(time['median'])} [{seconds(time['q1'])}, {seconds(time['q3'])}], {seconds(time['min'])}"
        processor = seconds(others["cpu_seconds"]["median"]) + beside(others["cpu_seconds"]) if "cpu_seconds" in others else ""
        memory = f"{others['peak_mib']['median']:,.0f} MiB" if "peak_mib" in others else ""
        rows.append([comparison["name"] if place == 0 else "", name, interval, times(time.get("ratio")), processor, memory])
    return rows


def beside(numbers: Mapping[str, Any]) -> str:
    """The ratio in brackets, where there is one."""
    return f" ({numbers['ratio']['of_medians']:.2f} x)" if "ratio" in numbers else ""


def times(found: Mapping[str, float] | None) -> str:
    """A ratio with its quartiles."""
    return "" if found is None else f"{found['of_medians']:.2f} [{found['q1']:.2f}, {found['q3']:.2f}]"


def seconds(value: float) -> str:
    """A time in its natural unit.

    >>> seconds(0.0004), seconds(0.0123), seconds(0.25), seconds(12.345), seconds(1234.5)
    ('0.40 ms', '12.3 ms', '250 ms', '12.3 s', '1,234 s')
    """
    if value >= 0.9995:
        return f"{value:.3g} s" if value < 99.95 else f"{value:,.0f} s"
    return f"{value * 1000:.3g} ms" if value >= 0.001 else f"{value * 1000:.2f} ms"


def cell(value: Any) -> str:
    """A single fact."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
