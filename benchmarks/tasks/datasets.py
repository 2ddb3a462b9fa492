"""Data sets as the experiments learn from them: links into a folder of their own, with the split that is said here.

Nothing is copied. ``FOLDER`` is what ``--data`` names; its layout is in benchmarks/tasks/README.md.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """Pictures and who may do what with them.

    Attributes:
        title: what they are, and who made them.
        licence: as far as it is known.
        split: what is learnt from and what is judged, in words.
        prepare: makes the folder for training from (FOLDER, place for links) and gives it.
        public: whether pictures made from it may be published with this repository.
    """

    title: str
    licence: str
    split: str
    prepare: Callable[[Path, Path], Path]
    public: bool = False


def bsds500(data: Path, place: Path) -> Path:
    """The photos, in the published split."""
    return data / "bsds500" / "images"


def bsds500_train(data: Path, place: Path) -> Path:
    """Its training photos alone, for what is judged on other sets."""
    return data / "bsds500" / "images" / "train"


def camvid(data: Path, place: Path) -> Path:
    """Frames and label maps, in the published split; ``classes.csv`` lies beside them."""
    return data / "camvid"


def facades(data: Path, place: Path) -> Path:
    """Photo and label map side by side: 1 to 360, and 361 to 400."""
    link(data / "facades" / "classes.csv", place / "classes.csv")
    for path in sorted((data / "facades" / "train").glob("*.jpg")):
        link(path, place / ("val" if int(path.stem) > 360 else "train") / path.name)
    return place


def drive(data: Path, place: Path) -> Path:
    """Retinas and their vessels: the first 15, and the last 5."""
    return sides(data / "drive", place, {"images": "images", "vessels": "vessels"}, is_held_out=lambda number, count: number >= count - 5)


def nuclei(data: Path, place: Path) -> Path:
    """The fluorescence pictures (grey) and the masks of their nuclei: every tenth is held out."""
    with (data / "dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        grey = {row["file_id"] for row in csv.DictReader(file) if row["kind"] == "gray"}
    folders = {"masks": "masks", "images": "images"}
    return sides(data / "dsb2018", place, folders, is_held_out=lambda number, count: number % 10 == 9, only=grey)


def euvp(data: Path, place: Path) -> Path:
    """Underwater pictures, bad and good: the first 14, and the last 4."""
    return sides(data / "euvp_mini", place, {"A": "train/A", "B": "train/B"}, is_held_out=lambda number, count: number >= count - 4)


def weather(data: Path, place: Path) -> Path:
    """Skies with three attributes of which one holds: every tenth is held out."""
    with (data / "weather" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
    for number, row in enumerate(rows):
        link(data / "weather" / row["file"], place / row["file"])
        row["split"] = "val" if number % 10 == 9 else "train"
    return listed(place, rows)


def weather_kinds(data: Path, place: Path) -> Path:
    """Three folders of skies: every tenth picture of each is held out."""
    return of_classes(data / "weather" / "train", place, ("cloudy", "shine", "sunrise"))


def skies(data: Path, place: Path) -> Path:
    """Two folders of skies: every tenth picture of each is held out."""
    return of_classes(data / "weather" / "train", place, ("cloudy", "sunrise"))


def stains(data: Path, place: Path) -> Path:
    """Two folders of microscopy, fluorescent and stained: every tenth picture of each is held out."""
    with (data / "dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file_id"])
    for kind, name in (("gray", "fluorescent"), ("color", "stained")):
        for number, row in enumerate(row for row in rows if row["kind"] == kind):
            folder = place / ("val" if number % 10 == 9 else "train") / name
            link(data / "dsb2018" / "images" / "train" / f"{row['file_id']}.png", folder / f"{row['file_id']}.png")
    return place


def flowers(data: Path, place: Path) -> Path:
    """Folders of five kinds: every tenth picture of each is held out."""
    return of_classes(data / "flowers32" / "train", place, ("daisy", "dandelion", "rose", "sunflower", "tulip"))


def animals(data: Path, place: Path) -> Path:
    """Folders of three kinds: every fourth picture of each is held out, for there are few."""
    return of_classes(data / "afhq_mini" / "train", place, ("cat", "dog", "wild"), every=4)


def of_classes(source: Path, place: Path, names: Sequence[str], *, every: int = 10) -> Path:
    """Links ``place/SPLIT/CLASS/NAME``."""
    for name in names:
        for number, path in enumerate(sorted((source / name).iterdir(), key=order)):
            link(path, place / ("val" if number % every == every - 1 else "train") / name / path.name)
    return place


def described_nuclei(data: Path, place: Path) -> Path:
    """Masks and microscopy with a sentence on how it was stained, and the maps of single nuclei: every tenth of either kind is held out."""
    sentences = {"gray": "fluorescence microscopy on a dark ground", "color": "stained tissue in bright light"}
    with (data / "dsb2018" / "index.csv").open(encoding="utf-8", newline="") as file:
        listing = sorted(csv.DictReader(file), key=lambda row: row["file_id"])
    rows = []
    for kind, text in sentences.items():
        for number, name in enumerate(row["file_id"] for row in listing if row["kind"] == kind):
            folders = {"source": "masks", "target": "images", "map": "instances"}
            for folder in folders.values():
                link(data / "dsb2018" / folder / "train" / f"{name}.png", place / folder / f"{name}.png")
            paths = {role: f"{folder}/{name}.png" for role, folder in folders.items()}
            rows.append({**paths, "text": text, "split": "val" if number % 10 == 9 else "train"})
    return listed(place, rows)


def listed(place: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """The folder with an index of some rows."""
    with (place / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return place


def sides(
    source: Path, place: Path, folders: dict[str, str], *, is_held_out: Callable[[int, int], bool], only: Container[str] | None = None
) -> Path:
    """Links ``place/SIDE/SPLIT/NAME`` to the pictures of some folders, in the order of their names.

    Args:
        source: what the folders lie in; those without a split of their own may have one folder ``train``.
        place: for the links.
        folders: side -> folder.
        is_held_out: says so of a picture's number and of how many there are.
        only: names without suffix that are taken; None: all.
    """
    for side, folder in folders.items():
        root = source / folder / "train" if (source / folder / "train").is_dir() else source / folder
        paths = sorted((path for path in root.iterdir() if only is None or path.stem in only), key=order)
        for number, path in enumerate(paths):
            link(path, place / side / ("val" if is_held_out(number, len(paths)) else "train") / path.name)
    return place


def order(path: Path) -> tuple[int, str]:
    """Numbers by their size, then names.

    >>> [path.stem for path in sorted([Path("10.png"), Path("9.png"), Path("b.png")], key=order)]
    ['9', '10', 'b']
    """
    return (int(path.stem) if path.stem.isdecimal() else 1_000_000_000, path.stem)


def link(target: Path, place: Path) -> None:
    """A link, made if it is not there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target.resolve())


