"""Many files at once: read and written by threads, in bounded memory, with the outcome of one after the other."""

from __future__ import annotations

import errno
import os
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from pixloom.config import InferenceConfig, TaskConfig
from pixloom.errors import ConfigError, ImageError, OutputError
from pixloom.images import Picture, list_pictures, read, write
from pixloom.inference import batch, translator
from pixloom.inference.batch import Job, find_jobs, translate_files
from pixloom.inference.runtimes import cores
from pixloom.inference.tiling import Tiling
from pixloom.inference.translator import Translator
from pixloom.modelfile import ModelDescription, describe_generator


class Negative(nn.Module):
    """A generator that turns its source over, and needs no more than a pixel."""

    size_multiple = min_size = 1
    noise_channels = 0
    radius = 0

    def __init__(self) -> None:
        super().__init__()
        self.options = {"source_channels": 3, "target_channels": 3}

    def forward(self, source, condition=None, noise=None):
        return -source


def negative(*, together: int = 1) -> Translator:
    """A translator that takes so many pictures of one size at once."""
    network = Negative()
    described = ModelDescription(TaskConfig(), describe_generator("negative", network), InferenceConfig(), size=8, recipe="test")
    made = Translator(network, described, device="cpu")
    made.runtime.batch_size = together
    return made


