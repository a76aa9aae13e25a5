"""Differences between two networks on the same pictures -> the standard error of their mean."""

import math

import numpy as np
from numpy.typing import NDArray


def standard_error(differences: NDArray[np.floating], sets: NDArray[np.integer] | None = None) -> float:
    """The standard error of the mean of (N,) differences.

    `sets` (N,) has a number for each picture. Pictures with the same number, such as near-copies, count as one draw:
    they may all be right or wrong together. Infinite for a single draw.

    Source: Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human Resources 50,
    2015, section II.
    """
    residuals = differences - differences.mean()
    sums = residuals if sets is None else np.bincount(np.unique(sets, return_inverse=True)[1], residuals)
    num_draws = len(sums)
    if num_draws < 2:
        return math.inf
    return math.sqrt(num_draws / (num_draws - 1) * float((sums**2).sum())) / len(differences)


def within_noise(extra: NDArray[np.floating], sets: NDArray[np.integer] | None = None) -> bool:
    """Whether the extra losses of the same pictures are within a standard error of none."""
    return float(extra.mean()) <= standard_error(extra, sets)
