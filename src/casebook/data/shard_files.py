"""Bytes of files in a folder, behind a web address, or in an object store: read by ranges, with patience and limits."""

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..errors import DataError, DownloadError
from ..files import offline
from ..remote import CONNECT_SECONDS, reason_of

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5  # doubled after each failure
LEAST_BYTES_PER_SECOND = 50_000  # slower answers are given up, and asked for again
PATIENCE_SECONDS = 30.0  # for an answer of few bytes
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes that may be gone in a moment
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
CHUNK = 1 << 20  # bytes
INSTALL = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "sftp": "paramiko"}

Result = TypeVar("Result")


class FileMissing(Exception):
    """There is no such file, which asking again will not change."""


class Folder(Protocol):
    """A place with files. The methods raise FileMissing, DownloadError and, for a folder on this machine, OSError."""

    is_local: bool

    def read(self, name: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`; fewer where the file ends."""
        ...

    def read_whole(self, name: str, most_bytes: int) -> bytes:
        """The content of a small file. Raises DownloadError where it is larger than `most_bytes`."""
        ...


def is_address(given: object) -> bool:
    """Whether this is a URL, such as https://... or s3://..., and no path."""
    return isinstance(given, str) and ADDRESS.match(given) is not None


def open_folder(given: str | Path) -> Folder:
    """Raises DataError for an address of an unknown kind, or one that needs a package that is not installed."""
    if not is_address(given):
        return LocalFolder(Path(given))
    scheme = str(given).partition(":")[0]
    if offline() and scheme != "memory":
        raise DataError(f"{given} lies in the network, which is switched off (CASEBOOK_OFFLINE)")
    return WebFolder(str(given)) if scheme in ("http", "https") else StoreFolder(str(given), scheme)


class LocalFolder:
    """Files on this machine."""

    is_local = True

    def __init__(self, path: Path):
        self.path = path

    def read(self, name: str, start: int, stop: int) -> bytes:
        try:  # opened each time: a set may have more shards than a process may have open files
            with open(self.path / name, "rb", buffering=0) as file:  # noqa: PTH123 - half the time of Path.open
                file.seek(start)
                return file.read(stop - start)
        except FileNotFoundError as error:
            raise FileMissing(f"there is no {self.path / name}") from error

    def read_whole(self, name: str, most_bytes: int) -> bytes:
        path = self.path / name
        if path.stat().st_size > most_bytes:
            raise DownloadError(f"{path} has {path.stat().st_size:,} bytes, expected at most {most_bytes:,}")
        return path.read_bytes()


class WebFolder:
    """Files below a web address. The server must answer range requests, as object stores and web servers do."""

    is_local = False

    def __init__(self, address: str):
        self.address = address.rstrip("/")

    def read(self, name: str, start: int, stop: int) -> bytes:
        url = f"{self.address}/{name}"
        return patiently(url, lambda: _web_range(url, start, stop))

    def read_whole(self, name: str, most_bytes: int) -> bytes:
        url = f"{self.address}/{name}"
        return patiently(url, lambda: _web_whole(url, most_bytes))


def _web_range(url: str, start: int, stop: int) -> bytes:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-{stop - 1}"})
    with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
        if response.status != 206:
            raise DownloadError(
                f"{url}: the server sends whole files only and ignores ranges; copy the shards to a folder, or serve "
                "them with a server that knows range requests"
            )
        sent = re.match(r"bytes (\d+)-(\d+)/", response.headers.get("Content-Range") or "")
        if not sent or int(sent[1]) != start:
            raise OSError(f"the server sent {response.headers.get('Content-Range')!r}, not byte {start} onwards")
        wanted = min(stop, int(sent[2]) + 1) - start
        return _received(response, wanted, exactly=True)


def _web_whole(url: str, most_bytes: int) -> bytes:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        told = int(response.headers.get("Content-Length") or -1)
        if told > most_bytes:
            raise DownloadError(f"{url} has {told:,} bytes, expected at most {most_bytes:,}")
        content = _received(response, most_bytes + 1, exactly=False)
    if len(content) > most_bytes:
        raise DownloadError(f"{url} has more than {most_bytes:,} bytes")
    if len(content) < told:
        raise OSError(f"the connection ended after {len(content):,} of {told:,} bytes")
    return content


def _received(response: Any, wanted: int, *, exactly: bool) -> bytes:
    """At most `wanted` bytes. Raises TimeoutError for an answer that trickles, OSError for one that is cut."""
    content, end = bytearray(), time.monotonic() + PATIENCE_SECONDS
    while len(content) < wanted:
        chunk = response.read1(min(CHUNK, wanted - len(content)))
        if not chunk:
            break
        content += chunk
        if time.monotonic() > end + len(content) / LEAST_BYTES_PER_SECOND:
            raise TimeoutError(f"only {len(content):,} bytes came in {PATIENCE_SECONDS:.0f} seconds")
    if exactly and len(content) < wanted:
        raise OSError(f"the connection ended after {len(content):,} of {wanted:,} bytes")
    return bytes(content)


class StoreFolder:
    """Files in an object store, through fsspec: s3://, gs://, hf:// and what else is installed."""

    is_local = False

    def __init__(self, address: str, scheme: str):
        self.address = address.rstrip("/")
        import fsspec
        from fsspec.core import url_to_fs

        try:
            self.store, self.path = url_to_fs(self.address)
        except ImportError as error:
            need = INSTALL.get(scheme, f"the package that gives fsspec {scheme}://")
            raise DataError(f"{address} needs another package; install it with: pip install {need}") from error
        except ValueError as error:
            known = ", ".join(
                f"{name}://" for name in sorted({*INSTALL, "hf", "memory"} & {*fsspec.available_protocols()})
            )
            raise DataError(f"{address} is an address of an unknown kind; expected https:// or {known}") from error

    def read(self, name: str, start: int, stop: int) -> bytes:
        return self._ask(name, lambda path: self.store.cat_file(path, start=start, end=stop))

    def read_whole(self, name: str, most_bytes: int) -> bytes:
        size = self._ask(name, lambda path: self.store.size(path))
        if size is None or size > most_bytes:
            raise DownloadError(f"{self.address}/{name} has {size} bytes, expected at most {most_bytes:,}")
        return self.read(name, 0, size)

    def _ask(self, name: str, ask: Callable[[str], Any]) -> Any:
        return patiently(f"{self.address}/{name}", lambda: ask(f"{self.path.rstrip('/')}/{name}"))


def patiently(url: str, get: Callable[[], Result]) -> Result:
    """What `get` gives, asked again after failures that may pass. Raises FileMissing and DownloadError."""
    error: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return get()
        except (DownloadError, MemoryError):
            raise
        except FileNotFoundError as missing:
            raise FileMissing(f"there is no {url}") from missing
        except urllib.error.HTTPError as failed:
            failed.close()
            if failed.code in (404, 410):
                raise FileMissing(f"there is no {url}") from failed
            if failed.code not in AGAIN and failed.code != 416:
                raise DownloadError(f"{url}: the server refuses: {failed.code} {failed.reason}") from failed
            error = failed
        except PermissionError as failed:
            raise DownloadError(f"{url}: the store refuses ({failed}); check the credentials") from failed
        except (OSError, http.client.HTTPException) as failed:
            error = failed
        except Exception as failed:  # each store has errors of its own
            error = failed
    assert error is not None
    raise DownloadError(
        f"cannot read {url} after {ATTEMPTS} attempts ({reason_of(error)}); try again later. A training goes on from "
        "its checkpoint with 'casebook train --resume RUN'"
    ) from error
