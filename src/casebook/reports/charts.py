"""Numbers -> inline SVG, drawn once in Python: readable without scripts, in print and in both colour schemes.

Colours come from the page's style sheet through classes. Values appear under the pointer by `:hover` alone:
every chart carries an invisible column for each place on its x axis, with the text to show.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from ..formatting import percent_text, short

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 40, 30
MOST_PLACES = 240  # hover columns of one chart


class Line(NamedTuple):
    """One curve: what the legend calls it, its style class ("training", "validation"), and one value per place."""

    name: str
    style: str
    values: Sequence[float | None]


class Phase(NamedTuple):
    """A stretch of the x axis that starts at a place (counted from 0)."""

    start: int
    name: str


def line_chart(
    label: str, lines: Sequence[Line], places: Sequence[str], phases: Sequence[Phase] = (), *, percent: bool = False
) -> str:
    """An SVG of curves over common places ("epoch 3"); values that are None or no numbers leave a gap."""
    lines = [Line(line.name, line.style, [_finite(v) for v in line.values]) for line in lines]
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return ""
    low = min(known) if percent else min(0.0, *known)
    ticks = nice_ticks(low, min(1.0, max(known)) if percent else max(known))
    bottom, top = ticks[0], ticks[-1]
    num = len(places)

    def x(place: float) -> float:
        share = place / (num - 1) if num > 1 else 0.5
        return LEFT + 6 + share * (WIDTH - LEFT - RIGHT - 12)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [_open(label, HEIGHT)]
    for tick in ticks:
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{_tick(tick, ticks[1] - ticks[0], percent)}</text>"
        )
    for place in place_ticks(num):
        parts.append(
            f'<text class="tick" x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{place + 1}</text>'
        )
    for phase in phases:
        if phase.start:
            edge = x(phase.start - 0.5)
            parts.append(f'<path class="edge" d="M{edge:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        if len(phases) > 1:
            parts.append(
                f'<text class="tick" x="{x(phase.start - 0.5) + 4 if phase.start else LEFT:.1f}" y="{TOP - 6}">'
                f"{escape(phase.name)}</text>"
            )
    for line in lines:
        parts.append(f'<path class="line {line.style}" d="{_path(line.values, x, y)}"/>')
        # A point with gaps on both sides makes no stroke.
        for place, value in enumerate(line.values):
            alone = not any(0 <= near < num and line.values[near] is not None for near in (place - 1, place + 1))
            if value is not None and alone:
                parts.append(f'<circle class="dot {line.style}" cx="{x(place):.1f}" cy="{y(value):.1f}" r="3"/>')
    if len(lines) > 1:
        parts.append(_legend([(line.style, line.name) for line in lines]))
    step = math.ceil(num / MOST_PLACES)
    half = (x(step) - x(0)) / 2 if num > 1 else (WIDTH - LEFT - RIGHT) / 2
    for place in range(0, num, step):
        shown = [(line.style, line.values[place]) for line in lines]
        readings = [(s, "–" if v is None else percent_text(v) if percent else short(v)) for s, v in shown]
        dots = "".join(
            f'<circle class="dot {style}" cx="{x(place):.1f}" cy="{y(v):.1f}" r="3.5"/>'
            for style, v in shown
            if v is not None
        )
        left, right = max(x(place) - half, LEFT), min(x(place) + half, WIDTH - RIGHT)
        parts.append(
            f'<g class="at"><rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/><g class="shown"><path class="rule" '
            f'd="M{x(place):.1f} {TOP}V{HEIGHT - BOTTOM}"/>{dots}{_reading(readings, places[place])}</g></g>'
        )
    parts.append("</svg>")
    return "".join(parts)


def reliability_chart(bins: Sequence[dict[str, Any]]) -> str:
    """An SVG of accuracy against confidence with 95 % intervals, over the number of pictures in each bin."""
    side, strip = WIDTH - LEFT - RIGHT, 44
    base = TOP + 230
    height = base + strip + BOTTOM + 24
    floor = height - BOTTOM - 16

    def x(value: float) -> float:
        return LEFT + value * side

    def y(value: float) -> float:
        return base - value * (base - TOP)

    parts = [_open("Accuracy against confidence", height)]
    for tick, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        name = _tick(tick, 0.25, percent=True)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{name}</text>'
            f'<text class="tick" x="{x(tick):.1f}" y="{floor + 18}" text-anchor="{anchor}">{name}</text>'
        )
    most = max(entry["n"] for entry in bins)
    for entry in bins:
        left, width = x(entry["low"]) + 1, (entry["high"] - entry["low"]) * side - 2
        tall = max(1.0, entry["n"] / most * strip)
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{y(entry["accuracy"]):.1f}" width="{width:.1f}" '
            f'height="{base - y(entry["accuracy"]):.1f}"/>'
            f'<rect class="count" x="{left:.1f}" y="{floor - tall:.1f}" width="{width:.1f}" '
            f'height="{tall:.1f}"/>'
        )
    parts.append(f'<path class="ideal" d="M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}"/>')
    for entry in bins:
        centre = x(entry["confidence"])
        low, high = entry["accuracy_interval"]
        parts.append(
            f'<path class="whisker" d="M{centre:.1f} {y(low):.1f}V{y(high):.1f}"/>'
            f'<circle class="dot validation" cx="{centre:.1f}" cy="{y(entry["accuracy"]):.1f}" r="3.5"/>'
        )
    parts.append(
        f'<text class="tick" x="{LEFT + side / 2:.0f}" y="{floor + 36}" text-anchor="middle">'
        "probability of the predicted class</text>"
    )
    parts.append(_legend([("validation", "accuracy, 95 % interval"), ("ideal", "calibrated")]))
    for entry in bins:
        reading = f"{percent_text(entry['accuracy'])} right of {entry['n']:,}"
        width = (entry["high"] - entry["low"]) * side
        parts.append(
            f'<g class="at"><rect x="{x(entry["low"]):.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{floor - TOP}"/><g class="shown">'
            + _reading([("validation", reading)], f"confidence {percent_text(entry['confidence'])}")
            + "</g></g>"
        )
    parts.append("</svg>")
    return "".join(parts)


def interval_bar(value: float | None, interval: Sequence[float] | None, start: float = 0.0) -> str:
    """A small SVG: the interval as a band and the value as a mark on an axis from `start` to 1."""
    if value is None or interval is None:
        return ""

    def x(share: float) -> float:
        return 2 + 96 * (max(share, start) - start) / (1 - start)

    low, high = x(interval[0]), x(interval[1])
    return (
        '<svg class="interval" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="axis" d="M2 4H98"/>'
        f'<rect class="band" x="{low:.1f}" y="1" width="{max(1.0, high - low):.1f}" height="6"/>'
        f'<rect class="mark" x="{x(value) - 0.75:.1f}" y="0" width="1.5" height="8"/></svg>'
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Two to `most` round numbers at equal distances that enclose [low, high]."""
    if high <= low:
        pad = abs(high) * 0.05 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / (most - 1)
    scale = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50):
        step = factor * scale
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if step >= rough * (1 - 1e-9) and last - first < most:
            return [tick * step for tick in range(first, last + 1)]
    return [low, high]


