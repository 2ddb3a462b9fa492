"""Index files: a CSV table or JSON lines that list examples by the columns source, target, label, text and split.

Every other column of numbers is an attribute; in JSON lines, attributes may also stand in an object of that name. Paths are relative
to the index file. ``file_name`` is accepted for ``source``. No torch here.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixloom.data.naming import SPLITS
from pixloom.errors import DataError, nearest

SUFFIXES = (".csv", ".jsonl")
NAMES = ("index", "metadata", "pairs")
COLUMNS = ("source", "target", "label", "text", "split")


@dataclass(frozen=True)
class Row:
    """One example of an index, paths as written."""

    line: int
    source: str
    target: str | None
    split: str | None
    label: str | None
    text: str | None
    attributes: Mapping[str, float]


@dataclass(frozen=True)
class Index:
    """The usable rows, the paths that lead nowhere or lack a partner, and what was left out, in sentences."""

    rows: tuple[Row, ...]
    orphans: tuple[str, ...]
    notes: tuple[str, ...]


def find(folder: Path, *, needs_target: bool) -> Path | None:
    """The index in a folder: a file called index, metadata or pairs that has the needed columns.

    Other tables may lie beside pictures; a file without these columns is not meant as an index, and one that cannot be parsed is
    reported only when it is named.
    """
    for path in (folder / f"{name}{suffix}" for name in NAMES for suffix in SUFFIXES):
        if path.is_file():
            try:
                columns = _columns([row for _, row in _parse(path)])
            except DataError:
                continue
            if not columns.isdisjoint({"source", "file_name"}) and (not needs_target or "target" in columns):
                return path
    return None


def read(path: Path, *, paired: bool | None) -> Index:
    """Read an index file.

    Args:
        path: a .csv or .jsonl file.
        paired: True asks for a target in every row, False ignores targets, None takes what is there.

    Raises:
        DataError: no text, no table, a missing column, a row twice, an unknown split, or no file is there.
    """
    parsed = _parse(path)
    if not parsed:
        raise DataError("the index lists nothing", where=path)
    columns = _columns([row for _, row in parsed])
    _check_columns(path, columns, paired)
    extra = sorted(columns - {*COLUMNS, "file_name"})
    numeric = [name for name in extra if all(_is_blank(row.get(name)) or _number(row[name]) is not None for _, row in parsed)]
    rows = [_row(path, line, row, numeric=numeric, with_target=paired is not False) for line, row in parsed]
    _check_repeated(path, rows)
    kept, orphans = _existing(path, rows, paired)
    unused = [name for name in extra if name not in numeric]
    notes = (f"Columns that are not numbers are not used: {', '.join(unused)}.",) if unused else ()
    return Index(tuple(kept), tuple(orphans), notes)


def _parse(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Rows with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the index cannot be read", where=path, why=str(error), fix="save it as UTF-8 text") from error
    return _parse_csv(path, text) if path.suffix.lower() == ".csv" else _parse_jsonl(path, text)


def _parse_csv(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, [value.strip() for value in values]) for values in reader if any(map(str.strip, values))]
    except csv.Error as error:
        raise DataError("the index is not a CSV table", where=f"{path}, line {reader.line_num}", why=str(error)) from error
    if not lines:
        return []
    (_, header), *body = lines
    for line, values in body:
        if len(values) != len(header):
            raise DataError(f"{len(values)} values for {len(header)} columns", where=f"{path}, line {line}", fix="quote commas in a value")
    return [(line, dict(zip(header, values, strict=True))) for line, values in body]


def _parse_jsonl(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except json.JSONDecodeError as error:
            raise DataError("the line is not JSON", where=f"{path}, line {line}", why=str(error)) from error
        attributes = row.pop("attributes", None) or {} if isinstance(row, dict) else None
        if not isinstance(attributes, dict):
            raise DataError(
                "the line or its attributes are not a JSON object", where=f"{path}, line {line}", fix='{"source": "a.png", ...}'
            )
        rows.append((line, {**attributes, **row}))
    return rows


def _columns(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    return {name for row in rows for name in row}


def _check_columns(path: Path, columns: set[str], paired: bool | None) -> None:
    wanted = ["source", "target"] if paired else ["source"]
    accepted = columns | {"source"} if "file_name" in columns else columns
    for name in wanted:
        if name not in accepted:
            raise DataError(
                f"the index has no column '{name}'", where=path, why=nearest(name, columns), fix="name the columns source,target"
            )


def _row(path: Path, line: int, row: Mapping[str, Any], *, numeric: Sequence[str], with_target: bool) -> Row:
    source = _text(row.get("source")) or _text(row.get("file_name"))
    if source is None:
        raise DataError("the row has no source", where=f"{path}, line {line}")
    split = _text(row.get("split"))
    if split is not None and split.casefold() not in SPLITS:
        raise DataError(f"'{split}' is not a split", where=f"{path}, line {line}", fix="write train, val or test")
    return Row(
        line,
        source,
        _text(row.get("target")) if with_target else None,
        SPLITS[split.casefold()] if split else None,
        _text(row.get("label")),
        _text(row.get("text")),
        {name: value for name in numeric if (value := _number(row.get(name))) is not None},
    )


def _check_repeated(path: Path, rows: Sequence[Row]) -> None:
    seen: dict[tuple[str, str | None], int] = {}
    for row in rows:
        first = seen.setdefault((row.source, row.target), row.line)
        if first != row.line:
            raise DataError(f"'{row.source}' is listed twice", where=f"{path}, lines {first} and {row.line}", fix="delete one of the rows")


def _existing(path: Path, rows: Sequence[Row], paired: bool | None) -> tuple[list[Row], list[str]]:
    """The rows whose files are all there, and the files that are not, or that have no target where one is needed."""
    kept: list[Row] = []
    orphans: list[str] = []
    for row in rows:
        missing = [name for name in (row.source, row.target) if name and not (path.parent / name).is_file()]
        if paired and row.target is None and not missing:
            missing = [row.source]
        orphans += missing
        if not missing:
            kept.append(row)
    if not kept:
        raise DataError(
            "no row of the index leads to a usable example",
            where=path,
            why=f"missing, or without a partner: {', '.join(orphans[:3])}",
            fix="paths are relative to the index file",
        )
    return kept, orphans


def _is_blank(value: Any) -> bool:
    return value is None or value == ""


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _number(value: Any) -> float | None:
    """A finite number, or None.

    >>> _number("0.5"), _number(True), _number("nan"), _number("red")
    (0.5, 1.0, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
