from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixloom.config import DataConfig
from pixloom.data.sources import Listing, Record, discover, with_holdout
from pixloom.errors import ConfigError, DataError


def draw(path: Path, *, width: int = 8, height: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.as_posix().encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def see(root: Path, *, paired: bool | None = True, **settings: object) -> Listing:
    return discover(DataConfig(path=str(root), **settings), paired=paired)


def pairs(listing: Listing, split: str = "train") -> list[tuple[str, str, str]]:
    base = listing.root if listing.root.is_dir() else listing.root.parent
    return [
        (r.id, r.source.relative_to(base).as_posix(), r.target.relative_to(base).as_posix() if r.target else "")
        for r in listing.splits[split]
    ]


@pytest.mark.parametrize(
    "folders",
    [
        ("A", "B"),
        ("a", "b"),
        ("source", "target"),
        ("trainA", "trainB"),
        ("train/A", "train/B"),
        ("A/training", "B/training"),
        ("train_a", "train_b"),
    ],
)
def test_two_folders_are_recognised_at_either_nesting(tmp_path: Path, folders: tuple[str, str]) -> None:
    for name in ("1.png", "x/2.png"):
        draw(tmp_path / folders[0] / name)
        draw((tmp_path / folders[1] / name).with_suffix(".jpg"))
    listing = see(tmp_path)
    assert listing.layout == "folders"
    assert listing.orphans == ()
    found = listing.splits["train"]
    assert [Path(r.id).name for r in found] == ["1", "2"]
    assert all(
        r.source.suffix == ".png" and r.target is not None and r.target.suffix == ".jpg" and r.target.stem == r.source.stem for r in found
    )
    assert "Layout 'folders'" in listing.notes[0]


def test_splits_are_normalised_and_never_empty(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        for side in "AB":
            draw(tmp_path / f"{split}{side}" / "1.png")
    listing = see(tmp_path)
    assert list(listing.splits) == ["train", "val", "test"]
    assert pairs(listing, "val") == [("val/1", "validationA/1.png", "validationB/1.png")]


def test_named_folders_in_three(tmp_path: Path) -> None:
    for side in ("images", "masks", "instances"):
        for split in ("train", "val"):
            draw(tmp_path / side / split / "1.png")
    draw(tmp_path / "images" / "train" / "2.png")
    listing = see(tmp_path, source_folder="masks", target_folder="images")
    assert pairs(listing) == [("train/1", "masks/train/1.png", "images/train/1.png")]
    assert listing.orphans == ("images/train/2.png",)
    assert any("2 pictures lie in neither folder" in note for note in listing.notes)
    with pytest.raises(DataError, match="which folder holds the sources"):
        see(tmp_path)
    with pytest.raises(DataError, match="Did you mean 'masks'"):
        see(tmp_path, source_folder="mask", target_folder="images")
    with pytest.raises(DataError, match="which folder belongs to 'masks'"):
        see(tmp_path, source_folder="masks")
    with pytest.raises(ConfigError, match="both 'masks'"):
        see(tmp_path, source_folder="masks", target_folder="masks")


def test_one_named_folder_finds_its_partner(tmp_path: Path) -> None:
    for side in ("trainA", "trainB"):
        draw(tmp_path / side / "1.png")
    assert pairs(see(tmp_path, source_folder="B")) == [("train/1", "trainB/1.png", "trainA/1.png")]


def test_bare_names_match_when_paths_do_not(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "city" / "1.png")
    draw(tmp_path / "B" / "labels" / "1.png")
    assert pairs(see(tmp_path)) == [("city/1", "A/city/1.png", "B/labels/1.png")]


def test_unpaired_folders_name_the_orphans(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "horse.png")
    draw(tmp_path / "B" / "zebra.png")
    with pytest.raises(DataError, match=r"A/horse.png.*B/zebra.png"):
        see(tmp_path)
    assert see(tmp_path, paired=None).layout == "pictures"


def test_two_files_of_one_stem(tmp_path: Path) -> None:
    for name in ("A/1.png", "A/1.jpg", "B/1.png"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"A/1.jpg and A/1.png"):
        see(tmp_path)


def test_side_by_side_files(tmp_path: Path) -> None:
    for name in ("train/1.png", "train/2.png", "val/1.png"):
        draw(tmp_path / name, width=16)
    (tmp_path / "classes.csv").write_text("id,name\n1,wall\n", encoding="utf-8")
    for paired in (True, None):
        listing = see(tmp_path, paired=paired)
        assert listing.layout == "sides"
        assert [r.id for r in listing.splits["train"]] == ["train/1", "train/2"]
        assert all(r.sides and r.target is None for r in listing.splits["val"])
    assert see(tmp_path, paired=False).layout == "pictures"


def test_photos_are_never_cut_in_two(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", width=12)
    with pytest.raises(DataError, match="12x8"):
        see(tmp_path)
    assert see(tmp_path, layout="sides").splits["train"][0].sides
    assert see(tmp_path, paired=None).layout == "pictures"


def test_two_alike_folders_are_pairs_for_inspect_and_a_question_for_a_task(tmp_path: Path) -> None:
    for side in ("masks", "images"):
        draw(tmp_path / "train" / side / "1.png", width=16)
    assert pairs(see(tmp_path, paired=None)) == [("train/1", "train/images/1.png", "train/masks/1.png")]
    with pytest.raises(DataError, match="'images', 'masks'"):
        see(tmp_path)


def test_single_pictures(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/a.jpg", "valid/b.png", "stray.png"):
        draw(tmp_path / name)
    listing = see(tmp_path, paired=False)
    assert [r.id for r in listing.splits["train"]] == ["train/a.jpg", "train/a.png"]
    assert [r.id for r in listing.splits["val"]] == ["valid/b"]
    assert any("1 examples outside" in note for note in listing.notes)


def test_one_folder_of_several_for_single_pictures(tmp_path: Path) -> None:
    for side in ("images", "masks"):
        draw(tmp_path / side / "val" / "1.png")
    listing = see(tmp_path, paired=False, source_folder="images")
    assert pairs(listing, "val") == [("images/val/1", "images/val/1.png", "")]
    both = see(tmp_path, paired=False, source_folder="images", target_folder="masks")
    draw(tmp_path / "third" / "val" / "1.png")
    assert both.splits == see(tmp_path, paired=False, source_folder="images", target_folder="masks").splits
    assert [record.label for record in both.splits["val"]] == ["images", "masks"]
    with pytest.raises(DataError, match=r"(?s)no folder 'mask'.*masks"):
        see(tmp_path, paired=False, target_folder="mask")


CSV = "source,target,label,text,split,age,mood\na/1.png,b/1.png,cat,a grey cat,train,3,happy\na/2.png,b/2.png,dog,,validation,,sad\n"


def with_files(tmp_path: Path, text: str, *, name: str = "index.csv") -> Path:
    for side in "ab":
        for number in "12":
            draw(tmp_path / side / f"{number}.png")
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_csv_index(tmp_path: Path) -> None:
    path = with_files(tmp_path, CSV)
    for root in (path, tmp_path):
        listing = see(root)
        assert listing.layout == "index"
        (first,), (second,) = listing.splits["train"], listing.splits["val"]
        assert first == Record("a/1", tmp_path / "a/1.png", tmp_path / "b/1.png", False, "cat", {"age": 3.0}, "a grey cat")
        assert (second.label, second.text, dict(second.attributes)) == ("dog", None, {})
        assert any("mood" in note for note in listing.notes)
    assert see(path, paired=False).splits["train"][0].target is None


def test_jsonl_index(tmp_path: Path) -> None:
    rows = [
        {"source": "a/1.png", "target": "b/1.png", "attributes": {"age": 2, "smiling": True}},
        {"source": "a/2.png", "target": "b/2.png"},
    ]
    path = with_files(tmp_path, "\n".join(map(json.dumps, rows)), name="list.jsonl")
    listing = see(path)
    assert [dict(r.attributes) for r in listing.splits["train"]] == [{"age": 2.0, "smiling": 1.0}, {}]


def test_missing_files_and_partners_of_an_index_are_orphans(tmp_path: Path) -> None:
    path = with_files(tmp_path, "source,target\na/1.png,b/1.png\na/9.png,b/9.png\na/2.png,\n")
    listing = see(path)
    assert len(listing.splits["train"]) == 1
    assert listing.orphans == ("a/9.png", "b/9.png", "a/2.png")


def test_one_source_with_two_targets_has_two_ids(tmp_path: Path) -> None:
    path = with_files(tmp_path, "source,target\na/1.png,b/1.png\na/1.png,b/2.png\n")
    ids = [r.id for r in see(path).splits["train"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.csv", "sourc,target\na/1.png,b/1.png\n", "no column 'source'"),
        ("i.csv", "source,tagret\na/1.png,b/1.png\n", "no column 'target'"),
        ("i.csv", "source,target\na/1.png,b/1.png\na/1.png,b/1.png\n", "listed twice"),
        ("i.csv", "source,target,split\na/1.png,b/1.png,trian\n", "'trian' is not a split"),
        ("i.csv", "source,target\n\na/8.png,b/8.png\n", "no row of the index"),
        ("i.csv", "source,target\na/1.png\n", "1 values for 2 columns"),
        ("i.csv", "source,target\n,b/1.png\n", "no source"),
        ("i.csv", "source,target\n", "lists nothing"),
        ("i.csv", 'source,target\n"a/1.png,b/1.png\n', "not a CSV table"),
        ("i.jsonl", '{"source": "a/1.png"\n', "line 1"),
        ("i.jsonl", "[1]\n", "not a JSON object"),
        ("i.jsonl", '{"source": "a/1.png", "attributes": 3}\n', "not a JSON object"),
    ],
)
def test_bad_indexes(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        see(with_files(tmp_path, text, name=name))


def test_an_index_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot be read"):
        see(tmp_path / "index.csv")


def test_a_table_that_is_no_index_is_let_lie(tmp_path: Path) -> None:
    with_files(tmp_path, "file_id,kind\n1,gray\n")
    assert see(tmp_path, source_folder="a", target_folder="b").layout == "folders"
    assert see(tmp_path).layout == "folders"
    with pytest.raises(DataError, match="no index file"):
        see(tmp_path, layout="index")


def test_places_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data folder is given"):
        discover(DataConfig(), paired=True)
    (tmp_path / "facades").mkdir()
    with pytest.raises(DataError, match="Did you mean 'facades'"):
        see(tmp_path / "facade")
    with pytest.raises(DataError, match="it is empty"):
        see(tmp_path)
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"other kinds: \.txt"):
        see(tmp_path, paired=False)
    with pytest.raises(DataError, match="neither a folder nor an index"):
        see(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="Did you mean 'sides'"):
        see(tmp_path, layout="side")


def test_layouts_that_do_not_fit_the_task(tmp_path: Path) -> None:
    for side in "AB":
        draw(tmp_path / side / "1.png")
    with pytest.raises(DataError, match="needs pairs"):
        see(tmp_path, layout="pictures")
    with pytest.raises(DataError, match="single pictures"):
        see(tmp_path, layout="sides", paired=False)
    with pytest.raises(DataError, match="single pictures"):
        see(tmp_path, layout="folders", paired=False)
    with pytest.raises(ConfigError, match="no effect"):
        see(tmp_path, layout="sides", source_folder="A")
    with pytest.raises(ConfigError, match="no effect"):
        see(tmp_path, layout="index", target_folder="A")
    assert see(tmp_path, layout="pictures", paired=None).layout == "pictures"


def listing_of(count: int) -> Listing:
    return Listing(Path(), "pictures", {"train": tuple(Record(f"p{n}", Path(f"p{n}.png")) for n in range(count))})


def test_holdout_is_stable_when_pictures_are_added() -> None:
    small, large = (with_holdout(listing_of(n), share=0.2) for n in (300, 400))
    held = {r.id for r in small.splits["val"]}
    assert 30 < len(held) < 90
    assert held == {r.id for r in large.splits["val"]} & {f"p{n}" for n in range(300)}
    assert not held & {r.id for r in small.splits["train"]}
    assert len(small.splits["train"]) + len(held) == 300
    assert held != {r.id for r in with_holdout(listing_of(300), share=0.2, seed=1).splits["val"]}
    assert "held out" in small.notes[-1]


def test_holdout_leaves_at_least_one_on_each_side() -> None:
    for share in (0.001, 0.999):
        for count in (2, 3):
            splits = with_holdout(listing_of(count), share=share).splits
            assert splits["train"]
            assert splits["val"]
    alone = with_holdout(listing_of(1), share=0.5)
    assert list(alone.splits) == ["train"]
    assert "only one" in alone.notes[-1]


def test_holdout_respects_what_is_there() -> None:
    records = listing_of(4).splits["train"]
    with_val = Listing(Path(), "pictures", {"train": records[:3], "val": records[3:]})
    assert with_holdout(with_val, share=0.5) is with_val
    assert with_holdout(listing_of(4), share=0.0).splits == listing_of(4).splits
    with_test = Listing(Path(), "pictures", {"train": records[:3], "test": records[3:]})
    held = with_holdout(with_test, share=0.3)
    assert held.splits["val"]
    assert held.splits["test"] == records[3:]


def test_sources_import_no_torch() -> None:
    code = "import sys, pixloom.data.sources, pixloom.data.inspect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("folder", "settings", "paired", "layout", "counts"),
    [
        ("facades", {}, True, "sides", {"train": 400}),
        ("facades", {}, None, "sides", {"train": 400}),
        ("bsds500/images", {}, False, "pictures", {"train": 200, "val": 100}),
        ("bsds500/images", {}, None, "pictures", {"train": 200, "val": 100}),
        ("bsds500", {"source_folder": "boundaries", "target_folder": "images"}, True, "folders", {"train": 200, "val": 100}),
        ("bsds500", {}, None, "folders", {"train": 200, "val": 100}),
        ("bsds500", {"source_folder": "images"}, False, "pictures", {"train": 200, "val": 100}),
        ("dsb2018", {"source_folder": "masks", "target_folder": "images"}, True, "folders", {"train": 531}),
        ("camvid", {"source_folder": "masks"}, True, "folders", {"train": 367, "val": 101}),
        ("drive", {"source_folder": "vessels", "target_folder": "images"}, True, "folders", {"train": 20}),
        ("euvp_mini", {}, True, "folders", {"train": 18}),
        ("set5", {}, False, "pictures", {"train": 5}),
        ("flowers32", {}, None, "pictures", {"train": 2000}),
    ],
)
def test_real_sets(
    real_data: Path, folder: str, settings: dict[str, str], paired: bool | None, layout: str, counts: dict[str, int]
) -> None:
    listing = see(real_data / folder, paired=paired, **settings)
    assert listing.layout == layout
    assert {split: len(records) for split, records in listing.splits.items()} == counts
    assert listing.orphans == ()
