"""Requests that are not answered as asked: a status, a code for programs, a sentence for people."""

from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """Raised anywhere in a request; the guard turns it into a response."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


def error_document(path: str, refused: Refused, request_id: str) -> dict[str, Any]:
    """The body of a refusal. The Open Inference Protocol has a plain text under "error"; our own API an object."""
    if path == "/v2" or path.startswith("/v2/"):
        return {"error": refused.message, "code": refused.code, "request_id": request_id}
    return {"error": {"code": refused.code, "message": refused.message, "request_id": request_id}}


def overloaded(message: str, seconds: int = 1) -> Refused:
    """503 with the seconds after which to try again."""
    return Refused(503, "overloaded", message, {"Retry-After": str(seconds)})


def bad_request(message: str, code: str = "bad_request") -> Refused:
    return Refused(400, code, message)
