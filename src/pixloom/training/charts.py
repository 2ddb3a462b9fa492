"""Line charts as inline SVG: a few pure functions, no library, no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

Points = Sequence[tuple[float, float]]
"""(images, value) in order of images; values may be not finite."""

WIDTH, HEIGHT = 600, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 30
NUM_STYLES = 6
LOG_RATIO = 30.0
"""Values that are all positive and spread further than this are drawn on a logarithmic axis."""


def line_chart(title: str, series: Mapping[str, Points], *, smoothing: float = 0.0, markers: bool = False) -> str:
    """A figure with one line per series, over images seen; empty text when there is nothing to draw.

    Args:
        title: the caption.
        series: points by name.
        smoothing: share of the points that a moving average spans; the raw line is then drawn faintly behind.
        markers: draw a dot at each point.
    """
    raw = {name: thin(points) for name, points in series.items() if any(math.isfinite(value) for _, value in points)}
    if not raw:
        return ""
    lines = {name: smooth(points, span=max(1, round(smoothing * len(points)))) for name, points in raw.items()}
    logarithmic = _wants_log([value for points in lines.values() for _, value in points])
    across, up = _scales(raw, lines, logarithmic)
    body = [_grid(across, up, logarithmic)]
    if smoothing:
        body += [_line(points, across[0], up[0], f"raw s{index % NUM_STYLES}") for index, points in enumerate(raw.values())]
    for index, points in enumerate(lines.values()):
        body.append(_line(points, across[0], up[0], f"line s{index % NUM_STYLES}"))
        body += [_markers(points, across[0], up[0], f"dot s{index % NUM_STYLES}")] if markers else []
    return _figure(title + (" (log scale)" if logarithmic else ""), lines, "".join(body))


def thin(points: Points, limit: int = 300) -> list[tuple[float, float]]:
    """At most ``limit`` points: means over equal groups, in which values that are not finite are left out."""
    if len(points) <= limit:
        return list(points)
    groups = np.array_split(np.asarray(points, dtype=float), limit)
    return [(float(group[-1, 0]), _mean(group[:, 1])) for group in groups]


def smooth(points: Points, *, span: int) -> list[tuple[float, float]]:
    """The centred moving average over ``span`` points, narrower at the ends; values that are not finite stay so."""
    values = np.asarray([value for _, value in points], dtype=float)
    reach = span // 2
    means = [_mean(values[max(0, i - reach) : i + reach + 1]) if math.isfinite(value) else math.nan for i, value in enumerate(values)]
    return [(images, mean) for (images, _), mean in zip(points, means, strict=True)]


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``, about ``count`` of them.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = power * next(factor for factor in (1, 2, 5, 10) if 1.5 * factor * power * count >= high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of the numbers 1, 2 and 5 times powers of ten between two logarithms; powers alone when those are many.

    >>> [round(10**tick, 3) for tick in log_ticks(-1.0, 0.5)]
    [0.1, 0.2, 0.5, 1.0, 2.0]
    """
    for factors in ((1, 2, 5), (1,)):
        exponents = range(math.floor(low), math.ceil(high) + 1)
        found = [math.log10(factor) + exponent for exponent in exponents for factor in factors]
        found = [tick for tick in found if low - 1e-9 <= tick <= high + 1e-9]
        if len(found) <= 7:
            break
    return found


def format_tick(value: float) -> str:
    """A short number for an axis.

    >>> format_tick(20000), format_tick(1500000), format_tick(0.25), format_tick(0.0002), format_tick(0.00016)
    ('20k', '1.5M', '0.25', '2e-4', '1.6e-4')
    """
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    if 0 < abs(value) < 0.001:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


Scale = tuple[Callable[[float], float], float, float]
"""From a value to a coordinate; the lowest and highest value shown (of logarithms on a logarithmic axis)."""


