"""Labels and the features of their pictures -> the labels that are probably wrong.

Each picture is judged by a classifier that has not seen it: the pictures are divided into folds that keep copies and
groups together, and each fold is answered by a logistic regression on the others. Confident learning (Northcutt, Jiang
and Chuang, JAIR 70, 2021) then decides which labels are doubted, and the probability of the given label orders them.
How many are wrong is estimated apart from that, by a model of wrong labels: see `wrong_labels`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar, root_scalar
from scipy.special import log_softmax

from ..training.logistic import answer_fold, deal_folds

NEIGHBOURS = 10
STRENGTHS = (0.01, 0.1, 1.0)  # L2 per picture, of the mean loss; the first fold chooses
MOST_WRONG = 0.5  # share of labels; beyond it nothing could be learnt from them
TEMPERATURES = (0.05, 20.0)
LIKELIHOOD_RATIO = 1.9207  # half the 95 % quantile of chi-squared with one degree of freedom
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
    wrong_probability: float
    """That the given label is wrong; see `wrong_labels`."""
    reasons: tuple[str, ...]
    class_name: str | None = None
    """With several labels a picture the class in doubt, which `label` says is there ("cat") or not ("not cat")."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"reasons": list(self.reasons)}


class Folds(NamedTuple):
    """What classifiers that have not seen the picture say, and the strength of their L2 penalty.

    `probabilities` (N, K). `known` (N,) is False where no other fold has the picture's class: nothing can be said
    about its label, which then has probability 1.
    """

    probabilities: NDArray[np.float64]
    strength: float
    known: NDArray[np.bool_]


def out_of_fold(
    features: NDArray[np.floating], labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int = 0
) -> Folds:
    """What each picture looks like to a logistic regression on the pictures of other folds.

    `features` (N, F), `labels` (N,) from 0 to K - 1, `groups` (N,): pictures with the same number stay together. Raises
    DataError where fewer than two classes have pictures in two groups.
    """
    num_classes = int(labels.max()) + 1
    folds = deal_folds(labels, groups, seed)
    probabilities, known = np.zeros((len(labels), num_classes)), np.zeros(len(labels), np.bool_)
    strengths = STRENGTHS
    for fold in np.unique(folds):
        held = folds == fold
        known[held] = np.isin(labels[held], labels[~held])
        answers = {one: answer_fold(features, labels, held, num_classes, one) for one in strengths}
        asked = known[held]
        losses = {one: _log_loss(answers[one][asked], labels[held][asked]) for one in strengths}
        strengths = (min(strengths, key=lambda one: losses[one]),)  # the first fold has chosen for all
        probabilities[held] = answers[strengths[0]]
    probabilities[~known] = np.eye(num_classes)[labels[~known]]
    return Folds(probabilities, strengths[0], known)


def _log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The sum over the pictures."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).sum())


def doubted(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether confident learning doubts each label.

    A class is possible for a picture if its probability reaches the mean probability of that class among the pictures
    that bear its label. A label is doubted if the most probable of the possible classes is another one, unless the
    label is the most probable class of all: rare classes, whose usual probability is low, are possible for many
    pictures. cleanlab has the same exception.
    """
    count, num_classes = probabilities.shape
    present = np.bincount(labels, minlength=num_classes) > 0
    usual = np.full(num_classes, np.inf)
    for label in np.flatnonzero(present):
        usual[label] = probabilities[labels == label, label].mean()
    possible = np.where(probabilities >= usual, probabilities, -1.0)
    best = possible.argmax(axis=1)
    is_possible = possible[np.arange(count), best] >= 0
    return is_possible & (best != labels) & (probabilities.argmax(axis=1) != labels)


class WrongLabels(NamedTuple):
    """How many labels are wrong, and which.

    `share` of the labels is wrong, from `interval[0]` to `interval[1]` with 95 % confidence. `probabilities` (N,) are
    those that each label is wrong; their sum is about N times the share.
    """

    share: float
    interval: tuple[float, float]
    probabilities: NDArray[np.float64]


def wrong_labels(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> WrongLabels:
    """Tells wrong labels from pictures that the classifier finds hard.

    The model: with `share` the label was replaced by any other class; else it follows the out-of-fold `probabilities`
    (N, K), sharpened or softened by a temperature. A hard picture is one of which the classifier is unsure, and the
    temperature says how sure it may be; a wrong label may be on a picture of which it is rightly sure. Temperature and
    share are those under which `labels` (N,) are most likely, the interval has the shares whose likelihood is near that
    (profile likelihood), and Bayes' rule gives each label's probability.

    So labels are counted that are wrong by chance. Labels that are wrong because the picture is hard, or because one
    class is taken for another as a rule, look to the model like hard pictures, and most of them are not counted.
    """
    others = max(probabilities.shape[1] - 1, 1)
    logarithms, rows = np.log(np.maximum(probabilities, 1e-12)), np.arange(len(labels))

    def right(cold: float) -> NDArray[np.float64]:
        """(N,) the probability of the given label, the temperature being exp(cold)."""
        return np.exp(log_softmax(logarithms * np.exp(-cold), axis=1)[rows, labels])

    def loss(share: float, own: NDArray[np.float64]) -> float:
        return float(-np.log(np.maximum((1 - share) * own + share * (1 - own) / others, 1e-300)).sum())

    def lowest(of: Callable[[float], float], bounds: tuple[float, float]) -> tuple[float, float]:
        found: Any = minimize_scalar(of, bounds=bounds, method="bounded", options={"xatol": 1e-5})
        return float(found.x), float(found.fun)

    colds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))

    def best_share(cold: float) -> tuple[float, float]:
        own = right(cold)
        share, least = lowest(lambda share: loss(share, own), (0.0, MOST_WRONG))
        none = loss(0.0, own)
        return (0.0, none) if none <= least else (share, least)

    cold, _ = lowest(lambda cold: best_share(cold)[1], colds)
    share, least = best_share(cold)

    def beyond(other: float) -> float:
        """Above 0 where this share is too unlikely, whatever the temperature."""
        return lowest(lambda cold: loss(other, right(cold)), colds)[1] - least - LIKELIHOOD_RATIO

    low, high = 0.0, MOST_WRONG
    if share > 0 and beyond(low) > 0:
        low = float(root_scalar(beyond, bracket=(low, share), xtol=1e-5).root)
    if beyond(high) > 0:
        high = float(root_scalar(beyond, bracket=(share, high), xtol=1e-5).root)
    own = right(cold)
    wrong = share * (1 - own) / others
    return WrongLabels(share, (low, high), wrong / np.maximum((1 - share) * own + wrong, 1e-300))


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
