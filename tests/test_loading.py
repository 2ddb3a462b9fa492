from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixloom.data import transforms
from pixloom.data.batch import Batch, on_device
from pixloom.data.loading import Pictures, evaluation_batches, probe_channels, read_pair, training_batches
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, ImageError
from pixloom.images import to_model


def encode(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    return to_model(source), None if target is None else to_model(target)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Seven pairs in which the target is the source's negative."""
    found = []
    for number in range(7):
        pixels = noise(24, 20 + 2 * number, 3, seed=number)
        found.append(Record(f"p{number}", save(tmp_path / f"a{number}.png", pixels), save(tmp_path / f"b{number}.png", 255 - pixels)))
    return found


def pictures_of(records: list[Record], *, load_side: int = 20, cache_gib: float = 1.0, **changes: object) -> Pictures:
    given = {"encode": encode, "channels": (3, 3)} | changes
    return Pictures(records, load_side=load_side, cache_gib=cache_gib, **given)


def take(pictures: Pictures, number: int, **changes: object) -> list[Batch]:
    given = {"batch_size": 2, "seed": 5, "start_image": 0, "size": 16, "flip": True} | changes
    stream = training_batches(pictures, **given)
    batches = list(islice(stream, number))
    stream.close()
    return batches


def assert_equal(left: list[Batch], right: list[Batch]) -> None:
    assert [b.ids for b in left] == [b.ids for b in right]
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one.source, other.source)
        assert one.target is not None
        assert torch.equal(one.target, other.target)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pixloom-")]


# --- Transforms ---


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 2**31), st.booleans())
@settings(max_examples=50, deadline=None)
def test_crops_keep_a_pair_aligned(height: int, width: int, seed: int, flip: bool) -> None:
    source = noise(height, width, 3)
    target = source[:, :, :1]
    crop = transforms.draw_crop(np.random.default_rng(seed), height=height, width=width, size=8, flip=flip)
    cut, other = (transforms.apply(crop, side, size=8) for side in (source, target))
    assert cut.shape == (8, 8, 3)
    assert np.array_equal(cut[:, :, :1], other)
    assert flip or not crop.flip


def test_crops_reach_every_place_and_flip_half() -> None:
    rng = np.random.default_rng(0)
    crops = [transforms.draw_crop(rng, height=10, width=9, size=8, flip=True) for _ in range(600)]
    assert {(c.top, c.left) for c in crops} == {(top, left) for top in range(3) for left in range(2)}
    assert 240 < sum(c.flip for c in crops) < 360
    with pytest.raises(ValueError, match="high"):
        transforms.draw_crop(rng, height=7, width=9, size=8, flip=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [5, 8, 12, 24])
