"""The status line and the history behind it."""

from __future__ import annotations

import io
import json
import math
from datetime import datetime

import numpy as np
import pytest

from pixloom.errors import OutputError
from pixloom.training import history
from pixloom.training.history import History
from pixloom.training.status import (
    Progress,
    Status,
    format_clock,
    format_line,
    format_number,
    format_seconds,
    plain_interval_seconds,
    smooth,
)

MONDAY = datetime(2026, 1, 5, 14, 0, 0)
FULL = Progress(
    images=1250,
    total_images=10_000,
    images_per_second=35.0,
    elapsed_seconds=37.9,
    losses={"generator": {"adversarial": 0.7123, "pixel": 0.0932}, "critic": {"real": math.nan, "fake": 0.48}},
    metrics={"psnr": 21.34},
    peak_memory_bytes=5 * 2**30,
    checkpoint_age_seconds=123.0,
)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def test_line_with_everything():
    assert format_line(FULL, now=MONDAY) == (
        "12.5% 1250/10000 images | 35.0 images/s | 0:37 passed, 4:10 left, done 14:04 | psnr 21.3 | saved 2:03 ago | peak 5.0 GiB"
        " | G adversarial 0.712 pixel 0.0932 | C real nan fake 0.48"
    )


def test_line_before_anything_is_known():
    assert format_line(Progress(0, 10), now=MONDAY) == "0.0% 0/10 images | 0:00 passed, ? left"


def test_line_at_the_end_and_just_before():
    assert format_line(Progress(9_999, 10_000), now=MONDAY).startswith("99.9% ")
    assert (
        format_line(Progress(10_000, 10_000, 5.0, elapsed_seconds=60), now=MONDAY)
        == "100.0% 10000/10000 images | 5.0 images/s | 1:00 passed"
    )


def test_line_that_would_end_beyond_the_calendar():
    assert format_line(Progress(1, 10**15, images_per_second=1e-9), now=MONDAY).endswith("passed, ? left")


@pytest.mark.parametrize("columns", [0, 10, 40, 79, 100, 140, 300])
def test_line_never_exceeds_the_columns(columns):
    line = format_line(FULL, now=MONDAY, columns=columns)
    assert len(line) <= columns
    assert line == format_line(FULL, now=MONDAY)[:columns] or " | " in line


def test_narrow_line_leaves_out_whole_parts():
    assert format_line(FULL, now=MONDAY, columns=60) == "12.5% 1250/10000 images | 35.0 images/s | psnr 21.3"


def test_line_is_ascii():
    assert format_line(Progress(1, 2, metrics={"Qualität\x1b[31m\n": 1.0}), now=MONDAY).isascii()
    assert "\x1b" not in format_line(Progress(1, 2, metrics={"\x1b[31m": 1.0}), now=MONDAY)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.99, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (86_399, "23:59:59"), (86_400, "1d 0h"), (-3, "0:00")],
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("seconds", [None, math.nan, math.inf])
def test_unknown_seconds(seconds):
    assert format_seconds(seconds) == "?"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ((2026, 1, 5, 23, 59), "23:59"),
        ((2026, 1, 6, 0, 1), "Tue 00:01"),
        ((2026, 1, 11, 9, 0), "Sun 09:00"),
        ((2026, 1, 12, 9, 0), "2026-01-12 09:00"),
    ],
)
def test_clock(moment, text):
    assert format_clock(datetime(*moment), now=MONDAY) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1"), (-0.5, "-0.5"), (999.9, "1000"), (1e7, "1e+07"), (math.inf, "inf"), (123456.7, "123457")]
)
def test_number(value, text):
    assert format_number(value) == text


def test_smoothing_is_the_exponential_average():
    assert smooth(None, 3.0, seconds=1, horizon_seconds=10) == 3.0
    assert smooth(2.0, 4.0, seconds=5, horizon_seconds=10) == pytest.approx(2 + (1 - np.exp(-0.5)) * 2)
    twice = smooth(smooth(2.0, 4.0, seconds=2, horizon_seconds=10), 4.0, seconds=3, horizon_seconds=10)
    assert twice == pytest.approx(smooth(2.0, 4.0, seconds=5, horizon_seconds=10))


