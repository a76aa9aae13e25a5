"""A file of any picture format -> an upright RGB or grey picture, or a PictureError with the reason.

Checks of data, training, evaluation and prediction all decode here, so they agree on what can be read. The size is
checked before anything is decoded. The camera's orientation is applied, transparency is laid on white, an animation
gives its first frame, and values of more than 8 bits are scaled instead of clipped. Colour profiles are not applied.

Pillow opens the files. OpenCV, imported when one comes, reads TIFF files that Pillow does not know: of floats, or of
integers of 64 bits, in unusual combinations. HEIC files need the package pillow-heif.

Evaluation, prediction and export call `open_picture`. Training cuts its crops from what `reduced.decode_reduced` gives.
"""

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from ..errors import CasebookError, DataError, PictureError
from .stderr import caught

MAX_ASPECT = 100  # resizing the shorter side would make a picture of a few bytes enormous
MAX_MEGAPIXELS = 50  # a 20 KB PNG can decode to 800 MB: refused by its header
MEGAPIXELS_VARIABLE = "CASEBOOK_MAX_MEGAPIXELS"  # sets another limit, also for worker processes, which inherit it
NOT_PIXELS = {"EPS", "WMF", "FPX", "MIC"}  # for the first, Pillow would run Ghostscript
TIFF_STARTS = (b"II*\0", b"MM\0*")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
SIGNATURES = {  # the first bytes of a file -> Pillow's name of its format
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"8BPS": "PSD",
}  # fmt: skip
# Words of Pillow's errors about files that are whole.
UNSUPPORTED = ("unsupported", "not supported", "not available", "not implemented", "unknown")
UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_COLOUR = {f"{mode};16{order}" for mode in ("RGB", "RGBX", "RGBA", "LA") for order in "BLN"}
SIDEWAYS = {UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}


class Decoded(NamedTuple):
    """A picture with what its file said about it."""

    picture: Image.Image  # upright, in the mode asked for
    format: str  # "JPEG", "PNG", ...
    mode: str  # Pillow's mode as stored: "RGB", "CMYK", "I;16", ...
    width: int  # upright and before any scaled decoding
    height: int
    extremes: tuple[float, float] | None  # the least and the greatest value of a picture of more than 8 bits


