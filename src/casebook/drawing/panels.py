"""The block style: each distinct block of a network in its own panel, or every call of its stages, a page for each."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .facts import describer
from .fold import Branches, Element, Elements, Repeat, Section, Structure, Unit, form
from .labels import element_title, passage, split_shortcut
from .layout import GAP, SMALL, Piece, Shape, Wire, Words, begins_with_line, columns_of, moved, paint, rows_of, stack
from .pieces import Boxes, Drawn
from .strip import MARGIN, TALLEST, TITLE, sums
from .svg import Sheet
from .text import text_width, wrapped

PAGE_WIDTH = 1020
PANEL_GAP = 36
PLACES = 4  # of a block that are named; more are counted


class Found(NamedTuple):
    """A distinct block, and where the network has it: (section, number of copies)."""

    element: Element
    places: list[tuple[str, int]]


def distinct(structure: Structure, stage: str | None) -> list[Found]:
    """The blocks of a network, or of one stage, that differ in more than their channels and sides."""
    known: dict[tuple, Found] = {}
    for section in _sections(structure, stage):
        for element, copies in _blocks(section.elements):
            found = known.setdefault(form(element), Found(element, []))
            found.places.append((section.name, copies))
    return list(known.values())


def _blocks(elements: Elements, copies: int = 1) -> Iterator[tuple[Element, int]]:
    for element in elements:
        if isinstance(element, Repeat):
            yield from _blocks(element.first, copies * element.times)
        elif not isinstance(element, Unit):
            yield element, copies


def _sections(structure: Structure, stage: str | None) -> tuple[Section, ...]:
    return (structure.section(stage),) if stage else structure.sections


def draw_blocks(structure: Structure, stage: str | None = None) -> Drawn:
    """A panel for each distinct block; a network without blocks has one panel for each section instead."""
    boxes = Boxes(structure)
    found = distinct(structure, stage)
    if found:
        panels = [_panel(boxes, one) for one in found]
    else:
        panels = [
            _titled(boxes.series(section.elements), section.name, [passage(section.elements)])
            for section in _sections(structure, stage)
        ]
    rows = rows_of(panels, PAGE_WIDTH - 2 * MARGIN, PANEL_GAP)
    bodies = []
    for row in rows:
        shapes = [shape for x, piece in row for shape in moved(piece.shapes, x, 0)]
        width = row[-1][0] + row[-1][1].width
        bodies.append(Piece(width, max(piece.height for _, piece in row), 0, tuple(shapes)))
    pages = columns_of(bodies, TALLEST - 2 * MARGIN - TITLE - 30, PANEL_GAP)
    title = f"{structure.graph.network}, {structure.section(stage).name}" if stage else structure.graph.network
    words = "; ".join(_in_words(one, structure) for one in found) or "a series of layers without blocks"
    names = _page_names(title, len(pages))
    sheets = []
    for name, page in zip(names, pages, strict=True):
        sheets.append((name, _sheet(name, f"its blocks; {sums(structure)}", words, page, boxes)))
    return Drawn(tuple(sheets), boxes.used)


def _in_words(one: Found, structure: Structure) -> str:
    title = element_title(one.element, structure.graph.types)
    where = ", ".join(f"{name}{f' x {copies}' if copies > 1 else ''}" for name, copies in one.places)
    return f"{title} {passage((one.element,))} in {where}"


def _panel(boxes: Boxes, one: Found) -> Piece:
    element = one.element
    where = [f"{name}{f' x {copies}' if copies > 1 else ''}" for name, copies in _summed(one.places)]
    more = [f"and {len(where) - PLACES} more"] if len(where) > PLACES else []
    lines = [passage((element,)), ", ".join([*where[:PLACES], *more])]
    if isinstance(element, Branches) and (found := split_shortcut(element)):
        body = _residual(boxes, element, *found)
    else:
        body = stack(boxes.pieces((element,)))
    return _titled(body, element_title(element, boxes.types), lines)


def _summed(places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    sums_: dict[str, int] = {}
    for name, copies in places:
        sums_[name] = sums_.get(name, 0) + copies
    return list(sums_.items())


def _titled(body: Piece, title: str, lines: Sequence[str]) -> Piece:
    """A piece below its title, with arrows in and out."""
    lines = [part for line in lines for part in wrapped(line, max(body.width, 220), SMALL)]
    top = 22 + 15 * len(lines)
    wide = max([text_width(title, 14, bold=True), *(text_width(line, SMALL) for line in lines)])
    shift = max(0, (wide - body.width) // 2)
    spine = body.spine + shift
    shapes: list[Shape] = [Words(0, 14, title, "strong", 14)]
    shapes += [Words(0, 31 + 15 * i, line, "faint", SMALL) for i, line in enumerate(lines)]
    shapes.append(Wire(((spine, top), (spine, top + 18)), head=not begins_with_line(body)))
    shapes += moved(body.shapes, shift, top + 18)
    end = top + 18 + body.height
    shapes.append(Wire(((spine, end), (spine, end + 18)), head=True))
    return Piece(max(wide, body.width + shift), end + 20, spine, tuple(shapes))


def _residual(boxes: Boxes, element: Branches, main: Elements, shortcut: Elements) -> Piece:
    """A residual block with the lectures' names: a[l] enters, z[l+n] comes to the sum, a[l+n] leaves."""
    body = boxes.branches(element)
    assert element.join is not None
    weighty = [unit for unit in main if isinstance(unit, Unit) and unit.main.kind in ("conv", "linear")]
    plain = len(weighty) == len([unit for unit in main if isinstance(unit, Unit)])
    first = any(unit.before for unit in weighty)  # pre-activation, of which the lectures have no names
    if element.join.kind != "add" or not plain or not weighty or first or (shortcut and not element.after):
        return body
    count = len(weighty)
    width = text_width(f"z[l+{count}]", 12, bold=True) + 8
    labels: list[Shape] = []
    sign = next(s for s in body.shapes if getattr(s, "key", -1) == element.join.number)
    shapes = moved(body.shapes, width, 0)
    spine = body.spine + width
    ends = [w.points[0][0] for w in shapes if isinstance(w, Wire) and len(w.points) == 3 and w.points[2][0] == spine]
    main_spine = ends[0] if ends else spine
    labels.append(Words(spine + 8, 11, "a[l]", "strong", 12))
    labels.append(Words(main_spine - 6, sign.y - 18, f"z[l+{count}]", "strong", 12, "end"))  # type: ignore[union-attr]
    height = body.height + 16
    z, a = f"z[l+{count}]", f"a[l+{count}]"
    out = f"{z} + a[l]" if not element.after else a if shortcut else f"{a} = g({z} + a[l])"
    labels.append(Words(spine + 8, height - 2, out, "strong", 12))
    labels.append(Wire(((spine, body.height), (spine, height))))
    wide = max(body.width + width, spine + 10 + max(text_width(s.text, 12, bold=True) for s in labels
                                                    if isinstance(s, Words) and s.anchor == "start"))  # fmt: skip
    return Piece(wide, height, spine, (*shapes, *labels))


