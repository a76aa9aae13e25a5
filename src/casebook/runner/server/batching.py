"""Pictures of different requests -> calls of one engine, in batches."""

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    while it is free, the first picture waits up to `batching.wait_ms` for others.
    """

    def __init__(self, infer: Callable[[NDArray[np.uint8]], Sequence[Result]], batching: Batching):
        self._infer, self._batching = infer, batching
        self._waiting: deque[_Waiting] = deque()
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._loop_task = asyncio.create_task(self._run())
        self.statistics = BatchStatistics()

    @property
    def waiting(self) -> int:
        """Pictures that no call has taken yet."""
        return len(self._waiting)

    def submit(self, pixels: NDArray[np.uint8]) -> "asyncio.Future[Result]":
        """(H, W, C) uint8 -> its answer. A future that is cancelled in time costs no call."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(pixels, answer, time.perf_counter()))
        self._came.set()
        return answer

    async def close(self) -> None:
        """Ends the thread; pictures that still wait are cancelled."""
        self._loop_task.cancel()
        await asyncio.gather(self._loop_task, return_exceptions=True)
        for one in self._waiting:
            one.answer.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            if not batch:
                continue
            started = time.perf_counter()
            self.statistics.queue_seconds += sum(started - one.since for one in batch)
            try:
                pixels = np.stack([one.pixels for one in batch])
                results = await asyncio.get_running_loop().run_in_executor(self._thread, self._infer, pixels)
            except Exception as error:
                self.statistics.failures += len(batch)
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            self.statistics.add(len(batch), time.perf_counter() - started)
            for one, result in zip(batch, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)

    async def _next_batch(self) -> list[_Waiting]:
        """The pictures of the next call; none where all of them were cancelled."""
        await self._wait()
        deadline = time.perf_counter() + self._batching.wait_ms / 1000
        while len(self._waiting) < self._batching.max_pictures and (left := deadline - time.perf_counter()) > 0:
            self._came.clear()
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                break
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._batching.max_pictures:
            one = self._waiting.popleft()
            if not one.answer.done():
                batch.append(one)
        return batch

    async def _wait(self) -> None:
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
