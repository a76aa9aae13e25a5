"""What training cuts its crops from: the pixels that Pillow gives, whichever decoder is at work."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.augmentation.augment import reduce_pixels, reduced_size, resized
from casebook.data import reduced as module
from casebook.data.decode import UPRIGHT, open_picture
from casebook.data.reduced import decode_reduced, read_file
from casebook.errors import PictureError

from .test_decode import assert_corners, four_corners, png, saved

LEVELS = 3  # that two JPEG decoders may differ by; with the same libjpeg-turbo it is 0


def reduced(content: bytes, side: int = 10_000, mode: str = "RGB") -> np.ndarray:
    return decode_reduced(content, name="picture", mode=mode, side=side)  # type: ignore[arg-type]


def assert_like_pillow(content: bytes, side: int = 10_000, mode: str = "RGB", tolerance: int = LEVELS) -> None:
    """The same as the reference path, with the reduction that both share."""
    picture = open_picture(content, name="picture", mode=mode, min_side=side)  # type: ignore[arg-type]
    width, height = Image.open(io.BytesIO(content)).size
    upright = (width, height) if (picture.width > picture.height) == (width > height) else (height, width)
    expected = resized(np.asarray(picture), reduced_size(upright, side))
    found = reduced(content, side, mode)
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    if mode == "L" and tolerance:  # stored luma, not luma of clipped colours
        assert difference.mean() <= 1
        tolerance = 16
    assert difference.max() <= tolerance


@pytest.fixture
def opencv_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags of each picture that OpenCV has decoded."""
    calls, original = [], module.cv2.imdecode

    def imdecode(content: np.ndarray, flags: int) -> np.ndarray:
        calls.append(flags)
        return original(content, flags)

    monkeypatch.setattr(module.cv2, "imdecode", imdecode)
    return calls


@pytest.fixture
def no_opencv(opencv_calls: list[int]) -> Iterator[None]:
    """OpenCV must not be asked. (An exception would be taken for its failure, and Pillow asked.)"""
    yield
    assert not opencv_calls


@pytest.fixture
def photograph(photographs: list[Image.Image]) -> Image.Image:
    return photographs[0].resize((424, 341), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 30}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_jpegs_are_decoded_by_opencv(
    photograph: Image.Image, options: dict, mode: str, opencv_calls: list[int]
) -> None:
    content = saved(photograph, "JPEG", **options)
    assert_like_pillow(content, mode=mode)
    assert_like_pillow(saved(photograph.convert("L"), "JPEG", **options), mode=mode)
    assert len(opencv_calls) == 2


def test_channels_are_in_order() -> None:
    content = saved(four_corners((64, 32)), "JPEG", quality=100, subsampling=0)
    assert_corners(Image.fromarray(reduced(content)), tolerance=3)


@pytest.mark.parametrize(
    ("side", "scale"), [(10_000, 1), (171, 1), (170, 2), (100, 2), (85, 4), (43, 4), (42, 8), (8, 8)]
)
def test_large_jpegs_are_decoded_at_a_reduced_scale(
    photograph: Image.Image, side: int, scale: int, opencv_calls: list[int]
) -> None:
    content = saved(photograph, "JPEG")
    assert_like_pillow(content, side)
    assert min(reduced(content, side).shape[:2]) == min(341, side)
    assert opencv_calls[0] == module.OPENCV_FLAGS["RGB", scale] | module.cv2.IMREAD_IGNORE_ORIENTATION


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [1000, 16])
def test_orientation(orientation: int, side: int, opencv_calls: list[int]) -> None:
    upright = four_corners((64, 32))
    turn = UPRIGHT.get(orientation)
    inverse = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    stored = upright if turn is None else upright.transpose(inverse.get(turn, turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(stored, "JPEG", quality=100, subsampling=0, exif=exif)
    found = reduced(content, side)
    assert found.shape == ((32, 64, 3) if side == 1000 else (16, 32, 3))
    assert_corners(Image.fromarray(found), tolerance=3)
    assert len(opencv_calls) == 1
    odd = saved(stored.resize((45, 23) if stored.width > stored.height else (23, 45)), "JPEG", exif=exif)
    assert_like_pillow(odd)


def test_orientation_in_xmp_counts_as_it_does_for_pillow() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = saved(four_corners((64, 32)), "JPEG", xmp=xmp)
    assert open_picture(content, name="picture").size == (32, 64)
    assert reduced(content).shape == (64, 32, 3)


def test_damaged_exif_loses_no_picture() -> None:
    content = saved(
        four_corners((64, 32)), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff"
    )
    assert_corners(Image.fromarray(reduced(content)), tolerance=3)


def test_the_first_picture_of_several(photograph: Image.Image) -> None:
    content = saved(photograph, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 20))])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert_like_pillow(content)


