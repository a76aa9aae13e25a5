"""Parts of JPEGs: the pixels that decoding the whole picture gives, from the first to the last of the window."""

import ctypes
import importlib.util
import io
import shutil
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from casebook.augmentation.augment import reduced_size
from casebook.augmentation.policy import POLICIES, Policy
from casebook.data import jpeg_window, reduced
from casebook.data.decode import UPRIGHT
from casebook.data.jpeg_window import OPENCV_FLAGS, can_decode_windows, decode_window
from casebook.data.loader import Batch
from casebook.data.reduced import decode_reduced
from casebook.data.sources import load_source
from casebook.errors import PictureError
from casebook.preprocessing import Preprocessing

from ..augmentation.augmenting import noise
from .batching import make_batches, scanned_sizes
from .test_decode import saved

# Where its wheel is installed, the library must be found.
NOWHERE = importlib.util.find_spec("pylibjxl") is None and not can_decode_windows()
pytestmark = pytest.mark.skipif(NOWHERE, reason="libjpeg-turbo 3 is not on this machine")

SAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def jpeg(pixels: np.ndarray, sampling: str = "4:2:0", *, progressive: bool = False, restarts: int = 0) -> bytes:
    settings = [
        cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling], cv2.IMWRITE_JPEG_RST_INTERVAL, restarts,
    ]  # fmt: skip
    return cv2.imencode(".jpg", pixels, settings)[1].tobytes()


def whole_by_opencv(content: bytes, mode: str, scale: int) -> np.ndarray:
    pixels = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), OPENCV_FLAGS[mode, scale]))
    return pixels.reshape(*pixels.shape[:2], -1)


def some_box(random: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    left, top = int(random.integers(0, width)), int(random.integers(0, height))
    return left, top, int(random.integers(left + 1, width + 1)), int(random.integers(top + 1, height + 1))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("sampling", [*SAMPLINGS, "grey"])
def test_windows_have_the_pixels_of_the_whole(sampling: str, mode: Any, scale: int) -> None:
    random = np.random.default_rng(scale)
    for number in range(24):
        width, height = (int(side) for side in random.integers(1, 180, 2))
        pixels = noise(height, width, seed=number)
        if sampling == "grey":
            content = cv2.imencode(".jpg", pixels[:, :, 0])[1].tobytes()
        else:
            content = jpeg(pixels, sampling, restarts=number % 4)
        whole = whole_by_opencv(content, mode, scale)
        size = whole.shape[1], whole.shape[0]
        left, top, right, bottom = box = some_box(random, *size)
        part = decode_window(content, mode=mode, scale=scale, size=size, box=box)
        assert part is not None
        assert part.shape == whole.shape
        assert np.array_equal(part[top:bottom, left:right], whole[top:bottom, left:right]), (number, box)


def test_without_a_margin_the_edges_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_window, "MARGIN", 0)
    content = jpeg(noise(100, 100))
    part = decode_window(content, mode="RGB", scale=1, size=(100, 100), box=(32, 30, 61, 70))
    assert part is not None
    assert not np.array_equal(part[30:70, 32:61], whole_by_opencv(content, "RGB", 1)[30:70, 32:61])


@pytest.mark.parametrize("side", [40, 100, 150, 500])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_parts_of_reduced_pictures(mode: Any, side: int) -> None:
    random = np.random.default_rng(side)
    for number in range(20):
        width, height = (int(side) for side in random.integers(60, 900, 2))
        content = jpeg(noise(height, width, seed=number))
        whole = decode_reduced(content, name="picture", mode=mode, side=side)
        size = reduced_size((width, height), side)
        left, top, right, bottom = box = some_box(random, *size)
        part = decode_reduced(content, name="picture", mode=mode, side=side, window=box)
        assert part.shape == whole.shape
        assert np.array_equal(part[top:bottom, left:right], whole[top:bottom, left:right])


@pytest.fixture
def photographs(photo_folder: Path, tmp_path: Path) -> Path:
    """A copy that may be changed, with some that are large enough to be decoded at half and a quarter of their size."""
    folder = shutil.copytree(photo_folder, tmp_path / "photographs")
    for number in range(6):
        (folder / "spots" / f"large{number}.jpg").write_bytes(jpeg(noise(500 + 37 * number, 700, seed=number)))
    return folder


