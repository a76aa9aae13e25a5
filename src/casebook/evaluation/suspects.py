"""Labels and the features of their pictures -> the labels that are probably wrong.

Each picture is judged by a classifier that has not seen it: the pictures are divided into folds that keep copies and
groups together, and each fold is answered by a logistic regression on the others. Confident learning (Northcutt, Jiang
and Chuang, JAIR 70, 2021) then decides which labels are doubted, and the probability of the given label orders them.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

FOLDS = 5
NEIGHBOURS = 10
STRENGTHS = (0.01, 0.1, 1.0)  # L2 per picture, of the mean loss; the first fold chooses
MOST_ITERATIONS = 300
BLOCK = 2048  # pictures whose distances to all others are in memory at once


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A picture whose label is doubted, and why."""

    index: int
    """In the source."""
    name: str
    label: str
    suggested: str
    """The class that the other pictures make most probable."""
    probability: float
    """Of the given label, by a classifier that has not seen the picture."""
    suggested_probability: float
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"reasons": list(self.reasons)}


class Folds(NamedTuple):
    """(N, K) probabilities from classifiers that have not seen the picture, and the strength of their L2 penalty."""

    probabilities: NDArray[np.float64]
    strength: float


def out_of_fold(
    features: NDArray[np.floating], labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int = 0
) -> Folds:
    """What each picture looks like to a logistic regression on the pictures of other folds.

    `features` (N, F), `labels` (N,) from 0 to K - 1, `groups` (N,): pictures with the same number stay together. There
    are FOLDS folds, or as many as the smallest class has groups. Raises DataError for a class in a single group.
    """
    num_classes = int(labels.max()) + 1
    per_class = [len(np.unique(groups[labels == label])) for label in range(num_classes)]
    if min(per_class) < 2:
        raise DataError(
            f"class number {int(np.argmin(per_class))} has pictures of one group only, so nothing independent can "
            "judge them; add pictures or leave the class out"
        )
    folds = min(FOLDS, min(per_class))
    probabilities = np.zeros((len(labels), num_classes))
    strength = 0.0
    for number, (train, held) in enumerate(_divided(labels, groups, folds, seed)):
        if number == 0:
            fits = {one: _fit(features[train], labels[train], one) for one in STRENGTHS}
            losses = {one: _log_loss(_ask(fit, features[held], num_classes), labels[held]) for one, fit in fits.items()}
            strength = min(losses, key=lambda one: losses[one])
            fit = fits[strength]
        else:
            fit = _fit(features[train], labels[train], strength)
        probabilities[held] = _ask(fit, features[held], num_classes)
    return Folds(probabilities, strength)


def _divided(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups)
    return [(train, held) for train, held in divided if len(held)]


def _fit(features: NDArray[np.floating], labels: NDArray[np.int64], strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1 / (strength * len(labels)), max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a little more training would change no order
        return make_pipeline(StandardScaler(), regression).fit(features, labels)


def _ask(fit: Any, features: NDArray[np.floating], num_classes: int) -> NDArray[np.float64]:
    found = np.zeros((len(features), num_classes))
    found[:, fit[-1].classes_] = fit.predict_proba(features)
    return found


def _log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def doubted(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether confident learning doubts each label.

    A class is possible for a picture if its probability reaches the mean probability of that class among the pictures
    that bear its label. A label is doubted if the most probable of the possible classes is another one.
    """
    count, num_classes = probabilities.shape
    present = np.bincount(labels, minlength=num_classes) > 0
    usual = np.full(num_classes, np.inf)
    for label in np.flatnonzero(present):
        usual[label] = probabilities[labels == label, label].mean()
    possible = np.where(probabilities >= usual, probabilities, -1.0)
    best = possible.argmax(axis=1)
    return (possible[np.arange(count), best] >= 0) & (best != labels)


def lonely(features: NDArray[np.floating], labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether none of a picture's NEIGHBOURS nearest pictures of other groups has its label (by cosine)."""
    unit = features - features.mean(axis=0)
    unit = (unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    found = np.zeros(len(labels), np.bool_)
    nearest = min(NEIGHBOURS, len(labels) - 1)
    for first in range(0, len(labels), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(labels)))
        likeness = unit[rows] @ unit.T
        likeness[groups[rows, None] == groups[None]] = -2
        places = np.argpartition(-likeness, nearest - 1, axis=1)[:, :nearest]
        found[rows] = (labels[places] != labels[rows, None]).all(axis=1)
    return found


def order_suspects(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    disagreeing: Sequence[int] = (),
    far: NDArray[np.bool_] | None = None,
) -> list[tuple[int, tuple[str, ...]]]:
    """(row, reasons) of the suspects, the most doubtful first.

    A label is suspect if it is `doubted`, if another class is more probable, or if a copy of the picture has another
    label (`disagreeing`). Those copies come first, because one of the two must be wrong; the others follow by the
    probability of the given label, which found more planted labels than any other order. `far` adds a reason.
    """
    own = probabilities[np.arange(len(labels)), labels]
    is_doubted, is_taken = doubted(probabilities, labels), probabilities.argmax(axis=1) != labels
    copies = set(disagreeing)
    far = np.zeros(len(labels), np.bool_) if far is None else far
    rows = [row for row in range(len(labels)) if is_doubted[row] or is_taken[row] or row in copies]
    rows.sort(key=lambda row: (row not in copies, own[row]))
    found = []
    for row in rows:
        reasons = ["a copy of it has another label"] if row in copies else []
        if is_doubted[row]:
            reasons.append("another class is at least as probable as for most pictures of that class")
        elif is_taken[row]:
            reasons.append("another class is more probable")
        reasons += [f"none of the {NEIGHBOURS} pictures most like it has its label"] if far[row] else []
        found.append((row, tuple(reasons)))
    return found
