"""Copies are found after everyday changes; different photographs are not taken for copies."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from casebook.data import duplicates as module
from casebook.data.duplicates import MAX_DISTANCE, close_hashes, duplicates, joined, likeness
from casebook.data.pictures import Picture, Source
from casebook.data.scan import scan
from casebook.data.sources import load_source


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = picture.size
    return picture.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": lambda picture: jpeg(picture, 30),
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "twice the size": lambda picture: picture.resize((picture.width * 2, picture.height * 2)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
    "flatter": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "cropped": lambda picture: cropped(picture, 0.02, 0.02, 0.02, 0.02),
    "cropped more": lambda picture: cropped(picture, 0.05, 0.05, 0.05, 0.05),
    "all of it": lambda picture: jpeg(ImageEnhance.Brightness(cropped(picture, 0.03, 0.02, 0, 0.03)).enhance(1.1), 60),
}


def source_of(pictures: list[Image.Image], folder: Path) -> Source:
    for index, picture in enumerate(pictures):
        picture.save(folder / f"{index:03d}.png")
    names = tuple(Picture(f"{index:03d}.png", 0) for index in range(len(pictures)))
    return Source("photographs", folder, ("a", "b"), names)


@pytest.mark.parametrize("change", list(CHANGES))
def test_copies_are_found_and_nothing_else(change: str, photographs: list[Image.Image], tmp_path: Path) -> None:
    count = len(photographs)
    source = source_of(photographs + [CHANGES[change](picture) for picture in photographs], tmp_path)
    found = {(pair.first, pair.second) for pair in duplicates(scan(source), source).pairs}
    expected = {(index, index + count) for index in range(count)}
    assert len(found & expected) >= (0.85 if change in ("cropped more", "all of it") else 1.0) * count
    assert not found - expected


def test_exact_and_near_copies_join(photographs: list[Image.Image], tmp_path: Path) -> None:
    a, b, c = photographs[:3]
    source = source_of([a, b, a, jpeg(a, 50), c, c], tmp_path)
    found = duplicates(scan(source), source)
    assert found.groups == ((0, 2, 3), (4, 5))
    assert [(pair.first, pair.second, pair.exact) for pair in found.pairs] == [
        (0, 2, True), (0, 3, False), (4, 5, True),
    ]  # fmt: skip
    assert duplicates(scan(source), source, near=False).groups == ((0, 2), (4, 5))


def test_flat_tiny_and_broken_pictures_count_only_when_equal(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    flat = [Image.fromarray(generator.integers(128, 131, (64, 64, 3), np.uint8)) for _ in range(4)]
    tiny = Image.fromarray(generator.integers(0, 256, (20, 20, 3), np.uint8))
    source = source_of([*flat, tiny, ImageEnhance.Brightness(tiny).enhance(0.9), tiny], tmp_path)
    (tmp_path / "000.png").write_bytes(b"")
    (tmp_path / "001.png").write_bytes(b"")
    assert duplicates(scan(source), source).groups == ((4, 6),)


def test_a_negative_and_a_mirror_image_are_no_copies(photographs: list[Image.Image]) -> None:
    thumbnails = np.stack([np.asarray(picture.convert("L").resize((32, 32))) for picture in photographs])
    assert likeness(thumbnails, thumbnails).min() > 0.999
    assert likeness(thumbnails, 255 - thumbnails).max() < 0.5
    assert likeness(thumbnails, thumbnails[:, :, ::-1]).max() < 0.95
    flat = np.full((1, 32, 32), 100, np.uint8)
    assert likeness(flat, flat)[0] < 0.5  # nothing to compare


def test_handwriting_of_the_same_digit_is_mostly_not_a_copy() -> None:
    """Enlarged digits are as alike as different pictures get: few may be taken for copies."""
    digits = load_source("digits")
    pictures = [digits.open(index, mode="L").resize((48, 48), Image.Resampling.BICUBIC) for index in range(600)]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    source = Source("large", None, digits.classes, digits.pictures[:600], (), arrays)
    found = duplicates(scan(source), source)
    assert sum(map(len, found.groups)) < 0.05 * 600


def test_the_built_in_digits_have_no_equal_pictures() -> None:
    source = load_source("digits")
    assert duplicates(scan(source), source).groups == ()


def test_close_hashes_finds_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 2**64, 60, np.uint64)
    flips = np.array(
        [sum(1 << int(bit) for bit in generator.choice(64, count % 16, replace=False)) for count in range(60)],
        np.uint64,
    )
    hashes = np.concatenate([base, base ^ flips, base[:5]])
    distances = np.array([[int(a ^ b).bit_count() for b in hashes] for a in hashes])
    expected = {(int(i), int(j)) for i, j in np.argwhere(distances <= MAX_DISTANCE)}
    assert expected == {(int(i), int(j)) for block in close_hashes(hashes, hashes) for i, j in zip(*block, strict=True)}
    assert len(expected) > len(hashes) + 2 * 40


def test_a_search_among_many_misses_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sampled tables find of planted pairs, by distance, against what the docstring promises."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, 3000, np.uint64)
    distances = np.arange(3000) % (MAX_DISTANCE + 1)
    flips = [sum(1 << int(bit) for bit in generator.choice(64, count, replace=False)) for count in distances]
    others = hashes ^ np.array(flips, np.uint64)
    monkeypatch.setattr(module, "EXHAUSTIVE", 100)
    pairs = {(int(i), int(j)) for block in close_hashes(others, hashes) for i, j in zip(*block, strict=True)}
    found = np.array([(place, place) in pairs for place in range(3000)])
    shares = [found[distances == count].mean() for count in range(MAX_DISTANCE + 1)]
    assert shares[:5] == [1] * 5
    assert min(shares[:8]) > 0.98
    assert min(shares) > 0.8
    assert all(int(hashes[j] ^ others[i]).bit_count() <= MAX_DISTANCE for i, j in pairs)


def test_a_search_in_pieces_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**20, 500, np.uint64)
    whole = np.concatenate([np.stack(block) for block in close_hashes(hashes, hashes)], axis=1)
    monkeypatch.setattr(module, "MOST_AT_ONCE", 100)
    pieces = np.concatenate([np.stack(block) for block in close_hashes(hashes, hashes)], axis=1)
    assert len(whole[0]) > 500
    assert np.array_equal(whole, pieces)


def test_thumbnails_on_disk_give_the_same_copies(
    photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = np.stack([np.asarray(picture.convert("L").resize((64, 64))) for picture in photographs])
    arrays = np.concatenate([arrays, np.clip(arrays[:9].astype(int) + 7, 0, 255).astype(np.uint8)])
    source = Source("photos", None, ("a", "b"), tuple(Picture(str(i), 0) for i in range(49)), (), arrays)
    expected = duplicates(scan(source), source)
    monkeypatch.setattr("casebook.data.scan.ON_DISK_BYTES", 0)
    monkeypatch.setattr("casebook.data.scan.ROUND", 10)
    seen = scan(source)
    assert isinstance(seen.thumbnails, np.memmap)
    monkeypatch.setattr(module, "BLOCK", 5)
    monkeypatch.setattr(module, "ROUND", 4)
    assert duplicates(seen, source).groups == expected.groups
    assert len(expected.groups) >= 9


def test_thousands_of_almost_equal_pictures_end_soon(photographs: list[Image.Image]) -> None:
    """Video frames: each is compared with its closest few, and still all of them join."""
    generator = np.random.default_rng(0)
    frame = np.asarray(photographs[0].convert("L").resize((40, 40))).astype(int)
    frames = np.clip(frame + generator.integers(-3, 4, (800, 40, 40)), 0, 255).astype(np.uint8)
    source = Source("video", None, ("a", "b"), tuple(Picture(str(i), 0) for i in range(800)), (), frames)
    found = duplicates(scan(source), source)
    assert len(found.groups) == 1
    assert len(found.groups[0]) == 800
    assert len(found.pairs) < 800 * module.MOST_CANDIDATES


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25))
def test_joined_is_the_connected_components(links: list[tuple[int, int]]) -> None:
    reach = {i: {i} for i in range(20)}
    for _ in range(20):
        for a, b in links:
            reach[a] |= reach[b]
            reach[b] |= reach[a]
    for _ in range(20):
        reach = {i: set().union(*(reach[j] for j in members)) for i, members in reach.items()}
    expected = {tuple(sorted(members)) for members in reach.values() if len(members) > 1}
    found = joined(20, links)
    assert set(found) == expected
    assert list(found) == sorted(found)
