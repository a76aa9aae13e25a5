"""`Augment`: what training does to a picture, as a callable for any DataLoader."""

import doctest
import pickle
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from casebook.augmentation import transform
from casebook.augmentation.augment import augment as apply
from casebook.augmentation.augment import fill_colour, reduce_pixels
from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import replayed
from casebook.augmentation.transform import Augment
from casebook.errors import DataError, RecipeError
from casebook.preprocessing import Preprocessing

from .augmenting import smooth

SIZE = Preprocessing(size=48)
GREY = Preprocessing(size=48, mode="L", mean=(0.5,), std=(0.5,))
PICTURE = Image.fromarray(smooth(300, 400))


class Same(Dataset):
    """The same picture again and again."""

    def __init__(self, augment: Augment):
        self.augment = augment

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.augment(PICTURE)


def read(augment: Augment, workers: int) -> torch.Tensor:
    torch.manual_seed(5)
    return torch.cat(list(DataLoader(Same(augment), batch_size=3, num_workers=workers)))


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("preprocessing", [SIZE, GREY], ids=["colour", "grey"])
def test_it_does_what_its_parameters_say(name: str, preprocessing: Preprocessing) -> None:
    augment = Augment(name, preprocessing)
    torch.manual_seed(3)
    parameters = replayed([augment.parameters(PICTURE)])
    torch.manual_seed(3)
    found = augment(PICTURE)
    mode = PICTURE.convert(preprocessing.mode)
    pixels = preprocessing.pixels(mode)
    if augment.policy.crops_source:
        pixels = reduce_pixels(np.asarray(mode), preprocessing.decode_side)
    expected = apply([pixels], parameters, 48, fill_colour(preprocessing))[0]
    assert found.shape == (preprocessing.channels, 48, 48)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert np.array_equal(found.numpy(), preprocessing.normalise(expected).transpose(2, 0, 1))


def test_without_a_policy_it_is_the_preprocessing() -> None:
    assert np.array_equal(Augment("none", SIZE)(PICTURE).numpy(), SIZE(PICTURE))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_call_differs_and_the_seed_repeats_them(workers: int) -> None:
    augment = Augment("light", SIZE)
    first = read(augment, workers)
    assert len({image.numpy().tobytes() for image in first}) == 12
    assert torch.equal(read(augment, workers), first)
    assert torch.equal(read(pickle.loads(pickle.dumps(augment)), workers), first)
    assert not torch.equal(read(Augment("light", SIZE, seed=1), workers), first)


def test_the_random_numbers_follow_the_policys_laws() -> None:
    augment = Augment(Policy("resized", mirror=0.25, rotate=10), SIZE)
    torch.manual_seed(0)
    found = [augment.parameters(PICTURE) for _ in range(600)]
    angles = np.array([one["angle"] for one in found])
    assert np.mean([one.get("mirror", False) for one in found]) == pytest.approx(0.25, abs=0.05)
    assert np.abs(angles).max() <= 10
    assert np.abs(angles).mean() == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("shape", [(60, 50), (60, 50, 1), (60, 50, 3)])
def test_arrays_are_pictures_too(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    torch.manual_seed(1)
    found = Augment("basic", SIZE)(pixels)
    torch.manual_seed(1)
    picture = Image.fromarray(pixels.reshape(shape[:2]) if shape[-1] == 1 else pixels)
    assert torch.equal(found, Augment("basic", SIZE)(picture))


@pytest.mark.parametrize("odd", [np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3), np.float32), "picture.jpg"])
def test_what_is_no_picture_is_refused(odd: Any) -> None:
    with pytest.raises(DataError, match="expected a PIL picture or a uint8 array"):
        Augment("basic", SIZE)(odd)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'light'"):
        Augment("ligth", SIZE)


def test_no_setting_of_the_process_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = cv2.getNumThreads(), []
    monkeypatch.setattr(transform, "reduce_pixels", lambda p, side: (seen.append(cv2.getNumThreads()), p)[1])
    cv2.setNumThreads(3)
    try:
        Augment("basic", SIZE)(PICTURE)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    assert seen == [1]


def test_the_example() -> None:
    results = doctest.testmod(transform)
    assert results.attempted >= 5
    assert results.failed == 0
