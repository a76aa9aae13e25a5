"""Lessons -> HTML pages, with questions.md and errata.md beside them."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ..reports.page import page
from . import LESSONS
from .exercises import prepared
from .parts import Section, sections, to_html
from .source import Lesson, docs_folder, parse_blocks, read_lesson


class Link(NamedTuple):
    name: str
    title: str


def lesson_page(lesson: Lesson, seed: int) -> str:
    """A lesson as one HTML page."""
    place = LESSONS.index(lesson.name)
    around = [_link(LESSONS[near]) if 0 <= near < len(LESSONS) else None for near in (place - 1, place + 1)]
    return _document(lesson.title, to_html(lesson.lead), sections(prepared(lesson, seed)), around)


def companion_page(name: str) -> str:
    """questions.md or errata.md as an HTML page."""
    blocks = parse_blocks((docs_folder() / f"{name}.md").read_text(encoding="utf-8"), name)
    return _document(blocks[0].text, to_html(blocks[1].text), sections(blocks[2:]), [None, None])


def _document(title: str, lead: Markup, content: list[Section], around: Sequence[Link | None]) -> str:
    before, after = around
    return page(
        "lesson.html.j2", styles=("lesson.css",), title=title, lead=lead, sections=content, before=before, after=after
    )


def index_page(seed: int) -> str:
    """The list of all lessons."""
    found = [read_lesson(name) for name in LESSONS]
    rows = [(Link(lesson.name, lesson.title), to_html(lesson.lead)) for lesson in found]
    return page("lessons.html.j2", styles=("lesson.css",), title="Lessons", rows=rows, seed=seed)


def _link(name: str) -> Link:
    return Link(name, read_lesson(name).title)
