"""Numbers -> inline SVG that needs no script, prints, and follows the page's colour scheme.

Colours come from the page's style sheet through classes. Values appear under the pointer by `:hover` alone: each
chart has an invisible column for each place on its x axis, with the text to show.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from ..formatting import percent_text, short

WIDTH, HEIGHT = 360, 236
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 42, 44
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


class Axis(NamedTuple):
    """The y axis. With `num_pictures`, values are shares of so many pictures, and the chart shows what one is worth.

    `below` is the title of the x axis.
    """

    title: str
    percent: bool = False
    num_pictures: int = 0
    below: str = "epoch"

    @property
    def least_span(self) -> float:
        """What the axis spans at least: ten pictures and two points, so that one picture makes no zigzag."""
        if not self.percent:
            return 0.0
        return min(1.0, max(0.02, 10 / self.num_pictures if self.num_pictures else 0.0))


def line_chart(
    label: str,
    lines: Sequence[Line],
    places: Sequence[str],
    axis: Axis,
    phases: Sequence[Phase] = (),
    *,
    marked: int | None = None,
) -> Markup:
    """An SVG of curves over common places ("epoch 3"), or nothing when no value is a number.

    Values that are None or not finite leave a gap. The place `marked` is that of the weights that were kept.
    """
    lines = [Line(line.name, line.style, [_finite(v) for v in line.values]) for line in lines]
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return Markup()
    ticks = _y_ticks(known, axis)
    bottom, top = ticks[0], ticks[-1]
    num = len(places)

    def x(place: float) -> float:
        share = place / (num - 1) if num > 1 else 0.5
        return LEFT + 6 + share * (WIDTH - LEFT - RIGHT - 12)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [_open(label, HEIGHT), _axis_titles(axis.below, axis.title, HEIGHT)]
    for tick in ticks:
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{_tick(tick, ticks[1] - ticks[0], axis.percent)}</text>"
        )
    for place in place_ticks(num):
        parts.append(
            f'<text class="tick" x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{place + 1}</text>'
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
    legend = [(line.style, line.name) for line in lines]
    if marked is not None:
        kept = [line.values[marked] for line in lines if line.style == "validation"]
        parts += [f'<circle class="ring" cx="{x(marked):.1f}" cy="{y(v):.1f}" r="5"/>' for v in kept if v is not None]
        legend.append(("ring", "weights kept"))
    one_picture = y(bottom) - y(bottom + 1 / axis.num_pictures) if axis.num_pictures else 0.0
    if one_picture >= 3:
        legend.append((f"span:{one_picture:.1f}", "one picture"))
    parts.append(_legend(legend))
    step = math.ceil(num / MOST_PLACES)
    half = (x(step) - x(0)) / 2 if num > 1 else (WIDTH - LEFT - RIGHT) / 2
    for place in range(0, num, step):
        shown = [(line.style, line.values[place]) for line in lines]
        readings = [(s, "–" if v is None else percent_text(v) if axis.percent else short(v)) for s, v in shown]
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
    return Markup("".join(parts))


def _y_ticks(known: Sequence[float], axis: Axis) -> list[float]:
    if not axis.percent:
        return nice_ticks(min(0.0, *known), max(known))
    low, high = min(known), min(1.0, max(known))
    missing = axis.least_span - (high - low)
    if missing > 0:
        # The curve keeps its place between the ends of the axis, as far as 0 % and 100 % allow.
        low = max(0.0, min(low - missing / 2, 1.0 - axis.least_span))
        high = min(1.0, low + axis.least_span)
    return nice_ticks(low, high)


def reliability_chart(bins: Sequence[dict[str, Any]]) -> Markup:
    """An SVG of accuracy against confidence with 95 % intervals, above the number of predictions in each bin."""
    side, strip = WIDTH - LEFT - RIGHT, 44
    base = TOP + 230
    floor = base + strip + 8
    height = floor + 46

    def x(value: float) -> float:
        return LEFT + value * side

    def y(value: float) -> float:
        return base - value * (base - TOP)

    parts = [_open("Accuracy against confidence", height)]
    parts.append(_axis_titles("probability of the predicted class", "share that is right", height, (TOP, base)))
    parts.append(
        f'<text class="tick" x="{LEFT - 6}" y="{floor - 12}" text-anchor="end">predic-'
        f'<tspan x="{LEFT - 6}" dy="12">tions</tspan></text>'
    )
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
    parts.append(_legend([("validation", "share right, 95 % interval"), ("ideal", "calibrated")]))
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
    return Markup("".join(parts))


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


def _axis_titles(below: str, left: str, height: float, span: tuple[float, float] | None = None) -> str:
    """The titles of both axes; `span` is where the y axis lies."""
    low, high = span or (TOP, height - BOTTOM)
    middle = (low + high) / 2
    return (
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{height - 8:.0f}" text-anchor="middle">'
        f"{escape(below)}</text>"
        f'<text class="axis" x="12" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 12 {middle:.0f})">'
        f"{escape(left)}</text>"
    )


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    return f'<g class="legend">{_row(entries)}</g>'


def _reading(entries: Sequence[tuple[str, str]], place: str) -> str:
    return _row(entries) + f'<text class="place" x="{WIDTH - RIGHT}" y="16" text-anchor="end">{escape(place)}</text>'


def _row(entries: Sequence[tuple[str, str]]) -> str:
    """Keys and their texts from left to right. A style is a class, "ring", or "span:HEIGHT" for a bracket."""
    parts, left = [], float(LEFT)
    for style, text in entries:
        kind, _, height = style.partition(":")
        if kind == "ring":
            key = f'<circle class="ring" cx="{left + 6:.0f}" cy="12" r="5"/>'
        elif kind == "span":
            reach = float(height) / 2
            key = f'<path class="span" d="M{left + 3:.0f} {12 - reach:.1f}h6m-3 0V{12 + reach:.1f}m-3 0h6"/>'
        else:
            key = f'<path class="key {style}" d="M{left:.0f} 12h12"/>'
        parts.append(f'{key}<text x="{left + 17:.0f}" y="16">{escape(text)}</text>')
        left += 30 + 6.0 * len(text)  # about the width of the text at 12 units
    return "".join(parts)
