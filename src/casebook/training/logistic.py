"""The head as a logistic regression on cached features: its penalty and class weights are chosen by cross-validation.

The problem is convex, so there is one best head for each penalty, and no learning rate, epochs or order to choose.
Several penalties are tried in folds of the training pictures that keep copies and groups together. Of those within
noise of the best the strongest is taken. The validation and test pictures play no part.
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # L2 per picture, of the mean loss on standardised features
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
    between: float
    """The share of the features' variance that lies between the classes."""
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
    """(N, F) features, (N,) labels and (N,) groups, which a fold keeps together -> which head suits these pictures."""
    labels = np.asarray(labels)
    counts = np.bincount(labels)
    if len(labels) > MOST_TRIED:
        kept = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST_TRIED])
        features, labels, groups = features[kept], labels[kept], groups[kept]
    folds = list(_folds(labels, groups, seed))
    num_classes = len(counts)
    losses: dict[float, NDArray[np.float64]] = {}
    means: dict[float, float] = {}
    answers: dict[float, NDArray[np.float64]] = {}
    for penalty in PENALTIES:
        answers[penalty] = _out_of_fold(features, labels, folds, num_classes, penalty, balanced=False)
        losses[penalty] = -np.log(answers[penalty][np.arange(len(labels)), labels])
        means[penalty] = float(losses[penalty].mean())
        if means[penalty] > 1.1 * min(means.values()):
            break  # weaker penalties only overfit more
    best = min(means, key=lambda one: means[one])
    penalty = next(one for one in losses if _within_noise(losses[one] - losses[best]))
    taken, balanced = answers[penalty].argmax(1), False
    present = counts[counts > 0]
    if present.max() >= UNEQUAL * present.min():
        weighted = _out_of_fold(features, labels, folds, num_classes, penalty, balanced=True).argmax(1)
        balanced = weights_help(taken, weighted, labels)
        taken = weighted if balanced else taken
    return HeadTrial(
        penalty,
        balanced,
        float((taken == labels).mean()),
        macro_recall(taken, labels),
        float(np.bincount(labels).max() / len(labels)),
        _between(features, labels),
        len(labels),
        means,
    )


def weights_help(plain: Labels, weighted: Labels, labels: Labels) -> bool:
    """Whether answers with class weights have a clearly higher macro recall and no clear loss of right answers.

    Clear is more than a standard error of the paired difference.
    """
    gains = (weighted == labels).astype(float) - (plain == labels)
    of_classes = [gains[labels == one] for one in np.unique(labels)]
    gain = float(np.mean([one.mean() for one in of_classes]))
    error = math.sqrt(sum(float(one.var()) / len(one) for one in of_classes)) / len(of_classes)
    return gain > error and gains.mean() >= -gains.std() / math.sqrt(len(gains))


def macro_recall(taken: Labels, labels: Labels) -> float:
    """The mean over the classes of the share of their pictures that were recognised."""
    return float(np.mean([(taken[labels == one] == one).mean() for one in np.unique(labels)]))


def _within_noise(extra: NDArray[np.floating]) -> bool:
    """Whether the extra losses of the same pictures are within a standard error of none."""
    return float(extra.mean()) <= float(extra.std()) / math.sqrt(len(extra))


def _folds(labels: Labels, groups: Labels, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    count = max(2, min(FOLDS, len(np.unique(groups))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer pictures than folds
        for learn, ask in StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups):
            if len(ask) and len(np.unique(labels[learn])) > 1:
                yield learn, ask


def _out_of_fold(
    features: NDArray[np.floating],
    labels: Labels,
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
    num_classes: int,
    penalty: float,
    *,
    balanced: bool,
) -> NDArray[np.float64]:
    """(N, num_classes) probabilities of each picture, by a head that has not seen it."""
    probabilities = np.full((len(labels), num_classes), 1 / num_classes)
    for learn, ask in folds:
        weights, biases = fit_logistic(features[learn], labels[learn], num_classes, penalty, balanced=balanced)
        logits = features[ask] @ weights.T + biases
        logits = np.exp(logits - logits.max(1, keepdims=True), dtype=np.float64)
        probabilities[ask] = logits / logits.sum(1, keepdims=True)
    return np.maximum(probabilities, SMALLEST)


def _between(features: NDArray[np.floating], labels: Labels) -> float:
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    between = sum(
        (labels == one).sum() * np.square(features[labels == one].mean(0) - mean).sum() for one in np.unique(labels)
    )
    return float(between / max(1e-12, np.square(features - mean).sum()))
