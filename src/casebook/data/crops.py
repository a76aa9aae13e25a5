"""`CropSource`: the pixels of a picture that crops are cut from, or that evaluation sees, wherever they are kept.

A picture comes from an array that holds all of them, from a cache in memory, from prepared pictures on disk, or from
its decoder. Where it comes from changes no pixel.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import PictureError
from ..preprocessing import Preprocessing
from .cache import PictureCache
from .decode import Part, decode_part, read_file, reduced_size
from .jpeg_window import can_decode_windows
from .prepared import PreparedFile, StoredFormat, in_memory, picture_and_payload
from .sources import Source

WHOLE_SIDE = 64  # pictures up to this side are preprocessed once and held in memory as one array


@dataclasses.dataclass(frozen=True)
class CropSettings:
    """Where pictures are kept between epochs, and in what format.

    `sizes` are the (width, height) of all the source's pictures. `format` is what crops are cut from: by default the
    pictures with their shorter side brought down to twice the size at which evaluation cuts its crop. `prepared` holds
    pictures in that format; it changes no pixel. `memory_share` of the free memory may be used.
    """

    sizes: Sequence[tuple[int, int]] | None = None
    format: StoredFormat | None = None
    prepared: PreparedFile | None = None
    memory_share: float = 0.25


class CropSource:
    """The pixels of some of a source's pictures before augmentation, by their place in `indices`.

    With `cuts_crops`, crops are cut from the pictures as they were taken, reduced to a bounded size; otherwise the
    pictures are preprocessed as for evaluation.
    """

    def __init__(
        self,
        source: Source,
        indices: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        cuts_crops: bool,
        settings: CropSettings,
        budget_bytes: int,
        may_cache: bool,
    ):
        self.source, self.indices, self.preprocessing, self.cuts_crops = source, indices, preprocessing, cuts_crops
        self.whole: NDArray[np.uint8] | None = None
        self.bad: dict[int, str] = {}
        self.cache: PictureCache | None = None
        self.format = settings.format or StoredFormat(
            preprocessing.decode_side, preprocessing.mode, value_range=preprocessing.value_range
        )
        self.prepared = settings.prepared if cuts_crops else None
        reduced_sizes: NDArray[np.int64] | None = None
        if cuts_crops and settings.sizes is not None:
            reduced_sizes = np.array([reduced_size(settings.sizes[i], self.format.side) for i in indices], np.int64)
        # The sizes of uncached pictures, for which only the crop is decoded.
        may_decode_parts = reduced_sizes is not None and self.prepared is None and self.format.format == "raw"
        self.part_sizes = reduced_sizes if may_decode_parts and can_decode_windows() else None
        size, channels = preprocessing.size, preprocessing.channels
        total_bytes = len(indices) * size * size * channels
        if not cuts_crops and size <= WHOLE_SIDE and total_bytes <= budget_bytes:
            self.whole = np.zeros((len(indices), size, size, channels), np.uint8)
        elif may_cache and not cuts_crops:
            self.cache = PictureCache([(size, size, channels)] * len(indices), budget_bytes)
        elif may_cache and reduced_sizes is not None and not (self.prepared and self.format.format == "raw"):
            shapes = [(height, width, channels) for width, height in reduced_sizes.tolist()]
            self.cache = PictureCache(shapes, budget_bytes)

    def __len__(self) -> int:
        return len(self.indices)

    def read_all(self, workers: int) -> None:
        """Fills `whole`: small pictures are read once and stay in memory."""
        whole = self.whole
        assert whole is not None

        def read(place: int) -> None:
            try:
                whole[place] = self._preprocessed(place)
            except PictureError as error:
                self.bad[place] = error.reason

        with ThreadPoolExecutor(max(1, workers)) as pool:  # Pillow frees the interpreter while it decodes
            for _ in pool.map(read, range(len(self.indices)), chunksize=256):
                pass

    def _open(self, place: int) -> Image.Image:
        return self.source.open(int(self.indices[place]), **self.preprocessing.decode_options)

    def _preprocessed(self, place: int) -> NDArray[np.uint8]:
        return self.preprocessing.pixels(self._open(place))

    def read(self, place: int, epoch: int, part: Part | None = None) -> NDArray[np.uint8]:
        """(H, W, channels) uint8 of one picture. Pixels outside `part` may be anything. Raises PictureError."""
        keep = self.cache is not None and self.cache.has_slot(place)
        picture = self.cache.get(place, epoch) if self.cache is not None and keep else None
        if picture is None:
            if self.cuts_crops:
                picture = self._reduced(int(self.indices[place]), None if keep else part)
            else:
                picture = self._preprocessed(place)
            if self.cache is not None and keep:
                self.cache.put(place, epoch, picture)
        return picture

    def _reduced(self, index: int, part: Part | None) -> NDArray[np.uint8]:
        """What crops are cut from: the same pixels whether they are prepared already or not."""
        if self.prepared is not None and (picture := self.prepared.get(index)) is not None:
            return picture
        path, name = self.source.path(index), self.source.pictures[index].name
        if path is None:
            return in_memory(self.source, index, self.format)
        content = read_file(path, name=name)
        options = {"mode": self.format.mode, "side": self.format.side, "value_range": self.format.value_range}
        if part is not None:
            return decode_part(content, name=name, part=part, **options)
        picture, payload = picture_and_payload(content, name, self.format)
        if self.prepared is not None and picture.shape == self.prepared.layout.shapes[index]:
            self.prepared.put(index, payload, content)
        return picture
