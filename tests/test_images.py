"""Pictures in and out: every kind of file, every rule of the table, and nothing but ImageError for the rest."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import random
import struct
import sys
import tracemalloc
import warnings
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import hypothesis.extra.numpy as arrays
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from pixloom import images
from pixloom.errors import ImageError, OutputError
from pixloom.images import Picture

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
ALPHA16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
FLOAT = RNG.random((5, 7, 3), dtype=np.float32)
MANY = RNG.integers(0, 256, (5, 7, 6), dtype=np.uint8)
ADOBE = imagecodecs.cms_profile("adobergb")


def pil_bytes(image, name, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def tiff_bytes(array, **options) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def npy_bytes(array) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(width, height, *, bits=8, colour=0, rows=b"", chunks=b"", after=b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(rows, 9)) + after + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "a camera"
    return data.tobytes()


def save(folder: Path, data: bytes, name="picture.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


RAMP = np.arange(4, dtype=np.uint8)[None]
KINDS = {
    "png grey": (pil_bytes(Image.fromarray(GREY), "PNG"), GREY, None),
    "png rgb": (pil_bytes(Image.fromarray(RGB), "PNG"), RGB, None),
    "png grey alpha": (pil_bytes(Image.fromarray(np.dstack([GREY, ALPHA])), "PNG"), GREY, ALPHA),
    "png rgba": (pil_bytes(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG"), RGB, ALPHA),
    "png 1 bit": (pil_bytes(Image.fromarray(GREY > 127), "PNG"), (GREY > 127) * np.uint8(255), None),
    "png 2 bits": (png(4, 1, bits=2, rows=b"\0\x1b"), RAMP * 85, None),
    "png 2 bits key": (png(4, 1, bits=2, rows=b"\0\x1b", chunks=chunk(b"tRNS", b"\0\2")), RAMP * 85, 255 * (RAMP != 2).astype("u1")),
    "png 1 bit key": (
        png(8, 1, bits=1, rows=b"\0\x0f", chunks=chunk(b"tRNS", b"\0\1")),
        np.repeat([[0, 255]], 4, 1).astype("u1"),
        np.repeat([[255, 0]], 4, 1).astype("u1"),
    ),
    "png rgb key": (
        png(2, 1, colour=2, rows=b"\0\1\2\3\1\2\4", chunks=chunk(b"tRNS", b"\0\1\0\2\0\3")),
        np.array([[[1, 2, 3], [1, 2, 4]]], "u1"),
        np.array([[0, 255]], "u1"),
    ),
    "png grey16": (png(7, 5, bits=16, rows=b"".join(b"\0" + r.astype(">u2").tobytes() for r in GREY16)), GREY16, None),
    "png grey16 key": (
        png(2, 1, bits=16, rows=b"\0\1\2\1\3", chunks=chunk(b"tRNS", b"\1\3")),
        np.array([[0x102, 0x103]], "u2"),
        np.array([[65535, 0]], "u2"),
    ),
    "png rgb16": (png(7, 5, bits=16, colour=2, rows=b"".join(b"\0" + r.astype(">u2").tobytes() for r in RGB16)), RGB16, None),
    "png rgb16 key": (
        png(2, 1, bits=16, colour=2, rows=b"\0\0\1\0\2\0\3\0\1\0\2\1\3", chunks=chunk(b"tRNS", b"\0\1\0\2\1\3")),
        np.array([[[1, 2, 3], [1, 2, 259]]], "u2"),
        np.array([[65535, 0]], "u2"),
    ),
    "png grey16 alpha": (imagecodecs.png_encode(np.dstack([GREY16, ALPHA16])), GREY16, ALPHA16),
    "png rgba16": (imagecodecs.png_encode(np.dstack([RGB16, ALPHA16])), RGB16, ALPHA16),
    "webp": (pil_bytes(Image.fromarray(RGB), "WEBP", lossless=True), RGB, None),
    "webp alpha": (pil_bytes(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True, exact=True), RGB, ALPHA),
    "bmp grey": (pil_bytes(Image.fromarray(GREY), "BMP"), GREY, None),
    "bmp rgb": (pil_bytes(Image.fromarray(RGB), "BMP"), RGB, None),
    "tiff grey": (tiff_bytes(GREY), GREY, None),
    "tiff white is zero": (tiff_bytes(255 - GREY, photometric="miniswhite"), GREY, None),
    "tiff white is zero 16": (tiff_bytes(65535 - GREY16, photometric="miniswhite"), GREY16, None),
    "tiff 1 bit": (pil_bytes(Image.fromarray(GREY > 127), "TIFF"), (GREY > 127) * np.uint8(255), None),
    "tiff rgb": (tiff_bytes(RGB, photometric="rgb"), RGB, None),
    "tiff rgb planar": (tiff_bytes(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate"), RGB, None),
    "tiff rgba": (tiff_bytes(np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["unassalpha"]), RGB, ALPHA),
    "tiff rgb and another": (
        tiff_bytes(np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["unspecified"]),
        np.dstack([RGB, ALPHA]),
        None,
    ),
    "tiff grey16": (tiff_bytes(GREY16), GREY16, None),
    "tiff grey16 big-endian": (tiff_bytes(GREY16, byteorder=">"), GREY16, None),
    "tiff rgb16": (tiff_bytes(RGB16, photometric="rgb", compression="zlib"), RGB16, None),
    "tiff rgb16 planar": (tiff_bytes(np.moveaxis(RGB16, 2, 0), photometric="rgb", planarconfig="separate"), RGB16, None),
    "tiff rgba16": (tiff_bytes(np.dstack([RGB16, ALPHA16]), photometric="rgb", extrasamples=["unassalpha"]), RGB16, ALPHA16),
    "tiff float": (tiff_bytes(FLOAT, photometric="rgb"), FLOAT, None),
    "tiff float grey": (tiff_bytes(FLOAT[..., 0]), FLOAT[..., 0], None),
    "tiff many": (tiff_bytes(MANY, photometric="minisblack", planarconfig="contig"), MANY, None),
    "bigtiff": (tiff_bytes(RGB, photometric="rgb", bigtiff=True), RGB, None),
    "bigtiff big-endian": (tiff_bytes(RGB, photometric="rgb", bigtiff=True, byteorder=">"), RGB, None),
    "tiff tiles": (tiff_bytes(MANY, photometric="minisblack", planarconfig="contig", tile=(16, 16)), MANY, None),
    "tiff strips": (tiff_bytes(RGB16, photometric="rgb", rowsperstrip=2), RGB16, None),
    "npy grey": (npy_bytes(GREY), GREY, None),
    "npy rgb16 big-endian": (npy_bytes(RGB16.astype(">u2")), RGB16, None),
    "npy fortran": (npy_bytes(np.asfortranarray(RGB)), RGB, None),
    "npy bool": (npy_bytes(GREY > 127), (GREY > 127) * np.uint8(255), None),
    "npy double": (npy_bytes(FLOAT.astype(np.float64)), FLOAT, None),
    "npy half": (npy_bytes(FLOAT.astype(np.float16)), FLOAT.astype(np.float16).astype(np.float32), None),
    "npy many": (npy_bytes(MANY), MANY, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_exactly(kind, tmp_path):
    data, pixels, alpha = KINDS[kind]
    path = save(tmp_path, data)
    picture, header = images.read(path), images.read_header(path)
    expected = pixels if pixels.ndim == 3 else pixels[..., None]
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, expected)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        assert picture.alpha.dtype == pixels.dtype
        np.testing.assert_array_equal(picture.alpha, alpha)
    assert (header.height, header.width, header.channels) == expected.shape
    assert (header.depth, header.alpha) == ({"u1": 8, "u2": 16, "f4": 32}[pixels.dtype.str[1:]], alpha is not None)
    assert header.format.lower() == kind.split()[0].replace("bigtiff", "tiff")
    assert (header.frames, header.orientation) == (1, 1)
    np.testing.assert_array_equal(images.read(data).pixels, picture.pixels)


def test_jpeg_grey_and_colour(tmp_path):
    smooth = np.dstack([np.tile(np.linspace(40, 200, 64), (48, 1))] * 3).astype(np.uint8)
    for array in (smooth, smooth[..., 0]):
        path = save(tmp_path, pil_bytes(Image.fromarray(array), "JPEG", quality=95), "misnamed.png")
        picture = images.read(path)
        assert picture.channels == (3 if array.ndim == 3 else 1)
        assert np.abs(picture.pixels.astype(int) - array.reshape(picture.pixels.shape)).max() <= 3
        assert images.read_header(path) == images.Header("JPEG", 64, 48, picture.channels, 8, False, 1, 1)


def upright_by_definition(stored, orientation):
    """EXIF 2.32, tag 0x0112, by where the zeroth row and column of the stored array are seen."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.rot90(np.fliplr(a), 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.fliplr(a), -1),
        8: lambda a: np.rot90(a, 1),
    }[orientation](stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(orientation, tmp_path):
    rgba = np.dstack([RGB, ALPHA])
    big = np.kron(RGB, np.ones((16, 16, 1), np.uint8))  # blocks, so that JPEG's errors stay small
    tag = TiffImagePlugin.ImageFileDirectory_v2()
    tag[0x0112] = orientation
    extra = [(274, "H", 1, orientation, True)]
    image = Image.fromarray(rgba)
    cases = {
        "png": (pil_bytes(image, "PNG", exif=exif(orientation)), rgba),
        "webp": (pil_bytes(image, "WEBP", exif=exif(orientation), lossless=True, exact=True), rgba),
        "tiff": (pil_bytes(image, "TIFF", tiffinfo=tag), rgba),
        "tiff16": (tiff_bytes(RGB16, photometric="rgb", extratags=extra), RGB16),
        "late": (png(7, 5, colour=2, rows=b"".join(b"\0" + r.tobytes() for r in RGB), after=chunk(b"eXIf", exif(orientation)[6:])), RGB),
        "jpeg": (pil_bytes(Image.fromarray(big), "JPEG", exif=exif(orientation), quality=100, subsampling=0), big),
    }
    wide = imagecodecs.png_encode(RGB16)
    cases["png16"] = (wide[:33] + chunk(b"eXIf", exif(orientation)[6:]) + wide[33:], RGB16)
    for name, (data, stored) in cases.items():
        picture, header = images.read(data), images.read_header(data)
        expected = upright_by_definition(stored, orientation)
        got = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
        assert got.shape == expected.shape, name
        assert np.abs(got.astype(int) - expected).max() <= (12 if name == "jpeg" else 0), name
        assert (header.height, header.width, header.orientation) == (*expected.shape[:2], orientation), name
        assert any("upright" in note for note in picture.notes) == (orientation != 1), name


def test_broken_exif_is_no_reason_to_refuse():
    data = pil_bytes(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0rubbish" * 3)
    assert images.read(data).pixels.shape == RGB.shape


def test_palette():
    indices = RNG.integers(0, 3, (5, 7), dtype=np.uint8)
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    image = Image.frombytes("P", (7, 5), indices.tobytes())
    image.putpalette(table.tobytes())
    opaque = images.read(pil_bytes(image, "PNG"))
    np.testing.assert_array_equal(opaque.pixels, table[indices])
    assert opaque.alpha is None
    assert opaque.notes == ("palette expanded",)
    for transparency, alpha in ((1, np.array([255, 0, 255])), (b"\x05\x80\xff", np.array([5, 128, 255]))):
        data = pil_bytes(image, "PNG", transparency=transparency)
        picture = images.read(data)
        np.testing.assert_array_equal(picture.pixels, table[indices])
        np.testing.assert_array_equal(picture.alpha, alpha[indices])
        assert images.read_header(data).alpha
    np.testing.assert_array_equal(images.read(pil_bytes(image, "TIFF")).pixels, table[indices])


def test_cmyk_without_and_with_a_broken_profile():
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[:, 8:] = (255, 0, 0, 0)
    image = Image.fromarray(cmyk, "CMYK")
    for profile in (None, b"broken"):
        options = {"icc_profile": profile} if profile else {}
        for data in (pil_bytes(image, "JPEG", quality=100, **options), pil_bytes(image, "TIFF", **options)):
            picture = images.read(data)
            assert np.abs(picture.pixels[8, 2].astype(int) - (255, 255, 255)).max() <= 3
            assert np.abs(picture.pixels[8, 13].astype(int) - (0, 255, 255)).max() <= 3
            assert "CMYK to RGB without a profile" in picture.notes
            assert any("ICC profile ignored" in note for note in picture.notes) == (profile is not None)


def adobe_to_srgb(values):
    """Adobe RGB (1998) to IEC 61966-2-1, by their definitions (D65 for both), values in [0, 1]."""
    linear = np.asarray(values, float) ** (563 / 256)
    adobe = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    srgb = np.array([[3.24097, -1.53738, -0.49861], [-0.96924, 1.87597, 0.04156], [0.05563, -0.20398, 1.05697]])
    light = np.clip(linear @ (srgb @ adobe).T, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("alpha", [False, True])
def test_icc_profile_to_srgb(alpha):
    expected = adobe_to_srgb(RGB / 255) * 255
    assert np.abs(expected - RGB).max() > 10  # the conversion matters
    stored = np.dstack([RGB, ALPHA]) if alpha else RGB
    for name, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        picture = images.read(pil_bytes(Image.fromarray(stored), name, icc_profile=ADOBE, **options))
        assert np.abs(picture.pixels - expected).max() <= 2.5, name
        assert "ICC profile to sRGB" in picture.notes
        if alpha:
            np.testing.assert_array_equal(picture.alpha, ALPHA)


def test_icc_profile_of_16_bit_colour():
    wide = imagecodecs.png_encode(RGB16)
    data = wide[:33] + chunk(b"iCCP", b"x\0\0" + zlib.compress(ADOBE)) + wide[33:]
    for source in (data, tiff_bytes(RGB16, photometric="rgb", iccprofile=ADOBE)):
        picture = images.read(source)
        assert picture.pixels.dtype == np.uint16
        assert np.abs(picture.pixels - adobe_to_srgb(RGB16 / 65535) * 65535).max() <= 300
        assert "ICC profile to sRGB" in picture.notes


def test_icc_profiles_that_change_nothing_or_do_not_fit():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = images.read(pil_bytes(Image.fromarray(RGB), "PNG", icc_profile=srgb))
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.pixels, RGB)
    for array, profile in ((RGB, b"rubbish"), (RGB, ADOBE[:200]), (GREY, ADOBE)):
        picture = images.read(pil_bytes(Image.fromarray(array), "PNG", icc_profile=profile))
        np.testing.assert_array_equal(picture.pixels.squeeze(), array)
        assert "ICC profile ignored" in picture.notes[0]
    wide = images.read(tiff_bytes(RGB16, photometric="rgb", iccprofile=b"rubbish" * 30))
    np.testing.assert_array_equal(wide.pixels, RGB16)
    assert "ICC profile ignored" in wide.notes[0]


def test_several_frames_give_the_first():
    frames = [Image.fromarray(np.full((5, 7, 3), value, np.uint8)) for value in (50, 100, 150)]
    for name, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = pil_bytes(frames[0], name, save_all=True, append_images=frames[1:], **options)
        picture = images.read(data)
        assert (picture.pixels == 50).all(), name
        assert "first of 3 frames" in picture.notes
        assert images.read_header(data).frames == 3
    pages = tiff_bytes(np.stack([RGB16, RGB16 // 2]), photometric="rgb")
    np.testing.assert_array_equal(images.read(pages).pixels, RGB16)
    assert images.read_header(pages).frames == 2


def test_premultiplied_alpha_of_tiff_is_divided_out():
    alpha = np.array([[0, 128, 255]], np.uint16) * 257
    colour = np.array([[[0, 0, 0], [60000, 3000, 9], [1, 2, 3]]], np.uint16)
    stored = np.rint(colour * (alpha[..., None] / 65535)).astype(np.uint16)
    picture = images.read(tiff_bytes(np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"]))
    assert np.abs(picture.pixels.astype(int) - colour).max() <= 2
    np.testing.assert_array_equal(picture.alpha, alpha)
    assert "alpha unmultiplied" in picture.notes
    narrow = tiff_bytes(np.dstack([stored, alpha]).astype("u1"), photometric="rgb", extrasamples=["assocalpha"])
    assert "alpha unmultiplied" in images.read(narrow).notes


# What is refused


def bomb(side=30000):
    return png(side, side, rows=bytes(side))


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture", "not a picture"),
    "gif": (pil_bytes(Image.fromarray(GREY), "GIF"), "not a picture"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
    "bomb png": (bomb(), "too large"),
    "bomb 16-bit png": (png(60000, 60000, bits=16, colour=2), "too large"),
    "bomb bmp": (
        pil_bytes(Image.fromarray(RGB), "BMP").replace(struct.pack("<II", 7, 5), struct.pack("<II", 70000, 50000), 1),
        "too large",
    ),
    "bomb webp": (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\0" * 2 + b"VP8 ", "too large"),
    "bomb lossless webp": (b"RIFF\x1e\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + struct.pack("<I", 0xFFFFFFF) + bytes(10), "too large"),
    "bomb simple webp": (b"RIFF\x1e\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f", "too large"),
    "bomb npy": (npy_bytes(np.zeros((1, 1), np.uint8)).replace(b"(1, 1), }        ", b"(99999, 99999), }"), "too large"),
    "npy ints": (npy_bytes(GREY.astype(np.int64)), "int64"),
    "npy objects": (npy_bytes(np.array([[None]])), "object"),
    "npy text": (npy_bytes(np.array([["a"]])), "U1"),
    "npy flat": (npy_bytes(GREY.ravel()), "shape"),
    "npy none": (npy_bytes(np.zeros((0, 4), np.uint8)), "shape"),
    "npy channels first": (npy_bytes(np.zeros((3, 80, 90), np.uint8)), "channels"),
    "npy nan": (npy_bytes(np.full((2, 2), np.nan)), "finite"),
    "npy inf": (npy_bytes(np.array([[0, np.inf]])), "finite"),
    "npy range": (npy_bytes(FLOAT * 255), r"\[0, 1\]"),
    "npy cut": (npy_bytes(GREY)[:-3], "cannot be read"),
    "tiff ints": (tiff_bytes(GREY.astype(np.uint32)), "not accepted"),
    "tiff range": (tiff_bytes(FLOAT[..., 0] * 2), r"\[0, 1\]"),
    "tiff nan": (tiff_bytes(FLOAT[..., 0] * np.float32(np.nan)), "finite"),
    "tiff cmyk16": (tiff_bytes(np.zeros((4, 4, 4), "u2"), photometric="separated"), "not accepted"),
    "tiff without most strips": (
        tiff_bytes(GREY16, rowsperstrip=1).replace(struct.pack("<HHII", 257, 4, 1, 5), struct.pack("<HHII", 257, 4, 1, 9999999)),
        "strips",
    ),
    "tiff of huge tiles": (
        tiff_bytes(MANY, photometric="minisblack", planarconfig="contig", tile=(16, 16)).replace(
            struct.pack("<HHII", 322, 4, 1, 16), struct.pack("<HHII", 322, 4, 1, 2**30)
        ),
        "tiles",
    ),
    "tiff of two widths": (
        tiff_bytes(RGB16, photometric="rgb")
        .replace(struct.pack("<HHII", 256, 4, 1, 7), struct.pack("<HHII", 256, 4, 1, 2**29))
        .replace(struct.pack("<HHI", 296, 3, 1), struct.pack("<HHI", 256, 3, 1)),
        "too large",
    ),
    "tiff header only": (b"II*\0\x08\0\0\0", "cannot be read"),
    "tiff loop of no tags": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_files_name(kind, tmp_path):
    data, message = REFUSED[kind]
    path = save(tmp_path, data, "picture.png")
    with pytest.raises(ImageError, match=message) as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def test_errors_say_what_to_do():
    for data, fix in ((REFUSED["npy range"][0], "x / 255"), (REFUSED["npy channels first"][0], "transpose"), (bomb(), "max_pixels")):
        with pytest.raises(ImageError) as caught:
            images.read(data)
        assert fix in caught.value.fix


@pytest.mark.parametrize("kind", ["png rgb", "png rgb16", "webp", "bmp rgb", "tiff rgb", "tiff rgb16", "npy grey"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_truncated_files(kind, share):
    noisy = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    suffix = {"bmp": ".bmp", "web": ".webp", "tif": ".tif", "npy": ".npy", "png": ".png"}[kind[:3]]
    picture = Picture(noisy.astype(np.uint16) * 257 if "16" in kind else noisy)
    data = images.encode(picture, suffix)
    with pytest.raises(ImageError):
        images.read(data[: int(len(data) * share)])


def test_truncated_jpeg():
    data = pil_bytes(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")
    for length in (3, 20, len(data) // 2, len(data) - 100):
        with pytest.raises(ImageError, match="truncated"):
            images.read(data[:length])


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, message in (
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "folder"),
        (tmp_path / "pipe.png", "pipe"),
        (tmp_path / ("x" * 300 + ".png"), "too long"),
        ("nul\0.png", "no such file"),
    ):
        for call in (images.read, images.read_header, images.as_picture):
            with pytest.raises(ImageError, match=message):
                call(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_for_the_file(tmp_path):
    path = save(tmp_path, KINDS["png rgb"][0])
    path.chmod(0)
    with pytest.raises(ImageError, match="ermission"):
        images.read(path)


def test_no_permission_as_the_system_says_it(tmp_path, monkeypatch):
    path = save(tmp_path, KINDS["png rgb"][0])

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match="Permission denied"):
        images.read(path)


def test_the_limit_is_the_callers_and_pillows_is_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    data = KINDS["png rgb"][0]
    with pytest.raises(ImageError, match="too large: 7 x 5"):
        images.read(data, max_pixels=34)
    assert images.read(data, max_pixels=35).width == 7
    with pytest.raises(ImageError, match="6 channels"):
        images.read(KINDS["npy many"][0], max_pixels=50)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["png rgb", "jpeg", "webp", "bmp rgb", "tiff rgb", "tiff grey16"])
def test_pillows_own_limit_neither_warns_nor_refuses(kind, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 if kind != "webp" else 32)  # half of it, and a little more: a refusal, a warning
    data = KINDS[kind][0] if kind in KINDS else pil_bytes(Image.fromarray(RGB), "JPEG")
    assert images.read(data).width == 7


def test_reading_in_threads():
    data = [KINDS[kind][0] for kind in KINDS] * 3
    expected = [images.read(one).pixels for one in data]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(images.read, data), expected, strict=True):
            np.testing.assert_array_equal(one.pixels, other)


def test_mutated_files_are_read_or_refused():
    valid = [data for data, _, _ in KINDS.values()] + [
        pil_bytes(Image.fromarray(RGB), "JPEG", exif=exif(6), icc_profile=ADOBE),
        pil_bytes(Image.fromarray(RGB), "PNG", exif=exif(6), icc_profile=ADOBE),
    ]
    rng = random.Random(0)
    outcomes = {True: 0, False: 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd tags; as errors they would hide what follows
        for _ in range(600):
            data = bytearray(rng.choice(valid))
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            try:
                images.read(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]), max_pixels=10**6)
                outcomes[True] += 1
            except ImageError:
                outcomes[False] += 1
    assert min(outcomes.values()) > 50


def test_damaged_16_bit_pngs_lose_no_reference():
    data = bytearray(KINDS["png rgb16"][0])
    data[-20] ^= 255  # inside the compressed pixels
    before = sys.getrefcount(None)
    for _ in range(200):
        with contextlib.suppress(ImageError):
            images.read(bytes(data))
    assert sys.getrefcount(None) > before - 100


# Arrays and Pillow images


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pillow_modes_of_8_bits(mode):
    rgb = Image.fromarray(np.full((5, 7, 3), (204, 102, 51), np.uint8))
    via = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
    image = (rgb.convert(via) if via else rgb).convert(mode) if mode != "LAB" else lab_of(rgb)
    picture = images.as_picture(image)
    grey = mode in ("1", "L", "LA", "La")
    assert picture.pixels.shape == (5, 7, 1 if grey else 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.alpha is not None) == (mode in ("LA", "La", "PA", "RGBA", "RGBa"))
    if picture.alpha is not None:
        assert (picture.alpha == 255).all()
    if mode != "1":
        expected = (round(0.299 * 204 + 0.587 * 102 + 0.114 * 51),) if grey else (204, 102, 51)
        assert np.abs(picture.pixels.astype(int) - expected).max() <= 3


def lab_of(image):
    return ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")


def test_pillow_modes_of_more_bits():
    wide = Image.fromarray(GREY16)
    np.testing.assert_array_equal(images.as_picture(wide).pixels[..., 0], GREY16)
    swapped = Image.frombytes("I;16B", (7, 5), GREY16.astype(">u2").tobytes())
    np.testing.assert_array_equal(images.as_picture(swapped).pixels[..., 0], GREY16)
    np.testing.assert_array_equal(images.as_picture(Image.fromarray(GREY16.astype(np.int32))).pixels[..., 0], GREY16)
    np.testing.assert_array_equal(images.as_picture(Image.fromarray(FLOAT[..., 0])).pixels[..., 0], FLOAT[..., 0])
    for bad in (np.full((2, 2), 65536, np.int32), np.full((2, 2), -1, np.int32), np.full((2, 2), 1.5, np.float32)):
        with pytest.raises(ImageError):
            images.as_picture(Image.fromarray(bad))


def test_a_pillow_file_is_turned_once_and_named(tmp_path):
    for name in ("PNG", "TIFF", "JPEG"):
        path = save(tmp_path, pil_bytes(Image.fromarray(RGB), name, exif=exif(6)))
        assert images.as_picture(Image.open(path)).pixels.shape == (7, 5, 3)
    broken = save(tmp_path, pil_bytes(Image.fromarray(RGB), "PNG")[:-40])
    with pytest.raises(ImageError, match=str(broken)):
        images.as_picture(Image.open(broken))


def test_arrays(tmp_path):
    assert images.as_picture(RGB).pixels is RGB
    assert images.as_picture(GREY).pixels.shape == (5, 7, 1)
    assert images.as_picture(FLOAT.astype(np.float64)).pixels.dtype == np.float32
    picture = Picture(RGB)
    assert images.as_picture(picture) is picture
    assert images.as_picture(str(save(tmp_path, KINDS["png rgb"][0]))).width == 7
    for bad in (RGB.astype(np.int32), FLOAT - 1, RGB[None], np.zeros((0, 2, 3), np.uint8), np.zeros((3, 100, 100)), 3):
        with pytest.raises(ImageError):
            images.as_picture(bad)


def test_a_picture_checks_itself():
    for pixels, alpha in ((GREY, None), (RGB.astype(float), None), (RGB, ALPHA[:2]), (RGB, ALPHA16)):
        with pytest.raises(ImageError):
            Picture(pixels, alpha)


def test_to_pil():
    assert images.to_pil(Picture(GREY[..., None])).mode == "L"
    assert images.to_pil(Picture(GREY[..., None], ALPHA)).mode == "LA"
    np.testing.assert_array_equal(np.asarray(images.to_pil(Picture(RGB))), RGB)
    np.testing.assert_array_equal(np.asarray(images.to_pil(Picture(RGB, ALPHA))), np.dstack([RGB, ALPHA]))
    wide = images.to_pil(Picture(GREY16[..., None]))
    assert wide.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(wide), GREY16)
    for picture in (Picture(RGB16), Picture(FLOAT), Picture(MANY), Picture(GREY16[..., None], ALPHA16)):
        with pytest.raises(ImageError) as caught:
            images.to_pil(picture)
        assert caught.value.fix


def test_with_channels():
    grey, colour = Picture(GREY[..., None], ALPHA), Picture(RGB, ALPHA)
    three = images.with_channels(grey, 3)
    assert all((three.pixels[..., i] == GREY).all() for i in range(3))
    assert three.alpha is ALPHA
    one = images.with_channels(colour, 1)
    exact = 0.299 * RGB[..., 0] + 0.587 * RGB[..., 1] + 0.114 * RGB[..., 2]
    assert np.abs(one.pixels[..., 0] - exact).max() <= 0.5 + 1e-9
    assert one.pixels.dtype == np.uint8
    wide = images.with_channels(Picture(RGB16), 1).pixels
    assert np.abs(wide[..., 0] - RGB16 @ [0.299, 0.587, 0.114]).max() <= 0.5 + 1e-6
    np.testing.assert_allclose(images.with_channels(Picture(FLOAT), 1).pixels[..., 0], FLOAT @ [0.299, 0.587, 0.114], rtol=1e-6)
    assert images.with_channels(colour, 3) is colour
    for picture, channels in ((Picture(MANY), 3), (colour, 4), (grey, 2)):
        with pytest.raises(ImageError):
            images.with_channels(picture, channels)


# Resizing


def bicubic_matrix(old, new):
    """Keys' kernel with a = -0.5, stretched by the scale when shrinking, normalised in the picture (Keys 1981)."""
    scale = max(old / new, 1)
    x = np.abs((np.arange(old) + 0.5) - (np.arange(new)[:, None] + 0.5) * old / new) / scale
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("height", "width"), [(9, 5), (40, 50), (23, 11)])
@pytest.mark.parametrize(("channels", "dtype"), [(0, "u1"), (1, "u1"), (3, "u1"), (5, "u1"), (3, "u2"), (0, "u2"), (2, "f4"), (1, "f8")])
def test_resize_is_antialiased_bicubic(channels, dtype, height, width):
    shape = (23, 31, channels) if channels else (23, 31)
    values = np.random.default_rng(2).random(shape)
    top = {"u1": 255, "u2": 65535}.get(dtype, 1)
    pixels = np.rint(values * top).astype(dtype) if top > 1 else values.astype(dtype)
    resized = images.resize(pixels, height=height, width=width)
    reference = np.moveaxis(np.tensordot(bicubic_matrix(31, width), pixels.astype(float), (1, 1)), 0, 1)
    if dtype == "u1":  # Pillow keeps 8 bits between the two passes as well
        reference = np.clip(np.rint(reference), 0, 255)
    reference = np.tensordot(bicubic_matrix(23, height), reference, (1, 0))
    assert resized.shape == (height, width, *shape[2:])
    assert resized.dtype == np.dtype(dtype)
    assert np.abs(resized - np.clip(reference, 0, top)).max() <= {255: 1.1, 65535: 0.6}.get(top, 1e-5)


def test_resize_nearest_keeps_labels():
    labels = np.array([[3, 70000], [-5, 9]], np.int64)
    big = images.resize(labels, height=4, width=6, nearest=True)
    np.testing.assert_array_equal(big, np.kron(labels, np.ones((2, 3), np.int64)))
    np.testing.assert_array_equal(images.resize(big, height=2, width=2, nearest=True), labels)
    reference = np.asarray(Image.fromarray(GREY).resize((13, 3), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(images.resize(GREY, height=3, width=13, nearest=True), reference)


def test_resize_refuses():
    assert images.resize(RGB, height=5, width=7) is RGB
    for pixels, height in ((RGB.astype(np.int32), 3), (RGB > 5, 3), (RGB, 0)):
        with pytest.raises(ImageError):
            images.resize(pixels, height=height, width=3)


@pytest.mark.parametrize(("height", "width"), [(20, 30), (150, 225), (60, 90), (60, 45)])
@pytest.mark.parametrize(("channels", "dtype"), [(0, "u1"), (1, "u1"), (3, "u1"), (3, "u2"), (2, "f4")])
def test_a_large_picture_is_resized_in_pieces_to_the_same_bits(channels, dtype, height, width, monkeypatch):
    shape = (60, 90, channels) if channels else (60, 90)
    values = np.random.default_rng(3).random(shape)
    pixels = values.astype(dtype) if dtype == "f4" else np.rint(values * np.iinfo(dtype).max).astype(dtype)
    whole = images.resize(pixels, height=height, width=width)
    monkeypatch.setattr(images, "_AT_ONCE", 500)
    pieces = images.resize(pixels, height=height, width=width)
    assert pieces.dtype == whole.dtype
    np.testing.assert_array_equal(pieces, whole)


def test_columns_of_a_resized_picture_come_from_left_to_right(monkeypatch):
    pixels = np.random.default_rng(4).random((8, 9, 2), dtype=np.float32)
    whole = images.resize(pixels, height=40, width=50)
    assert [columns for columns, _ in images.resized_columns(pixels, height=40, width=50)] == [slice(0, 50)]
    monkeypatch.setattr(images, "_AT_ONCE", 400)
    seen = 0
    for columns, part in images.resized_columns(pixels, height=40, width=50):
        assert columns.start == seen
        seen = columns.stop
        np.testing.assert_array_equal(part, whole[:, columns])
    assert columns.start > 0
    assert seen == 50


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 300))
def test_strips_are_all_rows_and_no_larger_than_asked_unless_a_row_is(height, width, pixels):
    rows = list(images.strips(height, width=width, pixels=pixels))
    assert [row for part in rows for row in range(part.start, part.stop)] == list(range(height))
    assert all((part.stop - part.start) * width <= max(pixels, width) for part in rows)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16", "CMYK"])
def test_a_picture_of_several_strips_is_read_exactly(mode):
    height, width = 300, 1000
    rng = np.random.default_rng(5)
    if mode == "I;16":
        expected = rng.integers(0, 65536, (height, width), dtype=np.uint16)
        image = Image.fromarray(expected)
    else:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert("RGBA" if mode == "RGBA" else "RGB")
        if mode == "RGBA":
            image.putalpha(Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)))
        image = image.convert(mode)
        expected = np.asarray(image.convert({"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)))
    assert len(list(images.strips(height, width=width))) > 1
    picture = images.as_picture(image)
    got = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    np.testing.assert_array_equal(got, expected.reshape(got.shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_depth_of_a_picture_can_be_changed(dtype):
    pixels = np.random.default_rng(6).random((400, 700, 3))  # of several strips
    deep = Picture(pixels.astype(np.float32), pixels[..., 0].astype(np.float32))
    got = images.to_depth(deep, np.dtype(dtype))
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    assert got.pixels.dtype == got.alpha.dtype == np.dtype(dtype)
    assert np.abs(got.pixels / top - pixels).max() <= (0.5 + 1e-2) / top if top > 1 else 1e-6
    np.testing.assert_array_equal(got.pixels[..., 0], got.alpha)
    assert got.notes == (f"float32 to {np.dtype(dtype)}",)


def peak_of(work) -> int:
    """Bytes that some work holds at most beside what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_large_picture_is_converted_in_little_more_memory_than_its_result(dtype, monkeypatch):
    monkeypatch.setattr(images, "_AT_ONCE", 2**16)
    height, width = 1500, 2000
    pixels = np.zeros((height, width, 3), dtype)
    values = images.to_model(pixels)
    small = np.zeros((100, 100, 3), dtype)
    work = 2**23  # some strips of 2^18 pixels
    assert peak_of(lambda: images.to_model(pixels)) < values.nbytes + 2**12
    assert peak_of(lambda: images.from_model(values, dtype=dtype)) < pixels.nbytes + 2 * work
    assert peak_of(lambda: images.with_channels(Picture(pixels), 1)) < pixels.nbytes // 3 + 3 * work
    assert peak_of(lambda: images.resize(small, height=height, width=width)) < pixels.nbytes + work
    assert peak_of(lambda: images.resize(pixels, height=100, width=120)) < pixels.nbytes // 4 + work
    assert peak_of(lambda: images.to_depth(Picture(pixels), np.dtype(np.uint16))) < height * width * 6 + 3 * work


# The model's side


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_comes_back_from_the_model(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 4, 2)
    model = images.to_model(values)
    assert model.shape == (2, len(values), 4)
    assert model.dtype == np.float32
    assert (model.min(), model.max()) == (-1, 1)
    np.testing.assert_allclose(model, np.moveaxis(values.astype(float), 2, 0) / np.iinfo(dtype).max * 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(images.from_model(model, dtype=dtype), values)


def test_from_model_rounds_clamps_and_refuses_nan():
    values = np.array([-2, -1, 0, 0.5, 1, 3], np.float32).reshape(1, 1, 6)
    np.testing.assert_array_equal(images.from_model(values)[0, :, 0], [0, 0, 128, 191, 255, 255])
    np.testing.assert_array_equal(images.from_model(values, dtype=np.float32)[0, :, 0], np.float32([0, 0, 0.5, 0.75, 1, 1]))
    np.testing.assert_allclose(images.from_model(images.to_model(FLOAT), dtype=np.float32), FLOAT, atol=1e-6)
    for bad in (np.nan, np.inf):
        with pytest.raises(ImageError, match="finite"):
            images.from_model(np.full((1, 2, 2), bad))
    with pytest.raises(ImageError):
        images.to_model(RGB.astype(np.int64))


# Writing


HOLDS = {
    ".png": [(GREY, None), (GREY, ALPHA), (RGB, None), (RGB, ALPHA), (GREY16, None), (GREY16, ALPHA16), (RGB16, None), (RGB16, ALPHA16)],
    ".webp": [(RGB, None), (RGB, ALPHA)],
    ".bmp": [(GREY, None), (RGB, None)],
    ".tif": [
        (GREY, None),
        (GREY, ALPHA),
        (RGB, ALPHA),
        (GREY16, None),
        (GREY16, ALPHA16),
        (RGB16, ALPHA16),
        (FLOAT, None),
        (FLOAT, FLOAT[..., 0]),
        (MANY, None),
        (MANY, ALPHA),
        (FLOAT[..., 0], None),
    ],
    ".npy": [(GREY, None), (RGB16, None), (FLOAT, None), (MANY, None)],
}


@pytest.mark.parametrize("suffix", HOLDS)
def test_what_is_written_is_read_back(suffix, tmp_path):
    for index, (pixels, alpha) in enumerate(HOLDS[suffix]):
        path = tmp_path / f"{index}{suffix.upper()}"
        images.write(images.as_picture(pixels) if alpha is None else Picture(pixels.reshape(5, 7, -1), alpha), path)
        back = images.read(path)
        np.testing.assert_array_equal(back.pixels, pixels.reshape(5, 7, -1))
        assert back.pixels.dtype == pixels.dtype
        assert (back.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(back.alpha, alpha)
    assert len(list(tmp_path.iterdir())) == len(HOLDS[suffix])


def test_webp_repeats_grey_and_npy_appends_alpha(tmp_path):
    images.write(Picture(GREY[..., None], ALPHA), tmp_path / "a.webp")
    images.write(Picture(RGB, ALPHA), tmp_path / "a.npy")
    np.testing.assert_array_equal(images.read(tmp_path / "a.webp").pixels, np.dstack([GREY] * 3))
    np.testing.assert_array_equal(images.read(tmp_path / "a.npy").pixels, np.dstack([RGB, ALPHA]))


def test_jpeg_is_of_quality_95_without_subsampling(tmp_path):
    images.write(Picture(RGB), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        reference = Image.open(BytesIO(pil_bytes(Image.fromarray(RGB), "JPEG", quality=95)))
        assert image.quantization == reference.quantization


@pytest.mark.parametrize(
    ("suffix", "picture", "fix"),
    [
        (".jpg", Picture(RGB, ALPHA), ".png"),
        (".jpg", Picture(RGB16), "8 bits"),
        (".jpeg", Picture(MANY), ".tif"),
        (".bmp", Picture(RGB, ALPHA), ".png"),
        (".webp", Picture(RGB16), ".tif"),
        (".png", Picture(FLOAT), ".tif"),
        (".png", Picture(MANY), ".npy"),
        (".pgn", Picture(RGB), ".png"),
        ("", Picture(RGB), ".png"),
        (".webp", Picture(np.zeros((1, 17000, 1), np.uint8)), ".png"),
        (".jpg", Picture(np.zeros((1, 66000, 1), np.uint8)), ".png"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(suffix, picture, fix, tmp_path):
    with pytest.raises(OutputError) as caught:
        images.write(picture, tmp_path / f"a{suffix}")
    assert fix in caught.value.fix
    assert caught.value.where == tmp_path / f"a{suffix}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pixels", [RGB, RGB16])
def test_png_is_compressed_at_level_1(pixels, tmp_path):
    images.write(Picture(pixels), tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    header = data[data.index(b"IDAT") + 4 :][:2]
    assert header[1] >> 6 == 0, "FLEVEL of RFC 1950: the fastest"


def test_overwriting_only_when_told(tmp_path):
    path = tmp_path / "Bild größer 写真.png"
    images.write(Picture(RGB), path)
    with pytest.raises(OutputError, match="exists"):
        images.write(Picture(RGB // 2), path)
    np.testing.assert_array_equal(images.read(path).pixels, RGB)
    images.write(Picture(RGB // 2), str(path), overwrite=True)
    np.testing.assert_array_equal(images.read(path).pixels, RGB // 2)


def test_no_metadata_is_carried_over(tmp_path):
    source = save(tmp_path, pil_bytes(Image.fromarray(RGB), "JPEG", exif=exif(1), icc_profile=ADOBE))
    assert b"a camera" in source.read_bytes()
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        images.write(images.read(source), tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert b"a camera" not in (tmp_path / f"out{suffix}").read_bytes()
            assert "icc_profile" not in image.info


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write(Picture(RGB), path)

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left") as caught:
        images.write(Picture(RGB // 2), path, overwrite=True)
    assert "space" in caught.value.fix
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(images.read(path).pixels, RGB)


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    file = save(tmp_path, b"")
    for path, overwrite in ((tmp_path / "no" / "a.png", False), (tmp_path / "folder.png", True), (file / "a.png", False)):
        with pytest.raises(OutputError):
            images.write(Picture(RGB), path, overwrite=overwrite)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "picture.bin"]


def test_16_bit_colour_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(images.PixloomError, match='pip install "imagecodecs'):
        images.write(Picture(RGB16), tmp_path / "a.png")
    with pytest.raises(images.PixloomError, match='pip install "imagecodecs'):
        images.read(KINDS["png rgb16"][0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trips(data, tmp_path):
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    channels = data.draw(st.integers(1, 6))
    shape = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)), channels)
    elements = st.floats(0, 1, width=32) if dtype == np.float32 else None
    pixels = data.draw(arrays.arrays(dtype, shape, elements=elements))
    alpha = data.draw(st.none() | arrays.arrays(dtype, shape[:2], elements=elements))
    suffixes = [".tif"]
    if channels in (1, 3) and dtype != np.float32:
        suffixes.append(".png")
    suffix = data.draw(st.sampled_from(suffixes))
    images.write(Picture(pixels, alpha), tmp_path / f"a{suffix}", overwrite=True)
    back = images.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None and alpha is None) or (back.alpha == alpha).all()
    assert back.pixels.dtype == dtype


# Listing


def test_list_pictures(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "sub/ü.webp", "sub/deep/写真.tif", ".git/c.png", "sub/.d/e.png", "z.npy"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in images.list_pictures(tmp_path)]
    assert found == ["a.JPG", "b.png", "sub/deep/写真.tif", "sub/ü.webp", "z.npy"]
    assert [p.name for p in images.list_pictures(str(tmp_path), recursive=False)] == ["a.JPG", "b.png", "z.npy"]
    (tmp_path / "sub" / "loop").unlink()
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    found = [path.relative_to(tmp_path).as_posix() for path in images.list_pictures(tmp_path)]
    assert found[1:4] == ["again/deep/写真.tif", "again/ü.webp", "b.png"]
    for bad in (tmp_path / "nowhere", tmp_path / "b.png"):
        with pytest.raises(ImageError):
            images.list_pictures(bad)


def test_alpha_can_be_left_out(tmp_path):
    images.write(replace(Picture(RGB, ALPHA), alpha=None), tmp_path / "a.bmp")
    np.testing.assert_array_equal(images.read(tmp_path / "a.bmp").pixels, RGB)
