"""Results by year -> bars, each with what its figure refers to."""

from collections.abc import Sequence
from typing import NamedTuple

from .svg import Sheet
from .text import text_width

MARGIN, WORD_SIZE, ROW = 24, 14, 46
LONGEST = 330  # pixels of the longest bar


class Result(NamedTuple):
    """One figure and what it refers to; `facts` are counted from the network, such as its depth."""

    year: int
    name: str
    value: float  # %
    facts: str
    refers_to: str
    source: str


def bars(title: str, results: Sequence[Result], unit: str = "%") -> Sheet:
    """The drawing, in the order given; the numbers stand beside the bars."""
    most = max(result.value for result in results)
    words = [f"{result.refers_to} ({result.source})" for result in results]
    x = MARGIN + 70 + max(text_width(result.name, WORD_SIZE) for result in results)
    widest = max(text_width(line, 12) for line in words)
    width = max(x + LONGEST + 90, x + widest + MARGIN)
    described = "; ".join(f"{r.year} {r.name}: {r.value:g} {unit}, {r.refers_to}" for r in results)
    sheet = Sheet(width, MARGIN * 2 + 30 + ROW * len(results), title, f"{described}.")
    sheet.text(MARGIN, MARGIN + 10, title, "strong", size=18)
    y = MARGIN + 36
    for result, line in zip(results, words, strict=True):
        length = max(2, round(LONGEST * result.value / most))
        counted = "conv" if result.facts else "data"
        sheet.rect(x, y, length, 16, counted, name=f"{result.name} {result.value:g}", corner=1)
        sheet.text(x + length + 8, y + 13, f"{result.value:g} {unit}", "strong", size=WORD_SIZE)
        sheet.text(x, y + 31, line, "faint", size=12)
        sheet.text(MARGIN, y + 13, f"{result.year}", size=WORD_SIZE)
        sheet.text(x - 14, y + 13, result.name, size=WORD_SIZE, anchor="end")
        if result.facts:
            sheet.text(x - 14, y + 31, result.facts, "faint", size=12, anchor="end")
        y += ROW
    return sheet.widen(MARGIN)
