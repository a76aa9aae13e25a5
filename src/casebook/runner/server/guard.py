"""What happens around every request: its id, who may ask, errors as JSON, metrics, and a line in the access log."""

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import CasebookError
from .answering import Service
from .refusals import ClientGone, Refused, error_document

access_log = logging.getLogger("casebook.access")
log = logging.getLogger("casebook.server")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PUBLIC = ("/", "/docs", "/openapi.json", "/page.js", "/page.css", "/docs.js", "/v2/health/live", "/v2/health/ready")
ADMINISTRATION = "/v2/repository/"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
DISCARD_SECONDS = 2.0  # a client that is still sending sees an early answer only if the rest is read
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src blob: data:; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}
STATUS_CODES = {404: "not_found", 405: "method_not_allowed"}
CLIENT_GONE = 499  # nginx's number, for the log and the metrics


class Guard:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service
        access = service.settings.access
        self._token = None if access.token is None else f"Bearer {access.token}".encode("ascii")
        # A page of a stranger may point a name of its own at 127.0.0.1 (DNS rebinding); a token keeps it out as well.
        self._hosts = (*LOCAL_HOSTS, *access.hosts) if self._token is None else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._service)
        try:
            self._admit(scope, exchange.headers)
            await self._app(scope, exchange.receive, exchange.send)
        except ClientGone:
            exchange.status = CLIENT_GONE
        except TimeoutError:  # of our own send: the client does not read its answer
            exchange.status = CLIENT_GONE
            raise
        except Exception as error:
            await exchange.fail(error)
        finally:
            exchange.record()

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        path = scope["path"]
        if self._hosts:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if re.sub(r":\d{1,5}$", "", host) not in self._hosts:
                raise Refused(
                    421, "unknown_host", f"this server is not called {host[:100]!r}; --allow-host NAME lets a name in"
                )
        if path in PUBLIC:
            return
        if self._token is None:
            if path.startswith(ADMINISTRATION):
                raise Refused(
                    403,
                    "no_token",
                    "models are administered with a token only; start the server with --token-file FILE",
                )
        elif not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            raise Refused(
                401, "wrong_token", "send the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service):
        self.scope, self._receive, self._send, self._service = scope, receive, send, service
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.started = time.perf_counter()
        self.status = 0
        self.received_bytes = self.sent_bytes = 0
        self._body_whole = (
            self.headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in self.headers
        )

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received_bytes += len(message.get("body", b""))
            self._body_whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self._discard_body()
            added = SECURITY_HEADERS | {"X-Request-ID": self.request_id}
            present = {name.lower() for name, _ in message["headers"]}
            headers = [(name.lower().encode(), value.encode()) for name, value in added.items()]
            message["headers"] = [*message["headers"], *(pair for pair in headers if pair[0] not in present)]
            if self._service.stopping or not self._body_whole:
                message["headers"].append((b"connection", b"close"))
        else:
            self.sent_bytes += len(message.get("body", b""))
        async with asyncio.timeout(self._service.limits.answer_seconds):
            await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answers with the error, if nothing has been sent."""
        if isinstance(error, CasebookError):
            error = Refused(500, "failed", str(error))
        if not isinstance(error, Refused):
            log.error("request %s failed", self.request_id, exc_info=error)
            error = Refused(500, "internal", "the server failed; its log has the reason under the request id")
        if self.status == 0:
            document = error_document(self.scope["path"], error, self.request_id)
            await JSONResponse(document, error.status, error.headers)(self.scope, self.receive, self.send)

    async def _discard_body(self) -> None:
        if self._body_whole or b"expect" in self.headers or self.status == 408:
            return
        left = self._service.limits.body_bytes
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while left > 0 and not self._body_whole:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            pass

    def record(self) -> None:
        """Counts the request and writes its line. Names of files and query strings stay out of both."""
        seconds, metrics = time.perf_counter() - self.started, self._service.metrics
        endpoint = self.scope.get("endpoint")
        route = getattr(endpoint, "__name__", "none")
        metrics.count(
            "casebook_requests_total", route=route, method=_known_method(self.scope["method"]), status=str(self.status)
        )
        metrics.observe("casebook_request_seconds", seconds, route=route)
        metrics.count("casebook_request_bytes_total", self.received_bytes)
        if not access_log.isEnabledFor(logging.INFO):
            return
        client = self.scope.get("client")
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": self.request_id,
            "client": client[0] if client else None,
            "method": self.scope["method"],
            "path": self.scope["path"][:200],
            "status": self.status,
            "ms": round(1000 * seconds, 1),
            "bytes_in": self.received_bytes,
            "bytes_out": self.sent_bytes,
        }
        access_log.info(json.dumps(line))


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE") else "other"


async def http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors, such as an unknown path, in our form."""
    assert isinstance(error, HTTPException)
    code = STATUS_CODES.get(error.status_code, "bad_request")
    refused = Refused(error.status_code, code, str(error.detail), error.headers)
    document = error_document(request.url.path, refused, request.state.request_id)
    return JSONResponse(document, error.status_code, refused.headers)
