"""Scores of several labels a picture -> one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..scores import LabelScores
from .page import page, write


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
