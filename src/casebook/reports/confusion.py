"""The confusion matrix of a report: which classes were taken for which, and the pictures behind each number."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..evaluation.predictions import Predictions
from ..formatting import percent_text
from .page import Cell, Column, Table

NUM_PAIRS = 12  # most common confusions
MOST_MATRIX_CLASSES = 30  # more do not fit a screen
PART_OF_MATRIX = 20  # classes shown when there are more than that
HINT = "Choose a number to see the pictures behind it."


class Confusion(NamedTuple):
    """The pictures of one class that were taken for one class: both by index, and the rows of the predictions."""

    truth: int
    taken: int
    rows: tuple[int, ...]
    """The most telling first: the most confident mistakes, and the least certain of the right answers."""

    @property
    def right(self) -> bool:
        return self.truth == self.taken

    @property
    def key(self) -> str:
        return f"{self.truth}-{self.taken}"


Confusions = dict[tuple[int, int], Confusion]


def find_confusions(predictions: Predictions) -> Confusions:
    """(true, predicted) -> the pictures, for every pair of classes that occurs, right answers among them."""
    rows: dict[tuple[int, int], list[int]] = {}
    confidence = predictions.confidences()
    for row, pair in enumerate(zip(predictions.labels.tolist(), predictions.predicted().tolist(), strict=True)):
        rows.setdefault(pair, []).append(row)
    return {
        (truth, taken): Confusion(
            truth,
            taken,
            tuple(sorted(found, key=lambda row: (confidence[row] if truth == taken else -confidence[row], row))),
        )
        for (truth, taken), found in sorted(rows.items())
    }


def mistaken_pairs(found: Confusions) -> list[Confusion]:
    """The pairs of different classes, the most common first."""
    return sorted((c for c in found.values() if not c.right), key=lambda c: (-len(c.rows), c.truth, c.taken))


def matrix_classes(evaluation: dict[str, Any], pairs: Sequence[Confusion]) -> list[int]:
    """The classes (by index) of the matrix: all that occur or, of many, those most often confused with each other."""
    occurring = [entry["index"] for entry in evaluation["per_class"]]
    if len(occurring) <= MOST_MATRIX_CLASSES:
        return occurring
    chosen: list[int] = []
    for pair in pairs:
        new = [index for index in (pair.truth, pair.taken) if index not in chosen]
        if len(chosen) + len(new) <= PART_OF_MATRIX:
            chosen += new
    return sorted(chosen)


class MatrixCell(NamedTuple):
    """A number of the matrix. `heat` in [0, 1] is the strength of its colour."""

    key: str
    pictures: int
    right: bool
    heat: float
    what: str
    share: str

    @property
    def strong(self) -> bool:
        return self.heat > 0.6


class MatrixRow(NamedTuple):
    name: str
    total: int
    cells: list[MatrixCell | None]


class Matrix(NamedTuple):
    """The matrix as the template shows it."""

    names: list[str]
    rows: list[MatrixRow]

    @property
    def largest_cell(self) -> str:
        """In CSS units."""
        num = len(self.names)
        return "5.5rem" if num <= 4 else "2.9rem" if num <= 12 else "2rem"

    @property
    def stacked(self) -> bool:
        """Whether the panel of pictures stands below the matrix."""
        return len(self.names) > 12

    @property
    def upright(self) -> bool:
        """Whether the names of the columns are turned."""
        return len(self.names) > 4 or max(map(len, self.names)) > 9


class ConfusionSection(NamedTuple):
    """What the section shows. `covered` of the mistakes lie inside the matrix; `pairs` is None when it adds nothing."""

    matrix: Matrix | None
    num_occurring: int
    num_mistakes: int
    covered: int
    pairs: Table | None
    num_more_pairs: int


def confusion_section(
    evaluation: dict[str, Any], classes: Sequence[str], found: Confusions, indices: Sequence[int]
) -> ConfusionSection:
    """`indices` are the classes of the matrix."""
    pairs, inside = mistaken_pairs(found), set(indices)
    total = {entry["index"]: entry["n"] for entry in evaluation["per_class"]}
    rows = [
        MatrixRow(classes[truth], total[truth], [_cell(found.get((truth, i)), total[truth], classes) for i in indices])
        for truth in indices
    ]
    adds = bool(pairs) and (len(indices) > 2 or len(total) > len(indices))
    return ConfusionSection(
        matrix=Matrix([classes[i] for i in indices], rows) if rows else None,
        num_occurring=len(total),
        num_mistakes=sum(len(pair.rows) for pair in pairs),
        covered=sum(len(pair.rows) for pair in pairs if pair.truth in inside and pair.taken in inside),
        pairs=_pairs_table(pairs[:NUM_PAIRS], total, classes) if adds else None,
        num_more_pairs=max(0, len(pairs) - NUM_PAIRS),
    )


def _cell(found: Confusion | None, num_true: int, classes: Sequence[str]) -> MatrixCell | None:
    if found is None:
        return None
    share = len(found.rows) / num_true
    truth, taken = classes[found.truth], classes[found.taken]
    return MatrixCell(
        key=found.key,
        pictures=len(found.rows),
        right=found.right,
        # A few mistakes among many pictures matter: the square root makes small shares visible.
        heat=0.12 + 0.88 * (share if found.right else share**0.5),
        what=f"{truth} recognised" if found.right else f"{truth} taken for {taken}",
        share=f"{len(found.rows):,} of {num_true:,} ({percent_text(share)})",
    )


def _pairs_table(pairs: Sequence[Confusion], total: dict[int, int], classes: Sequence[str]) -> Table:
    columns = [Column("True class, taken for"), Column("Pictures", "number"), Column("Of the class", "number")]
    rows = [
        [
            Cell(f"{classes[pair.truth]}, taken for {classes[pair.taken]}", opens=pair.key),
            f"{len(pair.rows):,}",
            percent_text(len(pair.rows) / total[pair.truth]),
        ]
        for pair in pairs
    ]
    return Table(columns, rows)
