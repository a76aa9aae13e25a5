"""The head as a logistic regression on cached features: its penalty and class weights are chosen by cross-validation.

The problem is convex, so there is one best head for each penalty, and no learning rate, epochs or order to choose.
Several penalties are tried in folds of the training pictures that keep copies and groups together. Of those within
noise of the best the strongest is taken. The validation and test pictures play no part.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ..errors import DataError
from .noise import within_noise

FOLDS = 5
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # L2 per picture, of the mean loss on standardised features
FEW_PENALTIES = (1.0, 0.1, 0.01)  # enough to compare features
MOST_TRIED = 2000  # pictures that the folds are made of
MOST_ITERATIONS = 1000
UNEQUAL = 2.0  # times as many pictures in the largest class as in the smallest: class weights are tried
UNSEEN_LOGIT = -30.0  # of a class without a training picture
SMALLEST = 1e-12  # probability

Labels = NDArray[np.int64]


class HeadTrial(NamedTuple):
    """What cross-validation says about heads on these features."""

    penalty: float
    balanced: bool
    """Whether the loss of a class weighs as its pictures are rare."""
    top1: float
    """Share of right answers in the folds."""
    macro_recall: float
    chance: float
    """The share of the largest class, which an answer without looking gets right."""
    num_pictures: int
    losses: dict[float, float]
    """Penalty -> mean log loss in the folds."""

    @property
    def skill(self) -> float:
        """From 0, no better than chance, to 1, all right."""
        return max(0.0, (self.top1 - self.chance) / max(1e-9, 1 - self.chance))

    def to_dict(self) -> dict[str, Any]:
        losses = {f"{penalty:g}": round(loss, 5) for penalty, loss in self.losses.items()}
        return {name: round(value, 5) if isinstance(value, float) else value
                for name, value in self._asdict().items()} | {"losses": losses}  # fmt: skip


def fit_logistic(
    features: NDArray[np.floating], labels: Labels, num_classes: int, penalty: float, *, balanced: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, F) features, (N,) labels -> (num_classes, F) weights and (num_classes,) biases of the last layer.

    Lowers the mean cross-entropy plus half of `penalty` times the squared weights of the standardised features. A
    class without a picture is never answered.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    features = np.asarray(features, np.float64)
    mean, scale = features.mean(0), features.std(0)
    scale[scale < 1e-6 * max(1e-12, float(scale.max()))] = np.inf  # constant features say nothing
    regression: Any = LogisticRegression(
        C=1 / (penalty * len(labels)), class_weight="balanced" if balanced else None, max_iter=MOST_ITERATIONS, tol=1e-5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((features - mean) / scale, labels)
    found, bias = regression.coef_, regression.intercept_
    if len(found) == 1:  # of two classes scikit-learn gives the second
        found, bias = np.concatenate([-found, found]) / 2, np.concatenate([-bias, bias]) / 2
    weights, biases = np.zeros((num_classes, features.shape[1])), np.full(num_classes, UNSEEN_LOGIT)
    weights[regression.classes_] = found / scale
    biases[regression.classes_] = bias - (found / scale) @ mean
    return weights.astype(np.float32), biases.astype(np.float32)


def try_heads(features: NDArray[np.floating], labels: Labels, groups: Labels, *, seed: int = 0) -> HeadTrial:
    """(N, F) features, (N,) labels and (N,) groups, which a fold keeps together -> which head suits these pictures.

    Raises DataError where they are too few to be divided into folds.
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels)
    if len(labels) > MOST_TRIED:
        kept = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST_TRIED])
        features, labels, groups = features[kept], labels[kept], groups[kept]
    folds = deal_folds(labels, groups, seed)
    num_classes = len(counts)
    answers, losses = _try_penalties(features, labels, folds, num_classes, PENALTIES)
    means = {penalty: float(of_penalty.mean()) for penalty, of_penalty in losses.items()}
    best = min(means, key=lambda one: means[one])
    penalty = next(one for one in losses if within_noise(losses[one] - losses[best], groups))
    taken, balanced = answers[penalty].argmax(1), False
    present = counts[counts > 0]
    if present.max() >= UNEQUAL * present.min():
        weighted = _answer_all(features, labels, folds, num_classes, penalty, balanced=True).argmax(1)
        balanced = weights_help(taken, weighted, labels)
        taken = weighted if balanced else taken
    return HeadTrial(
        penalty,
        balanced,
        float((taken == labels).mean()),
        macro_recall(taken, labels),
        float(np.bincount(labels).max() / len(labels)),
        len(labels),
        means,
    )


