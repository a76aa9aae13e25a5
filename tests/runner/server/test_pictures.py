"""Pictures that were made to hurt: damaged, enormous, or slow to decode."""

import io
import re
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF")
INFER = "/v2/models/brightness/infer"


def photograph(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC).save(file, form)
    return file.getvalue()


def damaged(content: bytes, number: int) -> bytes:
    """Cut off, with bits turned over, with a piece of itself elsewhere, or with zeros: one for each number."""
    generator, changed = np.random.default_rng(number), bytearray(content)
    start, end = sorted(generator.integers(0, len(content), 2))
    kind = number % 4
    if kind == 0:
        return content[:end]
    if kind == 1:
        for place in generator.integers(0, len(content), 1 + number % 20):
            changed[place] ^= 1 << int(generator.integers(8))
    elif kind == 2:
        changed[start:end] = changed[: end - start]
    else:
        changed[start:end] = bytes(end - start)
    return bytes(changed)


def ask_damaged(client, form: str, count: int) -> dict[int, int]:
    """How often each status came."""
    content, found = photograph(form), {}
    for number in range(count):
        sent = damaged(content, number)
        headers = {"Inference-Header-Content-Length": "0"}
        path = INFER if number % 2 else "/v1/classify"
        response = client.post(path, content=sent, headers=headers)
        found[response.status_code] = found.get(response.status_code, 0) + 1
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_pictures_are_answered_or_refused(serving, brightness, form) -> None:
    """What damage leaves decodable is a picture like any other."""
    statuses = ask_damaged(serving(brightness()), form, 40)
    assert set(statuses) <= {200, 400, 422}
    assert statuses[422] >= 5


@pytest.mark.full
@pytest.mark.parametrize("form", FORMATS)
def test_two_thousand_damaged_pictures(serving, brightness, form) -> None:
    statuses = ask_damaged(serving(brightness()), form, 2000)
    assert set(statuses) <= {200, 400, 422}


def plain_png(side: int) -> bytes:
    """A black PNG, compressed a row at a time: few bytes, `side` x `side` x 3 when decoded."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    packer, row = zlib.compressobj(1), bytes(1 + 3 * side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def peak_bytes(*, reset: bool = True) -> int:
    """The most memory that this process has held; since now, if `reset`."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux shows it")
def test_an_enormous_png_is_refused_without_the_memory(serving, brightness, picture) -> None:
    client = serving(brightness())
    client.post("/v1/classify", content=picture(9))
    content = plain_png(13_000)  # 507 MB of pixels
    before = peak_bytes()
    for _ in range(40):
        response = client.post("/v1/classify", content=content)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "unreadable_picture")
        assert "169 megapixels" in response.json()["error"]["message"]
    assert peak_bytes(reset=False) - before < 50_000_000


@pytest.mark.slow
def test_large_pictures_do_not_hold_up_small_requests(listening, brightness) -> None:
    """Four clients send pictures of 48 megapixels; health checks meanwhile are answered at once."""
    import http.client

    server = listening(brightness())
    content = plain_png(6_900)
    ended = threading.Event()

    def ask(method: str, path: str, body: bytes | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request(method, path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    def load() -> None:
        while not ended.is_set():
            assert ask("POST", "/v1/classify", content) == 200

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    delays = []
    for _ in range(40):
        time.sleep(0.05)
        started = time.perf_counter()
        assert ask("GET", "/v2/health/live") == 200
        delays.append(time.perf_counter() - started)
    ended.set()
    for client in clients:
        client.join()
    assert sorted(delays)[-4] < 1.0, sorted(delays)  # decoding one takes about as long; two cores may be busy
