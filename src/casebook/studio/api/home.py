"""Session, home and projects."""

import asyncio
import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import casebook

from ...errors import CasebookError
from ...runner.server.refusals import Refused, bad_request
from ..projects import Project
from ..runs import list_runs
from .requests import json_body, studio, text_of

if TYPE_CHECKING:
    from ..app import Studio

HAS_KERAS = find_spec("keras") is not None


async def session(request: Request) -> Response:
    """The page's token, for a page that outlived its session's server."""
    here = studio(request)
    return JSONResponse(
        {"token": request.state.page_token, "version": casebook.__version__, "root": here.settings.root.name}
    )


async def home(request: Request) -> Response:
    here = studio(request)
    projects = here.projects.all()
    jobs, number = [job.to_dict() for job in here.jobs.all()], here.events.number
    runs = await asyncio.to_thread(list_runs, here.settings, here.projects)
    return JSONResponse(
        {
            "root": here.settings.root.name,
            "version": casebook.__version__,
            "projects": [project.to_dict() for project in projects],
            "runs": runs,
            "jobs": jobs,
            "number": number,
            "warnings": here.warnings(),
            "has_keras": HAS_KERAS,
        }
    )


async def open_project(request: Request) -> Response:
    """{"folder": PATH} or {"digits": true} -> the project."""
    document, here = await json_body(request), studio(request)
    if document.get("digits") is True:
        return JSONResponse(_opened(here, here.projects.open_digits()))
    if "folder" not in document:
        raise bad_request('the body needs "folder" or "digits": true')
    return JSONResponse(_opened(here, here.projects.open_folder(text_of(document, "folder"))))


def _opened(here: "Studio", project: Project) -> dict[str, Any]:
    """Begins to read the project's pictures, which the next page shows."""

    def read() -> None:
        with contextlib.suppress(CasebookError, Refused, OSError):  # the page that shows them says what is wrong
            here.pictures_of(project.id)

    asyncio.get_running_loop().run_in_executor(None, read)
    return project.to_dict()


async def project(request: Request) -> Response:
    here = studio(request)
    found = here.projects.get(request.path_params["project"])
    jobs = [job.to_dict() for job in here.jobs.all() if job.project == found.id]
    return JSONResponse(found.to_dict() | {"jobs": jobs, "number": here.events.number})


ROUTES = [
    Route("/api/session", session),
    Route("/api/home", home),
    Route("/api/projects", open_project, methods=["POST"]),
    Route("/api/projects/{project}", project),
]
