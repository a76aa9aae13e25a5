"""Batches for a network that answers: on a CPU each core takes some of its own."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from ..device import using_threads
from ..runner.reading import ahead

Given = TypeVar("Given")
Made = TypeVar("Made")


def each_by_one_core(make: Callable[[Given], Made], given: Iterable[Given], device: torch.device) -> Iterator[Made]:
    """`make(one)` for each of the given, in order.

    On a CPU each of torch's threads makes one by itself, which is faster than all of them at one after the other, and
    the bits do not depend on their number. `make` must set what torch keeps for each thread, such as inference mode.
    """
    if device.type != "cpu":
        return map(make, given)

    def alone(one: Given) -> Made:
        with using_threads(1):
            return make(one)

    threads = torch.get_num_threads()
    return ahead(alone, given, threads) if threads > 1 else map(alone, given)
