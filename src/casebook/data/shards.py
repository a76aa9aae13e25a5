"""Tar shards, local or remote -> `Source`, whose pictures are read at random as those of a folder are.

The order of pictures, splits and batches depends on the index alone, so a training from shards ends with the same
weights, bit for bit, as one from the folder that they were written from. Every content is checked against its SHA-256:
a damaged or missing shard costs its damaged pictures, which are named and left out like any broken file. A server that
does not answer is no damage: after some attempts the job stops.

Remote shards of a set that fits in the cache are fetched whole, once; of a larger set, each picture is one request.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, DownloadError, PictureError
from ..files import cache_folder
from .pictures import Source
from .shard_files import FileMissing, Folder, LocalFolder, is_address, open_folder
from .shard_index import INDEX, MANIFEST, MOST_MANIFEST_BYTES, ShardIndex, read_index

CACHE_VARIABLE = "CASEBOOK_SHARD_CACHE_GIB"
CACHE_GIB = 10.0
DISK_SHARE = 0.5  # of the free disk that cached shards may take
PIECE_BYTES = 8 << 20  # of a shard, asked for at a time


def is_shard_set(given: object) -> bool:
    """Whether this is a folder with `shards.json` in it, that file, or an address."""
    if not isinstance(given, str | Path):
        return False
    if is_address(given) or Path(given).name == MANIFEST:
        return True
    try:
        return (Path(given).expanduser() / MANIFEST).is_file()
    except (OSError, RuntimeError):  # a name that is too long, or that of a user who does not exist
        return False


def read_shards(given: str | Path) -> Source:
    """The source of a set of shards in a folder or below an address. Raises DataError and DownloadError."""
    place = str(given).removesuffix(MANIFEST) or "."
    folder = open_folder(place if is_address(place) else Path(place).expanduser().resolve())
    try:
        manifest = folder.read_whole(MANIFEST, MOST_MANIFEST_BYTES)
        index = read_index(str(given), manifest, lambda size: folder.read_whole(INDEX, size + 1))
    except (FileMissing, OSError) as error:
        raise DataError(f"{given} holds no set of shards: {error}; 'casebook data shard' writes one") from error
    notes = _missing(folder, index) if isinstance(folder, LocalFolder) else ()
    return Source(str(given), None, index.classes, index.pictures, notes, shards=Shards(folder, index))


def _missing(folder: LocalFolder, index: ShardIndex) -> tuple[str, ...]:
    """A remark on each shard that is not there or has another size."""
    notes = []
    for shard in index.shards:
        try:
            size = (folder.path / shard.name).stat().st_size
        except OSError as error:
            notes.append(f"the shard {shard.name} cannot be read ({error.strerror}): its pictures are left out")
            continue
        if size != shard.size_bytes:
            notes.append(
                f"the shard {shard.name} has {size:,} bytes, expected {shard.size_bytes:,}: what is damaged is left out"
            )
    return tuple(notes)


class Shards:
    """Contents of pictures by name. Threads, and processes forked from this one, may share it."""

    def __init__(self, folder: Folder, index: ShardIndex):
        self.folder, self.shards, self.places, self.digests = folder, index.shards, index.places, index.sha256
        self.pictures = index.pictures
        self._set_up()

    def _set_up(self) -> None:
        self._rows: dict[str, int] | None = None
        self._cached: LocalFolder | None = None
        self._whole = set[int]()  # shards that lie in the cache
        self._by_range = set[int]()  # shards that are not worth keeping: they came damaged
        self._pid, self._locks = os.getpid(), [threading.Lock() for _ in self.shards]
        self._fits = not self.folder.is_local and self.size_bytes <= cache_budget_bytes()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    @property
    def size_bytes(self) -> int:
        """Of all shards together."""
        return sum(shard.size_bytes for shard in self.shards)

    def _row(self, index: int, name: str) -> int:
        """The picture's row. It is `index`, unless someone has reordered the pictures or left some out."""
        if index < len(self.pictures) and self.pictures[index].name == name:
            return index
        if self._rows is None:  # takes 0.1 kB a picture, so only where it is needed
            self._rows = {picture.name: row for row, picture in enumerate(self.pictures)}
        return self._rows[name]

    def sha256(self, index: int, name: str) -> str:
        """Of a picture's content, as the index has it."""
        return self.digests[self._row(index, name)].tobytes().hex()

    def content(self, index: int, name: str) -> bytes:
        """The checked content of a picture's file.

        Raises PictureError where the shard is damaged or missing, and DownloadError where it cannot be reached.
        """
        row = self._row(index, name)
        number, offset, size = self.places[row].tolist()
        shard = self.shards[number]
        try:
            folder, file = self._where(number)
            content = folder.read(file, offset, offset + size) if size else b""
        except FileMissing as error:
            raise PictureError(name, f"its shard is missing: {error}") from error
        except OSError as error:
            raise PictureError(name, f"the shard {shard.name} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(content).digest() != self.digests[row].tobytes():
            raise PictureError(name, f"the shard {shard.name} is damaged here: the content is not what the index says")
        return content

    def _where(self, number: int) -> tuple[Folder, str]:
        """The folder and the file to read a shard from; fetches it if that is worth it and not yet done."""
        shard = self.shards[number]
        if not self._fits or number in self._by_range:
            return self.folder, shard.name
        if self._pid != os.getpid():  # a lock may have been held when this process was forked
            self._pid, self._locks = os.getpid(), [threading.Lock() for _ in self.shards]
        with self._locks[number]:
            if self._cached is None:
                self._cached = LocalFolder(shard_cache_folder())
            kept = self._cached.path / f"{shard.sha256}.tar"
            if number not in self._whole:
                if not kept.is_file() or kept.stat().st_size != shard.size_bytes:
                    with _only_one(kept):
                        if not kept.is_file() and not self._fetch(number, kept):
                            self._by_range.add(number)
                            return self.folder, shard.name
                with contextlib.suppress(OSError):
                    os.utime(kept)
                self._whole.add(number)
        return self._cached, kept.name

    def _fetch(self, number: int, kept: Path) -> bool:
        """Fetches a shard into the cache. False where the disk is full, or what came is damaged."""
        shard, digest = self.shards[number], hashlib.sha256()
        make_room(shard.size_bytes, {f"{one.sha256}.tar" for one in self.shards})
        temporary = None
        try:
            descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=kept.parent)
            temporary = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                for start in range(0, shard.size_bytes, PIECE_BYTES):
                    piece = self.folder.read(shard.name, start, min(start + PIECE_BYTES, shard.size_bytes))
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != shard.sha256:
                return False
            temporary.replace(kept)
            return True
        except OSError:
            return False
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def shard_cache_folder() -> Path:
    return cache_folder() / "shards"


