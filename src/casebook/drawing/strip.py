"""The strip style: the papers' column of rows, one for each unit or module, with shortcuts as arcs beside them."""

from collections.abc import Sequence
from typing import NamedTuple

from .facts import describer, unit_fact
from .fold import Block, Branches, Element, Elements, Repeat, Structure, Unit, Woven, all_nodes
from .labels import JOINS, branch_words, call_title, css_class, element_title, last_shape, split_shortcut, times
from .layout import (
    NORMAL,
    SMALL,
    Box,
    Piece,
    Shape,
    Wire,
    Words,
    balanced,
    begins_with_line,
    columns_of,
    moved,
    paint,
)
from .outline import sides
from .pieces import Boxes, Drawn
from .svg import Sheet
from .text import fitted, text_width

PAGE_WIDTH, MARGIN = 980, 20
TALLEST = 1280  # pixels of a page
TITLE = 18
LEFT, ROW_WIDTH, ARC, SIDE = 14, 196, 24, 92  # widths: bracket, boxes, arcs, words on the right
COLUMN = LEFT + ROW_WIDTH + ARC + SIDE
ROW, ROW_GAP = 24, 12
SPINE = LEFT + ROW_WIDTH // 2


class Strip:
    """Builds the rows of one structure."""

    def __init__(self, structure: Structure):
        self.boxes = Boxes(structure)
        self.types = structure.graph.types
        self.structure = structure

    def pieces(self) -> list[Piece]:
        """One piece for each element of each section, the first of a section with its name above."""
        graph = self.structure.graph
        found = [self._row(("input " + sides(graph.input_shape),), "data", -1)]
        sides_at = {side.at: side for side in self.structure.sides}
        for section in self.structure.sections:
            for place, element in enumerate(section.elements):
                piece = self.element(element)
                auxiliary = [sides_at[n.number] for n in all_nodes((element,)) if n.number in sides_at]
                if auxiliary:
                    piece = self._with_auxiliary(piece, auxiliary[0].elements)
                found.append(_headed(piece, section.name) if place == 0 else piece)
        return found

    def element(self, element: Element) -> Piece:
        if isinstance(element, Unit):
            return self._unit(element)
        if isinstance(element, Repeat):
            return _bracketed(self.series(element.first), times(element))
        if isinstance(element, Branches):
            found = split_shortcut(element)
            is_gate = element.join is not None and element.join.kind == "mul"
            return self._module(element) if not found or is_gate else self._with_arc(element, *found)
        if isinstance(element, Block) and not any(isinstance(inner, Woven) for inner in element.elements):
            plain = all(isinstance(inner, Unit | Repeat) for inner in element.elements)
            return self.series(element.elements) if plain or len(element.elements) > 6 else self._mixed(element)
        return self._module(element)

    def series(self, elements: Elements) -> Piece:
        return _rows([self.element(element) for element in elements])

    def _mixed(self, block: Block) -> Piece:
        """A block of units and branches: one row if its branches are no residual ones, else its rows."""
        inner = [element for element in block.elements if isinstance(element, Branches)]
        residual = any(split_shortcut(element) for element in inner if element.join and element.join.kind != "mul")
        gates = all(element.join is not None and element.join.kind == "mul" for element in inner)
        return self.series(block.elements) if residual or gates else self._module(block)

    def _unit(self, unit: Unit) -> Piece:
        piece = self.boxes.unit(unit, ROW_WIDTH)
        box = piece.shapes[0]
        assert isinstance(box, Box)
        return self._row((call_title(unit.main),), css_class(unit.main), box.key, sides(last_shape((unit,))))

    def _module(self, element: Element) -> Piece:
        """A whole module in one row, with its branches in a second line."""
        title = element_title(element, self.types)
        branches: Sequence[Elements] = ()
        if isinstance(element, Branches):
            branches = element.branches
        elif isinstance(element, Block):
            inner = [e for e in element.elements if isinstance(e, Branches)]
            branches = inner[0].branches if len(inner) == 1 else ()
        shape = last_shape((element,))
        if isinstance(element, Branches) and element.join is not None and element.join.kind == "mul":
            narrow = [node.shape[0] for node in all_nodes((element,)) if node.kind in ("conv", "linear")]
            lines = (f"{title}, {min(narrow)}" if narrow else title,)
        elif isinstance(element, Block) and isinstance(woven := element.elements[0], Woven):
            two = len(woven.reads) > 1
            lines = (f"{title}, {shape[0]}", *(("reads the last two cells",) if two else ()))
        else:
            lines = (f"{title}, {shape[0]}", *_branch_lines([branch_words(branch, self.types) for branch in branches]))
        piece = self.boxes.group((element,), lines, "merge")
        box = piece.shapes[0]
        assert isinstance(box, Box)
        return self._row(lines, "merge", box.key, sides(shape))

    def _row(self, lines: tuple[str, ...], style: str, key: int, words: str = "") -> Piece:
        height = ROW + 15 * (len(lines) - 1)
        kept = tuple(fitted(text, ROW_WIDTH - 8, SMALL if i else NORMAL) for i, text in enumerate(lines))
        shapes: list[Shape] = [Box(LEFT, 0, ROW_WIDTH, height, kept, style, key)]
        if words:
            shapes.append(Words(LEFT + ROW_WIDTH + ARC + 6, height // 2 + 4, words, "faint", SMALL))
        return Piece(COLUMN, height, SPINE, tuple(shapes))

    def _with_arc(self, element: Branches, main: Elements, shortcut: Elements) -> Piece:
        """The rows of the main branch, a sign below them, and an arc from above the first row to the sign."""
        assert element.join is not None
        fact = unit_fact(Unit(element.join, after=element.after), self.boxes.known)
        self.boxes.used[fact.key] = fact
        rows = _without_words(self.series(main))
        top = 12  # the line from which the arc branches off
        sign = JOINS.get(element.join.kind, element.join.type)
        key = element.join.number
        wide = text_width(sign, NORMAL, bold=True) + 20
        y = top + rows.height + ROW_GAP
        if len(sign) == 1:
            join = Box(SPINE - 10, y, 20, 20, (sign,), "merge", key, round=True)
        else:
            join = Box(SPINE - wide // 2, y, wide, 22, (sign,), "merge", key)
        edge, middle = join.x + join.width, y + join.height // 2
        x = LEFT + ROW_WIDTH + ARC - 8
        arc = Wire(((SPINE, 2), (x, 2), (x, middle), (edge, middle)), True, "line dashed" if shortcut else "line")
        shapes: list[Shape] = [
            Wire(((SPINE, 0), (SPINE, top)), head=True),
            *moved(rows.shapes, 0, top),
            Wire(((SPINE, top + rows.height), (SPINE, y)), head=True),
            arc,
            join,
        ]
        at = LEFT + ROW_WIDTH + ARC + 6
        shapes.append(Words(at, middle + 4, sides(element.join.shape), "faint", SMALL))
        if shortcut:
            words = fitted(", ".join(shortcut_words(unit) for unit in shortcut), SIDE + ARC - 22, SMALL)
            first = next(unit for unit in shortcut if isinstance(unit, Unit))
            drawn = self.boxes.group(shortcut, (", ".join(map(shortcut_words, shortcut)),), "conv").shapes[0]
            assert isinstance(drawn, Box)
            wide = text_width(words, SMALL) + 12
            shapes.append(Box(x - 9, 17, wide, 20, (words,), css_class(first.main), drawn.key, small=True))
        if element.after:
            words = ", ".join(map(call_title, element.after))
            left = max(LEFT, SPINE - 16 - text_width(words, SMALL))
            shapes.append(Words(left, middle + 4, words, "faint", SMALL))
        return Piece(COLUMN, y + join.height, SPINE, tuple(shapes))

    def _with_auxiliary(self, piece: Piece, elements: Elements) -> Piece:
        """The auxiliary head in a row of its own beside the line, dashed, because only training runs it."""
        last = last_shape(elements)
        lines = ("auxiliary head", f"{last[-1]}, training only")
        box_piece = self.boxes.group(elements, lines, "dense")
        box = box_piece.shapes[0]
        assert isinstance(box, Box)
        height, y = 38, piece.height + 10
        wide = 130
        left = LEFT + ROW_WIDTH + ARC + SIDE - wide - 4
        shapes = [
            *piece.shapes,
            Wire(((SPINE, piece.height), (SPINE, y + height))),
            Wire(((SPINE, y + height // 2), (left, y + height // 2)), True, "line dashed"),
            Box(left, y, wide, height, lines, "dense", box.key),
        ]
        return Piece(COLUMN, y + height, SPINE, tuple(shapes))


def _branch_lines(words: Sequence[str]) -> list[str]:
    """The branches of a module in at most two lines."""
    lines: list[str] = []
    for text in words:
        longer = f"{lines[-1]} | {text}" if lines else text
        if lines and text_width(longer, SMALL) <= ROW_WIDTH - 8:
            lines[-1] = longer
        else:
            lines.append(text)
    return lines if len(lines) <= 2 else [lines[0], f"and {len(words) - lines[0].count('|') - 1} more branches"]


def shortcut_words(element: Element) -> str:
    """ "1x1 conv, /2": the call of a shortcut, whose channels are those of the sum."""
    if not isinstance(element, Unit):
        return "branch"
    title = call_title(element.main)
    return title.replace(f", {element.main.shape[0]}", "", 1) if element.main.kind == "conv" else title


def _without_words(piece: Piece) -> Piece:
    """Rows without the shapes on their right, where an arc has its words."""
    shapes = [shape for shape in piece.shapes if not (isinstance(shape, Words) and shape.x > LEFT + ROW_WIDTH)]
    return piece._replace(shapes=tuple(shapes))


def _rows(pieces: Sequence[Piece]) -> Piece:
    shapes: list[Shape] = []
    y = 0
    for place, piece in enumerate(pieces):
        if place:
            shapes.append(Wire(((SPINE, y - ROW_GAP), (SPINE, y)), head=not begins_with_line(piece)))
        shapes += moved(piece.shapes, 0, y)
        y += piece.height + ROW_GAP
    return Piece(COLUMN, y - ROW_GAP, SPINE, tuple(shapes))


def _headed(piece: Piece, name: str) -> Piece:
    """A piece with the name of its section above it, beside the line."""
    words = Words(LEFT, 12, fitted(name, ROW_WIDTH // 2 - 12, SMALL), "faint", SMALL)
    line = Wire(((SPINE, 0), (SPINE, 22)), head=not begins_with_line(piece))
    shapes = [words, line, *moved(piece.shapes, 0, 22)]
    return Piece(COLUMN, piece.height + 22, SPINE, tuple(shapes))


def _bracketed(piece: Piece, words: str) -> Piece:
    """A piece with a bracket on its left, and how often it repeats above."""
    top = 19
    short = text_width(words, NORMAL, bold=True) <= ROW_WIDTH // 2 - 16
    at = SPINE + 12
    label = Words(at, 13, words, "strong", NORMAL if short else SMALL)
    bracket = Wire(((10, top - 2), (4, top - 2), (4, piece.height + top + 2), (10, piece.height + top + 2)))
    line = Wire(((SPINE, 0), (SPINE, top)), head=not begins_with_line(piece))
    shapes: list[Shape] = [label, bracket, line, *moved(piece.shapes, 0, top)]
    return Piece(COLUMN, piece.height + top + 2, SPINE, tuple(shapes))


def draw_strip(structure: Structure) -> Drawn:
    """The strip on as few pages as hold it, in up to three columns."""
    strip = Strip(structure)
    pieces, name = strip.pieces(), structure.graph.network
    total = sum(piece.height + ROW_GAP for piece in pieces)
    columns = balanced(pieces, min(3, -(-total // 620)), ROW_GAP)
    room = TALLEST - 2 * MARGIN - TITLE - 40
    if any(sum(piece.height + ROW_GAP for piece in column) > room for column in columns):
        columns = columns_of(pieces, room, ROW_GAP)
    groups = [columns[i : i + 3] for i in range(0, len(columns), 3)]
    names = [name] if len(groups) == 1 else [f"{name} ({i} of {len(groups)})" for i in range(1, len(groups) + 1)]
    heads = [Heading(title, sums(structure), description(structure)) for title in names]
    pages = [(head.title, _page(head, group, strip.boxes)) for head, group in zip(heads, groups, strict=True)]
    return Drawn(tuple(pages), strip.boxes.used)


class Heading(NamedTuple):
    """What a page says above the drawing, and the drawing in words."""

    title: str
    remark: str
    description: str


def _page(head: Heading, columns: Sequence[Sequence[Piece]], boxes: Boxes) -> Sheet:
    bodies = [_rows(column) for column in columns]
    top = MARGIN + TITLE + 34
    remark = f"height x width x channels; {head.remark}"
    words = max(text_width(head.title, TITLE, bold=True), text_width(remark, 12))
    width = 2 * MARGIN + max(len(bodies) * COLUMN, words)
    height = top + max(body.height for body in bodies) + MARGIN + 8
    sheet = Sheet(width, height, f"{head.title} as a strip", head.description)
    sheet.text(MARGIN, MARGIN + 14, head.title, "strong", size=TITLE)
    sheet.text(MARGIN, MARGIN + 34, remark, "faint", size=12)
    for place, body in enumerate(bodies):
        x = MARGIN + place * COLUMN
        if place:
            sheet.arrow(x + SPINE, top - 12, x + SPINE, top)
        paint(sheet, body, x, top, describer(boxes.used))
        if place < len(bodies) - 1:
            sheet.arrow(x + SPINE, top + body.height, x + SPINE, top + body.height + 14)
    return sheet


def sums(structure: Structure) -> str:
    nodes = [node for node in structure.graph.nodes if not node.training_only]
    weights = sum(node.cost.parameters for node in nodes)
    multiply_adds = sum(node.cost.multiply_adds or 0 for node in nodes)
    return f"{weights:,} weights, {multiply_adds:,} multiply-adds"


def description(structure: Structure) -> str:
    """The network in words, for those who do not see the drawing."""
    parts = []
    for section in structure.sections:
        inside = []
        for element in section.elements:
            title = element_title(element, structure.graph.types)
            inside.append(f"{title} {times(element)}" if isinstance(element, Repeat) else title)
        shape = sides(last_shape(section.elements))
        parts.append(f"{section.name}: {', '.join(inside)}, giving {shape}")
    return f"From input to output. Input {sides(structure.graph.input_shape)}. {'. '.join(parts)}."
