"""Reads every picture once: its format and size, whether it is intact, and fingerprints that find copies."""

import dataclasses
import hashlib
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..device import available_cores
from ..errors import PictureError
from ..files import cache_folder
from ..store import Store
from .decode import decode, max_pixels
from .pictures import Source

THUMBNAIL = 32  # pixels on a side
CACHE_VERSION = 2  # raise it when the fingerprints below change
BLOCK = 64  # pictures handed to a thread at a time
ROUND = 4096  # pictures whose results are in memory twice
ON_DISK_BYTES = 128 << 20  # of thumbnails
BUDGET_BYTES = 4 << 30  # of the cache: three million pictures


@dataclasses.dataclass(frozen=True, slots=True)
class PictureFacts:
    """What scanning a picture found. A broken picture has 0 and "" for what it does not reveal."""

    width: int = 0  # upright, in pixels
    height: int = 0
    format: str = ""  # "JPEG", ...; "array" for pictures in memory
    mode: str = ""  # as stored: "RGB", "L", "CMYK", "I;16", ...
    size_bytes: int = 0
    sha256: str = ""  # of the file, or of the pixels in memory
    phash: int = 0  # 64 bits; similar pictures differ in few of them
    error: str | None = None  # why it cannot be used
    low: float | None = None  # the smallest value of a picture with more than 8 bits; None for all others
    high: float | None = None  # the largest


@dataclasses.dataclass(frozen=True)
class Scan:
    """Facts and a thumbnail for each picture of a source, in the source's order."""

    facts: tuple[PictureFacts, ...]
    thumbnails: NDArray[np.uint8]  # (N, 32, 32) grey, the whole picture squashed to a square

    @property
    def contents(self) -> list[str]:
        """The SHA-256 of each picture's file, or of its pixels in memory; empty for files that cannot be read."""
        return [facts.sha256 for facts in self.facts]

    @property
    def broken(self) -> dict[int, str]:
        """The index of each unusable picture, with the reason."""
        return {index: facts.error for index, facts in enumerate(self.facts) if facts.error is not None}


def scan(
    source: Source,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: Path | None = None,
) -> Scan:
    """Scans every picture of a source. A broken picture is recorded and raises nothing.

    A file is not read again if an earlier scan with this `cache_dir` saw the same path, size and time. `workers` is
    the number of threads (default: one per processor; decoders release the interpreter's lock). The calling thread
    calls `progress(done, total)` now and then.
    """
    total, known = len(source), _Cache(cache_dir, source)
    thumbnails, facts = thumbnail_array(total), list[PictureFacts]()
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        for start in range(0, total, ROUND):  # so that a stopped scan goes on, and memory holds one round of looks
            indices = range(start, min(start + ROUND, total))
            keys = known.keys(indices)
            looks = known.get(keys)
            unseen = [index for index in indices if index not in looks]
            if progress and looks and not unseen:
                progress(start + len(looks), total)
            blocks = [unseen[first : first + BLOCK] for first in range(0, len(unseen), BLOCK)]
            for block, found in zip(
                blocks, pool.map(lambda block: [_look(source, index) for index in block], blocks), strict=True
            ):
                looks |= zip(block, found, strict=True)
                if progress:
                    progress(start + len(looks), total)
            pixels = np.frombuffer(b"".join(looks[index][1] for index in indices), np.uint8)
            thumbnails[indices.start : indices.stop] = pixels.reshape(-1, THUMBNAIL, THUMBNAIL)
            hashes = perceptual_hashes(thumbnails[indices.start : indices.stop]).tolist()
            facts += [
                dataclasses.replace(looks[index][0], phash=phash) for index, phash in zip(indices, hashes, strict=True)
            ]
            known.put({keys[index]: (facts[index], looks[index][1]) for index in unseen if keys.get(index)})
            release(thumbnails)
    known.close()
    return Scan(tuple(facts), thumbnails)


def thumbnail_array(count: int) -> NDArray[np.uint8]:
    """(count, 32, 32) of zeros: in memory, or in a file without a name where they are many."""
    shape = (count, THUMBNAIL, THUMBNAIL)
    if count * THUMBNAIL * THUMBNAIL < ON_DISK_BYTES:
        return np.zeros(shape, np.uint8)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < 2 * count * THUMBNAIL * THUMBNAIL:
            return np.zeros(shape, np.uint8)
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError:
        return np.zeros(shape, np.uint8)


def release(thumbnails: NDArray[np.uint8]) -> None:
    """Lets the system take back the memory of thumbnails that lie in a file; they stay readable."""
    memory = getattr(thumbnails, "_mmap", None)
    if memory is not None and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)


