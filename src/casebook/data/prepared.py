"""Prepared pictures: decoded and reduced once, kept in one file on disk for later epochs, runs and splits.

A file belongs to the pictures of one source, by the SHA-256 of each, and to one `StoredFormat`. It holds a header, an
index of 16 bytes and one slot a picture, all at places that follow from the pictures' sizes. A slot counts only when
its index entry is whole, which is written after it, and only if its CRC-32 is right, which each process tries once. So
a killed writer costs the pictures under way, two writers write the same bytes, and a flipped bit costs one decoding.

Raw pictures are exactly what `decode_reduced` gives, so whether they come from here changes no result. JPEG ones are
not, so a training in that form sends every picture through the same encoder, also those that it has just decoded.
"""

import contextlib
import errno
import hashlib
import json
import mmap
import os
import platform
import secrets
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from ..augmentation.augment import reduce_pixels, reduced_size
from ..errors import PictureError, RunError
from ..files import cache_folder
from ..formatting import size_text
from ..preprocessing import Preprocessing
from . import stderr
from .pictures import Source
from .reduced import decode_reduced, read_file
from .scan import PictureFacts

PIXEL_VERSION = 2  # of what a slot holds: a change of decode_reduced or of the encoding makes old files worthless
MAGIC = b"casebook pictures\n"
SUFFIX = ".pictures"
ENTRY = struct.Struct("<IIII")  # length in bytes, CRC-32 of the slot, CRC-32 of the picture's place and these two, 0
PAGE = 4096
JPEG_QUALITY = 90
JPEG_SHARE = 1 / 6  # of the raw bytes, about; used where no picture has been encoded yet
RESERVE_BYTES = 512 << 20  # left free on the disk, for the checkpoints of the very training that fills it
LARGE = 4  # pictures of this many times the prepared pixels are large: decoding them costs far more than reading
GIB = 1 << 30

Progress = Callable[[int, int], None]


class StoredFormat(NamedTuple):
    """What training cuts its crops from: pictures whose shorter side is at most `side`."""

    side: int
    mode: Literal["RGB", "L"] = "RGB"
    format: Literal["raw", "jpeg"] = "raw"
    value_range: tuple[float, float] | None = None  # as in Preprocessing

    @property
    def channels(self) -> int:
        return 3 if self.mode == "RGB" else 1

    @property
    def decode_options(self) -> dict[str, Any]:
        """The keyword arguments for `decode_reduced`."""
        return {"mode": self.mode, "side": self.side, "value_range": self.value_range}


def stored_format(preprocessing: Preprocessing, side: int = 0, format: Literal["raw", "jpeg"] = "raw") -> StoredFormat:
    """The format that crops for this preprocessing are cut from; its usual side when `side` is 0."""
    side = side or preprocessing.decode_side
    return StoredFormat(side, preprocessing.mode, format, preprocessing.value_range)


def picture_and_payload(content: bytes, name: str, form: StoredFormat) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W, channels) uint8 of a picture's file as training sees it, and the bytes for its slot.

    Raises PictureError.
    """
    pixels = decode_reduced(content, name=name, **form.decode_options)
    if form.format == "raw":
        return pixels, np.ascontiguousarray(pixels).reshape(-1)
    payload = encode(pixels)
    return _unpacked(payload, form), payload


def in_memory(source: Source, index: int, form: StoredFormat) -> NDArray[np.uint8]:
    """As `picture_and_payload`, for a picture of a source that holds its pictures as arrays."""
    pixels = reduce_pixels(np.asarray(source.open(index, mode=form.mode), np.uint8), form.side)
    return pixels if form.format == "raw" else _unpacked(encode(pixels), form)


def encode(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, channels) uint8 -> the bytes of a JPEG."""
    swapped = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    payload: Any = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return payload.reshape(-1)


def _unpacked(payload: NDArray[np.uint8], form: StoredFormat) -> NDArray[np.uint8]:
    pixels: Any = cv2.imdecode(payload, cv2.IMREAD_COLOR_RGB if form.mode == "RGB" else cv2.IMREAD_GRAYSCALE)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


