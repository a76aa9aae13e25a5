"""A chain of layers -> its feature maps as boxes of height, width and channels, with the filter between them.

Sides and channels are on a log scale, so that 227 pixels and 6 both can be seen.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from math import log2
from typing import NamedTuple

from .svg import Sheet
from .text import text_width

PAGE_WIDTH, MARGIN = 980, 20
NAME_SIZE, WORD_SIZE = 18, 13
GAP_EDGE = 8  # pixels between a label and the boxes beside it
VECTOR_WIDTH = 16
ROW_GAP = 24
LINE = 17  # pixels from one line of words to the next


class Map(NamedTuple):
    """A feature map, (channels, height, width) or (features,), and the layer that makes it from the one before.

    `kind` is "conv", "depthwise", "pool", "dense", "merge" or, for the input, "data". `kernel_size` is that of the
    layer's window; `words` and `counts` are the lines above and below the arrow. `key` is that of the layer's fact, for
    a page on which the map can be chosen, and `sentence` the fact in words.
    """

    shape: tuple[int, ...]
    kind: str = "data"
    kernel_size: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    key: int | None = None
    sentence: str = ""

    @property
    def label(self) -> str:
        channels, *sides = self.shape
        return "x".join(map(str, (*sides, channels))) if sides else f"{channels:,}"


class Solid(NamedTuple):
    """The sizes in pixels of a map's box: its channels run to the right, its width to the back."""

    thickness: int
    height: int
    back: int  # how far the back edge lies to the right
    up: int  # and above

    @property
    def width(self) -> int:
        return self.thickness + self.back

    @property
    def total_height(self) -> int:
        return self.height + self.up


def volumes(name: str, maps: Sequence[Map], remarks: Sequence[str] = ()) -> Sheet:
    """The drawing; the first map is the input. `remarks` are lines below the name, such as the sums of the counts."""
    rows = _rows(maps)
    top = MARGIN + NAME_SIZE + 12 + 18 * len(remarks)
    axes: list[int] = []
    for row in rows:
        above, below = _extent([maps[number] for number in row])
        axes.append(top + above)
        top += above + below + ROW_GAP
    described = f"From left to right, and in {len(rows)} rows" if len(rows) > 1 else "From left to right"
    steps = "; ".join(f"{' '.join(one.words)} gives {one.label}" if one.words else one.label for one in maps)
    width = 2 * MARGIN + max(sum(_needed(maps, number) for number in row) for row in rows)
    width = PAGE_WIDTH if len(rows) > 1 else width
    sheet = Sheet(width, top + MARGIN, f"{name} as volumes", f"{described}, height x width x channels: {steps}.")
    sheet.text(MARGIN, MARGIN + NAME_SIZE - 4, name, "strong", size=NAME_SIZE)
    sheet.lines(MARGIN, MARGIN + NAME_SIZE + 16, remarks, "faint", size=WORD_SIZE)
    for place, (row, axis) in enumerate(zip(rows, axes, strict=True)):
        _draw_row(sheet, [maps[number] for number in row], axis, place < len(rows) - 1)
    words = "Sides and channels on a log scale. The patch on a face is the window of the next layer."
    sheet.text(MARGIN, sheet.height - MARGIN + 4, words, "faint", size=12)
    return sheet.widen(MARGIN)


def solid(shape: tuple[int, ...]) -> Solid:
    """The box of a map; a vector is a plain bar."""
    channels, *sides = shape
    if not sides:
        return Solid(VECTOR_WIDTH, _side(channels), 0, 0)
    height, width = sides
    return Solid(round(5 * log2(channels)) + 6, _side(height), round(0.34 * _side(width)), round(0.24 * _side(width)))


def _side(pixels: int) -> int:
    return round(11 * log2(pixels)) + 10


def _gap(one: Map) -> int:
    """The width of the arrow to this map, with its words."""
    widest = max((text_width(word, WORD_SIZE) for word in (*one.words, *one.counts)), default=0)
    return max(44, widest + 2 * GAP_EDGE)


def _place_width(one: Map) -> int:
    return max(solid(one.shape).width, text_width(one.label, WORD_SIZE, bold=True) + 4)


def _needed(maps: Sequence[Map], number: int) -> int:
    """The width of a map with the arrow that leads to it; the input has none."""
    return (_gap(maps[number]) if number else 0) + _place_width(maps[number])


def _rows(maps: Sequence[Map]) -> list[list[int]]:
    """The maps of each row, filled from the left; a new row begins with its arrow."""
    rows: list[list[int]] = [[]]
    used = 0
    for number in range(len(maps)):
        needed = _needed(maps, number)
        if rows[-1] and used + needed > PAGE_WIDTH - 2 * MARGIN - 30:  # room for the arrow that leads on
            rows.append([])
            used = 0
        rows[-1].append(number)
        used += needed
    return rows


