"""Pieces of a drawing and how they fit together: one below the other, side by side, in columns and on pages.

A piece is a width, a height, the x of the line that runs through it, and shapes at whole coordinates from its own upper
left corner. Nothing here knows networks or SVG; `paint` draws a piece on a sheet.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .svg import Anchor, Sheet
from .text import text_width

Point = tuple[int, int]
SMALL, NORMAL = 11, 13  # sizes of type
GAP = 16  # between two boxes in a series, for the arrow
BRANCH_GAP = 18  # between branches
RAIL = 18  # above and below branches, where their lines run across
LINE = 16  # height of a line of text


class Box(NamedTuple):
    """A box with lines of words; `key` is the number of the call whose facts it shows, or -1."""

    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...]
    css_class: str
    key: int = -1
    round: bool = False
    small: bool = False


class Wire(NamedTuple):
    """A line through points; `head` puts an arrowhead at its end."""

    points: tuple[Point, ...]
    head: bool = False
    css_class: str = "line"


class Words(NamedTuple):
    """A line of words on the baseline y."""

    x: int
    y: int
    text: str
    css_class: str = ""
    size: int = SMALL
    anchor: Anchor = "start"


class Frame(NamedTuple):
    """A dashed frame around what repeats."""

    x: int
    y: int
    width: int
    height: int


Shape = Box | Wire | Words | Frame


class Piece(NamedTuple):
    """What is drawn; the line enters at (spine, 0) and leaves at (spine, height)."""

    width: int
    height: int
    spine: int
    shapes: tuple[Shape, ...] = ()


def moved(shapes: Sequence[Shape], dx: int, dy: int) -> list[Shape]:
    """The shapes at another place."""
    return [
        shape._replace(points=tuple((x + dx, y + dy) for x, y in shape.points))
        if isinstance(shape, Wire)
        else shape._replace(x=shape.x + dx, y=shape.y + dy)
        for shape in shapes
    ]


def begins_with_line(piece: Piece) -> bool:
    """Whether the piece goes on with the line that enters it, so that this needs no arrowhead."""
    return any(isinstance(shape, Wire) and shape.points[0] == (piece.spine, 0) for shape in piece.shapes)


def box(lines: Sequence[str], css_class: str, key: int = -1, width: int = 0) -> Piece:
    """A box that is as wide as its words or wider; the first line is larger than the others."""
    wide = max(width, box_width(lines))
    height = 12 + LINE * len(lines)
    return Piece(wide, height, wide // 2, (Box(0, 0, wide, height, tuple(lines), css_class, key),))


def box_width(lines: Sequence[str]) -> int:
    sizes = [NORMAL, *[SMALL] * (len(lines) - 1)]
    widest = max((text_width(text, size) for text, size in zip(lines, sizes, strict=True)), default=0)
    return widest + 16 + widest % 2


def stack(pieces: Sequence[Piece], gap: int = GAP) -> Piece:
    """One below the other, with an arrow from each to the next."""
    if not pieces:
        return Piece(2, 0, 1)
    spine = max(piece.spine for piece in pieces)
    width = spine + max(piece.width - piece.spine for piece in pieces)
    shapes: list[Shape] = []
    y = 0
    for place, piece in enumerate(pieces):
        if place:
            shapes.append(Wire(((spine, y - gap), (spine, y)), head=not begins_with_line(piece)))
        shapes += moved(piece.shapes, spine - piece.spine, y)
        y += piece.height + gap
    return Piece(width, y - gap, spine, tuple(shapes))


def beside(branches: Sequence[Piece], dashed: Sequence[bool], join: Piece) -> Piece:
    """Side by side below one line, and joined again; an empty piece is a plain line. The line runs in the middle."""
    rail, tallest = RAIL, max(piece.height for piece in branches)
    places = []
    x = 0
    for piece in branches:
        places.append((x, x + (piece.spine if piece.shapes else 14)))
        x += (piece.width if piece.shapes else 28) + BRANCH_GAP
    width, middle = x - BRANCH_GAP, (places[0][1] + places[-1][1]) // 2
    bottom = 3 * rail + tallest
    shapes: list[Shape] = [Wire(((middle, 0), (middle, rail)))]
    for piece, (_, spine), is_dashed in zip(branches, places, dashed, strict=True):
        style = "line dashed" if is_dashed else "line"
        if not piece.shapes:
            shapes.append(Wire(((middle, rail), (spine, rail), (spine, bottom), (middle, bottom)), css_class=style))
            continue
        end = 2 * rail + piece.height
        head = not begins_with_line(piece)
        shapes.append(Wire(((middle, rail), (spine, rail), (spine, 2 * rail)), head, style))
        shapes += moved(piece.shapes, spine - piece.spine, 2 * rail)
        shapes.append(Wire(((spine, end), (spine, bottom), (middle, bottom)), css_class=style))
    shapes.append(Wire(((middle, bottom), (middle, bottom + rail)), head=bool(join.shapes)))
    left = max(join.spine, middle)  # the join may be wider than the branches
    shift = left - middle
    shapes = [*moved(shapes, shift, 0), *moved(join.shapes, left - join.spine, bottom + rail)]
    return Piece(max(width + shift, left + join.width - join.spine), bottom + rail + join.height, left, tuple(shapes))


def framed(piece: Piece, words: str) -> Piece:
    """A frame around what repeats, with how often above."""
    pad, top = 10, LINE + 8
    width = max(piece.width, text_width(words, NORMAL, bold=True)) + 2 * pad
    spine = piece.spine + (width - piece.width) // 2
    height = piece.height + top + pad
    label = Words(pad, 17, words, "strong", NORMAL)
    room = spine - 6 - pad - text_width(words, NORMAL, bold=True)
    if room < 0:  # the line would run through the words
        width, spine = width - room, spine - room
    shapes: list[Shape] = [Frame(0, 0, width, height), label]
    shapes.append(Wire(((spine, 0), (spine, top)), head=not begins_with_line(piece)))
    shapes.append(Wire(((spine, top + piece.height), (spine, height))))
    shapes += moved(piece.shapes, spine - piece.spine, top)
    return Piece(width, height, spine, tuple(shapes))


def rows_of(pieces: Sequence[Piece], width: int, gap: int = 28) -> list[list[tuple[int, Piece]]]:
    """The pieces in rows that are at most `width` wide, each with its x."""
    rows: list[list[tuple[int, Piece]]] = [[]]
    x = 0
    for piece in pieces:
        if rows[-1] and x + piece.width > width:
            rows.append([])
            x = 0
        rows[-1].append((x, piece))
        x += piece.width + gap
    return rows


def columns_of(pieces: Sequence[Piece], height: int, gap: int) -> list[list[Piece]]:
    """The pieces in columns, one after another, each about `height` tall; a taller piece has a column of its own."""
    columns: list[list[Piece]] = [[]]
    used = 0
    for piece in pieces:
        if columns[-1] and used + piece.height > height:
            columns.append([])
            used = 0
        columns[-1].append(piece)
        used += piece.height + gap
    return columns


def balanced(pieces: Sequence[Piece], num_columns: int, gap: int) -> list[list[Piece]]:
    """The pieces in at most `num_columns` columns of the least height."""
    total = sum(piece.height + gap for piece in pieces)
    height = max(-(-total // num_columns), *(piece.height for piece in pieces))
    while len(found := columns_of(pieces, height, gap)) > num_columns:
        height += 8
    return found


Describe = Callable[[int], tuple[str, dict[str, str]]]  # a box's key -> its tooltip and its attributes


def paint(sheet: Sheet, piece: Piece, x: int, y: int, describe: Describe) -> None:
    """Draws a piece with its corner at (x, y): lines first, then frames and boxes, then words."""
    shapes = moved(piece.shapes, x, y)
    for shape in shapes:
        if isinstance(shape, Frame):
            sheet.rect(shape.x, shape.y, shape.width, shape.height, "line thin dashed", corner=6)
    for shape in shapes:
        if isinstance(shape, Wire):
            _paint_wire(sheet, shape)
    for shape in shapes:
        if isinstance(shape, Box):
            tooltip, attributes = describe(shape.key)
            with sheet.group("box", tooltip=tooltip, attributes=attributes):
                _paint_box(sheet, shape)
        elif isinstance(shape, Words):
            sheet.text(shape.x, shape.y, shape.text, shape.css_class, size=shape.size, anchor=shape.anchor)


def _paint_wire(sheet: Sheet, wire: Wire) -> None:
    (x1, y1), (x2, y2) = wire.points[0], wire.points[-1]
    if len(wire.points) == 2:
        sheet.line(x1, y1, x2, y2, wire.css_class)
    else:
        sheet.path("M " + " L ".join(f"{x} {y}" for x, y in wire.points), wire.css_class)
    if wire.head:
        before = wire.points[-2]
        sheet.head(x2, y2, (x2 - before[0], y2 - before[1]))


def _paint_box(sheet: Sheet, box: Box) -> None:
    name = " ".join(box.lines) or box.css_class
    middle = box.x + box.width // 2
    if box.round:
        radius = box.width // 2
        sheet.circle(middle, box.y + radius, radius, box.css_class, name=name)
        sheet.text(middle, box.y + radius + 5, box.lines[0], "strong", size=NORMAL, anchor="middle")
        return
    sheet.rect(box.x, box.y, box.width, box.height, box.css_class, name=name)
    y = box.y + (box.height - LINE * len(box.lines)) // 2 + 12
    for place, text in enumerate(box.lines):
        size = SMALL if place or box.small else NORMAL
        sheet.text(middle, y + LINE * place, text, "faint" if place else "", size=size, anchor="middle")