def place_ticks(num: int, most: int = 6) -> list[int]:
    """Places (from 0) to number on an axis of `num`: 1 and round numbers, at most about `most`."""
    if num <= most:
        return list(range(num))
    step = next(s for e in range(9) for f in (1, 2, 5) if num / (s := f * 10**e) <= most)
    return [0, *(place - 1 for place in range(step, num + 1, step) if place > 1 and place - 1 >= step / 2)]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _tick(value: float, step: float, percent: bool = False) -> str:
    """The value of a tick with the decimals that the distance of the ticks needs."""
    if percent:
        return f"{100 * value:.{_decimals(100 * step)}f}\u00a0%"
    return f"{value:.{_decimals(step)}f}" if 1e-3 <= step < 1e4 else f"{value:.2g}"


def _decimals(step: float) -> int:
    return len(f"{step:.6f}".rstrip("0").partition(".")[2])


def _path(values: Sequence[float | None], x: Any, y: Any) -> str:
    steps, pen_down = [], False
    for place, value in enumerate(values):
        if value is not None:
            steps.append(f"{'L' if pen_down else 'M'}{x(place):.1f} {y(value):.1f}")
        pen_down = value is not None
    return "".join(steps)


def _open(label: str, height: float) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}">'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    return f'<g class="legend">{_row(entries)}</g>'


def _reading(entries: Sequence[tuple[str, str]], place: str) -> str:
    return _row(entries) + f'<text class="place" x="{WIDTH - RIGHT}" y="16" text-anchor="end">{escape(place)}</text>'


def _row(entries: Sequence[tuple[str, str]]) -> str:
    parts, left = [], float(LEFT)
    for style, text in entries:
        parts.append(
            f'<path class="key {style}" d="M{left:.0f} 12h12"/><text x="{left + 17:.0f}" y="16">{escape(text)}</text>'
        )
        left += 30 + 6.4 * len(text)  # about the width of the text at 12 units
    return "".join(parts)
