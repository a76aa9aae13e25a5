"""Rows of a list whose pictures have several labels each -> a target for every class, votes of several people joined.

A target is the share of people who gave the class: 1 yes, 0 no, between them a soft label, NaN where nobody said.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .multi_label import Combined
from .pictures import comparable

ANNOTATOR_COLUMNS = ("annotator", "rater", "worker", "coder", "voter", "labeller", "labeler")

Vector = tuple[float, ...]  # one target a class


class ManyLabels(NamedTuple):
    """The classes of a list, and the targets that each text of labels stands for."""

    classes: tuple[str, ...]
    vectors: dict[str, Vector]
    said: str  # where the labels stand, for messages


def from_separated(texts: Sequence[str], found: Combined, column: str) -> ManyLabels:
    """Of one column with texts such as "cat|dog"."""
    parts = {text: [comparable(part.strip()) for part in text.split(found.separator)] for text in set(texts)}
    classes = tuple(sorted({part for names in parts.values() for part in names if part}))
    vectors = {text: tuple(float(name in names) for name in classes) for text, names in parts.items()}
    return ManyLabels(classes, vectors, f"separated by {found.separator!r} in the column {column!r}")


def from_columns(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> ManyLabels:
    """Of one column a class with 1, 0, a share of votes between them, or nothing where it is unknown."""
    texts = {tuple(row[column] for column in columns) for row in rows}
    vectors = {"\t".join(text): tuple(float(cell) if cell else math.nan for cell in text) for text in texts}
    return ManyLabels(tuple(map(comparable, columns)), vectors, f"one column a class, {len(columns)} columns")


def are_shares(cells: set[str]) -> bool:
    """Whether each cell is empty or a number from 0 to 1, and some cell is a number."""

    def fits(cell: str) -> bool:
        try:
            return not cell or 0 <= float(cell) <= 1
        except ValueError:
            return False

    return any(cells) and all(map(fits, cells))


def mean_votes(votes: Sequence[Vector]) -> Vector:
    """The mean of each class's known votes; NaN without any."""
    columns = zip(*votes, strict=True)
    known = [[vote for vote in column if not math.isnan(vote)] for column in columns]
    return tuple(sum(column) / len(column) if column else math.nan for column in known)


def krippendorff_alpha(votes: NDArray[np.floating]) -> float | None:
    """Krippendorff's alpha of (units, people) nominal values, NaN where a person said nothing.

    1 is full agreement, 0 what chance gives (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, part C).
    None where no unit has two values, or all values are equal.
    """
    values = np.unique(votes[~np.isnan(votes)])
    counts = np.stack([(votes == value).sum(axis=1) for value in values], axis=1) if len(values) else np.zeros((0, 0))
    counts = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    totals = counts.sum(axis=0)
    n = totals.sum()
    if n < 2 or (expected := n * n - (totals**2).sum()) == 0:
        return None
    people = counts.sum(axis=1)
    disagreeing = ((people**2 - (counts**2).sum(axis=1)) / (people - 1)).sum()
    return float(1 - (n - 1) * disagreeing / expected)


def check_classes(path: object, many: ManyLabels) -> None:
    """Raises DataError where there are fewer than two classes or two of one name."""
    if len(many.classes) < 2 or len(set(many.classes)) < len(many.classes):
        raise DataError(f"{path} has the classes {', '.join(many.classes)}; expected at least two different ones")
