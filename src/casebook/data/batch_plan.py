"""Which pictures make up each batch of an epoch, for each of the processes that train together."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


def order(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """The pictures of an epoch in their random order, a pure function of its arguments."""
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(indices)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which of N pictures make up each batch of an epoch, for one of `world_size` processes.

    With `shuffle`, each global batch of `batch_size` pictures is cut into equal parts, one for each process. A last
    batch of less than a quarter of the size is left out, unless it is the only one: it would move the weights as much
    as a full one, and batch norm needs at least two pictures. Which pictures that are differs between epochs.

    Without, every picture comes exactly once, in order, over all processes together.
    """

    batch_size: int
    shuffle: bool = False
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    def share(self, count: int) -> NDArray[np.int64]:
        """The places among `count` pictures that this process may read."""
        places = np.arange(count)
        return places if self.shuffle else places[self.rank :: self.world_size]

    def bounds(self, count: int) -> list[tuple[int, int]]:
        """(first, past the last) place of each batch in the epoch's order of `count` pictures."""
        size = self.batch_size
        bounds = [(start, min(start + size, count)) for start in range(0, count, size)]
        if self.shuffle and len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < max(min(2, size), size / 4):
            bounds.pop()
        return bounds

    def batches(self, count: int, epoch: int, start: int = 0) -> list[NDArray[np.int64]]:
        """The places among `count` pictures that make up this process's part of each batch from `start` on."""
        places = np.arange(count)
        if not self.shuffle:
            return [places[first:last] for first, last in self.bounds(count)[start:]]
        places = order(places, self.seed, epoch)
        whole = (places[first:last] for first, last in self.bounds(count)[start:])
        return [np.array_split(batch, self.world_size)[self.rank] for batch in whole]
