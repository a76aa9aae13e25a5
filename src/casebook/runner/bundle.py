"""A bundle file -> its members, checked.

A bundle is a zip whose members are stored and never compressed, so reading one cannot take more memory than the file is
long. `bundle.json` lists every other member with its size and SHA-256. The zip's comment ends the file and holds the
SHA-256 of all bytes before it, so a change of any byte is found when the bundle is opened.
"""

import dataclasses
import hashlib
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..data.decode import open_picture
from ..errors import BundleError
from ..formatting import size_text
from ..preprocessing import Preprocessing
from .manifest import read_manifest

MANIFEST = "bundle.json"
TASKS = ("singlelabel", "multilabel")
SEAL = b"casebook sha256 "  # how the comment begins; 64 hexadecimal digits follow
SEAL_BYTES = len(SEAL) + 64
MAX_BYTES = 4 * 2**30  # of a whole bundle; an ONNX file ends at 2 GiB
MAX_MANIFEST_BYTES = 32 * 2**20
MAX_MEMBERS = 10_000
CHUNK_BYTES = 2**20
# What zipfile and json raise for damage. RuntimeError: a member is called encrypted, or of an unknown compression.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose bytes are those that were sealed. `manifest` is its bundle.json. No file stays open."""

    path: Path
    manifest: dict[str, Any]
    sha256: str
    """Of the whole file up to the digest at its end: it names this bundle and no other."""
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Raises BundleError for a file that is no bundle, is damaged, or was written by a later Casebook."""
        path = Path(path).expanduser()
        try:
            with path.open("rb") as file:
                digest = _sealed_digest(path, file)
                with zipfile.ZipFile(file) as archive:
                    manifest = _manifest(path, archive)
                    _check_members(path, archive, manifest["members"])
        except FileNotFoundError as error:
            raise BundleError(f"there is no bundle {str(path)!r}; 'casebook export RUN' makes one") from error
        except DAMAGE as error:
            raise BundleError(f"{path}: cannot be read ({error}); copy it again from where it was made") from error
        preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
        return cls(path, manifest, digest, preprocessing, tuple(manifest["classes"]))

    @property
    def name(self) -> str:
        """What the bundle is called: the file's name without its ending, unless export was given another."""
        return self.manifest["name"]

    @property
    def version(self) -> str:
        """The version of Casebook that wrote it."""
        return self.manifest["casebook"]

    @property
    def task(self) -> str:
        """ "singlelabel", or "multilabel" where a picture may have several labels."""
        return self.manifest.get("task") or TASKS[0]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which probability each class is given, where a picture may have several labels; else nothing."""
        return tuple(map(float, self.manifest.get("thresholds") or ()))

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """The network's forms, "float32" and perhaps "int8": each with its `file` and what is known about it."""
        return self.manifest["networks"]

    @property
    def golden(self) -> list[dict[str, Any]]:
        """The golden pictures: each with its `file`, what it `shows`, and `pixels_sha256`."""
        return self.manifest.get("golden") or []

    def pixels(self, source: bytes | str | Path, *, name: str = "") -> NDArray[np.uint8]:
        """(H, W, C) uint8 of a picture's file or its content: decoded, upright, resized and cropped.

        Raises PictureError.
        """
        return open_pixels(self.preprocessing, source, name=name)

    def read(self, member: str) -> bytes:
        """A member's content. Raises BundleError for an unknown member, or one that no longer is what was listed."""
        expected = self.manifest["members"].get(member)
        if expected is None:
            raise BundleError(f"{self.path}: holds no {member!r}")
        try:
            with zipfile.ZipFile(self.path) as archive:
                content = archive.read(member)
        except DAMAGE as error:
            raise BundleError(f"{self.path}: {member} cannot be read ({error})") from error
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise BundleError(f"{self.path}: {member} has changed since the bundle was made; copy the bundle again")
        return content

    def numbers(self, member: str) -> NDArray[np.floating]:
        """A member that is a .npy file of floats. Raises BundleError for another."""
        content = self.read(member)
        try:
            values = np.load(io.BytesIO(content), allow_pickle=False)
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                return values
            problem = "holds no floats"
        except DAMAGE as error:
            problem = str(error)
        raise BundleError(f"{self.path}: {member} cannot be read ({problem}); export the run again")


