"""What a network said about each picture of a set."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Predictions(NamedTuple):
    """One row for each of N pictures, one column for each of the network's K classes."""

    names: tuple[str, ...]
    """N names, as `Picture.name` has them."""
    labels: NDArray[Any]
    """(N,), each in [0, K): the true classes. With several labels a picture (N, K) in [0, 1], NaN where unknown."""
    probabilities: NDArray[np.floating]
    """(N, K), rows sum to 1 where a picture has one label."""
    classes: tuple[str, ...]
    """K names."""
    features: NDArray[np.float32] | None = None
    """(N, F) that the last layer saw, where they were asked for; F is 0 for a network that shows none."""

    def predicted(self) -> NDArray[np.intp]:
        """(N,) in [0, K): the most probable class; of equally probable ones the first."""
        return np.argmax(self.probabilities, axis=1)

    def confidences(self) -> NDArray[np.floating]:
        """(N,) in [0, 1]: the probability of the predicted class."""
        return np.max(self.probabilities, axis=1)
