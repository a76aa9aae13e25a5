"""Trained networks and their costs enter; the picture of error against cost, and a page around it, leave."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelError
from ..files import write_atomically

MARKERS = {
    "compound": "o", "width": "s", "depth": "^", "resolution": "D", "width+depth": "v", "width+resolution": "P",
    "depth+resolution": "X",
}  # fmt: skip


class Mark(NamedTuple):
    """One network: its cost in the axis's unit, its test error with the ends of its interval in %, and a remark."""

    kind: str
    cost: float
    error: float
    low: float
    high: float
    remark: str


def frontier(marks: Sequence[Mark]) -> list[Mark]:
    """Those that no other beats in cost and error at once, by rising cost."""
    best: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.cost, mark.error)):
        if not best or mark.error < best[-1].error:
            best.append(mark)
    return best


def draw(marks: Sequence[Mark], axis: str, title: str) -> Any:
    """A matplotlib figure: one marker a network, its 95 % interval as a bar, the frontier as steps."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    steps = frontier(marks)
    axes.step([m.cost for m in steps], [m.error for m in steps], where="post", color="0.6", linewidth=1.2, zorder=1)
    for number, mark in enumerate(marks):
        bar = [[max(0.0, mark.error - mark.low)], [max(0.0, mark.high - mark.error)]]
        axes.errorbar(
            mark.cost, mark.error, yerr=bar, fmt=MARKERS.get(mark.kind, "o"), color=f"C{number}", markersize=9,
            elinewidth=1, capsize=3, label=f"{mark.kind}: {mark.remark}",
        )  # fmt: skip
    axes.set_xlabel(axis)
    axes.set_ylabel("test error in %, with its 95 % interval")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.margins(0.08)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def picture(marks: Sequence[Mark], axis: str, title: str, kind: str) -> bytes:
    """The drawing as the content of a "png" or "svg" file, the same bytes each time."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "casebook"}):
        figure = draw(marks, axis, title)
        figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def write_picture(path: Path, marks: Sequence[Mark], axis: str, title: str) -> None:
    """Writes a .png or .svg file, whole or not at all. Raises ModelError for another ending."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise ModelError(f"the picture {path} ends in '{path.suffix}', expected .png or .svg")
    write_atomically(path, picture(marks, axis, title, kind))


def write_page(
    path: Path, title: str, svg: str | None, tables: Sequence[Sequence[Sequence[str]]], remarks: Sequence[str]
) -> None:
    """Writes one self-contained HTML file. The first row of a table is its heading."""
    body = "" if svg is None else svg[svg.index("<svg") :]
    for head, *rows in tables:
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        body += f"<div><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>"
    body += "".join(f"<p>{escape(remark)}</p>" for remark in remarks if remark)
    write_atomically(path, PAGE.format(title=escape(title), body=body))


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; background: #fff }}
svg {{ width: 100%; max-width: 60rem; height: auto }}
div {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; margin: 1rem 0 }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""  # noqa: E501
