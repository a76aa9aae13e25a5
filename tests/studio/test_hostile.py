"""Requests of strangers, other sites and broken programs: each gets its refusal, and none changes anything."""

import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from PIL import Image

EVIL = "http://evil.example"


class Asked(NamedTuple):
    """One request. `headers` replace those of an honest page; None leaves one out."""

    name: str
    status: int | tuple[int, ...]
    code: str = ""
    method: str = "POST"
    path: str = "/api/projects"
    headers: dict[str, str | None] = {}  # noqa: RUF012 - never changed
    body: bytes = b'{"digits": true}'


def page(name: str, status: int, code: str, **headers: str | None) -> Asked:
    return Asked(name, status, code, "GET", "/", {key.replace("_", "-"): value for key, value in headers.items()}, b"")


def change(name: str, status: int, code: str, body: bytes = b'{"digits": true}', **headers: str | None) -> Asked:
    return Asked(
        name, status, code, headers={key.replace("_", "-"): value for key, value in headers.items()}, body=body
    )


def reading(name: str, path: str, status: int, code: str, method: str = "GET") -> Asked:
    return Asked(name, status, code, method, path, body=b"")


def opening(name: str, folder: str) -> Asked:
    return change(name, 422, "cannot", json.dumps({"folder": folder}).encode())


def gathering(name: str, status: int, code: str, body: bytes, label: str = "cats") -> Asked:
    headers = {"Content-Type": "application/octet-stream", "X-Casebook-Class": label, "X-Casebook-Burst": "burst001"}
    return Asked(name, status, code, path="/api/projects/PROJECT/gather", headers=headers, body=body)