def cache_budget_bytes() -> int:
    """What remote shards may take on this machine's disk. Raises DataError where the variable is no number."""
    given = os.environ.get(CACHE_VARIABLE, "")
    try:
        gib = float(given) if given else CACHE_GIB
    except ValueError as error:
        raise DataError(f"{CACHE_VARIABLE} is {given!r}, expected a number of GiB, such as 10 or 0") from error
    folder = shard_cache_folder()
    place = next(place for place in (folder, *folder.parents) if place.exists())
    there = sum(file.stat().st_size for file in folder.glob("*.tar")) if folder.is_dir() else 0
    return int(min(gib * 2**30, DISK_SHARE * shutil.disk_usage(place).free + there))


def make_room(size_bytes: int, wanted: set[str]) -> None:
    """Removes shards of other sets, those used longest ago first, until `size_bytes` fit in the budget."""
    folder = shard_cache_folder()
    with contextlib.suppress(OSError):  # what cannot be made here shows when the shard is written
        folder.mkdir(parents=True, exist_ok=True)
        files = {file: file.stat() for file in folder.glob("*.tar")}
        used, budget = sum(status.st_size for status in files.values()), cache_budget_bytes()
        for file in sorted(files, key=lambda file: files[file].st_mtime):
            if used + size_bytes <= budget:
                return
            if file.name not in wanted:
                file.unlink(missing_ok=True)
                used -= files[file].st_size


@contextlib.contextmanager
def _only_one(kept: Path) -> Iterator[None]:
    """Keeps two processes of this machine from fetching one shard at once, where the system has such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        file = kept.with_suffix(".lock").open("wb")
    except OSError as error:
        raise DownloadError(
            f"cannot write {kept.parent}: {error.strerror}; set CASEBOOK_CACHE, or {CACHE_VARIABLE}=0"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
