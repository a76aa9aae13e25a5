"""A filter that moves over an input of real numbers -> one drawing for each position, with its arithmetic."""

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ModelError
from .convolution import Numbers, Sliding, arithmetic, numbers
from .svg import Sheet
from .text import text_width

MARGIN, CELL, GAP, WORD_SIZE, TITLE_SIZE = 20, 24, 64, 13, 16
HEAD = 20  # pixels for the words above a grid
FOOT = 14  # and from a grid to the next one's words
BESIDE = 12  # between grids that stand side by side
WIDE_PAGE = 1180  # pixels of a sheet with several positions
COLOURS = ("conv", "depthwise", "pool", "norm", "dense")


class Cells(NamedTuple):
    """A grid to draw: its words, its numbers, its colour, and the square (row, column, side) with a frame."""

    words: str
    grid: Sequence[Sequence[int | None]]
    css_class: str
    name: str
    zeros: int = 0
    frame: tuple[int, int, int] | None = None

    @property
    def width(self) -> int:
        return len(self.grid[0]) * CELL

    @property
    def height(self) -> int:
        return HEAD + len(self.grid) * CELL + FOOT


Column = list[list[Cells]]  # rows of grids, from top to bottom


def frame(spec: Sliding, step: int) -> Sheet:
    """The drawing of position `step`, counted from 1, row by row; outputs of earlier positions are filled in.

    Raises ModelError for a step that does not exist.
    """
    if not 1 <= step <= spec.num_steps:
        raise ModelError(f"step is {step}, expected 1 to {spec.num_steps}")
    found, place = numbers(spec), divmod(step - 1, spec.positions)
    columns = [_inputs(spec, found, place), _filters(spec, found), _outputs(spec, found, place, step)]
    lines, costs = arithmetic(spec, found, place), _costs(spec)
    widths = [max(sum(c.width for c in row) + BESIDE * (len(row) - 1) for row in column) for column in columns]
    widths = [max(w, *(text_width(c.words, WORD_SIZE) for row in col for c in row), 0)
              for w, col in zip(widths, columns, strict=True)]  # fmt: skip
    tallest = max(_height(column) for column in columns)
    words = [text_width(line, WORD_SIZE) for line in (*lines, costs)] + [text_width(spec.title, TITLE_SIZE, bold=True)]
    top = MARGIN + 40
    sheet = Sheet(
        2 * MARGIN + max(sum(widths) + 2 * GAP, *words), top + tallest + 44 + 17 * len(lines),
        f"{spec.title}, position {step} of {spec.num_steps}", f"{'; '.join(lines)}. {costs}.",
    )  # fmt: skip
    sheet.text(MARGIN, MARGIN + 6, spec.title, "strong", size=TITLE_SIZE)
    sheet.text(MARGIN, MARGIN + 26, f"position {step} of {spec.num_steps}", "faint", size=WORD_SIZE)
    x = MARGIN
    for column, width, sign in zip(columns, widths, ("*", "=", ""), strict=True):
        _draw_column(sheet, column, x, top + (tallest - _height(column)) // 2)
        x += width + GAP
        if sign:
            sheet.text(x - GAP // 2, top + tallest // 2 + 8, sign, "strong", size=22, anchor="middle")
    y = sheet.lines(MARGIN, top + tallest + 14, lines, "mono", size=WORD_SIZE)
    sheet.text(MARGIN, y + 6, costs, "faint", size=WORD_SIZE)
    return sheet


def frames(spec: Sliding) -> list[Sheet]:
    """A drawing for each position."""
    return [frame(spec, step) for step in range(1, spec.num_steps + 1)]


def film(spec: Sliding, steps: Sequence[int] = ()) -> Sheet:
    """Several positions on one sheet, for paper; by default the first, the last and, of small ones, two between."""
    last = spec.num_steps
    tall = spec.channels > 1
    wanted = list(steps) or sorted({1, last} if tall else {1, min(2, last), min(spec.positions + 1, last), last})
    pictures = [frame(spec, step) for step in wanted]
    width, height = max(picture.width for picture in pictures), pictures[0].height
    columns = min(len(pictures), max(1, WIDE_PAGE // width))
    rows = -(-len(pictures) // columns)
    words = [f"Position {step}: {picture.description}" for step, picture in zip(wanted, pictures, strict=True)]
    sheet = Sheet(columns * width, rows * height, spec.title, " ".join(words))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    return sheet


def _costs(spec: Sliding) -> str:
    side, cost = spec.positions, spec.cost
    return (
        f"{spec.size}x{spec.size}x{spec.channels} becomes {side}x{side}x{spec.filters}: {cost.parameters:,} "
        f"weight{'s' * (cost.parameters != 1)}, {cost.multiplications:,} multiplications"
    )


def _inputs(spec: Sliding, found: Numbers, place: tuple[int, int]) -> Column:
    window = (place[0] * spec.stride, place[1] * spec.stride, spec.kernel_size)
    if spec.channels == 1:
        return [[Cells("input", found.inputs[0], "data", "input", spec.zeros, window)]]
    return [
        [Cells(f"channel {i + 1}", grid, COLOURS[i], f"channel {i + 1}", spec.zeros, window)]
        for i, grid in enumerate(found.inputs)
    ]


def _filters(spec: Sliding, found: Numbers) -> Column:
    """Depthwise: a filter below the other. Pointwise: a row of weights for each. Normal: a column of grids for each."""
    many = spec.filters > 1
    if spec.depthwise:
        return [[Cells(f"filter {i + 1}" if many else "filter", slots[0], "marked", f"filter {i + 1}")]
                for i, slots in enumerate(found.weights)]  # fmt: skip
    if spec.kernel_size == 1:
        return [
            [Cells(f"filter {i + 1}" if many else "filter", [[slot[0][0] for slot in slots]], "marked", f"filter {i}")]
            for i, slots in enumerate(found.weights)
        ]
    rows: Column = []
    for channel in range(spec.channels):
        row = []
        for i, slots in enumerate(found.weights):
            words = f"filter {i + 1}" if many else "filter" if spec.channels == 1 else f"filter, channel {channel + 1}"
            row.append(Cells(words, slots[channel], "marked", f"filter {i + 1}, channel {channel + 1}"))
        rows.append(row)
    return rows


def _outputs(spec: Sliding, found: Numbers, place: tuple[int, int], step: int) -> Column:
    side, many = spec.positions, spec.filters > 1
    rows: Column = []
    for i, grid in enumerate(found.outputs):
        done = [[value if r * side + c < step else None for c, value in enumerate(row)] for r, row in enumerate(grid)]
        css_class = COLOURS[i] if spec.depthwise and many else "data"
        rows.append(
            [Cells(f"output {i + 1}" if many else "output", done, css_class, f"output {i + 1}", 0, (*place, 1))]
        )
    return rows


def _height(column: Column) -> int:
    return sum(max(cells.height for cells in row) for row in column)


def _draw_column(sheet: Sheet, column: Column, x: int, y: int) -> None:
    for row in column:
        left = x
        for cells in row:
            sheet.text(left, y + 14, cells.words, "faint", size=WORD_SIZE)
            _draw_cells(sheet, cells, left, y + HEAD)
            left += cells.width + BESIDE
        y += max(cells.height for cells in row)


def _draw_cells(sheet: Sheet, cells: Cells, x: int, y: int) -> None:
    """A box of cells with their numbers; the rim of padding has no lines, and faint zeros."""
    rows, columns, zeros = len(cells.grid), len(cells.grid[0]), cells.zeros
    width, height, rim = columns * CELL, rows * CELL, zeros * CELL
    sheet.rect(x, y, width, height, f"{cells.css_class}{' dotted' * bool(zeros)}", name=cells.name, corner=0)
    across, down = range(zeros + 1, columns - zeros), range(zeros + 1, rows - zeros)
    lines = [f"M {x + i * CELL} {y + rim} L {x + i * CELL} {y + height - rim}" for i in across]
    lines += [f"M {x + rim} {y + i * CELL} L {x + width - rim} {y + i * CELL}" for i in down]
    if lines:
        sheet.path(" ".join(lines), "line thin")
    if zeros:
        sheet.rect(x + rim, y + rim, width - 2 * rim, height - 2 * rim, f"{cells.css_class} clear", corner=0)
    if cells.frame:
        row, column, side = cells.frame
        sheet.rect(x + column * CELL, y + row * CELL, side * CELL, side * CELL, "edge clear thick", corner=0)
    for i, values in enumerate(cells.grid):
        for j, value in enumerate(values):
            if value is not None:
                inside = zeros <= i < rows - zeros and zeros <= j < columns - zeros
                size = WORD_SIZE if len(f"{value}") < 3 else 11
                where = (x + j * CELL + CELL // 2, y + i * CELL + 17)
                sheet.text(*where, f"{value}", "" if inside else "faint", size=size, anchor="middle")
