"""Decoded pictures in memory, shared by the processes that read."""

import math
import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class PictureCache:
    """Decoded pictures in memory that forked worker processes share, with one slot for each picture.

    A slot is read only in epochs after the one that wrote it. The end of an epoch orders the processes, so no reader
    sees a half-written picture. Pictures beyond the budget have no slot: they are decoded each time.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], budget_bytes: int):
        sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
        self.shapes = list(shapes)
        self.ends = np.cumsum(sizes)
        self.num_slots = int(np.searchsorted(self.ends, budget_bytes, side="right"))
        size_bytes = int(self.ends[self.num_slots - 1]) if self.num_slots else 0
        size_bytes_in_all = max(1, size_bytes + self.num_slots * 8)
        self.memory = mmap.mmap(-1, size_bytes_in_all)  # shared, anonymous, zero
        self.written = np.frombuffer(self.memory, np.int64, self.num_slots)  # 1 + epoch of writing
        self.bytes = np.frombuffer(self.memory, np.uint8, size_bytes, offset=self.num_slots * 8)

    def _slot(self, place: int) -> NDArray[np.uint8]:
        start = int(self.ends[place - 1]) if place else 0
        return self.bytes[start : int(self.ends[place])].reshape(self.shapes[place])

    def has_slot(self, place: int) -> bool:
        return place < self.num_slots

    def get(self, place: int, epoch: int) -> NDArray[np.uint8] | None:
        if self.has_slot(place) and 0 < self.written[place] <= epoch:
            return self._slot(place)
        return None

    def put(self, place: int, epoch: int, picture: NDArray[np.uint8]) -> None:
        if self.has_slot(place) and not self.written[place] and picture.shape == self.shapes[place]:
            self._slot(place)[:] = picture
            self.written[place] = epoch + 1
