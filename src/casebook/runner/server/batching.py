"""Pictures of different requests -> calls of one engine, in batches."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .settings import Batching

Result = TypeVar("Result")


class _Waiting(NamedTuple):
    pixels: NDArray[np.uint8]
    answer: "asyncio.Future"
    since: float


@dataclasses.dataclass
class BatchStatistics:
    """What a batcher did so far."""

    pictures: int = 0
    queue_seconds: float = 0.0
    engine_seconds: float = 0.0
    failures: int = 0
    sizes: dict[int, list[float]] = dataclasses.field(default_factory=dict)
    """Batch size -> number of calls, seconds of all of them."""

    @property
    def calls(self) -> int:
        return round(sum(calls for calls, _ in self.sizes.values()))

    @property
    def seconds_per_picture(self) -> float:
        """Of the engine; 0 before its first call."""
        return self.engine_seconds / self.pictures if self.pictures else 0.0

    def add(self, size: int, seconds: float) -> None:
        self.pictures += size
        self.engine_seconds += seconds
        counted = self.sizes.setdefault(size, [0, 0.0])
        counted[0] += 1
        counted[1] += seconds


class Batcher(Generic[Result]):
    """Calls `infer` in one thread of its own, with the pictures that wait, at most `batching.max_pictures` at a time.

    `infer` takes (B, H, W, C) uint8 and gives B results. While the engine is busy, pictures gather for the next call;
    while it is free, the first picture waits up to `batching.wait_ms` for others. The thread takes its pictures itself:
    the engine never waits for the event loop, which may be busy with other requests.
    """

    def __init__(self, infer: Callable[[NDArray[np.uint8]], Sequence[Result]], batching: Batching):
        self._infer, self._batching = infer, batching
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()  # None ends the thread
        self.statistics = BatchStatistics()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(
        self, pixels: NDArray[np.uint8], answer: "asyncio.Future[Result] | None" = None
    ) -> "asyncio.Future[Result]":
        """(H, W, C) uint8 -> its answer. A future that is cancelled in time costs no call.

        With a future of the loop's, any thread may call it.
        """
        answer = answer or self._loop.create_future()
        self._waiting.put(_Waiting(pixels, answer, time.perf_counter()))
        return answer

    async def close(self) -> None:
        """Answers what waits, then ends the thread."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = self._batch(first)
            if not batch:
                continue
            started, results, failure = time.perf_counter(), (), None
            try:
                results = self._infer(np.stack([one.pixels for one in batch]))
            except Exception as error:
                failure = error
            ended = time.perf_counter()
            self._loop.call_soon_threadsafe(self._deliver, batch, results, failure, started, ended)

    def _batch(self, one: _Waiting | None) -> list[_Waiting]:
        """The pictures of the next call; none where all of them were cancelled."""
        batch: list[_Waiting] = []
        deadline = time.perf_counter() + self._batching.wait_ms / 1000
        while one is not None:
            if not one.answer.done():
                batch.append(one)
            if len(batch) == self._batching.max_pictures:
                return batch
            left = deadline - time.perf_counter()
            try:
                one = self._waiting.get(timeout=left) if left > 0 else self._waiting.get_nowait()
            except Empty:
                return batch
        self._waiting.put(None)  # for `_work`
        return batch

    def _deliver(
        self, batch: list[_Waiting], results: Sequence[Result], failure: Exception | None, started: float, ended: float
    ) -> None:
        self.statistics.queue_seconds += sum(started - one.since for one in batch)
        if failure is not None:
            self.statistics.failures += len(batch)
        else:
            self.statistics.add(len(batch), ended - started)
        for place, one in enumerate(batch):
            if not one.answer.done():
                one.answer.set_result(results[place]) if failure is None else one.answer.set_exception(failure)
