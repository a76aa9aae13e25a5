"""Files of pictures -> answers: decoded in threads, answered in batches, within the time limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from ...device.limits import available_cores
from ...errors import PictureError
from .admission import Admission
from .metrics import Metrics, Sample
from .models import Model, Models, PictureAnswer
from .refusals import ClientGone, overloaded
from .settings import ServerSettings

MAX_DECODERS = 4
Found = TypeVar("Found")


class Service:
    """All that requests share."""

    def __init__(self, settings: ServerSettings, models: Callable[[], Models], worker: str | None = None):
        self.settings, self.limits = settings, settings.limits
        self._make_models = models
        self.metrics = Metrics({"worker": worker} if worker else None)
        self.admission = Admission(settings.limits, self._seconds_per_picture)
        self.decoders = ThreadPoolExecutor(settings.decoders or min(MAX_DECODERS, available_cores()), "decode")
        self.stopping = False
        self.started = time.time()

    def start(self) -> None:
        """On the event loop; models are loaded later."""
        self.models = self._make_models()

    async def close(self) -> None:
        await self.models.close()
        await asyncio.to_thread(self.decoders.shutdown)

    @property
    def ready(self) -> bool:
        return self.models.ready and not self.stopping

    def samples(self) -> list[Sample]:
        """What the metrics show besides counts: the present state."""
        found = [
            Sample("casebook_queue_pictures", self.admission.pictures),
            Sample("casebook_body_bytes", self.admission.num_bytes),
            Sample("casebook_ready", self.ready),
            Sample("casebook_start_time_seconds", self.started),
        ]
        for model in self.models.all():
            labels, statistics = {"model": model.name, "version": model.version}, model.batcher.statistics
            found += [
                Sample("casebook_model_ready", 1, labels),
                Sample("casebook_engine_seconds_total", statistics.engine_seconds, labels),
                Sample("casebook_engine_calls_total", statistics.calls, labels),
                Sample("casebook_queue_seconds_total", statistics.queue_seconds, labels),
            ]
        return found

    def _seconds_per_picture(self) -> float:
        return max((model.batcher.statistics.seconds_per_picture for model in self.models.all()), default=0.0)

    async def answer_files(self, model: Model, files: Sequence[bytes]) -> list[PictureAnswer | PictureError]:
        """What the model says of each picture, or why it cannot be read. Raises Refused (503) after the time limit."""
        return await self._counted(model, [self._start_file(model, content) for content in files])

    async def answer_pixels(self, model: Model, pixels: NDArray[np.uint8]) -> list[PictureAnswer | PictureError]:
        """What the model says of (B, H, W, C) pixels. Raises Refused (503) after the time limit."""
        return await self._counted(model, list(map(model.batcher.submit, pixels)))

    async def _counted(
        self, model: Model, work: Sequence[Awaitable[PictureAnswer | PictureError]]
    ) -> list[PictureAnswer | PictureError]:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                found = list(await asyncio.gather(*work))
        except TimeoutError:
            model.counts.failed += 1
            raise overloaded(f"no answer within {self.limits.answer_seconds:g} s; try again later", 5) from None
        except Exception:
            model.counts.failed += 1
            raise
        model.counts.succeeded += 1
        model.counts.seconds += time.perf_counter() - started
        model.counts.last_ms = round(time.time() * 1000)
        for one in found:
            outcome = "unreadable" if isinstance(one, PictureError) else "unsure" if one.unsure else "answered"
            self.metrics.count("casebook_pictures_total", model=model.name, version=model.version, outcome=outcome)
        return found

    def _start_file(self, model: Model, content: bytes) -> "asyncio.Future[PictureAnswer | PictureError]":
        """Decodes in a thread, which hands the pixels on to the engine's thread."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def decode() -> None:
            if answer.done():  # the client left
                return
            started = time.perf_counter()
            try:
                pixels = model.answering.pixels(content)
            except PictureError as error:
                # Without the error's frames, which would keep the file in a cycle.
                loop.call_soon_threadsafe(_settle, answer, PictureError(error.name, error.reason))
            except Exception as error:
                loop.call_soon_threadsafe(_settle, answer, error)
            else:
                model.batcher.submit(pixels, answer)
            model.counts.add_decoding(time.perf_counter() - started)

        self.decoders.submit(decode)
        return answer


def _settle(answer: asyncio.Future, found: Exception) -> None:
    if answer.done():
        return
    if isinstance(found, PictureError):
        answer.set_result(found)
    else:
        answer.set_exception(found)


async def unless_gone(request: Request, work: Coroutine[Any, Any, Found]) -> Found:
    """The work's result; it is cancelled if the client leaves first. The whole body must have been read.

    Raises ClientGone.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
