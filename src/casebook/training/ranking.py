"""Scores of many pictures, ranked by class -> average precision."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ranked(NamedTuple):
    """The known pictures of a class, the highest score first."""

    places: NDArray[np.intp]  # (n,) into the pictures
    positive: NDArray[np.bool_]  # (n,)
    scores: NDArray[np.float64]  # (n,) falling
    ends: NDArray[np.intp]  # (m,) the last place of each distinct score


def decided(truth: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N, K) votes or labels -> 1, 0, or NaN where nobody knows or the votes are even."""
    return np.where(np.isnan(truth) | (truth == 0.5), np.nan, truth > 0.5)


def rank(scores: NDArray[np.floating], truth: NDArray[np.floating]) -> Ranked:
    """(N,) scores and (N,) truth of one class, by falling score."""
    truth = decided(truth)
    places = np.flatnonzero(~np.isnan(truth))
    places = places[np.argsort(-scores[places], kind="stable")]
    falling = np.asarray(scores[places], np.float64)
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1) if len(falling) else np.zeros(0, np.intp)
    return Ranked(places, truth[places] == 1, falling, ends.astype(np.intp))


def running(ranked: Ranked, weights: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R, m) each, of (R, N) weights: that of positive pictures, and of all, down to each distinct score."""
    sorted_weights = weights[:, ranked.places].astype(np.float64)
    hits, given = (
        np.cumsum(part, axis=1)[:, ranked.ends] for part in (sorted_weights * ranked.positive, sorted_weights)
    )
    return hits, given


def average_precisions(
    scores: NDArray[np.floating], truth: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """(N, K), (N, K) and perhaps (R, N) weights of pictures -> (R, K): average precision as scikit-learn defines it.

    The sum over falling scores of precision times the gain in recall, equal scores as one step; NaN for a class of
    which no picture counts.
    """
    weights = np.ones((1, len(truth))) if weights is None else weights
    found = np.full((len(weights), truth.shape[1]), np.nan)
    for column in range(truth.shape[1]):
        ranked = rank(scores[:, column], truth[:, column])
        hits, given = running(ranked, weights)
        if not given.shape[1]:
            continue
        gains = np.diff(hits, axis=1, prepend=0)
        total = hits[:, -1]
        precision = hits / np.maximum(given, 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[:, column] = np.where(total > 0, (precision * gains).sum(1) / total, np.nan)
    return found


def mean_average_precision(scores: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """The mean over the classes that some picture has; 0 where none has any."""
    of_classes = average_precisions(scores, truth)[0]
    known = of_classes[~np.isnan(of_classes)]
    return float(known.mean()) if len(known) else 0.0
