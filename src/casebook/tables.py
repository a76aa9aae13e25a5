"""Rows and a width in characters enter; a text table that fits leaves."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

GAP = "  "


class TextColumn(NamedTuple):
    """How a table treats one column.

    Where the table is too wide, a column with a `fold` wraps its text, at that many characters or more. If that is not
    enough, the columns with the highest `rank` are left out, one by one; those of rank 0 stay.
    """

    name: str
    right: bool = False
    rank: int = 0
    fold: int | None = None


class TextTable(NamedTuple):
    """A text table, and the names of the columns that it leaves out for want of width."""

    text: str
    left_out: tuple[str, ...]


def layout(columns: Sequence[TextColumn], rows: Sequence[Sequence[str] | str], width: int | None = None) -> TextTable:
    """The rows under their columns, in at most `width` characters where the columns of rank 0 allow it.

    A row that is a string is a heading, on a line of its own. No cell is ever cut.
    """
    shown, left_out = list(range(len(columns))), []
    while True:
        kept = [columns[place] for place in shown]
        cells = [row if isinstance(row, str) else [row[place] for place in shown] for row in rows]
        body = [row for row in cells if not isinstance(row, str)]
        widths = _widths(kept, body, width)
        weakest = max(shown, key=lambda place: columns[place].rank)
        if widths is not None or columns[weakest].rank == 0:
            break
        shown.remove(weakest)
        left_out.append(columns[weakest].name)
    widths = widths or _least_widths(kept, body)
    lines = _lines([column.name for column in kept], kept, widths)
    for row in cells:
        lines += [row] if isinstance(row, str) else _lines(row, kept, widths)
    return TextTable("\n".join(lines), tuple(left_out))


def _natural_widths(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(column.name), *(len(row[i]) for row in rows), 0) for i, column in enumerate(columns)]


def _least_widths(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> list[int]:
    """Names of columns fold at their spaces, and text at `fold` characters."""
    widths = []
    for i, column in enumerate(columns):
        name = max(map(len, column.name.split()), default=0)
        content = max((len(row[i]) for row in rows), default=0)
        widths.append(max(name, content if column.fold is None else min(content, column.fold)))
    return widths


def _widths(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """The width of each column; None where they do not fit."""
    natural = _natural_widths(columns, rows)
    room = None if width is None else width - len(GAP) * (len(columns) - 1)
    if room is None or sum(natural) <= room:
        return natural
    widths = _least_widths(columns, rows)
    if sum(widths) > room:
        return None
    # What is left over goes to folded text, a character at a time to the column that lacks most.
    for _ in range(room - sum(widths)):
        lacking = [n - w if column.fold else 0 for n, w, column in zip(natural, widths, columns, strict=True)]
        if max(lacking) == 0:
            lacking = [n - w for n, w in zip(natural, widths, strict=True)]
        if max(lacking) > 0:
            widths[lacking.index(max(lacking))] += 1
    return widths


def _lines(cells: Sequence[str], columns: Sequence[TextColumn], widths: Sequence[int]) -> list[str]:
    """A row as lines of text: several where a cell is folded."""
    folded = [
        textwrap.wrap(cell, w, break_on_hyphens=False) if len(cell) > w else [cell]
        for cell, w in zip(cells, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, folded))):
        parts = [cell[number] if number < len(cell) else "" for cell in folded]
        padded = (
            part.rjust(w) if column.right else part.ljust(w)
            for part, w, column in zip(parts, widths, columns, strict=True)
        )
        lines.append(GAP.join(padded).rstrip())
    return lines
