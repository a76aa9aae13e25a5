"""The folder browser: what lies below the studio's root."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..folders import list_folder
from .requests import studio


async def folders(request: Request) -> Response:
    root, path = studio(request).settings.root, request.query_params.get("path", "")
    return JSONResponse(await asyncio.to_thread(list_folder, root, path))


ROUTES = [Route("/api/folders", folders)]
