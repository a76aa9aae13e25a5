"""The models that are served: loaded, verified, replaced without dropping a request, and retired."""

import asyncio
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import CasebookError, ServerError, did_you_mean
from .batching import Batcher
from .refusals import Refused
from .settings import Batching

log = logging.getLogger("casebook.server")


class PictureAnswer(NamedTuple):
    """What a model says of one picture."""

    probabilities: NDArray[np.float32]
    """(K,), sums to 1 where a picture has one label."""
    logits: NDArray[np.float32]
    """(K,), before the softmax or sigmoid."""
    unsure: str | None
    """The reason why the model would rather not answer; None where it is sure."""
    possible: tuple[int, ...] | None
    """The classes of the prediction set; None where the bundle promises none."""
    labels: tuple[int, ...] | None = None
    """The classes that reach their thresholds, where a picture may have several; else None."""


class Answering(Protocol):
    """A network that is loaded and gave the right answers for its golden pictures."""

    name: str
    version: str
    classes: tuple[str, ...]
    many_labels: bool
    """Whether a picture may have several."""
    input_shape: tuple[int, int, int]
    """(H, W, C)."""
    about: dict[str, str]
    """What a client may want to know, such as the engine's name."""

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        """(H, W, C) from a picture's file. Raises PictureError. Called in threads."""
        ...

    def answer(self, pixels: NDArray[np.uint8]) -> Sequence[PictureAnswer]:
        """(B, H, W, C) -> one answer for each. Called in one thread at a time."""
        ...


class Source(NamedTuple):
    """A bundle's file, with the name and version it is to be served under, if others than its own."""

    path: Path
    name: str | None = None
    version: str | None = None


Opener = Callable[[Source], Answering]


class Model:
    """A loaded model, its batcher, and how many requests are using it."""

    def __init__(self, answering: Answering, source: Source, batching: Batching):
        self.answering, self.source = answering, source
        self.name, self.version = source.name or answering.name, source.version or answering.version
        self.batcher: Batcher[PictureAnswer] = Batcher(answering.answer, batching)
        self.counts = Counts()
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the model loaded for the time of a request."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def close(self) -> None:
        """Waits for the last request, then frees the model."""
        await self._unused.wait()
        await self.batcher.close()


@dataclasses.dataclass
class Counts:
    """Requests of one model."""

    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    last_ms: int = 0
    """Unix time in milliseconds of the last answer."""
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def add_decoding(self, seconds: float) -> None:
        """From any thread."""
        with self._lock:
            self.decode_seconds += seconds


class Models:
    """Bundles by name and version. Where a client names no version, the last one of the command line answers."""

    def __init__(self, sources: Sequence[Source], open_source: Opener, batching: Batching):
        if not sources:
            raise ServerError("no bundle was given; casebook serve flowers.casebook serves one")
        self.sources = tuple(sources)
        self._open, self._batching = open_source, batching
        self._loaded: dict[Source, Model] = {}
        self._known: dict[Source, tuple[str, str]] = {}
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task] = set()
        self.ready = False

    def all(self) -> list[Model]:
        """In the order of the command line."""
        return [self._loaded[source] for source in self.sources if source in self._loaded]

    def find(self, name: str | None = None, version: str | None = None) -> Model:
        """The last model of that name and version; without a name, the only one. Raises Refused (400, 404, 503)."""
        if not self.ready:
            raise Refused(503, "not_ready", "the models are still being loaded and verified", {"Retry-After": "1"})
        models = self.all()
        names = list(dict.fromkeys(model.name for model in models))
        if name is None:
            if len(names) != 1:
                raise Refused(400, "no_model", f"say which model: {', '.join(names) or 'none is loaded'}")
            name = names[0]
        of_name = [model for model in models if model.name == name]
        if not of_name:
            known = did_you_mean(name, names) or f"; loaded are: {', '.join(names) or 'none'}"
            raise Refused(404, "unknown_model", f"unknown model {name[:100]!r}{known}")
        found = [model for model in of_name if version in (None, model.version)]
        if not found:
            versions = ", ".join(model.version for model in of_name)
            raise Refused(404, "unknown_version", f"unknown version of {name!r}; loaded are: {versions}")
        return found[-1]

    async def load_all(self) -> None:
        """Loads every bundle. Raises CasebookError for the first that fails, or that repeats a name and version."""
        for source in self.sources:
            await self.load(source)
        self.ready = True

    async def load(self, source: Source) -> Model:
        """Opens and verifies a bundle, and only then lets it take the place of the one that came from this file.

        Raises CasebookError; the old model then goes on.
        """
        async with self._lock:
            answering = await asyncio.to_thread(self._open, source)
            key = source.name or answering.name, source.version or answering.version
            for other, model in self._loaded.items():
                if other != source and (model.name, model.version) == key:
                    raise ServerError(
                        f"{source.path} and {other.path} are both version {key[1]} of {key[0]!r}; "
                        "give one another name: NAME@VERSION=FILE"
                    )
            model = Model(answering, source, self._batching)
            old = self._loaded.get(source)
            self._loaded[source], self._known[source] = model, key
            if old is not None:
                self._retire(old)
        log.info("loaded %s version %s from %s", model.name, model.version, source.path)
        return model

    async def reload_all(self) -> None:
        """Loads each bundle again; what fails is logged and keeps its old model."""
        for source in self.sources:
            try:
                await self.load(source)
            except CasebookError as error:
                log.error("not reloaded: %s", error)

    async def load_name(self, name: str) -> None:
        """Loads again what is, or was, known under a name. Raises Refused (400, 404)."""
        for source in self._sources_of(name):
            try:
                await self.load(source)
            except CasebookError as error:
                raise Refused(400, "not_loaded", str(error)) from error

    def unload_name(self, name: str) -> None:
        """Takes no more requests for a name. Raises Refused (404)."""
        for source in self._sources_of(name):
            model = self._loaded.pop(source, None)
            if model is not None:
                self._retire(model)

    def index(self) -> list[dict[str, str]]:
        """Every bundle that was ever loaded, with its state, as the repository extension lists them."""
        rows = []
        for source, (name, version) in self._known.items():
            state = ("READY", "") if source in self._loaded else ("UNAVAILABLE", "unloaded")
            rows.append({"name": name, "version": version, "state": state[0], "reason": state[1]})
        return rows

    async def close(self) -> None:
        for model in self.all():
            self._retire(model)
        self._loaded.clear()
        await asyncio.gather(*self._retiring)

    def _sources_of(self, name: str) -> list[Source]:
        found = [source for source, (known, _) in self._known.items() if known == name]
        if not found:
            raise Refused(
                404, "unknown_model", f"unknown model {name[:100]!r}; bundles are named when the server starts"
            )
        return found

    def _retire(self, model: Model) -> None:
        task = asyncio.create_task(model.close())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def parse_source(given: str) -> Source:
    """A bundle of the command line: FILE, NAME=FILE or NAME@VERSION=FILE."""
    if Path(given).expanduser().exists() or "=" not in given:
        return Source(Path(given).expanduser())
    label, _, path = given.partition("=")
    name, _, version = label.partition("@")
    for word, text in (("name", name), ("version", version or "1")):
        if not text.isprintable() or not text or "/" in text:
            raise ServerError(f"the {word} in {given!r} is {text!r}, expected NAME=FILE or NAME@VERSION=FILE")
    return Source(Path(path).expanduser(), name, version or None)
