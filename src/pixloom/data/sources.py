"""Where the examples lie: recognises the layout of a data folder and lists its examples. No torch here.

A layout is one way to arrange pairs on a disk; :data:`LAYOUTS` names them all. :func:`discover` tells which one it saw, and why,
in the notes of the listing. Splits are folders called ``train``, ``val`` or ``test`` above or below the two sides, or joined to
the side's name (``trainA``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from pixloom.config import DataConfig
from pixloom.data import indexfile
from pixloom.data.beside import pictures_beside
from pixloom.data.naming import SIDE_NAMES, domain_of, folder_stems, folders_alike, known_sides, place, split_of
from pixloom.errors import ConfigError, DataError, PixloomError, nearest
from pixloom.images import list_pictures, read_header

SAMPLED_HEADERS = 24
"""How many pictures are looked at to tell side-by-side files from single pictures."""


@dataclass(frozen=True)
class Record:
    """One example: where its pictures are and what steers its translation.

    Attributes:
        id: relative path without suffix, unique inside the listing.
        source: file of the source picture, or of both when ``sides``.
        target: file of the target picture.
        sides: the source file holds A (left) and B (right) side by side.
        label: class of the example.
        attributes: named numbers.
        text: a caption.
        pictures: further pictures of the source's size, by the kind of condition that they are.
    """

    id: str
    source: Path
    target: Path | None = None
    sides: bool = False
    label: str | None = None
    attributes: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    pictures: Mapping[str, Path] = field(default_factory=dict)

    @property
    def paired(self) -> bool:
        """Whether there is a target."""
        return self.sides or self.target is not None


@dataclass(frozen=True)
class Listing:
    """The examples of a data folder.

    Attributes:
        root: the folder or index file.
        layout: a name in :data:`LAYOUTS`.
        splits: examples by split; keys among train, val and test, never an empty one.
        orphans: files without a partner.
        notes: what was recognised and why, in sentences.
    """

    root: Path
    layout: str
    splits: dict[str, tuple[Record, ...]]
    orphans: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What was asked for and the pictures that lie there, relative to the root."""

    root: Path
    pictures: tuple[PurePath, ...]
    data: DataConfig
    paired: bool | None
    beside: Mapping[str, str] = field(default_factory=dict)


def discover(data: DataConfig, *, paired: bool | None, beside: Mapping[str, str] | None = None) -> Listing:
    """List the examples of a data folder or index file, recognising its layout unless one is named.

    Examples without a label in an index have the name of the folder that their source lies in, where it is neither a split nor a side.

    Args:
        data: the path, and the layout and folder names where they are given.
        paired: whether the task needs pairs; None takes whatever is there.
        beside: folders or index columns of pictures that are conditions, by the kind of condition; matched by split and name.

    Raises:
        DataError: nothing usable is there, or it is not what the task needs.
        ConfigError: a folder name is given that would have no effect.
    """
    if data.layout not in (*LAYOUTS, "auto"):
        raise DataError(f"there is no layout '{data.layout}'", fix=nearest(data.layout, [*LAYOUTS, "auto"]))
    root = _existing(data.path)
    everything = tuple(path.relative_to(root) for path in list_pictures(root)) if root.is_dir() else ()
    folders = [name.casefold() for name in (beside or {}).values()]
    beyond = {path for path in everything if folders and place(path, folders).side is not None}
    pictures = tuple(path for path in everything if path not in beyond)
    request = Request(root, pictures, data, paired, beside or {})
    if data.layout == "auto":
        layout, why = _recognise(request)
    else:
        layout, why = data.layout, "it was asked for"
    listing = LAYOUTS[layout](request)
    if request.beside and root.is_dir() and layout != "index":
        listing = _with_pictures(listing, request, sorted(beyond))
    return replace(listing, notes=(f"Layout '{layout}': {why}.", *listing.notes))


