"""The operations on uint8 pictures, one by one against their closed forms."""

import numpy as np
import pytest
from numpy.typing import NDArray

from casebook.augmentation.augment import augment, fill_colour, gaussian, noise_numbers, noise_table, sharpening
from casebook.augmentation.geometry import compose, control_points, spline_basis
from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import NOISE_TABLE, sample
from casebook.preprocessing import Preprocessing

from .augmenting import FILL, noise, parameters, ramp, smooth

BLACK = np.zeros(1, np.uint8)
ROOT = 3**0.5 / 2
FIXED_POINT = 0.9  # levels: half for rounding, and OpenCV's matrices have 10 bits behind the point


def one(picture: NDArray, record: NDArray, size: int, fill: NDArray = FILL) -> NDArray:
    return augment([picture], record, size, fill)[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_identity_parameters_return_the_input_exactly(channels: int) -> None:
    picture = noise(32, 32, channels)
    assert np.array_equal(one(picture, parameters(32, 32), 32, FILL[:channels]), picture)
    warped = parameters(32, 32, angle=1e-13)  # by way of the general path, for which nothing is upright
    assert np.array_equal(one(picture, warped, 32, FILL[:channels]), picture)


def test_mirror_and_crop() -> None:
    picture = noise(40, 50)
    cut = parameters(50, 40, window=(7, 3, 32, 32))
    assert np.array_equal(one(picture, cut, 32), picture[3:35, 7:39])
    cut["mirror"] = True
    assert np.array_equal(one(picture, cut, 32), picture[3:35, 7:39][:, ::-1])


def test_padded_crops_are_shifts() -> None:
    pictures = np.stack([noise(8, 8, seed=seed) for seed in range(50)])
    policy = Policy("padded", mirror=0.5, padding=2, border="fill")
    sampled = sample(policy, 0, 0, np.arange(50), np.array([[8, 8]] * 50), 8)
    moved = augment(list(pictures), sampled, 8, FILL)
    for before, after, record in zip(pictures, moved, sampled, strict=True):
        left, top = record["window"][:2].astype(int) + 2
        frame = np.empty((12, 12, 3), np.uint8)
        frame[:] = FILL
        frame[2:10, 2:10] = before
        expected = frame[top : top + 8, left : left + 8]
        assert np.array_equal(after, expected[:, ::-1] if record["mirror"] else expected)
    assert sampled["mirror"].any()
    assert len(np.unique(sampled["window"][:, :2], axis=0)) > 15


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise(turns: int) -> None:
    picture = noise(24, 24)
    assert (
        np.abs(one(picture, parameters(24, 24, angle=90.0 * turns), 24).astype(int) - np.rot90(picture, turns)).max()
        <= 1
    )


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        # Where the point (x, y) of the result, from the centre, is read; y is downward.
        ({"angle": 30.0}, lambda x, y: (x * ROOT - y / 2, x / 2 + y * ROOT)),
        ({"scale": 1.25}, lambda x, y: (x / 1.25, y / 1.25)),
        ({"shift": (0.1, -0.05)}, lambda x, y: (x - 6.4, y + 3.2)),
        ({"shear": (45.0, 0.0)}, lambda x, y: (x - y, y)),
        ({"shear": (0.0, 45.0)}, lambda x, y: (x, y - x)),
        ({"shear": (45.0, 45.0)}, lambda x, y: (2 * x - y, y - x)),  # first along x, then along y
        ({"mirror": True, "shift": (0.1, 0.0)}, lambda x, y: (-(x - 6.4), y)),
        ({"angle": 90.0, "scale": 2.0}, lambda x, y: (-y / 2, x / 2)),
    ],
)  # fmt: skip
def test_geometry_reads_where_the_closed_form_says(changes: dict, place) -> None:
    size = 64
    geometry = compose(parameters(size, size, **changes), np.array([[size, size]]), size)
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    x, y = place(column + 0.5 - size / 2, row + 0.5 - size / 2)
    found = np.einsum("ij,jrc->irc", geometry.matrices[0], np.stack([column, row, np.ones_like(row)]).astype(float))
    found = (found + 0.5) * geometry.cells[0][:, None, None] - 0.5  # in pixels of the picture, not of the reduced one
    assert np.allclose(found, np.stack([x, y]) + size / 2 - 0.5, atol=1e-10)


