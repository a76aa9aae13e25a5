"""What is read of a picture: the pixels outside of it do not count."""

import dataclasses

import numpy as np
import pytest

from casebook.augmentation.augment import augment
from casebook.augmentation.geometry import compose, reach
from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import sample

from .augmenting import FILL, noise, parameters

WILD = Policy(crop="resized", rotate=40, shear=20, shift=0.3, warp=0.2, scale=(0.5, 2.0))


@pytest.mark.parametrize("border", ["reflect", "fill"])
@pytest.mark.parametrize("name", [*POLICIES, "wild"])
def test_pixels_out_of_reach_change_nothing(name: str, border: str) -> None:
    policy = dataclasses.replace(POLICIES[name].policy if name in POLICIES else WILD, border=border)
    random = np.random.default_rng(len(name))
    sizes = np.array([*random.integers(1, 400, (40, 2)), (1, 1), (3, 900), (900, 3)])
    size = 32
    sampled = sample(policy, 1, 2, np.arange(len(sizes)), sizes, size)
    boxes = reach(compose(sampled, sizes, size), sampled, sizes, size)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= sizes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    pictures, spoiled = [], []
    for number, ((width, height), (left, top, right, bottom)) in enumerate(zip(sizes, boxes, strict=True)):
        picture = noise(height, width, seed=number)
        other = 255 - picture
        other[top:bottom, left:right] = picture[top:bottom, left:right]
        pictures.append(picture)
        spoiled.append(other)
    assert np.array_equal(augment(spoiled, sampled, size, FILL), augment(pictures, sampled, size, FILL))


def test_a_crop_reaches_no_further_than_its_window() -> None:
    record = parameters(400, 300, window=(40, 30, 150, 100))
    sizes = np.array([(400, 300)])
    assert reach(compose(record, sizes, 100), record, sizes, 100).tolist() == [[40, 30, 190, 130]]


def test_a_turned_crop_reaches_to_its_corners() -> None:
    record = parameters(400, 300, window=(150, 100, 100, 100), angle=45.0)
    sizes = np.array([(400, 300)])
    left, top, right, bottom = reach(compose(record, sizes, 100), record, sizes, 100)[0]
    half = 50 * 2**0.5
    assert (left, top) == pytest.approx((200 - half, 150 - half), abs=3)
    assert (right, bottom) == pytest.approx((200 + half, 150 + half), abs=3)
