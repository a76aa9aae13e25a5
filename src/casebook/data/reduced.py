"""Decodes a picture file to an array of bounded size, which training cuts its crops from.

OpenCV decodes ordinary JPEGs, with the same libjpeg-turbo as Pillow but without copying the pixels twice. With
libjpeg-turbo 3, only the window that a crop needs is decoded. Pillow decodes everything else.
"""

import struct
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..augmentation.augment import reduced_size, resized
from ..errors import PictureError
from .decode import SIDEWAYS, check_size, decode, reason_of, stored_turn
from .jpeg_window import OPENCV_FLAGS, decode_window
from .stderr import caught

JPEG_SCALES = (8, 4, 2, 1)  # a JPEG can be decoded at 1/8, 1/4, 1/2 of its size at less cost
JPEG_END = b"\xff\xd9"
PROGRESSIVE = 0xC2
JPEG_FRAMES = (0xC0, 0xC1, PROGRESSIVE)  # baseline, extended and progressive, with Huffman codes
OPENCV_TURNS = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda pixels: cv2.flip(pixels, 1),
    Image.Transpose.ROTATE_180: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda pixels: cv2.flip(pixels, 0),
    Image.Transpose.TRANSPOSE: cv2.transpose,
    Image.Transpose.ROTATE_270: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    Image.Transpose.TRANSVERSE: lambda pixels: cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180)),
    Image.Transpose.ROTATE_90: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}

Mode = Literal["RGB", "L"]
Range = tuple[float, float] | None
Box = tuple[int, int, int, int]  # left, top, right, bottom


def read_file(path: Path, *, name: str) -> bytes:
    """The content of a picture's file. Raises PictureError."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the time of Path.read_bytes
            return file.readall()
    except OSError as error:
        raise PictureError(name, reason_of(path, name, error)) from error


def decode_reduced(
    content: bytes, *, name: str, mode: Mode, side: int, value_range: Range = None, window: Box | None = None
) -> NDArray[np.uint8]:
    """(H, W, channels) uint8: the upright picture, its shorter side reduced to `side`.

    Apart from `window`, the pixels depend only on the content. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as
    long as `side` pixels remain. If Pillow and OpenCV contain the same libjpeg-turbo, both give the same pixels;
    otherwise they differ by a few levels. In mode "L" a coloured JPEG gives its stored luma; Pillow computes grey from
    the colours, which differs by at most 1 on average, and by more where a colour is saturated.

    `value_range` is as in `Preprocessing`. With `window`, only the pixels inside this box of the result are valid, and
    damage below it goes unnoticed. Where a window cannot be decoded separately, all pixels are valid.

    Raises PictureError.
    """
    pixels = size = None
    try:
        header = _jpeg_header(content)
        # Some versions of OpenCV fill the missing part of a cut-off file with grey and say nothing.
        if header is not None and content.endswith(JPEG_END):
            check_size((header.width, header.height), name)
            turn = stored_turn(content) if header.may_be_turned else None
            size = (header.height, header.width) if turn in SIDEWAYS else (header.width, header.height)
            if window is not None and turn is None and not header.progressive:
                pixels = _window(content, mode, side, size, window)
            if pixels is None:
                with caught(name):
                    pixels = _by_opencv(content, mode, side, header, turn)
    except PictureError:
        raise
    except Exception:  # Pillow decodes it or names the error
        pixels = None
    if pixels is None or size is None:
        found = decode(content, name=name, mode=mode, min_side=side, value_range=value_range)
        pixels, size = np.asarray(found.picture, np.uint8), (found.width, found.height)
    return resized(pixels, reduced_size(size, side))


class _JpegHeader(NamedTuple):
    width: int
    height: int
    progressive: bool
    may_be_turned: bool  # it has EXIF or XMP data, which may hold an orientation


def _by_opencv(
    content: bytes, mode: Mode, side: int, header: _JpegHeader, turn: Image.Transpose | None
) -> NDArray[np.uint8] | None:
    """The upright pixels at the smallest scale that keeps `side` pixels; None if OpenCV fails."""
    scale = _jpeg_scale((header.width, header.height), side)
    flags = OPENCV_FLAGS[mode, scale] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None or pixels.shape[:2] != (-(-header.height // scale), -(-header.width // scale)):
        return None
    return pixels if turn is None else OPENCV_TURNS[turn](pixels)


def _window(content: bytes, mode: Mode, side: int, stored: tuple[int, int], window: Box) -> NDArray[np.uint8] | None:
    """The pixels at the same scale, decoded only where the window needs them; None if impossible."""
    scale, size = _jpeg_scale(stored, side), reduced_size(stored, side)
    decoded = -(-stored[0] // scale), -(-stored[1] // scale)
    left, top, right, bottom = window
    if decoded != size:  # interpolation reads one more pixel on every side
        across, down = decoded[0] / size[0], decoded[1] / size[1]
        left, top = max(0, int(left * across) - 1), max(0, int(top * down) - 1)
        right, bottom = min(decoded[0], int(right * across) + 2), min(decoded[1], int(bottom * down) + 2)
    return decode_window(content, mode=mode, scale=scale, size=decoded, box=(left, top, right, bottom))


def _jpeg_scale(size: tuple[int, int], side: int) -> int:
    return next((scale for scale in JPEG_SCALES if min(size) // scale >= side), 1)


def _jpeg_header(content: bytes) -> _JpegHeader | None:
    """The header of a JPEG with 8-bit grey or three-component pixels; None for any other file.

    Reads markers up to the frame's (ITU-T T.81, annex B). Asking Pillow would cost as much as 5 % of the decoding.
    """
    place, end, may_be_turned = 2, len(content), False
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    while place + 10 < end:
        marker = content[place + 1]
        if content[place] != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xDA:
            return None
        if marker in JPEG_FRAMES:
            precision, components = content[place + 4], content[place + 9]
            height, width = struct.unpack_from(">HH", content, place + 5)
            ordinary = precision == 8 and components in (1, 3) and width and height
            return _JpegHeader(width, height, marker == PROGRESSIVE, may_be_turned) if ordinary else None
        may_be_turned |= marker == 0xE1
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None
