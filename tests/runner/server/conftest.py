"""A network of three classes that is a few lines of NumPy, and a server that serves it within the test's process."""

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from casebook.data.decode import open_picture
from casebook.errors import ServerError
from casebook.preprocessing import Preprocessing
from casebook.runner.server.app import create_app
from casebook.runner.server.models import PictureAnswer, Source
from casebook.runner.server.protocol import Server, make_server
from casebook.runner.server.serving import listening_socket
from casebook.runner.server.settings import ServerSettings

CLASSES = ("dark", "middling", "bright")
PREPROCESSING = Preprocessing(size=8, crop_fraction=1.0)


@dataclasses.dataclass
class Brightness:
    """Says how bright a picture is; it is unsure between two classes."""

    name: str = "brightness"
    version: str = "1"
    classes: tuple[str, ...] = CLASSES
    many_labels: bool = False
    input_shape: tuple[int, int, int] = (8, 8, 3)
    about: dict[str, str] = dataclasses.field(default_factory=lambda: {"engine": "numpy"})
    seconds: float = 0.0
    """Of each call."""
    batches: list[int] = dataclasses.field(default_factory=list)
    running: int = 0
    lock: Any = dataclasses.field(default_factory=threading.Lock)

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        return PREPROCESSING.pixels(open_picture(content, name="picture", **PREPROCESSING.decode_options))

    def answer(self, pixels: NDArray[np.uint8]) -> list[PictureAnswer]:
        assert self.lock.acquire(blocking=False), "two calls at once"
        try:
            self.batches.append(len(pixels))
            time.sleep(self.seconds)
            return [self._one(picture.mean() / 255) for picture in pixels]
        finally:
            self.lock.release()

    def _one(self, brightness: float) -> PictureAnswer:
        logits = (-30 * (brightness - np.array([0.0, 0.5, 1.0])) ** 2).astype(np.float32)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        possible = tuple(int(index) for index in np.flatnonzero(probabilities > 0.1))
        unsure = None if len(possible) == 1 else "the two best classes are equally probable"
        if self.many_labels:
            return PictureAnswer(probabilities, logits, None, None, possible)
        return PictureAnswer(probabilities, logits, unsure, possible)


def picture_bytes(brightness: int, form: str = "PNG", size: tuple[int, int] = (12, 12)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (brightness,) * 3).save(file, form)
    return file.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """`picture(brightness, form="PNG", size=(12, 12))` -> the content of a plain picture's file."""
    return picture_bytes


@pytest.fixture
def brightness() -> Callable[..., Brightness]:
    """Makes the network; keywords change it."""
    return Brightness


@pytest.fixture
def serving() -> Iterator[Callable[..., TestClient]]:
    """`serving(*networks, settings=...)` -> a client of a server within this process that serves them.

    Each network is the file of its place: "0", "1", ...; `client.networks` may be changed for a reload.
    """
    with ExitStack() as stack:

        def serve(*networks: Any, settings: ServerSettings | None = None) -> TestClient:
            given = list(networks)
            app = create_app(_sources(given), settings or ServerSettings(), _opener(given))
            client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
            client.networks = given  # pyright: ignore[reportAttributeAccessIssue]
            return stack.enter_context(client)

        yield serve


def _sources(networks: list) -> list[Source]:
    return [Source(Path(str(number))) for number in range(len(networks))]


def _opener(networks: list) -> Callable[[Source], Any]:
    """Opens the network of a source's number; a text is the reason why it cannot be opened."""

    def open_source(source: Source) -> Any:
        found = networks[int(source.path.name)]
        if isinstance(found, str):
            raise ServerError(found)
        return found

    return open_source


@dataclasses.dataclass
class Listening:
    """A server that listens on a port of loopback, in a thread of the test's process."""

    port: int
    server: Server
    thread: threading.Thread
    networks: list

    def stop(self) -> None:
        """As after SIGTERM."""
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def listening() -> Iterator[Callable[..., Listening]]:
    """`listening(*networks, settings=...)` -> a server that is ready, on a real socket."""
    started: list[Listening] = []

    def listen(*networks: Any, settings: ServerSettings | None = None) -> Listening:
        given, settings = list(networks), settings or ServerSettings(drain_seconds=0.2)
        app = create_app(_sources(given), settings, _opener(given))
        bound = listening_socket(dataclasses.replace(settings.access, port=0))
        server = make_server(app, settings)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        while not server.started:
            time.sleep(0.005)
        started.append(Listening(bound.getsockname()[1], server, thread, given))
        return started[-1]

    yield listen
    for one in started:
        one.stop()
