"""Videos and watched folders: every frame, its time, the sound, and nothing half written."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from console import Console
from pixloom.errors import ImageError, OutputError
from pixloom.inference import watching
from pixloom.inference.batch import Job, Report
from pixloom.inference.translator import Translator
from pixloom.inference.video import Flicker, place_of, translate_video
from test_export import save

FRAMES, RATE = 8, 12


def write_clip(path: Path, *, side: int = 32, sound: bool = True, moving: bool = True) -> Path:
    """A square that moves over a picture, with a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = side + 16, side, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(FRAMES):
            pixels = np.full((side, side + 16, 3), 60, np.uint8)
            pixels[: side // 2] = (20, 120, 200)
            place = 3 * number if moving else 0
            pixels[4:12, place : place + 8] = 230
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        if audio is not None:
            wave = np.sin(np.arange(16000 * FRAMES // RATE) * 0.2).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            block.sample_rate, block.pts = 16000, 0
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float], list[bytes]]:
    """Frames, their times, and the pieces of sound."""
    with av.open(str(path)) as container:
        frames, times, sound = [], [], []
        for packet in container.demux():
            if packet.stream.type == "audio":
                sound += [bytes(packet)] if packet.dts is not None else []
                continue
            for frame in packet.decode():
                frames.append(frame.to_ndarray(format="rgb24"))
                times.append(float(frame.time))
    return frames, times, sound


@pytest.fixture
def translator(tmp_path):
    save(tmp_path / "model", "encoder_decoder")
    return Translator.from_pretrained(tmp_path / "model", runtime="torch")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_times_and_sound_are_kept(suffix, translator, tmp_path):
    source = write_clip(tmp_path / f"clip{suffix}")
    seen = []
    made = translate_video(translator, source, tmp_path / "out" / f"clip{suffix}", progress=lambda done, of: seen.append((done, of)))
    frames, times, sound = read_clip(made.path)
    given, given_times, given_sound = read_clip(source)
    assert (made.frames, len(frames), len(seen)) == (FRAMES, FRAMES, FRAMES)
    assert made.sound
    assert sound == given_sound
    assert times == pytest.approx(given_times, abs=0.002)
    for frame, before in zip(frames, given, strict=True):
        wanted = np.asarray(translator(Image.fromarray(before))).astype(int)
        assert frame.shape == before.shape
        assert np.abs(frame.astype(int) - wanted).mean() < 12, "but for the compression"
    assert not [path for path in made.path.parent.iterdir() if path.name.startswith(".")]


def test_sound_that_comes_before_the_first_frame_is_kept(translator, tmp_path):
    """As most cameras write it: blocks of sound of 20 ms or so, the first before any frame."""
    source = tmp_path / "clip.mp4"
    with av.open(str(source), "w") as container:
        audio = container.add_stream("aac", rate=48000, layout="stereo")
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for start in range(0, 48000, 1024):
            block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            block.sample_rate, block.pts = 48000, start
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
        for number in range(RATE):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    for suffix in (".mp4", ".mkv", ".mov"):
        made = translate_video(translator, source, tmp_path / f"made{suffix}")
        frames, _, sound = read_clip(made.path)
        assert made.sound
        assert len(frames) == RATE
        assert sound == read_clip(source)[2]


def test_without_sound_and_with_odd_sides(translator, tmp_path):
    source = write_clip(tmp_path / "clip.mkv", side=34, sound=False)
    made = translate_video(translator, source, tmp_path / "odd.mp4")
    assert not made.sound
    assert len(read_clip(made.path)[0]) == FRAMES
    assert place_of(Path("x/clip.avi"), tmp_path) == tmp_path / "clip.mp4"


def test_flicker_is_the_change_where_the_source_stands_still():
    flicker = Flicker()
    still = np.full((4, 4, 3), 100, np.uint8)
    moved = still.copy()
    moved[0] = 200
    flicker.add(still, still)
    assert flicker.translated is None
    flicker.add(moved, still + np.uint8(6))
    assert flicker.translated == pytest.approx(6)
    assert flicker.source == 0


def test_bad_videos_are_named_and_nothing_is_half_written(translator, tmp_path):
    whole = write_clip(tmp_path / "clip.mp4")
    (tmp_path / "text.mp4").write_text("hello", encoding="utf-8")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:400])
    for name in ("text.mp4", "cut.mp4", "nowhere.mp4"):
        with pytest.raises(ImageError):
            translate_video(translator, tmp_path / name, tmp_path / "out" / "made.mp4")
    assert not list(tmp_path.glob("out/*"))
    translate_video(translator, whole, tmp_path / "made.mp4")
    with pytest.raises(OutputError, match="exists already"):
        translate_video(translator, whole, tmp_path / "made.mp4")


def test_a_source_is_never_replaced_and_no_two_have_one_output(translator, tmp_path, capsys):
    source = write_clip(tmp_path / "clip.mp4")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="replace itself"):
        translate_video(translator, source, source, overwrite=True)
    write_clip(tmp_path / "clip.avi", sound=False)
    done = Console(capsys)("translate", tmp_path / "model", tmp_path / "clip.avi", source, "--out", tmp_path / "out", "--runtime", "torch")
    assert done.code == 2
    assert "would have one output" in done.err
    assert source.read_bytes() == before


