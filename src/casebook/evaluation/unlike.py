"""Features of training and validation pictures -> when a picture is unlike anything that the network has seen.

The distance to the nearest of a few kept training pictures: benchmarks/unsure.py compares it with others.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..runner.unsure import Unlike, unit_vectors, unlike_scores

REFUSED = 0.05  # of the network's own kind of pictures
NUM_KEPT = 200


def choose_kept(labels: NDArray[np.integer], most: int = NUM_KEPT, seed: int = 0) -> NDArray[np.intp]:
    """Which training pictures to keep, of (N,) labels: drawn at random, of every class about as many."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), np.intp)  # the how-manieth of its class a picture is
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def fit_unlike(
    kept: NDArray[np.floating], validation: NDArray[np.floating], *, refused: float = REFUSED, neighbour: int = 1
) -> Unlike:
    """From features of kept training pictures (M, F) and of validation pictures (N, F): refuses a share of the latter.

    The limit is the score of a validation picture. Given it, those below are independent draws of the pictures that
    will be accepted, so a promise may rest on all of them.
    """
    table = unit_vectors(kept).astype(np.float16)
    scores = np.sort(unlike_scores(validation, table, neighbour))
    limit = float(scores[len(scores) - max(1, math.floor(refused * len(scores)))])
    return Unlike(table, limit, refused, neighbour)
