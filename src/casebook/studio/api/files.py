"""Files that jobs leave, and pictures that pages send for a job to look at."""

import asyncio
import hashlib
import re
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ...errors import PictureError
from ...files import write_atomically
from ...runner.server.refusals import Refused
from ..settings import StudioSettings
from .requests import raw_body, studio

KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
# A page that came with a run may have been made by anybody. It runs as a stranger: without our cookie, storage and API.
SANDBOX = {
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Opener-Policy": "unsafe-none",
}
UPLOAD = re.compile(r"[0-9a-f]{32}")
KEPT_UPLOADS = 200
KEPT_SECONDS = 3600
SHOWN_SIDE = 256
KEPT = "private, max-age=3600"


def sandboxed(path: Path) -> Response:
    """A page or drawing as a document of its own that reaches nothing of the studio."""
    if not path.is_file():
        raise Refused(404, "no_file", f"there is no {path.name}; it was removed, or never written")
    return FileResponse(path, media_type=KINDS[path.suffix], headers=SANDBOX)


async def job_file(request: Request) -> Response:
    """A file that the job's result lists under "files", or below it in "exported" as a download."""
    here, name = studio(request), request.path_params["name"]
    found = here.jobs.get(request.path_params["job"])
    result = found.result() or {}
    if name in result.get("files", ()):
        path = found.folder / "files" / name
        if path.parent == found.folder / "files" and path.suffix in KINDS:
            return sandboxed(path)
    if name in result.get("exported", ()):
        path = here.settings.root / "exports" / name
        if path.is_file() and path.parent == here.settings.root / "exports":
            return FileResponse(path, media_type="application/octet-stream", filename=name)
    raise Refused(404, "no_file", f"this job left no file {name[:60]!r}")


def upload_path(settings: StudioSettings, id: str) -> Path:
    """Where an uploaded picture lies. Raises Refused (404)."""
    path = settings.state / "uploads" / id
    if not UPLOAD.fullmatch(id) or not path.is_file():
        raise Refused(404, "no_upload", "that picture is not here any more; drop it again")
    return path


async def upload(request: Request) -> Response:
    """Keeps a picture for a job to look at -> {"id"}. It is decoded in the job, under the limits of training."""
    here = studio(request)
    content = await raw_body(request)
    folder, id = here.settings.state / "uploads", hashlib.sha256(content).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    write_atomically(folder / id, content)
    return JSONResponse({"id": id}, 201)


async def uploaded(request: Request) -> Response:
    """A picture that a page sent, to look at: decoded under the limits of training and made again."""
    here = studio(request)
    path = upload_path(here.settings, request.path_params["id"])
    loop = asyncio.get_running_loop()
    try:
        content = await loop.run_in_executor(here.thumbnails.pool, here.thumbnails.of_upload, path, SHOWN_SIDE)
    except PictureError as error:
        raise Refused(422, "unreadable", str(error)) from None
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": KEPT})


def _forget_old(folder: Path) -> None:
    """Uploads are for the next minutes; what stays of them is little."""
    known = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in known[:-KEPT_UPLOADS]:
        if time.time() - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink(missing_ok=True)


ROUTES = [
    Route("/api/jobs/{job}/files/{name}", job_file),
    Route("/api/uploads", upload, methods=["POST"]),
    Route("/api/uploads/{id}", uploaded),
]
