"""A server under load: images a second beside the bare engine and LitServe, and what happens when it is hurt.

    python benchmarks/serving.py load flowers.casebook PHOTOS --clients 256 --seconds 10 --rounds 3 --peer FOLDER
    python benchmarks/serving.py hurt flowers.casebook PHOTOS

FOLDER has LitServe and what it needs: pip install --target FOLDER litserve. Servers are processes of their own, clients
share one more process and keep their connections. The bare engine gets pixels that are decoded already; "decode and
answer" reads the files as well. `hurt` stops and reloads the server under load, and sends what no client should send.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

BATCH = 8
WARM_SECONDS = 2.0
PEER = """
import base64, os, sys
import litserve, numpy as np
from casebook.runner.answers import open_answerer

class Api(litserve.LitAPI):
    def setup(self, device):
        self.answerer = open_answerer(sys.argv[1])
    def decode_request(self, request):
        return self.answerer.pixels(base64.b64decode(request["picture"]))
    def batch(self, inputs):
        return np.stack(inputs)
    def predict(self, pixels):
        return self.answerer.infer(pixels).probabilities
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        best = np.argsort(-output)[:5]
        return {"classes": [[self.answerer.classes[i], float(output[i])] for i in best]}

if __name__ == "__main__":
    api = Api(max_batch_size=8, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60).run(
        port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="error", access_log=False
    )
"""


class Load(NamedTuple):
    """What the clients saw."""

    seconds: float
    statuses: Counter
    delays: list[float]

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.seconds

    def line(self) -> str:
        milliseconds = sorted(1000 * delay for delay in self.delays) or [float("nan")]
        p50, p99 = (milliseconds[min(len(milliseconds) - 1, int(share * len(milliseconds)))] for share in (0.5, 0.99))
        return f"{self.per_second:.1f} images/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms, answers {dict(self.statuses)}"


def request(path: str, body: bytes, kind: str = "application/octet-stream", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}\r\n".encode("ascii") + body


def tensor_request(model: str, pixels: np.ndarray) -> bytes:
    """Decoded pixels (H, W, 3) as a binary tensor of the Open Inference Protocol, and logits as one back."""
    given = {"name": "pixels", "shape": [1, *pixels.shape], "datatype": "UINT8"}
    wanted = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps(
        {"inputs": [given | {"parameters": {"binary_data_size": pixels.nbytes}}], "outputs": [wanted]}
    ).encode()
    length = f"Inference-Header-Content-Length: {len(head)}\r\n"
    return request(f"/v2/models/{model}/infer", head + pixels.tobytes(), more=length)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, bool]:
    """The status, and whether the connection stays open; 0 where it ended without an answer."""
    writer.write(sent)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, False
    return int(head[9:12]), b"connection: close" not in head.lower()


async def client(port: int, requests: Iterator[bytes], until: float, load: Load) -> None:
    """Asks until the time is over, or the server no longer listens. A connection that was refused is no request."""
    writer = None
    while time.perf_counter() < until:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return
        started = time.perf_counter()
        status, stays_open = await ask(reader, writer, next(requests))
        load.statuses[status] += 1
        load.delays.append(time.perf_counter() - started)
        if not stays_open:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def clients(port: int, number: int, seconds: float, requests: list[bytes]) -> Load:
    load, turns = Load(seconds, Counter(), []), itertools.cycle(requests)
    started = time.perf_counter()
    await asyncio.gather(*(client(port, turns, started + seconds, load) for _ in range(number)))
    return load._replace(seconds=time.perf_counter() - started)


def processor_seconds(pid: int) -> float:
    """Used by a process and all below it. On a busy machine this says more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(
        processor_seconds(int(p)) for p in below
    )


def measured(name: str, pid: int, port: int, given: argparse.Namespace, requests: list[bytes]) -> tuple[float, float]:
    """Images a second by the clock, and by the server's processor time."""
    run_clients(port, given.clients, WARM_SECONDS, requests)
    before = processor_seconds(pid)
    found = run_clients(port, given.clients, given.seconds, requests)
    used = processor_seconds(pid) - before
    print(f"  {name}: {found.line()}, {found.statuses[200] / used:.1f} images a second of processor time", flush=True)
    return found.per_second, found.statuses[200] / used


def run_clients(port: int, number: int, seconds: float, requests: list[bytes]) -> Load:
    return asyncio.run(clients(port, number, seconds, requests))


