"""One look at every picture: facts, reasons, fingerprints, and the cache of a second look."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.data import scan as scan_module
from casebook.data.pictures import Picture, Source
from casebook.data.scan import PictureFacts, choose_value_range, perceptual_hashes, scan
from casebook.data.sources import load_source

Make = Callable[[dict[str, int]], Path]


def test_facts_of_a_folder_with_every_kind_of_damage(tmp_path: Path, photographs: list[Image.Image]) -> None:
    root = tmp_path / "data"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    photographs[0].save(root / "a/good.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    photographs[1].save(root / "a/turned.jpg", exif=exif)
    Image.new("L", (40, 50)).save(root / "b/grey.png")
    good = (root / "a/good.jpg").read_bytes()
    (root / "b/empty.jpg").touch()
    (root / "b/fake.png").write_text("a text")
    (root / "b/short.jpg").write_bytes(good[: len(good) // 2])
    source = load_source(root)
    result = scan(source)
    facts = {picture.name: facts for picture, facts in zip(source.pictures, result.facts, strict=True)}
    assert facts["a/good.jpg"].sha256 == hashlib.sha256(good).hexdigest()
    assert facts["a/good.jpg"].size_bytes == len(good)
    assert (facts["a/good.jpg"].format, facts["a/good.jpg"].mode) == ("JPEG", "RGB")
    assert (facts["a/good.jpg"].width, facts["a/good.jpg"].height) == photographs[0].size
    assert (facts["a/turned.jpg"].height, facts["a/turned.jpg"].width) == photographs[1].size
    assert (facts["b/grey.png"].format, facts["b/grey.png"].mode, facts["b/grey.png"].error) == ("PNG", "L", None)
    broken = {source.pictures[index].name: reason for index, reason in result.broken.items()}
    assert broken.keys() == {"b/empty.jpg", "b/fake.png", "b/short.jpg"}
    assert "empty" in broken["b/empty.jpg"]
    assert "not a picture" in broken["b/fake.png"]
    assert "cut off" in broken["b/short.jpg"]
    assert result.thumbnails.shape == (6, 32, 32)


def test_the_values_of_deep_pictures(tmp_path: Path, photographs: list[Image.Image]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    grey = np.asarray(photographs[0].convert("L"))
    Image.fromarray(grey).save(tmp_path / "a/8.png")
    Image.fromarray(grey.astype(np.uint16) * 4 + 7).save(tmp_path / "b/12.png")
    source = load_source(tmp_path)
    cached = [scan(source, cache_dir=tmp_path / "cache") for _ in range(2)]
    assert cached[0].facts == cached[1].facts
    shallow, deep = cached[0].facts
    assert (shallow.low, shallow.high) == (None, None)
    assert (deep.low, deep.high) == (float(grey.min()) * 4 + 7, float(grey.max()) * 4 + 7)
    assert (shallow.phash ^ deep.phash).bit_count() <= 2  # a dark thumbnail of nearly one colour would hide copies
    assert cached[0].thumbnails[1].std() > 30


def deep(low: float, high: float, mode: str = "I;16") -> PictureFacts:
    return PictureFacts(8, 8, "TIFF", mode, low=low, high=high)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([], None),
        ([PictureFacts(8, 8, "PNG", "L")], None),
        ([deep(3, 900), deep(0, 4001)], (0, 4095)),
        ([deep(3, 900), PictureFacts(8, 8, "PNG", "L")], (0, 1023)),
        ([deep(0, 255, "I")], (0, 255)),
        ([deep(0, 256, "I")], (0, 511)),
        ([deep(0, 65535)], (0, 65535)),
        ([deep(0, 1)], (0, 1)),
        ([deep(0, 0)], None),
        ([deep(-1024, 3071, "I"), deep(0, 100, "I")], (-1024, 3071)),
        ([deep(0.0, 0.5, "F"), deep(0.25, 1.0, "F")], (0, 1)),
        ([deep(0.0, 254.9, "F")], (0, 255)),
        ([deep(0.0, 1.0, "F"), deep(0, 1)], (0, 1)),
        ([deep(0.0, 1.0, "F"), deep(0, 4095)], None),
        ([deep(0, 4000)] * 99 + [deep(0, 65535)], (0, 65535)),
        ([deep(0, 4000)] * 198 + [deep(0, 65535)], (0, 4095)),
    ],
)
def test_the_range_of_a_data_set(facts: list[PictureFacts], expected: tuple[float, float] | None) -> None:
    assert choose_value_range(facts) == expected


def test_a_file_that_vanishes_is_a_fact(make_folder: Make) -> None:
    root = make_folder({"a": 1, "b": 1})
    source = load_source(root)
    (root / "a/0.png").unlink()
    assert scan(source).broken[0] == "there is no such file"


def test_arrays() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    source = Source("x", None, ("a", "b"), tuple(Picture(str(i), 0) for i in range(3)), (), pixels)
    facts = scan(source).facts[1]
    assert (facts.width, facts.format, facts.mode, facts.size_bytes) == (8, "array", "RGB", 192)
    assert facts.sha256 == hashlib.sha256(pixels[1].tobytes()).hexdigest()


def test_the_number_of_workers_changes_nothing(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BLOCK", 3)
    source = load_source(make_folder({"a": 10, "b": 7}))
    one, many = scan(source, workers=1), scan(source, workers=4)
    assert one.facts == many.facts
    assert np.array_equal(one.thumbnails, many.thumbnails)


def test_progress(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BLOCK", 4)
    seen: list[tuple[int, int]] = []
    scan(load_source(make_folder({"a": 5, "b": 5})), progress=lambda *news: seen.append(news))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_cache_reads_only_what_changed(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"a": 3, "b": 3})
    looked: list[int] = []
    look = scan_module._look
    monkeypatch.setattr(scan_module, "_look", lambda source, index: looked.append(index) or look(source, index))
    first = scan(load_source(root), cache_dir=tmp_path / "cache")
    assert sorted(looked) == [0, 1, 2, 3, 4, 5]
    looked.clear()
    again = scan(load_source(root), cache_dir=tmp_path / "cache")
    assert looked == []
    assert again.facts == first.facts
    assert np.array_equal(again.thumbnails, first.thumbnails)
    Image.new("RGB", (9, 9)).save(root / "a/1.png")
    (root / "b/0.png").unlink()
    changed = scan(load_source(root), cache_dir=tmp_path / "cache")
    assert looked == [1]
    assert changed.facts[1].width == 9
    assert changed.facts[3] == first.facts[4]


def test_broken_pictures_are_tried_again(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another limit, or a package that is installed now, may mend them; a lower limit may refuse others."""
    root = make_folder({"a": 2, "b": 2})
    Image.new("L", (100, 100)).save(root / "a/large.png")
    reasons = []
    for limit in ("0.001", "1", "0.001"):
        monkeypatch.setenv("CASEBOOK_MAX_MEGAPIXELS", limit)
        reasons.append(list(scan(load_source(root), cache_dir=tmp_path / "cache").broken.values()))
    assert reasons[1] == []
    assert reasons[0] == reasons[2]
    assert "more than the limit of 0.001" in reasons[0][0]


