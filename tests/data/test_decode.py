"""Every odd kind of picture one by one: right pixels, or a PictureError with the reason; never a warning."""

import io
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from casebook.data.decode import MEGAPIXELS_VARIABLE, UPRIGHT, _eight_bit, decode, max_pixels, open_picture
from casebook.errors import DataError, PictureError

CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def four_corners(size: tuple[int, int] = (32, 16)) -> Image.Image:
    """Red, green / blue, white quarters."""
    width, height = size
    picture = Image.new("RGB", size)
    boxes = [(0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)]
    for colour, box in zip(CORNERS.values(), boxes, strict=True):
        picture.paste(colour, (*box, box[0] + width // 2, box[1] + height // 2))
    return picture


def saved(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def corners_of(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    return [tuple(pixels[y, x]) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def assert_corners(picture: Image.Image, tolerance: int = 0) -> None:
    assert picture.mode == "RGB"
    assert np.abs(np.subtract(corners_of(picture), list(CORNERS.values()))).max() <= tolerance


def opened(content: bytes, **options) -> Image.Image:
    return open_picture(content, name="picture", **options)


@pytest.mark.parametrize(
    "format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "GIF", "WEBP", "JPEG2000", "ICO", "QOI", "JPEG"]
)
def test_common_formats(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    picture = four_corners((32, 32))
    assert_corners(opened(saved(picture, format, **options)), tolerance=3 if format == "JPEG" else 0)


def test_path_bytes_and_file_give_the_same(tmp_path: Path) -> None:
    content = saved(four_corners(), "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with path.open("rb") as file:
        from_file = open_picture(file, name="picture")
    assert opened(content).tobytes() == open_picture(path, name="picture").tobytes() == from_file.tobytes()


def test_grey() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert np.array_equal(opened(saved(ramp, "PNG"), mode="L"), ramp)
    assert np.array_equal(np.asarray(opened(saved(ramp, "PNG")))[..., 2], ramp)


def test_colour_to_grey_uses_luma() -> None:
    assert opened(saved(Image.new("RGB", (4, 4), (255, 0, 0)), "PNG"), mode="L").getpixel((0, 0)) == 76


def test_one_bit() -> None:
    checks = Image.fromarray((np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)).convert("1")
    assert np.array_equal(opened(saved(checks, "PNG"), mode="L"), np.asarray(checks) * 255)
    assert opened(saved(checks, "TIFF")).getpixel((1, 0)) == (255, 255, 255)


def test_palette() -> None:
    assert_corners(opened(saved(four_corners().convert("P", palette=Image.Palette.ADAPTIVE), "PNG")))


@pytest.mark.parametrize("transparency", [0, bytes([0, 255, 255, 255])], ids=["index", "bytes"])
def test_palette_with_transparency_lies_on_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (32, 16))
    picture.putpalette([value for colour in CORNERS.values() for value in colour])
    for index, box in enumerate([(0, 0), (16, 0), (0, 8), (16, 8)]):
        picture.paste(index, (*box, box[0] + 16, box[1] + 8))
    assert_corners(opened(saved(picture, "PNG")))
    seen = corners_of(opened(saved(picture, "PNG", transparency=transparency)))
    assert seen == [(255, 255, 255), *list(CORNERS.values())[1:]]


def test_rgba_lies_on_white() -> None:
    picture = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        picture.putpixel((x, 0), (255, 0, 0, alpha))
    content = saved(picture, "PNG")
    seen = [opened(content).getpixel((x, 0)) for x in range(3)]
    assert seen == [(255, 255, 255), (255, 127, 127), (255, 0, 0)]


def test_grey_with_alpha_lies_on_white() -> None:
    picture = Image.new("LA", (2, 1), (0, 255))
    picture.putpixel((1, 0), (0, 0))
    assert np.asarray(opened(saved(picture, "PNG"), mode="L")).tolist() == [[0, 255]]


def test_grey_and_rgb_with_a_transparent_colour() -> None:
    assert opened(saved(Image.new("L", (2, 2), 7), "PNG", transparency=7)).getpixel((0, 0)) == (255, 255, 255)
    rgb = Image.new("RGB", (2, 2), (1, 2, 3))
    assert opened(saved(rgb, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_tiff() -> None:
    assert_corners(opened(saved(four_corners().convert("CMYK"), "TIFF")), tolerance=1)


def test_cmyk_jpeg_of_adobe_is_stored_inverted() -> None:
    content = saved(four_corners().convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in content
    assert_corners(opened(content), tolerance=6)


def test_cmyk_jpeg_without_adobe_marker_is_not_inverted() -> None:
    inverted = Image.eval(four_corners().convert("CMYK"), lambda ink: 255 - ink)
    content = saved(inverted, "JPEG", quality=100, subsampling=0)  # Pillow inverts and says so
    start = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    assert_corners(opened(content[:start] + content[start + 2 + length :]), tolerance=6)


RAMP16 = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
RAMP8 = np.rint(RAMP16 / 257).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_is_rescaled_from_the_full_range(format: str) -> None:
    content = saved(Image.fromarray(RAMP16), format)
    assert np.array_equal(opened(content, mode="L"), RAMP8)
    assert np.array_equal(np.asarray(opened(content))[..., 0], RAMP8)


def test_16_bit_stays_dark() -> None:
    assert np.asarray(opened(saved(Image.fromarray(RAMP16 // 16), "PNG"), mode="L")).max() == 16


def test_big_endian_16_bit_tiff() -> None:
    picture = Image.frombytes("I;16B", (16, 16), RAMP16.astype(">u2").tobytes())
    assert np.array_equal(opened(saved(picture, "TIFF"), mode="L"), RAMP8)


def test_16_bit_colour_png() -> None:
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in RAMP16)
    seen = np.asarray(opened(png((16, 16), rows, depth=16, colour=2)))
    assert np.abs(seen[..., 1].astype(int) - RAMP8).max() <= 1


def test_32_bit_tiff() -> None:
    small = Image.fromarray(RAMP16.astype(np.int32))
    assert np.array_equal(opened(saved(small, "TIFF"), mode="L"), RAMP8)  # 16-bit values in 32 bits
    large = np.asarray(opened(saved(Image.fromarray(RAMP16.astype(np.int32) * 1000), "TIFF"), mode="L"))
    assert (large.min(), large.max()) == (0, 255)


def test_32_bit_tiff_of_8_bit_values() -> None:
    ramp = np.arange(256, dtype=np.int32).reshape(16, 16)
    assert np.array_equal(opened(saved(Image.fromarray(ramp), "TIFF"), mode="L"), ramp)


def test_unsigned_32_bit_values_do_not_wrap() -> None:
    content = tiff(np.array([[0, 2**30, 2**31, 2**32 - 1]], np.uint32))
    assert np.asarray(opened(content, mode="L")).tolist() == [[0, 64, 128, 255]]
    assert decode(content, name="picture").extremes == (0.0, 2.0**32 - 1)


RAMP12 = np.rint(np.linspace(0, 4095, 256)).astype(np.uint16).reshape(16, 16)
RAMP12_AS_8 = np.rint(RAMP12 * (255 / 4095)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_value_range_of_12_bits(dtype: type, mode: str) -> None:
    content = saved(Image.fromarray(RAMP12.astype(dtype)), "TIFF")
    found = decode(content, name="picture", mode=mode, value_range=(0, 4095))  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(found.picture).reshape(16, 16, -1)[..., 0], RAMP12_AS_8)
    assert found.extremes == (0.0, 4095.0)
    assert found.picture.mode == mode


def test_values_beyond_the_value_range_are_clipped() -> None:
    content = saved(Image.fromarray(np.array([[-5.0, 1.0, 2.0, 3.0, 9.0, np.nan]], np.float32)), "TIFF")
    assert np.asarray(opened(content, mode="L", value_range=(1, 3))).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert decode(content, name="picture").extremes == (-5.0, 9.0)


@pytest.mark.parametrize("format", ["PNG", "little TIFF", "big TIFF"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_of_12_bits(format: str, channels: int) -> None:
    colours = np.stack([RAMP12, RAMP12[::-1], RAMP12.T, np.full_like(RAMP12, 65535)], 2)[..., :channels]
    if format == "PNG":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
        content = png((16, 16), rows, depth=16, colour=2 if channels == 3 else 6)
    else:
        content = tiff(colours.astype("<u2" if format == "little TIFF" else ">u2"))
    expected = np.stack([RAMP12_AS_8, RAMP12_AS_8[::-1], RAMP12_AS_8.T], 2)
    found = decode(content, name="picture", value_range=(0, 4095))
    assert np.array_equal(found.picture, expected)
    assert found.extremes == (0.0, 4095.0)
    assert found.mode == ("RGB" if channels == 3 else "RGBA")


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_are_those_that_opencv_reads(ending: str, channels: int) -> None:
    """Pillow keeps the upper bytes only; with the lower ones from a second reading, every value is exact."""
    pixels = np.random.default_rng(channels).integers(0, 65536, (23, 37, channels)).astype(np.uint16)
    content = cv2.imencode(ending, pixels)[1].tobytes()  # filtered PNG lines, LZW in TIFF
    colours = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)[pixels]
    if channels == 4:
        colours[..., 3] = 255
        pixels[..., 3] = 65535
        content = cv2.imencode(ending, pixels)[1].tobytes()
    assert np.array_equal(opened(content), colours[..., 2::-1])


def test_16_bit_grey_with_transparency() -> None:
    row = np.array([4095, 0, 0, 65535, 300, 65535, 4095, 65535], ">u2")
    found = decode(png((4, 1), b"\0" + row.tobytes(), depth=16, colour=4), name="grey", value_range=(0, 4095))
    assert np.asarray(found.picture)[0, :, 0].tolist() == [255, 0, 19, 255]
    assert found.extremes == (0.0, 4095.0)


def test_one_transparent_colour_of_16_bits_lies_on_white() -> None:
    row = np.array([1000, 2000, 3000, 1000, 2000, 3001], ">u2")
    content = png((2, 1), b"\0" + row.tobytes(), depth=16, colour=2)
    hidden = b"tRNS" + struct.pack(">HHH", 1000, 2000, 3000)
    chunk = struct.pack(">I", 6) + hidden + struct.pack(">I", zlib.crc32(hidden))
    content = content[:33] + chunk + content[33:]
    assert np.asarray(opened(content)).tolist() == [[[255, 255, 255], [4, 8, 12]]]


def test_16_bit_colours_lie_on_white() -> None:
    row = np.array([4095, 0, 0, 0, 4095, 0, 0, 32768, 4095, 0, 0, 65535], ">u2")
    picture = opened(png((3, 1), b"\0" + row.tobytes(), depth=16, colour=6), value_range=(0, 4095))
    assert np.asarray(picture).tolist() == [[[255, 255, 255], [255, 127, 127], [255, 0, 0]]]


def test_16_bit_colours_are_turned_upright_once() -> None:
    colours = (np.asarray(four_corners()).astype(np.uint16) * 257).transpose(1, 0, 2)[::-1]
    assert_corners(opened(tiff(np.ascontiguousarray(colours), orientation=6)))


def test_8_bit_pictures_have_no_value_range() -> None:
    content = saved(four_corners(), "PNG")
    found = decode(content, name="picture", value_range=(0, 4095))
    assert found.extremes is None
    assert_corners(found.picture)


@pytest.mark.parametrize("factor", [1.0, 255.0, 1e6], ids=["0 to 1", "0 to 255", "any"])
def test_float_tiff(factor: float) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    content = saved(Image.fromarray(values * np.float32(factor)), "TIFF")
    assert np.abs(np.asarray(opened(content, mode="L")).astype(int) - np.rint(values * 255)).max() <= 1


def test_float_tiff_with_nan_and_infinity() -> None:
    values = np.array([[0.0, 1.0, np.nan, np.inf]], np.float32)
    assert np.asarray(opened(saved(Image.fromarray(values), "TIFF"), mode="L")).tolist() == [[0, 255, 0, 0]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame(format: str) -> None:
    frames = [four_corners(), Image.new("RGB", (32, 16), "black")]
    options = {"lossless": True} if format == "WEBP" else {}
    content = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2  # type: ignore[attr-defined]
    assert_corners(opened(content))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(format: str, orientation: int) -> None:
    inverse = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    picture = four_corners()
    stored = picture.transpose(UPRIGHT[inverse]) if inverse != 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    if format == "TIFF":
        options = {"tiffinfo": {0x0112: orientation}}
    else:
        options["exif"] = exif
    found = decode(saved(stored, format, **options), name="picture")
    assert found.picture.size == (found.width, found.height) == (32, 16)
    assert_corners(found.picture, tolerance=3)


def test_orientation_with_scaled_decoding() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(four_corners((640, 320)).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    found = decode(content, name="picture", min_side=60)
    assert (found.width, found.height) == (640, 320)
    assert found.picture.size == (160, 80)
    assert_corners(found.picture, tolerance=5)


def test_damaged_exif_loses_no_picture() -> None:
    content = saved(four_corners(), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")
    assert_corners(opened(content), tolerance=3)


@pytest.mark.parametrize(
    ("min_side", "shorter"), [(None, 400), (300, 400), (200, 200), (150, 200), (100, 100), (10, 50)]
)
def test_scaled_decoding_keeps_the_shorter_side(min_side: int | None, shorter: int) -> None:
    content = saved(four_corners((800, 400)), "JPEG", quality=95)
    found = decode(content, name="picture", min_side=min_side)
    assert min(found.picture.size) == shorter
    assert (found.width, found.height) == (800, 400)
    assert_corners(found.picture, tolerance=5)


def test_scaled_decoding_leaves_other_formats_alone() -> None:
    assert opened(saved(four_corners((80, 40)), "PNG"), min_side=10).size == (80, 40)


def png(size: tuple[int, int], rows: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with this header, whatever its rows are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, orientation: int = 1, photometric: int | None = None) -> bytes:
    """A TIFF of (H, W) or (H, W, channels) values of any type, uncompressed."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    height, width, *rest = values.shape
    channels = rest[0] if rest else 1
    shorts = {  # tag -> values of 16 bits
        258: [8 * values.itemsize] * channels,
        259: [1],
        262: [(2 if channels > 2 else 1) if photometric is None else photometric],
        274: [orientation],
        277: [channels],
        284: [1],
        338: [2] if channels in (2, 4) else [],
        339: [{"u": 1, "i": 2, "f": 3}[values.dtype.kind]] * channels,
    }
    longs = {256: width, 257: height, 273: 0, 278: height, 279: values.nbytes}
    entries = sorted([*longs, *(tag for tag, numbers in shorts.items() if numbers)])
    start, extra = 8 + 2 + 12 * len(entries) + 4, b""
    longs[273] = start + sum(2 * len(numbers) for numbers in shorts.values() if len(numbers) > 2)
    directory = b""
    for tag in entries:
        if tag in longs:
            directory += struct.pack(f"{order}HHII", tag, 4, 1, longs[tag])
        elif len(shorts[tag]) > 2:
            directory += struct.pack(f"{order}HHII", tag, 3, len(shorts[tag]), start + len(extra))
            extra += struct.pack(f"{order}{len(shorts[tag])}H", *shorts[tag])
        else:
            both = (*shorts[tag], 0)[:2]
            directory += struct.pack(f"{order}HHIHH", tag, 3, len(shorts[tag]), *both)
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
    return head + directory + bytes(4) + extra + values.tobytes()


@pytest.mark.parametrize("size", [(10_000, 5_001), (12_000, 9_000), (60_000, 60_000)])
def test_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert size[0] * size[1] > max_pixels()
    with pytest.raises(PictureError, match="megapixels"):
        opened(png(size, b""))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("format", "min_side"), [("JPEG", None), ("JPEG", 32), ("PNG", None), ("WEBP", None)])
def test_truncated(format: str, min_side: int | None, share: float, photographs: list[Image.Image]) -> None:
    content = saved(photographs[0].resize((424, 340)), format)
    opened(content, min_side=min_side)
    with pytest.raises(PictureError, match=r"^picture: is (cut off or damaged|not a picture)"):
        opened(content[: int(len(content) * share)], min_side=min_side)


def test_png_with_damaged_bytes(photographs: list[Image.Image]) -> None:
    content = bytearray(saved(photographs[0], "PNG"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(PictureError, match="damaged"):
        opened(bytes(content))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("text.jpg", b"this is a letter, not a picture", "is not a picture of a known format"),
        ("page.png", b"<!DOCTYPE html><html></html>", "is not a picture of a known format"),
        ("phone.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL file, which is not supported"),
        ("phone.jpg", b"\xff\x0a\xfa\x1f", "is a JPEG XL file, which is not supported"),
        ("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "EPS"),
    ],
)
def test_no_picture(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(PictureError) as caught:
            open_picture(source, name=name)
        assert caught.value.name == name
        assert reason in caught.value.reason


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="there is no such file"):
        open_picture(tmp_path / "none.png", name="none.png")
    with pytest.raises(PictureError, match="cannot be read"):
        open_picture(tmp_path, name="folder.png")


def test_warnings_stay_inside_and_filters_come_back_with_threads() -> None:
    """Pillow warns of a palette with transparent bytes, of large pictures and of odd EXIF."""
    palette = saved(Image.new("P", (8, 8)), "PNG", transparency=bytes([0, 1]))
    large = saved(Image.new("1", (9_500, 9_500)), "PNG")
    filters = list(warnings.filters)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                opened(palette)
            with pytest.raises(PictureError):
                opened(large)
        except BaseException as error:
            errors.append(error)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert not seen
    assert warnings.filters == filters


def test_the_picture_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(saved(four_corners(), "PNG"))
    picture = open_picture(path, name="picture.png")
    path.unlink()
    assert_corners(picture)


@pytest.mark.parametrize(
    ("stored", "colour"), [((255, 0, 0), (255, 255, 255)), ((0, 0, 0), (0, 0, 0)), ((128, 0, 0), (119, 119, 119))]
)
def test_lab(stored: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    """CIE L*a*b*: 0 to 100 is stored as 0 to 255; L* = 50 is 18.4 % of white, level 119 of sRGB."""
    content = tiff(np.full((4, 4, 3), stored, np.uint8), photometric=8)
    assert np.abs(np.asarray(opened(content))[0, 0].astype(int) - colour).max() <= 2
    assert abs(int(np.asarray(opened(content, mode="L"))[0, 0]) - colour[0]) <= 2


TIFF_MODES = ("1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16", "I;16B")


@pytest.mark.parametrize("mode", TIFF_MODES)
def test_no_mode_that_a_tiff_can_have_is_refused(mode: str) -> None:
    """For networks of grey and of colour pictures alike: data check decodes the one, predict mostly the other."""
    content = saved(Image.new(mode, (32, 16)), "TIFF")
    assert opened(content, mode="L").mode == "L"
    assert opened(content).mode == "RGB"


def test_premultiplied_grey_lies_on_white() -> None:
    picture = Image.new("LA", (2, 1), (100, 255))
    picture.putpixel((1, 0), (100, 0))
    assert np.asarray(_eight_bit(picture.convert("La"), "L")).tolist() == [[100, 255]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint32])
def test_tiffs_of_types_that_pillow_does_not_know(dtype: type) -> None:
    colours = np.stack([RAMP12, RAMP12[::-1], RAMP12.T], 2).astype(dtype)
    expected = np.stack([RAMP12_AS_8, RAMP12_AS_8[::-1], RAMP12_AS_8.T], 2)
    found = decode(tiff(colours), name="picture", value_range=(0, 4095))
    assert np.array_equal(found.picture, expected)
    assert (found.extremes, found.width, found.height) == ((0.0, 4095.0), 16, 16)
    assert found.mode == {np.float64: "RGB;64F", np.float32: "RGB;32F", np.uint32: "RGB;32I"}[dtype]


def test_float_tiff_of_64_bits() -> None:
    values = np.linspace(0, 1, 256).reshape(16, 16)
    found = decode(tiff(values), name="picture", mode="L")
    assert np.array_equal(found.picture, np.arange(256).reshape(16, 16))
    assert found.mode == "F;64"


def test_the_limit_holds_for_every_kind_of_tiff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "0.0001")
    for values in (np.zeros((16, 16)), np.zeros((16, 16), np.float32), np.zeros((16, 16), np.uint8)):
        with pytest.raises(
            PictureError, match=r"16 x 16 = 0 megapixels, more than the limit of 0.0001; CASEBOOK_MAX_MEG"
        ):
            opened(tiff(values))


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(Image.new("1", (8000, 7000)), "PNG")
    with pytest.raises(PictureError, match="56 megapixels, more than the limit of 50"):
        opened(content)
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "56")
    assert opened(content, mode="L").size == (8000, 7000)
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "many")
    with pytest.raises(DataError, match="CASEBOOK_MAX_MEGAPIXELS is 'many', expected a number of megapixels"):
        opened(content)


def bit_fields(masks: tuple[int, int, int, int], bits: int) -> bytes:
    """A BMP of 2 x 2 pixels whose channels are these bits."""
    pixels = bytes(range(4 * bits // 8))
    header = struct.pack("<IiiHHIIiiII4I", 108, 2, 2, 1, bits, 3, len(pixels), 0, 0, 0, 0, *masks).ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108) + header + pixels


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bit_fields((0x3FF00000, 0xFFC00, 0x3FF, 0), 32), "BMP file of a kind that is not supported"),
        (tiff(np.zeros((8, 8, 5), np.uint8)), "TIFF file of a kind that is not supported"),
    ],
    ids=["bit fields", "five channels"],
)
def test_what_is_not_supported_is_not_called_damaged(mode: str, content: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as caught:
        opened(content, mode=mode)
    assert reason in caught.value.reason
    assert "convert it to PNG" in caught.value.reason
    assert "damaged" not in caught.value.reason


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("phone.heic", "phone.jpg"):
        with pytest.raises(PictureError, match=r"is a HEIC file; install pillow-heif .*casebook\[heif\]"):
            open_picture(HEIC, name=name)


def test_heic() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(four_corners((64, 64))).save(file, quality=-1)
    found = decode(file.getvalue(), name="phone.heic")
    assert_corners(found.picture, tolerance=6)
    assert (found.format, found.width, found.height) == ("HEIF", 64, 64)
    with pytest.raises(PictureError, match="damaged"):
        opened(file.getvalue()[:200])
