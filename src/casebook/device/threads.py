"""The threads that torch computes with on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Inside the block torch computes with that many threads; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_alone(device: torch.device) -> bool:
    """Whether the calling thread does all the work."""
    import torch

    return device.type == "cpu" and torch.get_num_threads() == 1
