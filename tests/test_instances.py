"""Instance maps beside label maps: objects of one class are told apart by their edges, in training and at use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from console import Console
from pixloom.data.loading import training_batches
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import read
from pixloom.inference.translator import Translator
from pixloom.tasks.labels import edges
from pixloom.training.api import train
from pixloom.training.plan import Plan, load_pictures, make_plan

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3]))


@given(arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 1, 40000, 65535])))
def test_an_edge_is_where_a_neighbour_has_another_id(ids):
    height, width, _ = ids.shape
    for row in range(height):
        for column in range(width):
            around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            others = [ids[y, x] for y, x in around if 0 <= y < height and 0 <= x < width]
            assert edges(ids)[row, column] == any((other != ids[row, column]).any() for other in others)


def test_edges_do_not_depend_on_the_numbers_of_the_objects():
    ids = np.random.default_rng(0).integers(0, 5, (8, 9, 1)).astype(np.uint16)
    renamed = np.array([7, 65535, 300, 12, 4], np.uint16)[ids]
    assert np.array_equal(edges(ids), edges(renamed))
    assert np.array_equal(edges(np.repeat(ids, 3, axis=2)), edges(ids))


def write_nuclei(folder: Path, *, count: int = 5, side: int = 24) -> Path:
    """Photos, masks of one class, and ids of 16 bits of two objects in each that touch."""
    for name in ("masks", "images", "instances"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        ids = np.zeros((side, side), np.uint16)
        middle = int(rng.integers(8, 16))
        ids[4:20, 3:middle], ids[4:20, middle:21] = rng.permutation([1, 300])
        Image.fromarray(ids).save(folder / f"instances/{number}.png")
        Image.fromarray(np.where(ids > 0, 255, 0).astype(np.uint8)).save(folder / f"masks/{number}.png")
        photo = np.where(ids > 0, 180, 30) * np.where(edges(ids[..., None]), 0.5, 1.0)
        Image.fromarray(np.repeat(photo[..., None], 3, axis=2).astype(np.uint8)).save(folder / f"images/{number}.png")
    return folder


def plan_of(data: Path, **more: object) -> Plan:
    settings = {
        "generator.options.width": 4,
        "generator.options.depth": 3,
        "generator.options.dropout": 0.0,
        "conditions.map.beside": "instances",
        "conditions.map.edges": True,
        "data.holdout": 0.3,
        **more,
    }
    place = {"source_folder": "masks", "target_folder": "images"}
    return make_plan(
        str(data), task="synthesize", recipe_name="regression", size=16, images=40, device="cpu", data_settings=place, settings=settings
    )


def test_in_training_the_edges_are_those_of_the_cut(tmp_path):
    plan = plan_of(write_nuclei(tmp_path / "data"))
    assert plan.conditions.widths == {"map": 1}
    pictures = load_pictures(plan, size=16, cache_gib=1.0)
    batches = training_batches(pictures, batch_size=4, seed=0, start_image=0, size=16, flip=True)
    batch = next(batches)
    batches.close()
    planes = batch.condition["map"].numpy()
    assert planes.shape == (4, 1, 16, 16)
    assert set(np.unique(planes)) == {0.0, 1.0}
    for values, source in zip(planes[:, 0], batch.source.numpy(), strict=True):
        foreground = source[1] > 0
        outline = edges(foreground.astype(np.uint8)[..., None])
        assert (values[outline] == 1).all()  # the outline of the mask is an edge of an object
        assert (values[foreground & ~outline] == 1).any()  # and within the mask the objects meet
        assert not values[~foreground & ~outline].any()


def test_objects_that_touch_are_told_apart_at_use(tmp_path, capsys):
    data = write_nuclei(tmp_path / "data")
    train(plan_of(data).config, out=tmp_path / "run", quiet=True)
    translate = Translator.from_pretrained(tmp_path / "run", device="cpu")
    mask = read(data / "masks/0.png").pixels
    one, two = np.where(mask > 0, 1, 0).astype(np.uint16), read(data / "instances/0.png").pixels
    assert not np.array_equal(translate(mask, given={"map": one}), translate(mask, given={"map": two}))
    renamed = np.where(two == 300, 9, two).astype(np.uint16)
    assert np.array_equal(translate(mask, given={"map": renamed}), translate(mask, given={"map": two}))
    with pytest.raises(ImageError, match="another size"):
        translate(mask, given={"map": two[:-1]})
    command = ("translate", tmp_path / "run", data / "masks", "--out", tmp_path / "out", "--device", "cpu")
    Console(capsys).ok(*command, "--map", data / "instances")
    assert np.array_equal(read(tmp_path / "out/0.png").pixels, translate(mask, given={"map": two}))


def test_classes_have_no_place_beside_edges(tmp_path):
    data = write_nuclei(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"(?s)conditions\.map\.classes would have no effect.*fix"):
        plan_of(data, **{"conditions.map.classes": [{"name": "a", "colour": [0, 0, 0]}]})
    with pytest.raises(DataError, match=r"(?s)no map.*beside"):
        plan_of(data, **{"conditions.map.beside": "instanzen"})
