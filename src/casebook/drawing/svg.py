"""Shapes and words -> an SVG picture: the same bytes for the same drawing, in light and dark, on screen and paper.

Coordinates are integers. A shape takes its colours from `css_class`, one or more of the names in `PALETTE` and
`STYLES`; a page changes them with a rule for `svg.casebook-drawing`, which sets the variables (`--cb-conv`,
`--cb-conv-edge`, `--cb-ink`), or for one of its classes. The picture has a title and a description in words, and no
ids, so that a page can hold many.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Literal, NamedTuple

from .text import FONTS, fitted, text_width

# What a box stands for, with its fill and outline: on white, and on black.
PALETTE = {
    "data": (("#f1f3f5", "#5c6670"), ("#262b31", "#9aa5b1")),  # an input, an output, a feature map
    "conv": (("#d7e6fa", "#1d5fb4"), ("#15305a", "#7fb2f5")),
    "depthwise": (("#cdeeea", "#0b756b"), ("#0b3b37", "#5fd0c3")),
    "pool": (("#fbdcd5", "#b23a1e"), ("#54200f", "#f59a80")),
    "dense": (("#d9efd2", "#35751e"), ("#1f4412", "#8fd273")),
    "norm": (("#e6e4f4", "#5b4fa8"), ("#2d2858", "#aea3f2")),
    "merge": (("#fbeec2", "#86650a"), ("#473603", "#e8c14c")),  # a sum or a concatenation
    "learns": (("#fbe3c6", "#a35200"), ("#4f2a00", "#f7ae5c")),
    "frozen": (("#e3ecf3", "#4a6b85"), ("#1e2f3d", "#93b4cc")),
    "marked": (("#ffe58a", "#8a5a00"), ("#5c4300", "#ffcf4d")),
}
# Ink for words, a fainter ink for remarks, the ground, and plain lines: on white, and on black.
VARIABLES = {
    "ink": ("#191c21", "#eef0f2"),
    "faint": ("#4d555f", "#b3bbc4"),
    "paper": ("#ffffff", "#14171b"),
    "rule": ("#6b747e", "#98a2ad"),
}
STYLES = {
    "faint": "fill:var(--cb-faint)",
    "strong": "font-weight:600",
    "mono": "font-variant-numeric:tabular-nums",
    "line": "fill:none;stroke:var(--cb-rule);stroke-width:2",
    "dashed": "stroke-dasharray:6 4",
    "dotted": "stroke-dasharray:2 3",
    "head": "fill:var(--cb-rule);stroke:none",
    "edge": "stroke:var(--cb-ink);stroke-width:2",
    "halo": "stroke:var(--cb-paper);stroke-width:5",
    "thin": "stroke-width:1",
    "thick": "stroke-width:3",
    "clear": "fill:none",
    "soft": "fill-opacity:0.55",
}
TEXT_SIZE = 14  # pixels; nothing is smaller than SMALLEST
SMALLEST = 11
LINE_HEIGHT = 1.3
Anchor = Literal["start", "middle", "end"]
_VARIABLE = re.compile(r"var\(--cb-([\w-]+)\)")
_NUMBERS = re.compile(r"-?\d+")
_PATH = re.compile(r"[MLHVCQSTAZ\d\s,-]*")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


class Place(NamedTuple):
    """The rectangle that a box or a label takes up; a label's name is its text."""

    name: str
    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: "Place") -> bool:
        """Whether the two share an area; touching edges do not count."""
        return (self.left < other.right and other.left < self.right and self.top < other.bottom
                and other.top < self.bottom)  # fmt: skip

    def moved(self, by: tuple[int, int]) -> "Place":
        return Place(self.name, self.left + by[0], self.top + by[1], self.right + by[0], self.bottom + by[1])

    def holds(self, other: "Place") -> bool:
        return (self.left <= other.left and other.right <= self.right and self.top <= other.top
                and other.bottom <= self.bottom)  # fmt: skip


