import numpy as np
import pytest

from casebook.augmentation.corruptions import CORRUPTIONS, VIEWS, corrupt

BY_NAME = {one.name: one for one in CORRUPTIONS}


def photo(side: int = 64, channels: int = 3) -> np.ndarray:
    """Smooth, with an edge, so that every change shows."""
    rows, columns = np.mgrid[:side, :side] / side
    layers = [60 + 120 * rows, 90 + 100 * columns, 200 - 120 * rows * columns][:channels]
    picture = np.stack(layers, 2)
    picture[side // 4 : side // 2, side // 3 : side // 2] = 240
    return picture.astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.name)
def test_each_strength_changes_more(corruption, channels: int) -> None:
    picture = photo(channels=channels)
    before = picture.copy()
    changed = [corrupt(corruption, picture, level, key=3) for level in range(1, 6)]
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in changed)
    differences = [float(np.abs(one.astype(int) - picture).mean()) for one in changed]
    assert differences[0] > 0
    assert differences == sorted(differences)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.name)
def test_the_same_key_gives_the_same_picture(corruption) -> None:
    picture = photo()
    assert np.array_equal(corrupt(corruption, picture, 2, key=5), corrupt(corruption, picture, 2, key=5))


def test_random_changes_differ_between_pictures() -> None:
    picture = photo()
    for name in ("noise", "occlusion"):
        assert not np.array_equal(corrupt(BY_NAME[name], picture, 3, key=1), corrupt(BY_NAME[name], picture, 3, key=2))
    turned = {corrupt(BY_NAME["rotation"], picture, 3, key=key).tobytes() for key in range(20)}
    assert len(turned) == 2  # to the left and to the right


def test_brightness_adds_to_the_value_and_keeps_the_hue() -> None:
    """As colorsys does in HSV, by hand for three colours; black becomes grey."""
    picture = np.array([[[100, 50, 0], [0, 0, 0], [250, 125, 25]]], np.uint8)
    brighter = corrupt(BY_NAME["brightness"], picture, 2, key=0)  # 0.2 x 255 = 51
    assert brighter.tolist() == [[[151, 76, 0], [51, 51, 51], [255, 128, 26]]]


def test_contrast_moves_towards_the_mean() -> None:
    picture = np.array([[[0, 10, 20], [100, 30, 20]]], np.uint8)
    assert corrupt(BY_NAME["contrast"], picture, 1, key=0).tolist() == [[[30, 16, 20], [70, 24, 20]]]  # factor 0.4


def test_noise_has_the_deviation_it_names() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for level, deviation in enumerate(BY_NAME["noise"].strengths[:2], 1):
        found = corrupt(BY_NAME["noise"], grey, level, key=0).std() / 255
        assert found == pytest.approx(deviation, rel=0.02)


def test_occlusion_covers_the_area_it_names() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    for level, area in enumerate(BY_NAME["occlusion"].strengths, 1):
        covered = (corrupt(BY_NAME["occlusion"], white, level, key=9) == 127).all(2).mean()
        assert covered == pytest.approx(area, abs=0.01)


def test_scale_shrinks_around_the_centre() -> None:
    picture = np.zeros((101, 101, 3), np.uint8)
    picture[30:71, 30:71] = 255  # 41 pixels wide
    shrunk = corrupt(BY_NAME["scale"], picture, 5, key=0)  # by half
    bright = 30 + np.flatnonzero(shrunk[50, 30:71, 0] > 140)  # its mirror images lie farther out
    assert (bright[0] + bright[-1]) / 2 == 50
    assert len(bright) == pytest.approx(20.5, abs=1.5)


def test_blur_scales_with_the_side() -> None:
    """The same picture at half the size blurs by half as many pixels."""
    large = np.kron(photo(112), np.ones((2, 2, 1), np.uint8))
    blurred = corrupt(BY_NAME["blur"], large, 3, key=0)[::2, ::2].astype(int)
    assert np.abs(blurred - corrupt(BY_NAME["blur"], photo(112), 3, key=0)).mean() < 1.5


def test_views_turn_and_mirror() -> None:
    picture = photo()
    assert np.array_equal(VIEWS["mirrored"](picture)[:, ::-1], picture)
    turned = picture
    for _ in range(4):
        turned = VIEWS["turned by 90 degrees"](turned)
    assert np.array_equal(turned, picture)
    assert np.array_equal(VIEWS["turned by 180 degrees"](picture), picture[::-1, ::-1])
