"""The confusion matrix of a report: which classes were taken for which, and the pictures behind each field."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..evaluation.predictions import Predictions
from ..formatting import percent_text
from .page import text

NUM_PAIRS = 12  # most common confusions
MOST_MATRIX_CLASSES = 30  # more do not fit a screen
PART_OF_MATRIX = 20  # classes shown when there are more than that
HINT = "Choose a number to see the pictures behind it."


class Cell(NamedTuple):
    """A field of the confusion matrix: classes by their index, and the rows of the predictions in it."""

    truth: int
    taken: int
    rows: tuple[int, ...]
    """The most telling first: confident mistakes, and what was only just recognised."""

    @property
    def right(self) -> bool:
        return self.truth == self.taken

    @property
    def key(self) -> str:
        return f"{self.truth}-{self.taken}"


def confusion_cells(predictions: Predictions) -> dict[tuple[int, int], Cell]:
    """(true, predicted) -> its cell, for every pair of classes that occurs."""
    rows: dict[tuple[int, int], list[int]] = {}
    confidence = predictions.confidences()
    for row, pair in enumerate(zip(predictions.labels.tolist(), predictions.predicted().tolist(), strict=True)):
        rows.setdefault(pair, []).append(row)
    return {
        (truth, taken): Cell(
            truth,
            taken,
            tuple(sorted(found, key=lambda row: (confidence[row] if truth == taken else -confidence[row], row))),
        )
        for (truth, taken), found in sorted(rows.items())
    }


def matrix_classes(evaluation: dict[str, Any], cells: dict[tuple[int, int], Cell]) -> list[int]:
    """The classes (by index) of the matrix: all that occur, or of many those most confused with each other."""
    occurring = [entry["index"] for entry in evaluation["per_class"]]
    if len(occurring) <= MOST_MATRIX_CLASSES:
        return occurring
    chosen: list[int] = []
    for cell in sorted((c for c in cells.values() if not c.right), key=lambda c: (-len(c.rows), c.truth, c.taken)):
        new = [index for index in (cell.truth, cell.taken) if index not in chosen]
        if len(chosen) + len(new) <= PART_OF_MATRIX:
            chosen += new
    return sorted(chosen)


def confusion_section(
    evaluation: dict[str, Any],
    predictions: Predictions,
    cells: dict[tuple[int, int], Cell],
    indices: Sequence[int],
    pairs: Sequence[Cell],
) -> str:
    num_occurring = len(evaluation["per_class"])
    total = {entry["index"]: entry["n"] for entry in evaluation["per_class"]}
    num_wrong = sum(len(cell.rows) for cell in pairs)
    inside = set(indices)
    parts = []
    if len(indices) < num_occurring:
        covered = sum(len(c.rows) for c in pairs if c.truth in inside and c.taken in inside)
        parts.append(
            f'<p class="said">{num_occurring:,} classes occur; the matrix shows the {len(indices)} most confused with '
            f"each other, and with them {covered:,} of the {num_wrong:,} mistakes.</p>"
            if indices
            else f'<p class="said">{num_occurring:,} classes occur and none was confused with another.</p>'
        )
    if indices:
        largest = "5.5rem" if len(indices) <= 4 else "2.9rem" if len(indices) <= 12 else "2rem"
        stacked = " stacked" if len(indices) > 12 else ""
        parts.append(
            f'<div class="explorer{stacked}"><div><div class="scroll">'
            f'<table class="matrix" style="--classes: {len(indices)}; --largest: {largest}">'
            f"{_matrix_head(predictions.classes, indices)}<tbody>"
        )
        for truth in indices:
            name = predictions.classes[truth]
            parts.append(f'<tr><th scope="row"><span title="{text(name)}"><bdi>{text(name)}</bdi></span></th>')
            for taken in indices:
                cell = cells.get((truth, taken))
                parts.append(f"<td>{_matrix_cell(cell, total[truth], predictions.classes)}</td>")
            parts.append(f'<td class="total">{total[truth]:,}</td></tr>')
        parts.append(
            '</tbody></table></div><div class="key-note"><span><i class="right"></i>recognised</span>'
            '<span><i class="wrong"></i>mistaken, as a share of the row</span></div></div>'
            f'<div class="panel" id="panel" role="region" aria-live="polite" aria-label="Pictures of a cell">'
            f'<p class="said hint">{HINT}</p></div></div>'
        )
    if pairs and (len(indices) > 2 or num_occurring > len(indices)):
        rest = (
            f'<p class="said">{len(pairs) - NUM_PAIRS:,} further pairs of classes are left out here.</p>'
            if len(pairs) > NUM_PAIRS
            else ""
        )
        parts.append(
            '<div class="pairs"><h3>Most common confusions</h3><div class="scroll"><table class="list"><thead><tr>'
            '<th scope="col">True class, taken for</th><th scope="col" class="number">Pictures</th>'
            '<th scope="col" class="number">Of the class</th></tr></thead><tbody>'
        )
        parts += [
            f'<tr><td><button type="button" class="pair" data-cell="{cell.key}">'
            f"<bdi>{text(predictions.classes[cell.truth])}</bdi>, taken for "
            f"<bdi>{text(predictions.classes[cell.taken])}</bdi></button></td>"
            f'<td class="number">{len(cell.rows):,}</td>'
            f'<td class="number">{percent_text(len(cell.rows) / total[cell.truth])}</td></tr>'
            for cell in pairs[:NUM_PAIRS]
        ]
        parts.append(f"</tbody></table></div>{rest}</div>")
    return "".join(parts)


def _matrix_head(classes: Sequence[str], indices: Sequence[int]) -> str:
    upright = ' class="upright"' if len(indices) > 4 or max(len(classes[i]) for i in indices) > 9 else ""
    names = "".join(
        f'<th scope="col"{upright}><span title="{text(classes[i])}"><bdi>{text(classes[i])}</bdi></span></th>'
        for i in indices
    )
    return (
        '<caption class="unseen">Rows: true class. Columns: predicted class. Arrow keys move between the cells.'
        '</caption><thead><tr><th class="corner axis-name">true ↓ &nbsp;predicted →</th>'
        f'{names}<th class="total" scope="col"><span>of</span></th></tr></thead>'
    )


def _matrix_cell(cell: Cell | None, num_true: int, classes: Sequence[str]) -> str:
    if cell is None:
        return '<span class="cell none">0</span>'
    n = len(cell.rows)
    share = n / num_true
    # A few mistakes among many pictures matter: the root makes small shares visible.
    heat = 0.12 + 0.88 * (share if cell.right else share**0.5)
    strong = " strong" if heat > 0.6 else ""
    truth, taken = text(classes[cell.truth]), text(classes[cell.taken])
    what = f"{truth} recognised" if cell.right else f"{truth} taken for {taken}"
    return (
        f'<button type="button" class="cell {"right" if cell.right else "wrong"}{strong}" data-cell="{cell.key}" '
        f'style="--heat: {heat:.2f}" title="{n:,} of {num_true:,} ({percent_text(share)}): {what}" '
        f'aria-label="{n}: {what}">{n}</button>'
    )