def draw_layers(structure: Structure, stage: str | None = None) -> Drawn:
    """Every call, a page or more for each section, in columns from left to right."""
    boxes = Boxes(structure)
    pages: list[tuple[str, Sheet]] = []
    for section in _sections(structure, stage):
        pieces = boxes.pieces(section.elements, exploded=True)
        columns = columns_of(pieces, 900, GAP)
        groups: list[list[Piece]] = [[]]
        used = 0
        for column in (stack(column) for column in columns):
            if groups[-1] and used + column.width > PAGE_WIDTH - 2 * MARGIN:
                groups.append([])
                used = 0
            groups[-1].append(column)
            used += column.width + PANEL_GAP
        words = f"Every call of {section.name}, from top to bottom: {passage(section.elements)}"
        names = _page_names(section.name, len(groups))
        for name, group in zip(names, groups, strict=True):
            shapes: list[Shape] = []
            x = 0
            for column in group:
                shapes += moved(column.shapes, x, 16)
                end, line = 16 + column.height, x + column.spine
                shapes.append(Wire(((line, 0), (line, 16)), head=not begins_with_line(column)))
                shapes.append(Wire(((line, end), (line, end + 14)), head=True))
                x += column.width + PANEL_GAP
            body = Piece(x - PANEL_GAP, max(column.height for column in group) + 32, 0, tuple(shapes))
            title = f"{structure.graph.network}, {name}"
            pages.append((name, _sheet(title, passage(section.elements), words, [body], boxes)))
    return Drawn(tuple(pages), boxes.used)


def _page_names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} ({number} of {count})" for number in range(1, count + 1)]


def _sheet(title: str, remark: str, words: str, bodies: Sequence[Piece], boxes: Boxes) -> Sheet:
    top = MARGIN + TITLE + 30
    width = max([body.width for body in bodies] + [text_width(title, TITLE, bold=True), text_width(remark, 12)])
    height = top + sum(body.height + PANEL_GAP for body in bodies) - PANEL_GAP + MARGIN
    sheet = Sheet(width + 2 * MARGIN, height, title, words)
    sheet.text(MARGIN, MARGIN + 14, title, "strong", size=TITLE)
    sheet.text(MARGIN, MARGIN + 34, remark, "faint", size=12)
    y = top
    for body in bodies:
        paint(sheet, body, MARGIN, y, describer(boxes.used))
        y += body.height + PANEL_GAP
    return sheet