@pytest.fixture
def whole_pictures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The decoders that have decoded a whole picture, one entry for each."""
    used: list[str] = []

    def count(name: str) -> None:
        original = getattr(reduced, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            pixels = original(*arguments, **named)
            if pixels is not None:
                used.append(name)
            return pixels

        monkeypatch.setattr(reduced, name, counting)

    count("_by_opencv")
    count("decode")
    return used


def part_of(content: bytes, box: tuple[int, int, int, int] = (10, 10, 20, 20)) -> np.ndarray:
    return decode_reduced(content, name="picture", mode="RGB", side=1000, window=box)


def with_exif(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(pixels), "JPEG", exif=exif)


def without_last_scans(content: bytes) -> bytes:
    """A progressive JPEG that ends, as if it were whole, after its first two scans."""
    starts = [place for place in range(len(content) - 1) if content[place : place + 2] == b"\xff\xda"]
    assert len(starts) > 4
    return content[: starts[2]] + b"\xff\xd9"


PIXELS = noise(60, 80)
NO_WINDOWS: dict[str, bytes] = {
    "png": saved(Image.fromarray(PIXELS), "PNG"),
    "cmyk": saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"),
    "rgb": saved(Image.fromarray(PIXELS), "JPEG", keep_rgb=True),
    "progressive": jpeg(PIXELS, progressive=True),
    "progressive, not all of it": without_last_scans(jpeg(PIXELS, progressive=True)),
    "bytes behind its end": jpeg(PIXELS) + b"\0",
    **{
        f"turned {orientation}": with_exif(noise(64, 64), orientation)
        for orientation in UPRIGHT
    },
}  # fmt: skip


@pytest.mark.parametrize("what", list(NO_WINDOWS))
def test_what_has_no_windows_is_decoded_as_a_whole(what: str, whole_pictures: list[str]) -> None:
    content = NO_WINDOWS[what]
    expected = decode_reduced(content, name="expected", mode="RGB", side=1000)
    assert np.array_equal(part_of(content), expected)
    assert len(whole_pictures) == 2


def test_a_picture_that_is_cut_off_says_so() -> None:
    content = jpeg(PIXELS)
    with pytest.raises(PictureError, match="cut off or damaged"):
        part_of(content[: len(content) // 2])


def test_no_picture_is_decoded_with_the_tables_of_another() -> None:
    """Some cameras leave out the usual Huffman tables; decoders then know them."""
    own = saved(Image.fromarray(noise(64, 64, seed=1)), "JPEG", optimize=True)  # has tables of its own
    usual = bytearray(jpeg(noise(64, 64, seed=2)))
    while (start := usual.find(b"\xff\xc4")) >= 0:
        del usual[start : start + 2 + int.from_bytes(usual[start + 2 : start + 4])]
    for content in (own, bytes(usual), own, bytes(usual)):
        whole = whole_by_opencv(content, "RGB", 1)
        part = decode_window(content, mode="RGB", scale=1, size=(64, 64), box=(0, 0, 64, 64))
        assert part is None or np.array_equal(part, whole)


def test_a_damaged_header_spoils_no_picture_after_it() -> None:
    good, damaged = jpeg(PIXELS), bytearray(jpeg(PIXELS))
    place = damaged.index(b"\xff\xc4")
    damaged[place + 5 : place + 21] = b"\xff" * 16  # more codes than there can be
    assert decode_window(bytes(damaged), mode="RGB", scale=1, size=(80, 60), box=(0, 0, 9, 9)) is None
    assert decode_window(good, mode="RGB", scale=1, size=(80, 60), box=(0, 0, 9, 9)) is not None


def test_an_upright_photograph_with_exif_needs_only_its_window(whole_pictures: list[str]) -> None:
    content = with_exif(PIXELS, 1)
    found = part_of(content)
    assert whole_pictures == []
    expected = decode_reduced(content, name="picture", mode="RGB", side=1000)
    assert np.array_equal(found[10:20, 10:20], expected[10:20, 10:20])


def test_damage_inside_the_window_decodes_as_in_the_whole_picture() -> None:
    content = bytearray(jpeg(noise(200, 200)))
    for place in range(len(content) // 4, len(content) // 2, 97):
        content[place] ^= 0x55
    damaged = bytes(content)
    try:
        expected = decode_reduced(damaged, name="picture", mode="RGB", side=1000)
    except PictureError as error:
        with pytest.raises(PictureError, match=error.reason[:10]):
            part_of(damaged, (0, 0, 200, 200))
    else:
        assert np.array_equal(part_of(damaged, (0, 0, 200, 200)), expected)


def test_random_damage_never_writes_beyond_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, rooms = 1 << 16, []

    def guarded(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size = int(np.prod(shape))
        rooms.append(np.full(size + 2 * guard, 0xA5, np.uint8))
        return rooms[-1][guard : guard + size].reshape(shape)

    random = np.random.default_rng(0)
    good, decoded = jpeg(noise(120, 90)), 0
    for _ in range(400):
        content = bytearray(good)
        for place in random.integers(2, len(content) - 2, int(random.integers(1, 4))):
            content[place] = int(random.integers(0, 256))
        box = some_box(random, 90, 120)
        with monkeypatch.context() as patch:
            patch.setattr(jpeg_window.np, "empty", guarded)
            part = decode_window(bytes(content), mode="RGB", scale=1, size=(90, 120), box=box)
        decoded += part is not None
    assert len(rooms) > 200
    assert decoded > 20
    for room in rooms:
        assert (room[:guard] == 0xA5).all()
        assert (room[-guard:] == 0xA5).all()


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (10, 20, 30, 20), (95, 0, 99, 10), (0, 130, 10, 140)])
def test_empty_windows_are_refused(box: tuple[int, int, int, int]) -> None:
    assert decode_window(jpeg(noise(120, 90)), mode="RGB", scale=1, size=(90, 120), box=box) is None


def test_another_size_is_refused() -> None:
    content = jpeg(noise(120, 90))
    assert decode_window(content, mode="RGB", scale=1, size=(91, 120), box=(0, 0, 5, 5)) is None


def test_a_picture_that_is_too_large_is_refused_by_its_header() -> None:
    content = bytearray(jpeg(noise(60, 80)))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = (60_000).to_bytes(2) + (60_000).to_bytes(2)
    with pytest.raises(PictureError, match="megapixels"):
        decode_reduced(bytes(content), name="picture", mode="RGB", side=10**6, window=(0, 0, 9, 9))


def test_threads_have_decompressors_of_their_own() -> None:
    contents = [jpeg(noise(300, 300, seed=seed)) for seed in range(4)]
    wholes = [whole_by_opencv(content, "RGB", 1) for content in contents]
    wrong: list[int] = []

    def read(number: int) -> None:
        for step in range(60):
            left = (step * 7) % 200
            box = (left, left, left + 60, left + 80)
            part = decode_window(contents[number], mode="RGB", scale=1, size=(300, 300), box=box)
            if part is None or not np.array_equal(
                part[left : left + 80, left : left + 60], wholes[number][left : left + 80, left : left + 60]
            ):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class _Differing:
    """A library whose pixels are off by one in a pixel format or at a scale."""

    def __init__(self, library: Any, form: int | None = None, scale: int | None = None):
        self.library, self.form, self.scale = library, form, scale
        self.tj3Decompress8, self.tj3SetScalingFactor = self.decompress, self.set_scale
        self.now = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)

    def set_scale(self, handle: int, scale: Any) -> int:
        self.now = scale.denom
        return self.library.tj3SetScalingFactor(handle, scale)

    def decompress(self, handle: int, content: bytes, length: int, first: int, pitch: int, form: int) -> int:
        failed = self.library.tj3Decompress8(handle, content, length, first, pitch, form)
        if self.form in (None, form) and self.scale in (None, self.now):
            for step in range(pitch * (32 // self.now)):  # everywhere in the first half
                ctypes.c_uint8.from_address(first + step).value ^= 1
        return failed


@pytest.mark.parametrize("wrong", [{}, {"form": 6}, {"form": 0}, {"scale": 8}, {"scale": 2, "form": 0}])
def test_a_library_with_other_pixels_does_not_agree(wrong: dict[str, int]) -> None:
    library = jpeg_window._library()
    assert jpeg_window._agrees(library)
    assert not jpeg_window._agrees(_Differing(library, **wrong))


def test_old_and_differing_libraries_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    good, tried = jpeg_window._library(), []

    class Old:
        """Version 2 has other functions."""

    def missing() -> Any:
        raise OSError("no such file")

    kinds: dict[str, Any] = {
        "missing": missing, "old": Old, "differing": lambda: _Differing(good), "good": lambda: good,
    }  # fmt: skip

    def load(name: str) -> Any:
        tried.append(name)
        return kinds[name]()

    monkeypatch.setattr(jpeg_window.ctypes, "CDLL", load)
    monkeypatch.setattr(jpeg_window, "_candidates", lambda: iter(kinds))
    assert jpeg_window._library.__wrapped__() is good
    assert tried == list(kinds)
    monkeypatch.setattr(jpeg_window, "_candidates", lambda: iter(["old", "differing"]))
    assert jpeg_window._library.__wrapped__() is None


LARGE = Preprocessing(size=72, crop_fraction=1.0)
SETTINGS = {name: named.policy for name, named in POLICIES.items() if named.policy.crops_source}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_training_sees_the_same_pixels_with_and_without(
    name: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, whole_pictures: list[str]
) -> None:
    source = load_source(photographs)
    sizes = scanned_sizes(source)

    def read(policy: Policy) -> list[np.ndarray]:
        batches = make_batches(
            source, range(len(source)), LARGE, batch_size=9, policy=policy, shuffle=True, seed=5, sizes=sizes,
            memory_share=0,
        )  # fmt: skip
        return [batch.images.numpy() for epoch in (0, 1) for batch in batches.epoch(epoch)]

    windows, original = [], reduced.decode_window

    def counting(*arguments: Any, **named: Any) -> Any:
        windows.append(original(*arguments, **named))
        return windows[-1]

    monkeypatch.setattr(reduced, "decode_window", counting)
    with_windows = read(SETTINGS[name])
    assert len(windows) == 2 * len(source)
    assert not any(part is None for part in windows)
    assert whole_pictures == []
    monkeypatch.setattr(reduced, "decode_window", lambda *_, **__: None)
    without = read(SETTINGS[name])
    assert len(whole_pictures) == 2 * len(source)
    assert len(with_windows) == len(without)
    assert all(np.array_equal(a, b) for a, b in zip(with_windows, without, strict=True))
    assert len(windows) == 2 * len(source)


@pytest.mark.parametrize("size", [(333, 211), (80, 60)])
def test_a_file_of_another_size_than_scanned_is_skipped(photographs: Path, size: tuple[int, int]) -> None:
    source = load_source(photographs)
    sizes = scanned_sizes(source)
    changed = next(n for n, picture in enumerate(source.pictures) if picture.name.endswith(".jpg"))
    path = source.path(changed)
    assert path is not None
    path.write_bytes(jpeg(noise(size[1], size[0])))

    others = [index for index in range(len(source)) if index != changed]

    def read(indices: list[int]) -> Batch:
        batches = make_batches(
            source, indices, LARGE, batch_size=len(source), policy=Policy("resized"), sizes=sizes, memory_share=0
        )
        return next(batches.epoch(0))

    batch = read(list(range(len(source))))
    [(name, reason)] = batch.skipped
    assert name == source.pictures[changed].name
    assert reason.startswith("has changed since the data were scanned: it has")
    assert torch.equal(batch.images, read(others).images)


def test_what_is_kept_is_decoded_whole_once(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_source(photographs)
    sizes = scanned_sizes(source)
    windows: list[int] = []
    monkeypatch.setattr(reduced, "decode_window", lambda *_, **__: windows.append(1))
    for share, expected in ((0.25, 0), (0.0, 2 * len(source))):
        batches = make_batches(
            source, range(len(source)), LARGE, batch_size=9, policy=Policy("resized"), shuffle=True, sizes=sizes,
            memory_share=share,
        )  # fmt: skip
        for epoch in (0, 1):
            list(batches.epoch(epoch))
        assert len(windows) == expected


def test_the_content_of_a_grey_jpeg_in_colour() -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(50, 70)[:, :, 0]).save(buffer, "JPEG")
    part = part_of(buffer.getvalue(), (70, 50))
    assert part.shape == (50, 70, 3)
    assert (part[10:20, 10:20, 0] == part[10:20, 10:20, 2]).all()


def test_pictures_that_could_not_be_scanned_are_skipped(photographs: Path) -> None:
    """Their size is 0 x 0; no warning and no number that is none comes of it."""
    source = load_source(photographs)
    known = [(0, 0) if number % 3 == 0 else size for number, size in enumerate(scanned_sizes(source))]
    batches = make_batches(
        source, range(len(source)), LARGE, batch_size=len(source), policy=Policy("resized"), sizes=known, memory_share=0
    )
    batch = next(batches.epoch(0))
    assert len(batch.skipped) == len(range(0, len(source), 3))
    assert {reason for _, reason in batch.skipped} == {"could not be read when the data were scanned"}
    assert torch.equal(batch.indices, torch.tensor([n for n in range(len(source)) if n % 3]))
