"""Maps of objects beside label maps: those of one class are told apart by their edges, and each can have a look of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from console import Console
from pixloom.data.loading import training_batches
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import read
from pixloom.inference.translator import Translator
from pixloom.nets import build
from pixloom.nets.objects import LookEncoder, boundaries, mean_within
from pixloom.tasks.labels import edges, numbered
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
    numbers = torch.from_numpy(numbered(ids).astype(np.float32))[None, None]
    assert np.array_equal(boundaries(numbers)[0, 0].numpy() == 1, edges(ids))  # networks see the same
    assert numbers.max() < numbers.numel()


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
    assert plan.conditions.widths == {"objects": 1}
    pictures = load_pictures(plan, size=16, cache_gib=1.0)
    batches = training_batches(pictures, batch_size=4, seed=0, start_image=0, size=16, flip=True)
    batch = next(batches)
    batches.close()
    planes = boundaries(batch.condition["objects"]).numpy()
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


# --- a look for each object -------------------------------------------------------------------------------------------------------

LOOKS = {"objects": 1, "look": 3}


def test_the_mean_within_objects_is_that_of_each():
    rng = np.random.default_rng(0)
    numbers, maps = rng.integers(0, 5, (2, 1, 6, 7)), rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    means = mean_within(torch.from_numpy(numbers).float(), torch.from_numpy(maps)).numpy()
    for picture in range(2):
        for number in range(5):
            where = numbers[picture, 0] == number
            expected = maps[picture][:, where].mean(axis=1, keepdims=True)
            assert np.allclose(means[picture][:, where], expected, atol=1e-6)


def test_the_encoder_of_looks_has_the_published_convolutions():
    halvings = sum(9 * a * b + b for a, b in ((16, 32), (32, 64), (64, 128), (128, 256)))
    doublings = sum(9 * a * b + b for a, b in ((256, 128), (128, 64), (64, 32), (32, 16)))
    ends = (49 * 3 * 16 + 16) + (49 * 16 * 3 + 3)
    assert sum(parameter.numel() for parameter in LookEncoder(3, 3).parameters()) == halvings + doublings + ends


@pytest.mark.parametrize("name", ["resnet", "unet", "spade"])
def test_the_look_of_an_object_is_seen_and_learnt(name):
    torch.manual_seed(0)
    options = {"resnet": {"blocks": 1}, "unet": {"depth": 3, "dropout": 0.0}, "spade": {"levels": 2, "hidden": 8}}[name]
    generator = build(name, {"width": 8, "conditions": LOOKS, **options}, source_channels=2, target_channels=3).train()
    assert generator.steering.shapes == {"objects": (1, -1, -2), "look": (3, -1, -2)}
    source, reference = torch.randn(2, 2, 32, 32), torch.rand(2, 3, 32, 32) * 2 - 1
    numbers = torch.zeros(2, 1, 32, 32)
    numbers[..., 16:] = 1
    output = generator(source, {"objects": numbers, "look": reference})
    output.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in generator.steering.look.parameters())
    other = reference.clone()
    other[..., 20:] *= -1
    assert not torch.equal(output, generator(source, {"objects": numbers, "look": other}))
    assert not torch.equal(output, generator(source, {"objects": numbers}))
    assert getattr(generator, "radius", None) is None, "an object may reach across the picture"


def test_no_look_is_the_same_as_a_reference_of_zeros():
    encoder, numbers = LookEncoder(3, 2), torch.zeros(1, 1, 20, 37)
    assert encoder(torch.rand(1, 3, 20, 37), numbers).shape == (1, 2, 20, 37)  # sizes that are no multiples of 16
    assert not encoder(torch.zeros(1, 3, 20, 37), numbers).any()


def looks_of(data: Path, **more: object) -> Plan:
    return plan_of(data, **{"conditions.style.of_objects": True, "conditions.style.code": 3, "training.condition_dropout": 0.2, **more})


def test_objects_take_the_look_of_their_reference_and_the_ground_keeps_its_own(tmp_path):
    data = write_nuclei(tmp_path / "data", count=24)
    ids = read(data / "instances/0.png").pixels
    for number in reversed(range(24)):  # one layout, and objects of any brightness, which only a reference can tell
        photo, rng = read(data / "images/0.png").pixels.copy(), np.random.default_rng(number)
        for value in (1, 300):
            photo[ids[..., 0] == value] = rng.integers(40, 250)
        Image.fromarray(photo).save(data / f"images/{number}.png")
        for name in ("masks", "instances"):
            Image.open(data / name / "0.png").save(data / name / f"{number}.png")
    steady = {"generator_optimizer.learning_rate": 5e-4, "training.clip_norm": 1.0}  # faster, some seeds end up at the range's ends
    plan = looks_of(data, **{"training.images": 1000, **steady})
    train(plan.config, out=tmp_path / "run", quiet=True)
    translate = Translator.from_pretrained(tmp_path / "run" / "model-last", device="cpu")  # the best by SSIM is often an early one
    mask, own = (read(data / name).pixels for name in ("masks/0.png", "images/0.png"))
    changed = own.copy()
    changed[ids[..., 0] == 300] = 255 - changed[ids[..., 0] == 300]
    with_own, with_changed = (translate(mask, given={"map": ids, "style": look}).astype(int) for look in (own, changed))
    moved = np.abs(with_own - with_changed).mean(axis=2)
    assert moved[ids[..., 0] == 300].mean() > 5
    assert moved[ids[..., 0] == 300].mean() > 3 * moved[ids[..., 0] == 0].mean()  # at 16 px the encoder sees both objects everywhere
    with pytest.raises(ImageError, match="another size"):
        translate(mask, given={"map": ids, "style": own[:-1]})
    with pytest.raises(ConfigError, match=r"(?s)without a map of objects would have no effect.*--map"):
        translate(mask, given={"style": own})


def test_looks_need_objects_and_go_without_chance(tmp_path):
    data = write_nuclei(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"(?s)no objects of which a look could be read.*edges=true"):
        train(looks_of(data, **{"conditions.map.edges": False}).config, out=tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match=r"(?s)of_objects does not go with noise"):
        looks_of(data, **{"generator.options.noise_channels": 3})
