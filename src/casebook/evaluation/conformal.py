"""Validation probabilities and labels -> prediction sets that hold the true class as often as promised.

Split conformal prediction with the score 1 - p(true class), the "least ambiguous" sets of Sadinle, Lei and Wasserman,
"Least Ambiguous Set-Valued Classifiers With Bounded Error Levels", JASA 2019. The network's own probabilities are the
score, before any temperature, so that no validation picture both fits and promises.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..runner.unsure import PredictionSets

COVERAGE = 0.9
SPREAD = 0.9


class Calibrated(NamedTuple):
    """Prediction sets and what their coverage rests on.

    Their coverage of new pictures is at least the promised one on average over validation sets of this size; for the
    one set that there is, it lies within `spread` with probability 90 %: it follows a beta distribution (Vovk,
    "Conditional Validity of Inductive Conformal Predictors", 2012).
    """

    sets: PredictionSets
    n: int
    spread: tuple[float, float]


def calibrate_sets(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], coverage: float = COVERAGE
) -> Calibrated:
    """The sets for (N, K) probabilities and (N,) labels; with too few pictures, every class is in every set."""
    n = len(labels)
    missed = math.floor((n + 1) * (1 - coverage) + 1e-9)  # how many of the n may lie outside, the new one included
    if missed == 0:
        return Calibrated(PredictionSets(coverage, 0.0), n, (1.0, 1.0))
    of_label = np.sort(probabilities[np.arange(n), labels])
    low, high = special.betaincinv(n + 1 - missed, missed, [(1 - SPREAD) / 2, (1 + SPREAD) / 2])  # a beta's quantiles
    return Calibrated(PredictionSets(coverage, float(of_label[missed - 1])), n, (float(low), float(high)))


def set_members(probabilities: NDArray[np.floating], sets: PredictionSets) -> NDArray[np.bool_]:
    """(N, K): which classes are in the set of each row; the most probable always is."""
    held = probabilities >= sets.least_probability
    held[np.arange(len(held)), probabilities.argmax(axis=1)] = True
    return held
