from __future__ import annotations

import threading
import weakref
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixloom.data.batch import Batch
from pixloom.data.loading import Pictures, training_batches
from pixloom.data.resident import resident_batches, resident_bytes
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError
from pixloom.images import to_model
from pixloom.tasks.base import Task
from pixloom.tasks.colorize import Colorize
from pixloom.tasks.pair import Pair

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Seven pairs of different widths."""
    found = []
    for number in range(7):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 20 + 2 * number, 3), dtype=np.uint8)
        found.append(Record(f"p{number}", save(tmp_path / f"a{number}.png", pixels), save(tmp_path / f"b{number}.png", 255 - pixels)))
    return found


def pictures_of(records: list[Record], *, task: Task | None = None, load_side: int = 20, cache_gib: float = 1.0) -> Pictures:
    task = task or Pair()
    channels = (3, 3) if task.needs_pairs else (3, None)
    return Pictures(records, encode=task.encode, load_side=load_side, channels=channels, cache_gib=cache_gib)


SETTING = {"batch_size": 2, "seed": 5, "start_image": 0, "size": 16, "flip": True}


def host(pictures: Pictures, number: int, **changes: object) -> list[Batch]:
    stream = training_batches(pictures, **SETTING | changes)
    batches = list(islice(stream, number))
    stream.close()
    return batches


def resident(pictures: Pictures, number: int, *, device: str = "cpu", **changes: object) -> list[Batch]:
    stream = resident_batches(pictures, device=torch.device(device), **SETTING | changes)
    batches = list(islice(stream, number))
    stream.close()
    return batches


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    """Bit for bit, wherever they are."""
    assert [batch.ids for batch in left] == [batch.ids for batch in right]
    for one, other in zip(left, right, strict=True):
        assert one.target is not None
        assert other.target is not None
        assert one.source.is_contiguous()
        assert one.source.dtype == torch.float32
        assert torch.equal(one.source.cpu(), other.source.cpu())
        assert torch.equal(one.target.cpu(), other.target.cpu())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("task", [Pair(), Pair(direction="BtoA"), Colorize()], ids=["AtoB", "BtoA", "colorize"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_size": 1}, {"batch_size": 3, "size": 20}, {"flip": False}, {"start_image": 12}, {"rank": 1, "world_size": 2}, {"seed": 6}],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_batches_are_those_of_the_host(records: list[Record], task: Task, changes: dict[str, object], device: str) -> None:
    found = resident(pictures_of(records, task=task), 12, device=device, **changes)
    assert all(batch.source.device.type == device for batch in found)
    assert_same(found, host(pictures_of(records, task=task), 12, **changes))


def test_sixteen_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (30, 24), dtype=np.uint16)
    records = [Record("1", save(tmp_path / "a.png", values), save(tmp_path / "b.png", values[::-1].copy()))]
    pictures = Pictures(records, encode=Pair().encode, load_side=20, channels=(1, 1), cache_gib=1.0)
    assert_same(resident(pictures, 5), host(pictures, 5))


def test_bad_examples_are_replaced_as_on_the_host(records: list[Record]) -> None:
    records[2].source.write_bytes(b"broken")
    records[4].source.unlink()
    pictures, plain = pictures_of(records), pictures_of(records)
    assert_same(resident(pictures, 14, batch_size=1), host(plain, 14, batch_size=1))
    assert pictures.bad == plain.bad
    assert set(pictures.bad) == {"p2", "p4"}


def test_what_cannot_work_is_refused_as_on_the_host(records: list[Record]) -> None:
    with pytest.raises(ConfigError, match="3 cannot be shared by 2"):
        resident(pictures_of(records), 1, batch_size=3, world_size=2)
    with pytest.raises(ConfigError, match="hold no crop"):
        resident(pictures_of(records), 1, size=24)
    with pytest.raises(DataError, match="no example"):
        resident(pictures_of([]), 1)
    for record in records:
        record.source.write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the examples"):
        resident(pictures_of(records), 1)


def test_every_example_is_read_and_encoded_once(records: list[Record]) -> None:
    encoded: list[int] = []

    def encode(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        encoded.append(1)
        return Pair().encode(source, target, rng=rng)

    pictures = Pictures(records, encode=encode, load_side=20, channels=(3, 3), cache_gib=0.0)
    expected = host(pictures_of(records), 35, batch_size=1)
    stream = resident_batches(pictures, device=torch.device("cpu"), **SETTING | {"batch_size": 1})
    found = list(islice(stream, 21))  # at the turn to the second pass some may still be on their way, and be read twice
    until_then = len(encoded)
    for record in records:
        record.source.unlink()
    found += list(islice(stream, 14))
    stream.close()
    assert_same(found, expected)
    assert 7 <= until_then == len(encoded) < 21
    assert not pictures.bad


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_step_may_change_its_batch(records: list[Record], batch_size: int) -> None:
    pictures = pictures_of(records, load_side=16)
    stream = resident_batches(pictures, device=torch.device("cpu"), **SETTING | {"batch_size": batch_size})
    found = []
    for batch in islice(stream, 21):
        found.append(Batch(batch.source.clone(), None if batch.target is None else batch.target.clone(), batch.ids))
        batch.source.zero_()
    stream.close()
    assert_same(found, host(pictures, 21, batch_size=batch_size))


def test_nothing_is_left_when_the_batches_are_closed(records: list[Record]) -> None:
    kept: list[weakref.ref[np.ndarray]] = []

    def encode(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        x, y = Pair().encode(source, target, rng=rng)
        kept.append(weakref.ref(x))
        return x, y

    pictures = Pictures(records, encode=encode, load_side=20, channels=(3, 3), cache_gib=1.0)
    stream = resident_batches(pictures, device=torch.device("cpu"), **SETTING)
    list(islice(stream, 16))
    assert sum(one() is not None for one in kept) == 7  # on the CPU the example is the encoded array itself
    stream.close()
    del stream
    assert not any(one() is not None for one in kept)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pixloom-")]


@pytest.mark.parametrize("task", [Pair(), Colorize()], ids=["pair", "colorize"])
def test_the_estimate_is_the_memory_that_is_used(records: list[Record], task: Task) -> None:
    pictures = pictures_of(records, task=task)
    rng = np.random.default_rng(0)
    loaded = [one for index in range(7) if (one := pictures.load(index)) is not None]
    sides = [task.encode(one.source, one.target, rng=rng) for one in loaded]
    assert resident_bytes(pictures_of(records, task=task)) == sum(x.nbytes + y.nbytes for x, y in sides)


def test_the_estimate_needs_no_good_files(records: list[Record]) -> None:
    whole = resident_bytes(pictures_of(records))
    records[0].source.write_bytes(b"broken")
    assert whole * 0.9 < resident_bytes(pictures_of(records)) < whole * 1.2
    for record in records:
        record.source.write_bytes(b"broken")
    assert resident_bytes(pictures_of(records)) == 0
    assert resident_bytes(pictures_of([])) == 0


def test_side_by_side_files_count_half_their_width(tmp_path: Path) -> None:
    record = Record("1", save(tmp_path / "1.png", np.zeros((20, 40, 3), dtype=np.uint8)), sides=True)
    pictures = pictures_of([record])
    assert resident_bytes(pictures) == 2 * to_model(np.zeros((20, 20, 3), dtype=np.uint8)).nbytes
