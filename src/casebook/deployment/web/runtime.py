"""ONNX Runtime Web: the engine that a browser runs, from npm's registry or from a folder; checked by its SHA-256.

Its WebAssembly has 14 MB, too much for a source repository and of no use to those who make no page.
"""

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import DownloadError
from ...files import cache_folder
from ...remote import Progress, RemoteFile, fetch

VERSION = "1.30.0"
PACKAGE = RemoteFile(
    f"onnxruntime-web-{VERSION}.tgz",
    f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz",
    "sha256:d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
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


def onnxruntime_web(folder: str | Path | None = None, *, progress: Progress | None = None) -> Runtime:
    """The runtime from `folder`, such as node_modules/onnxruntime-web/dist, or from the cache, downloaded once.

    Raises DownloadError where it cannot be had, or has another checksum than this version's.
    """
    if folder is not None:
        return _checked({name: _read(Path(folder).expanduser() / name) for name in SHA256}, str(folder))
    archive = fetch(PACKAGE, cache_folder() / "downloads", progress=progress)
    with tarfile.open(archive, "r:gz") as members:
        found = {name: members.extractfile(f"package/dist/{name}") for name in SHA256}
        return _checked({name: file.read() if file else b"" for name, file in found.items()}, str(archive))


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
