"""A lesson -> slides of 16:9, in one HTML page that prints one slide on each sheet."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..reports.page import page
from .exercises import prepared
from .parts import Part, sections, to_html
from .source import Block, Lesson

LINES = 14
"""Lines of text below a slide's title."""
CHARACTERS = 78
"""Characters in a line of text."""
CODE, COLUMN = 0.7, 0.58
"""The height of a line of code, and of one in two columns, in lines of text."""


class Slide(NamedTuple):
    title: str
    parts: tuple[Part, ...]
    num_lines: int = 0
    """Of a block of code that needs smaller letters; 0 for the usual size."""


def slides_page(lesson: Lesson, seed: int) -> str:
    """The slides of a lesson; an answer has a slide of its own behind its question."""
    shown = [Slide(lesson.title, (Part("html", to_html(lesson.lead)),))]
    for section in sections(prepared(lesson, seed)):
        for title, parts in _groups(section.title or lesson.title, section.parts):
            shown += _filled(title, parts)
    return page("slides.html.j2", styles=("lesson.css", "slides.css"), title=lesson.title, slides=shown)


def _groups(title: str, parts: Iterable[Part]) -> Iterator[tuple[str, list[Part]]]:
    """Parts that share a title: those of a section, of an exercise, of an answer."""
    together: list[Part] = []
    for part in parts:
        if part.kind not in ("exercise", "fold"):
            together.append(part)
            continue
        if together:
            yield title, together
        together = []
        if part.kind == "exercise":
            yield from _groups(part.title, part.parts)
        else:
            yield f"{title}: the answer", list(part.parts)
    if together:
        yield title, together


def _filled(title: str, parts: Sequence[Part]) -> list[Slide]:
    """As many slides as the parts need. A drawing and long code stand alone."""
    slides: list[Slide] = []
    open_parts: list[Part] = []
    used = 0.0

    def close() -> None:
        nonlocal used
        if open_parts:
            slides.append(Slide(title, tuple(open_parts)))
        open_parts.clear()
        used = 0.0

    for part in parts:
        height = lines_of(part)
        heading = part.blocks[0].kind == "heading"
        if part.kind == "drawing" or height > LINES:
            close()
            num_lines = _num_lines(part.blocks) if part.kind != "drawing" else 0
            slides.append(Slide(title, (part,), num_lines))
            continue
        if used + height + (2 if heading else 0) > LINES:
            close()
        open_parts.append(part)
        used += height
    close()
    return slides


def lines_of(part: Part) -> float:
    """The height of a part in lines of text."""
    if part.kind == "columns":
        return COLUMN * _num_lines(part.blocks) + 2
    return sum(map(_height, part.blocks))


def _height(block: Block) -> float:
    if block.kind == "text":
        return sum(_paragraph(text) for text in block.text.split("\n\n"))
    return 1.6 if block.kind == "heading" else CODE * _num_lines([block]) + 1


def _paragraph(text: str) -> float:
    lines = text.split("\n")
    if text.startswith("!["):
        return LINES - 4
    if lines[0].startswith("|"):
        return 1.15 * len(lines) + 0.5
    if lines[0].startswith(("- ", "1. ")):
        return sum(math.ceil(len(item) / CHARACTERS) + 0.25 for item in text.split("\n- ")) + 0.4
    return math.ceil(len(text) / CHARACTERS) + 0.6


def _num_lines(blocks: Sequence[Block]) -> int:
    return max(block.text.rstrip("\n").count("\n") + 1 for block in blocks)
