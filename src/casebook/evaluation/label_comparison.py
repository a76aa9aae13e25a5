"""Several classifiers that give many labels, asked about the same pictures -> their figures and paired differences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..training.ranking import decided
from .comparison import verdict
from .many_labels import evaluate_labels, paired_map
from .metrics import CONFIDENCE
from .paired import paired_error
from .predictions import Predictions

SHOWN = ("map", "subset_accuracy", "macro_f1")


class LabelsScored(NamedTuple):
    """What one classifier says of the pictures, and from which probability it gives each class."""

    name: str
    predictions: Predictions
    thresholds: tuple[float, ...]


def on_same_pictures(rows: Sequence[LabelsScored]) -> list[LabelsScored]:
    """The rows restricted to the pictures that all of them hold."""
    common = set(rows[0].predictions.names).intersection(*(row.predictions.names for row in rows))
    found = []
    for row in rows:
        said = row.predictions
        kept = np.array([name in common for name in said.names], bool)
        names = tuple(name for name in said.names if name in common)
        found.append(
            row._replace(
                predictions=said._replace(names=names, labels=said.labels[kept], probabilities=said.probabilities[kept])
            )
        )
    return found


def compare_labels(rows: Sequence[LabelsScored], *, seed: int = 0) -> list[dict[str, Any]]:
    """A JSON-able record for each row: its figures, and for all but the first how much they differ from the first's.

    A difference is this row's figure minus the first row's, in [-1, 1]. That of mAP has a paired bootstrap's 95 %
    interval; that of subset accuracy also counts the pictures that only one of the two has right, as `paired_error`.
    """
    found = []
    for row in rows:
        said = row.predictions
        scores = evaluate_labels(said.probabilities, said.labels, said.classes, row.thresholds, seed=seed)
        figures = {name: scores[name] for figure in SHOWN for name in (figure, f"{figure}_interval")}
        record = {"name": row.name, "n": scores["n"], "complete": scores["complete"], **figures, "against": []}
        if row is not rows[0]:
            record["against"].append({"name": rows[0].name, **differences(row, rows[0], seed=seed)})
        found.append(record)
    return found


def differences(row: LabelsScored, reference: LabelsScored, *, seed: int = 0) -> dict[str, Any]:
    """`map` and `subset_accuracy`: difference, interval and verdict; None where the pictures say nothing of it."""
    said, theirs = row.predictions, reference.predictions
    truth = said.labels
    found: dict[str, Any] = {"map": None, "subset_accuracy": None}
    if (decided(truth) == 1).any():
        difference, interval = paired_map(said.probabilities, theirs.probabilities, truth, seed=seed)
        found["map"] = _judged(difference, interval)
    complete = ~np.isnan(decided(truth)).any(axis=1)
    if complete.any():
        wrong, reference_wrong = (_wrong(one)[complete] for one in (row, reference))
        paired = paired_error(wrong, reference_wrong, seed=seed)
        low, high = paired["interval"]
        found["subset_accuracy"] = _judged(-paired["difference"], [-high, -low]) | {
            name: paired[name] for name in ("fixed", "broken", "p_value")
        }
    return found | {"level": CONFIDENCE}


def _wrong(row: LabelsScored) -> NDArray[np.bool_]:
    """(N,) whether any label of a picture is wrong."""
    given = row.predictions.probabilities >= np.asarray(row.thresholds)
    return (given != (decided(row.predictions.labels) == 1)).any(axis=1)


def _judged(difference: float, interval: Sequence[float]) -> dict[str, Any]:
    low, high = interval
    of_errors = (-high, -low)
    return {"difference": difference + 0.0, "interval": [low + 0.0, high + 0.0], "verdict": verdict(of_errors)}
