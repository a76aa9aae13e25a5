"""Mirror images are left out where they show something else, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import casebook
from casebook.data.sources import load_source
from casebook.preprocessing import Preprocessing
from casebook.training.mirroring import compare_mirroring, try_mirroring

GREY = Preprocessing(size=32, mode="L", mean=(0.5,), std=(0.5,))


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return (found.images[:count, :, :, None] / 16).astype(np.float32), found.target[:count].astype(np.int64)


def test_mirrored_digits_hurt() -> None:
    found = compare_mirroring(*digits(600))
    assert found.hurts
    assert found.plain - found.mirrored > 0.03
    assert f"{found.plain:.0%}" in found.reason


def test_digits_of_which_each_comes_both_ways_do_not() -> None:
    pixels, labels = digits(600)
    turned = np.random.default_rng(0).random(600) < 0.5
    pixels[turned] = pixels[turned, :, ::-1]
    assert not compare_mirroring(pixels, labels).hurts


def test_labels_at_random_say_nothing() -> None:
    """30 data sets in which mirror images can do no harm: they are left out in about CHANCE of them."""
    generator = np.random.default_rng(0)
    left_out = sum(
        compare_mirroring(generator.random((60, 4, 4, 1), np.float32), generator.integers(0, 2, 60)).hurts
        for _ in range(30)
    )
    assert left_out <= 2


def test_too_few_pictures_are_not_tried(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(10):
            Image.new("L", (20, 20), number).save(tmp_path / label / f"{number}.png")
    assert try_mirroring(load_source(tmp_path), range(20), GREY) is None


@pytest.mark.parametrize(("given", "expected"), [({}, False), ({"mirror": True}, True)])
def test_a_training_leaves_mirrored_digits_out_and_says_so(tmp_path: Path, given: dict, expected: bool) -> None:
    pixels, labels = digits(300)
    for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture[:, :, 0] * 255).astype(np.uint8)).save(folder / f"{number}.png")
    run = casebook.train(
        tmp_path / "digits", model="lenet5", epochs=1, workers=0, near_duplicates=False, out=tmp_path / "run", **given
    )
    said = [note for note in run.evaluation["notes"] if "mirror images are left out" in note]
    assert (run.recipe.mirror, bool(said)) == (expected, not expected)
