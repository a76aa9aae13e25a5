"""Files from the network: a cache folder, a checksum, and no half-downloaded file under its final name."""

import hashlib
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .errors import DownloadError
from .files import offline

CHUNK = 1 << 20  # bytes
CONNECT_SECONDS = 10.0  # until a server answers

Progress = Callable[[str, int, int], None]  # file, bytes so far, bytes in all (0: not known)


class RemoteFile(NamedTuple):
    """`checksum` is "md5:..." or "sha256:..." as published; of a SHA-256 the beginning is enough."""

    name: str
    url: str
    checksum: str


def fetch(file: RemoteFile, folder: Path, *, progress: Progress | None = None) -> Path:
    """The checked file in `folder`, downloaded if it is not there yet.

    What is being downloaded is called NAME.part; an interrupted download goes on from there, and the final
    name appears only after the checksum was right. Raises DownloadError.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    by_hand = f"fetch {file.url} on a machine with network and put it at {path}"
    if path.exists():
        if not (found := _checksum(path, file.checksum)).startswith(file.checksum):
            raise DownloadError(f"{path} has checksum {found}, expected {file.checksum}; delete it, or {by_hand}")
        return path
    if offline():
        raise DownloadError(f"{file.name} is not in the cache and the network is switched off; {by_hand}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(file, part, progress)
    except (OSError, urllib.error.URLError) as error:
        raise DownloadError(
            f"cannot download {file.url} ({reason_of(error)}); try again to go on from there, or {by_hand}"
        ) from error
    if not (found := _checksum(part, file.checksum)).startswith(file.checksum):
        part.unlink()
        raise DownloadError(
            f"{file.url} gave a file with checksum {found}, expected {file.checksum}; try again, or {by_hand}"
        )
    part.replace(path)
    return path


def reason_of(error: BaseException) -> str:
    """Why a download failed, in words: the system's own message for an unknown host says little."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "no network: the name of the server cannot be looked up"
        if isinstance(cause, TimeoutError):
            return "the server does not answer"
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    text = str(getattr(error, "reason", None) or error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


def _download(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=CONNECT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the whole file is there already; the checksum will tell
            return
        raise
    with response:
        if response.status != 206:  # the server sends everything again
            done = 0
        total = done + int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if done else "wb") as output:
            while chunk := response.read(CHUNK):
                output.write(chunk)
                done += len(chunk)
                if progress:
                    progress(file.name, done, total)
    if done < total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


def _checksum(path: Path, like: str) -> str:
    """The checksum of a file, by the algorithm that `like` names."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