ODD = {
    "CMYK": lambda picture: saved(picture.convert("CMYK"), "JPEG"),
    "PNG": lambda picture: saved(picture, "PNG"),
    "palette": lambda picture: saved(picture.convert("P"), "PNG"),
    "alpha": lambda picture: saved(picture.convert("RGBA"), "PNG"),
    "grey with alpha": lambda picture: saved(picture.convert("LA"), "PNG"),
    "one bit": lambda picture: saved(picture.convert("1"), "PNG"),
    "16 bit": lambda picture: saved(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257), "PNG"),
    "float": lambda picture: saved(Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32)), "TIFF"),
    "animation": lambda picture: saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
    "WebP": lambda picture: saved(picture, "WEBP"),
    "bytes after the end": lambda picture: saved(picture, "JPEG") + b"\0" * 100,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(("mode", "side"), [("RGB", 10_000), ("L", 10_000), ("RGB", 85)])
def test_odd_pictures_are_left_to_pillow(
    kind: str, mode: str, side: int, photograph: Image.Image, no_opencv: None
) -> None:
    assert_like_pillow(ODD[kind](photograph), side, mode, tolerance=0)


def test_jpegs_that_opencv_stumbles_over_are_left_to_pillow(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(photograph, "JPEG")

    def failing(*_: object) -> None:
        raise module.cv2.error("out of order")

    for broken in (failing, lambda *_: None, lambda *_: np.zeros((3, 3, 3), np.uint8)):
        monkeypatch.setattr(module.cv2, "imdecode", broken)
        assert_like_pillow(content, tolerance=0)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_truncated(photograph: Image.Image, share: float, options: dict) -> None:
    whole = saved(photograph, "JPEG", **options)
    content = whole[: int(len(whole) * share)]
    for side in (10_000, 40):
        with pytest.raises(PictureError) as expected:
            open_picture(content, name="picture", min_side=side)
        with pytest.raises(PictureError) as caught:
            reduced(content, side)
        assert caught.value.reason == expected.value.reason


def test_a_cut_off_file_that_ends_like_a_whole_one(photograph: Image.Image) -> None:
    """Bytes of a picture that was cut off and then closed: whatever Pillow says holds."""
    whole = saved(photograph, "JPEG")
    content = whole[: len(whole) // 2] + module.JPEG_END
    try:
        expected = np.asarray(open_picture(content, name="picture"))
    except PictureError:
        with pytest.raises(PictureError):
            reduced(content)
    else:
        assert np.abs(reduced(content).astype(int) - expected).max() <= LEVELS


def with_size(content: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its header."""
    place = content.index(b"\xff\xc0")
    return content[: place + 5] + struct.pack(">HH", height, width) + content[place + 9 :]


def test_bombs_are_refused_by_their_header(photograph: Image.Image, no_opencv: None) -> None:
    content = saved(photograph, "JPEG")
    for size in ((60_000, 60_000), (10_000, 5_001)):
        with pytest.raises(PictureError, match="megapixels"):
            reduced(with_size(content, *size))
        with pytest.raises(PictureError, match="megapixels"):
            reduced(png(size, b""))
    with pytest.raises(PictureError, match="times as long as wide"):
        reduced(with_size(content, 4000, 39))


def test_a_size_of_zero_means_damage(photograph: Image.Image) -> None:
    with pytest.raises(PictureError):
        reduced(with_size(saved(photograph, "JPEG"), 0, 341))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\x00\x00\xff\xd9", b"text"]
)
def test_no_picture(content: bytes) -> None:
    with pytest.raises(PictureError):
        reduced(content)


def test_random_damage_gives_a_picture_or_its_error(photograph: Image.Image, capfd: pytest.CaptureFixture) -> None:
    generator = np.random.default_rng(0)
    whole = saved(photograph.resize((106, 85)), "JPEG")
    outcomes = set()
    for _ in range(300):
        content = bytearray(whole)
        for place in generator.integers(0, len(content), 3):
            content[place] ^= 1 << int(generator.integers(8))
        try:
            found = reduced(bytes(content))
        except PictureError:
            outcomes.add("error")
        else:
            assert found.dtype == np.uint8
            assert found.shape[2] == 3
            outcomes.add("picture")
    assert outcomes == {"error", "picture"}
    capfd.readouterr()  # libjpeg's own remarks, which OpenCV lets through


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="there is no such file"):
        read_file(tmp_path / "none.jpg", name="none.jpg")
    with pytest.raises(PictureError, match="cannot be read"):
        read_file(tmp_path, name="folder")


def test_reduced_sizes_keep_the_shape_and_never_grow() -> None:
    assert reduced_size((4000, 3000), 512) == (683, 512)
    assert reduced_size((3000, 4000), 512) == (512, 683)
    assert reduced_size((500, 375), 512) == (500, 375)
    assert reduced_size((10_000, 100), 50) == (5000, 50)
    assert reduced_size((100, 1), 1) == (100, 1)


def test_reducing_averages_and_keeps_grey_grey() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, ::4] = pixels[:, 3::4] = 200
    assert (reduce_pixels(pixels, 4) == 100).all()
    assert (reduce_pixels(pixels, 2) == 100).all()  # a mean over cells: pixels in the middle alone would give 0
    assert reduce_pixels(pixels, 2).shape == (2, 2, 1)
    assert np.array_equal(reduce_pixels(pixels, 8)[:, :, 0], pixels)
