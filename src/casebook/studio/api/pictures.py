"""Pictures, thumbnails, labels and uploads."""

import asyncio
import time
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...errors import DataError, PictureError
from ...runner.server.refusals import Refused, bad_request
from ..gather import gather
from ..pictures import ProjectPictures
from ..thumbnails import SIDES
from .requests import json_body, raw_body, studio, text_of

PICTURE_BYTES = 32 * 2**20  # of an uploaded file
KEPT = "private, max-age=86400"


async def pictures(request: Request) -> Response:
    """Looks at the disk again with ?again=1."""
    found = await _pictures(request)
    if request.query_params.get("again"):
        await asyncio.to_thread(found.look_again)
    return JSONResponse(await asyncio.to_thread(found.to_dict))


async def thumbnail(request: Request) -> Response:
    side = request.query_params.get("side", "128")
    if not side.isdigit() or int(side) not in SIDES:
        raise bad_request(f"side is {side[:20]!r}, expected one of {', '.join(map(str, SIDES))}")
    return await _picture(request, int(side))


async def picture(request: Request) -> Response:
    """The picture to look at: decoded under our limits and made again, so no hostile file reaches the browser."""
    return await _picture(request, max(SIDES))


async def labels(request: Request) -> Response:
    """{"changes": [{"numbers": [...], "label": NAME} or {"numbers": [...], "excluded": true}]} -> their new facts."""
    document = await json_body(request)
    changes = document.get("changes")
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        raise bad_request("changes is no list of objects")
    found = await _pictures(request)
    return JSONResponse(await asyncio.to_thread(found.change, changes))


async def undo(request: Request) -> Response:
    await json_body(request)
    found = await _pictures(request)
    return JSONResponse(await asyncio.to_thread(found.undo))


async def add_picture(request: Request) -> Response:
    """One file's bytes, with its class, burst and name in headers, each percent-encoded."""
    found = await _pictures(request)
    content = await raw_body(request, PICTURE_BYTES)
    label, burst, name = (unquote(request.headers.get(f"x-casebook-{key}", "")) for key in ("class", "burst", "name"))
    return JSONResponse(await asyncio.to_thread(gather, found, content, label, burst, name))


async def end_gathering(request: Request) -> Response:
    """Counts what was gathered and writes the list."""
    await json_body(request)
    found = await _pictures(request)

    def end() -> None:
        found.load()
        found.write()

    await asyncio.to_thread(end)
    return JSONResponse(await asyncio.to_thread(found.to_dict))


async def new_folder(request: Request) -> Response:
    """{"name": NAME} -> the project of a new folder in the studio's folder."""
    here = studio(request)
    name = text_of(await json_body(request), "name").strip()
    if not name or len(name) > 80 or name.startswith(".") or not name.isprintable() or set(name) & set('\\/:*?"<>|'):
        raise DataError('a folder needs a name of 1 to 80 characters without \\ / : * ? " < > | and no dot in front')
    path = here.settings.root / name
    try:
        path.mkdir()
    except OSError as error:
        raise DataError(f"cannot make the folder {name!r}: {error.strerror}; choose another name") from error
    return JSONResponse(here.projects.open_folder(name).to_dict())


async def _pictures(request: Request) -> ProjectPictures:
    here = studio(request)
    return await asyncio.to_thread(here.pictures_of, request.path_params["project"])


async def _picture(request: Request, side: int) -> Response:
    here, found = studio(request), await _pictures(request)
    here.last_look = time.monotonic()
    number = request.path_params["number"]
    source, row = found.source, found.row(number)
    loop = asyncio.get_running_loop()
    try:
        content = await loop.run_in_executor(here.thumbnails.pool, here.thumbnails.get, source, row, side)
    except PictureError as error:
        raise Refused(422, "unreadable", str(error)) from None
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": KEPT})


ROUTES = [
    Route("/api/folders/new", new_folder, methods=["POST"]),
    Route("/api/projects/{project}/pictures", pictures),
    Route("/api/projects/{project}/thumbnails/{number:int}", thumbnail),
    Route("/api/projects/{project}/picture/{number:int}", picture),
    Route("/api/projects/{project}/labels", labels, methods=["POST"]),
    Route("/api/projects/{project}/labels/undo", undo, methods=["POST"]),
    Route("/api/projects/{project}/gather", add_picture, methods=["POST"]),
    Route("/api/projects/{project}/gather/end", end_gathering, methods=["POST"]),
]