def test_plain_lines_are_calm_and_have_first_and_last(clock):
    stream = io.StringIO()
    status = Status(1000, stream=stream, clock=clock)
    for images in range(1, 1001):
        status.update(images)
        clock.now += 0.125
    status.close()
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    assert [line.split()[1] for line in lines] == [f"{images}/1000" for images in (*range(1, 1000, 80), 1000)]


def test_plain_lines_of_long_runs_are_rarer():
    day = Progress(1000, 2000, images_per_second=1000 / 43_200, elapsed_seconds=43_200)
    assert plain_interval_seconds(day) == 300
    assert plain_interval_seconds(Progress(1, 2, images_per_second=1 / 1500, elapsed_seconds=1500)) == 30
    assert plain_interval_seconds(Progress(1, 2)) == 10


def test_speed_and_remaining_time(clock):
    status = Status(1000, stream=None, clock=clock, start_images=500, start_seconds=100.0)
    clock.now += 10
    status.update(520)
    assert status.progress.images_per_second == pytest.approx(2.0)
    assert status.progress.elapsed_seconds == pytest.approx(110.0)
    assert status.progress.remaining_seconds == pytest.approx(240.0)


def test_no_more_time_is_left_than_was_given(clock):
    status = Status(1000, stream=None, clock=clock, start_seconds=100, budget_seconds=130)
    status.update(0)
    clock.now += 10
    status.update(20)
    assert status.progress.remaining_seconds == pytest.approx(20)
    clock.now += 40
    status.update(100)
    assert status.progress.remaining_seconds == 0


def test_a_return_to_an_earlier_checkpoint_is_no_speed(clock):
    status = Status(1000, stream=None, clock=clock)
    for images in (0, 100, 200, 0, 0):
        status.update(images)
        clock.now += 10
    assert 0 < status.progress.images_per_second <= 10


def test_what_is_not_given_stays(clock):
    status = Status(10, stream=None, clock=clock)
    status.update(1, losses={"generator": {"pixel": 1.0}}, metrics={"psnr": 20.0}, peak_memory_bytes=7)
    status.checkpoint_saved()
    clock.now += 5
    status.update(2)
    shown = status.progress
    assert (shown.losses, shown.metrics, shown.peak_memory_bytes) == ({"generator": {"pixel": 1.0}}, {"psnr": 20.0}, 7)
    assert shown.checkpoint_age_seconds == 5


def test_terminal_line_is_rewritten_in_place(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    status = Status(100, stream=stream, clock=clock)
    status.update(1, metrics={"a_metric": 1.0})
    clock.now += 0.01
    status.update(2)  # too soon to be drawn
    clock.now += 1
    status.update(3, metrics={})
    status.message("a file is bad: 数据.png")
    status.close()
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert text.endswith("\n")
    assert " 2/100" not in text
    assert all(len(line) < 60 for line in text.replace("\n", "\r").split("\r"))
    first, second = text.split("\r")[1:3]
    assert len(second) >= len(first.rstrip())  # no rest of the longer line is left behind
    assert "\ra file is bad: 数据.png\n" in text
    assert "\x1b" not in text


def test_dumb_terminals_and_the_switch(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    dumb, forced = Terminal(), io.StringIO()
    Status(10, stream=dumb, clock=clock).update(1)
    Status(10, stream=forced, enabled=True, clock=clock).update(1)
    assert "\r" not in dumb.getvalue()
    assert forced.getvalue().startswith("\r")


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "utf-8", "cp1252"])
def test_any_encoding_is_survived(encoding, clock):
    raw = io.BytesIO()
    status = Status(10, stream=io.TextIOWrapper(raw, encoding=encoding), clock=clock)
    status.message("bad: 数据 é \udcff")
    status.update(1, metrics={"é": 1.0})
    status.close()
    assert b"1/10 images" in raw.getvalue()
    assert b"bad:" in raw.getvalue()


