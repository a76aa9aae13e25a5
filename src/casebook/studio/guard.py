"""What happens before and after every request: who asks, from which page, and how an error is answered."""

import asyncio
import hmac
import logging
from http.cookies import CookieError, SimpleCookie

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import CasebookError
from ..runner.server.refusals import ClientGone, Refused
from .session import Sessions, cookie_name, page_token

log = logging.getLogger("casebook.studio")

SAFE = ("GET", "HEAD")
UNSAFE = ("POST",)
UPLOAD = "application/octet-stream"
DISCARD_SECONDS = 2.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "font-src 'self'; media-src 'self' blob:; frame-src 'self'; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
CLOSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Casebook studio</title>
<h1>This browser is not let in yet</h1>
<p>The studio prints an address with a token when it starts. Paste that address into the address bar; it works once.</p>
<p>For a new one, stop the studio with Ctrl-C and run <code>casebook studio</code> again.
A training goes on meanwhile.</p>
"""
CODES = {404: "not_found", 405: "method_not_allowed"}


class Guard:
    """ASGI middleware around all routes.

    `port` is known once the server listens. A page under a foreign name (DNS rebinding) is refused before anything
    else looks at the request; a change needs the exact origin, the cookie, the page's token and a JSON body.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, port: int):
        self._app, self._sessions, self._port = app, sessions, port
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}", *(["127.0.0.1", "localhost"] if port == 80 else []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, receive, send)
        try:
            response = self._admit(scope)
            if response is not None:
                await response(scope, answering.receive, answering.send)
            else:
                await self._app(scope, answering.receive, answering.send)
        except ClientGone:
            pass
        except Exception as error:
            await answering.fail(error)

    def _admit(self, scope: Scope) -> Response | None:
        """None for a request that may go on. Raises Refused."""
        headers = _headers(scope)
        method, path = scope["method"], scope["path"]
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            raise Refused(421, "unknown_host", f"the studio is not called {host[:100]!r}; open the address it printed")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(
                403, "cross_site", "another site sent this request; paste the studio's address into the address bar"
            )
        if method not in (*SAFE, *UNSAFE):
            raise Refused(
                405, "method_not_allowed", f"{method[:20]} is not answered here", {"Allow": "GET, HEAD, POST"}
            )
        request = Request(scope)
        if path == "/" and method == "GET" and "token" in request.query_params:
            return self._launch(request.query_params["token"], headers)
        cookie = self._cookie(headers)
        if cookie is None:
            if path.startswith("/api/") or method != "GET":
                raise Refused(401, "no_session", "this browser is not let in; open the address that the studio printed")
            return HTMLResponse(CLOSED, 401)
        scope.setdefault("state", {})["page_token"] = page_token(cookie)
        if method in UNSAFE:
            self._admit_change(headers, host, page_token(cookie))
        return None

    def _admit_change(self, headers: dict[str, str], host: str, expected: str) -> None:
        if headers.get("origin") != f"http://{host}":
            raise Refused(403, "wrong_origin", f"a change has to come from a page of http://{host}")
        if not hmac.compare_digest(headers.get("x-casebook-token", "").encode(), expected.encode()):
            raise Refused(403, "wrong_token", "the page's token does not fit; reload the page")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", UPLOAD):
            raise Refused(415, "wrong_type", f"Content-Type is {kind[:50]!r}, expected application/json")

    def _launch(self, token: str, headers: dict[str, str]) -> Response:
        cookie = self._sessions.launch(token)
        if cookie is None:
            # A reload of the first address must not lock out a browser that is in already.
            return RedirectResponse("/", 303) if self._cookie(headers) else HTMLResponse(CLOSED, 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            cookie_name(self._port), cookie, max_age=30 * 24 * 3600, httponly=True, samesite="strict", path="/"
        )
        return response

    def _cookie(self, headers: dict[str, str]) -> str | None:
        """The request's cookie where it is one of ours."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(cookie_name(self._port))
        except CookieError:
            return None
        return found.value if found is not None and self._sessions.knows(found.value) else None


def _headers(scope: Scope) -> dict[str, str]:
    """Raises Refused where a header that decides occurs twice: two readers could take different ones."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key in ("host", "origin", "cookie", "x-casebook-token", "content-type", "sec-fetch-site"):
            raise Refused(400, "bad_http", f"the header {key} came twice")
        found[key] = value.decode("latin-1")
    return found


class _Answering:
    """One request and its response, with the security headers and errors as JSON."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self._scope, self._receive, self._send = scope, receive, send
        self._started = False
        names = {name.lower(): value for name, value in scope["headers"]}
        self._whole = names.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in names
        self._expects = b"expect" in names

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            if not self._whole:
                await self._discard_body()
                message["headers"].append((b"connection", b"close"))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answers with the error, if nothing has been sent."""
        if isinstance(error, CasebookError):
            error = Refused(422, "cannot", str(error))
        if not isinstance(error, Refused):
            log.error("%s %s failed", self._scope["method"], self._scope["path"][:200], exc_info=error)
            error = Refused(500, "internal", "the studio failed; the terminal in which it runs has the reason")
        if not self._started:
            response = JSONResponse(error_document(error), error.status, error.headers)
            await response(self._scope, self.receive, self.send)

    async def _discard_body(self) -> None:
        """A client that is still sending sees an early answer only if some of the rest is read."""
        if self._expects:
            return
        left = 2**20
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while left > 0 and not self._whole:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            pass


def error_document(refused: Refused) -> dict[str, dict[str, str]]:
    return {"error": {"code": refused.code, "message": refused.message}}


async def http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors, such as an unknown path, in our form."""
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    known = {404: "there is nothing at this address; begin at the home page", 405: "this address is asked another way"}
    message = known.get(error.status_code, str(error.detail))
    return JSONResponse(error_document(Refused(error.status_code, code, message)), error.status_code, error.headers)
