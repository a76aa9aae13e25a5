"""The golden pictures: files of every kind that a bundle must read just as training would.

The built-in ones are drawn here, the same pixels each time: a scene of shapes and a gradient, as cameras, scanners and
programs might store it. They show no class; a run's own pictures (`--golden DIR`) do, and travel in the bundle.
"""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from ..data.walk import pictures_below
from ..errors import BundleError
from ..formatting import size_text

MOST_PICTURES = 200
MOST_BYTES = 50 * 2**20


def scene(width: int, height: int, seed: int) -> Image.Image:
    """An RGB picture with smooth areas, edges, thin lines and some noise."""
    generator = np.random.default_rng(seed)
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    corners = generator.uniform(30, 225, (4, 3))
    weights = np.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down], axis=-1)
    pixels = weights @ corners + generator.normal(0, 2, (height, width, 1))
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = int(generator.integers(0, width)), int(generator.integers(0, height))
        radius = int(generator.integers(2, max(3, min(width, height) // 4)))
        colour = tuple(int(level) for level in generator.integers(0, 256, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        draw.line((x, 0, width - x, height), fill=colour[::-1], width=2)
    return picture


def _file(picture: Image.Image, format: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, format, **options)
    return content.getvalue()


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return _file(scene(320, 200, orientation), "JPEG", quality=90, exif=exif)


def _deep_colour() -> bytes:
    """A PNG of 16 bits a colour, which Pillow cannot write."""
    generator = np.random.default_rng(16)
    pixels = np.asarray(scene(96, 80, 16)).astype(np.uint16) * 257
    pixels = np.clip(pixels + generator.integers(-200, 200, pixels.shape), 0, 65535).astype(">u2")
    return png16(pixels)


def png16(pixels: NDArray[np.uint16]) -> bytes:
    """(H, W, 3) or (H, W, 4) -> a PNG file, its lines unfiltered."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def _ramp() -> Image.Image:
    """16 bits of grey, most of them dark."""
    ramp = np.linspace(0, 1, 120) ** 2 * 65535
    return Image.fromarray(np.tile(ramp, (90, 1)).astype(np.uint16))


def _see_through() -> Image.Image:
    picture = scene(150, 130, 7).convert("RGBA")
    picture.putalpha(Image.radial_gradient("L").resize(picture.size))
    return picture


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(20).integers(0, 256, (64, 64, 3), np.uint8))


# What a picture shows -> its file. The number in front keeps their order.
BUILT_IN: dict[str, Callable[[], tuple[str, bytes]]] = {
    "a photograph as JPEG": lambda: ("jpg", _file(scene(320, 240, 1), "JPEG", quality=88)),
    "a JPEG turned by a quarter (EXIF orientation 6)": lambda: ("jpg", _turned(6)),
    "a JPEG turned the other way (EXIF orientation 8)": lambda: ("jpg", _turned(8)),
    "a JPEG mirrored and turned (EXIF orientation 5)": lambda: ("jpg", _turned(5)),
    "a progressive JPEG": lambda: ("jpg", _file(scene(300, 260, 2), "JPEG", quality=75, progressive=True)),
    "a JPEG without colour subsampling": lambda: ("jpg", _file(scene(250, 250, 3), "JPEG", quality=95, subsampling=0)),
    "a grey JPEG": lambda: ("jpg", _file(scene(240, 320, 4).convert("L"), "JPEG", quality=90)),
    "a CMYK JPEG": lambda: ("jpg", _file(scene(260, 220, 5).convert("CMYK"), "JPEG", quality=90)),
    "a large JPEG, decoded at a reduced size": lambda: ("jpg", _file(scene(2400, 1800, 6), "JPEG", quality=30)),
    "a transparent PNG": lambda: ("png", _file(_see_through(), "PNG")),
    "a grey PNG of 16 bits": lambda: ("png", _file(_ramp(), "PNG")),
    "a PNG of 16 bits a colour": lambda: ("png", _deep_colour()),
    "a PNG with a palette": lambda: ("png", _file(scene(200, 160, 8).quantize(64), "PNG")),
    "a black and white PNG": lambda: ("png", _file(scene(120, 200, 9).convert("1"), "PNG")),
    "a GIF": lambda: ("gif", _file(scene(160, 120, 10).quantize(128), "GIF")),
    "a BMP": lambda: ("bmp", _file(scene(90, 70, 11), "BMP")),
    "a TIFF": lambda: ("tif", _file(scene(110, 90, 12), "TIFF")),
    "a tall picture": lambda: ("png", _file(scene(40, 900, 13), "PNG")),
    "a wide picture": lambda: ("jpg", _file(scene(900, 40, 14), "JPEG", quality=90)),
    "a tiny picture": lambda: ("png", _file(scene(9, 7, 15), "PNG")),
    "noise": lambda: ("png", _file(_noise(), "PNG")),
    "one colour": lambda: ("png", _file(Image.new("RGB", (64, 64), (255, 255, 255)), "PNG")),
}  # fmt: skip


def built_in() -> dict[str, tuple[str, bytes]]:
    """Member of the bundle -> (what it shows, content)."""
    found = {}
    for number, (shows, make) in enumerate(BUILT_IN.items()):
        suffix, content = make()
        found[f"golden/{number:03d}.{suffix}"] = (shows, content)
    return found


def own_pictures(folder: str | Path) -> dict[str, tuple[str, bytes]]:
    """As `built_in`, of all pictures below a folder.

    Raises BundleError where there are none, or more than a bundle should carry.
    """
    path = Path(folder).expanduser()
    if not path.exists():
        raise BundleError(f"there is no folder {str(folder)!r} of golden pictures")
    files = pictures_below(path)
    size = sum(file.stat().st_size for file in files)
    if not files:
        raise BundleError(
            f"{folder}: holds no pictures; --golden takes a folder of pictures that may travel in the bundle"
        )
    if len(files) > MOST_PICTURES or size > MOST_BYTES:
        raise BundleError(
            f"{folder}: {len(files)} golden pictures of {size_text(size)}; choose at most {MOST_PICTURES} "
            f"of {size_text(MOST_BYTES)} in all"
        )
    return {
        f"golden/own-{number:03d}{file.suffix.lower()}": (f"{file.parent.name}/{file.name}", file.read_bytes())
        for number, file in enumerate(files)
    }
