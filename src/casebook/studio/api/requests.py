"""What every route needs: the studio behind the request, and the body under its limits."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from ...runner.server.reading import read_body
from ...runner.server.refusals import Refused, bad_request

if TYPE_CHECKING:
    from ..app import Studio


def studio(request: Request) -> "Studio":
    return request.app.state.studio


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises Refused (400, 408, 413, 415)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "wrong_type", "this route takes application/json")
    content = await _body(request, studio(request).settings.limits.json_bytes)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise bad_request(f"the body is a JSON {type(document).__name__}, expected an object")
    return document


async def raw_body(request: Request, most_bytes: int | None = None) -> bytes:
    """The bytes of one uploaded file. Raises Refused (400, 408, 413, 415)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/octet-stream":
        raise Refused(415, "wrong_type", "this route takes application/octet-stream")
    return await _body(request, most_bytes or studio(request).settings.limits.body_bytes)


async def _body(request: Request, most_bytes: int) -> bytes:
    limits = dataclasses.replace(studio(request).settings.limits, body_bytes=most_bytes)
    with studio(request).admission.admitted() as share:
        return await read_body(request, limits, share)


def text_of(document: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text in a JSON object. Raises Refused (400)."""
    value = document.get(name, default)
    if not isinstance(value, str):
        raise bad_request(f"{name} is {type(value).__name__}, expected a text")
    return value


def number_of(request: Request, name: str, default: int = 0) -> int:
    """A whole number of at least 0 in the query. Raises Refused (400)."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 15:
        raise bad_request(f"{name} is {given[:40]!r}, expected a whole number")
    return int(given)
