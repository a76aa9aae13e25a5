"""What only a real connection shows: slow clients, half requests, and a stop that answers what was accepted."""

import http.client
import json
import socket
import threading
import time

import pytest

from casebook.runner.server.protocol import MAX_HEADER_BYTES
from casebook.runner.server.settings import Limits, ServerSettings

QUICK = ServerSettings(
    limits=Limits(header_seconds=0.3, idle_seconds=0.3, min_bytes_per_second=2000), drain_seconds=0.2
)
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"


def ask(port: int, content: bytes) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/v1/classify", content)
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


def drip(connection: socket.socket, pieces: list[bytes], seconds: float) -> None:
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(seconds)


def everything(connection: socket.socket) -> bytes:
    """What the server says until it closes."""
    found = b""
    connection.settimeout(10)
    while chunk := connection.recv(65536):
        found += chunk
    return found


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v2/health/l", HEAD, HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"Content-Length: 100\r\n\r\nhalf"],
    ids=["nothing", "half a line", "half the headers", "no body", "half a body"],
)
def test_a_connection_that_does_not_go_on_is_closed(listening, brightness, sent) -> None:
    server = listening(brightness(), settings=QUICK)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(sent)
        assert everything(connection).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("head", [b"", HEAD + b"Content-Length: 100000\r\n\r\n"], ids=["headers", "body"])
def test_bytes_that_drip_do_not_keep_a_connection_open(listening, brightness, head) -> None:
    server = listening(brightness(), settings=QUICK)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head)
        started = time.monotonic()
        with pytest.raises((ConnectionError, BrokenPipeError)):
            drip(connection, [bytes([byte]) for byte in HEAD * 100], 0.02)
        assert time.monotonic() - started < 8


def test_the_second_request_of_a_connection_has_a_time_limit_too(listening, brightness, picture) -> None:
    server = listening(brightness(), settings=QUICK)
    content = picture(9)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert b"HTTP/1.1 408" in everything(connection)


def test_endless_headers_are_refused(listening, brightness) -> None:
    server = listening(brightness())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            drip(connection, [b"X-Filler: " + b"x" * (MAX_HEADER_BYTES // 8) + b"\r\n"] * 100, 0.01)


def test_more_connections_than_allowed_are_told_to_come_back(listening, brightness) -> None:
    server = listening(brightness(), settings=ServerSettings(limits=Limits(connections=1), drain_seconds=0))
    with socket.create_connection(("127.0.0.1", server.port)) as first:
        first.sendall(HEAD)
        while not server.server.server_state.connections:
            time.sleep(0.005)
        with socket.create_connection(("127.0.0.1", server.port)) as second:
            said = everything(second)
    assert said.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in said


def test_what_is_no_http_gets_400_in_json(listening, brightness) -> None:
    server = listening(brightness())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "bad_http"


def test_a_client_that_sends_too_much_can_read_the_refusal(listening, brightness) -> None:
    server = listening(brightness(), settings=ServerSettings(limits=Limits(body_bytes=100_000), drain_seconds=0))
    status, answer = ask(server.port, bytes(190_000))
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


def test_a_stop_answers_every_request_that_was_accepted(listening, brightness, picture) -> None:
    server = listening(brightness(seconds=0.05))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(ask(server.port, picture(9))[0])) for _ in range(40)]
    for thread in threads:
        thread.start()
    while not server.networks[0].batches:
        time.sleep(0.005)
    server.stop()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_a_client_that_leaves_costs_no_call(listening, brightness, picture) -> None:
    server = listening(brightness(seconds=0.3))
    content = picture(9)
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
    first = threading.Thread(target=ask, args=(server.port, content))
    first.start()
    while not server.networks[0].batches:
        time.sleep(0.005)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request)
        time.sleep(0.1)
    first.join()
    assert ask(server.port, content)[0] == 200
    assert server.networks[0].batches == [1, 1]
