"""Prepared pictures: decoded and reduced once, then kept in one file on disk for later epochs, runs and splits.

A file belongs to the pictures of one source, identified by their SHA-256, and to one `StoredFormat`. It holds a header,
an index with 16 bytes per picture, and a slot per picture; the pictures' sizes determine where each of these lies. A
writer fills the slot first and its index entry last. A reader uses a slot only if the entry is complete and the CRC-32
matches; each process checks that once. So killing a writer loses only the pictures in progress, two concurrent writers
write the same bytes, and a flipped bit costs one extra decoding.

Raw pictures are exactly what `decode_reduced` gives, so using them changes no result. JPEG pictures differ from it; a
training that uses this format encodes every picture, including those it has just decoded.
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
from .reduced import decode_reduced
from .scan import PictureFacts

PIXEL_VERSION = 2  # of a slot's content; raise it when decode_reduced or the encoding changes
MAGIC = b"casebook pictures\n"
SUFFIX = ".pictures"
ENTRY = struct.Struct("<IIII")  # length in bytes, CRC-32 of the slot, CRC-32 of the picture's index and these two, 0
PAGE = 4096
JPEG_QUALITY = 90
JPEG_SHARE = 1 / 6  # roughly, of the raw bytes; an estimate for before any picture is encoded
RESERVE_BYTES = 512 << 20  # to leave free on the disk, for the training's own checkpoints
LARGE = 4  # times the prepared pixels; decoding a picture this large costs far more than reading it
GIB = 1 << 30

Progress = Callable[[int, int], None]


class StoredFormat(NamedTuple):
    """The pictures that training cuts its crops from: their shorter side is at most `side`."""

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
    """The format to cut crops from for this preprocessing; `side` 0 means the preprocessing's usual one."""
    side = side or preprocessing.decode_side
    return StoredFormat(side, preprocessing.mode, format, preprocessing.value_range)


