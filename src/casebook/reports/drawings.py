"""A drawing -> a page in which each box can be focused, hovered and tapped, with the same numbers in a table."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..drawing.draw import Drawing
from ..drawing.facts import Fact
from .page import Cell, Column, Table, page, write

COLUMNS = (
    Column("box"), Column("stage"), Column("input"), Column("output"), Column("window"), Column("weights", "number"),
    Column("multiply-adds", "number"), Column("copies", "number"), Column("all weights", "number"),
    Column("all multiply-adds", "number"), Column("arithmetic"),
)  # fmt: skip


def write_page(path: str | Path, drawing: Drawing) -> None:
    """Writes one self-contained HTML file, as a whole or not at all."""
    write(path, render(drawing))


def render(drawing: Drawing) -> str:
    """The page as text."""
    facts = list(drawing.facts.values())
    return page(
        "drawing.html.j2",
        scripts=("drawing.js",),
        data={str(fact.key): _shown(fact) for fact in facts},
        title=drawing.network,
        level=drawing.level,
        pages=[{"name": name, "svg": live(sheet.svg(), drawing.facts)} for name, sheet in drawing.pages],
        table=fact_table(facts),
        num_boxes=len(facts),
    )


def live(svg: str, facts: dict[int, Fact]) -> Markup:
    """The drawing as a group of buttons: what a page needs so that a keyboard and a screen reader reach each box."""

    def button(found: re.Match) -> str:
        label = escape(facts[int(found[1])].sentence)
        return f'<g class="box" data-box="{found[1]}" tabindex="0" role="button" aria-label="{label}">'

    svg = re.sub(r"<title>[^<]*</title>\n<desc>", "<desc>", svg, count=1)  # the group has a label
    svg = re.sub(r'<g class="box" data-box="(\d+)"><title>[^<]*</title>', button, svg)
    return Markup(svg.replace(' role="img"', ' role="group"', 1))


def fact_table(facts: Sequence[Fact]) -> Table:
    """A row for each box."""
    rows: list[list[str | Cell]] = []
    for fact in facts:
        numbers = (fact.weights, fact.multiply_adds, fact.times, fact.total_weights, fact.total_multiply_adds)
        counts = [Cell(f"{number:,}", sort=number) for number in numbers]
        about = [fact.title, fact.stage, fact.input, fact.output, fact.window]
        rows.append([*about, *counts, "; ".join(fact.arithmetic)])
    weights = sum(fact.total_weights for fact in facts if fact.stage != "auxiliary head")
    multiply_adds = sum(fact.total_multiply_adds for fact in facts if fact.stage != "auxiliary head")
    note = f"The boxes drawn, with their copies: {weights:,} weights and {multiply_adds:,} multiply-adds."
    return Table(COLUMNS, rows, note)


def _shown(fact: Fact) -> dict[str, Any]:
    """What the panel beside the drawing says about a box."""
    lines = [
        ["shape", f"{fact.input} to {fact.output}"],
        *([["window", fact.window]] if fact.window else []),
        ["weights", f"{fact.weights:,}"],
        ["multiply-adds", f"{fact.multiply_adds:,}"],
        *([["copies", f"{fact.times:,}; all together {fact.total_weights:,} weights, "
            f"{fact.total_multiply_adds:,} multiply-adds"]] if fact.times > 1 else []),
        ["module", f"{fact.name} in {fact.stage}"],
    ]  # fmt: skip
    return {"title": fact.title, "lines": lines, "arithmetic": list(fact.arithmetic)}
