"""Members and their manifest -> a bundle file, the same bytes for the same content."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..files import write_atomically
from ..runner.bundle import CHUNK_BYTES, MANIFEST, SEAL_BYTES, seal
from ..runner.manifest import FORMAT

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
PERMISSIONS = 0o100644 << 16
UNIX = 3


def write_bundle(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    """Writes a bundle as a whole or not at all; gives its SHA-256. Raises RunError when the file cannot be written.

    The manifest gets its `format` and its `members`. Members keep their order.
    """
    listed = {name: {"bytes": len(content), "sha256": _sha256(content)} for name, content in members.items()}
    document = {"format": FORMAT, **manifest, "members": listed}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    digests = []

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = seal("0" * 64)
            for name, content in {MANIFEST: text.encode(), **members}.items():
                info = zipfile.ZipInfo(name, FIXED_TIME)
                info.external_attr, info.create_system = PERMISSIONS, UNIX
                archive.writestr(info, content)
        digests.append(_seal_file(file))

    write_atomically(path, write)
    return digests[0]


def npy(values: NDArray[np.floating]) -> bytes:
    """The array as a .npy file."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(values), allow_pickle=False)
    return content.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal_file(file: BinaryIO) -> str:
    """Writes the digest of all that stands before it over the end of the file."""
    file.flush()
    end = file.seek(0, 2) - SEAL_BYTES
    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left:
        chunk = file.read(min(left, CHUNK_BYTES))
        digest.update(chunk)
        left -= len(chunk)
    file.seek(end)
    file.write(seal(digest.hexdigest()))
    return digest.hexdigest()