def picture_and_payload(content: bytes, name: str, form: StoredFormat) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W, channels) uint8: a file's picture as training sees it; and the bytes of its slot.

    Raises PictureError.
    """
    pixels = decode_reduced(content, name=name, **form.decode_options)
    if form.format == "raw":
        return pixels, np.ascontiguousarray(pixels).reshape(-1)
    payload = encode(pixels)
    return _unpacked(payload, form), payload


def in_memory(source: Source, index: int, form: StoredFormat) -> NDArray[np.uint8]:
    """The same pixels for a source that holds its pictures as arrays."""
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
    """The offset of everything in the file of these pictures in this format."""

    def __init__(self, facts: Sequence[PictureFacts], form: StoredFormat):
        self.form, self.facts = form, facts
        sizes = [(0, 0) if f.error is not None else reduced_size((f.width, f.height), form.side) for f in facts]
        self.shapes = [(height, width, form.channels) for width, height in sizes]
        raw_bytes = np.array([height * width * channels for height, width, channels in self.shapes], np.int64)
        self.raw_bytes = int(raw_bytes.sum())
        slots = np.where(raw_bytes, raw_bytes, 0)
        if form.format == "jpeg":  # unused bytes take no disk space, so every slot may have the worst-case size
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
        """The disk space of the whole file: exact for raw pictures, estimated for JPEG."""
        if self.form.format == "raw":
            return self.end
        count = sum(facts.error is None for facts in self.facts)
        return int(self.starts[0] + JPEG_SHARE * self.raw_bytes + count * PAGE // 2)

    @property
    def key(self) -> str:
        """A digest of the pictures' contents, the format, and everything else that determines the pixels."""
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
    """The prepared pictures of one source in one format: read through a memory map, written one by one.

    Forked processes share it. The process that opened it calls `tell` now and then, which reports problems to `say`.
    """

    def __init__(self, path: Path, layout: Layout, say: Callable[[str], None] = lambda text: None):
        """Opens the file. Raises OSError or ValueError if it is missing or has another layout."""
        self.path, self.layout, self.form, self.say = path, layout, layout.form, say
        count = len(layout.facts)
        self.shared = mmap.mmap(-1, 2 * count + 8)
        self.trouble = np.frombuffer(self.shared, np.int64, 1)  # errno of a failed write; -1: the disk is nearly full
        self.tried = np.frombuffer(self.shared, np.uint8, count, offset=8)  # 1: the checksum matched
        self.damaged = np.frombuffer(self.shared, np.uint8, count, offset=8 + count)
        self.told: set[str] = set()
        self._open()

    def _open(self) -> None:
        self.may_write = os.access(self.path, os.W_OK)  # False for files of another user
        self.descriptor = os.open(self.path, os.O_RDWR if self.may_write else os.O_RDONLY)
        try:
            if os.fstat(self.descriptor).st_size != self.layout.end:  # reading past the end would kill us
                raise ValueError(f"{self.path} has the wrong size for its pictures")
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
        """Closes the file; pictures that were already read stay valid."""
        if self.bytes is not None:
            self.bytes = self.entries = None
            os.close(self.descriptor)

    def __del__(self) -> None:
        if getattr(self, "bytes", None) is not None:
            with contextlib.suppress(OSError):
                self.close()

    def has(self, index: int) -> bool:
        """Whether the index says that the picture's slot is complete."""
        if self.entries is None:
            return False
        length, checksum, check, _ = map(int, self.entries[index])
        return length > 0 and check == _check(index, length, checksum)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """(H, W, channels) uint8, read-only; None if the picture is not there yet, or no longer."""
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
            with contextlib.suppress(OSError):  # read-only files stay as they are
                self._write(bytes(ENTRY.size), self.layout.header_bytes + ENTRY.size * index)
            return None
        self.tried[index] = 1
        return payload.reshape(shape) if self.form.format == "raw" else _unpacked(payload, self.form)

    def put(self, index: int, payload: NDArray[np.uint8], content: bytes) -> None:
        """Stores a picture. `content` is its source file, which must still be the one that was scanned.

        Never raises: after a failed write no process uses the file any more.
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
                self.path.unlink()  # frees the space once all processes have closed it
            self.close()

    def _write(self, content: bytes | memoryview, start: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self.descriptor, view, start)
            view, start = view[written:], start + written

    def num_complete(self) -> int:
        """The number of pictures that are stored."""
        return 0 if self.entries is None else sum(map(self.has, np.flatnonzero(self.entries[:, 0]).tolist()))

    def flush(self) -> None:
        if self.bytes is not None:
            os.fsync(self.descriptor)

    def tell(self) -> None:
        """Reports each problem of any process once."""
        number = int(self.trouble[0])
        if number > 0:
            self.close()
            self._say_once(
                f"cannot write {self.path}: {os.strerror(number)}; the file is removed, and training continues "
                "by decoding every picture again"
            )
        elif number < 0:
            self._say_once(
                f"the disk is nearly full, so {self.path} stores no more pictures; free some space, or remove prepared "
                "pictures with 'casebook data prepared'"
            )
        if self.damaged.any() and number <= 0:
            self._say_once(f"some prepared pictures in {self.path} are damaged and are decoded again")

    def _say_once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.say(text)


def _check(index: int, length: int, checksum: int) -> int:
    """Never 0, so that a zeroed entry is never taken for a complete one."""
    return zlib.crc32(struct.pack("<QII", index, length, checksum)) or 1


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file. Raises OSError or ValueError."""
    with path.open("rb") as file:
        start = file.read(PAGE)
    length, checksum = struct.unpack_from("<II", start, len(MAGIC)) if len(start) == PAGE else (0, 0)
    text = start[len(MAGIC) + 8 : len(MAGIC) + 8 + length]
    if not start.startswith(MAGIC) or zlib.crc32(text) != checksum:
        raise ValueError(f"{path} is not a file of prepared pictures")
    return json.loads(text)


def _create(path: Path, layout: Layout, source: Source) -> None:
    """Makes an empty file of the full size, which takes no disk space yet.

    Keeps a file that another process has made in the meantime. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "key": layout.key, "source": _place(source), "pictures": sum(f.error is None for f in layout.facts),
        "slots": len(layout.facts), "size_bytes": layout.end, **layout.form._asdict(),
    }  # fmt: skip
    text = json.dumps(record).encode()
    if len(text) > PAGE - len(MAGIC) - 8:  # only with a path of thousands of characters
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
    """The user's name for the source, as an absolute path where it is one; shown in listings."""
    return str(Path(source.name).expanduser().resolve()) if source.root is not None else source.name


