"""decode.js and png16.js: pictures' files in Chromium against `open_picture`."""

import base64
import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from casebook.data.decode import open_picture
from casebook.errors import PictureError

from .conftest import Ask, encoded, pixels_of

OPEN = """async ([file, range]) => {
  const picture = await openPicture(new Blob([bytes(file)]), range);
  return [picture.width, picture.height, picture.isJpeg, base64(picture.rows(0, picture.height))];
}"""


def gradient(width: int = 45, height: int = 30) -> Image.Image:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([across * 5, down * 8, (across * down) % 256], -1).astype(np.uint8))


def with_alpha() -> Image.Image:
    image = gradient().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return encoded(gradient(), "JPEG", exif=exif)


def deep(channels: int) -> bytes:
    values = np.random.default_rng(0).integers(0, 65536, (20, 31, channels)).astype(np.uint16)
    return cv2.imencode(".png", values)[1].tobytes()


FILES = {
    **{f"jpeg, orientation {number}": turned(number) for number in range(1, 9)},
    **{f"jpeg, subsampling {kind}": encoded(gradient(), "JPEG", subsampling=kind) for kind in range(3)},
    "jpeg, progressive": encoded(gradient(), "JPEG", progressive=True),
    "jpeg, grey": encoded(gradient().convert("L"), "JPEG"),
    "jpeg, cmyk": encoded(gradient().convert("CMYK"), "JPEG"),
    "png": encoded(gradient(), "PNG"),
    "png, grey": encoded(gradient().convert("L"), "PNG"),
    "png, palette": encoded(gradient().quantize(16), "PNG"),
    "png, transparent": encoded(with_alpha(), "PNG"),
    "png, grey of 16 bits": deep(1),
    "png, colour of 16 bits": deep(3),
    "png, transparent of 16 bits": deep(4),
    "gif": encoded(gradient(), "GIF"),
    "bmp": encoded(gradient(), "BMP"),
    "webp": encoded(gradient(), "WEBP"),
    "webp, lossless": encoded(gradient(), "WEBP", lossless=True),
    "webp, transparent": encoded(with_alpha(), "WEBP", lossless=True),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_pixels_that_python_reads(ask: Ask, name: str) -> None:
    content = FILES[name]
    expected = np.asarray(open_picture(content, name=name))
    width, height, is_jpeg, text = ask(OPEN, [base64.b64encode(content).decode(), None])
    assert (height, width) == expected.shape[:2]
    assert is_jpeg == name.startswith("jpeg")
    differences = np.abs(pixels_of(text).reshape(height, width, 4)[..., :3].astype(int) - expected)
    # Chromium decodes a transparent WebP to colours that are multiplied by their opacity, and rounded.
    assert differences.max() <= (name == "webp, transparent")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_range_of_values_is_stretched_as_in_python(ask: Ask, channels: int) -> None:
    content, value_range = deep(channels), (1000.0, 40000.0)
    expected = np.asarray(open_picture(content, name="deep", value_range=value_range))
    *_, text = ask(OPEN, [base64.b64encode(content).decode(), value_range])
    assert np.array_equal(pixels_of(text).reshape(*expected.shape[:2], 4)[..., :3], expected)


@pytest.mark.parametrize("filter", range(5))
def test_each_filter_of_a_png_is_undone(ask: Ask, filter: int) -> None:
    values = np.random.default_rng(filter).integers(0, 65536, (6, 5)).astype(">u2")
    raw = values.view(np.uint8).reshape(6, 10).astype(int)
    before = np.pad(raw, ((1, 0), (2, 0)))
    left, above, corner = before[1:, :-2], before[:-1, 2:], before[:-1, :-2]
    distances = np.stack([abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)])
    paeth = np.choose(
        distances.argmin(0), [left, above, corner]
    )  # the first of equal ones, as the specification has it
    lines = (raw - [0 * raw, left, above, (left + above) // 2, paeth][filter]) % 256
    packed = zlib.compress(b"".join(bytes([filter, *line]) for line in lines.tolist()))
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", 5, 6, 16, 0, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    expected = np.asarray(open_picture(content, name="filtered"))
    *_, text = ask(OPEN, [base64.b64encode(content).decode(), None])
    assert np.array_equal(pixels_of(text).reshape(6, 5, 4)[..., :3], expected)


@pytest.mark.parametrize("name", [*FILES, "avif"])
def test_the_size_is_read_from_the_header(ask: Ask, name: str) -> None:
    content = FILES[name] if name in FILES else encoded(gradient(), "AVIF")
    stored = Image.open(io.BytesIO(content)).size
    found = ask("(file) => headerSize(bytes(file))", base64.b64encode(content).decode())
    assert (found["width"], found["height"]) == stored


def refused(ask: Ask, content: bytes) -> str:
    opened = "(file) => openPicture(new Blob([bytes(file)])).then(() => '', (error) => error.message)"
    answer: Any = ask(opened, base64.b64encode(content).decode())
    return answer


def test_a_huge_picture_is_refused_by_its_header(ask: Ask) -> None:
    content = encoded(Image.new("1", (13_000, 13_000)), "PNG")
    with pytest.raises(PictureError, match="13000 x 13000 = 169 megapixels"):
        open_picture(content, name="huge")
    assert refused(ask, content) == "has 13000 x 13000 = 169 megapixels, more than the limit of 50"
    assert "1010 x 10 pixels, more than 100 times" in refused(ask, encoded(Image.new("L", (1010, 10)), "PNG"))


def test_what_is_no_picture_is_refused_with_the_reason(ask: Ask) -> None:
    whole = FILES["png"]
    assert refused(ask, b"") == "is empty (0 bytes)"
    assert refused(ask, b"<svg></svg>") == "is not a JPEG, PNG, GIF, BMP, WebP or AVIF file"
    assert "cut off, damaged" in refused(ask, whole[:33] + b"\0" * 40)
    assert "not a JPEG" in refused(ask, whole[:18])
    assert "cut off, damaged" in refused(ask, FILES["png, grey of 16 bits"][:400])
