"""Elements -> boxes with facts, and branches drawn side by side: the block style."""

from collections.abc import Sequence
from typing import NamedTuple

from .facts import Fact, facts, group_fact, unit_fact
from .fold import Block, Branches, Element, Elements, Repeat, Structure, Unit, Woven, WovenPart, all_nodes
from .graph import Node
from .labels import JOINS, call_title, css_class, element_title, split_shortcut, times, unit_lines
from .layout import Box, Piece, Wire, Words, beside, box, box_width, framed, moved, rows_of, stack
from .outline import sides
from .svg import Sheet
from .text import text_width, wrapped

TALLEST = 2400  # pixels; what is taller stands as one box
ROW_GAP = 40  # between the rows of a cell's parts


class Drawn(NamedTuple):
    """The pages of a drawing, and the fact of each of its boxes by key."""

    pages: tuple[tuple[str, Sheet], ...]
    """(name, sheet): "stage 1" where a drawing has a page for each stage, else the network's name."""
    facts: dict[int, Fact]


class Boxes:
    """Draws the elements of one structure and collects the facts of the boxes."""

    def __init__(self, structure: Structure):
        self.structure = structure
        self.types = structure.graph.types
        self.known = facts(structure)
        self.used: dict[int, Fact] = {}

    def unit(self, unit: Unit, width: int = 0) -> Piece:
        """A unit in one box."""
        fact = unit_fact(unit, self.known)
        self.used[fact.key] = fact
        return box(unit_lines(unit), css_class(unit.main), fact.key, width)

    def call(self, node: Node, width: int = 0) -> Piece:
        """A single call in a box of its own."""
        self.used[node.number] = self.known[node.number]
        return box((call_title(node),), css_class(node), node.number, width)

    def group(self, elements: Sequence[Element], lines: Sequence[str], style: str, width: int = 0) -> Piece:
        """Many calls in one box."""
        nodes = list(all_nodes(elements))
        fact = group_fact(nodes, lines[0], self.known)
        self.used[fact.key] = fact
        return box(lines, style, fact.key, width)

    def join(self, element: Branches) -> Piece:
        """The sign of a sum or product, or the box of a concatenation, and the activation behind it."""
        if element.join is None:
            return Piece(2, 0, 1)
        calls = [element.join, *element.after]
        for node in calls:
            self.used[node.number] = self.known[node.number]
        sign = JOINS.get(element.join.kind, call_title(element.join))
        if len(sign) == 1:
            sum_piece = Piece(24, 24, 12, (Box(0, 0, 24, 24, (sign,), "merge", element.join.number, round=True),))
        else:
            sum_piece = box((call_title(element.join),), "merge", element.join.number)
        after = [box((call_title(node),), css_class(node), node.number) for node in element.after]
        return stack([sum_piece, *after], gap=12)

    def series(self, elements: Elements, *, exploded: bool = False) -> Piece:
        """Elements one below the other; `exploded`, each call has a box of its own."""
        return stack(self.pieces(elements, exploded=exploded))

    def pieces(self, elements: Elements, *, exploded: bool = False) -> list[Piece]:
        """A piece for each element; the boxes of units are equally wide."""
        units = [element for element in elements if isinstance(element, Unit)]
        if exploded:
            titles = [(call_title(node),) for unit in units for node in (*unit.before, unit.main, *unit.after)]
        else:
            titles = [unit_lines(unit) for unit in units]
        width = max(map(box_width, titles), default=0)
        found: list[Piece] = []
        for element in elements:
            if isinstance(element, Unit):
                calls = (*element.before, element.main, *element.after)
                found += [self.call(node, width) for node in calls] if exploded else [self.unit(element, width)]
            elif isinstance(element, Block):
                found += self.pieces(element.elements, exploded=exploded)
            else:
                found.append(self._parallel(element, exploded))
        return found

    def _parallel(self, element: Branches | Repeat | Woven, exploded: bool) -> Piece:
        """Branches, parts or what repeats; as one box if that would be taller than any page."""
        before = dict(self.used)
        if isinstance(element, Branches):
            piece = self.branches(element, exploded=exploded)
        elif isinstance(element, Repeat):
            piece = framed(self.series(element.first, exploded=exploded), times(element))
        else:
            piece = self.woven(element, exploded=exploded)
        if piece.height <= TALLEST:
            return piece
        self.used = before
        count = len(list(all_nodes((element,))))
        lines = (element_title(element, self.types), f"{count:,} calls, connected in too many ways for a page")
        return self.group((element,), lines, "merge")

    def branches(self, element: Branches, *, exploded: bool = False) -> Piece:
        """Branches side by side; a shortcut stands on the right, solid where it is the identity, else dashed."""
        found = split_shortcut(element)
        if not found:
            pieces = [self.series(branch, exploded=exploded) for branch in element.branches]
            return beside(pieces, [False] * len(pieces), self.join(element))
        main, shortcut = found
        pieces = [self.series(main, exploded=exploded), self.series(shortcut, exploded=exploded)]
        return beside(pieces, [False, bool(shortcut)], self.join(element))

    def woven(self, element: Woven, *, exploded: bool = False) -> Piece:
        """Parts in rows by the longest path to them, each with the names of what it reads above it."""
        names = part_names(element)
        depths: list[int] = []
        for part in element.parts:
            depths.append(1 + max((depths[i] for i in part.inputs if i >= 0), default=-1))
        rows: list[Piece] = []
        for depth in range(max(depths) + 1):
            pieces = [
                self._part(element, part, names[place], names, exploded)
                for place, part in enumerate(element.parts)
                if depths[place] == depth
            ]
            for row in rows_of(pieces, 980):
                tall = max(piece.height for _, piece in row)
                shapes = [shape for x, piece in row for shape in moved(piece.shapes, x, 0)]
                wide = row[-1][0] + row[-1][1].width
                rows.append(Piece(wide, tall, wide // 2, tuple(shapes)))
        width = max(row.width for row in rows)
        shapes, y = [], 0
        for row in rows:
            shapes += moved(row.shapes, (width - row.width) // 2, y)
            y += row.height + ROW_GAP
        return Piece(width, y - ROW_GAP, width // 2, tuple(shapes))

    def _part(self, element: Woven, part: WovenPart, name: str, names: dict[int, str], exploded: bool) -> Piece:
        """A part: what each of its branches reads, the branches, and its own name in a box below."""
        place = {node.number: i for i, p in enumerate(element.parts) for node in all_nodes(p.elements)}
        outer = {node: -1 - i for i, node in enumerate(element.outer)}

        def source(number: int) -> str:
            return names[place[number]] if number in place else names.get(outer.get(number, -1), "input")

        first = part.elements[0] if part.elements else None
        if isinstance(first, Branches) and first.join is not None and len(part.elements) == 1:
            pieces, idle = [], list(first.join.inputs)
            inside = {node.number for node in all_nodes(part.elements)}
            idle = [number for number in idle if number not in inside]
            for branch in first.branches:
                nodes = list(all_nodes(branch))
                words = source(nodes[0].inputs[0]) if nodes else source(idle.pop(0)) if idle else "input"
                pieces.append(_headed(words, self.series(branch, exploded=exploded)))
            body = _joined(pieces, self.join(first))
        else:
            nodes = list(all_nodes(part.elements))
            words = ", ".join(dict.fromkeys(source(i) for i in nodes[0].inputs)) if nodes else "input"
            body = _headed(words, self.series(part.elements, exploded=exploded))
        width = text_width(name, 13, bold=True)
        middle = body.spine
        left = max(0, width // 2 + 2 - middle)
        shapes = [*moved(body.shapes, left, 0), Words(middle + left, body.height + 18, name, "strong", 13, "middle")]
        return Piece(
            max(body.width + left, middle + left + width // 2 + 2), body.height + 24, middle + left, tuple(shapes)
        )


def _headed(words: str, piece: Piece) -> Piece:
    """A piece below the name of what it reads, with an arrow between."""
    lines = wrapped(words, 170, 11)
    width = max(text_width(line, 11) for line in lines)
    spine = max(piece.spine, width // 2 + 2)
    top = 14 * len(lines) + 4
    shapes = [Words(spine, 11 + 14 * i, line, "faint", 11, "middle") for i, line in enumerate(lines)]
    tail = 14 if piece.shapes else 30
    arrow = Wire(((spine, top), (spine, top + tail)), head=bool(piece.shapes))
    body = moved(piece.shapes, spine - piece.spine, top + tail)
    wide = max(spine + piece.width - piece.spine, spine + width // 2 + 2)
    return Piece(wide, top + tail + piece.height, spine, (*shapes, arrow, *body))


def _joined(pieces: Sequence[Piece], join: Piece) -> Piece:
    """Branches that read different things, side by side, and joined."""
    tallest, x, spines = max(piece.height for piece in pieces), 0, []
    shapes = []
    for piece in pieces:
        spines.append(x + piece.spine)
        shapes += moved(piece.shapes, x, 0)
        shapes.append(Wire(((x + piece.spine, piece.height), (x + piece.spine, tallest + 14))))
        x += piece.width + 18
    middle = (spines[0] + spines[-1]) // 2
    if len(spines) > 1:
        shapes.append(Wire(((spines[0], tallest + 14), (spines[-1], tallest + 14))))
    shapes.append(Wire(((middle, tallest + 14), (middle, tallest + 28)), head=True))
    left = max(0, join.spine - middle)
    body = [*moved(shapes, left, 0), *moved(join.shapes, middle + left - join.spine, tallest + 28)]
    return Piece(max(x - 18 + left, middle + left + join.width - join.spine), tallest + 28 + join.height, middle + left,
                 tuple(body))  # fmt: skip


def part_names(element: Woven) -> dict[int, str]:
    """What the parts of a cell are called: "pair 1" for the sums of two, else by what they are; and its inputs."""
    two = len(element.reads) > 1
    names = {-1 - i: "input" for i in range(len(element.outer))}
    if two:
        order = sorted(range(len(element.outer)), key=lambda i: -element.outer[i])
        for rank, i in enumerate(order):
            names[-1 - i] = ("last cell", "cell before last")[rank] if rank < 2 else f"input {rank + 1}"
    pairs = 0
    for place, part in enumerate(element.parts):
        first = part.elements[0] if len(part.elements) == 1 else None
        if isinstance(first, Branches) and first.join is not None and first.join.kind == "add":
            pairs += 1
            names[place] = f"pair {pairs}"
        elif isinstance(first, Branches) and first.join is not None and first.join.kind == "cat":
            names[place] = f"output {sides(first.join.shape)}"
        else:
            names[place] = (
                part.name.rpartition(".")[2].lstrip("#") if not part.name.startswith("#") else f"step {place + 1}"
            )
    return names