def test_a_turned_video_is_translated_as_it_is_seen():
    from types import SimpleNamespace

    from pixloom.inference.video import _upright

    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 2] = 255
    frame = SimpleNamespace(rotation=-90, to_ndarray=lambda format: pixels)
    turned = _upright(frame)
    assert turned.shape == (3, 2, 3)
    assert turned[2, 1].all(), "clockwise: what was at the top right is at the bottom right"


def test_by_command(translator, tmp_path, capsys):
    source = write_clip(tmp_path / "clip.mp4", moving=False)
    done = Console(capsys)("translate", tmp_path / "model", source, "--out", tmp_path / "out", "--runtime", "torch")
    assert done.code == 0, done.err
    assert f"{FRAMES} frames of" in done.out
    assert "with its sound; flicker: where the source stands still" in done.out
    assert (tmp_path / "out" / "clip.mp4").is_file()


def test_videos_in_folders_are_taken_and_a_bad_one_does_not_stop_the_rest(translator, tmp_path, capsys):
    place = tmp_path / "in"
    place.mkdir()
    write_clip(place / "good.mp4")
    (place / "bad.mp4").write_text("hello", encoding="utf-8")
    Image.new("RGB", (40, 40), (9, 99, 199)).save(place / "picture.png")
    done = Console(capsys)("translate", tmp_path / "model", place, "--out", tmp_path / "out", "--runtime", "torch")
    assert done.code == 2
    assert "this is no video" in done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.mp4", "picture.png"}
    (place / "picture.png").unlink()
    (place / "bad.mp4").unlink()
    assert Console(capsys)("translate", tmp_path / "model", place, "--out", tmp_path / "more", "--runtime", "torch").code == 0


# --- A folder that is watched ----------------------------------------------------------------------------------------------------------


def test_what_comes_in_or_changes_is_translated_once(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "SETTLED", 0.0)
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    out.mkdir()
    worked: list[list[str]] = []

    def find() -> list[Job]:
        return [Job(path, out / path.name) for path in sorted(place.iterdir())]

    def work(jobs: list[Job]) -> Report:
        worked.append([job.source.name for job in jobs])
        for job in jobs:
            if job.source.name != "bad":
                job.out.write_text("done", encoding="utf-8")
        if len(worked) == 1:
            (place / "b").write_text("2", encoding="utf-8")
            os.utime(place / "b", (time.time() - 1, time.time() - 1))
        if len(worked) == 2:
            later = time.time() + 5
            os.utime(place / "a", (later, later))
            monkeypatch.setattr(watching.time, "time", lambda: later + 5)
        return Report()

    for name in ("a", "bad"):
        (place / name).write_text("1", encoding="utf-8")
        os.utime(place / name, (time.time() - 9, time.time() - 9))
    watching.watch(find, work, say=lambda report: None, looks=5, pause=0.0)
    assert worked == [["a", "bad"], ["b"], ["a"]]


def test_what_stands_in_the_way_is_said_once(tmp_path):
    from pixloom.errors import DataError

    def find() -> list[Job]:
        raise DataError("two pictures would have one output")

    heard: list[str] = []
    watching.watch(find, lambda jobs: Report(), say=lambda report: None, complain=heard.append, looks=3, pause=0.0)
    assert heard == ["two pictures would have one output"]


def test_a_file_that_is_still_being_written_waits(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1", encoding="utf-8")
    worked: list[Job] = []
    watching.watch(lambda: [Job(tmp_path / "a", tmp_path / "b")], lambda jobs: worked.extend(jobs), say=lambda report: None, looks=1)
    assert not worked


def test_a_file_from_a_clock_that_is_ahead_is_done_when_it_stands_still(tmp_path):
    (tmp_path / "a").write_text("1", encoding="utf-8")
    ahead = time.time() + 3600
    os.utime(tmp_path / "a", (ahead, ahead))
    worked: list[int] = []
    look = iter(range(9))

    def find() -> list[Job]:
        if (number := next(look)) == 1:
            os.utime(tmp_path / "a", (ahead + 1, ahead + 1))
        worked.append(number)
        return [Job(tmp_path / "a", tmp_path / "b")]

    done: list[int] = []
    watching.watch(find, lambda jobs: (done.append(worked[-1]), Report())[1], say=lambda report: None, looks=5, pause=0.0)
    assert done == [2], "at the look after the one at which it had still changed, and not again"


def test_pictures_and_films_that_come_into_a_folder_are_both_translated(translator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watching, "SETTLED", 0.0)
    place, came = tmp_path / "in", iter(("clip.mp4", "b.png"))
    place.mkdir()

    def arrive(_: float) -> None:
        name = next(came, None)
        if name is None:
            raise KeyboardInterrupt
        path = write_clip(place / name) if name == "clip.mp4" else place / name
        if name != "clip.mp4":
            Image.new("RGB", (32, 32), "red").save(path)
        os.utime(path, (time.time() - 9, time.time() - 9))

    monkeypatch.setattr(watching.time, "sleep", arrive)
    Console(capsys).ok("translate", tmp_path / "model", place, "--out", tmp_path / "out", "--watch", "--runtime", "torch")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "clip.mp4"]
    assert len(read_clip(tmp_path / "out" / "clip.mp4")[0]) == FRAMES
