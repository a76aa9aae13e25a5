"""The page on which to drop a picture, and the documentation. Both load nothing from elsewhere."""

from importlib import resources

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .openapi import openapi_document

KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def _static(name: str) -> Response:
    content = resources.files("casebook.runner.server").joinpath("static", name).read_bytes()  # also from within a zip
    return Response(content, media_type=KINDS[name.rpartition(".")[2]])


async def page(request: Request) -> Response:
    return _static("page.html")


async def docs(request: Request) -> Response:
    return _static("docs.html")


async def page_file(request: Request) -> Response:
    return _static(request.url.path.removeprefix("/"))


async def openapi(request: Request) -> Response:
    return JSONResponse(openapi_document(request.app.state.service.settings))


ROUTES = [
    Route("/", page),
    Route("/docs", docs),
    Route("/openapi.json", openapi),
    *(Route(f"/{name}", page_file) for name in ("page.js", "page.css", "docs.js")),
]
