"""Trained networks and their costs -> the picture of error against cost, and a page around it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import figures
from .page import Table, page, svg_uri, write

MARKERS = {
    "compound": "o", "width": "s", "depth": "^", "resolution": "D", "width+depth": "v", "width+resolution": "P",
    "depth+resolution": "X",
}  # fmt: skip


class Mark(NamedTuple):
    """One network: its cost in the axis's unit, its test error in % with an interval, and a remark for the legend."""

    kind: str
    cost: float
    error: float
    low: float
    high: float
    remark: str


class Drawing(NamedTuple):
    """What the picture shows: the networks, the title of the cost axis, and its own title."""

    marks: Sequence[Mark]
    axis: str
    title: str


class ScalePage(NamedTuple):
    """What the page shows. `picture` is None when nothing was trained; `tables` maps each heading to its table."""

    title: str
    lead: str
    picture: Drawing | None
    tables: dict[str, Table]
    notes: Sequence[str]
    command: str


def frontier(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that no other beats in both cost and error, by rising cost."""
    best: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.cost, mark.error)):
        if not best or mark.error < best[-1].error:
            best.append(mark)
    return best


def draw(drawing: Drawing) -> Any:
    """A matplotlib figure: a marker for each network with its 95 % interval, and the frontier as steps."""
    figure, axes = figures.canvas(9, 5.6)
    steps = frontier(drawing.marks)
    axes.step(
        [mark.cost for mark in steps], [mark.error for mark in steps], where="post", color="0.6", linewidth=1.2,
        zorder=1, label="frontier: no network here is both cheaper and better",
    )  # fmt: skip
    for number, mark in enumerate(drawing.marks):
        bar = [[max(0.0, mark.error - mark.low)], [max(0.0, mark.high - mark.error)]]
        axes.errorbar(
            mark.cost, mark.error, yerr=bar, fmt=MARKERS.get(mark.kind, "o"),
            color=figures.COLOURS[number % len(figures.COLOURS)], markersize=9, elinewidth=1, capsize=3,
            label=f"{mark.kind}: {mark.remark}",
        )  # fmt: skip
    axes.set_xlabel(drawing.axis)
    axes.set_ylabel("test error, % (bars: 95 % interval)")
    axes.set_title(drawing.title, fontsize=11)
    axes.margins(0.08)
    columns = 2 if max(len(mark.kind + mark.remark) for mark in drawing.marks) < 60 else 1
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return figure


def write_picture(path: Path, drawing: Drawing) -> None:
    """Writes a .png or .svg file, as a whole or not at all. Raises ModelError for another ending."""
    figures.picture_kind(path)
    figures.write_picture(draw(drawing), path)


def write_page(path: Path, content: ScalePage) -> None:
    """Writes one self-contained HTML file, as a whole or not at all."""
    write(path, render(content))


def render(content: ScalePage) -> str:
    """The page that `write_page` writes, as text."""
    picture = None if content.picture is None else svg_uri(figures.svg(draw(content.picture), outlines=True))
    return page(
        "frontier.html.j2", title=content.title, lead=content.lead, picture=picture, tables=content.tables,
        notes=content.notes, command=content.command,
    )  # fmt: skip