def _look(source: Source, index: int) -> tuple[PictureFacts, bytes]:
    """The facts about one picture without its hash, and the bytes of its thumbnail."""
    name = source.pictures[index].name
    if source.arrays is not None:
        pixels = np.ascontiguousarray(source.arrays[index])
        picture = Image.fromarray(pixels)
        sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
        facts = PictureFacts(picture.width, picture.height, "array", picture.mode, pixels.nbytes, sha256)
        return facts, _thumbnail(picture.convert("L"))
    facts = PictureFacts()
    try:
        content = source.content(index)
        facts = PictureFacts(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        # Decoding at a smaller scale still reads every bit of a JPEG, so it finds the same damage.
        found = decode(content, name=name, mode="L", min_side=2 * THUMBNAIL)
        low, high = found.extremes or (None, None)
        if low is not None and high is not None and low < high:
            # The range of the data set is not known yet. The picture's own range keeps dark ones visible.
            found = decode(content, name=name, mode="L", value_range=(low, high))
    except (PictureError, OSError) as error:
        reason = error.reason if isinstance(error, PictureError) else f"cannot be read: {error.strerror or error}"
        return dataclasses.replace(facts, error=reason), bytes(THUMBNAIL * THUMBNAIL)
    facts = dataclasses.replace(
        facts, width=found.width, height=found.height, format=found.format, mode=found.mode, low=low, high=high
    )
    return facts, _thumbnail(found.picture)


def _thumbnail(grey: Image.Image) -> bytes:
    size = (THUMBNAIL, THUMBNAIL)
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).tobytes()


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 32, 32) thumbnails -> (N,) hashes: the signs of the 64 lowest frequencies, without the mean.

    Without the mean, brightness does not matter; low frequencies change little when a picture is compressed, resized
    or slightly cropped.
    """
    steps = np.arange(THUMBNAIL)
    cosines = np.cos(np.pi / THUMBNAIL * np.outer(np.arange(9), steps + 0.5)).astype(np.float32)
    order = sorted(((u, v) for u in range(9) for v in range(9) if u + v), key=lambda uv: (max(uv), uv))[:64]
    rows, columns = np.array(order).T
    hashes = np.zeros(len(thumbnails), np.uint64)
    for start in range(0, len(thumbnails), 4096):
        block = thumbnails[start : start + 4096].astype(np.float32)
        spectrum = cosines @ block @ cosines.T
        bits = spectrum[:, rows, columns] > 0
        hashes[start : start + 4096] = np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0]
    return hashes


def choose_value_range(facts: Iterable[PictureFacts]) -> tuple[float, float] | None:
    """The range of values in a data set's pictures with more than 8 bits, for `Preprocessing.value_range`.

    It goes from 0 to the largest number with as many bits as the values have: (0, 4095) for 12 bits, whatever the file
    type. Floats between 0 and 1 give (0, 1); if there are negative values, the range is from the smallest to the
    largest. One picture in a hundred may exceed it, so a few broken pixels do not darken every picture. None if there
    are no such pictures, or if integers and floats need different ranges.
    """
    extremes: dict[bool, list[tuple[float, float]]] = {}
    for one in facts:
        if one.low is not None and one.high is not None:
            floats = one.mode.startswith("F") or one.mode.endswith("F")
            extremes.setdefault(floats, []).append((one.low, one.high))
    ranges = {_range_of(some) for some in extremes.values()}
    return ranges.pop() if len(ranges) == 1 else None


def _range_of(extremes: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    low = float(np.quantile([low for low, _ in extremes], 0.01, method="lower"))
    high = float(np.quantile([high for _, high in extremes], 0.99, method="higher"))
    if low < 0:
        return (low, high) if low < high else None
    if high <= 0:
        return None
    return 0.0, float(2 ** math.ceil(math.log2(high + 1)) - 1)


class _Cache:
    """Results of earlier scans, in a store below `folder`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, source: Source):
        self.source, self.root = source, source.root.resolve() if source.root else None
        kept = folder is not None and source.arrays is None
        self.store = Store("scans", folder, budget_bytes=BUDGET_BYTES) if kept else None

    def keys(self, indices: Iterable[int]) -> dict[int, str]:
        """What names the version of each picture's file; "" for a missing one."""
        names = ((index, self.source.pictures[index].name) for index in indices)
        if self.store is None:
            return {}
        if (shards := self.source.shards) is not None:
            return {index: f"{CACHE_VERSION} sha256 {shards.sha256(index, name)}" for index, name in names}
        assert self.root is not None
        return {index: _key(self.root / name) for index, name in names}

    def get(self, keys: dict[int, str]) -> dict[int, tuple[PictureFacts, bytes]]:
        """The earlier results, but not of broken pictures: a higher limit or a new package may make them readable."""
        looks = dict[int, tuple[PictureFacts, bytes]]()
        if self.store is None:
            return looks
        values = self.store.get_many(key for key in keys.values() if key)
        for index, key in keys.items():
            if (value := values.get(key)) is not None:
                facts = PictureFacts(*json.loads(value[THUMBNAIL * THUMBNAIL :]))
                if facts.error is None and facts.width * facts.height <= max_pixels():
                    looks[index] = facts, value[: THUMBNAIL * THUMBNAIL]
        return looks

    def put(self, looks: dict[str, tuple[PictureFacts, bytes]]) -> None:
        if self.store is not None and looks:
            self.store.put_many(
                {
                    key: pixels + json.dumps(dataclasses.astuple(facts)).encode()
                    for key, (facts, pixels) in looks.items()
                }
            )

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


def _key(path: Path) -> str:
    """Path, size and time, which identify a file's version; empty for a missing file."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    name = os.fsencode(path).decode("utf-8", "backslashreplace")  # SQLite takes no surrogates
    return f"{CACHE_VERSION} {stat.st_size} {stat.st_mtime_ns} {name}"
