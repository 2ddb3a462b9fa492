"""Video files through a translator: frame by frame, with their times and their sound, and a figure for how much the result flickers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pixloom.errors import ImageError, OutputError, first_line, require
from pixloom.files import new_file, remove_old_drafts
from pixloom.images import Picture, from_model, to_model, with_channels
from pixloom.inference.translator import Size, Translator, as_given
from pixloom.tasks.base import Given

SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v", ".webm", ".avi")
"""Of files that are taken for videos."""

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
"""How a result of a suffix is compressed; of the other suffixes a result becomes ``.mp4``."""

QUALITY = {"libx264": {"crf": "18", "preset": "medium"}, "libvpx-vp9": {"crf": "24", "b:v": "0"}}

STILL = 2 / 255
"""Of a range of 1: the source stands still where it changes less from frame to frame."""

Progress = Callable[[float, int], None]
"""Called with the frames done and how many there are, as far as the file says."""


@dataclass(frozen=True)
class Film:
    """What became of a video.

    Attributes:
        path: of the result.
        frames: translated.
        sound: whether the sound was kept.
        flicker: mean change from frame to frame where the source stands still, in grey levels of 8 bits, of the translation; None where it
            never does.
        source_flicker: the same of the source itself.
        notes: what to know.
    """

    path: Path
    frames: int
    sound: bool
    flicker: float | None
    source_flicker: float | None
    notes: tuple[str, ...] = ()


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its suffix.

    >>> is_video(Path("clip.MP4")), is_video(Path("photo.png"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES


def place_of(source: Path, out: Path) -> Path:
    """Where the translation of a video goes: under its name, as a kind of file that can be written.

    >>> place_of(Path("a/clip.avi"), Path("out")).as_posix()
    'out/clip.mp4'
    """
    suffix = source.suffix.lower()
    return out / source.with_suffix(suffix if suffix in CODECS else ".mp4").name


def translate_video(
    translator: Translator,
    source: Path,
    target: Path,
    *,
    size: Size = "trained",
    seed: int = 0,
    given: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Film:
    """Translate a video file; frames keep their times, sound is copied as it is.

    Every frame has the same seed, so that noise does not flicker. The result is H.264 (VP9 in ``.webm``) of high quality, written in one
    piece: a finished file appears under its name, or nothing.

    Args:
        translator: of pictures.
        source: a video file.
        target: the file to write; its suffix is one of :data:`CODECS`.
        size: see :class:`Translator`.
        seed: of the noise, for generators that have some.
        given: what the translation is to show, and what is given beside every frame, by name.
        overwrite: whether an existing file is replaced.
        progress: told of every frame.

    Raises:
        DependencyError: the extra ``video`` is not installed.
        ImageError: the file is missing, no video, or damaged; or a frame cannot be translated.
        OutputError: the file exists already, or cannot be written.
    """
    av = require("av", extra="video", purpose="translating videos")
    if target.suffix not in CODECS:
        raise OutputError(f"videos are not written as '{target.suffix}'", where=target, fix=f"one of {', '.join(CODECS)}")
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError("the video would replace itself", where=target, fix="choose another --out")
    if target.exists() and not overwrite:
        raise OutputError("the file exists already", where=target, fix="choose another --out, or replace it with --overwrite")
    remove_old_drafts(target)
    flicker, beside = Flicker(), as_given(given)
    with _opened(av, source) as reading, new_file(target, what="the video") as draft:
        picture = next(iter(reading.streams.video), None)
        if picture is None:
            raise ImageError("there are no pictures in this video", where=source, fix="give a file with a video track")
        picture.thread_type = "AUTO"
        sound = next(iter(reading.streams.audio), None)
        with av.open(str(draft), "w", format=_format(target)) as writing:
            writer = _Writer(writing, target=target, template=picture)
            copied = writer.sound_like(sound)
            frames = 0
            for kind, thing in _parts(av, reading, picture, sound if copied else None, where=source):
                if kind == "sound":
                    writer.copy(thing)
                    continue
                pixels = _upright(thing)
                translated = _frame(translator, pixels, size=size, seed=seed, given=beside)
                flicker.add(pixels, translated)
                writer.add(av.VideoFrame.from_ndarray(translated, format="rgb24"), like=thing)
                frames += 1
                if progress is not None:
                    progress(float(frames), max(frames, picture.frames))
            writer.finish()
        if not frames:
            raise ImageError("no frame of this video can be read", where=source, fix="play it, and convert it with a program that can")
    notes = () if sound is None or copied else (f"without sound: {sound.codec_context.name} does not go into {target.suffix}",)
    return Film(target, frames, bool(copied), flicker.translated, flicker.source, notes)


class Flicker:
    """How much a film changes from frame to frame where its source stands still, in grey levels of 8 bits."""

    def __init__(self) -> None:
        self.before: tuple[np.ndarray, np.ndarray] | None = None
        self.sums, self.count = [0.0, 0.0], 0

    def add(self, source: np.ndarray, translated: np.ndarray) -> None:
        """A frame and its translation, (height, width, 3) uint8; compared at the source's size."""
        step = max(1, translated.shape[0] // source.shape[0])
        pair = source.astype(np.int16), translated[::step, ::step][: source.shape[0], : source.shape[1]].astype(np.int16)
        if self.before is not None:
            changes = [np.abs(now - former).mean(2) for now, former in zip(pair, self.before, strict=True)]
            still = changes[0] < 255 * STILL
            self.sums = [total + float(change[still].sum()) for total, change in zip(self.sums, changes, strict=True)]
            self.count += int(still.sum())
        self.before = pair

    @property
    def source(self) -> float | None:
        """Of the source."""
        return self.sums[0] / self.count if self.count else None

    @property
    def translated(self) -> float | None:
        """Of the translation."""
        return self.sums[1] / self.count if self.count else None


class _Writer:
    """A video file under way."""

    def __init__(self, container: Any, *, target: Path, template: Any) -> None:
        self.container, self.codec, self.template = container, CODECS[target.suffix], template
        self.stream: Any = None
        self.sound: Any = None
        self.waiting: list[Any] = []  # sound that came before the first frame: a file's tracks must all be there before anything is in it

    def sound_like(self, sound: Any) -> bool:
        """Make a track for sound as it is; False where this kind of file cannot hold it, or there is none."""
        if sound is None:
            return False
        try:
            self.sound = self.container.add_stream_from_template(sound)
        except ValueError:
            return False
        return True

    def copy(self, packet: Any) -> None:
        """A piece of the sound, as it is."""
        packet.stream = self.sound
        if self.stream is None:
            self.waiting.append(packet)
        else:
            self.container.mux(packet)

    def add(self, frame: Any, *, like: Any) -> None:
        """A frame, at the time of another one."""
        if self.stream is None:
            rate = self.template.average_rate or self.template.guessed_rate or Fraction(25)
            self.stream = self.container.add_stream(self.codec, rate=rate, options=QUALITY[self.codec])
            self.stream.width, self.stream.height = frame.width, frame.height
            even = frame.width % 2 == 0 and frame.height % 2 == 0
            self.stream.pix_fmt = "yuv420p" if even else "yuv444p"  # colour at half the size needs even sides
            self.stream.codec_context.time_base = like.time_base or self.template.time_base
        frame.pts, frame.time_base = like.pts, like.time_base
        self.container.mux(self.stream.encode(frame))
        while self.waiting:
            self.container.mux(self.waiting.pop(0))

    def finish(self) -> None:
        """What the encoder still holds."""
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))


