import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from casebook.data.augment import (
    DRAWS,
    Augmentation,
    Crop,
    apply_resized_crop,
    draw,
    fill_colour,
    padded_crops,
    resized_crop,
)
from casebook.preprocessing import Preprocessing


def test_draws_depend_on_seed_epoch_and_picture_alone() -> None:
    together = draw(1, 2, np.arange(100))
    assert together.shape == (100, DRAWS)
    assert np.array_equal(draw(1, 2, np.array([42, 7])), together[[42, 7]])
    for other in (draw(2, 2, np.arange(100)), draw(1, 3, np.arange(100)), draw(1, 2, np.arange(100, 200))):
        assert not np.isin(other, together).any()


def test_draws_are_uniform_and_unrelated() -> None:
    draws = draw(0, 0, np.arange(20_000))
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        gaps = np.sort(column) - np.arange(20_000) / 20_000
        assert np.abs(gaps).max() < 1.63 / np.sqrt(20_000)  # Kolmogorov-Smirnov at the 1 % level
    correlations = np.corrcoef(draws.T) - np.eye(DRAWS)
    assert np.abs(correlations).max() < 0.03
    next_epoch = draw(0, 1, np.arange(20_000))
    assert abs(np.corrcoef(draws[:, 0], next_epoch[:, 0])[0, 1]) < 0.03


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 10_000))
def test_resized_crops_lie_in_the_picture(width: int, height: int, index: int) -> None:
    augmentation = Augmentation("resized", mirror=True)
    crop = resized_crop(augmentation, draw(0, 0, np.array([index]))[0], width, height)
    assert 0 <= crop.left < crop.right <= width
    assert 0 <= crop.top < crop.bottom <= height


def test_resized_crops_have_the_stated_areas_and_ratios() -> None:
    augmentation = Augmentation("resized", area=(0.1, 0.4))
    crops = [resized_crop(augmentation, row, 1000, 1000) for row in draw(3, 0, np.arange(2000))]
    areas = np.array([(c.right - c.left) * (c.bottom - c.top) for c in crops]) / 1e6
    ratios = np.array([(c.right - c.left) / (c.bottom - c.top) for c in crops])
    assert 0.099 < areas.min() < 0.11
    assert 0.39 < areas.max() < 0.401
    assert areas.mean() == pytest.approx(0.25, abs=0.01)
    assert ratios.min() > 0.745
    assert ratios.max() < 1.34
    assert np.log(ratios).mean() == pytest.approx(0, abs=0.02)


def test_the_whole_picture_is_returned_exactly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    preprocessing = Preprocessing(size=32)
    whole = apply_resized_crop(Image.fromarray(pixels), Crop(0, 0, 32, 32, False), preprocessing)
    assert np.array_equal(whole, pixels)
    mirrored = apply_resized_crop(Image.fromarray(pixels), Crop(0, 0, 32, 32, True), preprocessing)
    assert np.array_equal(mirrored, pixels[:, ::-1])


def test_padded_crops_are_shifts() -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (50, 8, 8, 3), np.uint8)
    draws = draw(0, 0, np.arange(50))
    moved = padded_crops(Augmentation("padded", mirror=True, padding=2), draws, pixels, np.zeros(3, np.uint8))
    for before, after, row in zip(pixels, moved, draws, strict=True):
        left, top = int(row[2] * 5), int(row[3] * 5)
        frame = np.zeros((12, 12, 3), np.uint8)
        frame[2:10, 2:10] = before
        expected = frame[top : top + 8, left : left + 8]
        assert np.array_equal(after, expected[:, ::-1] if row[4] < 0.5 else expected)


def test_no_augmentation_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    draws = draw(0, 0, np.arange(5))
    assert np.array_equal(padded_crops(Augmentation(), draws, pixels, np.zeros(1, np.uint8)), pixels)


def test_half_of_the_pictures_are_mirrored() -> None:
    pixels = np.zeros((4000, 1, 2, 1), np.uint8)
    pixels[:, 0, 0] = 255
    out = padded_crops(Augmentation(mirror=True), draw(9, 4, np.arange(4000)), pixels, np.zeros(1, np.uint8))
    assert (out[:, 0, 1, 0] == 255).mean() == pytest.approx(0.5, abs=0.03)


def test_fill_is_the_mean_of_colours_and_black_for_grey() -> None:
    assert fill_colour(Preprocessing()).tolist() == [124, 116, 104]
    assert fill_colour(Preprocessing(mode="L", mean=(0.3,), std=(0.3,))).tolist() == [0]
