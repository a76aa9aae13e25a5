"""Whatever gives batches -> one interface for the trainer: inputs, labels, and sizes that are known beforehand."""

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..augmentation.mixing import mix
from ..data.loader import Batch
from ..errors import DataError


class Inputs(NamedTuple):
    """One batch as the trainer takes it.

    `inputs` (B, ...) are what the module is called on, `labels` (B,) int64. With mixed pictures, `own_share` (B,) is
    each picture's share of its own label; the rest belongs to `augmentation.mixing.partners(labels)`.
    """

    inputs: Tensor
    labels: Tensor
    own_share: Tensor | None = None


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


class PreparedStream:
    """The batches of a source (`data.loader.Batches`, `FeatureBatches`), prepared on the device as they are asked for.

    `prepare` makes the module's input of a batch.
    """

    def __init__(self, batches: Any, prepare: Callable[[Batch], Tensor]):
        self.batches, self.prepare = batches, prepare

    @property
    def skipped(self) -> dict[str, str]:
        return self.batches.skipped

    def global_sizes(self) -> list[int]:
        return self.batches.global_sizes()

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]:
        for batch in self.batches.epoch(epoch, start):
            inputs, own_share = self.prepare(batch), None
            if batch.mixing is not None:
                inputs, own_share = mix(inputs, batch.mixing.to(inputs.device, non_blocking=True))
            yield Inputs(inputs, batch.labels, own_share)

    def close(self) -> None:
        self.batches.close()


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
