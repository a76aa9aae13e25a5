"""The ASGI application: the routes of both protocols, the page, the documentation and the metrics."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import pages, v1, v2
from .answering import Service
from .guard import Guard, http_error
from .metrics import CONTENT_TYPE
from .models import Models, Opener, Source
from .settings import ServerSettings

log = logging.getLogger("casebook.server")


async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(service.metrics.text(service.samples()), media_type=CONTENT_TYPE)


def create_app(
    sources: Sequence[Source],
    settings: ServerSettings,
    open_source: Opener,
    *,
    worker: str | None = None,
    failed: Callable[[BaseException], None] | None = None,
) -> Starlette:
    """Serves what `open_source` makes of the sources.

    With `failed`, the server listens at once, loads in the background, and calls `failed` where a bundle cannot be
    served; without it, loading ends before the first request, and its error is raised.
    """
    service = Service(settings, lambda: Models(sources, open_source, settings.batching), worker)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        loading = asyncio.create_task(service.models.load_all())
        try:
            if failed is None:
                await loading
            else:
                loading.add_done_callback(functools.partial(_report, failed))
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await service.close()

    access = settings.access
    middleware = [Middleware(Guard, service=service)]
    if access.cors:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=access.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", v2.LENGTH_HEADER],
            expose_headers=["X-Request-ID", "Retry-After", v2.LENGTH_HEADER],
        )
        middleware.insert(0, cors)
    routes = [*pages.ROUTES, *v1.ROUTES, *v2.ROUTES, Route("/metrics", metrics)]
    app = Starlette(
        routes=routes, middleware=middleware, lifespan=lifespan, exception_handlers={HTTPException: http_error}
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _report(failed: Callable[[BaseException], None], task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        failed(error)
