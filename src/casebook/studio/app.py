"""The ASGI application: the pages' shell, static files, and the API. It never imports torch; jobs do."""

import asyncio
import contextlib
import functools
import hashlib
import html
import mimetypes
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..formatting import size_text
from ..runner.server.admission import Admission
from .api import files, folders, history, home, jobs, lessons, networks, pictures, runs, training
from .events import EventLog
from .filling import Filling
from .guard import Guard, http_error
from .jobs import Jobs
from .pictures import ProjectPictures
from .projects import Projects
from .session import Sessions
from .settings import StudioSettings
from .thumbnails import Thumbnails

API = (home, folders, jobs, history, pictures, training, runs, networks, lessons, files)
"""Each module has ROUTES; the first route that fits answers."""
LEAST_FREE_BYTES = 200 * 2**20
STATIC = Path(__file__).parent / "static"
REPORTS = Path(__file__).parents[1] / "reports" / "static"
SHARED = {name: REPORTS / name for name in ("page.css", "numbers.js", "order.js")}
PAGES = (
    "/",
    "/p/{project}/{page}",
    "/p/{project}/run/{run}",
    "/networks",
    "/networks/{name}",
    "/lessons",
    "/lessons/{name}",
)


class Studio:
    """All that requests share."""

    def __init__(self, settings: StudioSettings, sessions: Sessions):
        self.settings, self.sessions = settings, sessions
        self.admission = Admission(settings.limits)
        self.projects = Projects(settings)
        self.thumbnails = Thumbnails(settings.state)
        self.num_streams = 0
        self.last_look = 0.0
        """When a page last asked for a picture, by the monotonic clock."""
        self._pictures: dict[str, ProjectPictures] = {}
        self._loading = threading.Lock()

    def pictures_of(self, project: str) -> ProjectPictures:
        """In a thread: the first time it reads the project's folder. Raises Refused and DataError."""
        found = self.projects.get(project)
        with self._loading:
            if project not in self._pictures:
                self._pictures[project] = ProjectPictures(self.settings, self.projects, found)
            return self._pictures[project]

    def opened(self) -> list[ProjectPictures]:
        """Those of the projects that were opened since the start, the newest first."""
        return list(reversed(self._pictures.values()))

    def start(self) -> None:
        """On the event loop."""
        self.events = EventLog(self.settings.state / "events.jsonl")
        self.jobs = Jobs(self.settings, self.projects, self.events)

    def warnings(self) -> list[str]:
        """What the home page has to say about the state of the studio."""
        if self.events.disk_is_full:
            return ["the disk is full: free some space; what happened meanwhile is kept while the studio runs"]
        free_bytes = shutil.disk_usage(self.settings.root).free
        if free_bytes < LEAST_FREE_BYTES:
            return [f"only {size_text(free_bytes)} are free on the disk; a training that cannot save its work stops"]
        return []


def create_app(settings: StudioSettings, sessions: Sessions, port: int) -> Starlette:
    """The studio of one folder, for a server on this port."""
    studio = Studio(settings, sessions)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        studio.start()
        tasks = [asyncio.create_task(studio.jobs.watch()), asyncio.create_task(Filling(studio).run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            studio.events.close()
            studio.thumbnails.close()

    routes = [*_api_routes(), *(Route(path, shell) for path in PAGES), Route("/static/{path:path}", static)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, sessions=sessions, port=port)],
        lifespan=lifespan,
        exception_handlers={HTTPException: http_error},
    )
    app.router.redirect_slashes = False
    app.state.studio = studio
    app.state.files = _static_files()
    return app


def _api_routes() -> Sequence[BaseRoute]:
    return [route for module in API for route in module.ROUTES]


def _static_files() -> dict[str, Path]:
    """Name in the URL -> file. Only these are served, so no path leads anywhere else."""
    found = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
    return found | SHARED


async def shell(request: Request) -> Response:
    """The same document for every page; its script shows what the address names."""
    content = (STATIC / "index.html").read_text(encoding="utf-8")
    return Response(
        content.replace("{{token}}", html.escape(request.state.page_token)), media_type="text/html; charset=utf-8"
    )


@functools.lru_cache(maxsize=256)
def _read(path: Path, changed_ns: int) -> tuple[bytes, str]:
    """The file and its ETag; kept, since each read would wait for a thread that reads a large folder."""
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


async def static(request: Request) -> Response:
    path = request.app.state.files.get(request.path_params["path"])
    if path is None or path.name == "index.html":
        raise HTTPException(404)
    content, tag = _read(path, path.stat().st_mtime_ns)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0] or "text/plain"
    return Response(content, headers=headers, media_type=kind)
