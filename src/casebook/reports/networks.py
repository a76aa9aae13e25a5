"""Networks side by side -> the picture of published error against multiply-adds, and a page around it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cost.compare import Compared, Kind, table
from ..errors import ModelError
from ..formatting import giga
from . import figures
from .labels import Circle, add_labels
from .page import Cell, Table, page, svg_uri, text_table, write
from .strips import StripPicture, strip_picture

TITLE = "Published error against multiply-adds"
FEW = 24  # networks that fit the smaller drawing
TEXT_COLUMNS = (0, 8)  # of the table
DRAWN: tuple[Kind, ...] = ("reference", "retrained")


def draw(rows: Sequence[Compared], which: str = "top1") -> Any:
    """A matplotlib figure: error against multiply-adds, with a circle's area in proportion to the weights.

    Circles are filled for errors of the paper's own training with one centre crop, and hollow where others trained the
    weights. Errors with other crops or pictures do not compare and are left out.

    Raises ModelError when no network has an error to draw.
    """
    from matplotlib import colormaps

    shown = [(row, row.published, e) for row in rows if row.published and (e := row.error(which, DRAWN)) is not None]
    if not shown:
        raise ModelError(
            f"none of these networks has a published {which} error with one centre crop of the ImageNet validation set"
        )
    many = len(shown) > FEW
    figure, axes = figures.canvas(13 if many else 10, 10 if many else 7)
    families = list(dict.fromkeys(row.family for row, _, _ in shown))
    colours = {family: colormaps["tab20"](2 * i % 20 + (i // 10) % 2) for i, family in enumerate(families)}
    largest = max(row.parameters for row, _, _ in shown)
    whole = 900 if many else 1500  # square points, for the largest
    circles = []
    for row, published, error in sorted(shown, key=lambda item: -item[0].parameters):
        colour, area = colours[row.family], max(12, whole * row.parameters / largest)
        axes.scatter(
            row.multiply_adds / 1e9, error, s=area, linewidths=1.2, zorder=2,
            facecolors=(*colour[:3], 0.55) if published.kind == "reference" else "none", edgecolors=colour,
        )  # fmt: skip
        circles.append(Circle(row.name, row.multiply_adds / 1e9, error, area**0.5 / 2 + 0.6))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("multiply-adds for one picture, in thousands of millions (logarithmic)")
    axes.set_ylabel(f"published top-{which[3:]} error, %")
    axes.set_title(TITLE, fontsize=12)
    axes.margins(0.12, 0.08)
    hollow = not all(published.kind == "reference" for _, published, _ in shown)
    figure.legend(
        handles=_legend(colours, largest, whole, hollow), loc="outside lower center", ncols=6 if many else 5,
        fontsize=8, frameon=False,
    )  # fmt: skip
    add_labels(axes, circles)
    return figure


def _legend(colours: dict[str, Any], largest: int, whole: float, hollow: bool) -> list[Any]:
    """A mark for each family, one for the size of a circle, and one for hollow circles."""
    from matplotlib.lines import Line2D

    def mark(label: str, size: float, face: Any, edge: Any) -> Any:
        return Line2D([], [], linestyle="", marker="o", markersize=size, label=label,
                      markerfacecolor=face, markeredgecolor=edge)  # fmt: skip

    marks = [mark(family, 7, (*colour[:3], 0.55), colour) for family, colour in colours.items()]
    part = 10.0 ** len(str(largest // 2)) / 10 / 1e6  # a round number of weights for a circle in the legend
    marks.append(mark(f"{part:g} million weights", (whole * part * 1e6 / largest) ** 0.5, "none", "0.4"))
    if hollow:
        marks.append(mark("hollow: weights trained by others", 7, "none", "0.4"))
    return marks


def write_picture(rows: Sequence[Compared], path: Path, which: str = "top1") -> None:
    """Writes a .png or .svg file, as a whole or not at all. Raises ModelError for another ending."""
    figures.picture_kind(path)
    figures.write_picture(draw(rows, which), path)


def write_page(rows: Sequence[Compared], path: Path, which: str = "top1") -> None:
    """Writes one self-contained HTML file with the picture and the table."""
    write(path, render(rows, which))


def render(rows: Sequence[Compared], which: str = "top1") -> str:
    """The page that `write_page` writes, as text."""
    return page(
        "networks.html.j2",
        scripts=("order.js", "sort.js"),
        title="Networks side by side",
        picture=svg_uri(figures.svg(draw(rows, which), outlines=True)),
        top=which[3:],
        num_networks=len(rows),
        table=_page_table(table(rows)),
        strips=_strips(rows),
    )


def _strips(rows: Sequence[Compared]) -> list[tuple[str, StripPicture]]:
    """The name and strip of each network, if they are few enough for one page."""
    if len(rows) > FEW:
        return []
    found = ((row.name, strip_picture(row.name, {}, row.input_size)) for row in rows)
    return [(name, picture) for name, picture in found if picture]


def _page_table(lines: Sequence[Sequence[str]]) -> Table:
    """The table with large numbers as "25.6 M", so that it fits a page."""
    rows = [[_page_cell(text) for text in line] for line in lines[1:]]
    return text_table(lines, text=TEXT_COLUMNS)._replace(rows=rows)


def _page_cell(text: str) -> Cell:
    digits = text.replace(",", "")
    if digits.isascii() and digits.isdigit():
        number = int(digits)
        return Cell(giga(number) if number >= 1_000_000 else text, sort=number)
    return Cell(text, sort=text)
