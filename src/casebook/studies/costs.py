"""A network to build -> its weights and multiply-adds, counted on the meta device, and the width of equal cost."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from ..cost.count import count


class NetworkCost(NamedTuple):
    """What one picture costs."""

    parameters: int
    multiply_adds: int


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def cost_of(build: Callable[[], nn.Module], side: int) -> NetworkCost:
    total = count(on_meta(build), side).total
    return NetworkCost(total.parameters, total.multiply_adds or 0)


def costs_of(builds: Mapping[str, Callable[[], nn.Module]], side: int) -> dict[str, NetworkCost]:
    return {name: cost_of(build, side) for name, build in builds.items()}


def share_of_equal_cost(build: Callable[[float], nn.Module], multiply_adds: int, side: int) -> float:
    """The share of the filters at which `build(share)` comes nearest to the multiply-adds, found by nine halvings."""
    low, high, tried = 0.0, 1.0, []
    for _ in range(9):
        middle = (low + high) / 2
        cost = cost_of(partial(build, middle), side).multiply_adds
        tried.append((abs(cost - multiply_adds), middle))
        low, high = (middle, high) if cost < multiply_adds else (low, middle)
    return min(tried)[1]
