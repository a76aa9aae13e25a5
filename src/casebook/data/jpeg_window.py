"""Decodes only a window of a JPEG.

OpenCV and Pillow decode whole pictures. The TurboJPEG API of libjpeg-turbo 3 can decode a window: it stops reading at
the window's lower edge, and skips everything but the entropy decoding above and beside the window. Casebook uses it
where that library is installed: from Homebrew, conda or the project's own packages, or inside the wheel of pylibjxl
(`pip install "casebook[turbo]"`), whose extension exports the same functions. Without the library, pictures are decoded
whole, which is slower but gives the same pixels; a check at load time makes sure of that. Progressive files are always
decoded whole: every scan has to be decoded anyway, and when scans are missing, pixels depend on distant ones.
"""

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = {"darwin": "libturbojpeg.dylib", "win32": "turbojpeg.dll"}  # elsewhere libturbojpeg.so.0
FOLDERS = (f"{sys.prefix}/lib", "/opt/homebrew/opt/jpeg-turbo/lib", "/usr/local/opt/jpeg-turbo/lib",
           "/opt/libjpeg-turbo/lib64")  # fmt: skip
# Constants of turbojpeg.h, version 3, which are stable.
DECOMPRESS, SUBSAMPLING, WIDTH, HEIGHT, COLOUR_SPACE = 1, 4, 5, 6, 8
PIXEL_FORMATS = {"RGB": 0, "L": 6}
COLOURS = (1, 2)  # YCbCr and grey, which every decoder converts to the same pixels
BLOCK_WIDTHS = (8, 16, 16, 8, 8, 32, 8)  # pixels of a minimum coded unit, by chroma subsampling
OPENCV_FLAGS = {  # (mode, scale) -> flags of cv2.imdecode: stored orientation, channels in RGB order
    ("RGB", 1): cv2.IMREAD_COLOR_RGB,
    ("RGB", 2): cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    ("RGB", 4): cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    ("RGB", 8): cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
    ("L", 1): cv2.IMREAD_GRAYSCALE,
    ("L", 2): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    ("L", 4): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    ("L", 8): cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
SAMPLINGS = (
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
)  # fmt: skip
MARGIN = 2  # pixels around the window: upsampling half-resolution chroma needs its neighbours


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "w", "h")]


class _Scale(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("num", "denom")]


SIGNATURES = {
    "tj3Init": (ctypes.c_void_p, [ctypes.c_int]),
    "tj3Destroy": (None, [ctypes.c_void_p]),
    "tj3Get": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "tj3DecompressHeader": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "tj3SetScalingFactor": (ctypes.c_int, [ctypes.c_void_p, _Scale]),
    "tj3SetCroppingRegion": (ctypes.c_int, [ctypes.c_void_p, _Region]),
    "tj3Decompress8": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
    ),
}


def can_decode_windows() -> bool:
    """Whether the library is installed."""
    return _library() is not None


def decode_window(
    content: bytes,
    *,
    mode: Literal["RGB", "L"],
    scale: int,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
) -> NDArray[np.uint8] | None:
    """(H, W, channels) uint8: a JPEG at 1/`scale` of its size, decoded inside `box` and undefined outside.

    `size` is the (width, height) of the result; `box` is (left, top, right, bottom). Returns None if the library is
    missing, fails or warns of damage, and if the box is empty or leaves the picture. The JPEG must not be progressive.
    """
    library = _library()
    return None if library is None else _window(library, content, mode, scale, size, box)


def _window(
    library: Any, content: bytes, mode: str, scale: int, size: tuple[int, int], box: tuple[int, int, int, int]
) -> NDArray[np.uint8] | None:
    if not (0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]):
        return None  # the library takes an empty region for the rest of the picture
    # A fresh handle for each picture costs a microsecond. A reused one would lend its tables to a next picture that
    # lacks them, and would be useless after a damaged header.
    handle = library.tj3Init(DECOMPRESS)
    try:
        return _with_handle(library, handle, content, mode, scale, size, box) if handle else None
    finally:
        library.tj3Destroy(handle)


def _with_handle(
    library: Any, handle: int, content: bytes, mode: str, scale: int, size: tuple[int, int], box: tuple[int, ...]
) -> NDArray[np.uint8] | None:
    width, height = size
    if library.tj3DecompressHeader(handle, content, len(content)):
        return None
    if (width, height) != tuple(-(-library.tj3Get(handle, side) // scale) for side in (WIDTH, HEIGHT)):
        return None
    subsampling = library.tj3Get(handle, SUBSAMPLING)
    if not 0 <= subsampling < len(BLOCK_WIDTHS) or library.tj3Get(handle, COLOUR_SPACE) not in COLOURS:
        return None
    block = max(1, BLOCK_WIDTHS[subsampling] // scale)
    left = max(0, box[0] - MARGIN) // block * block
    top, right, bottom = max(0, box[1] - MARGIN), min(width, box[2] + MARGIN), min(height, box[3] + MARGIN)
    if library.tj3SetScalingFactor(handle, _Scale(1, scale)):
        return None
    if library.tj3SetCroppingRegion(handle, _Region(left, top, right - left, bottom - top)):
        return None
    channels = 3 if mode == "RGB" else 1
    pixels = np.empty((height, width, channels), np.uint8)
    first = pixels.ctypes.data + (top * width + left) * channels
    failed = library.tj3Decompress8(handle, content, len(content), first, width * channels, PIXEL_FORMATS[mode])
    return None if failed else pixels


@functools.cache
def _library() -> Any:
    """The first library that has the functions and gives the same pixels as OpenCV; None if there is none."""
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            for function, (result, arguments) in SIGNATURES.items():
                getattr(library, function).restype = result
                getattr(library, function).argtypes = arguments
        except (OSError, AttributeError):  # missing, not loadable, or version 2
            continue
        if _agrees(library):
            return library
    return None


def _candidates() -> Iterator[str]:
    name = NAMES.get(sys.platform, "libturbojpeg.so.0")
    yield name
    yield from (str(path) for folder in FOLDERS if (path := Path(folder, name)).exists())
    # Found in its folder and not imported: only the C functions of this package are needed.
    found = importlib.util.find_spec("pylibjxl")
    for folder in (found.submodule_search_locations or ()) if found else ():
        yield from (str(path) for suffix in EXTENSION_SUFFIXES if (path := Path(folder, "_pylibjxl" + suffix)).exists())


def _agrees(library: Any) -> bool:
    """Whether windows have the same pixels as in OpenCV, which has its own copy of libjpeg-turbo."""
    place = np.arange(64)
    wave = 127.5 + 60 * np.sin(place / 3)[:, None] + 60 * np.cos(place / 2)
    colours = np.rint(np.stack([wave, wave.T, wave[::-1]], 2)).astype(np.uint8)
    for sampling in SAMPLINGS:
        content = cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])[1].tobytes()
        for (mode, scale), flags in OPENCV_FLAGS.items():
            whole: Any = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
            side = 64 // scale
            box = left, top, right, bottom = side // 3, side // 4, side // 3 + side // 2, side // 4 + side // 2
            part = _window(library, content, mode, scale, (side, side), box)
            expected = whole.reshape(side, side, -1)[top:bottom, left:right]
            if part is None or not np.array_equal(part[top:bottom, left:right], expected):
                return False
    return True
