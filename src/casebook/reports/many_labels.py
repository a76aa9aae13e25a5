"""Scores of several labels a picture -> one page; those of several runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..formatting import percent_text
from ..scores import LabelScores
from .page import Bar, Cell, Column, Table, bar_start, page, write

FIGURES = (("mAP", "map"), ("Every label right", "subset_accuracy"), ("Macro F1", "macro_f1"))


def write_labels_page(path: str | Path, title: str, document: dict[str, Any], notes: Sequence[str]) -> None:
    """Writes the page as one self-contained HTML file, as a whole or not at all. Raises RunError."""
    write(path, labels_page(title, document, notes))


def labels_page(title: str, document: dict[str, Any], notes: Sequence[str]) -> str:
    """The page as text.

    `document` has the scores of `evaluate_labels`, and of a training its `thresholds` and `agreement`.
    """
    fitted = {one["class"]: one for one in document.get("thresholds", ())}
    rows = [one | {"fitted": fitted.get(one["class"])} for one in document["per_class"]]
    scores = LabelScores.from_dict(document)
    agreement = document.get("agreement")
    return page("many_labels.html.j2", title=title, scores=scores, rows=rows, notes=notes, agreement=agreement)


def write_label_comparison(path: str | Path, document: dict[str, Any]) -> None:
    """Writes what `compare_many_labels` found as one self-contained HTML file. Raises RunError."""
    write(path, label_comparison_page(document))


def label_comparison_page(document: dict[str, Any]) -> str:
    """The page as text."""
    compared = document["compared"]
    return page(
        "label_comparison.html.j2",
        title=f"{len(compared)} runs on {document['data']}",
        num_pictures=compared[0]["n"],
        notes=document["notes"],
        figures=_figures(compared),
        differences=_differences(compared),
    )


def _figures(compared: Sequence[dict[str, Any]]) -> Table:
    known = [row["map_interval"][0] for row in compared if row["map_interval"]]
    columns = [Column("Run"), *(Column(title, "number") for title, _ in FIGURES)]
    rows = []
    for row in compared:
        cells: list[Any] = [Cell(row["name"])]
        for _, figure in FIGURES:
            ends = row[f"{figure}_interval"]
            between = f"{percent_text(ends[0])} to {percent_text(ends[1])}" if ends else ""
            cells.append(None if row[figure] is None else Cell(percent_text(row[figure]), between))
        cells.append(None if row["map"] is None else Bar(row["map"], *row["map_interval"]))
        rows.append(cells)
    return Table([*columns, Column("mAP", "bar", bar_start(min(known, default=0.0)))], rows)


def _differences(compared: Sequence[dict[str, Any]]) -> Table:
    columns = [Column("Figure of"), Column("minus that of")]
    for title, _ in FIGURES[:2]:
        columns += [Column(f"{title}, points", "number"), Column("Verdict")]
    rows = []
    for row in compared:
        for other in row["against"]:
            cells: list[Any] = [Cell(row["name"]), Cell(other["name"])]
            for _, figure in FIGURES[:2]:
                found = other[figure]
                if found is None:
                    cells += [None, None]
                    continue
                low, high = (100 * end for end in found["interval"])
                p = f", p = {found['p_value']:.2g}" if "p_value" in found else ""
                cells += [Cell(f"{100 * found['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}{p}"), found["verdict"]]
            rows.append(cells)
    return Table(columns, rows)
