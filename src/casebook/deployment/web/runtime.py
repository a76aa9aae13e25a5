"""ONNX Runtime Web: the engine that a browser runs, from npm or from a folder; checked by its SHA-256.

Its WebAssembly has 14 MB, too much for a source repository and of no use to those who make no page. npm fetches the
package, so it comes from the registry that this machine is set up for.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import DownloadError
from ...files import cache_folder
from ...remote import offline

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
PACKAGE_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
NPM_SECONDS = 600  # for 33 MB
BY_HAND = (
    f"run 'npm pack onnxruntime-web@{VERSION}' where there is a network, unpack it, and give its folder: "
    "--onnxruntime-web package/dist"
)
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


class Runtime(NamedTuple):
    """The two files of ONNX Runtime Web that a page needs."""

    module: bytes
    wasm: bytes


def onnxruntime_web(folder: str | Path | None = None) -> Runtime:
    """The runtime from `folder`, such as node_modules/onnxruntime-web/dist, or from the cache, which npm fills once.

    Raises DownloadError where it cannot be had, or has another checksum than this version's.
    """
    if folder is not None:
        return _checked({name: _read(Path(folder).expanduser() / name) for name in SHA256}, str(folder))
    archive = cache_folder() / "downloads" / PACKAGE
    if not archive.exists():
        _fetch(archive)
    if (found := _sha256(archive)) != PACKAGE_SHA256:
        raise DownloadError(f"{archive} has SHA-256 {found}, expected {PACKAGE_SHA256}; delete it and try again")
    with tarfile.open(archive, "r:gz") as members:
        files = {name: members.extractfile(f"package/dist/{name}") for name in SHA256}
        return _checked({name: file.read() if file else b"" for name, file in files.items()}, str(archive))


def _fetch(archive: Path) -> None:
    """Lets npm download the package; it is put in its place when it is whole and the right one."""
    if offline():
        raise DownloadError(f"{PACKAGE} is not in the cache and the network is switched off; {BY_HAND}")
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(
            f"{PACKAGE} is not in the cache, and npm, which would fetch it, is not installed; {BY_HAND}"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--ignore-scripts", "--pack-destination", scratch]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DownloadError(f"npm did not fetch {PACKAGE} within {NPM_SECONDS} s; {BY_HAND}") from error
        fresh = Path(scratch) / PACKAGE
        if done.returncode or not fresh.is_file():
            said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "it gave no file")
            raise DownloadError(f"npm cannot fetch {PACKAGE}: {said.strip()}; {BY_HAND}")
        if (found := _sha256(fresh)) != PACKAGE_SHA256:
            raise DownloadError(f"npm gave a {PACKAGE} with SHA-256 {found}, expected {PACKAGE_SHA256}; {BY_HAND}")
        fresh.replace(archive)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DownloadError(
            f"cannot read {path} ({error.strerror}); expected a folder with {' and '.join(SHA256)} of "
            f"onnxruntime-web {VERSION}, such as node_modules/onnxruntime-web/dist"
        ) from error


def _checked(files: Mapping[str, bytes], origin: str) -> Runtime:
    for name, content in files.items():
        if (found := hashlib.sha256(content).hexdigest()) != SHA256[name]:
            raise DownloadError(
                f"{name} of {origin} has SHA-256 {found}, expected {SHA256[name]}: it is not that of "
                f"onnxruntime-web {VERSION}; 'npm pack onnxruntime-web@{VERSION}' fetches it"
            )
    return Runtime(files[MODULE], files[WASM])
