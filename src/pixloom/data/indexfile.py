"""Index files: a CSV table or JSON lines that list examples by the columns source, target, label, text and split.

Every other column of numbers is an attribute, and one of texts may name pictures beside the source; in JSON lines, attributes may also
stand in an object of that name. Paths are relative to the index file. ``file_name`` and its like are accepted for ``source``.

Tables as CelebA has them are read too: ``list_attr_celeba.txt`` (a count, a line of names, then a file and its values, separated by
spaces), with the splits of a ``list_eval_partition.txt`` beside it. No torch here.
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
NAMES = ("index", "metadata", "pairs", "labels", "attributes", "list_attr_celeba", "list_attr")
SOURCES = ("source", "file_name", "file", "filename", "image_id", "image", "path")
"""Names of the column that holds the sources; the first one that is there."""

FOLDERS = (".", "images", "img_align_celeba", "train")
"""Where a source may lie, relative to the table; it is looked for in this order."""

PARTITION = "list_eval_partition.txt"
"""File and split (0 train, 1 val, 2 test) in every line."""

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
    texts: Mapping[str, str]


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
    for path in (folder / f"{name}{suffix}" for name in NAMES for suffix in (*SUFFIXES, ".txt")):
        if path.is_file():
            try:
                columns = _columns([row for _, row in _parse(path)])
            except DataError:
                continue
            if _source_column(columns) is not None and (not needs_target or "target" in columns):
                return path
    return None


def is_index(path: Path) -> bool:
    """Whether a file is one of these tables, by its name."""
    return path.suffix.lower() in SUFFIXES or (path.suffix.lower() == ".txt" and path.name.startswith("list_attr"))


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
    column = _source_column(columns)
    extra = sorted(name for name in columns - {*COLUMNS, column} if name)  # pandas leaves the column of row numbers without a name
    numeric = [name for name in extra if all(_is_blank(row.get(name)) or _number(row[name]) is not None for _, row in parsed)]
    splits = _partition(path)
    rows = [_row(path, line, row, column=column, numeric=numeric, with_target=paired is not False, splits=splits) for line, row in parsed]
    _check_repeated(path, rows)
    kept, orphans = _existing(path, rows, paired)
    unused = [name for name in extra if name not in numeric]
    notes = (f"Columns of texts are used only where they name pictures that are conditions: {', '.join(unused)}.",) if unused else ()
    return Index(tuple(kept), tuple(orphans), notes)


def _parse(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Rows with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the index cannot be read", where=path, why=str(error), fix="save it as UTF-8 text") from error
    parse = {".csv": _parse_csv, ".txt": _parse_list}.get(path.suffix.lower(), _parse_jsonl)
    return parse(path, text)


def _parse_list(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """A table separated by spaces, of which the first line may be a count, and the next names all columns but that of the files."""
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if lines and len(lines[0][1]) == 1 and lines[0][1][0].isdecimal():
        lines = lines[1:]
    if not lines:
        return []
    (_, names), *body = lines
    for number, values in body:
        if len(values) != len(names) + 1:
            raise DataError(f"{len(values) - 1} values for {len(names)} attributes", where=f"{path}, line {number}")
    return [(number, {"source": values[0], **dict(zip(names, values[1:], strict=True))}) for number, values in body]


def _partition(path: Path) -> dict[str, str]:
    """The split of each file, where a list of them lies beside the table."""
    place = path.parent / PARTITION
    if path.name == PARTITION or not place.is_file():
        return {}
    splits = {"0": "train", "1": "val", "2": "test"}
    try:
        rows = [line.split() for line in place.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the list of splits cannot be read", where=place, why=str(error), fix="save it as UTF-8 text") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or row[1] not in splits:
            raise DataError("the line is no file and split", where=f"{place}, line {number}", fix="write a name and 0, 1 or 2")
    return {name: splits[split] for name, split in rows}


def _parse_csv(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, [value.strip() for value in values]) for values in reader if any(map(str.strip, values))]
    except csv.Error as error:
        raise DataError("the index is not a CSV table", where=f"{path}, line {reader.line_num}", why=str(error)) from error
    if not lines:
        return []
    (_, header), *body = lines
    if repeated := [name for name in header if name and header.count(name) > 1]:
        raise DataError(f"two columns are called '{repeated[0]}'", where=path, fix="rename one of them")
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
    accepted = columns | {"source"} if _source_column(columns) else columns
    for name in wanted:
        if name not in accepted:
            raise DataError(
                f"the index has no column '{name}'", where=path, why=nearest(name, columns), fix="name the columns source,target"
            )


def _source_column(columns: set[str]) -> str | None:
    return next((name for name in SOURCES if name in columns), None)


def _row(
    path: Path,
    line: int,
    row: Mapping[str, Any],
    *,
    column: str | None,
    numeric: Sequence[str],
    with_target: bool,
    splits: Mapping[str, str],
) -> Row:
    source = _text(row.get(column or ""))
    if source is None:
        raise DataError("the row has no source", where=f"{path}, line {line}")
    split = _text(row.get("split")) or splits.get(source)
    source = next(((folder + "/") * (folder != ".") + source for folder in FOLDERS if (path.parent / folder / source).is_file()), source)
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
        {name: text for name, value in row.items() if name not in (*numeric, *COLUMNS, column) and (text := _text(value))},
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


_BLANK = ("", "nan", "na", "n/a", "null", "none")
"""How tables write that there is no value."""


def _is_blank(value: Any) -> bool:
    return value is None or str(value).strip().casefold() in _BLANK


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