def open_pixels(preprocessing: Preprocessing, source: bytes | str | Path, *, name: str = "") -> NDArray[np.uint8]:
    """(H, W, C) uint8 of a picture's file or its content, as a network sees it. Raises PictureError."""
    given = source if isinstance(source, bytes) else Path(source)
    name = name or ("picture" if isinstance(given, bytes) else str(given))
    return preprocessing.pixels(open_picture(given, name=name, **preprocessing.decode_options))


def is_bundle(path: object) -> bool:
    """Whether a name is that of a bundle: it ends in ".casebook"."""
    return str(path).endswith(".casebook")


def check_alone(path: object, **given: object) -> None:
    """Raises BundleError where a bundle is given together with what it has inside, such as weights or classes."""
    if named := next((name for name, value in given.items() if value is not None), None):
        raise BundleError(f"{path} is a bundle and has its own {named}; leave out --{named}")


def seal(digest: str) -> bytes:
    """The zip's comment, for the SHA-256 of all bytes before it."""
    return SEAL + digest.encode("ascii")


def _sealed_digest(path: Path, file: BinaryIO) -> str:
    """The digest at the end of the file. Raises BundleError where the bytes before it have another."""
    size = file.seek(0, 2)
    if size > MAX_BYTES:
        raise BundleError(f"{path}: has {size_text(size)}, more than the {size_text(MAX_BYTES)} of any bundle")
    file.seek(max(0, size - SEAL_BYTES))
    comment = file.read(SEAL_BYTES)
    if not comment.startswith(SEAL):
        raise BundleError(f"{path}: is no bundle, or is cut off; 'casebook export RUN' makes one")
    digest, left = hashlib.sha256(), size - SEAL_BYTES
    file.seek(0)
    while left:
        chunk = file.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise BundleError(f"{path}: became shorter while it was read")
        digest.update(chunk)
        left -= len(chunk)
    if seal(digest.hexdigest()) != comment:
        raise BundleError(f"{path}: is damaged or was changed (its SHA-256 differs); copy it again")
    return digest.hexdigest()


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    info = archive.getinfo(MANIFEST)
    if info.file_size > MAX_MANIFEST_BYTES or info.compress_size != info.file_size:
        raise BundleError(f"{path}: its {MANIFEST} has {info.file_size} bytes, more than any bundle needs")
    content = archive.read(MANIFEST)
    try:
        manifest = read_manifest(content)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    _check_task(path, manifest)
    return manifest


def _check_task(path: Path, manifest: dict[str, Any]) -> None:
    """Raises BundleError for an unknown task, or where several labels lack a threshold each."""
    task, thresholds = manifest.get("task") or TASKS[0], manifest.get("thresholds") or []
    if task not in TASKS:
        raise BundleError(f"{path}: its task is {task!r}, this Casebook knows {', '.join(TASKS)}; use a later one")
    wanted = len(manifest["classes"]) if task == "multilabel" else 0
    shares = [one for one in thresholds if isinstance(one, int | float) and 0 <= one <= 1]
    if not len(shares) == len(thresholds) == wanted:
        raise BundleError(f"{path}: has {len(shares)} usable thresholds, expected {wanted}; export the run again")


def _check_members(path: Path, archive: zipfile.ZipFile, listed: dict[str, dict[str, Any]]) -> None:
    """Raises BundleError unless the zip holds just what the manifest lists, uncompressed and of the listed sizes."""
    found = archive.infolist()
    if (
        len(found) > MAX_MEMBERS
        or {info.filename for info in found} != {MANIFEST, *listed}
        or len(found) != len(listed) + 1
    ):
        raise BundleError(f"{path}: holds other members than its {MANIFEST} lists; export the run again")
    for info in found:
        plain = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not plain or (info.filename != MANIFEST and info.file_size != listed[info.filename]["bytes"]):
            raise BundleError(f"{path}: {info.filename} is not stored as it was listed; export the run again")