def png(width: int, height: int) -> bytes:
    """The header of a PNG of any size, and hardly anything else."""
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    chunks = [head, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    parts = [len(one[4:]).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big") for one in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def job(name: str, /, **settings: Any) -> Asked:
    document = {"task": "train", "project": "PROJECT", "settings": settings}
    return Asked(name, 422, "cannot", path="/api/jobs", body=json.dumps(document).encode())


REQUESTS = (
    page("a foreign name for this machine", 421, "unknown_host", Host="evil.example"),
    page("DNS rebinding, with our port", 421, "unknown_host", Host="evil.example:PORT"),
    page("our address without the port", 421, "unknown_host", Host="127.0.0.1"),
    page("our address with another port", 421, "unknown_host", Host="127.0.0.1:1"),
    page("a name that begins with ours", 421, "unknown_host", Host="127.0.0.1:PORT.evil.example"),
    page("every address of this machine", 421, "unknown_host", Host="0.0.0.0:PORT"),
    page("no host at all", 421, "unknown_host", Host=""),
    page("a link from another site", 403, "cross_site", Sec_Fetch_Site="cross-site"),
    page("a page of another port", 403, "cross_site", Sec_Fetch_Site="same-site"),
    page("no cookie", 401, "", Cookie=None),
    page("a made-up cookie", 401, "", Cookie="casebook_studio_PORT=" + "A" * 43),
    page("the cookie of another studio", 401, "", Cookie="casebook_studio_1=VALUE"),
    page("a cookie that is none", 401, "", Cookie="casebook_studio_PORT=;;;=;\x01"),
    Asked("the launch token once more", 401, "", "GET", "/?token=LAUNCH", {"Cookie": None}, b""),
    Asked("a guessed launch token", 401, "", "GET", "/?token=guess", {"Cookie": None}, b""),
    Asked("the API without a cookie", 401, "no_session", "GET", "/api/home", {"Cookie": None}, b""),
    change("a form of another site", 403, "wrong_origin", b"digits=true",
           Origin=EVIL, Content_Type="application/x-www-form-urlencoded"),
    change("a form with files of another site", 403, "wrong_origin", b"--x--",
           Origin=EVIL, Content_Type="multipart/form-data; boundary=x"),
    change("JSON as plain text of another site", 403, "wrong_origin", Origin=EVIL, Content_Type="text/plain"),
    change("JSON as plain text of our page", 415, "wrong_type", Content_Type="text/plain"),
    change("a form of our page", 415, "wrong_type", b"digits=true", Content_Type="application/x-www-form-urlencoded"),
    change("an upload where JSON is expected", 415, "wrong_type", Content_Type="application/octet-stream"),
    change("no origin", 403, "wrong_origin", Origin=None),
    change("a frame in a sandbox", 403, "wrong_origin", Origin="null"),
    change("a server on another port", 403, "wrong_origin", Origin="http://127.0.0.1:1"),
    change("the same address by https", 403, "wrong_origin", Origin="https://127.0.0.1:PORT"),
    change("the other name of this machine", 403, "wrong_origin", Origin="http://localhost:PORT"),
    change("no page token", 403, "wrong_token", X_Casebook_Token=None),
    change("a wrong page token", 403, "wrong_token", X_Casebook_Token="0" * 64),
    change("a page token of other characters", 403, "wrong_token", X_Casebook_Token="\xe9"),
    Asked("a preflight request", 405, "method_not_allowed", "OPTIONS",
          headers={"Origin": EVIL, "Access-Control-Request-Method": "POST"}, body=b""),
    reading("PUT", "/api/projects", 405, "method_not_allowed", "PUT"),
    reading("DELETE", "/api/jobs/20260101-000000-aaaa", 405, "method_not_allowed", "DELETE"),
    reading("TRACE", "/", 405, "method_not_allowed", "TRACE"),
    reading("a change by GET", "/api/jobs/20260101-000000-aaaa/stop", 405, "method_not_allowed"),
    reading("the parent of the root", "/api/folders?path=..", 422, "cannot"),
    reading("up and down again", "/api/folders?path=" + quote("photos/../../.."), 422, "cannot"),
    reading("an absolute path", "/api/folders?path=/etc", 422, "cannot"),
    reading("the user's home", "/api/folders?path=~", 422, "cannot"),
    reading("a path that is escaped twice", "/api/folders?path=%252e%252e%252f", 422, "cannot"),
    reading("a path with a NUL", "/api/folders?path=photos%00", 422, "cannot"),
    reading("a path with backslashes", "/api/folders?path=..%5C..", 422, "cannot"),
    reading("a link out of the root", "/api/folders?path=escape", 422, "cannot"),
    reading("a file behind a link out of the root", "/api/folders?path=escape/secret.csv", 422, "cannot"),
    reading("a link that turns in a circle", "/api/folders?path=circle", 422, "cannot"),
    reading("an endless path", "/api/folders?path=" + "a/" * 9000, 422, "cannot"),
    opening("a project outside of the root", "../other"),
    opening("a project behind a link", "escape"),
    opening("a project of the studio's own files", ".casebook-studio"),
    reading("a project by its path", "/api/projects/..%2F..%2Fetc", 404, "not_found"),
    reading("a project by a name that is no id", "/api/projects/%2E%2E", 404, "no_project"),
    reading("a job by its path", "/api/jobs/..%2E", 404, "no_job"),
    reading("a run by its path", "/api/projects/PROJECT/runs/%2E%2E/history", 404, "no_run"),
    reading("a run behind a link", "/api/projects/PROJECT/runs/escape/history", 404, "no_run"),
    reading("a static file outside", "/static/../app.py", 404, "not_found"),
    reading("a static file outside, escaped", "/static/%2e%2e/%2e%2e/__init__.py", 404, "not_found"),
    reading("a static file by backslashes", "/static/..%5Capp.py", 404, "not_found"),
    reading("a static file by an absolute path", "/static//etc/passwd", 404, "not_found"),
    reading("a number that is none", "/api/events/missed?after=1e9", 400, "bad_request"),
    reading("a number of a hundred digits", "/api/events/missed?after=" + "9" * 100, 400, "bad_request"),
    change("no JSON", 400, "bad_request", b"{"),
    change("JSON of another encoding", 400, "bad_request", '{"digits": true, "ü": 1}'.encode("latin-1")),
    change("a JSON list", 400, "bad_request", b"[]"),
    change("a hundred thousand brackets", 400, "bad_request", b"[" * 100_000),
    change("a number of a million digits", 400, "bad_request", b'{"folder": ' + b"9" * 1_000_000 + b"}"),
    change("a folder that is a number", 400, "bad_request", b'{"folder": 7}'),
    change("a body of 2 MiB", 413, "body_too_large", b" " * 2**21),
    change("a small body that unpacks to 1 GiB", 413, "body_too_large", gzip.compress(bytes(2**24)),
           Content_Encoding="gzip"),
    change("an unknown packing", 415, "unknown_encoding", Content_Encoding="br"),
    job("a network by its path", model="../../etc/passwd"),
    job("weights by an absolute path", weights="file:/etc/passwd"),
    job("weights above the root", weights="file:a/../../b.safetensors"),
    job("a run outside of runs", name="../../x"),
    job("a recipe by its path", recipe="/etc/passwd"),
    job("a setting that is none", command="rm -rf /"),
    job("a number beyond all limits", epochs=10**30),
    job("a truth that is a text", two_phase="yes"),
    gathering("a picture of 3,600 megapixels in a kilobyte", 422, "cannot", png(60_000, 60_000)),
    gathering("a script with the name of a picture", 422, "cannot", b"<svg onload=alert(1)>"),
    gathering("a picture for a class outside of the project", 422, "cannot", png(1, 1), quote("../../cats", safe="")),
    gathering("a picture of 33 MiB", 413, "body_too_large", bytes(33 * 2**20)),
    reading("a picture before the first", "/api/projects/PROJECT/thumbnails/-1", 404, "not_found"),
    reading("a picture after the last", "/api/projects/PROJECT/thumbnails/9999999999", 404, "no_picture"),
    reading("a picture by its path", "/api/projects/PROJECT/picture/..%2F..%2Fx", 404, "not_found"),
    reading("a picture of another size", "/api/projects/PROJECT/thumbnails/0?side=99999", 400, "bad_request"),
    Asked("a new folder outside", 422, "cannot", path="/api/folders/new", body=b'{"name": "../x"}'),
    Asked("labels for pictures by their names", 422, "cannot", path="/api/projects/PROJECT/labels",
          body=b'{"changes": [{"numbers": ["../../x"], "label": "a"}]}'),
    Asked("a task that is none", 422, "cannot", path="/api/jobs", body=b'{"task": "os.system"}'),
)  # fmt: skip


def root_with_traps(folder: Path) -> Path:
    """A root with a folder of pictures, and links that lead out of it."""
    outside, root = folder / "outside", folder / "root"
    for path in (outside, root / "photos" / "cats", root / "runs"):
        path.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "photos" / "cats" / "1.png")
    (outside / "secret.csv").write_text("path,label\n/etc/passwd,x\n")
    for link, target in (("escape", outside), ("circle", root / "circle"), ("runs/escape", outside)):
        (root / link).symlink_to(target)
    return root


@pytest.fixture(scope="module")
def studio(live_studio: Callable, tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = live_studio(root_with_traps(tmp_path_factory.mktemp("hostile")))
    found.project = found.post("/api/projects", {"folder": "photos"})["id"]
    return found


def filled(text: str, studio: Any) -> str:
    """PORT, PROJECT, VALUE (of the cookie) and LAUNCH in place."""
    for word, value in (
        ("PORT", str(studio.port)),
        ("PROJECT", studio.project),
        ("VALUE", studio.cookie.partition("=")[2]),
        ("LAUNCH", studio.launch_token),
    ):
        text = text.replace(word, value)
    return text


def sent(studio: Any, content: bytes, more: Callable[[socket.socket], None] | None = None) -> tuple[int, dict, bytes]:
    """(status, headers, body) of the first answer on a connection of its own; status 0 without one."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", studio.port), timeout=20)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(content)
            if more is not None:
                more(connection)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return (int(lines[0].split()[1]) if lines[0] else 0), headers, body


def raw(studio: Any, asked: Asked) -> bytes:
    honest: dict[str, str | None] = {
        "Host": f"127.0.0.1:{studio.port}", "Connection": "close", "Content-Length": str(len(asked.body)),
        **studio.headers,
    }  # fmt: skip
    headers = {name: filled(value, studio) for name, value in (honest | asked.headers).items() if value is not None}
    lines = [
        f"{asked.method} {filled(asked.path, studio)} HTTP/1.1",
        *(f"{key}: {value}" for key, value in headers.items()),
    ]
    body = asked.body.replace(b"PROJECT", studio.project.encode())
    return (
        "\r\n".join([*lines, "", ""])
        .encode("latin-1")
        .replace(f"Content-Length: {len(asked.body)}".encode(), f"Content-Length: {len(body)}".encode())
        + body
    )


def state(studio: Any) -> tuple[list, list]:
    home = studio.get("/api/home")
    return home["projects"], home["jobs"]


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.name)
def test_it_is_refused_and_changes_nothing(studio: Any, asked: Asked) -> None:
    before = state(studio)
    for _ in range(5):  # a connection that is closed before all was sent may lose the end of the answer
        status, headers, body = sent(studio, raw(studio, asked))
        assert status == asked.status, body
        if len(body) == int(headers.get("content-length", len(body))):
            break
    if asked.code:
        error = json.loads(body)["error"]
        assert error["code"] == asked.code
        assert len(error["message"]) > 15
        assert str(studio.root.parent) not in error["message"]
    assert not [name for name in headers if name.startswith("access-control-")]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    assert state(studio) == before


@pytest.mark.parametrize("header", ["Host", "Origin", "Cookie", "X-Casebook-Token", "Content-Type"])
def test_a_header_that_decides_may_come_once_only(studio: Any, header: str) -> None:
    request = raw(studio, change("", 400, ""))
    line = next(line for line in request.split(b"\r\n") if line.lower().startswith(header.lower().encode() + b":"))
    status, _, body = sent(studio, request.replace(line, line + b"\r\n" + line))
    assert status == 400, body


def test_an_endless_body_is_cut_off(studio: Any) -> None:
    request = raw(studio, change("", 413, "", b"")).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    def endless(connection: socket.socket) -> None:
        connection.settimeout(10)
        for _ in range(400):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")

    status, _, body = sent(studio, request, endless)
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


def test_a_huge_body_is_refused_before_it_comes(studio: Any) -> None:
    request = raw(studio, change("", 413, "", b"")).replace(b"Content-Length: 0", b"Content-Length: 99999999999")
    status, _, body = sent(studio, request, lambda connection: connection.shutdown(socket.SHUT_WR))
    assert status in (0, 413)
    assert status == 0 or json.loads(body)["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
    ids=["TLS", "HTTP/2", "an unknown version", "zeros"],
)
def test_what_is_no_http_ends_the_connection(studio: Any, content: bytes) -> None:
    status, _, _ = sent(studio, content, lambda connection: connection.shutdown(socket.SHUT_WR))
    assert status in (0, 400, 421)
    assert studio.get("/api/session")["version"]


def test_headers_without_an_end_are_refused(studio: Any) -> None:
    status, _, _ = sent(studio, b"GET / HTTP/1.1\r\nHost: x\r\n", lambda one: one.sendall(b"X-A: " + b"a" * 100_000))
    assert status in (400, 431)


def test_length_and_chunks_together_smuggle_nothing(studio: Any) -> None:
    request = raw(studio, change("", 0, "", b"0\r\n\r\nGET /api/home HTTP/1.1\r\n\r\n"))
    status, _, _ = sent(studio, request.replace(b"Connection: close", b"Transfer-Encoding: chunked"))
    assert status in (0, 400)


def test_the_folder_browser_shows_no_link_that_leads_out(studio: Any) -> None:
    assert [folder["name"] for folder in studio.get("/api/folders?path=")["folders"]] == ["photos", "runs"]


def test_the_honest_request_is_answered(studio: Any) -> None:
    """Otherwise the table above would show nothing."""
    status, headers, body = sent(studio, raw(studio, change("", 200, "")))
    assert (status, json.loads(body)["kind"]) == (200, "digits")
    assert headers["cache-control"] == "no-store"


def test_the_cookie_is_for_this_site_and_no_script(studio: Any) -> None:
    studio.stop()
    studio.start()
    status, headers, _ = sent(studio, raw(studio, Asked("", 303, "", "GET", "/?token=LAUNCH", {"Cookie": None}, b"")))
    assert status == 303
    assert headers["location"] == "/"
    assert {"httponly", "samesite=strict", "path=/"} <= {
        part.strip().lower() for part in headers["set-cookie"].split(";")
    }
    kept = json.loads((studio.root / ".casebook-studio" / "session.json").read_text())
    value = headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert value not in json.dumps(kept)
    assert (studio.root / ".casebook-studio").stat().st_mode & 0o077 == 0
