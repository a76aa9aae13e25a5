"""Runs side by side -> one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..formatting import giga, percent_text
from .page import Bar, Cell, Column, Table, bar_start, page, write

SCRIPTS = ("order.js", "sort.js")


class RunRow(NamedTuple):
    """A finished run; what is None is not known.

    `top1` is the test accuracy; with several labels a picture `map`, mean average precision, stands for it. `interval`
    is the 95 % interval of either.
    """

    name: str
    data: str
    network: str
    top1: float | None
    interval: tuple[float, float] | None
    num_pictures: int | None
    """In the test set."""
    multiply_adds: int | None
    seconds: float | None
    date: str
    """As in "2026-11-28 21:40"."""
    path: str
    map: float | None = None

    @property
    def score(self) -> float | None:
        """`top1` or `map`."""
        return self.top1 if self.map is None else self.map


def write_runs_page(path: str | Path, rows: Sequence[RunRow]) -> None:
    """Writes the page as one self-contained HTML file, as a whole or not at all."""
    write(path, runs_page(rows))


def runs_page(rows: Sequence[RunRow]) -> str:
    """The page that `write_runs_page` writes, as text: the runs in the order given, sortable by every column."""
    return page("runs.html.j2", scripts=SCRIPTS, title="Runs", num_runs=len(rows), table=_table(rows),
                several_data=len({row.data for row in rows}) > 1)  # fmt: skip


def _table(rows: Sequence[RunRow]) -> Table:
    start = bar_start(min((row.interval[0] for row in rows if row.interval), default=0.0))
    columns = [
        Column("Run"),
        Column("Data"),
        Column("Network"),
        Column("Test accuracy", "number", first="descending"),
        Column("95 % interval", "bar", start),
        Column("Multiply-adds", "number"),
        Column("Seconds", "number"),
        Column("Date", "date", first="descending"),
    ]
    return Table(columns, [_cells(row) for row in rows])


def _cells(row: RunRow) -> list[str | Cell | Bar | None]:
    unknown = Cell("–", sort="")
    accuracy: Cell = unknown
    bar = None
    if row.score is not None:
        of = "" if row.num_pictures is None else f"{row.num_pictures:,} pictures"
        name = "" if row.map is None else "mAP "
        accuracy = Cell(f"{name}{percent_text(row.score)}", of, sort=round(row.score, 6))
        bar = None if row.interval is None else Bar(row.score, *row.interval)
    return [
        Cell(row.name, row.path if row.path != row.name else ""),
        Cell(row.data),
        Cell(row.network),
        accuracy,
        bar,
        unknown if row.multiply_adds is None else Cell(giga(row.multiply_adds), sort=row.multiply_adds),
        unknown if row.seconds is None else Cell(f"{row.seconds:,.0f}", sort=round(row.seconds, 3)),
        row.date,
    ]
