"""The pictures of a report: each encoded once, up to a number and a size."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

from PIL import Image

from ..data.pictures import Source
from ..errors import CasebookError

MOST_PICTURES = 1500
MOST_PICTURE_BYTES = 3_000_000  # as base64, in the whole report
THUMBNAIL_SIDE = 144
SMALL_SIDE = 64  # pictures of at most this side are shown with visible pixels

Thumbnails = Callable[[int], Image.Image | None]


class Thumbnail(NamedTuple):
    """A data URI, "" when there is no picture, and whether the picture is tiny."""

    uri: str
    small: bool


class Album:
    """The pictures that a report has taken so far."""

    def __init__(self, thumbnails: Thumbnails):
        self._thumbnails = thumbnails
        self._taken: dict[int, Thumbnail] = {}
        self.num_bytes = 0

    @property
    def full(self) -> bool:
        return len(self._taken) >= MOST_PICTURES or self.num_bytes >= MOST_PICTURE_BYTES

    def add(self, row: int) -> None:
        """Takes the picture of a row, unless it has it or is full."""
        if row in self._taken or self.full:
            return
        try:
            picture = self._thumbnails(row)
        except (CasebookError, OSError):
            picture = None  # the picture has vanished since the network saw it; its row still counts
        taken = Thumbnail("", False) if picture is None else encode_thumbnail(picture)
        self._taken[row] = taken
        self.num_bytes += len(taken.uri)

    def __contains__(self, row: int) -> bool:
        return row in self._taken

    def thumbnail(self, row: int) -> Thumbnail:
        """The picture of a row; an empty one when the album has none."""
        return self._taken.get(row, Thumbnail("", False))


def encode_thumbnail(picture: Image.Image) -> Thumbnail:
    """A JPEG of at most THUMBNAIL_SIDE on its longer side."""
    small = max(picture.size) <= SMALL_SIDE
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    if not small:
        picture = picture.copy()
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90 if small else 72, optimize=True)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), small)


def source_thumbnails(
    source: Source, names: Sequence[str], value_range: tuple[float, float] | None = None
) -> Thumbnails:
    """Opens pictures of a source by the rows of `names`, the names of predictions; None for a name it does not have.

    `value_range` is that of the network's preprocessing.
    """
    places = {picture.name: place for place, picture in enumerate(source.pictures)}

    def thumbnail(row: int) -> Image.Image | None:
        place = places.get(names[row])
        return None if place is None else source.open(place, min_side=256, value_range=value_range)

    return thumbnail