def open_picture(
    source: Path | bytes | BinaryIO,
    *,
    name: str,
    mode: Literal["RGB", "L"] = "RGB",
    min_side: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Image.Image:
    """An upright 8-bit picture in `mode`.

    With `min_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps at
    least that many pixels. `value_range` says which values of a picture of more than 8 bits become 0 and 255; without
    it, the file's type decides. Raises PictureError(name, reason) for what is not a whole, readable picture.
    """
    return decode(source, name=name, mode=mode, min_side=min_side, value_range=value_range).picture


def decode(
    source: Path | bytes | BinaryIO,
    *,
    name: str,
    mode: Literal["RGB", "L"] = "RGB",
    min_side: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Decoded:
    """As `open_picture`, with the stored format, mode, size and values."""
    try:
        with _quiet(), caught(name):
            unusual = _unusual_tiff(source, name)
        if unusual is not None:
            picture = _scaled_picture(unusual[0], value_range).convert(mode)
            return Decoded(picture, "TIFF", unusual[1], *picture.size, _extremes(unusual[0]))
        with _quiet(), _opened(source) as image:
            check_size(image.size, name)
            if image.format in NOT_PIXELS:
                raise PictureError(name, f"is a {image.format} file, which holds no pixels; convert it to PNG or JPEG")
            stored_mode, size, raw_mode = image.mode, image.size, _raw_mode(image)
            scaled = min_side is not None and image.draft(None, (min_side, min_side)) is not None
            image.load()
            check_size(image.size, name)  # icon files say the true size only now
            width, height = size if scaled else image.size
            with caught(name):
                values = _deep_values(image, raw_mode, source)
            picture = _eight_bit(image, mode) if values is None else _scaled_picture(values, value_range).convert(mode)
            if (turn := _turn(image)) is not None:
                picture = picture.transpose(turn)
                if turn in SIDEWAYS:
                    width, height = height, width
            extremes = None if values is None else _extremes(values)
            return Decoded(picture, image.format or "", stored_mode, width, height, extremes)
    except CasebookError:
        raise
    except Exception as error:  # for damage, decoders raise OSError, ValueError, SyntaxError, struct.error...
        raise PictureError(name, reason_of(source, name, error)) from error


def _opened(source: Path | bytes | BinaryIO) -> Image.Image:
    """The picture with its header read. Raises what Pillow raises, and ImportError for HEIC without its package."""
    start = _start(source)
    if start[4:8] != b"ftyp" or not any(brand in start[8:] for brand in HEIF_BRANDS):  # AVIF has other brands
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    from pillow_heif.as_plugin import HeifImageFile  # type: ignore[import-not-found]

    return HeifImageFile(io.BytesIO(_content(source)))


def _start(source: Path | bytes | BinaryIO) -> bytes:
    """The first bytes of the file."""
    if isinstance(source, bytes):
        return source[:64]
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(64)
    source.seek(0)
    start = source.read(64)
    source.seek(0)
    return start


def _unusual_tiff(source: Path | bytes | BinaryIO, name: str) -> tuple[NDArray[Any], str] | None:
    """The values of a TIFF of 64 bits, or of colours of 32 bits, with its mode; None for what Pillow can read.

    (H, W) or (H, W, 3). The mode is written like Pillow's: "F;64", "I;64", "RGB;32F", ...
    """
    if not _start(source).startswith(TIFF_STARTS):
        return None
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(_content(source)) as file:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
    bits, kinds = (found if isinstance(found := tags.get(tag, 1), tuple) else (found,) for tag in (258, 339))
    if (len(bits), max(bits)) not in ((1, 64), (3, 32), (3, 64)):
        return None
    check_size((int(tags[256]), int(tags[257])), name)
    values = _by_opencv(source, name)
    if values is None or values.dtype.itemsize * 8 != max(bits) or values.shape[2:] != ((3,) if len(bits) == 3 else ()):
        return None
    kind = "F" if kinds[0] == 3 else "I"
    if len(bits) == 1:
        return values, f"{kind};{max(bits)}"
    return np.ascontiguousarray(values[..., ::-1]), f"RGB;{max(bits)}{kind}"


def max_pixels() -> int:
    """The largest number of pixels that is decoded: MAX_MEGAPIXELS, or what the environment sets instead."""
    given = os.environ.get(MEGAPIXELS_VARIABLE, "")
    if not given:
        return MAX_MEGAPIXELS * 10**6
    try:
        limit = round(float(given) * 10**6)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise DataError(f"{MEGAPIXELS_VARIABLE} is {given!r}, expected a number of megapixels above 0, such as 200")
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit  # Pillow has a limit of its own, which was raised on purpose
    return limit


def _limit() -> str:
    return f"more than the limit of {max_pixels() / 1e6:g}; {MEGAPIXELS_VARIABLE} in the environment sets another limit"


def check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if (pixels := width * height) > max_pixels():
        text = f"{width} x {height} = {pixels / 1e6:.0f} megapixels"
        raise PictureError(name, f"has {text}, {_limit()}")
    if max(size) > MAX_ASPECT * min(size):
        raise PictureError(
            name, f"is {width} x {height} pixels, more than {MAX_ASPECT} times as long as wide; cut it up"
        )


def reason_of(source: Path | bytes | BinaryIO, name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.filename is not None:  # of opening, not of decoding
        return f"cannot be read: {error.strerror}"
    if isinstance(error, Image.DecompressionBombError):
        return f"has far more megapixels than the limit of {max_pixels() / 1e6:g}"
    try:
        empty = not (source if isinstance(source, bytes) else _size(source))
        start = b"" if empty else _start(source)
    except OSError:
        empty, start = False, b""
    if empty:
        return "is empty (0 bytes)"
    if isinstance(error, ImportError):
        return "is a HEIC file; install pillow-heif to read it (pip install 'casebook[heif]'), or convert it to JPEG"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "is a JPEG XL file, which is not supported; convert it to JPEG or PNG"
    text = str(error)
    format = next((SIGNATURES[known] for known in SIGNATURES if start.startswith(known)), "")
    if isinstance(error, Image.UnidentifiedImageError):
        if not format:
            return "is not a picture of a known format, whatever its name says"
        text = _why_unidentified(source, format)
    if any(word in text.lower() for word in UNSUPPORTED):
        kind = f"a {format} file" if format else "a file"
        return f"is {kind} of a kind that is not supported ({text}); convert it to PNG"
    return f"is cut off or damaged ({text or type(error).__name__})"


def _why_unidentified(source: Path | bytes | BinaryIO, format: str) -> str:
    """What Pillow's reader of this format says of the file; `Image.open` does not pass it on."""
    try:
        with _quiet():
            Image.OPEN[format][0](io.BytesIO(_content(source)), "")
    except Exception as error:
        return str(error)
    return ""


def _size(source: Path | BinaryIO) -> int:
    return source.stat().st_size if isinstance(source, Path) else source.seek(0, io.SEEK_END)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the picture upright; Pillow itself turns TIFF and AVIF, and then shows no orientation."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata is no reason to lose a whole picture
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def stored_turn(content: bytes) -> Image.Transpose | None:
    """What makes a JPEG upright. Raises what Pillow raises for one that it cannot open."""
    with _quiet(), Image.open(io.BytesIO(content)) as image:
        return _turn(image)


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, such as "RGB;16B"; Pillow forgets it when it loads the pixels."""
    tiles = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    stored = args[0] if isinstance(args, tuple) and args else args
    return stored if isinstance(stored, str) else ""


def _deep_values(image: Image.Image, raw_mode: str, source: Path | bytes | BinaryIO) -> NDArray[Any] | None:
    """The values of a loaded picture of more than 8 bits, (H, W) or (H, W, 3 or 4); None for any other."""
    if image.mode[0] in "IF":  # "I", "I;16", "I;16B", "F"
        values = np.asarray(image)
        if image.format == "PPM":  # Pillow scales values of more than 8 bits to 16 bits, whatever their greatest one
            return values.astype(np.uint16)
        # Pillow reads unsigned 32-bit values as signed.
        return values.view(np.uint32) if raw_mode.startswith("I;32") and not raw_mode.endswith("S") else values
    return _deep_colours(image, source) if raw_mode in DEEP_COLOUR else None


def _deep_colours(image: Image.Image, source: Path | bytes | BinaryIO) -> NDArray[Any]:
    """The values of a loaded picture of 16 bits a colour, (H, W, 3) or (H, W, 4).

    Pillow keeps the upper byte of each value. Told that the bytes come in the other order, it keeps the lower one.
    """
    with _opened(source) as other:
        tiles: Any = other.tile  # type: ignore[attr-defined]
        grey = _raw_mode(other) == "LA;16B"
        other.tile = [tile._replace(args=_lower_bytes(tile.args)) for tile in tiles]  # type: ignore[attr-defined]
        other.load()
        upper, lower = (np.asarray(one).astype(np.uint16) for one in (image, other))
    if grey:
        level, opacity = (lower[..., place] << 8 | lower[..., place + 1] for place in (0, 2))
        return np.stack([level, level, level, opacity], axis=-1)
    values = upper << 8 | lower
    if isinstance(hidden := image.info.get("transparency"), tuple):  # the one colour that is transparent
        opacity = np.where((values == np.array(hidden, np.uint16)).all(axis=-1), 0, 65535).astype(np.uint16)
        return np.dstack([values, opacity])
    return values


def _lower_bytes(args: Any) -> Any:
    """A decoder's arguments with a raw mode, which comes first or alone, that keeps the lower bytes.

    Pillow has none for grey with transparency, so its four bytes are read as four colours.
    """
    if isinstance(args, tuple):
        return (_lower_bytes(args[0]), *args[1:])
    if args == "LA;16B":
        return "RGBA"
    native = "L" if sys.byteorder == "little" else "B"
    order = native if args[-1] == "N" else args[-1]
    return args[:-1] + {"L": "B", "B": "L"}[order]


def _by_opencv(source: Path | bytes | BinaryIO, name: str) -> Any:
    """The values as stored, in OpenCV's order of colours; None where OpenCV cannot read the file.

    Raises PictureError where OpenCV is not installed, as beside a bundle, which does without it.
    """
    try:
        import cv2
    except ImportError as error:
        raise PictureError(
            name,
            "is a TIFF file of unusual values, which needs OpenCV; install it (pip install opencv-python-headless), "
            "or convert the picture to PNG",
        ) from error
    return cv2.imdecode(np.frombuffer(_content(source), np.uint8), cv2.IMREAD_UNCHANGED)


def _content(source: Path | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path):
        return source.read_bytes()
    source.seek(0)
    return source.read()


def _extremes(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest finite value, transparency left out."""
    values = values[..., :3] if values.ndim == 3 else values
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _eight_bit(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    """An 8-bit picture in any of Pillow's modes -> RGB or L.

    Pillow converts "1", "L", "P", "RGBX", "YCbCr", "HSV" and "CMYK" itself; the rest needs a step in between.
    """
    if image.mode == "LAB":  # to RGB by littleCMS; Pillow has no way from there to grey
        image = image.convert("RGB")
    elif image.mode == "La":  # premultiplied; Pillow knows only this way out
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    elif image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow inverts the inks of every CMYK JPEG; only Adobe's, which say so, are stored inverted.
        image = Image.eval(image, lambda ink: 255 - ink)
    return image.copy() if image.mode == mode else image.convert(mode)


def _scaled_picture(values: NDArray[Any], value_range: tuple[float, float] | None) -> Image.Image:
    """(H, W), (H, W, 3) or (H, W, 4) values of more than 8 bits -> L or RGB, transparency laid on white."""
    colours = values[..., :3] if values.ndim == 3 else values
    picture = Image.fromarray(_scaled(colours, value_range or _type_range(colours)))
    if values.ndim == 3 and values.shape[2] == 4:
        opacity = Image.fromarray(_scaled(values[..., 3], (0.0, 65535.0)))
        picture = Image.composite(picture, Image.new("RGB", picture.size, "white"), opacity)
    return picture


def _scaled(values: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """The values with the ends of the range brought to 0 and 255; what lies beyond is clipped, NaN becomes 0."""
    if values.dtype in (np.dtype("<u2"), np.dtype(">u2")):  # a table takes less time and memory than arithmetic
        return _scaled(np.arange(65536), value_range)[values]
    low, high = value_range
    levels = np.where(np.isfinite(values), values, low).astype(np.float64)
    return np.rint(((levels - low) * (255 / (high - low))).clip(0, 255)).astype(np.uint8)


def _type_range(values: NDArray[Any]) -> tuple[float, float]:
    """The range of a picture of more than 8 bits of which nothing but its values is known.

    16-bit values have their full range, so that dark pictures stay dark. Other types have no agreed range: integers
    are taken as 8-bit, then as 16-bit values, floats as 0 to 1, then as 0 to 255. Values outside are stretched from
    the least to the greatest.
    """
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        return 0.0, 65535.0
    low, high = _extremes(values)
    for known in (255.0, 65535.0) if np.issubdtype(values.dtype, np.integer) else (1.0, 255.0):
        if low >= 0 and high <= known:
            return 0.0, known
    return low, high if high > low else low + 1


_lock = threading.Lock()
_inside = 0
_filters: list[warnings.catch_warnings] = []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings (odd EXIF, palettes, sizes) from the user, in several threads at once.

    `warnings.catch_warnings` alone would restore the wrong filters when threads leave in another order than
    they came: here the first one in saves them and the last one out restores them.
    """
    global _inside
    with _lock:
        if _inside == 0:
            _filters.append(warnings.catch_warnings())
            _filters[0].__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _filters.pop().__exit__(None, None, None)


def _forget() -> None:
    """A forked process starts outside: the thread that held the lock is not in it."""
    global _lock, _inside
    _lock, _inside = threading.Lock(), 0
    _filters.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