def find_prepared(
    source: Source, facts: Sequence[PictureFacts], form: StoredFormat, *, folder: Path | None = None
) -> PreparedFile | None:
    """The file of these pictures in this format, if there is one."""
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
    """The file of these pictures in this format; made if it is missing and fits.

    It fits if the whole cache stays below `budget_bytes` and the file takes at most `disk_share` of the free disk
    space. It replaces files of the same source and format that hold earlier versions of the pictures. Raises RunError
    with the reason if it cannot be made.
    """
    layout, folder = Layout(facts, form), folder or prepared_folder()
    path = folder / f"{layout.key}{SUFFIX}"
    unusable = False
    try:
        return PreparedFile(path, layout)
    except FileNotFoundError:
        pass
    except (OSError, ValueError):  # an incomplete copy, or overwritten
        unusable = True
    there = [file for file in list_prepared(folder) if file.path != path]  # another process may have just made ours
    outdated = [file for file in there if file.source == _place(source) and file.form == form]
    others = sum(file.planned_bytes for file in there if file not in outdated)
    if layout.size_bytes + others > budget_bytes:
        beside = f" beside {size_text(others)} of other prepared pictures" if others else ""
        raise RunError(
            f"prepared pictures would take {size_text(layout.size_bytes)}{beside}, more than the "
            f"limit of {size_text(budget_bytes)} (prepared_gib)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if layout.size_bytes > disk_share * free - RESERVE_BYTES:
            raise RunError(
                f"prepared pictures would take {size_text(layout.size_bytes)} in {folder}, whose disk has "
                f"{size_text(free)} free; set CASEBOOK_CACHE to a folder on another disk"
            )
        if unusable:
            path.unlink(missing_ok=True)
        for file in outdated:
            file.path.unlink(missing_ok=True)
        for leftover in folder.glob(f".*{SUFFIX}.*.tmp"):  # left by a killed process
            with contextlib.suppress(FileNotFoundError):  # renamed since: another process was just making it
                if time.time() - leftover.stat().st_mtime > 600:
                    leftover.unlink()
        _create(path, layout, source)
        return PreparedFile(path, layout)
    except (OSError, ValueError) as error:  # ValueError: another process has replaced it in the meantime
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot keep prepared pictures in {folder}: {reason}") from error


class Listed(NamedTuple):
    """One file of prepared pictures, for listings."""

    path: Path
    source: str
    form: StoredFormat | None  # None if unreadable
    pictures: int
    complete: int
    size_bytes: int  # on the disk
    planned_bytes: int  # once it is complete, as far as known

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    def to_dict(self) -> dict[str, Any]:
        form = self.form._asdict() if self.form else dict.fromkeys(StoredFormat._fields)
        return {"name": self.name, "file": str(self.path), "source": self.source, **form, "pictures": self.pictures,
                "complete": self.complete, "size_bytes": self.size_bytes}  # fmt: skip


def list_prepared(folder: Path | None = None) -> list[Listed]:
    """All files of prepared pictures, sorted by name; `form` is None for a damaged one."""
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
    """Removes the named files, or all, and returns their records. Raises RunError for an unknown name."""
    there = {file.name: file for file in list_prepared(folder)}
    wanted = list(there) if names is None else list(names)
    if unknown := [name for name in wanted if name not in there]:
        known = f"there are {', '.join(there)}" if there else "there are none"
        raise RunError(f"no prepared pictures {unknown[0]!r}; {known}")
    for name in wanted:
        there[name].path.unlink(missing_ok=True)
    return [there[name] for name in wanted]


def jpeg_size_bytes(source: Source, layout: Layout, samples: int = 32) -> int:
    """The estimated size of the file, from encoding `samples` of its pictures."""
    good = [index for index, facts in enumerate(layout.facts) if facts.error is None]
    chosen = good[:: max(1, len(good) // samples)][:samples]
    encoded = raw = 0
    for index in chosen:
        with contextlib.suppress(PictureError):
            _, payload = picture_and_payload(source.content(index), source.pictures[index].name, layout.form)
            encoded, raw = encoded + _whole_pages(payload.nbytes), raw + int(np.prod(layout.shapes[index]))
    return int(layout.starts[0]) + round(layout.raw_bytes * (encoded / raw if raw else JPEG_SHARE))


def fill(
    source: Source, prepared: PreparedFile, *, workers: int, progress: Progress = lambda done, total: None
) -> dict[str, str]:
    """Prepares the missing pictures with `workers` threads; returns the unreadable ones with the reason.

    Safe to interrupt and to call again. Raises RunError when the disk is full.
    """
    facts = prepared.layout.facts
    skipped = {source.pictures[i].name: f.error for i, f in enumerate(facts) if f.error is not None}
    todo = [i for i, f in enumerate(facts) if f.error is None and not prepared.has(i)]
    total = len(facts) - len(skipped)
    done = total - len(todo)
    progress(done, total)

    def one(index: int) -> None:
        name = source.pictures[index].name
        try:
            content = source.content(index)
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