def test_an_anisotropic_window_is_stretched_before_it_is_turned() -> None:
    """As a chain of crop, resize and rotation does it."""
    record = parameters(100, 60, window=(10, 20, 80, 40), angle=90.0)
    matrix = compose(record, np.array([[100, 60]]), 40).matrices[0]
    across, down = compose(record, np.array([[100, 60]]), 40).cells[0]
    assert (across, down) == (2, 1)  # after the turn, a step down the result crosses two pixels of the picture
    # The middle of the result's top edge shows the middle of the window's right edge.
    assert np.allclose(matrix @ [19.5, -0.5, 1], [90 / 2 - 0.5, 40 - 0.5])


def test_what_lies_outside_is_filled_or_mirrored() -> None:
    picture = noise(16, 16)
    right = one(picture, parameters(16, 16, shift=(0.25, 0.0)), 16)
    assert (right[:, :4] == FILL).all()
    assert np.array_equal(right[:, 4:], picture[:, :-4])
    mirrored = one(picture, parameters(16, 16, shift=(0.25, 0.0), reflect=True), 16)
    assert np.array_equal(mirrored[:, :4], picture[:, :4][:, ::-1])


def test_the_spline_reproduces_straight_lines_and_sums_to_one() -> None:
    basis = spline_basis(37)
    assert np.allclose(basis.sum(1), 1)
    assert (basis >= 0).all()
    matrix = np.array([[[1.2, -0.3, 5], [0.4, 0.9, -2]]])
    points = control_points(matrix, np.zeros((1, 2, 8, 8)), 37)
    column, row = np.meshgrid(np.arange(37), np.arange(37))
    expected = np.einsum("ij,jrc->irc", matrix[0], np.stack([column, row, np.ones_like(row)]).astype(float))
    assert np.allclose(basis @ points[0] @ basis.T, expected)


def test_a_warp_moves_by_the_spline_of_its_control_points() -> None:
    size = 40
    warp = np.random.default_rng(0).uniform(-0.05, 0.05, (2, 8, 8)).astype(np.float32)
    picture = np.rint(ramp(size, size)).astype(np.uint8)
    warped = one(picture, parameters(size, size, warp=warp, reflect=True), size).astype(float)
    basis = spline_basis(size)
    moved = np.stack([size * basis @ warp[axis] @ basis.T for axis in range(2)])
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    x, y = x + moved[0], y + moved[1]
    inside = (x > 1) & (x < size - 2) & (y > 1) & (y < size - 2)
    expected = 20 + 0.7 * x + 0.4 * y
    assert inside.mean() > 0.7
    assert np.abs(warped[:, :, 0] - expected)[inside].max() < 1.1  # two roundings
    assert np.abs(moved).max() > 1


def test_minifying_averages_cells() -> None:
    picture = noise(96, 96)
    third = one(picture, parameters(96, 96), 32).astype(float)
    expected = picture.reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(third - expected).max() <= 0.5 + 1e-9
    turned = one(picture, parameters(96, 96, angle=90.0), 32).astype(float)
    assert np.abs(turned - np.rot90(expected)).max() <= 1


@pytest.mark.parametrize("side", [64, 80, 96, 128, 160, 200])
def test_a_fine_chequerboard_becomes_grey_and_does_not_alias(side: int) -> None:
    board = np.indices((side, side)).sum(0) % 2 * 255
    picture = np.repeat(board[:, :, None], 3, 2).astype(np.uint8)
    small = one(picture, parameters(side, side, angle=20.0, reflect=True), 32).astype(float)
    assert small.mean() == pytest.approx(127.5, abs=3)
    assert small.std() < 30  # read without averaging, its contrast would stay above 60


@pytest.mark.parametrize(("side", "cells"), [(47, 1), (49, 2), (79, 2), (81, 3)])
def test_cells_are_the_reduction_rounded(side: int, cells: int) -> None:
    for changes in ({}, {"angle": 90.0}):
        geometry = compose(parameters(side, side, **changes), np.array([[side, side]]), 32)
        assert geometry.cells.tolist() == [[cells, cells]]


