"""Small pictures for the grid, made when they are asked for and kept in one file, keyed by the picture's content."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from ..data.decode import open_picture
from ..data.sources import Source
from ..device import available_cores
from ..errors import PictureError
from ..store import Store

SIDES = (64, 128, 256, 1024)
QUALITY = 82
KEPT_BYTES = 2 * 2**30


class Thumbnails:
    """The decoders are few, so that a training beside them keeps its cores."""

    def __init__(self, state: Path):
        self._store = Store("thumbnails", state, budget_bytes=KEPT_BYTES)
        self.pool = ThreadPoolExecutor(min(2, available_cores()), "thumbnail")

    @property
    def is_full(self) -> bool:
        """Whether the disk keeps no more of them."""
        return bool(self._store.trouble)

    def get(self, source: Source, row: int, side: int) -> bytes:
        """A JPEG whose longer side has at most `side` pixels; in a thread of the pool. Raises PictureError."""
        key = f"{_content(source, row)} {side}"
        known = self._store.get(key)
        if known is None:
            known = _small(source.open(row, min_side=side), side)
            self._store.put(key, known)
        return known

    def of_upload(self, path: Path, side: int) -> bytes:
        """The same of a picture that a page sent, which is named by its content."""
        key = f"{path.name} {side}"
        known = self._store.get(key)
        if known is None:
            known = _small(open_picture(path, name="the picture", min_side=side), side)
            self._store.put(key, known)
        return known

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        self._store.close()


def _content(source: Source, row: int) -> str:
    path = source.path(row)
    if source.shards is not None:
        return source.shards.sha256(row, source.pictures[row].name)
    if path is None:
        assert source.arrays is not None
        return hashlib.sha256(source.arrays[row].tobytes()).hexdigest()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > 2**28:
                raise PictureError(source.pictures[row].name, "the file is larger than 256 MiB")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PictureError(source.pictures[row].name, error.strerror or "cannot be read") from error


def _small(picture: Image.Image, side: int) -> bytes:
    picture.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
