"""Our own API: pictures in, named classes out."""

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...errors import PictureError
from .answering import Service, unless_gone
from .models import Model, PictureAnswer
from .multipart import parse_multipart
from .reading import read_body
from .refusals import Refused, bad_request

PARAMETERS = ("model", "version", "top")
DEFAULT_TOP = 5


async def classify(request: Request) -> Response:
    service: Service = request.app.state.service
    top = _top(request)
    model = service.models.find(request.query_params.get("model"), request.query_params.get("version"))
    with service.admission.admitted() as share, model.in_use():
        body = await read_body(request, service.limits, share)
        files = pictures_of(request.headers.get("content-type", ""), body, service.limits.pictures)
        share.take(pictures=len(files) - 1)
        found = await unless_gone(request, service.answer_files(model, [content for _, content in files]))
    errors = [one for one in found if isinstance(one, PictureError)]
    if len(errors) == len(found):
        raise Refused(422, "unreadable_picture", f"{_shown(files[0][0])} {errors[0].reason}")
    pictures = [described(_shown(name), one, model, top) for (name, _), one in zip(files, found, strict=True)]
    request_id = request.state.request_id
    return JSONResponse({"model": model.name, "version": model.version, "request_id": request_id, "pictures": pictures})


def _top(request: Request) -> int:
    unknown = sorted(set(request.query_params) - set(PARAMETERS))
    if unknown:
        raise bad_request(f"unknown parameter {unknown[0][:50]!r}; expected {', '.join(PARAMETERS)}")
    given = request.query_params.get("top", str(DEFAULT_TOP))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= 10**6):
        raise bad_request(f"top is {given[:50]!r}, expected a number of classes from 1")
    return int(given[:9])


def pictures_of(content_type: str, body: bytes, limit: int) -> list[tuple[str, bytes]]:
    """(name, content) of each picture: the files of a form, or the body itself. Raises Refused (400, 413)."""
    if not body:
        raise bad_request("the body is empty; send a picture, or a form with pictures", "no_picture")
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return [("picture", body)]
    parts = parse_multipart(content_type, body, max_parts=4 * limit)
    files = [(part.filename or part.field, part.content) for part in parts if part.filename is not None]
    if not files:
        raise bad_request("the form holds no file", "no_picture")
    if len(files) > limit:
        raise Refused(413, "too_many_pictures", f"{len(files)} pictures, the limit is {limit} a request")
    return files


def described(name: str, found: PictureAnswer | PictureError, model: Model, top: int) -> dict[str, Any]:
    """One picture of the answer."""
    if isinstance(found, PictureError):
        return {"name": name, "error": {"code": "unreadable_picture", "message": f"{name} {found.reason}"}}
    classes = model.answering.classes
    best = np.argsort(-found.probabilities, kind="stable")[:top]
    return {
        "name": name,
        "classes": [{"class": classes[index], "probability": float(found.probabilities[index])} for index in best],
        "unsure": found.unsure is not None,
        "reason": found.unsure,
        "labels": None if found.labels is None else [classes[index] for index in found.labels],
        "set": None if found.possible is None else [classes[index] for index in found.possible],
    }


def _shown(name: str) -> str:
    """A file's name as the client gave it, without characters that could mislead a reader."""
    return "".join(c for c in name if c.isprintable())[:200] or "picture"


async def list_models(request: Request) -> Response:
    models = request.app.state.service.models
    rows = [
        {
            "name": model.name,
            "version": model.version,
            "classes": list(model.answering.classes),
            "several_labels": model.answering.many_labels,
            "about": model.answering.about,
        }
        for model in models.all()
    ]
    return JSONResponse({"models": rows})


ROUTES = [
    Route("/v1/classify", classify, methods=["POST"]),
    Route("/v1/models", list_models),
]