def folder_of(tmp_path: Path, *sizes: tuple[int, int]) -> list[Job]:
    """Pictures of some sizes (height, width), one after the other, and where they go."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate(sizes):
        write(Picture(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)), folder / f"{number:02}.png")
    return find_jobs([str(folder)], out=tmp_path / "out", channels=3)


def check_all(jobs: list[Job]) -> None:
    for job in jobs:
        assert np.array_equal(read(job.out).pixels, 255 - read(job.source).pixels), job


# --- In order ------------------------------------------------------------------------------------------------------------------------


def test_the_report_is_in_the_order_of_the_jobs_whatever_ends_first(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8)] * 6)
    (jobs[3].source).write_text("no picture", encoding="utf-8")
    others, original = threading.Event(), batch.write

    def slow_first(picture, path, **options):
        if path == jobs[0].out:
            assert others.wait(30)
        original(picture, path, **options)
        if path == jobs[1].out:
            others.set()

    monkeypatch.setattr(batch, "write", slow_first)
    monkeypatch.setattr(batch, "cores", lambda: 2)  # on a single one, the first would wait for ever
    seen = []
    report = translate_files(negative(), jobs, out=tmp_path / "out", size="native", progress=lambda done, total: seen.append((done, total)))
    assert list(report.done) == [job.source for job in jobs if job != jobs[3]]
    assert list(report.failed) == [jobs[3].source]
    assert seen == [(done, 6) for done in range(1, 7)]


def test_nothing_to_do_is_done(tmp_path):
    report = translate_files(negative(), [], out=tmp_path / "out")
    assert (report.done, report.failed) == ({}, {})
    assert not (tmp_path / "out").exists()


def test_one_picture_for_two_places_goes_to_both(tmp_path):
    (job,) = folder_of(tmp_path, (8, 8))
    second = Job(job.source, job.out.with_name("again.png"))
    translate_files(negative(), [job, second], out=tmp_path / "out", size="native")
    check_all([job, second])


# --- Together ------------------------------------------------------------------------------------------------------------------------


def watch_network(made: Translator, monkeypatch) -> list[tuple[int, ...]]:
    """The shapes that the network is given from now on."""
    shapes, original = [], made.generate
    monkeypatch.setattr(made, "generate", lambda values, **given: shapes.append(values.shape) or original(values, **given), raising=False)
    return shapes


def test_pictures_of_one_size_go_through_the_network_together(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8), (9, 7), (8, 8), (8, 8), (8, 8), (9, 7), (8, 8)])
    made = negative(together=3)
    shapes = watch_network(made, monkeypatch)
    assert not translate_files(made, jobs, out=tmp_path / "out", size="native").failed
    check_all(jobs)
    assert shapes == [(3, 3, 8, 8), (2, 3, 9, 7), (2, 3, 8, 8)]


def test_working_sizes_count_not_those_of_the_files(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, (16, 16), (32, 32), (24, 24))
    made = negative(together=3)
    shapes = watch_network(made, monkeypatch)
    translate_files(made, jobs, out=tmp_path / "out", size="trained")
    assert shapes == [(3, 3, 8, 8)]


def test_where_a_batch_fails_each_of_it_has_its_chance(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8)] * 4)
    made = negative(together=4)
    bad, original = made.prepare(read(jobs[2].source), size="native").values, made.generate

    def generate(values, **given):
        if any(np.array_equal(one, bad) for one in values):
            raise ImageError("needs more memory than there is")
        return original(values, **given)

    monkeypatch.setattr(made, "generate", generate, raising=False)
    report = translate_files(made, jobs, out=tmp_path / "out", size="native")
    assert list(report.failed) == [jobs[2].source]
    assert str(jobs[2].source) in str(report.failed[jobs[2].source])
    check_all([job for job in jobs if job != jobs[2]])


def test_a_picture_too_large_to_go_through_at_once_goes_alone_in_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 200)
    jobs = folder_of(tmp_path, (8, 8), (20, 20), (8, 8))
    made = negative(together=2)
    shapes = watch_network(made, monkeypatch)
    assert not translate_files(made, jobs, out=tmp_path / "out", size="native").failed
    check_all(jobs)
    assert shapes == [(2, 3, 8, 8)]


def _tell(told: list[tuple[float, int]], done: float, total: int) -> None:
    told.append((done, total))


def test_tiles_are_counted_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 200)
    monkeypatch.setattr(translator, "choose_tiling", lambda **_: Tiling(tile=8, margin=0, multiple=1, blend=False, note="in tiles"))
    jobs = folder_of(tmp_path, (8, 8), (16, 16))
    for size in ("native", 16):  # the picture itself in tiles, and what was made of it
        told = []
        tell = partial(_tell, told)
        report = translate_files(negative(), jobs, out=tmp_path / "out", size=size, overwrite=True, progress=tell)
        assert {0.5, 1.5} & {done for done, _ in told}  # the first may not be written yet
        assert sorted(told) == told
        assert told[-1] == (2, 2)
        assert report.notes[jobs[1].source][-1] == "in tiles"
    assert jobs[0].source in report.notes  # 8 px brought to 16 px are as large


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_the_threads_give_way_to_the_network(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8)] * 4)
    before, seen, original = os.getpriority(os.PRIO_PROCESS, 0), [], batch.read
    monkeypatch.setattr(batch, "read", lambda source: seen.append(os.getpriority(os.PRIO_PROCESS, 0)) or original(source))
    translate_files(negative(), jobs, out=tmp_path / "out", size="native")
    assert set(seen) == {min(before + 10, 19)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


# --- Memory --------------------------------------------------------------------------------------------------------------------------


class Watch:
    """Counts pictures that are read and not yet written."""

    def __init__(self, monkeypatch) -> None:
        self.lock, self.inside, self.most = threading.Lock(), 0, 0
        self.read, self.write = batch.read, batch.write
        monkeypatch.setattr(batch, "read", self.reading)
        monkeypatch.setattr(batch, "write", self.writing)

    def reading(self, source):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        return self.read(source)

    def writing(self, picture, path, **options):
        self.write(picture, path, **options)
        with self.lock:
            self.inside -= 1


def test_a_picture_that_fills_the_memory_is_alone(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(64, 64)] * 5)
    monkeypatch.setattr(batch, "_MEMORY", 1)
    watch = Watch(monkeypatch)
    translate_files(negative(), jobs, out=tmp_path / "out", size="native")
    check_all(jobs)
    assert watch.most == 1


def test_memory_counts_bytes_of_all_that_is_on_its_way(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(64, 64)] * 9)
    one = batch._memory_for(jobs[0].source)
    monkeypatch.setattr(batch, "_MEMORY", 2 * one)
    watch = Watch(monkeypatch)
    translate_files(negative(together=4), jobs, out=tmp_path / "out", size="native")
    check_all(jobs)
    assert watch.most <= 2


def test_reading_stays_a_bounded_number_of_files_ahead(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8)] * 30)
    watch, made = Watch(monkeypatch), negative()
    original, ahead = made.generate, []

    def generate(values, **given):
        ahead.append(watch.inside)
        return original(values, **given)

    monkeypatch.setattr(made, "generate", generate, raising=False)
    monkeypatch.setattr(batch, "_write", lambda results, path, **options: watch.writing(results.pop()(), path, **options))
    (tmp_path / "out").mkdir()
    translate_files(made, jobs, out=tmp_path / "out", size="native")
    assert len(ahead) == 30
    assert ahead[0] <= cores() + 1


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.zeros((10, 20, 3), np.uint8), 200 * 3 * (4 + 8)),
        (np.zeros((10, 20, 3), np.float32), 200 * 3 * (16 + 8)),
        (np.zeros((1500, 1500, 1), np.uint16), 1500**2 * 8 + 2**20 * 8),
    ],
)
def test_the_memory_of_a_picture_follows_from_its_header(tmp_path, pixels, expected):
    np.save(tmp_path / "a.npy", pixels)
    assert batch._memory_for(tmp_path / "a.npy") == expected
    assert batch._memory_for(tmp_path / "missing.png") == 0


# --- Stopping ------------------------------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_and_says_how_many_are_there(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(8, 8)] * 12)
    original = batch.write

    def write_few(picture, path, **options):
        if int(path.stem) >= 3:
            raise OutputError("the picture cannot be written", where=path) from OSError(errno.ENOSPC, "No space left on device")
        original(picture, path, **options)

    monkeypatch.setattr(batch, "write", write_few)
    with pytest.raises(OutputError, match="stopped after 3 of 12 pictures: the picture cannot be written"):
        translate_files(negative(), jobs, out=tmp_path / "out", size="native")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["00.png", "01.png", "02.png"]


def test_an_interruption_ends_it_and_leaves_no_half_files(tmp_path, monkeypatch):
    jobs = folder_of(tmp_path, *[(32, 32)] * 40)
    made, numbers = negative(), iter(range(100))
    original = made.generate

    def generate(values, **given):
        if next(numbers) == 5:
            raise KeyboardInterrupt
        return original(values, **given)

    monkeypatch.setattr(made, "generate", generate, raising=False)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        translate_files(made, jobs, out=tmp_path / "out", size="native")
    assert threading.active_count() == before
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == [path.name for path in list_pictures(tmp_path / "out")]
    check_all([job for job in jobs if job.out in written])
    assert len(written) <= 5


def test_a_mistake_in_what_was_asked_stops_at_once(tmp_path):
    jobs = folder_of(tmp_path, *[(8, 8)] * 3)
    for wish in ({"size": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            translate_files(negative(), jobs, out=tmp_path / "out", **wish)
        assert not (tmp_path / "out").exists()


# --- Starting ------------------------------------------------------------------------------------------------------------------------


def test_every_header_is_read_once_and_no_picture(tmp_path, monkeypatch):
    folder_of(tmp_path, *[(8, 8)] * 7)
    seen, original = [], batch.read_header
    monkeypatch.setattr(batch, "read_header", lambda path: seen.append(path) or original(path))
    monkeypatch.setattr(batch, "read", None)
    jobs = find_jobs([str(tmp_path / "photos")], out=tmp_path / "out", channels=3)
    assert sorted(seen) == sorted(job.source for job in jobs)
    assert len(seen) == 7
    find_jobs([str(tmp_path / "photos")], out=tmp_path / "out", channels=3, image_format="png")
    assert len(seen) == 7
