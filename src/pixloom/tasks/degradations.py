"""What makes good pictures bad, by chance: blur, noise, JPEG, fewer pixels, haze; alone, or one after the other.

Pixels are (height, width, channels) float32 in [0, 1] in and out; every strength is drawn from ``rng``.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from pixloom.images import resize

Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Float pixels and chance to float pixels of the same size."""


def noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise, sigma uniform between 5 and 50 of 255."""
    sigma = rng.uniform(5, 50) / 255
    noisy: np.ndarray = np.clip(pixels + sigma * rng.standard_normal(pixels.shape, dtype=np.float32), 0, 1).astype(np.float32)
    return noisy


def blur(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian, turned and of two widths, sigma uniform between 0.6 and 3 pixels."""
    return blurred(pixels, sigmas=(float(rng.uniform(0.6, 3)), float(rng.uniform(0.6, 3))), angle=float(rng.uniform(0, np.pi)))


def jpeg(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Through JPEG at a quality uniform between 10 and 60; channels beyond three one by one."""
    return through_jpeg(pixels, quality=int(rng.integers(10, 61)))


def haze(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light scattered by air: I = J t + A (1 - t), t = exp(-beta d).

    Koschmieder, "Theorie der horizontalen Sichtweite", 1924; in this form He, Sun and Tang, "Single Image Haze Removal Using Dark Channel
    Prior", 2011, eqs. 1 and 2. The depth d is a smooth field from 0 to 1, beta uniform between 0.6 and 3, the airlight A between 0.7 and 1
    and a little apart per channel.
    """
    height, width, channels = pixels.shape
    coarse = rng.random((int(rng.integers(2, 5)), int(rng.integers(2, 5)))).astype(np.float32)
    depth = resize((coarse - coarse.min()) / np.ptp(coarse), height=height, width=width)[..., None]
    through = np.exp(-np.float32(rng.uniform(0.6, 3)) * depth)
    airlight = np.clip(rng.uniform(0.7, 1) + rng.uniform(-0.05, 0.05, channels), 0, 1).astype(np.float32)
    hazy: np.ndarray = pixels * through + airlight * (1 - through)
    return hazy


def chain(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Twice blur, fewer pixels and back, noise, JPEG, each with probability 0.7 (after Wang et al., "Real-ESRGAN", 2021, section 3.1)."""
    height, width = pixels.shape[:2]

    def fewer(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        scale = rng.uniform(0.4, 0.9)
        small = resize(values, height=max(1, round(scale * height)), width=max(1, round(scale * width)))
        return resize(small, height=height, width=width)

    for _ in range(2):
        for degrade in (blur, fewer, noise, jpeg):
            if rng.random() < 0.7:
                pixels = degrade(pixels, rng)
    return pixels


def mixed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of blur, noise and JPEG."""
    return (blur, noise, jpeg)[int(rng.integers(3))](pixels, rng)


DEGRADATIONS: dict[str, Degrade] = {"noise": noise, "blur": blur, "jpeg": jpeg, "mixed": mixed, "chain": chain, "haze": haze}
"""By name."""


def blurred(pixels: np.ndarray, *, sigmas: tuple[float, float], angle: float) -> np.ndarray:
    """Convolved with a Gaussian of two widths in pixels, turned by an angle in radians; edges are mirrored."""
    reach = int(np.ceil(3 * max(sigmas)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * (np.square(along / sigmas[0]) + np.square(across / sigmas[1])))
    kernel /= kernel.sum()
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric" if min(height, width) > reach else "edge")
    shape = padded.shape[0], padded.shape[1]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, s=shape)[..., None]
    full = np.fft.irfft2(spectrum, s=shape, axes=(0, 1))
    blurry: np.ndarray = np.clip(full[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width], 0, 1).astype(np.float32)
    return blurry


def through_jpeg(pixels: np.ndarray, *, quality: int) -> np.ndarray:
    """Written as a JPEG of some quality, and read again."""
    eight = np.rint(pixels * 255).astype(np.uint8)
    groups = [eight] if eight.shape[2] == 3 else [eight[..., channel : channel + 1] for channel in range(eight.shape[2])]
    read: np.ndarray = np.concatenate([_again(group, quality=quality) for group in groups], axis=2).astype(np.float32) / 255
    return read


def _again(pixels: np.ndarray, *, quality: int) -> np.ndarray:
    stream = BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(stream, format="JPEG", quality=quality)
    read = np.asarray(Image.open(stream))
    return read if read.ndim == 3 else read[..., None]
