"""The torch back end: equal to OpenCV's within rounding, and composed equal to chained where both are exact."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from casebook.augmentation.augment import augment
from casebook.augmentation.augment_tensors import augment_tensors
from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import sample

from .augmenting import FILL, noise, parameters, ramp, smooth


def one(picture: NDArray, record: NDArray, size: int, fill: NDArray = FILL) -> NDArray:
    return augment_tensors(torch.from_numpy(picture)[None], record, size, fill)[0].numpy()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_identity_parameters_return_the_input_exactly(dtype: Any, channels: int) -> None:
    picture = noise(32, 32, channels).astype(dtype)
    for reflect in (False, True):
        found = one(picture, parameters(32, 32, reflect=reflect), 32, FILL[:channels])
        assert found.dtype == picture.dtype
        if dtype == np.uint8:
            assert np.array_equal(found, picture)
        else:  # the grid is scaled to -1 to 1 and back
            assert np.abs(found - picture).max() <= 1000 * np.finfo(dtype).eps * 32


# Levels that may differ: half a one for the rounding of each step on either side, which colours then amplify, and what
# OpenCV loses to the fixed point of its crops and matrices.
SINGLE = {
    "crop": (Policy("resized"), 2), "window": (Policy("window"), 1), "padded": (Policy("padded", border="fill"), 1),
    "mirror": (Policy(mirror=0.5), 1), "rotate": (Policy(rotate=40), 1),
    "filled": (Policy(rotate=40, border="fill"), 1), "shear": (Policy(shear=20), 1),
    "scale": (Policy(scale=(0.5, 2)), 1), "shift": (Policy(shift=0.3), 1), "warp": (Policy(warp=0.05), 1),
    "brightness": (Policy(brightness=0.5), 2), "contrast": (Policy(contrast=0.5), 2),
    "saturation": (Policy(saturation=0.8), 2), "hue": (Policy(hue=90), 3), "channels": (Policy(channels=0.2), 1),
    "pca": (Policy(pca=0.3), 1), "blur": (Policy(blur=(0.3, 2), blur_probability=1), 2), "noise": (Policy(noise=20), 1),
    "erase": (Policy(erase=1), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("side", [40, 90])
def test_the_back_ends_agree_on_each_operation(name: str, side: int) -> None:
    policy, levels = SINGLE[name]
    pictures = np.stack([smooth(side, side + 5) // 2 + noise(side, side + 5, seed=seed) // 4 + 20 for seed in range(8)])
    sampled = sample(policy, 0, 0, np.arange(8), np.array([[side + 5, side]] * 8), 40)
    first = augment(list(pictures), sampled, 40, FILL).astype(int)
    second = augment_tensors(torch.from_numpy(pictures), sampled, 40, FILL).numpy()
    assert np.abs(first - second).max() <= levels
    assert (first != pictures[:, :40, :40]).any()


@pytest.mark.parametrize("name", POLICIES)
def test_the_back_ends_agree_on_policies(name: str) -> None:
    pictures = np.stack([smooth(120, 90)] * 16)
    sampled = sample(POLICIES[name].policy, 0, 0, np.arange(16), np.array([[90, 120]] * 16), 64)
    for step in ("equalize", "autocontrast"):  # a level more or less may be far away in these tables
        sampled[step] = False
    sampled["solarize"], sampled["posterize"] = 256, 8
    first = augment(list(pictures), sampled, 64, FILL).astype(int)
    second = augment_tensors(torch.from_numpy(pictures), sampled, 64, FILL).numpy()
    assert np.abs(first - second).max() <= 4  # levels that differ by one may be amplified by contrast and sharpness
    assert np.abs(first - second).mean() < 0.25


@pytest.mark.parametrize("changes", [{"equalize": True}, {"autocontrast": True}, {"solarize": 90.0}, {"posterize": 2}])
def test_the_back_ends_have_the_same_tables(changes: dict) -> None:
    picture = smooth(32, 32) // 2 + 30
    record = parameters(32, 32, **changes)
    assert np.array_equal(one(picture, record, 32), augment([picture], record, 32, FILL)[0])


def test_floats_are_not_rounded_between_steps() -> None:
    picture = noise(96, 96).astype(np.float64)
    record = parameters(96, 96, angle=10.0, brightness=1.1)
    exact = one(picture, record, 32)
    single = one(picture.astype(np.float32), record, 32)
    assert np.abs(single - exact).max() < 0.01
    assert np.abs(exact - np.rint(exact)).max() > 0.4
    with pytest.raises(ValueError, match="float16, expected uint8, float32 or float64"):
        one(picture.astype(np.float16), record, 32)


def test_reduced_pictures_are_rounded_as_opencv_rounds_them() -> None:
    picture = noise(96, 96)
    record = parameters(96, 96, angle=10.0)
    here, there = one(picture, record, 32).astype(int), augment([picture], record, 32, FILL)[0]
    assert (here != there).mean() < 0.002  # without that rounding a third of the levels would differ by one


def test_composed_equals_chained_exactly_where_reading_between_pixels_is_exact() -> None:
    """On a picture whose levels rise linearly, each resampling of a chain is exact inside; so is the composed one."""
    side = 96
    picture = ramp(side, side) / 2 + 40
    chain: list[dict] = [
        {"window": (5, 9, 64, 64)}, {"mirror": True}, {"scale": 1.2}, {"shear": (7.0, -4.0)}, {"angle": 17.0},
        {"shift": (0.03, -0.05)}, {"warp": np.random.default_rng(0).uniform(-0.03, 0.03, (2, 8, 8))},
    ]  # fmt: skip
    composed = parameters(side, side)
    step, seen = picture, np.ones((side, side, 1))
    for changes in chain:
        for name, value in changes.items():
            composed[name] = value
        width = step.shape[1]
        record = parameters(width, width, **changes)
        step = one(step, record, 64)
        seen = one(seen * 255, record, 64, np.zeros(1, np.uint8)) / 255  # 1 where nothing from outside came in
    once = one(picture, composed, 64)
    inside = seen[:, :, 0] > 1 - 1e-9
    assert inside.mean() > 0.4
    assert np.abs(once - step)[inside].max() < 1e-9


def test_composed_is_nearer_to_the_truth_than_chained() -> None:
    """A wave, turned there and back in seven steps: one reading keeps it, eight blur it."""
    side = 96
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    picture = np.repeat((127 + 100 * np.sin((x + 0.3 * y) / 2.2))[:, :, None], 3, 2)
    angles = (13.0, 9.0, -20.0, 31.0, -17.0, 8.0, -24.0)
    step = picture
    for angle in angles:
        step = one(step, parameters(side, side, angle=angle), side)
    once = one(picture, parameters(side, side, angle=sum(angles)), side)
    middle = np.s_[30:66, 30:66]
    assert np.abs(once - picture)[middle].max() < 1e-6
    assert np.abs(step - picture)[middle].max() > 10


@pytest.mark.parametrize("name", ["strong", "trivial", "randaugment"])
def test_a_picture_comes_out_the_same_again_and_in_any_block(name: str) -> None:
    pictures = torch.from_numpy(np.stack([noise(50, 60, seed=seed) for seed in range(37)]))
    sampled = sample(POLICIES[name].policy, 0, 0, np.arange(37), np.array([[60, 50]] * 37), 40)
    whole = augment_tensors(pictures, sampled, 40, FILL)
    assert torch.equal(augment_tensors(pictures, sampled, 40, FILL), whole)
    some = augment_tensors(pictures[14:20], sampled[14:20], 40, FILL)
    assert (some.int() - whole[14:20].int()).abs().max() <= 1  # matrix products of other shapes round otherwise
    assert augment_tensors(pictures[:0], sampled[:0], 40, FILL).shape == (0, 40, 40, 3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", POLICIES)
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    pictures = torch.from_numpy(np.stack([smooth(120, 90)] * 16))
    sampled = sample(POLICIES[name].policy, 0, 0, np.arange(16), np.array([[90, 120]] * 16), 64)
    sampled["equalize"], sampled["autocontrast"], sampled["solarize"], sampled["posterize"] = False, False, 256, 8
    there = augment_tensors(pictures.cuda(), sampled, 64, FILL)
    assert torch.equal(augment_tensors(pictures.cuda(), sampled, 64, FILL), there)
    here = augment_tensors(pictures, sampled, 64, FILL)
    assert (there.cpu().int() - here.int()).abs().max() <= 3