def test_a_closed_or_missing_stream_is_survived(clock):
    stream = io.StringIO()
    status = Status(10, stream=stream, clock=clock)
    stream.close()
    for survivor in (status, Status(10, stream=stream, clock=clock), Status(10, stream=None, clock=clock)):
        survivor.update(1)
        survivor.message("still here")
        survivor.close()


def test_a_full_disk_is_survived(clock):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    status = Status(10, stream=Full(), clock=clock)
    status.update(10)
    status.close()


# --- history


def test_history_is_read_back(tmp_path):
    record = History(tmp_path / "history.jsonl")
    entry = record.append("losses", images=4, elapsed_seconds=1.5, generator={"pixel": 0.25}, note="naïve 数据")
    assert entry == {"images": 4, "kind": "losses", "elapsed_seconds": 1.5, "generator": {"pixel": 0.25}, "note": "naïve 数据"}
    record.append("validation", images=8, elapsed_seconds=3.0, psnr=np.float32(20.5), sizes=(1, 2))
    assert history.read(record.path) == [entry, {"images": 8, "kind": "validation", "elapsed_seconds": 3.0, "psnr": 20.5, "sizes": [1, 2]}]


def test_numbers_that_are_not_finite_are_valid_json(tmp_path):
    record = History(tmp_path / "history.jsonl")
    record.append(
        "losses", images=1, elapsed_seconds=0.0, critic={"real": math.nan, "fake": [math.inf, -math.inf], "np": np.float64("nan")}
    )

    def refuse(word):
        raise AssertionError(word)

    written = json.loads(record.path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert written["critic"] == {"real": "nan", "fake": ["inf", "-inf"], "np": "nan"}
    critic = history.read(record.path)[0]["critic"]
    assert math.isnan(critic["real"])
    assert critic["fake"] == [math.inf, -math.inf]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_half_written_line_is_left_out_and_mended(tmp_path, cut):
    record = History(tmp_path / "history.jsonl")
    first = record.append("event", images=1, elapsed_seconds=0.0, event="started")
    whole = record.path.read_bytes()
    record.append("event", images=2, elapsed_seconds=0.0, event="lost")
    record.path.write_bytes(record.path.read_bytes()[: len(whole) + cut])
    assert history.read(record.path) == [first]
    third = record.append("event", images=3, elapsed_seconds=0.0, event="next")
    assert history.read(record.path) == [first, third]


def test_resumed_history_equals_the_uninterrupted_one(tmp_path):
    straight, resumed = History(tmp_path / "a.jsonl"), History(tmp_path / "b.jsonl")
    for images in (10, 20, 30, 40):
        straight.append("losses", images=images, elapsed_seconds=images / 2, generator={"pixel": 1 / images, "bad": math.nan})
    for images in (10, 20, 30):
        resumed.append("losses", images=images, elapsed_seconds=images / 2, generator={"pixel": 1 / images, "bad": math.nan})
    with resumed.path.open("a", encoding="utf-8") as file:
        file.write('{"images": 4')
    history.truncate_after(resumed.path, 20, deeds=0)
    assert [entry["images"] for entry in history.read(resumed.path)] == [10, 20]
    for images in (30, 40):
        resumed.append("losses", images=images, elapsed_seconds=images / 2, generator={"pixel": 1 / images, "bad": math.nan})
    assert resumed.path.read_bytes() == straight.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_truncating_nothing_creates_nothing(tmp_path):
    history.truncate_after(tmp_path / "history.jsonl", 5, deeds=0)
    assert history.read(tmp_path / "history.jsonl") == []
    assert list(tmp_path.iterdir()) == []


def test_unwritable_history_is_named(tmp_path):
    with pytest.raises(OutputError, match="history"):
        History(tmp_path / "missing" / "history.jsonl").append("event", images=0, elapsed_seconds=0.0)
