"""The pixels that augmentation starts from, wherever they are kept.

They come from an array that holds all pictures, from a cache in memory, from prepared pictures on disk, or from the
decoder. Where they come from changes none of them.
"""

import dataclasses
import math
import mmap
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..augmentation.augment import reduced_size
from ..device import available_cores
from ..errors import DataError, PictureError
from ..preprocessing import Preprocessing
from .prepared import PreparedFile, StoredFormat, in_memory, picture_and_payload, stored_format
from .reduced import Box, decode_reduced, read_file
from .sources import Source

WHOLE_SIDE = 64  # pixels; pictures up to this side are preprocessed once and held in memory as one array


@dataclasses.dataclass(frozen=True)
class CropSettings:
    """How pictures are stored between epochs."""

    sizes: Sequence[tuple[int, int]] | None = None
    """(width, height) of every picture of the source, as scanned; required for policies that crop files."""
    format: StoredFormat | None = None
    """What crops are cut from; by default raw pictures whose shorter side is at most `preprocessing.decode_side`."""
    prepared: PreparedFile | None = None
    """Pictures in this format on disk."""
    memory_share: float = 0.25
    """The share of the free memory that may hold pictures."""


class PictureCache:
    """Decoded pictures in memory that forked worker processes share, with one slot for each picture.

    A slot is read only in epochs after the one that wrote it. The end of an epoch orders the processes, so no reader
    sees a half-written picture. Pictures beyond the budget have no slot: they are decoded each time.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], budget_bytes: int):
        sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
        self.shapes = list(shapes)
        self.ends = np.cumsum(sizes)
        self.num_slots = int(np.searchsorted(self.ends, budget_bytes, side="right"))
        size_bytes = int(self.ends[self.num_slots - 1]) if self.num_slots else 0
        size_bytes_in_all = max(1, size_bytes + self.num_slots * 8)
        self.memory = mmap.mmap(-1, size_bytes_in_all)  # shared, anonymous, zero
        self.written = np.frombuffer(self.memory, np.int64, self.num_slots)  # 1 + epoch of writing
        self.bytes = np.frombuffer(self.memory, np.uint8, size_bytes, offset=self.num_slots * 8)

    def _slot(self, place: int) -> NDArray[np.uint8]:
        start = int(self.ends[place - 1]) if place else 0
        return self.bytes[start : int(self.ends[place])].reshape(self.shapes[place])

    def has_slot(self, place: int) -> bool:
        return place < self.num_slots

    def get(self, place: int, epoch: int) -> NDArray[np.uint8] | None:
        if self.has_slot(place) and 0 < self.written[place] <= epoch:
            return self._slot(place)
        return None

    def put(self, place: int, epoch: int, picture: NDArray[np.uint8]) -> None:
        if self.has_slot(place) and not self.written[place] and picture.shape == self.shapes[place]:
            self._slot(place)[:] = picture
            self.written[place] = epoch + 1


class CropSource:
    """Reads pictures of a source by their place in `indices`, ready for augmentation.

    `crops` says what is read: the picture as taken, reduced to a bounded size, from which a policy cuts its crops; or
    otherwise the picture preprocessed as for evaluation.
    """

    def __init__(
        self,
        source: Source,
        indices: NDArray[np.int64],
        preprocessing: Preprocessing,
        settings: CropSettings,
        *,
        crops: bool,
        budget_bytes: int,
        shared: bool,
    ):
        """`budget_bytes` of memory may hold pictures; `shared` says that worker processes do the reading."""
        self.source, self.indices, self.preprocessing, self.crops = source, indices, preprocessing, crops
        self.format = settings.format or stored_format(preprocessing)
        self.prepared = settings.prepared if crops else None
        self.whole: NDArray[np.uint8] | None = None
        self.bad: dict[int, str] = {}  # places that `whole` lacks, with the reason
        self.cache: PictureCache | None = None
        size, channels = preprocessing.size, preprocessing.channels
        self.sizes = np.full((len(indices), 2), size)
        if crops:
            self.sizes = _reduced_sizes(source, indices, settings.sizes, self.format.side)
        # Only forked workers can share a cache with each other.
        may_cache = budget_bytes > 0 and (not shared or multiprocessing.get_start_method() == "fork")
        if not crops and size <= WHOLE_SIDE and len(indices) * size * size * channels <= budget_bytes:
            self._read_all()
        elif may_cache and not (self.prepared and self.format.format == "raw"):
            self.cache = PictureCache(
                [(height, width, channels) for width, height in self.sizes.tolist()], budget_bytes
            )

    def __len__(self) -> int:
        return len(self.indices)

    def _read_all(self) -> None:
        """Fills `whole` with every picture."""
        size, channels = self.preprocessing.size, self.preprocessing.channels
        whole = self.whole = np.zeros((len(self), size, size, channels), np.uint8)

        def read(place: int) -> None:
            try:
                whole[place] = self._preprocessed(place)
            except PictureError as error:
                self.bad[place] = error.reason

        with ThreadPoolExecutor(available_cores()) as pool:  # Pillow releases the interpreter's lock while it decodes
            for _ in pool.map(read, range(len(self)), chunksize=256):
                pass

    def read(self, place: int, epoch: int, window: Box | None = None) -> NDArray[np.uint8]:
        """(H, W, channels) uint8 of one picture, of its size in `sizes`. Pixels outside `window` may be anything.

        Raises PictureError.
        """
        if self.cache is not None and (picture := self.cache.get(place, epoch)) is not None:
            return picture
        stored = self.cache is not None and self.cache.has_slot(place)
        picture = self._reduced(place, None if stored else window) if self.crops else self._preprocessed(place)
        if self.cache is not None:
            self.cache.put(place, epoch, picture)
        return picture

    def _preprocessed(self, place: int) -> NDArray[np.uint8]:
        picture = self.source.open(int(self.indices[place]), **self.preprocessing.decode_options)
        return self.preprocessing.pixels(picture)

    def _reduced(self, place: int, window: Box | None) -> NDArray[np.uint8]:
        index = int(self.indices[place])
        if self.prepared is not None and (picture := self.prepared.get(index)) is not None:
            return picture
        name, format = self.source.pictures[index].name, self.format
        if self.source.arrays is not None:
            return in_memory(self.source, index, format)
        width, height = self.sizes[place].tolist()
        if not width:
            raise PictureError(name, "could not be read when the data were scanned")
        path, payload = self.source.path(index), None
        content = self.source.content(index) if path is None else read_file(path, name=name)
        if self.prepared is None and format.format == "raw":
            picture = decode_reduced(content, name=name, window=window, **format.decode_options)
        else:
            picture, payload = picture_and_payload(content, name, format)
        if picture.shape[:2] != (height, width):
            now = f"{picture.shape[1]} x {picture.shape[0]} pixels when reduced, not {width} x {height}"
            raise PictureError(name, f"has changed since the data were scanned: it has {now}")
        if self.prepared is not None and payload is not None:
            self.prepared.put(index, payload, content)
        return picture


def _reduced_sizes(
    source: Source, indices: NDArray[np.int64], sizes: Sequence[tuple[int, int]] | None, side: int
) -> NDArray[np.int64]:
    """(N, 2) width and height of the pictures that crops are cut from; 0 x 0 for those that could not be scanned."""
    if source.arrays is not None:
        size = (source.arrays.shape[2], source.arrays.shape[1])
        return np.tile(np.array(reduced_size(size, side), np.int64), (len(indices), 1))
    if sizes is None:
        raise DataError(
            f"{source.name}: crops are cut from the pictures as taken, so their sizes must be known; "
            "scan the source and pass CropSettings(sizes=[(facts.width, facts.height) for facts in scan(source).facts])"
        )
    return np.array([reduced_size(sizes[index], side) for index in indices], np.int64).reshape(-1, 2)
