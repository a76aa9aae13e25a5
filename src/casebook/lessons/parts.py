"""Blocks of Markdown -> parts that a template lays out: HTML, folded answers, two columns, drawings, exercises."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from markupsafe import Markup

from .drawings import Drawn, draw
from .exercises import HEADING
from .source import Block, docs_folder, markdown, slug


class Part(NamedTuple):
    """One piece of a page. `kind`: "html", "fold", "columns", "drawing" or "exercise"."""

    kind: str
    html: Markup = Markup()
    title: str = ""
    anchor: str = ""
    parts: "tuple[Part, ...]" = ()
    drawn: Drawn | None = None
    blocks: tuple[Block, ...] = ()
    """The Markdown that it comes from."""


class Section(NamedTuple):
    """A heading of the second level with what stands under it; the first may have no heading."""

    title: str
    anchor: str
    parts: tuple[Part, ...]


def sections(blocks: Sequence[Block]) -> list[Section]:
    """A page's sections; an exercise is a part of its section."""
    found: list[Section] = []
    title, anchor, inside = "", "", []
    for block in blocks:
        if block.kind == "heading" and block.label == "2":
            if title or inside:
                found.append(Section(title, anchor, tuple(_parts(inside))))
            title, anchor, inside = block.text, slug(block.text), []
        else:
            inside.append(block)
    found.append(Section(title, anchor, tuple(_parts(inside))))
    return found


def _parts(blocks: Sequence[Block]) -> Iterable[Part]:
    """Parts in which an exercise holds what follows its heading, up to the next one."""
    place = 0
    while place < len(blocks):
        block = blocks[place]
        if _is_exercise(block):
            end = next((i for i in range(place + 1, len(blocks)) if blocks[i].kind == "heading"), len(blocks))
            inside = tuple(_plain_parts(blocks[place + 1 : end]))
            yield Part("exercise", title=block.text, anchor=slug(block.text), parts=inside)
        else:
            end = next((i for i in range(place + 1, len(blocks)) if _is_exercise(blocks[i])), len(blocks))
            yield from _plain_parts(blocks[place:end])
        place = end


def _is_exercise(block: Block) -> bool:
    return block.kind == "heading" and bool(HEADING.fullmatch(block.text))


def _plain_parts(blocks: Sequence[Block]) -> Iterable[Part]:
    for is_folded, run in groupby(blocks, lambda block: block.is_folded):
        inside = tuple(_in_columns(list(run)))
        if is_folded:
            yield Part("fold", parts=inside)
        else:
            yield from inside


def _in_columns(blocks: list[Block]) -> Iterable[Part]:
    """A block of Casebook's Python directly before one of Keras's stands beside it."""
    place = 0
    while place < len(blocks):
        pair = blocks[place : place + 2]
        if [block.label for block in pair if block.kind == "python"] == ["casebook", "keras"]:
            titled = zip(("Casebook", "Keras"), pair, strict=True)
            inside = tuple(_part(block)._replace(title=title) for title, block in titled)
            yield Part("columns", parts=inside, blocks=tuple(pair))
            place += 2
        else:
            yield _part(blocks[place])
            place += 1


def _part(block: Block) -> Part:
    if block.kind == "draw":
        drawn = draw(block.text)
        return Part("drawing", title=drawn.caption, drawn=drawn, blocks=(block,))
    if block.kind == "heading":
        return Part("html", to_html(f"{'#' * int(block.label)} {block.text}"), blocks=(block,))
    return Part("html", to_html(block.text) if block.kind == "text" else code(block), blocks=(block,))


def code(block: Block) -> Markup:
    """A block of code; commands stand out from what they print."""
    lines = (html.escape(line, quote=False) for line in block.text.rstrip("\n").split("\n"))
    told = "\n".join(f"<b>{line}</b>" if re.match(r"\$ |&gt;&gt;&gt; |\.\.\. ", line) else line for line in lines)
    return Markup(f'<pre tabindex="0"><code>{told}</code></pre>\n')


def to_html(text: str) -> Markup:
    """A block of our Markdown as HTML, with links that lead from page to page."""
    parser = markdown()
    tokens = parser.parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", slug(tokens[place + 1].content))
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrSet("href", page_link(str(inner.attrGet("href") or "")))
            elif inner.type == "image":
                inner.attrSet("src", picture_uri(str(inner.attrGet("src") or "")))
    shown = str(parser.renderer.render(tokens, parser.options, {}))
    return Markup(_scrolling(shown))


def picture_uri(target: str) -> str:
    """A picture of docs/pictures, inside the page."""
    path = docs_folder() / "pictures" / target.rpartition("/")[2]
    kind = {".jpg": "jpeg", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def page_link(target: str) -> str:
    """Where a link of the Markdown leads among the pages: questions.md lies beside them there."""
    if re.match(r"[a-z]+:", target):
        return target
    name, sign, anchor = target.removeprefix("../").removeprefix("lessons/").partition("#")
    return re.sub(r"(?:README)?\.md$", lambda found: "index.html" if "README" in found[0] else ".html", name) + (
        sign + anchor
    )


def _scrolling(shown: str) -> str:
    opening = '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n<table class="list">'
    shown = shown.replace("<table>", opening).replace("</table>", "</table>\n</div>")
    shown = shown.replace('style="text-align:right"', 'class="number"').replace("<pre>", '<pre tabindex="0">')
    return shown.replace("<th>", '<th scope="col">').replace("<th class", '<th scope="col" class')