class Layout:
    """Where everything lies in the file of these pictures and this form."""

    def __init__(self, facts: Sequence[PictureFacts], form: StoredFormat):
        self.form, self.facts = form, facts
        sizes = [(0, 0) if f.error is not None else reduced_size((f.width, f.height), form.side) for f in facts]
        self.shapes = [(height, width, form.channels) for width, height in sizes]
        raw_bytes = np.array([height * width * channels for height, width, channels in self.shapes], np.int64)
        self.raw_bytes = int(raw_bytes.sum())
        slots = np.where(raw_bytes, raw_bytes, 0)
        if form.format == "jpeg":  # holes take no room on the disk, so each may be as large as a bad one would be
            slots = np.where(raw_bytes, -(-(raw_bytes + PAGE) // PAGE) * PAGE, 0)
        else:
            slots = -(-slots // 64) * 64
        self.header_bytes = PAGE
        self.starts = np.zeros(len(facts) + 1, np.int64)
        np.cumsum(slots, out=self.starts[1:])
        self.starts += _whole_pages(self.header_bytes + ENTRY.size * len(facts))
        self.end = int(self.starts[-1])

    @property
    def size_bytes(self) -> int:
        """What the whole file takes on the disk: for raw pictures exactly, for JPEG about."""
        if self.form.format == "raw":
            return self.end
        count = sum(facts.error is None for facts in self.facts)
        return int(self.starts[0] + JPEG_SHARE * self.raw_bytes + count * PAGE // 2)

    @property
    def key(self) -> str:
        """Of the pictures' contents, the form, and all that decides about the pixels."""
        record = [PIXEL_VERSION, *self.form, JPEG_QUALITY, cv2.__version__, PIL.__version__, platform.machine()]
        digest = hashlib.sha256(json.dumps(record).encode())
        for facts, (height, width, _) in zip(self.facts, self.shapes, strict=True):
            digest.update(f"{facts.sha256} {width} {height}\n".encode())
        return digest.hexdigest()[:24]


def _whole_pages(count: int) -> int:
    return -(-count // PAGE) * PAGE


def prepared_folder() -> Path:
    return cache_folder() / "prepared"


class PreparedFile:
    """The prepared pictures of one source in one form: read from a map of the file, written one by one.

    Forked processes share it. `say` is called by `tell`, which the process that made it calls now and then.
    """

    def __init__(self, path: Path, layout: Layout, say: Callable[[str], None] = lambda text: None):
        """Opens the file. Raises OSError or ValueError if it is not there or not of this layout."""
        self.path, self.layout, self.form, self.say = path, layout, layout.form, say
        count = len(layout.facts)
        self.shared = mmap.mmap(-1, 2 * count + 8)
        self.trouble = np.frombuffer(self.shared, np.int64, 1)  # errno of a failed write; -1: the disk is nearly full
        self.tried = np.frombuffer(self.shared, np.uint8, count, offset=8)  # 1: the checksum was right
        self.damaged = np.frombuffer(self.shared, np.uint8, count, offset=8 + count)
        self.told: set[str] = set()
        self._open()

    def _open(self) -> None:
        self.may_write = os.access(self.path, os.W_OK)  # not where another user has prepared them
        self.descriptor = os.open(self.path, os.O_RDWR if self.may_write else os.O_RDONLY)
        try:
            if os.fstat(self.descriptor).st_size != self.layout.end:  # a shorter one would kill its reader
                raise ValueError(f"{self.path} has another size than its pictures")
            if read_header(self.path).get("key") != self.layout.key:
                raise ValueError(f"{self.path} was made for other pictures")
            memory = mmap.mmap(self.descriptor, self.layout.end, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(self.descriptor)
            raise
        count = len(self.layout.facts)
        self.entries: NDArray[np.uint32] | None
        self.entries = np.frombuffer(memory, np.uint32, 4 * count, offset=self.layout.header_bytes).reshape(count, 4)
        self.bytes: NDArray[np.uint8] | None = np.frombuffer(memory, np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "layout": self.layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["layout"])

    def close(self) -> None:
        """Gives up the file; pictures that were read stay readable."""
        if self.bytes is not None:
            self.bytes = self.entries = None
            os.close(self.descriptor)

    def __del__(self) -> None:
        if getattr(self, "bytes", None) is not None:
            with contextlib.suppress(OSError):
                self.close()

    def has(self, index: int) -> bool:
        """Whether the picture's slot is whole, as far as the index says."""
        if self.entries is None:
            return False
        length, checksum, check, _ = map(int, self.entries[index])
        return length > 0 and check == _check(index, length, checksum)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """(H, W, channels) uint8, not to be written to; None if there is none yet or no more."""
        if self.trouble[0] > 0:
            self.close()
        if not self.has(index) or self.entries is None or self.bytes is None:
            return None
        length, checksum = int(self.entries[index, 0]), int(self.entries[index, 1])
        start = int(self.layout.starts[index])
        payload = self.bytes[start : start + length]
        shape = self.layout.shapes[index]
        whole = start + length <= int(self.layout.starts[index + 1])
        if not whole or not (self.tried[index] or zlib.crc32(payload.data) == checksum):
            self.damaged[index] = 1
            with contextlib.suppress(OSError):  # where it may be written
                self._write(bytes(ENTRY.size), self.layout.header_bytes + ENTRY.size * index)
            return None
        self.tried[index] = 1
        return payload.reshape(shape) if self.form.format == "raw" else _unpacked(payload, self.form)

    def put(self, index: int, payload: NDArray[np.uint8], content: bytes) -> None:
        """Keeps a picture's slot; `content` is the file it was made from, which must be the one that was scanned.

        What cannot be kept is not kept: a failed write ends the use of the file for all its processes.
        """
        start, end = self.layout.starts[index : index + 2].tolist()
        if self.bytes is None or not self.may_write or self.trouble[0] or self.has(index):
            return
        if payload.nbytes > end - start:
            return
        if hashlib.sha256(content).hexdigest() != self.layout.facts[index].sha256:
            return
        try:
            if shutil.disk_usage(self.path.parent).free < RESERVE_BYTES + payload.nbytes:
                self.trouble[0] = -1
                return
            self._write(payload.data, start)
            checksum = zlib.crc32(payload.data)
            entry = ENTRY.pack(payload.nbytes, checksum, _check(index, payload.nbytes, checksum), 0)
            self._write(entry, self.layout.header_bytes + ENTRY.size * index)
        except OSError as error:
            self.trouble[0] = error.errno or errno.EIO
            with contextlib.suppress(OSError):
                self.path.unlink()  # gives its room back when all processes have let go of it
            self.close()

    def _write(self, content: bytes | memoryview, start: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self.descriptor, view, start)
            view, start = view[written:], start + written

    def num_complete(self) -> int:
        """Pictures whose slots are there."""
        return 0 if self.entries is None else sum(map(self.has, np.flatnonzero(self.entries[:, 0]).tolist()))

    def flush(self) -> None:
        if self.bytes is not None:
            os.fsync(self.descriptor)

    def tell(self) -> None:
        """Says, once each, what has gone wrong in any of the processes."""
        number = int(self.trouble[0])
        if number > 0:
            self.close()
            self._say_once(
                f"cannot write {self.path}: {os.strerror(number)}; the file is removed and the training goes on, "
                "decoding every picture anew"
            )
        elif number < 0:
            self._say_once(
                f"the disk is nearly full, so no more prepared pictures are kept in {self.path}; free some space, or "
                "remove what lies there with 'casebook data prepared'"
            )
        if self.damaged.any() and number <= 0:
            self._say_once(f"prepared pictures in {self.path} were damaged on the disk and are decoded again")

    def _say_once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.say(text)


def _check(index: int, length: int, checksum: int) -> int:
    """Never 0 for a whole entry, as a zeroed one must not be."""
    return zlib.crc32(struct.pack("<QII", index, length, checksum)) or 1


def read_header(path: Path) -> dict[str, Any]:
    """What a file says of itself. Raises OSError or ValueError."""
    with path.open("rb") as file:
        start = file.read(PAGE)
    length, checksum = struct.unpack_from("<II", start, len(MAGIC)) if len(start) == PAGE else (0, 0)
    text = start[len(MAGIC) + 8 : len(MAGIC) + 8 + length]
    if not start.startswith(MAGIC) or zlib.crc32(text) != checksum:
        raise ValueError(f"{path} is no file of prepared pictures")
    return json.loads(text)


def _create(path: Path, layout: Layout, source: Source) -> None:
    """An empty file in its full size, which takes no room on the disk yet. A file that another process has made
    meanwhile stays. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "key": layout.key, "source": _place(source), "pictures": sum(f.error is None for f in layout.facts),
        "slots": len(layout.facts), "size_bytes": layout.end, **layout.form._asdict(),
    }  # fmt: skip
    text = json.dumps(record).encode()
    if len(text) > PAGE - len(MAGIC) - 8:  # only a path of thousands of letters does this
        text = json.dumps(record | {"source": "..." + record["source"][-500:]}).encode()
    name = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        with name.open("xb") as file:
            file.write(MAGIC + struct.pack("<II", len(text), zlib.crc32(text)) + text)
            file.truncate(layout.end)
        try:
            os.link(name, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            name.replace(path)
    finally:
        name.unlink(missing_ok=True)


def _place(source: Source) -> str:
    """What the user calls the source, as an absolute path, so that a listing names it."""
    return str(Path(source.name).expanduser().resolve()) if source.root is not None else source.name


def find_prepared(
    source: Source, facts: Sequence[PictureFacts], form: StoredFormat, *, folder: Path | None = None
) -> PreparedFile | None:
    """The file of these pictures in this form, if there is one."""
    layout = Layout(facts, form)
    try:
        return PreparedFile((folder or prepared_folder()) / f"{layout.key}{SUFFIX}", layout)
    except (OSError, ValueError):
        return None


def open_prepared(
    source: Source,
    facts: Sequence[PictureFacts],
    form: StoredFormat,
    *,
    budget_bytes: float,
    disk_share: float,
    folder: Path | None = None,
) -> PreparedFile:
    """The file of these pictures in this form, which is made if it is not there and fits.

    It fits if it and all other prepared pictures take `budget_bytes` at most, and it alone `disk_share` of the disk's
    free space. Files of the same source in the same form that belong to earlier pictures are removed for it.
    Raises RunError, which says why there is none.
    """
    layout, folder = Layout(facts, form), folder or prepared_folder()
    path = folder / f"{layout.key}{SUFFIX}"
    unusable = False
    try:
        return PreparedFile(path, layout)
    except FileNotFoundError:
        pass
    except (OSError, ValueError):  # of an interrupted copy, or written over
        unusable = True
    there = [file for file in list_prepared(folder) if file.path != path]  # which another process may just have made
    outdated = [file for file in there if file.source == _place(source) and file.form == form]
    others = sum(file.planned_bytes for file in there if file not in outdated)
    if layout.size_bytes + others > budget_bytes:
        beside = f" beside {size_text(others)} that lie there already" if others else ""
        raise RunError(
            f"prepared pictures would take {size_text(layout.size_bytes)}{beside}, more than the "
            f"{size_text(budget_bytes)} that are allowed (prepared_gib)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if layout.size_bytes > disk_share * free - RESERVE_BYTES:
            raise RunError(
                f"prepared pictures would take {size_text(layout.size_bytes)} in {folder}, whose disk has "
                f"{size_text(free)} free; CASEBOOK_CACHE names another folder"
            )
        if unusable:
            path.unlink(missing_ok=True)
        for file in outdated:
            file.path.unlink(missing_ok=True)
        for leftover in folder.glob(f".*{SUFFIX}.*.tmp"):  # of a process that was killed while it made one
            with contextlib.suppress(FileNotFoundError):  # of one that is just being made, and is there by now
                if time.time() - leftover.stat().st_mtime > 600:
                    leftover.unlink()
        _create(path, layout, source)
        return PreparedFile(path, layout)
    except (OSError, ValueError) as error:  # ValueError: another process has removed and remade it meanwhile
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot keep prepared pictures in {folder}: {reason}") from error


class Listed(NamedTuple):
    """A file of prepared pictures as a listing shows it."""

    path: Path
    source: str
    form: StoredFormat | None  # None: not readable
    pictures: int
    complete: int
    size_bytes: int  # on the disk
    planned_bytes: int  # when it is complete, as far as that can be said

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    def to_dict(self) -> dict[str, Any]:
        form = self.form._asdict() if self.form else dict.fromkeys(StoredFormat._fields)
        return {"name": self.name, "file": str(self.path), "source": self.source, **form, "pictures": self.pictures,
                "complete": self.complete, "size_bytes": self.size_bytes}  # fmt: skip


def list_prepared(folder: Path | None = None) -> list[Listed]:
    """All files of prepared pictures, by name; a damaged one has no form."""
    found = []
    for path in sorted((folder or prepared_folder()).glob(f"*{SUFFIX}")):
        try:
            status = path.stat()
            size_bytes = min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
        except OSError:  # removed by another process
            continue
        try:
            header = read_header(path)
            value_range = header.get("value_range")
            value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
            form = StoredFormat(int(header["side"]), header["mode"], header["format"], value_range)
            with path.open("rb") as file:
                file.seek(PAGE)
                entries = np.frombuffer(file.read(ENTRY.size * header["slots"]), np.uint32).reshape(-1, 4)
            planned = status.st_size if form.format == "raw" else size_bytes
            complete = int(np.count_nonzero(entries[:, 0]))
            found.append(Listed(path, header["source"], form, header["pictures"], complete, size_bytes, planned))
        except (OSError, ValueError, KeyError, TypeError):
            found.append(Listed(path, "", None, 0, 0, size_bytes, size_bytes))
    return found


def remove_prepared(names: Iterable[str] | None = None, folder: Path | None = None) -> list[Listed]:
    """Removes the files of these names, or all, and gives what was removed. Raises RunError for an unknown name."""
    there = {file.name: file for file in list_prepared(folder)}
    wanted = list(there) if names is None else list(names)
    if unknown := [name for name in wanted if name not in there]:
        known = f"there are {', '.join(there)}" if there else "there are none"
        raise RunError(f"no prepared pictures {unknown[0]!r}; {known}")
    for name in wanted:
        there[name].path.unlink(missing_ok=True)
    return [there[name] for name in wanted]


def jpeg_size_bytes(source: Source, layout: Layout, samples: int = 32) -> int:
    """What the file would take on the disk, from `samples` of its pictures."""
    good = [index for index, facts in enumerate(layout.facts) if facts.error is None]
    chosen = good[:: max(1, len(good) // samples)][:samples]
    encoded = raw = 0
    for index in chosen:
        name, path = source.pictures[index].name, source.path(index)
        with contextlib.suppress(PictureError):
            assert path is not None
            _, payload = picture_and_payload(read_file(path, name=name), name, layout.form)
            encoded, raw = encoded + _whole_pages(payload.nbytes), raw + int(np.prod(layout.shapes[index]))
    return int(layout.starts[0]) + round(layout.raw_bytes * (encoded / raw if raw else JPEG_SHARE))


def fill(
    source: Source, prepared: PreparedFile, *, workers: int, progress: Progress = lambda done, total: None
) -> dict[str, str]:
    """Prepares every picture that is not there yet, with `workers` threads; gives those that could not be read.

    May be interrupted at any time and called again. Raises RunError when the disk is full.
    """
    facts = prepared.layout.facts
    skipped = {source.pictures[i].name: f.error for i, f in enumerate(facts) if f.error is not None}
    todo = [i for i, f in enumerate(facts) if f.error is None and not prepared.has(i)]
    total = len(facts) - len(skipped)
    done = total - len(todo)
    progress(done, total)

    def one(index: int) -> None:
        name, path = source.pictures[index].name, source.path(index)
        assert path is not None
        try:
            content = read_file(path, name=name)
            pixels, payload = picture_and_payload(content, name, prepared.form)
        except PictureError as error:
            skipped[name] = error.reason
            return
        if pixels.shape == prepared.layout.shapes[index]:
            prepared.put(index, payload, content)

    pool = ThreadPoolExecutor(max(1, workers))  # OpenCV frees the interpreter while it decodes
    try:
        for start in range(0, len(todo), block := 16 * max(1, workers)):
            for _ in pool.map(one, todo[start : start + block]):
                done += 1
            progress(done, total)
            if prepared.trouble[0]:
                reason = os.strerror(number) if (number := int(prepared.trouble[0])) > 0 else "the disk is nearly full"
                raise RunError(
                    f"cannot write {prepared.path}: {reason}, after {done} of {total} pictures; free some space, "
                    "choose a smaller --side or --format jpeg, or set CASEBOOK_CACHE to another folder"
                )
    finally:
        pool.shutdown(cancel_futures=True)
    for name, text in stderr.take():
        prepared.say(f"{name}: the decoder says: {text}")
    prepared.flush()
    return skipped
