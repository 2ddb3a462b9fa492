"""Label maps: the codec of classes, and how the classes are learnt from data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydantic import TypeAdapter

from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError
from pixloom.tasks.labels import NONE, TOLERANCE, UNKNOWN, Classes, Label, check_labels, far_colour, packed, plain, unpacked
from pixloom.tasks.vocabulary import find_classes, palette, plain_values, read_table

ROAD, SKY, TREE = Label("road", (128, 64, 128), 7), Label("sky", (70, 130, 180), 2), Label("tree", (0, 128, 0), 300)
THREE = Classes((ROAD, SKY, TREE))


def vocabularies(**ignore):
    """Any classes whose colours are apart, with any ids."""
    colours = st.lists(st.sampled_from(palette(64)), min_size=1, max_size=20, unique=True)
    ids = st.lists(st.integers(0, 65535), min_size=20, max_size=20, unique=True)
    labels = st.builds(lambda c, i: tuple(Label(f"n{v}", colour, v) for colour, v in zip(c, i, strict=False)), colours, ids)
    return labels.map(Classes)


IDS = arrays(np.int16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-1, 19))


# --- the codec --------------------------------------------------------------------------------------------------------------------


@given(vocabularies(), IDS)
def test_colours_give_every_class_back(classes, ids):
    ids = np.where(ids < len(classes.kept), ids, NONE).astype(np.int16)
    picture = classes.picture(ids)
    assert picture.shape == (*ids.shape, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(classes.ids(picture), ids)
    for place, label in enumerate(classes.kept):
        assert (picture[ids == place] == label.colour).all()


@given(vocabularies(), IDS, st.sampled_from([np.uint16, np.float32]))
def test_colours_of_other_types_are_the_same(classes, ids, dtype):
    ids = np.where(ids < len(classes.kept), ids, NONE).astype(np.int16)
    picture = classes.picture(ids)
    wide = picture.astype(np.uint16) * np.uint16(257) if dtype is np.uint16 else picture / np.float32(255)
    assert np.array_equal(classes.ids(wide), ids)


@given(vocabularies(), IDS)
def test_grey_values_are_ids(classes, ids):
    ids = np.where(ids < len(classes.kept), np.maximum(ids, 0), 0).astype(np.int16)
    grey = np.array(classes.values, dtype=np.uint16)[ids]
    assert np.array_equal(classes.ids(grey[..., None]), ids)


@given(vocabularies(), IDS)
def test_ids_in_grey_give_every_class_back(classes, ids):
    ids = np.where(ids < len(classes.kept), ids, NONE).astype(np.int16)
    every_grey_is_a_class = (classes.find(np.arange(2**16, dtype=np.uint16)[None, :, None]) >= 0).all()
    assume(not every_grey_is_a_class or (ids >= 0).all())
    grey = classes.grey(ids)
    assert grey.shape == (*ids.shape, 1)
    assert grey.dtype == (np.uint8 if grey.max() <= 255 and max(classes.values) <= 255 else np.uint16)
    assert np.array_equal(classes.ids(grey), ids)
    for place, value in enumerate(classes.values):
        assert (grey[ids == place] == value).all()


def test_a_mask_in_grey_has_eight_bits_and_an_ignored_class_its_own_id():
    mask = Classes((Label("a", (0, 0, 0), 0), Label("b", (255, 255, 255), 255)))
    grey = mask.grey(np.array([[0, 1]], dtype=np.int16))
    assert (grey.dtype, grey.ravel().tolist()) == (np.uint8, [0, 255])
    known = Classes((ROAD, SKY, TREE), "sky").grey(np.array([[0, 1, NONE]], dtype=np.int16))
    assert known.ravel().tolist() == [7, 300, 2]


@given(vocabularies(), IDS)
def test_planes_are_one_hot_in_minus_one_to_one(classes, ids):
    ids = np.where(ids < len(classes.kept), ids, NONE).astype(np.int16)
    planes, whole = classes.planes(ids), classes.planes(ids, unknown=True)
    assert planes.dtype == whole.dtype == np.float32
    assert planes.shape == (len(classes.kept), *ids.shape)
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            expected = [-1.0] * len(classes.kept)
            if ids[row, column] != NONE:
                expected[ids[row, column]] = 1.0
            assert planes[:, row, column].tolist() == expected
            assert whole[:, row, column].tolist() == [*expected, 1.0 if ids[row, column] == NONE else -1.0]


@given(arrays(np.uint8, (4, 5, 3)))
def test_colours_are_packed_and_unpacked(pixels):
    assert np.array_equal(unpacked(packed(pixels)), pixels)


def test_a_colour_goes_to_its_nearest_class_within_the_tolerance():
    noise = np.random.default_rng(0).integers(-15, 16, (30, 30, 3))
    for place, label in enumerate(THREE.kept):
        pixels = np.clip(np.array(label.colour) + noise, 0, 255).astype(np.uint8)
        assert (THREE.find(pixels) == place).all()
    red = np.array([[[255, 0, 0]]], dtype=np.uint8)
    assert min(np.linalg.norm(np.subtract(label.colour, (255, 0, 0))) for label in THREE.kept) > TOLERANCE
    assert THREE.find(red) == UNKNOWN
    assert THREE.ids(red) == NONE


def test_ids_are_exact_where_they_are_close_and_soft_where_they_are_far():
    close = Classes((Label("a", (0, 0, 0), 0), Label("b", (255, 255, 255), 1)))
    assert close.find(np.array([[[0], [1], [2], [255]]], dtype=np.uint8)).tolist() == [[0, 1, UNKNOWN, UNKNOWN]]
    mask = Classes((Label("a", (0, 0, 0), 0), Label("b", (255, 255, 255), 255)))
    assert mask.find(np.array([[[0], [9], [127], [129], [250]]], dtype=np.uint8)).tolist() == [[0, 0, 0, 1, 1]]
    assert mask.find(np.array([[[0.0], [1.0]]], dtype=np.float32)).tolist() == [[0, 1]]


def test_an_ignored_class_is_no_class():
    for ignore in ("sky", 2):
        classes = Classes(THREE.labels, ignore)
        assert classes.kept == (ROAD, TREE)
        grey = np.array([[[7], [2], [300], [5]]], dtype=np.uint16)
        assert classes.find(grey).tolist() == [[0, NONE, 1, UNKNOWN]]
        assert classes.planes(classes.ids(grey)).shape[0] == 2
        assert classes.picture(np.array([[NONE]]))[0, 0].tolist() == list(SKY.colour)
        assert classes.ids(THREE.picture(np.array([[0, 1, 2]]))).tolist() == [[0, NONE, 1]]


@pytest.mark.parametrize(
    ("labels", "ignore", "message"),
    [
        ((), None, "0 classes"),
        (tuple(Label(str(n), (n % 256, n // 256, 0), n) for n in range(257)), None, "257 classes"),
        ((ROAD, replace(SKY, name="road")), None, "name road"),
        ((ROAD, replace(SKY, colour=ROAD.colour)), None, "colour"),
        ((ROAD, replace(SKY, id=7)), None, "id 7"),
        ((ROAD, SKY), "skye", "Did you mean 'sky'"),
        ((ROAD, SKY), 99, "ignore=99"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(labels, ignore, message):
    with pytest.raises(ConfigError, match=message):
        Classes(labels, ignore)


def test_a_label_map_of_two_channels_is_refused():
    with pytest.raises(DataError, match="2 channels"):
        THREE.find(np.zeros((2, 2, 2), np.uint8))


@given(st.lists(st.sampled_from(palette(64)), min_size=1, max_size=64, unique=True))
def test_the_colour_of_no_class_is_no_classs(colours):
    found = far_colour(colours)
    distances = [sum((a - b) ** 2 for a, b in zip(found, colour, strict=True)) ** 0.5 for colour in colours]
    assert min(distances) > TOLERANCE


def test_classes_are_plain_json_and_come_back():
    tree = json.loads(json.dumps(plain(THREE.labels)))
    assert TypeAdapter(tuple[Label, ...]).validate_python(tree) == THREE.labels
    assert Classes((Label("a", (0, 0, 0)), Label("b", (9, 9, 9)))).values == [0, 1]


# --- learning them ----------------------------------------------------------------------------------------------------------------


def records(folder: Path, *pictures: np.ndarray, suffix: str = ".png", **options) -> list[Record]:
    """Pairs of a photo that is not there and a label map."""
    (folder / "masks").mkdir(exist_ok=True)
    found = []
    for number, pixels in enumerate(pictures):
        path = folder / "masks" / f"{number}{suffix}"
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
        found.append(Record(str(number), folder / f"{number}.png", path))
    return found


def stripes(colours, *, height=48, width=16) -> np.ndarray:
    """A stripe per colour or id."""
    values = np.array(colours, dtype=np.uint8)
    return np.broadcast_to(values.repeat(width, axis=0)[None], (height, width * len(values), *values.shape[1:])).copy()


def test_ids_that_occur_are_the_classes(tmp_path):
    classes = find_classes(records(tmp_path, stripes([0, 3]), stripes([3, 9, 9, 9])), target=True)
    assert [(label.name, label.id) for label in classes] == [("class 0", 0), ("class 3", 3), ("class 9", 9)]
    assert [label.share for label in classes] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=1e-5)
    assert len({label.colour for label in classes}) == 3


@pytest.mark.parametrize("kind", ["L", "1", "P", "RGB"])
def test_two_values_are_background_and_foreground(kind, tmp_path):
    mask = Image.fromarray(stripes([0, 255, 255])).convert("RGB" if kind == "P" else kind)
    classes = find_classes(records(tmp_path, mask.convert("P", palette=Image.Palette.ADAPTIVE) if kind == "P" else mask), target=True)
    assert [(label.name, label.colour) for label in classes] == [("background", (0, 0, 0)), ("foreground", (255, 255, 255))]
    assert [label.share for label in classes] == pytest.approx([1 / 3, 2 / 3], abs=1e-5)


def test_colours_are_the_classes(tmp_path):
    classes = find_classes(records(tmp_path, stripes([(0, 0, 0), (255, 0, 0)]), stripes([(1, 2, 3)])), target=True)
    assert [label.name for label in classes] == ["#000000", "#010203", "#ff0000"]


@pytest.mark.parametrize("quality", [75, 95])
def test_what_jpeg_made_of_colours_is_seen_through(quality, tmp_path):
    colours = [(0, 0, 222), (0, 128, 255), (32, 255, 224), (255, 160, 0), (174, 0, 0), (255, 255, 255)]
    found = find_classes(records(tmp_path, stripes(colours), stripes(colours[::-1]), suffix=".jpg", quality=quality), target=True)
    assert len(found) == len(colours)
    for label in found:
        assert min(np.abs(np.subtract(label.colour, colour)).max() for colour in colours) <= 6
        assert label.share == pytest.approx(1 / 6, abs=0.02)


def test_what_jpeg_made_of_a_mask_is_seen_through(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (8, 8)), np.ones((12, 12))).astype(np.uint8) * 255
    found = find_classes(records(tmp_path, mask, suffix=".jpg", quality=60), target=True)
    assert [label.name for label in found] == ["background", "foreground"]
    assert [label.id for label in found] == pytest.approx([0, 255], abs=4)
    assert Classes(found).ids(mask[..., None]).tolist() == (mask > 0).tolist()


def test_soft_edges_are_no_classes(tmp_path):
    colour = (
        Image.fromarray(stripes([(255, 0, 0), (0, 0, 255), (0, 255, 0)], width=40, height=80))
        .rotate(30, Image.Resampling.BICUBIC, expand=False)
        .crop((30, 10, 90, 70))
        .resize((480, 480), Image.Resampling.BICUBIC)
    )
    assert len(np.unique(packed(np.asarray(colour)))) > 64
    found = find_classes(records(tmp_path, colour), target=True)
    assert sorted(label.colour for label in found) == [(0, 0, 255), (0, 255, 0), (255, 0, 0)]


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_a_hundred_classes_are_too_many(kind, tmp_path):
    ramp = [(r, g, b) for r in range(0, 250, 52) for g in range(0, 250, 52) for b in range(0, 250, 62)]
    values = list(range(100)) if kind == "grey" else ramp[:100]
    with pytest.raises(DataError, match=r"(?s)hold 100 different.*masks.*64 classes.*classes\.csv"):
        find_classes(records(tmp_path, stripes(values)), target=True)


def test_photographs_are_no_label_maps(tmp_path):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((200, 200), Image.Resampling.BICUBIC)
    for kind in ("RGB", "L"):
        with pytest.raises(DataError, match=r"(?s)no classes can be made out.*--direction"):
            find_classes(records(tmp_path, smooth.convert(kind)), target=True)


def test_the_other_half_or_the_first_picture_can_be_the_label_map(tmp_path):
    both = np.hstack([np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8), stripes([(255, 0, 0), (0, 0, 0)])])
    Image.fromarray(both).save(tmp_path / "0.png")
    found = find_classes([Record("0", tmp_path / "0.png", sides=True)], target=True)
    assert [label.name for label in found] == ["#000000", "#ff0000"]
    assert found == find_classes([replace(record, source=record.target) for record in records(tmp_path, both[:, 32:])], target=False)


# --- a table of classes -----------------------------------------------------------------------------------------------------------

TABLE = "id,name,r,g,b,note\n1, road ,255,0,0,x\n4,sky,0,0,255,\n"


@pytest.mark.parametrize("place", ["masks", ""])
def test_a_table_beside_or_above_names_the_classes(place, tmp_path):
    made = records(tmp_path, stripes([1, 4, 4, 4]))
    (tmp_path / place / "classes.csv").write_text("\ufeff" + TABLE, encoding="utf-8")
    assert find_classes(made, target=True) == (Label("road", (255, 0, 0), 1, 0.25), Label("sky", (0, 0, 255), 4, 0.75))


def test_a_table_need_have_no_ids(tmp_path):
    (tmp_path / "classes.csv").write_text("Name,R,G,B\nroad,255,0,0\nsky,0,0,255\n")
    assert [label.id for label in read_table(tmp_path / "classes.csv")] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,r,g\na,1,2\n", "no column 'b'"),
        ("", "no column 'name'"),
        ("name,r,g,b\na,1,2,x\n", "row 1"),
        ("name,r,g,b\na,1,2,3\nb,1,2,256\n", "row 2"),
        ("name,r,g,b\na,1,2\n", "row 1"),
        ("name,r,g,b\na,1,2,3\nb,1,2,3\n", "colour"),
        ("name,r,g,b\n", "0 classes"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(text, message, tmp_path):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        read_table(tmp_path / "classes.csv")
    assert "classes.csv" in str(raised.value)


def test_an_id_out_of_range_names_file_id_and_number_of_classes(tmp_path):
    made = records(tmp_path, stripes([1, 4]), stripes([1, 5]))
    (tmp_path / "classes.csv").write_text(TABLE)
    with pytest.raises(DataError, match=r"(?s)the id 5 is none of the 2 classes.*1\.png.*50\.00%.*ids are 1, 4"):
        find_classes(made, target=True)


def test_a_colour_that_is_no_classs_names_file_and_colour(tmp_path):
    made = records(tmp_path, stripes([(255, 0, 0)] * 9 + [(0, 200, 1)]))
    (tmp_path / "classes.csv").write_text(TABLE)
    with pytest.raises(DataError, match=r"(?s)the colour \(0, 200, 1\) is none of the 2 classes.*0\.png.*10\.00%"):
        find_classes(made, target=True)


def test_classes_that_are_given_are_checked_too_and_learnt_ones_are_kept(tmp_path):
    made = records(tmp_path, stripes([0, 1, 2]))
    two = (Label("a", (0, 0, 0), 0), Label("b", (255, 255, 255), 1))
    with pytest.raises(DataError, match="the id 2"):
        find_classes(made, target=True, labels=two)
    learnt = (replace(two[0], share=1.0), two[1])
    assert find_classes(made, target=True, labels=learnt) == learnt


def test_bad_files_are_left_to_the_loader_but_not_all_of_them(tmp_path):
    made = records(tmp_path, stripes([0, 1]), stripes([0, 2]))
    made[1].target.write_bytes(b"no picture")
    assert [label.id for label in find_classes(made, target=True)] == [0, 1]
    made[0].target.unlink()
    with pytest.raises(DataError, match="none of the label maps can be read"):
        find_classes(made, target=True)


def test_colours_that_do_not_gather_are_none():
    rng = np.random.default_rng(0)
    values = np.unique(rng.integers(0, 256, (5000, 3)), axis=0).astype(np.uint8)
    assert plain_values(values, np.ones(len(values), np.int64)) is None


def test_colours_of_the_palette_are_all_different():
    assert len(set(palette(64))) == 64
    assert palette(3)[0] == (0, 0, 0)


# --- real label maps --------------------------------------------------------------------------------------------------------------


def test_the_classes_of_real_facades_are_seen_through_jpeg(real_data, monkeypatch):
    listed = [label.colour for label in read_table(real_data / "facades" / "classes.csv")]
    monkeypatch.setattr("pixloom.tasks.vocabulary.TABLE", "none.csv")
    made = [Record(str(n), real_data / "facades" / "train" / f"{n}.jpg", sides=True) for n in range(1, 401, 4)]
    found = [label.colour for label in find_classes(made, target=True)]
    assert len(found) == len(listed) == 12
    assert all(min(np.abs(np.subtract(colour, other)).max() for other in listed) <= 3 for colour in found)


def test_a_photograph_is_no_map_of_classes_that_are_far_apart():
    classes = Classes((Label("ground", (0, 0, 0), id=0), Label("cell", (255, 255, 255), id=255)))
    assert classes.are_wide
    shades = np.arange(256)[:, None]
    with pytest.raises(DataError, match=r"(?s)more likely a photograph.*between their values \(0, 255\)"):
        check_labels(shades, np.ones(256, int), classes=classes, where=None)
    soft = np.ones(256, int)
    soft[[0, 255]] = 200  # a mask whose edges were smoothed
    assert sorted(set(check_labels(shades, soft, classes=classes, where=None).tolist())) == [0, 1]
