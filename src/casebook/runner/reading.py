"""What a user names as pictures -> their pixels as a network sees them, read ahead in threads."""

import glob
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.decode import open_picture
from ..data.walk import SPECIAL, pictures_below
from ..device import available_cores
from ..errors import DataError, PictureError
from ..preprocessing import Preprocessing

READ_AHEAD = 4  # pictures for each thread that reads

Given = TypeVar("Given")
Made = TypeVar("Made")


class NamedPicture(NamedTuple):
    """A picture as the user gave it: a file, an open image, a function that gets its bytes, or why it is none."""

    name: str
    image: Image.Image | None = None
    error: str = ""
    get: Callable[[], bytes] | None = None


Picture = str | Path | Image.Image | NamedPicture
Pictures = Picture | Iterable[Picture]


class Reading(NamedTuple):
    """(size, size, channels) uint8 of a picture, or the reason why there is none."""

    name: str
    pixels: NDArray[np.uint8] | None
    error: str = ""


def named_pictures(pictures: Pictures) -> Iterator[NamedPicture]:
    """Each picture that the given files, folders (with everything below), glob patterns and images name.

    Raises DataError for something that is none of these.
    """
    given = [pictures] if isinstance(pictures, str | Path | Image.Image | NamedPicture) else pictures
    for number, one in enumerate(given):
        if isinstance(one, NamedPicture):
            yield one
            continue
        if isinstance(one, Image.Image):
            yield NamedPicture(getattr(one, "filename", "") or f"picture {number}", one)
            continue
        if not isinstance(one, str | Path):
            raise DataError(f"a picture is {type(one).__name__}, expected a file, a folder, a pattern or a PIL image")
        try:
            yield from _below(one)
        except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown ~user, a zero byte
            yield NamedPicture(str(one), error=f"is no usable name: {error}")


def _below(given: str | Path) -> Iterator[NamedPicture]:
    path = Path(given).expanduser()
    if given == "":  # as a path, it would be the current folder
        yield NamedPicture("", error="an empty name")
    elif path.is_dir():
        below = pictures_below(path)
        yield from (NamedPicture(str(picture)) for picture in below)
        if not below:
            yield NamedPicture(str(given), error="the folder holds no pictures")
    elif path.is_file():
        yield NamedPicture(str(path))
    elif path.exists():  # opening a FIFO waits for a writer that may never come, and a device may never end
        yield NamedPicture(str(given), error=f"is a {SPECIAL}, expected a file")
    elif glob.has_magic(str(given)):
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - patterns may be absolute
        yield from named_pictures(found)
        if not found:
            yield NamedPicture(str(given), error="no file fits the pattern")
    else:
        yield NamedPicture(str(given), error="no such file")


def read(picture: NamedPicture, preprocessing: Preprocessing) -> Reading:
    """The pixels of one picture as the network sees it."""
    if picture.error:
        return Reading(picture.name, None, picture.error)
    try:
        if picture.image is not None:
            return Reading(picture.name, preprocessing.pixels(_upright(picture.image, picture.name, preprocessing)))
        file = picture.get() if picture.get else Path(picture.name)
        opened = open_picture(file, name=picture.name, **preprocessing.decode_options)
        return Reading(picture.name, preprocessing.pixels(opened))
    except PictureError as error:
        return Reading(picture.name, None, error.reason)


def _upright(image: Image.Image, name: str, preprocessing: Preprocessing) -> Image.Image:
    """An image that is in memory, as decoding its file would give it."""
    from PIL import ImageOps

    try:
        image.load()
        return ImageOps.exif_transpose(image).convert(preprocessing.mode)
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(name, f"is cut off or damaged ({error})") from error


def read_ahead(pictures: Iterable[NamedPicture], preprocessing: Preprocessing) -> Iterator[Reading]:
    """The readings of the pictures in order, made by a thread for each core."""
    return ahead(lambda picture: read(picture, preprocessing), pictures)


def ahead(make: Callable[[Given], Made], given: Iterable[Given], threads: int = 0) -> Iterator[Made]:
    """`make(one)` for each of the given, in order, while the next ones are being made by `threads` (0: the cores).

    Threads and not processes: Pillow frees the interpreter while it decodes and resizes.
    """
    threads = threads or available_cores()
    left = iter(given)
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Any] = [pool.submit(make, one) for one in itertools.islice(left, READ_AHEAD * threads)]
        try:
            while waiting:
                done = waiting.pop(0).result()
                waiting += [pool.submit(make, one) for one in itertools.islice(left, 1)]
                yield done
        finally:
            for future in waiting:
                future.cancel()
