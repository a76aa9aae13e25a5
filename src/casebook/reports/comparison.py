"""What `evaluate` compared -> one page with errors, costs and paired differences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation.comparison import said, verdict
from ..formatting import giga
from .page import Bar, Cell, Column, Table, bar_start, page, write


def write_page(path: str | Path, document: dict[str, Any]) -> None:
    """Writes what `evaluate` compared as one self-contained HTML file, as a whole or not at all."""
    write(path, render(document))


def render(document: dict[str, Any]) -> str:
    """The page that `write_page` writes, as text."""
    compared = document["compared"]
    return page(
        "comparison.html.j2",
        title=f"{document['model']} on {document['data']}" if document["data"] else str(document["model"]),
        num_pictures=compared[0]["n"],
        notes=document["notes"],
        errors=_errors(compared),
        differences=_differences(compared),
    )


def _errors(compared: Sequence[dict[str, Any]]) -> Table:
    several, tops = _several(compared), _tops(compared)
    start = bar_start(min(row["top1_interval"][0] for row in compared))
    columns = [Column("Network")] * several + [Column("Protocol"), Column("Views", "number")]
    columns += [Column(f"Top-{top[3:]} error", "number") for top in tops]
    columns += [Column("Multiply-adds", "number"), Column("Top-1 accuracy", "bar", start)]
    rows = []
    for row in compared:
        cells: list[Any] = [Cell(row["name"])] * several + [Cell(row["protocol"]), f"{row['views']:,}"]
        for top in tops:
            low, high = row[f"{top}_interval"]
            between = f"{100 * (1 - high):.2f} to {100 * (1 - low):.2f}"
            cells.append(Cell(f"{100 * row[f'{top}_error']:.2f} %", between))
        rows.append([*cells, giga(row["multiply_adds"]), Bar(row["top1"], *row["top1_interval"])])
    return Table(columns, rows)


def _differences(compared: Sequence[dict[str, Any]]) -> Table:
    several, tops = _several(compared), _tops(compared)
    columns = [
        Column("Error of"),
        Column("minus that of"),
        *(Column(f"Top-{top[3:]}, points", "number") for top in tops),
    ]
    rows = []
    for row in compared:
        for other in row["against"]:
            cells = [Cell(said(row, other, several)), Cell(said(other, row, several))]
            for top in tops:
                found = other[f"{top}_error"]
                low, high = (100 * end for end in found["interval"])
                between = f"{low:+.2f} to {high:+.2f}, p = {found['p_value']:.2g}"
                cells.append(Cell(f"{100 * found['difference']:+.2f}", between))
            rows.append([*cells, verdict(other["top1_error"]["interval"])])
    return Table([*columns, Column("Top-1 verdict")], rows)


def _several(compared: Sequence[dict[str, Any]]) -> bool:
    return len({row["name"] for row in compared}) > 1


def _tops(compared: Sequence[dict[str, Any]]) -> list[str]:
    return ["top1", "top5"] if all("top5" in row for row in compared) else ["top1"]
