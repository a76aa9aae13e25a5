"""The lessons: their list, and the pages of `casebook lesson`, which the task "lessons" writes."""

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ...runner.server.refusals import Refused
from ..lessons import NAMES, lesson_list, pages_folder, written
from .requests import studio

# The page is shown in a frame of the studio. It has no scripts, and none would run.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; form-action 'none'; "
    "base-uri 'none'"
)


async def lessons(request: Request) -> Response:
    """The list, and the names whose pages are written."""
    settings = studio(request).settings
    found = await asyncio.to_thread(lesson_list)
    return JSONResponse({"lessons": found, "written": await asyncio.to_thread(written, settings)})


async def page(request: Request) -> Response:
    """One lesson as HTML. Raises Refused (404) where it is no lesson, or not written yet."""
    name = request.path_params["lesson"]
    if name not in NAMES:
        raise Refused(404, "no_lesson", f"there is no lesson {name[:60]!r}; the page Lessons has all of them")
    path = pages_folder(studio(request).settings) / f"{name}.html"
    if not path.is_file():
        raise Refused(404, "not_written", f"the page of {name} is not written yet; the task 'lessons' writes it")
    return FileResponse(path, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})


ROUTES = [Route("/api/lessons", lessons), Route("/api/lessons/pages/{lesson}.html", page)]
