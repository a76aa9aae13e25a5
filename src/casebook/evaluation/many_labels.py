"""How well several labels a picture are recognised, and the thresholds from which they are given.

Truth is (N, K) in [0, 1], NaN where unknown: a class counts as there above 1/2, as unknown at 1/2. A count gets
Wilson's interval. The others come from pictures drawn again with replacement, the same for all classes; average
precision and macro F1 of the drawn carry their bias twice and are corrected for it, as in `metrics`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, WeightsError
from ..training.ranking import Ranked, average_precisions, decided, rank, running
from .metrics import CONFIDENCE, class_scores, debiased_interval, percentile_interval, wilson_interval

RESAMPLES = 1000
DRAWN_AT_ONCE = 4_000_000  # weights held in memory: 32 MB
UNDECIDED = 0.5  # the threshold of a class that validation says nothing of

INTERVALS = {
    "level": CONFIDENCE,
    "map": "bootstrap over pictures, corrected for bias; without any mistake Wilson score of the labels, all right",
    "subset_accuracy": "Wilson score",
    "macro_f1": "bootstrap over pictures, corrected for bias",
    "average_precision": "bootstrap over pictures, corrected for bias",
    "per_class": "Wilson score; F1 = 2 J / (1 + J) from that of J = TP / (TP + FP + FN)",
    "threshold": "percentile bootstrap over the validation pictures",
}


class Threshold(NamedTuple):
    """From which probability a class is given; F1 and interval are of validation, None where it says nothing."""

    threshold: float
    interval: list[float] | None
    f1: float | None
    n: int
    """validation pictures that have the class"""


def fit_thresholds(
    probabilities: NDArray[np.floating], truth: NDArray[np.floating], *, seed: int = 0, resamples: int = RESAMPLES
) -> list[Threshold]:
    """For each class the threshold with the best F1, half-way between two probabilities, with its interval.

    A class without a picture, or with nothing else, gets 1/2.
    """
    found = []
    for column in range(truth.shape[1]):
        ranked = rank(probabilities[:, column], truth[:, column])
        num_positive = int(ranked.positive.sum())
        if num_positive in (0, len(ranked.positive)):
            found.append(Threshold(UNDECIDED, None, None, num_positive))
            continue
        steps = ranked.scores[ranked.ends]
        middles = np.append((steps[:-1] + steps[1:]) / 2, steps[-1] / 2)
        f1 = _f1_curve(ranked, np.ones((1, len(truth))))[0]
        drawn = [
            middles[np.argmax(curve)] for some in _drawn(len(truth), seed, resamples)
            for curve in _f1_curve(ranked, some)
        ]  # fmt: skip
        best = int(np.argmax(f1))
        ends = percentile_interval(np.array(drawn))
        threshold = float(middles[best])
        found.append(
            Threshold(
                threshold, [min(ends[0], threshold), max(ends[1], threshold)], float(f1[best]), num_positive
            )
        )  # fmt: skip
    return found


def evaluate_labels(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.floating],
    classes: Sequence[str],
    thresholds: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The evaluation of (N, K) probabilities against (N, K) truth as a JSON-able dictionary.

    A class is given from its threshold on. Mean average precision and macro F1 are means over the classes that some
    picture has. `subset_accuracy` is the share of pictures of which every label is known that have all of them right.

    Raises DataError without pictures, WeightsError for probabilities that are not numbers.
    """
    if not len(truth):
        raise DataError("there is no picture to evaluate; give a set with at least one")
    if broken := int((~np.isfinite(probabilities).all(axis=1)).sum()):
        raise WeightsError(f"the network's output is not a number for {broken} of {len(truth)} pictures")
    actual, known = decided(truth) == 1, ~np.isnan(decided(truth))
    given = (np.asarray(probabilities) >= np.asarray(thresholds)) & known
    hits = actual & given
    counts = np.stack([actual.sum(0), given.sum(0), hits.sum(0)])
    precisions = average_precisions(probabilities, truth)[0]
    drawn_precisions, drawn_f1 = [], []
    for weights in _drawn(len(truth), seed, resamples):
        drawn_precisions.append(average_precisions(probabilities, truth, weights))
        drawn_f1.append(_macro_f1(*(weights @ part for part in (actual, given, hits))))
    of_classes = np.concatenate(drawn_precisions)
    whole = known.all(axis=1)
    right = int((given == actual)[whole].all(axis=1).sum())
    has_pictures = counts[0] > 0
    mean_precision = float(precisions[has_pictures].mean()) if has_pictures.any() else None
    macro_f1 = float(_macro_f1(*(part[None] for part in counts))[0]) if has_pictures.any() else None
    return {
        "n": len(truth),
        "map": mean_precision,
        "map_interval": _corrected(of_classes[:, has_pictures], mean_precision, int(counts[0].sum())),
        "subset_accuracy": right / int(whole.sum()) if whole.any() else None,
        "subset_accuracy_interval": wilson_interval(right, int(whole.sum())) if whole.any() else None,
        "complete": int(whole.sum()),
        "macro_f1": macro_f1,
        "macro_f1_interval": _corrected(np.concatenate(drawn_f1)[:, None], macro_f1, int(counts[0].sum())),
        "interval": {**INTERVALS, "resamples": resamples, "seed": seed},
        "per_class": [
            {
                "class": name,
                "index": index,
                **_class_scores(*map(int, counts[:, index])),
                "known": int(known[:, index].sum()),
                "threshold": float(thresholds[index]),
                "average_precision": float(precisions[index]) if has_pictures[index] else None,
                "average_precision_interval": _corrected(
                    of_classes[:, [index]],
                    float(precisions[index]) if has_pictures[index] else None,
                    int(counts[0, index]),
                ),
            }
            for index, name in enumerate(classes)
        ],
    }