def _extent(maps: Sequence[Map]) -> tuple[int, int]:
    """How far a row reaches above and below its axis: boxes with their labels, and the words of the arrows."""
    above, below, before = 0, 0, None
    for one in maps:
        half, reach = solid(one.shape).total_height // 2, 12
        if before is not None and one.kernel_size is not None and len(before.shape) == 3:
            window = min(_side(max(one.kernel_size)), solid(before.shape).height)
            reach = window // 2 + solid(before.shape).up // 2 + 1
        above = max(above, half, reach + 6 + LINE * len(one.words))
        below = max(below, half + 24, reach + 4 + LINE * len(one.counts))
        before = one
    return above, below


def _draw_row(sheet: Sheet, maps: Sequence[Map], axis: int, leads_on: bool) -> None:
    x, before = MARGIN, None
    for one in maps:
        shape, width, gap = solid(one.shape), _place_width(one), _gap(one) if one.words else 0
        left = x + gap + (width - shape.width) // 2
        if one.words:
            _draw_step(sheet, one, (before, (x, left), axis))
        top = axis - shape.total_height // 2
        bottom = top + shape.total_height + 18
        attributes = {} if one.key is None else {"data-box": f"{one.key}"}
        with sheet.group("box", tooltip=one.sentence, attributes=attributes) if attributes else nullcontext():
            _draw_solid(sheet, one, left, top)
            sheet.text(x + gap + width // 2, bottom, one.label, "strong", size=WORD_SIZE, anchor="middle")
        before = one, left, top
        x += gap + width
    if leads_on and before is not None:
        sheet.arrow(before[1] + solid(before[0].shape).width + 6, axis, x + 26, axis)


def _draw_solid(sheet: Sheet, one: Map, left: int, top: int) -> None:
    """The three visible faces; each map has the colour of the layer that made it."""
    thickness, height, back, up = solid(one.shape)
    right, front, bottom = left + thickness, top + up, top + up + height
    if not up:
        sheet.rect(left, top, thickness, height, one.kind, name=f"map {one.label}", corner=0)
        return
    outline = (
        f"M {left} {front} L {left + back} {top} L {right + back} {top} L {right + back} {bottom - up} "
        f"L {right} {bottom} L {left} {bottom} Z"
    )
    sheet.path(outline, one.kind, name=f"map {one.label}")
    sheet.path(f"M {left} {front} L {right} {front} L {right} {bottom} M {right} {front} L {right + back} {top}",
               f"{one.kind} clear")  # fmt: skip


def _draw_step(sheet: Sheet, one: Map, where: tuple[tuple[Map, int, int] | None, tuple[int, int], int]) -> None:
    """The window on the map before, its rays, and the words of the layer; the first map of a row has an arrow."""
    before, (start, end), axis = where
    reach = 12
    if before is not None and one.kernel_size is not None and len(before[0].shape) == 3:
        reach = _draw_window(sheet, one, before, (end, axis))
    else:
        sheet.arrow(start + 4 if before is None else start, axis, end - 3, axis)
    middle = start + _gap(one) // 2
    sheet.lines(middle, axis - reach - 6 - LINE * (len(one.words) - 1), one.words, size=WORD_SIZE, anchor="middle")
    sheet.lines(middle, axis + reach + 16, one.counts, "faint", size=WORD_SIZE, anchor="middle")


def _draw_window(sheet: Sheet, one: Map, before: tuple[Map, int, int], target: tuple[int, int]) -> int:
    """The layer's window as a patch on the right face of the map before, with rays to one output; its reach."""
    source, left, top = before
    assert one.kernel_size is not None
    thickness, height, back, up = solid(source.shape)
    high = min(_side(one.kernel_size[0]), height)
    share = min(_side(one.kernel_size[1]) / _side(source.shape[2]), 1.0)
    deep, rise = round(back * share), round(up * share)
    x, y = left + thickness + (back - deep) // 2, top + up + (height - high) // 2 - (up - rise) // 2
    far = x + deep
    patch = f"M {x} {y} L {far} {y - rise} L {far} {y - rise + high} L {x} {y + high} Z"
    sheet.path(patch, "marked")
    tip = (target[0] - 3, target[1])
    for corner in ((far, y - rise), (far, y - rise + high)):
        sheet.line(*corner, *tip, "line thin")
    sheet.head(*tip, (1, 0))
    return max(target[1] - (y - rise), y - rise + high - target[1])