DATA_SETS = {
    "bsds500": DataSet(
        "Berkeley Segmentation Data Set 500 (Arbelaez et al., 2011), photos",
        "non-commercial research, not verified",
        "200 pictures of train learnt from, 100 of val judged",
        bsds500,
    ),
    "bsds500-train": DataSet(
        "Berkeley Segmentation Data Set 500 (Arbelaez et al., 2011), the photos of train",
        "non-commercial research, not verified; Set5 and Set14: usual benchmarks, no licence stated",
        "about 196 of 200 pictures learnt from; Set5 and Set14 judged",
        bsds500_train,
    ),
    "camvid": DataSet(
        "CamVid (Brostow et al., 2009), frames of 240 x 180 with 11 classes and unlabelled pixels",
        "academic use; the repository that carries it: CC BY-NC 4.0",
        "367 frames of train learnt from, 101 of val judged; frames come from a few drives, and neighbours are much alike",
        camvid,
    ),
    "facades": DataSet(
        "CMP Facade Database (Tylecek and Sara, 2013), as pix2pix prepared it",
        "research use; the repository that carries it states none",
        "1 to 360 learnt from, 361 to 400 judged",
        facades,
    ),
    "drive": DataSet("DRIVE (Staal et al., 2004), retinas and their vessels", "research use, not verified", "15 and 5", drive),
    "nuclei": DataSet(
        "2018 Data Science Bowl, the fluorescence pictures",
        "CC0",
        "every tenth of 440 judged (44); crops of one slide may lie on both sides",
        nuclei,
        public=True,
    ),
    "nuclei-described": DataSet(
        "2018 Data Science Bowl, fluorescence and stained pictures",
        "CC0",
        "every tenth of 440 grey and 91 coloured pictures judged (53); crops of one slide may lie on both sides",
        described_nuclei,
        public=True,
    ),
    "weather": DataSet(
        "Multi-class Weather Dataset (Ajayi, 2018): cloudy, shine, sunrise",
        "CC BY 4.0, not verified; kept private",
        "every tenth of 602 judged (60)",
        weather,
    ),
    "weather-kinds": DataSet(
        "Multi-class Weather Dataset (Ajayi, 2018): cloudy, shine, sunrise",
        "CC BY 4.0, not verified; kept private",
        "every tenth of each kind judged",
        weather_kinds,
    ),
    "skies": DataSet(
        "Multi-class Weather Dataset (Ajayi, 2018): cloudy and sunrise",
        "CC BY 4.0, not verified; kept private",
        "every tenth of 429 judged (20 cloudy ones, beside 22 sunrises)",
        skies,
    ),
    "stains": DataSet(
        "2018 Data Science Bowl, fluorescence and stained pictures",
        "CC0",
        "every tenth of 440 fluorescent and 91 stained pictures judged (44 beside 9); crops of one slide may lie on both sides",
        stains,
        public=True,
    ),
    "flowers": DataSet(
        "Flowers of five kinds at 32 px, from the TensorFlow flower set",
        "CC BY of the single photos, not verified",
        "every tenth of 2,000 judged (200)",
        flowers,
    ),
    "animals": DataSet(
        "AFHQ (Choi et al., 2020), a sample: cats, dogs, wild animals",
        "CC BY-NC 4.0",
        "every fourth of 42 judged (10)",
        animals,
    ),
    "euvp": DataSet("EUVP (Islam et al., 2020), a sample of its test pairs", "research use; its repository: MIT", "14 pairs and 4", euvp),
}
"""By the name that experiments use."""
