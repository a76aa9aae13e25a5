"""Answers -> the pictures whose labels would teach the network most.

Source: Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient
Lower Bounds" (BADGE), ICLR 2020, https://arxiv.org/abs/1906.03671, Algorithm 1. A picture stands for the gradient that
its most probable class would give the last layer: it is long where the network is unsure, and its direction says what
would be learned. k-means++ (Arthur and Vassilvitskii, 2007) draws pictures whose gradients are long and unlike each
other.
"""

import numpy as np
from numpy.typing import NDArray


def doubt(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K) probabilities -> (N,) from 0 to 1: one minus the distance of the two most probable classes.

    That is margin sampling (Scheffer, Decomain and Wrobel, IDA 2001).
    """
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    second, first = np.sort(probabilities.astype(np.float64), 1)[:, -2:].T
    return 1 - (first - second)


def most_informative(
    probabilities: NDArray[np.floating], features: NDArray[np.floating], count: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """(N, K) probabilities and (N, F) features -> the rows of at most `count` pictures, in the order of the draws.

    Features without columns count as equal. The same seed draws the same pictures.
    """
    probabilities, features = probabilities.astype(np.float64), features.astype(np.float64)
    if not features.shape[1]:
        features = np.ones((len(features), 1))
    # The gradient of the loss with respect to the last layer is the outer product of these two, never written out.
    errors = probabilities.copy()
    errors[np.arange(len(errors)), errors.argmax(1)] -= 1
    squares = (errors**2).sum(1) * (features**2).sum(1)
    rng, chosen = np.random.default_rng(seed), list[int]()
    distances = squares.copy()
    while len(chosen) < min(count, len(squares)) and distances.max(initial=0) > 0:
        place = int(squares.argmax()) if not chosen else int(rng.choice(len(squares), p=distances / distances.sum()))
        chosen.append(place)
        products = (errors @ errors[place]) * (features @ features[place])
        distances = np.minimum(distances, np.maximum(squares + squares[place] - 2 * products, 0))
        distances[chosen] = 0
    return np.array(chosen, np.int64)