class Sheet:
    """A drawing under construction: (0, 0) is the upper left corner, y grows downwards.

    `boxes` and `labels` list where named shapes and words are, which `collisions` checks.
    """

    def __init__(self, width: int, height: int, title: str, description: str):
        self.width, self.height, self.title, self.description = width, height, title, description
        self.boxes: list[Place] = []
        self.labels: list[Place] = []
        self._parts: list[str] = []
        self._classes: set[str] = set()
        self._shift = (0, 0)

    def rect(
        self, x: int, y: int, width: int, height: int, css_class: str = "data", *, name: str = "", corner: int = 3
    ) -> None:
        """A rectangle. One with a `name` is a box, which no other may overlap; a frame around boxes has none."""
        self._place(name, x, y, x + width, y + height)
        _whole(x, y, width, height, corner)
        round_ = f' rx="{corner}"' if corner else ""
        self._add(f'<rect x="{x}" y="{y}" width="{width}" height="{height}"{round_}{self._class(css_class)}/>')

    def circle(self, x: int, y: int, radius: int, css_class: str = "merge", *, name: str = "") -> None:
        """A circle around (x, y)."""
        self._place(name, x - radius, y - radius, x + radius, y + radius)
        _whole(x, y, radius)
        self._add(f'<circle cx="{x}" cy="{y}" r="{radius}"{self._class(css_class)}/>')

    def line(self, x1: int, y1: int, x2: int, y2: int, css_class: str = "line") -> None:
        """A straight line."""
        _whole(x1, y1, x2, y2)
        self._add(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{self._class(css_class)}/>')

    def path(self, data: str, css_class: str = "line", *, name: str = "") -> None:
        """A path of absolute commands and integers, such as "M 0 0 L 20 10"; with a `name`, a box around its points."""
        if not _PATH.fullmatch(data):
            raise ValueError(f"a path has absolute commands and integers, got {data!r}")
        if name:
            self._place(name, *_bounds(data))
        self._add(f'<path d="{data}"{self._class(css_class)}/>')

    def arrow(self, x1: int, y1: int, x2: int, y2: int, css_class: str = "line") -> None:
        """A straight line whose end is an arrowhead."""
        self.line(x1, y1, x2, y2, css_class)
        self.head(x2, y2, (x2 - x1, y2 - y1))

    def head(self, x: int, y: int, direction: tuple[int, int]) -> None:
        """An arrowhead with its tip at (x, y), for the end of a line or path that runs in `direction`."""
        across, down = direction
        length = (across * across + down * down) ** 0.5 or 1.0
        back = (round(x - 9 * across / length), round(y - 9 * down / length))
        side = (round(4 * down / length), round(-4 * across / length))
        corners = f"L {back[0] + side[0]} {back[1] + side[1]} L {back[0] - side[0]} {back[1] - side[1]}"
        self.path(f"M {x} {y} {corners} Z", "head")

    def text(
        self, x: int, y: int, text: str, css_class: str = "", *, size: int = TEXT_SIZE, anchor: Anchor = "start"
    ) -> Place:
        """One line of words on the baseline y, from, around or up to x. Gives the place that they take up."""
        _whole(x, y, size)
        width = text_width(text, size, bold="strong" in css_class.split())
        left = x - {"start": 0, "middle": (width + 1) // 2, "end": width}[anchor]
        place = Place(text, left, y - round(0.76 * size), left + width, y + round(0.24 * size)).moved(self._shift)
        self.labels.append(place)
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._add(f'<text x="{x}" y="{y}" font-size="{size}"{where}{self._class(css_class)}>{_plain(text)}</text>')
        return place

    def lines(
        self, x: int, y: int, lines: Sequence[str], css_class: str = "", *, size: int = TEXT_SIZE,
        anchor: Anchor = "start",
    ) -> int:  # fmt: skip
        """Lines of words, the first on the baseline y; gives the baseline that another line would have."""
        for text in lines:
            self.text(x, y, text, css_class, size=size, anchor=anchor)
            y += round(LINE_HEIGHT * size)
        return y

    def box(
        self, place: tuple[int, int, int, int], lines: Sequence[str], css_class: str = "data", *, size: int = TEXT_SIZE
    ) -> None:
        """A named box at (x, y, width, height) with words in its middle; what is too wide ends in an ellipsis."""
        x, y, width, height = place
        self.rect(x, y, width, height, css_class, name=" ".join(lines) or css_class)
        step = round(LINE_HEIGHT * size)
        first = y + (height - step * (len(lines) - 1)) // 2 + round(0.35 * size)
        self.lines(x + width // 2, first, [fitted(text, width - 4, size) for text in lines], size=size, anchor="middle")

    def image(self, place: tuple[int, int, int, int], content: bytes, media_type: str, words: str) -> None:
        """A picture at (x, y, width, height), kept in the file; `words` say what it shows."""
        x, y, width, height = place
        _whole(*place)
        address = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        self._add(f'<image x="{x}" y="{y}" width="{width}" height="{height}" href="{address}">'
                  f"<title>{_plain(words)}</title></image>")  # fmt: skip

    def paste(self, other: "Sheet", shift: tuple[int, int]) -> None:
        """Draws all of another sheet, its upper left corner at `shift`."""
        with self.group(shift=shift):
            self._parts += other._parts
            self._classes |= other._classes
            for mine, places in ((self.boxes, other.boxes), (self.labels, other.labels)):
                mine += [place.moved(self._shift) for place in places]

    @contextmanager
    def group(
        self, css_class: str = "", *, shift: tuple[int, int] = (0, 0), tooltip: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> Iterator[None]:  # fmt: skip
        """What is drawn inside belongs together, and is moved by `shift`; `tooltip` shows under the pointer."""
        _whole(*shift)
        move = f' transform="translate({shift[0]} {shift[1]})"' if any(shift) else ""
        extra = "".join(f' {key}="{escape(_clean(value))}"' for key, value in (attributes or {}).items())
        self._add(f"<g{self._class(css_class)}{move}{extra}>" + (f"<title>{_plain(tooltip)}</title>" * bool(tooltip)))
        before, self._shift = self._shift, (self._shift[0] + shift[0], self._shift[1] + shift[1])
        yield
        self._shift = before
        self._add("</g>")

    def widen(self, margin: int) -> "Sheet":
        """The sheet, made wide enough for its boxes and labels with a margin at the right."""
        self.width = max([self.width, *(place.right + margin for place in (*self.boxes, *self.labels))])
        return self

    def svg(self) -> str:
        """The picture as the text of an SVG file, which may also stand inside an HTML page."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="casebook-drawing" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img" aria-label="{escape(_clean(self.title))}">'
        )
        ground = f'<rect class="paper" width="{self.width}" height="{self.height}"/>'
        words = f"<title>{_plain(self.title)}</title>\n<desc>{_plain(self.description)}</desc>"
        style = f"<style>{style_sheet(self._classes)}</style>"
        return "\n".join([head, words, style, ground, *self._parts, "</svg>"]) + "\n"

    def _repr_svg_(self) -> str:
        return self.svg()

    def collisions(self) -> list[str]:
        """What is wrong with the drawing's geometry, in words: boxes or labels that overlap, a label across the
        edge of a box, anything beyond the edge of the sheet."""
        sheet = Place("the sheet", 0, 0, self.width, self.height)
        beyond = [f"{p.name!r} is beyond the sheet" for p in (*self.boxes, *self.labels) if not sheet.holds(p)]
        boxes = [f"boxes {a.name!r} and {b.name!r} overlap" for a, b in _meeting(self.boxes)]
        labels = [f"labels {a.name!r} and {b.name!r} overlap" for a, b in _meeting(self.labels)]
        across = [
            f"label {label.name!r} crosses the edge of box {box.name!r}"
            for box in self.boxes
            for label in self.labels
            if box.meets(label) and not box.holds(label)
        ]
        return beyond + boxes + labels + across

    def _place(self, name: str, left: int, top: int, right: int, bottom: int) -> None:
        if name:
            self.boxes.append(Place(name, left, top, right, bottom).moved(self._shift))

    def _class(self, css_class: str) -> str:
        self._classes.update(css_class.split())
        return f' class="{escape(css_class)}"' if css_class else ""

    def _add(self, part: str) -> None:
        self._parts.append(part)


def style_sheet(classes: set[str]) -> str:
    """The rules for these classes, with the colours of a dark screen; paper is white.

    Programs that know no variables, such as many converters, see the light colours: the variables stand in an
    at-rule, which they skip.
    """
    used = [name for name in PALETTE if name in classes]
    rules = [(" .paper", "fill:var(--cb-paper)"), (" text", "fill:var(--cb-ink);stroke:none")]
    rules += [(f" .{n}", f"fill:var(--cb-{n});stroke:var(--cb-{n}-edge);stroke-width:1.5") for n in used]
    rules += [(f" .{name}", style) for name, style in STYLES.items() if name in classes]
    root, values = ".casebook-drawing", _values(0, used)
    plain = [f"{root}{selector}{{{_VARIABLE.sub(lambda found: values[found[1]], style)}}}" for selector, style in rules]
    return "\n".join(
        [
            f"{root}{{font-family:{FONTS}}}",
            *plain,
            "@supports (fill:var(--cb-ink)){",
            f":where({root}){{max-width:100%;height:auto}}",
            f"{root}{{{_declared(values)}}}",
            f"@media screen and (prefers-color-scheme:dark){{{root}{{{_declared(_values(1, used))}}}}}",
            *(f"{root}{selector}{{{style}}}" for selector, style in rules),
            "}",
        ]
    )


def _values(ground: int, used: Sequence[str]) -> dict[str, str]:
    """The colours of the variables, by name."""
    values = {name: colours[ground] for name, colours in VARIABLES.items()}
    for name in used:
        values[name], values[f"{name}-edge"] = PALETTE[name][ground]
    return values


def _declared(values: Mapping[str, str]) -> str:
    return ";".join(f"--cb-{name}:{colour}" for name, colour in values.items())


def _meeting(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    """The pairs that overlap."""
    places = sorted(places, key=lambda place: (place.left, place))
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            if other.left >= one.right:
                break
            if one.meets(other):
                yield one, other


def _bounds(data: str) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the points of a path of M, L, C and Q commands."""
    numbers = [int(number) for number in _NUMBERS.findall(data)]
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _whole(*numbers: int) -> None:
    for number in numbers:
        if type(number) is not int:
            raise TypeError(f"a coordinate is a whole number, got {number!r}")


def _clean(text: str) -> str:
    """Without the characters that XML forbids."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _plain(text: str) -> str:
    return escape(_clean(text), quote=False)
