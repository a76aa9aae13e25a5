"""Starts a server, or several worker processes that share its port, and runs until it is told to stop."""

import contextlib
import logging
import socket
import sys
from collections.abc import Sequence
from importlib import util

from ...errors import ServerError
from .models import Opener, Source
from .settings import BACKLOG, Access, ServerSettings
from .workers import supervise

NEEDED = ("starlette", "uvicorn")


def serve(sources: Sequence[Source], settings: ServerSettings, open_source: Opener | None = None) -> None:
    """Serves bundles until SIGTERM or SIGINT. Raises CasebookError for what cannot be served."""
    missing = [name for name in NEEDED if util.find_spec(name) is None]
    if missing:
        raise ServerError(f"a server needs {' and '.join(missing)}; pip install {' '.join(missing)}")
    _log_to_streams()
    with contextlib.closing(listening_socket(settings.access)) as listening:
        host, port = listening.getsockname()[:2]
        print(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}", file=sys.stderr, flush=True)
        if settings.workers == 1:
            run(sources, settings, open_source, listening)
        else:
            supervise(lambda number: run(sources, settings, open_source, listening, str(number)), settings.workers)


def run(
    sources: Sequence[Source],
    settings: ServerSettings,
    open_source: Opener | None,
    listening: socket.socket,
    worker: str | None = None,
) -> None:
    """One process. Raises CasebookError where a bundle cannot be served."""
    from .app import create_app
    from .opening import bundle_opener
    from .protocol import make_server

    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(sources, settings, open_source or bundle_opener(settings), worker=worker, failed=failed)
    server = make_server(app, settings)
    server.run(sockets=[listening])
    if failures:
        raise failures[0]


def listening_socket(access: Access) -> socket.socket:
    """Raises ServerError where the address cannot be used."""
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    try:
        return socket.create_server((access.host, access.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ServerError(f"cannot listen on {access.host} port {access.port}: {error}; try another --port") from error


def _log_to_streams() -> None:
    """The access log goes to stdout, a JSON document a line; everything else to stderr."""
    for name, stream, form in (
        ("casebook.access", sys.stdout, "%(message)s"),
        ("casebook.server", sys.stderr, "%(levelname)s: %(message)s"),
        ("uvicorn.error", sys.stderr, "%(levelname)s: %(message)s"),
    ):
        logger, handler = logging.getLogger(name), logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(form))
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.ERROR if name == "uvicorn.error" else logging.INFO)