def _with_pictures(listing: Listing, request: Request, pictures: Sequence[PurePath]) -> Listing:
    """The examples with the pictures beside them."""
    sources = {record.id: record.source.relative_to(request.root) for records in listing.splits.values() for record in records}
    found = pictures_beside(sources, pictures, request.beside, root=request.root)

    def with_own(record: Record) -> Record:
        return replace(record, pictures={kind: request.root / path for kind, path in found[record.id].items()})

    splits = {split: tuple(map(with_own, records)) for split, records in listing.splits.items()}
    lacking = {kind: sum(kind not in own for own in found.values()) for kind in request.beside}
    notes = [f"{count} examples have no {kind} in '{request.beside[kind]}'." for kind, count in lacking.items() if count]
    return replace(listing, splits=splits, notes=(*listing.notes, *notes))


def with_holdout(listing: Listing, *, share: float, seed: int = 0) -> Listing:
    """Set about ``share`` of the training examples aside for validation when the data has no validation split.

    An example is held out when the hash of ``seed`` and its id, as a fraction in [0, 1), is below ``share``; so the choice stays the
    same when pictures are added. At least one example is held out and at least one stays; a single one is not split. Of each class the same
    share is held out: at least one where that is half a picture or more, and never the last one.
    """
    train = listing.splits.get("train", ())
    if "val" in listing.splits or not train or share <= 0:
        return listing
    if len(train) == 1:
        return replace(listing, notes=(*listing.notes, "Nothing is held out for validation: there is only one training example."))
    classes: dict[str | None, list[Record]] = {}
    for record in train:
        classes.setdefault(record.label, []).append(record)
    held = {id for members in classes.values() for id in _held(members, share=share, seed=seed, least=len(members) * share >= 0.5)}
    held = held or _held(train, share=share, seed=seed, least=True)
    splits = {
        **listing.splits,
        "train": tuple(record for record in train if record.id not in held),
        "val": tuple(record for record in train if record.id in held),
    }
    note = f"{len(held)} of {len(train)} training examples are held out for validation, chosen by a hash of their names."
    return replace(listing, splits=splits, notes=(*listing.notes, note))


def _held(records: Sequence[Record], *, share: float, seed: int, least: bool) -> set[str]:
    """The ids of some examples that are held out, at least one if ``least``, and never all."""
    ranked = sorted(records, key=lambda record: _fraction(record.id, seed))
    count = sum(_fraction(record.id, seed) < share for record in records)
    return {record.id for record in ranked[: min(max(count, int(least)), len(records) - 1)]}