def _upright(frame: Any) -> np.ndarray:
    """The pixels of a frame as they are to be seen, (height, width, 3) uint8: phones note how they were held."""
    turned: np.ndarray = np.rot90(frame.to_ndarray(format="rgb24"), round(getattr(frame, "rotation", 0) / 90))
    return np.ascontiguousarray(turned)


def _frame(translator: Translator, pixels: np.ndarray, *, size: Size, seed: int, given: Given) -> np.ndarray:
    """The translation of a frame, (height, width, 3) uint8."""
    channels = int(translator.description.generator.options["source_channels"])
    picture = Picture(np.ascontiguousarray(pixels))
    if channels == 1 and not translator.task.makes_labels:
        picture = with_channels(picture, 1)
    made = with_channels(translator.translate(picture, size=size, seed=seed, given=given), 3)
    values = made.pixels
    return values if values.dtype == np.uint8 else from_model(to_model(values), dtype=np.uint8)


def _parts(av: Any, reading: Any, picture: Any, sound: Any, *, where: Path) -> Iterator[tuple[str, Any]]:
    """Frames and pieces of sound, in the order of the file."""
    try:
        for packet in reading.demux([stream for stream in (picture, sound) if stream is not None]):
            if packet.stream is picture:
                for frame in packet.decode():
                    yield "frame", frame
            elif packet.dts is not None:
                yield "sound", packet
    except av.FFmpegError as error:
        raise ImageError("the video is damaged", where=where, why=str(error), fix="convert it with a program that can play it") from error


@contextmanager
def _opened(av: Any, source: Path) -> Iterator[Any]:
    if not source.is_file():
        raise ImageError("there is no such video", where=source, fix="check the path")
    try:
        reading = av.open(str(source))
    except (av.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        fix = "play it, and convert it with a program that can"
        raise ImageError("this is no video, or a damaged one", where=source, why=why, fix=fix) from error
    with reading:
        yield reading


def _format(target: Path) -> str:
    """The container of a suffix, by its name in FFmpeg."""
    return {".mkv": "matroska"}.get(target.suffix, target.suffix[1:])
