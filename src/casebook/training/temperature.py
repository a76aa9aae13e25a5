"""Validation probabilities and labels -> the temperature that makes probabilities honest.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. Our departure: a weak prior around 1,
worth less than one picture, since on pictures that are all recognised the likelihood alone asks for a temperature of
0.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..runner.unsure import SMALLEST

LIMITS = (0.05, 20.0)
PRIOR_WIDTH = 1.0  # of the logarithm of the temperature


def fit_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature with the smallest log loss on (N, K) probabilities and (N,) labels, within 0.05 to 20."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    of_label = logs[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        scaled = logs / math.exp(log_temperature)
        largest = scaled.max(axis=1)
        normalisers = largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1))
        likelihood = float((normalisers - of_label / math.exp(log_temperature)).sum())
        return likelihood + 0.5 * (log_temperature / PRIOR_WIDTH) ** 2

    low, high = map(math.log, LIMITS)
    found: Any = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded")
    return math.exp(float(found.x))
