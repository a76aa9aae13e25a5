"""Protocols: each one's views against a statement of its paper in plain slices; definitions of one's own, checked."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from casebook.errors import ModelError
from casebook.evaluation.protocols import (
    CENTER,
    MARGIN,
    PROTOCOLS,
    Protocol,
    check_sides,
    decode_side,
    find_protocols,
    pixels,
    sides,
    views,
)
from casebook.preprocessing import Preprocessing

SMALL = Preprocessing(size=28)  # resized to 32, as 224 is to 256


def coordinates(width: int, height: int) -> Image.Image:
    """A picture whose red is the column and whose green is the row."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([across, down, np.zeros_like(across)], axis=2).astype(np.uint8))


def shown(protocol: Protocol, picture: Image.Image, preprocessing: Preprocessing = SMALL) -> list[NDArray[np.uint8]]:
    return [array for _, array in pixels(picture, views(protocol, preprocessing, picture.size), preprocessing)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_number_of_views_is_the_papers() -> None:
    numbers = {name: protocol.num_views for name, protocol in PROTOCOLS.items()}
    assert numbers == {"center": 1, "flip": 2, "10-crop": 10, "144-crop": 144, "dense": 2, "multi-scale": 5}
    for protocol in PROTOCOLS.values():
        for size in ((50, 40), (40, 50), (33, 33)):
            found = views(protocol, SMALL, size)
            assert len(found) == protocol.num_views
            assert sum(view.mirrored for view in found) == (len(found) // 2 if protocol.mirror else 0)
        assert protocol.source


@pytest.mark.parametrize(("width", "height"), [(40, 32), (32, 41), (32, 32)])
def test_ten_crop_is_where_the_paper_has_it(width: int, height: int) -> None:
    """The picture is as large as the resized one, so nothing is resampled and pixels tell where they come from."""
    wanted = []
    for left, top in (
        (0, 0), (width - 28, 0), (0, height - 28), (width - 28, height - 28),
        (round((width - 28) / 2), round((height - 28) / 2)),
    ):  # fmt: skip
        crop = np.zeros((28, 28, 3), np.uint8)
        crop[:, :, 0] = np.arange(left, left + 28)[None, :]
        crop[:, :, 1] = np.arange(top, top + 28)[:, None]
        wanted += [crop, crop[:, ::-1]]
    found = shown(PROTOCOLS["10-crop"], coordinates(width, height))
    assert len(found) == 10
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(ours, theirs)


def googlenet_views(picture: Image.Image, size: int) -> Iterator[NDArray[np.uint8]]:
    """Section 7 of the paper, by slices of arrays."""
    bilinear = Image.Resampling.BILINEAR
    for scale in (256, 288, 320, 352):
        side, (width, height) = scale * size // 224, picture.size
        large = np.asarray(
            picture.resize((side * width // min(width, height), side * height // min(width, height)), bilinear)
        )
        rows, columns = large.shape[:2]
        if columns >= rows:
            starts = (0, round((columns - side) / 2), columns - side)
            squares = [large[:, start : start + side] for start in starts]
        else:
            starts = (0, round((rows - side) / 2), rows - side)
            squares = [large[start : start + side] for start in starts]
        for square in squares:
            assert square.shape == (side, side, 3)
            middle = round((side - size) / 2)
            crops = [
                square[:size, :size],
                square[:size, -size:],
                square[-size:, :size],
                square[-size:, -size:],
                square[middle : middle + size, middle : middle + size],
                np.asarray(Image.fromarray(np.ascontiguousarray(square)).resize((size, size), bilinear)),
            ]
            for crop in crops:
                yield crop
                yield crop[:, ::-1]


@pytest.mark.parametrize(("width", "height"), [(60, 45), (45, 71), (50, 50)])
def test_144_crop_is_the_papers(width: int, height: int) -> None:
    picture = noise(width, height)
    wanted = list(googlenet_views(picture, 28))
    found = shown(PROTOCOLS["144-crop"], picture)
    assert len(found) == len(wanted) == 144
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(ours, theirs)


def test_squares_of_a_square_picture_are_one_and_count_all_the_same() -> None:
    found = Counter(views(PROTOCOLS["144-crop"], SMALL, (50, 50)))
    assert len(found) == 48
    assert set(found.values()) == {3}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(5, 90), st.integers(5, 90), st.integers(4, 40), st.sampled_from([0.5, 0.875, 0.95, 1.0]),
    st.sampled_from(["shorter", "squash", "letterbox"]), st.sampled_from(["nearest", "bilinear", "bicubic"]),
    st.sampled_from(["RGB", "L"]),
)  # fmt: skip
def test_center_is_the_preprocessing_to_the_pixel(
    width: int, height: int, size: int, fraction: float, resize, interpolation, mode
) -> None:
    ones = (0.5,) * (3 if mode == "RGB" else 1)
    preprocessing = Preprocessing(size, resize, fraction, interpolation, ones, ones, mode)
    picture = noise(width, height)
    (found,) = shown(CENTER, picture, preprocessing)
    assert np.array_equal(found, preprocessing.pixels(picture))
    assert decode_side(CENTER, preprocessing) == preprocessing.decode_side
    plain, mirrored = shown(PROTOCOLS["flip"], picture, preprocessing)
    assert np.array_equal(mirrored, plain[:, ::-1])


def test_dense_views_are_whole_pictures_of_the_papers_sides() -> None:
    large = Preprocessing(size=224)
    found = views(PROTOCOLS["multi-scale"], large, (500, 375))
    assert [min(view.output) for view in found] == [224, 256, 384, 480, 640]
    assert [max(view.output) for view in found] == [side * 500 // 375 for side in (224, 256, 384, 480, 640)]
    assert all(view.box == (0, 0, *view.target) and view.output == view.target for view in found)
    plain, mirrored = shown(PROTOCOLS["dense"], noise(60, 40))
    assert plain.shape == (32, 48, 3)
    assert np.array_equal(mirrored, plain[:, ::-1])


def test_scales_grow_with_the_network() -> None:
    assert sides(PROTOCOLS["144-crop"], Preprocessing(size=299)) == [round(s * 299 / 224) for s in (256, 288, 320, 352)]
    assert sides(PROTOCOLS["10-crop"], Preprocessing(size=227)) == [259]  # the network's own


def test_corners_get_a_margin_where_the_network_leaves_none() -> None:
    """32-pixel networks see the whole picture: all five crops would be one."""
    whole = Preprocessing(size=32, crop_fraction=1.0)
    assert sides(PROTOCOLS["10-crop"], whole) == [round(32 * MARGIN)] == [37]
    assert sides(PROTOCOLS["10-crop"], Preprocessing(size=32, resize="squash")) == [37]
    assert sides(PROTOCOLS["flip"], whole) == sides(PROTOCOLS["dense"], whole) == [32]
    assert len(Counter(views(PROTOCOLS["10-crop"], whole, (32, 32)))) == 10


def test_squeezed_networks_squeeze_at_every_scale() -> None:
    """resize="squash": the whole picture becomes a square of each side, so that the three squares are one."""
    squeezed = Preprocessing(size=28, resize="squash")
    found = views(PROTOCOLS["144-crop"], squeezed, (90, 40))
    assert {view.target for view in found} == {(side, side) for side in (32, 36, 40, 44)}
    assert len(Counter(found)) == 48


def test_scales_below_the_view_are_refused() -> None:
    small = Protocol("small", scales=(200,))
    with pytest.raises(ModelError, match=r"scale 200 is 200 pixels .* smaller than the 224"):
        check_sides(small, Preprocessing(size=224), 33)
    check_sides(Protocol("small", scales=(200,), crops=(), dense=True), Preprocessing(size=224), 33)
    with pytest.raises(ModelError, match="smaller than the 224"):
        check_sides(Protocol("small", scales=(200,), crops=(), dense=True), Preprocessing(size=224), 224)
    with pytest.raises(ModelError, match="at most 4096"):
        check_sides(Protocol("huge", scales=(4096,)), Preprocessing(size=299), 33)


def test_names_come_once_with_center_first() -> None:
    assert [p.name for p in find_protocols("10-crop, flip")] == ["center", "10-crop", "flip"]
    assert [p.name for p in find_protocols(["flip", "center,flip"])] == ["center", "flip"]
    mine = Protocol("mine", mirror=True)
    assert find_protocols(mine) == [CENTER, mine]
    with pytest.raises(ModelError, match="two protocols are called 'mine'"):
        find_protocols([mine, Protocol("mine")])


def test_a_text_is_a_protocol() -> None:
    text = "scales=256+own;squares=all;crops=corners+center+whole;mirror=yes"
    _, mine = find_protocols(text)
    assert mine.name == text
    assert mine.scales == (256, "own")
    assert mine.squares == ("left", "centre", "right")
    assert mine.crops == ("top-left", "top-right", "bottom-left", "bottom-right", "centre", "whole")
    assert mine.num_views == 2 * 3 * 6 * 2
    assert find_protocols("dense=yes;scales=256+288")[1].num_views == 2


def test_a_file_is_a_protocol(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('scales = [256, 288, 320, 352]\nsquares = ["top", "centre", "bottom"]\nmirror = true\n'
                    'crops = ["corners", "centre", "whole"]\n')  # fmt: skip
    _, mine = find_protocols(path)
    assert mine.name == "mine"
    picture = noise(45, 71)
    for ours, theirs in zip(shown(mine, picture), shown(PROTOCOLS["144-crop"], picture), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10crop", "did you mean '10-crop'?"),
        ("", "unknown protocol ''"),
        ("crops=corner", "unknown crop 'corner'; did you mean 'corners'?"),
        ("squares=upper", "unknown square 'upper'"),
        ("crop=centre", "has 'crop'; did you mean 'crops'?"),
        ("mirror", "unknown protocol 'mirror'"),
        ("crops=centre;mirror", "has 'mirror'"),
        ("mirror=perhaps", "expected yes or no"),
        ("scales=", "has no scales"),
        ("scales=0", "a scale is 0"),
        ("scales=99999", "a scale is 99999"),
        ("scales=-5", "a scale is '-5'"),
        ("crops=", "has no crops"),
        ("crops=centre+centre", "names a crop twice"),
        ("crops=whole", "shrinks a whole that is no square"),
        ("dense=yes;crops=centre", "is dense, so it sees whole pictures"),
        ("gone.toml", "cannot read the protocol gone.toml"),
        (f"scales={'+'.join(map(str, range(300, 400)))};crops=corners;squares=all", "1200 views, at most 1000"),
    ],
)
def test_what_is_no_protocol_says_why(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        find_protocols(text)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"scales = 256", "scales is 256, expected a list"),
        (b"scales = [true]", "a scale is True"),
        (b"scales = [256.5]", "a scale is 256.5"),
        (b"crops = [[1]]", "unknown crop [1]"),
        (b"mirror = 1", "mirror is 1, expected true or false"),
        (b"views = 3", "has 'views'"),
        (b'name = ""', "its name is empty"),
        (b"scales = [", "is no TOML file"),
        (b"\xff\xfe", "is no TOML file"),
    ],
)
def test_hostile_files_say_why(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    with pytest.raises(ModelError) as error:
        find_protocols(str(tmp_path / "p.toml"))
    assert expected in str(error.value)