def least_losses(
    features: NDArray[np.floating], labels: Labels, groups: Labels, *, seed: int = 0
) -> NDArray[np.float64]:
    """(N,) log losses of heads that have not seen the picture, at the one of three penalties that suits them best.

    Takes and raises the same as `try_heads`. With the same `seed`, other features of the pictures get the same folds.
    """
    folds = deal_folds(labels, groups, seed)
    _, losses = _try_penalties(features, labels, folds, int(labels.max()) + 1, FEW_PENALTIES)
    return min(losses.values(), key=lambda of_penalty: float(of_penalty.mean()))


def weights_help(plain: Labels, weighted: Labels, labels: Labels) -> bool:
    """Whether answers with class weights have a clearly higher macro recall and no clear loss of right answers.

    Clear is more than a standard error of the paired difference.
    """
    gains = (weighted == labels).astype(float) - (plain == labels)
    of_classes = [gains[labels == one] for one in np.unique(labels)]
    gain = float(np.mean([one.mean() for one in of_classes]))
    error = math.sqrt(sum(float(one.var()) / len(one) for one in of_classes)) / len(of_classes)
    return bool(gain > error and gains.mean() >= -gains.std() / math.sqrt(len(gains)))


def macro_recall(taken: Labels, labels: Labels) -> float:
    """The mean over the classes of the share of their pictures that were recognised."""
    return float(np.mean([(taken[labels == one] == one).mean() for one in np.unique(labels)]))


def deal_folds(labels: Labels, groups: Labels, seed: int) -> Labels:
    """(N,) from 0 to FOLDS - 1: groups are dealt out whole, large ones first, each to the fold with the fewest of its
    classes, then of all pictures.

    Raises DataError where the pictures outside a fold are of one class.
    """
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    num_groups = np.zeros(int(labels.max()) + 1, np.int64)
    for rows in members.values():
        num_groups[np.unique(labels[rows])] += 1
    if (num_groups > 1).sum() < 2:
        raise DataError(
            f"{len(labels)} pictures are too few: labels are judged by other pictures of the class, so two classes "
            "need pictures of at least two groups, copies counting as one"
        )
    dealt = list(members.values())
    dealt = [dealt[place] for place in np.random.default_rng(seed).permutation(len(dealt))]
    folds, counts = np.zeros(len(labels), np.int64), np.zeros((FOLDS, len(num_groups)), np.int64)
    for rows in sorted(dealt, key=len, reverse=True):
        fold = int((counts[:, labels[rows]].sum(axis=1) * len(labels) + counts.sum(axis=1)).argmin())
        folds[rows] = fold
        np.add.at(counts[fold], labels[rows], 1)
    if ((counts.sum(axis=0) - counts > 0).sum(axis=1) < 2).any():
        raise DataError("a fold leaves one class to learn from; add pictures of the other classes")
    return folds


def answer_fold(
    features: NDArray[np.floating],
    labels: Labels,
    held: NDArray[np.bool_],
    num_classes: int,
    penalty: float,
    *,
    balanced: bool = False,
) -> NDArray[np.float64]:
    """(M, num_classes) probabilities of the M `held` pictures, by a head that has learnt the others."""
    weights, biases = fit_logistic(features[~held], labels[~held], num_classes, penalty, balanced=balanced)
    return softmax((features[held] @ weights.T + biases).astype(np.float64), axis=1)


def _try_penalties(
    features: NDArray[np.floating], labels: Labels, folds: Labels, num_classes: int, penalties: Sequence[float]
) -> tuple[dict[float, NDArray[np.float64]], dict[float, NDArray[np.float64]]]:
    """(N, num_classes) probabilities and (N,) log losses in the folds, for each of the falling penalties tried."""
    answers: dict[float, NDArray[np.float64]] = {}
    losses: dict[float, NDArray[np.float64]] = {}
    least = math.inf
    for penalty in penalties:
        answers[penalty] = _answer_all(features, labels, folds, num_classes, penalty, balanced=False)
        losses[penalty] = -np.log(answers[penalty][np.arange(len(labels)), labels])
        mean = float(losses[penalty].mean())
        least = min(least, mean)
        if mean > 1.1 * least:
            break  # weaker penalties only overfit more
    return answers, losses


def _answer_all(
    features: NDArray[np.floating], labels: Labels, folds: Labels, num_classes: int, penalty: float, *, balanced: bool
) -> NDArray[np.float64]:
    """(N, num_classes) probabilities of each picture, by a head that has not seen it."""
    probabilities = np.zeros((len(labels), num_classes))
    for fold in np.unique(folds):
        held = folds == fold
        probabilities[held] = answer_fold(features, labels, held, num_classes, penalty, balanced=balanced)
    return np.maximum(probabilities, SMALLEST)
