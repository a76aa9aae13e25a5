"""Whether an explanation depends on what the network has learned.

Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3 (cascading randomisation),
https://arxiv.org/abs/1810.03292.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import ModelError
from ..models import create_model
from ..models.layers import Network
from .watching import stages_of


class Step(NamedTuple):
    """The map of a network of which all from the head down to `part` has its initial, random weights.

    `correlation` is Spearman's with the trained network's map; None where one of them is constant.
    """

    part: str
    map: NDArray[np.float32]
    correlation: float | None


def cascade(network: nn.Module, explain: Callable[[nn.Module], NDArray[np.float32]], *, seed: int = 0) -> list[Step]:
    """The trained network's map (`part` is ""), then with the head random, the last stage too, and so on to the stem.

    `explain` gives a network's map of one picture, of strengths where signs do not count. The network itself is not
    changed; the random weights are those that `create_model` begins with.

    Raises ModelError for a network that `create_model` did not build.
    """
    if not isinstance(network, Network) or not network.name:
        raise ModelError("randomising needs a network that create_model built")
    outputs = next(iter(network.head.classifier.state_dict().values())).shape[0]  # the head may have been replaced
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = create_model(network.name, **(dict(network.options) | {"num_classes": outputs}))
    mixed = copy.deepcopy(network)
    trained = explain(mixed)
    steps = [Step("", trained, 1.0)]
    for part in ["head", *reversed(stages_of(network))]:
        if state := fresh.get_submodule(part).state_dict():  # FractalNet's stem has nothing to randomise
            mixed.get_submodule(part).load_state_dict(state)
            found = explain(mixed)
            steps.append(Step(part, found, rank_correlation(trained, found)))
    return steps


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation of the values; None where one of the arrays is constant."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first.ravel(), second.ravel())[0])  # type: ignore[arg-type]
