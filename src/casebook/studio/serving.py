"""Starts the studio's server and runs it until it is told to stop. Jobs go on without it."""

import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from ..errors import ServerError
from ..files import try_lock
from ..runner.server.protocol import KEEP_ALIVE_SECONDS, protocol_class
from ..runner.server.serving import listening_socket
from ..runner.server.settings import Access
from .app import create_app
from .session import Sessions
from .settings import StudioSettings

SWITCH_SECONDS = 0.001
"""After which a thread lets others run: one that reads a large folder would hold up each answer by Python's 5 ms."""


class Server(uvicorn.Server):
    """Ends the event streams first; they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, app: Any, ready: Callable[[], None]):
        super().__init__(config)
        self._app, self._ready = app, ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again in the end, and the process would seem to have crashed.
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: Any = None) -> None:
        self._app.state.studio.events.close()
        await super().shutdown(sockets)


def serve(settings: StudioSettings, opened: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; calls `opened` with the address to open. Raises ServerError."""
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING)
    with contextlib.closing(_one_at_a_time(settings)):
        sessions = Sessions(settings.state)
        with contextlib.closing(_listen(settings, sessions.last_port)) as listening:
            port = listening.getsockname()[1]
            sessions.keep_port(port)
            app = create_app(settings, sessions, port)
            config = uvicorn.Config(
                app, http=protocol_class(settings.limits), ws="none", lifespan="on", log_config=None, access_log=False,
                server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=2,
            )  # fmt: skip
            address = f"http://127.0.0.1:{port}/?token={sessions.launch_token}"
            Server(config, app, lambda: opened(address)).run(sockets=[listening])


def _listen(settings: StudioSettings, last_port: int) -> socket.socket:
    """On the wanted port; of the free ones first the last, at which open tabs look for the studio."""
    if settings.port == 0 and last_port:
        with contextlib.suppress(ServerError):
            return listening_socket(Access(settings.host, last_port))
    return listening_socket(Access(settings.host, settings.port))


def _one_at_a_time(settings: StudioSettings) -> Any:
    """Two servers would start each other's jobs. The lock goes with the process, however that ends."""
    path = settings.state / "server.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        file = path.open("a")
    except OSError as error:
        raise ServerError(f"cannot write {path}: {error.strerror}; choose a folder of your own") from error
    if not try_lock(file):
        file.close()
        raise ServerError(f"a studio of {settings.root} runs already; use it, or stop it with Ctrl-C in its terminal")
    return file