def _scales(raw: Mapping[str, Points], lines: Mapping[str, Points], logarithmic: bool) -> tuple[Scale, Scale]:
    images = [image for points in raw.values() for image, _ in points]
    start, end = min(0.0, *images), max(images)
    end = end if end > start else start + 1.0
    transform = math.log10 if logarithmic else float
    low, high = _limits(
        [value for points in raw.values() for _, value in points], [value for points in lines.values() for _, value in points]
    )
    low, high = (transform(max(low, 1e-12)), transform(high)) if logarithmic else (low, high)

    def across(value: float) -> float:
        return LEFT + (value - start) / (end - start) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        value = transform(max(value, 1e-12)) if logarithmic else value
        return HEIGHT - BOTTOM - (min(max(value, low), high) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    return (across, start, end), (up, low, high)


def _limits(raw: Sequence[float], smoothed: Sequence[float]) -> tuple[float, float]:
    """The range shown: all of the smoothed lines, and the raw ones but for their rare outliers."""
    usual = np.percentile([value for value in raw if math.isfinite(value)], [1, 99])
    shown = [*usual, *(value for value in smoothed if math.isfinite(value))]
    low, high = float(min(shown)), float(max(shown))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    margin = 0.04 * (high - low)
    return (low if low >= 0 and low - margin < 0 else low - margin), high + margin


def _wants_log(values: Sequence[float]) -> bool:
    finite = [value for value in values if math.isfinite(value)]
    return min(finite) > 0 and max(finite) / min(finite) > LOG_RATIO


def _grid(across: Scale, up: Scale, logarithmic: bool) -> str:
    (x, start, end), (y, low, high) = across, up
    rows = (
        [(10**tick, format_tick(10**tick)) for tick in log_ticks(low, high)]
        if logarithmic
        else [(t, format_tick(t)) for t in ticks(low, high)]
    )
    parts = [
        f'<path class="rule" d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}"/><text x="{LEFT - 6}" y="{y(v) + 4:.1f}" class="end">{t}</text>'
        for v, t in rows
    ]
    columns = ticks(start, end)
    parts += [f'<text x="{x(value):.1f}" y="{HEIGHT - 10}" class="mid">{format_tick(value)}</text>' for value in columns]
    return "".join(parts)


def _line(points: Points, x: Callable[[float], float], y: Callable[[float], float], style: str) -> str:
    """A path that is interrupted where values are not finite."""
    steps, pen_down = [], False
    for image, value in points:
        finite = math.isfinite(value)
        if finite:
            steps.append(f"{'L' if pen_down else 'M'}{x(image):.1f} {y(value):.1f}")
        pen_down = finite
    return f'<path class="{style}" d="{"".join(steps)}"/>'


def _markers(points: Points, x: Callable[[float], float], y: Callable[[float], float], style: str) -> str:
    """Dots, each with its values as a tooltip."""
    return "".join(
        f'<circle class="{style}" cx="{x(image):.1f}" cy="{y(value):.1f}" r="3"><title>{image:,.0f} images: {value:.4g}</title></circle>'
        for image, value in points
        if math.isfinite(value)
    )


def _figure(title: str, lines: Mapping[str, Points], body: str) -> str:
    lasts = {name: next(value for _, value in reversed(points) if math.isfinite(value)) for name, points in lines.items()}
    legend = "".join(_legend_item(index, name, last) for index, (name, last) in enumerate(lasts.items()))
    words = escape(f"{title}, over images seen; last: " + ", ".join(f"{name} {last:.4g}" for name, last in lasts.items()))
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<ul class="legend">{legend}</ul></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{body}</svg></figure>'
    )


def _legend_item(index: int, name: str, last: float) -> str:
    swatch = f'<svg viewBox="0 0 24 8" aria-hidden="true"><path class="line s{index % NUM_STYLES}" d="M0 4H24"/></svg>'
    return f"<li>{swatch}{escape(name)} <b>{last:.4g}</b></li>"


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
