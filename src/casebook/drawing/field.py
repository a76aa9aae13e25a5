"""Stacked windows -> which part of the input one output sees, beside one large window that sees as much.

The claim is that of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
2015, section 2.3, https://arxiv.org/abs/1409.1556: three 3x3 see what one 7x7 sees, with fewer weights.
"""

from collections.abc import Sequence

from ..cost.formulas import conv2d, receptive_field
from ..errors import ModelError
from .svg import Sheet

MARGIN, GAP, WORD_SIZE = 24, 84, 14
MOST_CELLS = 40
ROOM = 210  # pixels of the largest grid's side, about


def field(windows: Sequence[tuple[int, int]] = ((3, 1), (3, 1), (3, 1)), channels: int = 64) -> Sheet:
    """The drawing of layers (kernel size, stride) from the input on, each with `channels` in and out.

    Raises ModelError for a number below 1, and for a field of more than 40 pixels, which has no room.
    """
    size, jump = receptive_field(windows)
    if size > MOST_CELLS:
        raise ModelError(f"one output sees {size}x{size} pixels, at most {MOST_CELLS} are drawn; leave out some layers")
    sides = _sides(windows)
    cell = max(6, min(28, ROOM // size))
    weights = [conv2d(channels, channels, kernel, 1, bias=False).parameters for kernel, _ in windows]
    single = conv2d(channels, channels, size, 1, bias=False).parameters
    names = " then ".join(
        f"{kernel}x{kernel}" + (f" stride {stride}" if stride > 1 else "") for kernel, stride in windows
    )
    sheet = Sheet(
        max(MARGIN * 2 + cell * sum(sides) + GAP * len(windows) + 200, 780),
        2 * (cell * size) + 254,
        f"What one output of {names} sees",
        f"One output of {len(windows)} layers, {names}, sees {size}x{size} pixels of the input, as one {size}x{size} "
        f"window does. With {channels} channels in and out the layers have {sum(weights):,} weights, the window "
        f"{single:,}.",
    )
    top = MARGIN + 30
    sheet.text(MARGIN, top - 16, f"{len(windows)} layers: {names}", "strong", size=16)
    right = _draw_row(sheet, sides, windows, (top, cell))
    middle = top + cell * size // 2
    parts = " + ".join(f"{kernel}x{kernel}" for kernel, _ in windows)
    each = f"({parts}) x {channels} x {channels}"
    sheet.lines(right + 20, middle - 14, ["one output sees", f"{size}x{size} pixels"], size=WORD_SIZE)
    sheet.text(MARGIN, top + cell * size + 42, f"{each} = {sum(weights):,} weights, without biases", size=WORD_SIZE)
    top += cell * size + 92
    sheet.text(MARGIN, top - 16, f"1 layer: {size}x{size}" + (f" stride {jump}" if jump > 1 else ""), "strong", size=16)
    right = _draw_row(sheet, [size, 1], [(size, jump)], (top, cell))
    middle = top + cell * size // 2
    sheet.lines(right + 20, middle - 14, ["one output sees", f"{size}x{size} pixels"], size=WORD_SIZE)
    line = f"{size}x{size} x {channels} x {channels} = {single:,} weights, without biases"
    sheet.text(MARGIN, top + cell * size + 42, line, size=WORD_SIZE)
    share = f"The stacked layers have {100 * sum(weights) / single:.1f} % of these weights"
    extra = f", and {len(windows)} non-linear activations in place of one." if len(windows) > 1 else "."
    sheet.text(MARGIN, top + cell * size + 66, share + extra, "strong", size=WORD_SIZE)
    return sheet.widen(MARGIN)


def _sides(windows: Sequence[tuple[int, int]]) -> list[int]:
    """The side of the region that one output depends on, from the input to the output itself."""
    sides = [1]
    for kernel, stride in reversed(windows):
        sides.append((sides[-1] - 1) * stride + kernel)
    return sides[::-1]


def _draw_row(sheet: Sheet, sides: Sequence[int], windows: Sequence[tuple[int, int]], where: tuple[int, int]) -> int:
    """The regions from left to right, with a window on each and its rays; gives the right edge."""
    top, cell = where
    x, tallest = MARGIN, cell * sides[0]
    for number, side in enumerate(sides):
        y = top + (tallest - cell * side) // 2
        end = x + cell * side
        name = "input" if number == 0 else "output" if number == len(sides) - 1 else f"after layer {number}"
        sheet.rect(x, y, cell * side, cell * side, "data" if number == 0 else "conv", name=f"{name} {side}x{side}",
                   corner=0)  # fmt: skip
        lines = [f"M {x + cell * i} {y} L {x + cell * i} {y + cell * side}" for i in range(1, side)]
        lines += [f"M {x} {y + cell * i} L {end} {y + cell * i}" for i in range(1, side)]
        if lines:
            sheet.path(" ".join(lines), "line thin")
        sheet.text((x + end) // 2, y + cell * side + 16, f"{side}x{side}", "faint", size=WORD_SIZE, anchor="middle")
        if number < len(windows):
            kernel = windows[number][0] * cell
            next_x = end + GAP
            next_y = top + (tallest - cell * sides[number + 1]) // 2
            sheet.rect(x, y, kernel, kernel, "marked soft", corner=0)
            for dy, ty in ((0, 0), (kernel, cell)):
                sheet.line(x + kernel, y + dy, next_x, next_y + ty, "line thin")
        x = end + GAP
    return x - GAP
