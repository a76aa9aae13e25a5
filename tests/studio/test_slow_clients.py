"""Clients that send too little, too slowly or without end: each connection is closed, and the others are answered."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

MOST_SECONDS = 20  # the limits are 5 s, and 2 s for what comes after an early answer; a busy machine takes longer
MIB = 2**20


class Sent(NamedTuple):
    """What a client sends at once, and what it goes on to send. `code` is a pattern, "" where no error has to come."""

    name: str
    code: str
    first: str
    more: Callable[[], AsyncIterator[bytes]] | None = None


def drip(piece: bytes) -> Callable[[], AsyncIterator[bytes]]:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.3)
            yield piece

    return pieces


def flood(piece: bytes) -> Callable[[], AsyncIterator[bytes]]:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield piece

    return pieces


POST = "POST /api/projects HTTP/1.1\r\n{honest}"
UPLOAD = "POST /api/projects/{project}/gather HTTP/1.1\r\n{upload}X-Casebook-Class: cats\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"
CLIENTS = (
    Sent("nothing", "too_slow", ""),
    Sent("half a line", "too_slow", "GET /api/ho"),
    Sent("half of the headers", "too_slow", "GET / HTTP/1.1\r\n{honest}"),
    Sent("headers, a letter at a time", "too_slow", "GET / HTTP/1.1\r\n{honest}X-A: ", drip(b"a")),
    Sent("headers without an end", "headers_too_large|bad_http", "GET / HTTP/1.1\r\n{honest}", flood(b"X-A: " * 999)),
    Sent("no body", "too_slow", POST + "Content-Length: 100\r\n\r\n"),
    Sent("half a body", "too_slow", POST + "Content-Length: 100\r\n\r\n" + '{{"digits": '),
    Sent("a body, a letter at a time", "too_slow", POST + "Content-Length: 10000\r\n\r\n", drip(b" ")),
    Sent("a body in chunks, a letter at a time", "too_slow", POST + CHUNKED, drip(b"1\r\n \r\n")),
    Sent("a body without its last chunk", "too_slow", POST + CHUNKED + "10\r\n" + '{{"digits": true}}' + "\r\n"),
    Sent("trailers, a letter at a time", "too_slow", POST + CHUNKED + "0\r\nX-A: ", drip(b"a")),
    Sent("a chunk's size without an end", "bad_http", POST + CHUNKED + "1;", flood(b"a" * 4096)),
    Sent("a body without an end", "body_too_large", POST + CHUNKED, flood(b"1000\r\n" + b" " * 4096 + b"\r\n")),
    Sent("half a picture", "too_slow", UPLOAD + "Content-Length: 100\r\n\r\nhalf"),
    Sent("a picture, a byte at a time", "too_slow", UPLOAD + "Content-Length: 9999\r\n\r\n", drip(b"\xff")),
    Sent("a picture without an end", "body_too_large", UPLOAD + CHUNKED, flood(b"10000\r\n" + bytes(65536) + b"\r\n")),
    Sent("half a body for a page", "", "GET / HTTP/1.1\r\n{honest}Content-Length: 100\r\n\r\nhalf"),
    Sent("a body for nothing, without an end", "not_found", "POST /api/nothing HTTP/1.1\r\n{honest}" + CHUNKED,
         flood(b"1000\r\n" + b" " * 4096 + b"\r\n")),
    Sent("half a body of a stranger", "no_session", "POST /api/projects HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
         "Content-Length: 100\r\n\r\nhalf"),
    Sent("half of a second request", "", "GET /api/session HTTP/1.1\r\n{honest}\r\nGET /api/ho"),
)  # fmt: skip


@pytest.fixture(scope="module")
def studio(live_studio: Callable, digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("slow")
    (root / "photos" / "cats").mkdir(parents=True)
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "photos"})["id"]
    return found


async def until_closed(studio: Any, sent: Sent) -> tuple[float, bytes]:
    """Seconds until the server closed the connection, and what it answered."""
    headers = {"Host": f"127.0.0.1:{studio.port}", **studio.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    upload = lines.replace("application/json", "application/octet-stream")
    text = sent.first.format(honest=lines, upload=upload, port=studio.port, project=studio.project)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", studio.port)

    async def go_on() -> None:
        assert sent.more is not None
        with contextlib.suppress(OSError):
            async for piece in sent.more():
                writer.write(piece)
                await writer.drain()

    answer = b""
    going_on = asyncio.create_task(go_on()) if sent.more else None
    try:
        writer.write(text.encode())
        async with asyncio.timeout(MOST_SECONDS):
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while chunk := await reader.read(65536):
                    answer += chunk
        return time.monotonic() - began, answer
    finally:
        if going_on is not None:
            going_on.cancel()
            await asyncio.gather(going_on, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def all_at_once(studio: Any, clients: tuple[Sent, ...]) -> list[Any]:
    return await asyncio.gather(*(until_closed(studio, one) for one in clients), return_exceptions=True)


def resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
def test_each_is_closed_and_told_why(studio: Any) -> None:
    before = resident_mib(studio.process.pid)
    home = studio.get("/api/home")
    outcomes = dict(zip([one.name for one in CLIENTS], asyncio.run(all_at_once(studio, CLIENTS)), strict=True))
    assert {name: found for name, found in outcomes.items() if isinstance(found, BaseException)} == {}
    codes = {}
    for name, (_, answer) in outcomes.items():
        body = answer.partition(b"\r\n\r\n")[2]
        codes[name] = json.loads(body)["error"]["code"] if b'{"error"' in body[:20] else ""
    for one in CLIENTS:
        # One that floods may see its connection reset before it reads the answer.
        is_reset = one.more is not None and "without an end" in one.name and not codes[one.name]
        assert is_reset or re.fullmatch(one.code, codes[one.name]), (one.name, codes[one.name])
    after = studio.get("/api/home")
    assert (after["projects"], after["jobs"]) == (home["projects"], home["jobs"])
    assert resident_mib(studio.process.pid) - before < 120


@pytest.mark.slow
def test_a_crowd_that_says_nothing_keeps_nobody_out_for_long(studio: Any) -> None:
    crowd = tuple(Sent("half", "", "GET / HTTP/1.1\r\n") for _ in range(230))  # of 200 connections at most
    found = asyncio.run(all_at_once(studio, crowd))
    assert [one for one in found if isinstance(one, BaseException)] == []
    told = [re.search(rb'"code": ?"(\w+)"', answer) for _, answer in found]
    codes = {one[1].decode() for one in told if one is not None}
    assert codes <= {"too_many_connections", "too_slow"}
    assert "too_slow" in codes
    assert studio.get("/api/session")["version"]