@pytest.mark.parametrize("channels", [1, 3])
def test_flip_mirrors_left_and_right(size: int, channels: int, dtype: type) -> None:
    pixels = noise(30, 30, channels).astype(dtype)
    flipped = transforms.apply(transforms.Crop(2, 3, True), pixels, size=size)
    assert flipped.dtype == dtype
    assert np.array_equal(flipped, np.fliplr(pixels[2 : 2 + size, 3 : 3 + size]))
    assert np.array_equal(pixels, noise(30, 30, channels).astype(dtype))


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_draws_are_those_of_the_first_version(height: int, width: int, seed: int) -> None:
    crop = transforms.draw_crop(np.random.default_rng(seed), height=height, width=width, size=8, flip=True)
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, [height - 8 + 1, width - 8 + 1])
    assert crop == transforms.Crop(top, left, bool(rng.integers(2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_planar_changes_the_memory_and_no_pixel(channels: int) -> None:
    pixels = noise(5, 7, channels)
    planar = transforms.planar(pixels)
    assert np.array_equal(planar, pixels)
    assert planar.transpose(2, 0, 1).flags.c_contiguous
    assert transforms.planar(planar) is planar


def test_fit_keeps_the_aspect() -> None:
    assert transforms.fit(noise(20, 40, 1), short_side=30).shape == (30, 60, 1)
    assert transforms.fit(noise(5, 3, 4), short_side=6).shape == (10, 6, 4)
    pixels = noise(20, 20, 3)
    assert transforms.fit(pixels, short_side=20) is pixels
    values = np.array([[0, 200], [200, 0]], dtype=np.uint8)[:, :, None]
    assert set(np.unique(transforms.fit(values, short_side=7, nearest=True))) == {0, 200}
    assert set(np.unique(transforms.fit(values, short_side=7))) != {0, 200}


# --- Reading ---


def test_read_pair_cuts_side_by_side_files(tmp_path: Path) -> None:
    pixels = noise(8, 16, 3)
    record = Record("1", save(tmp_path / "1.png", pixels), sides=True)
    source, target = read_pair(record, (3, 1))
    assert np.array_equal(source, pixels[:, :8])
    assert target is not None
    assert target.shape == (8, 8, 1)
    assert read_pair(record, (3, None))[1] is None
    with pytest.raises(ImageError, match="odd width"):
        read_pair(Record("2", save(tmp_path / "2.png", noise(8, 15, 3)), sides=True), (3, 3))


def test_read_pair_needs_a_target_where_one_is_wanted(tmp_path: Path) -> None:
    record = Record("1", save(tmp_path / "1.png", noise(8, 8, 3)))
    assert read_pair(record, None)[1] is None
    with pytest.raises(DataError, match="no target"):
        read_pair(record, (3, 3))


def test_probe_channels(tmp_path: Path) -> None:
    grey = Record("g", save(tmp_path / "g.png", noise(8, 8)))
    colour = Record("c", save(tmp_path / "c.png", noise(8, 8, 3)))
    broken = Record("x", tmp_path / "x.png")
    broken.source.write_bytes(b"no picture")
    assert probe_channels([grey]) == (1, None)
    assert probe_channels([grey, colour, broken]) == (3, None)
    assert probe_channels([replace(grey, target=colour.source)]) == (1, 3)
    assert probe_channels([replace(colour, sides=True)]) == (3, 3)
    with pytest.raises(DataError, match="can be read"):
        probe_channels([broken])


def test_targets_of_another_size(tmp_path: Path, records: list[Record]) -> None:
    scaled = replace(records[0], target=save(tmp_path / "s.png", noise(48, 40, 3)))
    askew = replace(records[1], target=save(tmp_path / "t.png", noise(48, 40, 3)))
    pictures = pictures_of([scaled, askew])
    loaded = pictures.load(0)
    assert loaded is not None
    assert loaded.target is not None
    assert loaded.source.shape == loaded.target.shape
    assert pictures.load(1) is None
    assert list(pictures.resized) == ["p0"]
    assert "do not match: 22x24 and 40x48" in pictures.bad["p1"]


def test_sixteen_bits_stay(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256
    record = Record("1", save(tmp_path / "1.png", values))
    loaded = pictures_of([record], load_side=16, channels=(1, None)).load(0)
    assert loaded is not None
    assert loaded.source.dtype == np.uint16
    assert np.array_equal(loaded.source[:, :, 0], values)


# --- Cache ---


@pytest.mark.parametrize(("cache_gib", "cached"), [(1.0, True), (0.0, False)])
def test_cache_holds_decoded_pictures_that_fit(records: list[Record], cache_gib: float, cached: bool) -> None:
    pictures = pictures_of(records, cache_gib=cache_gib)
    assert not pictures.holds(0)
    first = pictures.load(0)
    assert pictures.holds(0) == cached
    records[0].source.unlink()
    assert (pictures.load(0) is first) == cached
    assert ("p0" in pictures.bad) != cached


def test_cache_holds_as_many_as_fit(records: list[Record]) -> None:
    sizes = [loaded.nbytes for index in range(7) if (loaded := pictures_of(records).load(index)) is not None]
    pictures = pictures_of(records, cache_gib=sum(sizes[:3]) / 2**30)
    for index in (2, 0, 1, 3, 4, 0, 2, 6):
        pictures.load(index)
    assert [pictures.holds(index) for index in range(7)] == [True, True, True, False, False, False, False]


def test_halves_in_the_cache_do_not_keep_the_file(tmp_path: Path) -> None:
    loaded = pictures_of([Record("1", save(tmp_path / "1.png", noise(20, 40, 3)), sides=True)]).load(0)
    assert loaded is not None
    assert loaded.target is not None
    for side in (loaded.source, loaded.target):
        assert side.transpose(2, 0, 1).flags.c_contiguous
        assert side.base is not None
        assert side.base.nbytes == side.nbytes
    assert loaded.nbytes == 2 * 20 * 20 * 3


# --- Training batches ---


def test_batches_hold_aligned_pairs(records: list[Record]) -> None:
    for batch in take(pictures_of(records), 8):
        assert batch.source.shape == (2, 3, 16, 16)
        assert batch.source.dtype == torch.float32
        assert torch.allclose(batch.source, -batch.target, atol=0.02)  # the negative, resized on its own


@pytest.mark.parametrize("flip", [True, False])
def test_a_sample_is_what_the_formulas_say(records: list[Record], flip: bool) -> None:
    pictures = pictures_of(records)
    for image, batch in enumerate(take(pictures, 21, batch_size=1, flip=flip)):
        order = np.random.default_rng(np.random.SeedSequence([5, 0, image // 7])).permutation(7)
        loaded = pictures.load(int(order[image % 7]))
        assert loaded is not None
        assert loaded.target is not None
        rng = np.random.default_rng(np.random.SeedSequence([5, 1, image]))
        top, left = rng.integers(0, [loaded.source.shape[0] - 15, loaded.source.shape[1] - 15])
        mirrored = flip and rng.integers(2)
        assert batch.ids == (loaded.id,)
        for values, side in ((batch.source, loaded.source), (batch.target, loaded.target)):
            cut = np.ascontiguousarray(side)[top : top + 16, left : left + 16]
            assert values is not None
            assert np.array_equal(values[0].numpy(), to_model(cut[:, ::-1] if mirrored else cut))


def test_every_pass_holds_every_example_once_in_a_new_order(records: list[Record]) -> None:
    ids = [name for batch in take(pictures_of(records), 21, batch_size=1) for name in batch.ids]
    passes = [ids[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(one) == [f"p{n}" for n in range(7)] for one in passes)
    assert len({tuple(one) for one in passes}) == 3


@pytest.mark.parametrize("cache_gib", [0.0, 1e-5, 1.0])
def test_resume_is_the_same_run(records: list[Record], cache_gib: float) -> None:
    straight = take(pictures_of(records), 10)
    for start in (2, 6, 14):
        assert_equal(straight[start // 2 :], take(pictures_of(records, cache_gib=cache_gib), 10 - start // 2, start_image=start))


def test_processes_share_the_same_batches(records: list[Record]) -> None:
    whole = take(pictures_of(records), 6, batch_size=4)
    shares = [take(pictures_of(records), 6, batch_size=4, rank=rank, world_size=2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert batch.ids == parts[0].ids + parts[1].ids
        assert torch.equal(batch.source, torch.cat([part.source for part in parts]))


def test_the_seed_and_the_flip_change_the_batches(records: list[Record]) -> None:
    base, other, straight = (take(pictures_of(records), 7, **change) for change in ({}, {"seed": 6}, {"flip": False}))
    assert [b.ids for b in base] != [b.ids for b in other]
    assert [b.ids for b in base] == [b.ids for b in straight]
    same = [torch.equal(x, y) for b, s in zip(base, straight, strict=True) for x, y in zip(b.source, s.source, strict=True)]
    mirrored = [torch.equal(x, y.flip(-1)) for b, s in zip(base, straight, strict=True) for x, y in zip(b.source, s.source, strict=True)]
    assert any(same)
    assert any(mirrored)
    assert all(a or b for a, b in zip(same, mirrored, strict=True))


def test_bad_examples_are_replaced_and_counted_once(records: list[Record]) -> None:
    records[2].source.write_bytes(b"broken")
    assert records[4].target is not None
    records[4].target.unlink()
    pictures = pictures_of(records)
    batches = take(pictures, 14, batch_size=1)
    counts = Counter(name for batch in batches for name in batch.ids)
    assert set(counts) == {"p0", "p1", "p3", "p5", "p6"}
    assert set(pictures.bad) == {"p2", "p4"}
    assert all(reason and "\n" not in reason for reason in pictures.bad.values())
    assert_equal(batches[5:], take(pictures_of(records), 9, batch_size=1, start_image=5))


def test_a_bad_example_is_replaced_by_the_next_good_one(records: list[Record]) -> None:
    order = [batch.ids[0] for batch in take(pictures_of(records), 7, batch_size=1)]
    for name in order[1:3]:
        records[int(name[1:])].source.write_bytes(b"broken")
    found = [batch.ids[0] for batch in take(pictures_of(records), 7, batch_size=1)]
    assert found == [order[0], order[3], order[3], *order[3:]]


def test_only_bad_examples_end_the_run(records: list[Record]) -> None:
    for record in records:
        record.source.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"p0: .*p1: .*p2: "):
        take(pictures_of(records), 1)
    with pytest.raises(DataError, match="no example"):
        take(pictures_of([]), 1)
    assert not loader_threads()


def test_settings_that_cannot_work(records: list[Record]) -> None:
    with pytest.raises(ConfigError, match="3 cannot be shared by 2"):
        take(pictures_of(records), 1, batch_size=3, world_size=2)
    with pytest.raises(ConfigError, match="hold no crop"):
        take(pictures_of(records), 1, size=24)


def test_small_pictures_are_enlarged(tmp_path: Path) -> None:
    record = Record("1", save(tmp_path / "1.png", noise(1, 2, 3)))
    (batch,) = take(pictures_of([record], channels=(3, None)), 1, batch_size=1)
    assert batch.source.shape == (1, 3, 16, 16)
    assert batch.target is None


def test_threads_end_with_the_generator(records: list[Record]) -> None:
    stream = training_batches(pictures_of(records), batch_size=2, seed=0, start_image=0, size=16, flip=True)
    next(stream)
    assert loader_threads()
    stream.close()
    assert not loader_threads()


def test_errors_in_a_thread_reach_the_consumer(records: list[Record]) -> None:
    def fail(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        raise RuntimeError("the task is broken")

    with pytest.raises(RuntimeError, match="the task is broken"):
        take(pictures_of(records, encode=fail), 1)
    assert not loader_threads()


def test_examples_in_memory_need_no_threads(records: list[Record]) -> None:
    pictures = pictures_of(records)
    decoded = take(pictures, 9)
    stream = training_batches(pictures, batch_size=2, seed=5, start_image=0, size=16, flip=True)
    again = list(islice(stream, 9))
    assert not loader_threads()
    stream.close()
    assert_equal(decoded, again)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_batch_is_nobody_elses_memory(records: list[Record], batch_size: int) -> None:
    pictures = pictures_of(records, load_side=16)
    before = take(pictures, 7, batch_size=batch_size)
    for batch in take(pictures, 7, batch_size=batch_size):
        batch.source.zero_()
    assert_equal(before, take(pictures, 7, batch_size=batch_size))


def test_an_error_where_no_thread_works_reaches_the_consumer_too(records: list[Record]) -> None:
    broken = False

    def fail(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        if broken:
            raise RuntimeError("the task is broken")
        return encode(source, target, rng=rng)

    pictures = pictures_of(records, encode=fail)
    take(pictures, 7)
    broken = True
    with pytest.raises(RuntimeError, match="the task is broken"):
        take(pictures, 1)
    assert not loader_threads()


def test_loading_works_ahead_but_not_without_end(records: list[Record]) -> None:
    calls: list[int] = []

    def counted(source: np.ndarray, target: np.ndarray | None, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        calls.append(1)
        return encode(source, target, rng=rng)

    pictures = pictures_of(records, encode=counted)
    stream = training_batches(pictures, batch_size=8, seed=0, start_image=0, size=16, flip=True)
    next(stream)
    next(stream)
    stream.close()
    assert 16 <= len(calls) <= 40


# --- From one size to the next ---


def test_pictures_are_set_up_without_reading_any(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *given, **named: opened.append(path) or real(path, *given, **named))
    pictures = pictures_of(records, load_side=40)
    assert not opened
    pictures.load(0)
    assert opened == [records[0].source, records[0].target]


def test_another_size_continues_the_same_order(records: list[Record]) -> None:
    straight = take(pictures_of(records), 10)
    grown = take(pictures_of(records, load_side=40), 6, start_image=8, size=32)
    assert [batch.ids for batch in grown] == [batch.ids for batch in straight[4:]]
    assert grown[0].source.shape == (2, 3, 32, 32)
    assert_equal(grown, take(pictures_of(records, load_side=40), 10, size=32)[4:])


def test_closed_batches_keep_no_picture_in_memory(records: list[Record]) -> None:
    pictures = pictures_of(records)
    stream = training_batches(pictures, batch_size=2, seed=5, start_image=0, size=16, flip=True)
    list(islice(stream, 9))
    kept = [weakref.ref(pictures.load(index)) for index in range(7)]
    assert all(one() is not None for one in kept)
    stream.close()
    del pictures, stream
    assert all(one() is None for one in kept)


# --- On a device ---


def counted_batches(made: list[int], *, stop: int = 100) -> Generator[Batch, None, None]:
    """Batches that are numbered as they are made; a negative number is written when they are closed."""
    try:
        for number in range(stop):
            made.append(number)
            yield Batch(torch.full((1, 1, 2, 2), float(number)), None, (str(number),), {"label": torch.zeros(1)})
    finally:
        made.append(-1)


def test_on_the_cpu_batches_come_as_they_are() -> None:
    made: list[int] = []
    given = counted_batches(made)
    stream = on_device(given, device=torch.device("cpu"))
    first = next(stream)
    assert (made, first.ids, loader_threads()) == ([0], ("0",), [])
    stream.close()
    assert made == [0, -1]
    pinned = first.pin().source
    assert pinned.is_pinned() if torch.cuda.is_available() else pinned is first.source


def test_on_a_device_the_next_batch_is_made_while_one_is_in_use() -> None:
    made: list[int] = []
    given = counted_batches(made)
    stream = on_device(given, device=torch.device("meta"))
    batches = list(islice(stream, 3))
    assert [batch.ids for batch in batches] == [("0",), ("1",), ("2",)]
    assert {values.device.type for batch in batches for values in (batch.source, batch.condition["label"])} == {"meta"}
    assert loader_threads()
    stream.close()
    assert not loader_threads()
    assert made in ([0, 1, 2, -1], [0, 1, 2, 3, -1])  # the next was under way, or had not begun


def test_on_a_device_all_batches_come_and_errors_too() -> None:
    assert len(list(on_device(counted_batches([], stop=3), device=torch.device("meta")))) == 3

    def broken() -> Generator[Batch, None, None]:
        yield from counted_batches([], stop=1)
        raise DataError("no more pictures")

    with pytest.raises(DataError, match="no more pictures"):
        list(on_device(broken(), device=torch.device("meta")))
    assert not loader_threads()


# --- Evaluation batches ---


@pytest.mark.parametrize("batch_size", [1, 3])
def test_evaluation_is_in_order_and_once(records: list[Record], batch_size: int) -> None:
    records[3].source.write_bytes(b"broken")
    pictures = pictures_of(records, load_side=16)
    batches = list(evaluation_batches(pictures, size=16, batch_size=batch_size))
    assert [name for batch in batches for name in batch.ids] == ["p0", "p1", "p2", "p4", "p5", "p6"]
    assert list(pictures.bad) == ["p3"]
    assert not loader_threads()
    again = list(evaluation_batches(pictures, size=16, batch_size=batch_size))
    assert_equal(batches, again)


def test_evaluation_takes_the_centre(tmp_path: Path) -> None:
    pixels = noise(16, 24, 3)
    pictures = pictures_of([Record("1", save(tmp_path / "1.png", pixels))], load_side=16, channels=(3, None))
    (batch,) = evaluation_batches(pictures, size=16)
    assert torch.equal(batch.source[0], torch.from_numpy(to_model(pixels[:, 4:20])))
    (small,) = evaluation_batches(pictures, size=8)
    assert small.source.shape == (1, 3, 8, 8)
