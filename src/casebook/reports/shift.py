"""The accuracy on changed copies of pictures -> curves, and the report's section."""

from pathlib import Path
from typing import Any, NamedTuple

from ..formatting import percent_text
from . import figures
from .page import Cell, Column, Table, svg_uri

COLUMNS = (
    Column("Change"),
    Column("Strength", "number"),
    Column("Accuracy", "number"),
    Column("95 % interval", "number"),
    Column("Loss in points", "number"),
    Column("95 % interval", "number"),
)
JUDGED = (Column("Unsure", "number"), Column("Wrong of the answers", "number"))


class ShiftSection(NamedTuple):
    """`found` is what `measure_shift` gave; `picture` is a data URI of the curves, `words` says what is on them."""

    found: dict[str, Any]
    picture: str
    words: str
    table: Table


def shift_section(evaluation: dict[str, Any]) -> ShiftSection | None:
    """None where nothing was measured."""
    found = evaluation.get("shift")
    if not found:
        return None
    means = ", ".join(f"{one['name']} {percent_text(one['mean_accuracy'])}" for one in found["corruptions"])
    return ShiftSection(
        found,
        svg_uri(figures.svg(draw(found), outlines=True)),
        f"Mean accuracy over the strengths: {means}",
        table(found),
    )


def draw(found: dict[str, Any]) -> Any:
    """A matplotlib figure: for each corruption, accuracy against strength with its 95 % interval, and "unsure"."""
    figure, axes = figures.canvas(10.4, 5.4, columns=4, rows=2, sharey=True)
    clean, levels = found["clean"], range(6)
    for one, part in zip(found["corruptions"], axes.ravel(), strict=True):
        rows = [clean, *one["levels"]]
        part.plot(levels, [row["accuracy"] for row in rows], color=figures.COLOURS[0], marker="o", markersize=4,
                  label="accuracy, 95 % interval")  # fmt: skip
        low, high = zip(*(row["interval"] for row in rows), strict=True)
        part.fill_between(levels, low, high, color=figures.COLOURS[0], alpha=0.15, linewidth=0)
        if clean["unsure"] is not None:
            part.plot(levels, [row["unsure"] for row in rows], color=figures.COLOURS[1], linestyle="--", label="unsure")
            wrong = [float("nan") if row["wrong_answers"] is None else row["wrong_answers"] for row in rows]
            part.plot(levels, wrong, color=figures.COLOURS[3], linestyle=":", label="wrong of the answers")
        part.set_title(one["name"], fontsize=10)
        part.set_xticks(levels, ["none", *(f"{level['strength']:g}" for level in one["levels"])], fontsize=8)
        part.set_xlabel(one["parameter"], fontsize=8)
        part.set_ylim(-0.02, 1.02)
        part.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    handles, names = axes.ravel()[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def write_picture(path: Path, found: dict[str, Any]) -> None:
    """Writes the curves as a .png or .svg file, as a whole or not at all. Raises ModelError for another ending."""
    figures.picture_kind(path)
    figures.write_picture(draw(found), path)


def table(found: dict[str, Any]) -> Table:
    """A row for each change and strength."""
    judged = found["clean"]["unsure"] is not None
    rows = [_row("none", "", found["clean"], judged)]
    for one in found["corruptions"]:
        rows += [_row(one["name"], f"{level['strength']:g}", level, judged) for level in one["levels"]]
    rows += [_row(one["name"], "", one, judged) for one in found["views"]]
    return Table([*COLUMNS, *(JUDGED if judged else ())], rows)


def _row(name: str, strength: str, scores: dict[str, Any], judged: bool) -> list[Cell | str]:
    low, high = scores["interval"]
    least, most = scores["loss_interval"]
    row: list[Cell | str] = [
        Cell(name), strength, percent_text(scores["accuracy"]), f"{100 * low:.1f} to {100 * high:.1f} %",
        f"{100 * scores['loss']:.1f}", f"{100 * least:.1f} to {100 * most:.1f}",
    ]  # fmt: skip
    if judged:
        wrong = scores["wrong_answers"]
        row += [percent_text(scores["unsure"]), "–" if wrong is None else percent_text(wrong)]
    return row