def test_cache_notices_another_picture_of_the_same_size(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 1, "b": 1})
    path = root / "a/0.bmp"
    for value in (10, 200):
        Image.new("L", (8, 8), value).save(path)
        os.utime(path, ns=(0, value))
        seen = scan(load_source(root), cache_dir=tmp_path / "cache")
        assert seen.facts[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\x80\x04pickle"])
def test_damaged_cache_is_replaced(
    content: bytes, make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load_source(make_folder({"a": 2, "b": 2}))
    expected = scan(source, cache_dir=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for damaged in (content, whole[:-20], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert scan(source, cache_dir=tmp_path / "cache").facts == expected.facts
    looked: list[int] = []
    look = scan_module._look
    monkeypatch.setattr(scan_module, "_look", lambda source, index: looked.append(index) or look(source, index))
    scan(source, cache_dir=tmp_path / "cache")  # writes it again if the last one only removed what was damaged
    looked.clear()
    assert scan(source, cache_dir=tmp_path / "cache").facts == expected.facts
    assert looked == []


def test_cache_that_cannot_be_written_stops_nothing(make_folder: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(scan(load_source(make_folder({"a": 1, "b": 1})), cache_dir=tmp_path / "file").facts) == 2


def test_hash_ignores_brightness_and_sees_structure(photographs: list[Image.Image]) -> None:
    thumbnails = np.stack([np.asarray(picture.convert("L").resize((32, 32))) for picture in photographs])
    hashes = perceptual_hashes(thumbnails)
    darker = perceptual_hashes((thumbnails // 2 + 20).astype(np.uint8))
    same = [int(a ^ b).bit_count() for a, b in zip(hashes, darker, strict=True)]
    other = [int(a ^ b).bit_count() for a, b in zip(hashes, np.roll(hashes, 1), strict=True)]
    assert max(same) <= 4
    assert np.mean(other) > 20
    assert hashes.dtype == np.uint64