@contextlib.contextmanager
def casebook_server(bundle: Path, *options: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """The process and its port."""
    command = [sys.executable, "-m", "casebook", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(  # Linux shares a busy processor between sessions: each server gets one
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
    assert found, process.stderr.read()
    try:
        wait_for(int(found[1]), "/v2/health/ready")
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


@contextlib.contextmanager
def litserve_server(folder: Path, bundle: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "peer.py"
        script.write_text(PEER)
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, script, bundle, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(port, "/health")
            yield process, port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, path: str) -> None:
    """Until the server says that it is ready."""
    from urllib.error import URLError
    from urllib.request import urlopen

    for _ in range(600):
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}") as response:
                if response.status == 200:
                    return
        except (URLError, ConnectionError):
            pass
        time.sleep(0.2)
    sys.exit(f"no server became ready on port {port}")


def load(given: argparse.Namespace, files: list[bytes]) -> None:
    """Bare engine, Casebook and LitServe take turns."""
    import base64
    from urllib.request import urlopen

    from casebook.runner.answers import open_answerer

    own = [request("/v1/classify", content) for content in files]
    peers = [
        request("/predict", json.dumps({"picture": base64.b64encode(content).decode()}).encode(), "application/json")
        for content in files
    ]
    answerer = open_answerer(given.bundle)
    pixels = np.stack([answerer.pixels(content) for content in files[:BATCH]])

    def here(counts: Iterator[int]) -> tuple[float, float]:
        count, started, used = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < given.seconds:
            count += next(counts)
        return count / (time.perf_counter() - started), count / (time.process_time() - used)

    def engine() -> tuple[float, float]:
        return here(len(answerer.infer(pixels).logits) for _ in itertools.count())

    def whole() -> tuple[float, float]:
        return here(1 for _ in answerer.stream(itertools.cycle(given.paths), batch_size=BATCH))

    def casebook() -> tuple[float, float]:
        with casebook_server(given.bundle) as (process, port):
            return measured("casebook", process.pid, port, given, own)

    def casebook_tensors() -> tuple[float, float]:
        with casebook_server(given.bundle) as (process, port):
            with urlopen(f"http://127.0.0.1:{port}/v1/models") as response:
                name = json.load(response)["models"][0]["name"]
            sent = [tensor_request(name, one) for one in pixels]
            return measured("casebook, decoded pixels", process.pid, port, given, sent)

    def litserve() -> tuple[float, float]:
        with litserve_server(given.peer, given.bundle) as (process, port):
            return measured("litserve", process.pid, port, given, peers)

    arms = {"bare engine": engine, "decode and answer": whole, "casebook": casebook}
    arms |= {"casebook, decoded pixels": casebook_tensors}
    arms |= {"litserve": litserve} if given.peer else {}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(given.rounds):
        for name, measure in arms.items():
            rates[name].append(measure())
        print(f"round {number + 1}: " + ", ".join(f"{name} {found[-1][0]:.1f}/s" for name, found in rates.items()))
    pairs = [("casebook", other) for other in arms if not other.startswith("casebook")]
    pairs.append(("casebook, decoded pixels", "bare engine"))
    for place, unit in enumerate(("images a second", "images a second of processor time")):
        for mine, name in pairs:
            ratios = [ours[place] / theirs[place] for ours, theirs in zip(rates[mine], rates[name], strict=True)]
            print(
                f"{unit}, {mine} / {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
                f"{name} {statistics.median(found[place] for found in rates[name]):.1f}"
            )


def hurt(given: argparse.Namespace, files: list[bytes]) -> None:
    own = [request("/v1/classify", content) for content in files]
    stop_under_load(given, own)
    reload_under_load(given, own)
    with casebook_server(given.bundle) as (process, port):
        slow_clients(port)
        enormous_picture(process.pid, port)


def stop_under_load(given: argparse.Namespace, own: list[bytes]) -> None:
    async def both(process: subprocess.Popen, port: int) -> Load:
        asking = asyncio.create_task(clients(port, given.clients, 60, own))
        await asyncio.sleep(given.seconds)
        process.send_signal(signal.SIGTERM)
        return await asking

    with casebook_server(given.bundle) as (process, port):
        found = asyncio.run(both(process, port))
        code = process.wait(60)
    print(f"SIGTERM with {given.clients} clients: answers {dict(found.statuses)} (0: none), exit code {code}")


def reload_under_load(given: argparse.Namespace, own: list[bytes]) -> None:
    async def both(process: subprocess.Popen, port: int) -> Load:
        asking = asyncio.create_task(clients(port, given.clients, given.seconds, own))
        for _ in range(3):
            await asyncio.sleep(given.seconds / 4)
            process.send_signal(signal.SIGHUP)
        return await asking

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(shutil.copy(given.bundle, folder))
        with casebook_server(bundle) as (process, port):
            found = asyncio.run(both(process, port))
    print(f"three reloads with {given.clients} clients: {found.line()}")


def slow_clients(port: int) -> None:
    """Connections that stop somewhere; how long the server keeps them."""
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
    pieces = {
        "nothing": b"", "half the headers": head, "no body": head + b"Content-Length: 9000\r\n\r\n",
        "half a body": head + b"Content-Length: 9000\r\n\r\n" + bytes(4000),
    }  # fmt: skip
    for name, sent in pieces.items():
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            started = time.perf_counter()
            connection.sendall(sent)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        print(f"a client that sends {name}: closed after {time.perf_counter() - started:.1f} s, {answer[:12].decode()}")


def enormous_picture(pid: int, port: int, side: int = 13_000) -> None:
    """A PNG of a few hundred kilobytes with 507 MB of pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    packer, row = zlib.compressobj(1), bytes(1 + 3 * side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    def peak() -> int:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0

    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = peak()
    found = run_clients(port, 8, 2, [request("/v1/classify", content)])
    grown = (peak() - before) / 1024
    sent = f"{side} x {side} PNG of {len(content) / 1000:.0f} kB"
    print(f"{sent} from 8 clients: {dict(found.statuses)}, {grown:.1f} MiB more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("load", "hurt"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="where LitServe is installed")
    given = parser.parse_args()
    given.paths = sorted(path for path in given.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    given.paths = given.paths[: given.pictures]
    files = [path.read_bytes() for path in given.paths]
    print(f"{len(files)} pictures, {sum(map(len, files)) / len(files) / 1000:.0f} kB each, {os.cpu_count()} cores")
    {"load": load, "hurt": hurt}[given.what](given, files)


if __name__ == "__main__":
    main()