@pytest.mark.parametrize("side", [36, 40, 44, 47])
def test_small_reductions_are_read_as_they_are(side: int) -> None:
    """They leave some of the finest pattern as aliasing, as geometry.py says: about a third of its contrast."""
    board = np.indices((side, side)).sum(0) % 2 * 255
    picture = np.repeat(board[:, :, None], 3, 2).astype(np.uint8)
    assert one(picture, parameters(side, side, angle=20.0, reflect=True), 32).std() < 127.5 * 0.4


def test_long_and_tiny_pictures() -> None:
    wide = np.tile(smooth(16, 400), (1, 100, 1))  # 40,000 pixels, more than OpenCV warps
    record = parameters(40_000, 16, window=(20_000, 0, 16, 16), angle=10.0)
    part = parameters(64, 16, window=(32, 0, 16, 16), angle=10.0)
    expected = one(np.ascontiguousarray(wide[:, 19_968:20_032]), part, 16).astype(int)
    assert np.abs(one(wide, record, 16) - expected).max() <= 1
    for name, entry in POLICIES.items():
        sampled = sample(entry.policy, 0, 0, np.arange(4), np.array([[1, 1], [1, 9], [9, 1], [2, 3]]), 32)
        pictures = [noise(1, 1), noise(9, 1), noise(1, 9), noise(3, 2)]
        assert augment(pictures, sampled, 32, FILL).shape == (4, 32, 32, 3), name


def test_brightness_contrast_saturation_and_shifts() -> None:
    picture = smooth(16, 16) // 2 + 40
    levels = picture.astype(float)
    grey = levels @ [0.299, 0.587, 0.114]
    expected = {
        "brightness": (1.2, levels * 1.2),
        "contrast": (0.5, 0.5 * levels + 0.5 * grey.mean()),
        "saturation": (0.3, 0.3 * levels + 0.7 * grey[:, :, None]),
        "channels": ((10, -20, 30), levels + np.array([10, -20, 30])),
        "pca": ((1, 2, 3), levels + np.array([1, 2, 3])),
    }
    for name, (value, result) in expected.items():
        found = one(picture, parameters(16, 16, **{name: value}), 16)
        assert np.abs(found - np.clip(result, 0, 255)).max() <= FIXED_POINT, name


def test_colour_changes_follow_each_other_in_the_stated_order() -> None:
    picture = smooth(16, 16) // 3 + 60
    step = picture.astype(float) * 1.1
    grey = (step @ [0.299, 0.587, 0.114]).mean()
    step = 0.7 * step + 0.3 * grey
    step = 0.6 * step + 0.4 * (step @ [0.299, 0.587, 0.114])[:, :, None]
    step = step + np.array([5, 0, -5])
    found = one(picture, parameters(16, 16, brightness=1.1, contrast=0.7, saturation=0.6, channels=(5, 0, -5)), 16)
    assert np.abs(found - step).max() <= FIXED_POINT


def test_hue_turns_chroma_from_red_to_green() -> None:
    """By its own matrix: Y stays, and the angle of (I, Q) grows."""
    forward = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    red = np.full((4, 4, 3), (140, 90, 90), np.uint8)
    y, i, q = forward @ [140, 90, 90]
    turn = np.radians(40)
    chroma = np.cos(turn) * i - np.sin(turn) * q, np.sin(turn) * i + np.cos(turn) * q
    expected = np.linalg.solve(forward, [y, *chroma])
    assert np.abs(one(red, parameters(4, 4, hue=40.0), 4) - expected).max() <= FIXED_POINT


