"""Whatever gives batches -> one interface for the trainer: inputs, labels, and sizes that are known beforehand."""

import math
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Protocol

import torch

from ..data.loader import Inputs
from ..errors import DataError


class BatchStream(Protocol):
    """Batches that can be read again from any place in any epoch."""

    @property
    def skipped(self) -> dict[str, str]:
        """Pictures that could not be read, with the reason."""
        ...

    def global_sizes(self) -> list[int]:
        """The number of pictures of each batch of an epoch, all processes together."""
        ...

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]: ...
    def close(self) -> None: ...


class PlainStream:
    """Anybody's batches: an iterable of (inputs, labels) that starts anew for each epoch, such as a DataLoader.

    A resumed epoch skips the batches that were done, so it sees the same ones only if the iterable repeats itself.

    Raises DataError for an iterable whose length is not known, or that is used up after one epoch.
    """

    def __init__(self, iterable: Iterable[Any]):
        if isinstance(iterable, Iterator) or not isinstance(iterable, Sized):
            raise DataError(
                f"batches come from a {type(iterable).__name__}, which has no length or ends after one epoch; "
                "give a DataLoader or a list of (inputs, labels)"
            )
        self.iterable = iterable
        self.skipped: dict[str, str] = {}

    def global_sizes(self) -> list[int]:
        if isinstance(self.iterable, list | tuple):
            return [len(batch[1]) for batch in self.iterable]
        count = len(self.iterable)  # type: ignore[arg-type]
        batch_size, sampler = getattr(self.iterable, "batch_size", None), getattr(self.iterable, "sampler", None)
        if batch_size is None or not isinstance(sampler, Sized):
            return [1] * count  # sizes are not known: every batch counts the same
        total = len(sampler)
        return [
            min(batch_size, total - batch_size * place) for place in range(min(count, math.ceil(total / batch_size)))
        ]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]:
        sampler = getattr(self.iterable, "sampler", None)
        if hasattr(sampler, "set_epoch"):  # a DistributedSampler draws a new order for each
            sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in islice(iter(self.iterable), start, None):
            inputs, labels, *rest = batch
            yield Inputs(torch.as_tensor(inputs), torch.as_tensor(labels), rest[0] if rest else None)

    def close(self) -> None:
        pass


def as_stream(batches: Any) -> BatchStream:
    """A stream itself, or one over a plain iterable."""
    return batches if hasattr(batches, "global_sizes") else PlainStream(batches)