def _fraction(name: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{name}".encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _existing(text: str) -> Path:
    """The folder or index file of this name."""
    if not text:
        raise DataError("no data folder is given", fix="name a folder of pictures, or an index file (.csv, .jsonl)")
    path = Path(text).expanduser()
    if path.is_dir() or (path.is_file() and indexfile.is_index(path)):
        return path
    if path.exists():
        raise DataError("this is a file, neither a folder nor an index", where=path, fix=f"give its folder: {path.parent}")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    fix = nearest(path.name, siblings) if 0 < len(siblings) <= 20 else "check the spelling of the path"
    raise DataError("there is no such folder or file", where=path, fix=fix)


# --- Recognition ---------------------------------------------------------------------------------------------------------------------


def _recognise(request: Request) -> tuple[str, str]:
    """The layout and the reason for it."""
    data, paired = request.data, request.paired
    if request.root.is_file():
        return "index", "the path is an index file"
    if paired is False and (data.source_folder or data.target_folder):
        return "pictures", "the task makes its pairs from the pictures of one folder"
    if data.source_folder or data.target_folder:
        return "folders", "the folders are named"
    if index := indexfile.find(request.root, needs_target=paired is True):
        return "index", f"{index.name} lists the examples"
    if paired is False:
        return "pictures", "the task makes its pairs from single pictures"
    _require_pictures(request)
    return _recognise_pairs(request)


def _recognise_pairs(request: Request) -> tuple[str, str]:
    """Pairs in folders, pairs side by side, or single pictures."""
    known, alike = known_sides(request.pictures), folders_alike(request.pictures)
    if known and (request.paired or len(alike) > 1):
        return "folders", f"there are folders '{known[0]}' and '{known[1]}'"
    if len(alike) == 2 or (alike and len(alike) > 1 and request.paired):
        return "folders", f"the folders {_quoted(alike)} hold pictures of the same names"
    sided, seen = _look_at_shapes(request)
    if sided:
        return "sides", f"the pictures looked at are twice as wide as high ({seen}), as A|B side by side"
    if request.paired:
        raise DataError(
            "no pairs are recognised here",
            where=request.root,
            why=f"there are no folders A and B (or source and target), no index, and the pictures are not twice as wide as high ({seen})",
            fix="name the folders (data.source_folder, data.target_folder), or set data.layout=sides if every file holds A|B",
        )
    if len(alike) > 2:
        return (
            "pictures",
            f"more than two folders hold pictures of the same names ({_quoted(alike)}); for pairs name two with --source and --target",
        )
    return "pictures", f"the folders '{known[0]}' and '{known[1]}' share no names" if known else "no pairs are recognised"


def _look_at_shapes(request: Request) -> tuple[bool, str]:
    """Whether nine in ten of a sample of pictures are twice as wide as high, and the commonest size.

    Exactly 2:1 is asked for since a landscape photo must never be taken for a pair and cut in two.
    """
    sizes = []
    for path in request.pictures[:: -(-len(request.pictures) // SAMPLED_HEADERS)]:
        try:
            header = read_header(request.root / path)
        except PixloomError:
            continue
        sizes.append((header.width, header.height))
    if not sizes:
        raise DataError("none of the pictures looked at can be read", where=request.root, fix="run pixloom inspect to see why")
    width, height = Counter(sizes).most_common(1)[0][0]
    return sum(w == 2 * h for w, h in sizes) >= 0.9 * len(sizes), f"{width}x{height}"


# --- Layouts -------------------------------------------------------------------------------------------------------------------------


def _pictures(request: Request) -> Listing:
    """Single pictures, from which the task makes the pairs."""
    if request.paired:
        raise DataError("the task needs pairs, and single pictures are none", where=request.root, fix="choose another layout or task")
    names = [name for name in (request.data.source_folder, request.data.target_folder) if name]
    for name in names:
        _require_side(request, name)
    if len(names) == 2 and names[0].casefold() == names[1].casefold():
        raise ConfigError(f"source and target folder are both '{names[0]}'", fix="name two folders")
    if request.data.source_folder:  # a target alone says what is wanted, of all that is there
        request = replace(request, pictures=tuple(path for path in request.pictures if place(path, names).side is not None))
    return _listing(request, "pictures", _singles(request, sides=False))


def _sides(request: Request) -> Listing:
    """Files that hold A and B side by side."""
    _reject_folder_names(request, "sides")
    if request.paired is False:
        raise DataError(
            "the task makes its pairs from single pictures, not from A|B files", where=request.root, fix="set data.layout=pictures"
        )
    return _listing(request, "sides", _singles(request, sides=True))


def _singles(request: Request, *, sides: bool) -> list[tuple[str | None, Record]]:
    _require_pictures(request)
    ids = _unique_ids([(path.with_suffix("").as_posix(), path.as_posix()) for path in request.pictures])
    return [
        (split_of(path), Record(name, request.root / path, sides=sides, label=domain_of(path)))
        for name, path in zip(ids, request.pictures, strict=True)
    ]


def _folders(request: Request) -> Listing:
    """Two folders, matched by the relative path without suffix."""
    if request.paired is False:
        raise DataError("the task makes its pairs from single pictures", where=request.root, fix="name one folder: data.source_folder")
    _require_pictures(request)
    names = _side_names(request)
    sides = _by_split_and_stem(request, names)
    found: list[tuple[str | None, Record]] = []
    for split in dict.fromkeys(split for side in sides for split in side):
        for stem, source, target in _match(sides[0].get(split, {}), sides[1].get(split, {})):
            label = domain_of(PurePath(stem))
            found.append((split, Record(f"{split}/{stem}" if split else stem, request.root / source, request.root / target, label=label)))
    lonely = [[path for part in side.values() for path in part.values()] for side in sides]
    if not found:
        raise _unpaired(request, names, lonely)
    used = {path for _, record in found for path in (record.source, record.target)}
    orphans = tuple(path.as_posix() for side in lonely for path in side if request.root / path not in used)
    notes = [f"Sources are in '{names[0]}', targets in '{names[1]}', matched by name."]
    if left := len(request.pictures) - sum(map(len, lonely)):
        notes.append(f"{left} pictures lie in neither folder and are left out.")
    return _listing(request, "folders", found, orphans=orphans, notes=notes)


def _by_split_and_stem(request: Request, names: tuple[str, str]) -> tuple[dict[str | None, dict[str, PurePath]], ...]:
    """For each side: split, then stem, then file."""
    sides: tuple[dict[str | None, dict[str, PurePath]], ...] = ({}, {})
    for path in request.pictures:
        found = place(path, names)
        if found.side is None:
            continue
        stems = sides[found.side].setdefault(found.split, {})
        if found.stem in stems:
            raise DataError(
                f"two pictures of one name: {stems[found.stem].as_posix()} and {path.as_posix()}",
                where=request.root,
                why="pairs are matched by name without suffix",
                fix="keep one of them, or list the pairs in an index file",
            )
        stems[found.stem] = path
    return sides


def _match(sources: Mapping[str, PurePath], targets: Mapping[str, PurePath]) -> list[tuple[str, PurePath, PurePath]]:
    """Pairs of one stem; where no path agrees, of one file name that is unique on both sides."""
    if common := [stem for stem in sources if stem in targets]:
        return [(stem, sources[stem], targets[stem]) for stem in common]
    own, others = _unique_names(sources), _unique_names(targets)
    return [(own[name], sources[own[name]], targets[others[name]]) for name in own if name in others]


def _unique_names(stems: Iterable[str]) -> dict[str, str]:
    """Stems by their last part, where just one has it."""
    counts = Counter(stem.rpartition("/")[2] for stem in stems)
    return {name: stem for stem in stems if counts[name := stem.rpartition("/")[2]] == 1}


def _unpaired(request: Request, names: tuple[str, str], lonely: Sequence[Sequence[PurePath]]) -> DataError:
    examples = [", ".join(path.as_posix() for path in side[:3]) or "nothing" for side in lonely]
    return DataError(
        f"no picture in '{names[0]}' has a partner of its name in '{names[1]}'",
        where=request.root,
        why=f"'{names[0]}' has {examples[0]}; '{names[1]}' has {examples[1]}",
        fix="give both files of a pair one name (suffixes may differ), or list the pairs in an index file with columns source,target",
    )


def _index(request: Request) -> Listing:
    """A CSV or JSONL file that lists the examples."""
    _reject_folder_names(request, "index")
    path = request.root if request.root.is_file() else indexfile.find(request.root, needs_target=request.paired is True)
    if path is None:
        raise DataError("there is no index file here", where=request.root, fix="name it index.csv with a column source, or give its path")
    index = indexfile.read(path, paired=request.paired)
    ids = _unique_ids([(PurePath(row.source).with_suffix("").as_posix(), f"{row.source}+{row.target or row.line}") for row in index.rows])
    found = [
        (
            row.split,
            Record(
                name,
                path.parent / row.source,
                path.parent / row.target if row.target else None,
                label=row.label or domain_of(PurePath(row.source)),
                attributes=row.attributes,
                text=row.text,
                pictures=_pictures_of(row, request.beside, index=path),
            ),
        )
        for name, row in zip(ids, index.rows, strict=True)
    ]
    return _listing(request, "index", found, orphans=index.orphans, notes=index.notes)


def _pictures_of(row: indexfile.Row, beside: Mapping[str, str], *, index: Path) -> dict[str, Path]:
    """The pictures that a row names beside its source."""
    pictures = {kind: index.parent / row.texts[column] for kind, column in beside.items() if column in row.texts}
    for kind, picture in pictures.items():
        if not picture.is_file():
            raise DataError(f"the {kind} is not there", where=f"{index}, line {row.line}", why=str(picture), fix="correct the path")
    return pictures


LAYOUTS: dict[str, Callable[[Request], Listing]] = {"sides": _sides, "folders": _folders, "pictures": _pictures, "index": _index}
"""Every layout by its name."""


# --- Names ---------------------------------------------------------------------------------------------------------------------------


def _side_names(request: Request) -> tuple[str, str]:
    """The names of the source and the target folder."""
    source, target = request.data.source_folder, request.data.target_folder
    for name in (source, target):
        if name is not None:
            _require_side(request, name)
    if source is not None and source == target:
        raise ConfigError(f"source and target folder are both '{source}'", fix="name two folders")
    if source or target:
        return source or _other(request, str(target)), target or _other(request, str(source))
    if known := known_sides(request.pictures):
        return known
    folders = sorted(folder_stems(request.pictures))
    if len(folders) == 2 and request.paired is None:
        return folders[0], folders[1]
    raise DataError(
        "which folder holds the sources and which the targets?",
        where=request.root,
        why=f"the folders are {_quoted(folders)}" if folders else "the pictures lie in no sub-folder",
        fix=f"name two of them, e.g. --source {folders[0]} --target {folders[1]}"
        if len(folders) > 1
        else "name them: --source X --target Y",
    )


def _other(request: Request, name: str) -> str:
    """The partner of one named folder: by the known names, else the only other folder."""
    for pair in SIDE_NAMES:
        if name in pair and {0, 1} <= {place(path, pair).side for path in request.pictures}:
            return pair[1 - pair.index(name)]
    others = [folder for folder in sorted(folder_stems(request.pictures)) if folder.casefold() != name.casefold()]
    if len(others) != 1:
        raise DataError(f"which folder belongs to '{name}'?", where=request.root, why=f"others: {_quoted(others)}", fix="name both folders")
    return others[0]


def _require_side(request: Request, name: str) -> None:
    if any(place(path, (name,)).side == 0 for path in request.pictures):
        return
    folders = list(folder_stems(request.pictures))
    fix = nearest(name, folders) if folders else "the pictures lie in no sub-folder"
    raise DataError(f"there is no folder '{name}' with pictures", where=request.root, fix=fix)


def _require_pictures(request: Request) -> None:
    if request.pictures:
        return
    if request.root.is_file():
        raise DataError("this layout needs a folder, and this is an index file", where=request.root, fix="set data.layout=index")
    others = sorted({path.suffix or path.name for path in request.root.rglob("*") if path.is_file()})
    why = f"it has only files of other kinds: {', '.join(others[:8])}" if others else "it is empty"
    raise DataError("there is no picture in this folder", where=request.root, why=why, fix="give a folder of pictures, such as PNG or JPEG")


def _reject_folder_names(request: Request, layout: str) -> None:
    for key in ("source_folder", "target_folder"):
        if getattr(request.data, key):
            raise ConfigError(f"data.{key} would have no effect on the layout '{layout}'", fix="leave it out, or set data.layout=folders")


# --- Listing -------------------------------------------------------------------------------------------------------------------------


def _listing(
    request: Request,
    layout: str,
    found: Sequence[tuple[str | None, Record]],
    *,
    orphans: tuple[str, ...] = (),
    notes: Iterable[str] = (),
) -> Listing:
    """Group the records by split. Those outside any split are for training, unless there is a training split: then they are left out."""
    present = {split for split, _ in found}
    grouped: dict[str, list[Record]] = {}
    for split, record in found:
        if split is not None or "train" not in present:
            grouped.setdefault(split or "train", []).append(record)
    extra = []
    if "train" in present and (left := sum(split is None for split, _ in found)):
        extra.append(f"{left} examples outside the split folders are left out.")
    splits = {split: tuple(grouped[split]) for split in sorted(grouped, key=["train", "val", "test"].index)}
    counts = ", ".join(f"{len(records)} {split}" for split, records in splits.items())
    return Listing(request.root, layout, splits, orphans, (*notes, *extra, f"Examples: {counts}; files without a partner: {len(orphans)}."))


def _unique_ids(names: Sequence[tuple[str, str]]) -> list[str]:
    """The short name of each, or the long one where the short one is shared."""
    counts = Counter(short for short, _ in names)
    return [short if counts[short] == 1 else long for short, long in names]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
