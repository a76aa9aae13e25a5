"""A web server on this machine that answers range requests, and breaks them as it is told."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class Faults:
    """What goes wrong: `faults[n]` happens at request n of all ("500", "cut", "slow"); "" is a good answer."""

    def __init__(self, folder: Path):
        self.folder, self.faults, self.always = folder, dict[int, str](), ""
        self.asked = Counter[str]()
        self.lock = threading.Lock()

    def next(self, name: str) -> str:
        with self.lock:
            number = self.asked.total()
            self.asked[name] += 1
        return self.always or self.faults.get(number, "")


class Handler(BaseHTTPRequestHandler):
    faults: ClassVar[Faults]

    def do_GET(self) -> None:
        name = self.path.removeprefix("/set/")
        fault, path = self.faults.next(name), self.faults.folder / name
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if asked and fault != "whole":
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(content))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            content = content[start:stop]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "cut":
            content = content[: len(content) // 2]
        if fault == "slow":
            time.sleep(0.3)
        with suppress(ConnectionError):  # who waited has gone
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Faults]]:
    """The address of a folder, and the faults of its server."""
    handler = type("Faulty", (Handler,), {"faults": Faults(folder)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/set", handler.faults
        finally:
            server.shutdown()
            thread.join()
