"""What a judge says of the pictures of an evaluation -> the report's section on "unsure"."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..formatting import percent_text, share_text
from .charts import Axis, Line, line_chart, reliability_chart
from .page import Cell, Column, Table

COLUMNS = (
    Column("At most wrong"),
    Column("Answered", "number"),
    Column("of the pictures", "number"),
    Column("Wrong", "number"),
    Column("of the answers", "number"),
    Column("95 % interval", "number"),
    Column("Answered in validation", "number"),
    Column("Wrong", "number"),
)


class UnsureSection(NamedTuple):
    """`found` is what `judged_scores` gave; charts are (title, SVG)."""

    found: dict[str, Any]
    promise: str
    charts: list[tuple[str, str]]
    table: Table


def unsure_section(evaluation: dict[str, Any]) -> UnsureSection | None:
    """None where nothing was judged."""
    found = evaluation.get("unsure")
    if not found:
        return None
    charts = [
        ("Mistakes among the answers", risk_chart(found["curve"], found["most_wrong"], found["n"])),
        ("Accuracy against confidence, calibrated", reliability_chart(found["calibrated"]["reliability"])),
    ]
    rows = [_row(promise) for promise in found["promises"]]
    return UnsureSection(found, share_text(found["most_wrong"]), charts, Table(COLUMNS, rows))


def risk_chart(curve: Sequence[Sequence[float]], most_wrong: float, num_pictures: int) -> str:
    """An SVG of the share of wrong answers against the share answered, in steps of 1 %, and the promised share."""
    values = []
    for percent in range(1, 101):
        values.append(next(wrong for answered, wrong in curve if answered >= percent / 100 - 1e-9))
    lines = [Line("promised", "training", [most_wrong] * 100), Line("wrong", "validation", values)]
    places = [f"{percent} % answered" for percent in range(1, 101)]
    axis = Axis("wrong of the answers", percent=True, num_pictures=num_pictures, below="surest pictures answered, %")
    return line_chart("Wrong answers against the share answered", lines, places, axis)


def _row(promise: dict[str, Any]) -> list[Cell | str]:
    here = promise["here"]
    interval = here["wrong_interval"]
    return [
        share_text(promise["most_wrong"]),
        f"{here['answered']:,}",
        percent_text(here["answered_share"]),
        f"{here['wrong']:,}",
        "–" if here["wrong_share"] is None else percent_text(here["wrong_share"]),
        "–" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %",
        f"{promise['answered']:,} of {promise['n']:,}",
        f"{promise['wrong']:,}",
    ]