def test_hue_keeps_grey_and_luma_and_comes_round() -> None:
    grey = np.repeat(noise(16, 16, 1) // 2 + 60, 3, 2)
    assert np.abs(one(grey, parameters(16, 16, hue=77.0), 16).astype(int) - grey).max() <= 1
    picture = smooth(16, 16) // 4 + 90
    turned = one(picture, parameters(16, 16, hue=40.0), 16).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(turned @ weights - picture @ weights).max() < 1
    assert np.abs(turned - picture).max() > 5
    assert np.abs(one(picture, parameters(16, 16, hue=360.0), 16).astype(int) - picture).max() <= 1


def test_grey_pictures_take_brightness_and_contrast() -> None:
    picture = noise(16, 16, 1) // 2 + 30
    record = parameters(16, 16, brightness=1.2, contrast=0.5, saturation=0.1, hue=50.0, channels=(7, 100, 100))
    expected = 0.5 * 1.2 * picture + 0.5 * 1.2 * picture.mean() + 7
    assert np.abs(one(picture, record, 16, BLACK) - expected).max() <= FIXED_POINT


def test_tones_as_pillow_makes_them() -> None:
    from PIL import Image, ImageOps

    picture = (smooth(24, 24) // 3 + 30).astype(np.uint8)
    image = Image.fromarray(picture)
    expected = {
        "equalize": (True, ImageOps.equalize(image)),
        "autocontrast": (True, ImageOps.autocontrast(image)),
        "solarize": (100.0, ImageOps.solarize(image, 100)),
        "posterize": (3, ImageOps.posterize(image, 3)),
    }
    for name, (value, result) in expected.items():
        found = one(picture, parameters(24, 24, **{name: value}), 24).astype(int)
        assert np.abs(found - np.asarray(result)).max() <= (1 if name == "autocontrast" else 0), name


def test_sharpness_as_pillow_makes_it_inside() -> None:
    from PIL import Image, ImageEnhance

    picture = noise(24, 24) // 2 + 60
    for factor in (0.0, 0.4, 1.9):
        expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(picture)).enhance(factor)).astype(int)
        found = one(picture, parameters(24, 24, sharpness=factor), 24).astype(int)
        assert np.abs(found - expected)[1:-1, 1:-1].max() <= 2  # Pillow rounds the smoothed picture first
    assert sharpening(1.0)[1, 1] == pytest.approx(1)


def test_blur_is_a_normalised_gaussian() -> None:
    spike = np.zeros((33, 33, 1), np.uint8)
    spike[16, 16] = 255
    blurred = one(spike, parameters(33, 33, blur=1.5), 33, BLACK)[:, :, 0]
    x = np.arange(-16, 17)
    weights = np.exp(-0.5 * (x / 1.5) ** 2) * (np.abs(x) <= 5)
    expected = 255 * np.outer(weights, weights) / weights.sum() ** 2
    assert np.abs(blurred - expected).max() <= 0.51
    assert gaussian(0.7, 33).sum() == pytest.approx(1)


def test_noise_has_its_deviation_and_differs_by_place() -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    first = one(flat, parameters(64, 64, noise=8.0, noise_place=5), 64).astype(float) - 128
    assert first.std() == pytest.approx(np.sqrt(64 + 1 / 12), rel=0.03)
    assert abs(first.mean()) < 0.3
    second = one(flat, parameters(64, 64, noise=8.0, noise_place=500_000), 64).astype(float) - 128
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    assert np.array_equal(noise_numbers(NOISE_TABLE - 2, 4), noise_table()[[-2, -1, 0, 1]])


def test_a_hole_has_the_fill_colour_and_nothing_else_changes() -> None:
    picture = noise(32, 32)
    found = one(picture, parameters(32, 32, hole=(4, 6, 10, 12)), 32)
    expected = picture.copy()
    expected[6:18, 4:14] = FILL
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", POLICIES)
def test_a_picture_comes_out_the_same_in_any_batch(name: str) -> None:
    pictures = [noise(60 + 3 * seed, 80, seed=seed) for seed in range(9)]
    sizes = np.array([(80, 60 + 3 * seed) for seed in range(9)])
    sampled = sample(POLICIES[name].policy, 1, 2, np.arange(9), sizes, 48)
    whole = augment(pictures, sampled, 48, FILL)
    assert np.array_equal(augment(pictures[4:6], sampled[4:6], 48, FILL), whole[4:6])
    assert np.array_equal(augment(pictures, sampled, 48, FILL), whole)


def test_no_pictures_are_no_pictures() -> None:
    assert augment([], parameters(1, 1)[:0], 32, FILL).shape == (0, 32, 32, 3)


def test_fill_is_the_mean_of_colours_and_black_for_grey() -> None:
    assert fill_colour(Preprocessing()).tolist() == [124, 116, 104]
    assert fill_colour(Preprocessing(mode="L", mean=(0.3,), std=(0.3,))).tolist() == [0]