def paired_map(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    truth: NDArray[np.floating],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, list[float]]:
    """How much higher the mean average precision of the first (N, K) probabilities is, with its 95 % interval.

    Both see the same drawn pictures, so what they share does not widen the interval.
    """
    has_pictures = (decided(truth) == 1).any(axis=0)

    def difference(weights: NDArray[np.floating] | None) -> NDArray[np.float64]:
        a, b = (average_precisions(one, truth, weights)[:, has_pictures] for one in (first, second))
        return np.nanmean(a, axis=1) - np.nanmean(b, axis=1)

    drawn = np.concatenate([difference(weights) for weights in _drawn(len(truth), seed, resamples)])
    return float(difference(None)[0]), percentile_interval(drawn)


def _class_scores(num_true: int, num_predicted: int, hits: int) -> dict[str, Any]:
    if num_true + num_predicted == 0:
        nothing = ("precision", "recall", "f1")
        ends = dict.fromkeys(f"{name}_interval" for name in nothing)
        return {"n": 0, "predicted": 0, **dict.fromkeys(nothing), **ends}
    return class_scores(num_true, num_predicted, hits)


def _f1_curve(ranked: Ranked, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R, m): F1 where the class is given down to each distinct score."""
    hits, given = running(ranked, weights)
    return 2 * hits / np.maximum(given + hits[:, -1:], 1e-300)


def _macro_f1(
    actual: NDArray[Any], given: NDArray[Any], hits: NDArray[Any]
) -> NDArray[np.float64]:  # fmt: skip
    """(R, K) counts each -> (R,): the mean F1 of the classes that have pictures; NaN where none has."""
    f1 = np.where(actual > 0, 2 * hits / np.maximum(actual + given, 1), 0.0)
    occurring = (actual > 0).sum(axis=1)
    return np.where(occurring > 0, f1.sum(axis=1) / np.maximum(occurring, 1), np.nan)


def _drawn(n: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """(some, N) how often each picture is drawn, `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    step = max(1, DRAWN_AT_ONCE // n)
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        chosen = rng.integers(n, size=(some, n)) + np.arange(some)[:, None] * n
        yield np.bincount(chosen.ravel(), minlength=some * n).reshape(some, n).astype(np.float64)


def _corrected(drawn: NDArray[np.float64], estimate: float | None, num_positive: int) -> list[float] | None:
    """The interval of a mean over classes from (R, K) drawn values; a class that was not drawn is left out.

    Without any mistake a bootstrap has no width: then it is Wilson's of that many labels, all right.
    """
    if estimate is None:
        return None
    if estimate == 1:
        return wilson_interval(num_positive, num_positive)
    seen = ~np.isnan(drawn)
    counts = seen.sum(axis=1)
    means = np.where(seen, drawn, 0.0).sum(axis=1)[counts > 0] / counts[counts > 0]
    return debiased_interval(means, estimate)
