"""A lesson's Markdown -> its blocks: headings, text, code, drawings and exercises, each with its line."""

import functools
import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from ..errors import DataError, did_you_mean
from . import LESSONS

DETAILS = "<details><summary>Answer</summary>"
HERE = Path(__file__).parent


class Block(NamedTuple):
    """A piece of a lesson at its outermost level.

    `kind` is "heading", "text", or the first word after the backticks of a block: "python", "console", "draw",
    "compute", "defend", "run" and others. `label` is the heading's level or the words after the first.
    """

    kind: str
    text: str
    line: int
    label: str = ""
    is_folded: bool = False
    """Whether it belongs to an answer that the reader opens."""


class Lesson(NamedTuple):
    """A lesson as it stands in its file."""

    name: str
    title: str
    lead: str
    """The first paragraph, as Markdown."""
    blocks: tuple[Block, ...]
    """What follows the first paragraph."""

    @property
    def needs_keras(self) -> bool:
        return self.name.startswith("keras-")


def docs_folder() -> Path:
    """The folder with questions.md, errata.md and lessons/: inside an installed package, else that of the checkout."""
    packaged = HERE / "docs"
    return packaged if packaged.is_dir() else HERE.parents[2] / "docs"


def read_lesson(name: str) -> Lesson:
    """Raises DataError for a name that is no lesson."""
    if name not in LESSONS:
        suggestion = did_you_mean(name, LESSONS) or ";"
        raise DataError(f"unknown lesson {name!r}{suggestion} 'casebook lesson' lists all")
    return parse_lesson(name, (docs_folder() / "lessons" / f"{name}.md").read_text(encoding="utf-8"))


def parse_lesson(name: str, text: str) -> Lesson:
    """Raises DataError where the Markdown is not that of a lesson, with the line."""
    blocks = parse_blocks(text, name)
    if len(blocks) < 2 or (blocks[0].kind, blocks[0].label, blocks[1].kind) != ("heading", "1", "text"):
        raise DataError(f"{name}.md begins otherwise than with a title and a paragraph")
    return Lesson(name, blocks[0].text, blocks[1].text, tuple(blocks[2:]))


def parse_blocks(text: str, name: str) -> list[Block]:
    """The outermost blocks of any of our Markdown pages."""
    lines, blocks, is_folded = text.splitlines(), [], False
    tokens = markdown().parse(text)
    for place, token in enumerate(tokens):
        if token.level or token.nesting < 0 or not token.map:
            continue
        first, last = token.map
        source = "\n".join(lines[first:last]).strip("\n")
        if token.type == "html_block":
            if source not in (DETAILS, "</details>") or is_folded == (source == DETAILS):
                raise DataError(f"{name}.md:{first + 1}: {source[:60]!r}, expected {DETAILS} or its </details>")
            is_folded = source == DETAILS
        elif token.type == "heading_open":
            blocks.append(Block("heading", tokens[place + 1].content, first + 1, token.tag[1:]))
        elif token.type == "fence":
            kind, _, label = token.info.partition(" ")
            blocks.append(Block(kind, token.content, first + 1, label, is_folded))
        else:
            blocks.append(Block("text", source, first + 1, "", is_folded))
    if is_folded:
        raise DataError(f"{name}.md: an answer is not closed, expected </details>")
    return blocks


@functools.cache
def markdown() -> MarkdownIt:
    """The parser of all lessons. Their HTML is our own and no more than the two lines around an answer."""
    return MarkdownIt("commonmark", {"html": True}).enable("table")


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
