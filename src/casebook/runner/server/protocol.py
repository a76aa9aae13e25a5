"""uvicorn with a time limit on headers, a limit on connections, and a stop that answers what has been accepted."""

import asyncio
import contextlib
import json
import signal
import threading
import uuid
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .refusals import Refused, error_document
from .settings import BACKLOG, Limits, ServerSettings

if TYPE_CHECKING:
    _Base = H11Protocol
else:
    _Base = object

MAX_HEADER_BYTES = 65536
KEEP_ALIVE_SECONDS = 5


class _Limited(_Base):
    """Goes before one of uvicorn's protocols, whose own time limit begins only after a response.

    Headers have to be whole `header_seconds` after the connection, or after the first byte of a further request.
    """

    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(
                Refused(503, "too_many_connections", "too many connections; try again in 1 s", {"Retry-After": "1"})
            )
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._busy:
            self._header_bytes += len(data)
            self._await_headers()
        super().data_received(data)
        if self._busy:
            self._headers_came()
        elif self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(Refused(431, "headers_too_large", f"the headers have more than {MAX_HEADER_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(400, "bad_http", msg))

    @property
    def _busy(self) -> bool:
        """Whether a request's headers came and its response is not whole."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_headers(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._too_late)

    def _headers_came(self) -> None:
        self._header_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if not self.transport.is_closing():
            message = f"the headers were not whole after {self.limits.header_seconds:g} s"
            self._refuse(Refused(408, "too_slow", message))

    def _refuse(self, refused: Refused) -> None:
        body = json.dumps(error_document("", refused, uuid.uuid4().hex)).encode("ascii")
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in (headers | refused.headers).items()]
        self.transport.write(f"HTTP/1.1 {refused.status} Refused\r\n{''.join(lines)}\r\n".encode("ascii") + body)
        self.transport.close()


def protocol_class(limits: Limits) -> type[asyncio.Protocol]:
    """By httptools, which is written in C, where it is installed; else by h11, which uvicorn brings."""
    base: type = H11Protocol
    with contextlib.suppress(ImportError):
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as base
    return type("LimitedProtocol", (_Limited, base), {"limits": limits})


class Server(uvicorn.Server):
    """Stops in order: no longer ready; for `drain_seconds` new connections are still answered; then the rest."""

    def __init__(self, config: uvicorn.Config, app: Any, drain_seconds: float):
        super().__init__(config)
        self._app, self._drain_seconds = app, drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again in the end, and the process would seem to have crashed.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        """With a handler for SIGHUP, which loads the bundles again."""
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        self._reloading = asyncio.create_task(self._app.state.service.models.reload_all())

    async def shutdown(self, sockets: Any = None) -> None:
        self._app.state.service.stopping = True
        waited = 0.0
        while waited < self._drain_seconds and not self.force_exit:
            await asyncio.sleep(0.05)
            waited += 0.05
        await super().shutdown(sockets)


def make_server(app: Any, settings: ServerSettings) -> Server:
    """A server for an application of ours; `run(sockets=[...])` blocks until it is told to stop."""
    config = uvicorn.Config(
        app, http=protocol_class(settings.limits), ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(settings.limits.answer_seconds) + 10,
    )  # fmt: skip
    return Server(config, app, settings.drain_seconds)
