"""Pictures are read once, divided without overlap and limited as the settings say."""

from pathlib import Path

import numpy as np
import pytest

from casebook.studies.pictures import PictureSet, PictureSettings, load_pictures


@pytest.fixture(scope="module")
def pictures() -> PictureSet:
    return load_pictures("digits", PictureSettings(side=8, mode="L", most_per_class=12, most_test_per_class=6))


def test_pictures_are_read_once_and_divided_without_overlap(pictures: PictureSet) -> None:
    assert pictures.source.arrays is not None
    assert pictures.source.arrays.shape == (240, 8, 8)
    parts = [set(pictures.train), set(pictures.val), set(pictures.test)]
    assert [len(part) for part in parts] == [120, 60, 60]
    assert len(set.union(*parts)) == 240
    assert np.bincount(pictures.labels(pictures.train)).tolist() == [12] * 10
    assert pictures.policy.mirror == 0  # a mirrored digit is another sign
    assert "120 for training, 60 for validation, 60 for the test" in pictures.described()


def test_fewer_pictures_are_a_part_of_more(pictures: PictureSet) -> None:
    few, more = pictures.fewer(3), pictures.fewer(6)
    assert set(few.train) < set(more.train) < set(pictures.train)
    assert few.test == pictures.test
    assert set(pictures.fewer(3, seed=1).train) != set(few.train)


def test_a_bound_for_all_classes_together() -> None:
    bounded = load_pictures("digits", PictureSettings(side=8, mode="L", most=150, most_test_per_class=12))
    assert [len(part) for part in (bounded.train, bounded.val, bounded.test)] == [150, 120, 120]


def test_some_classes_alone_are_numbered_anew() -> None:
    some = load_pictures(
        "digits", PictureSettings(side=8, mode="L", most_per_class=5, most_test_per_class=5, classes=(7, 8, 9))
    )
    assert some.source.classes == ("7", "8", "9")
    assert sorted(set(some.test_labels)) == [0, 1, 2]


def test_a_folder_of_colour_pictures(photo_folder: Path) -> None:
    found = load_pictures(photo_folder, PictureSettings(side=12, test_fraction=0.3, val_fraction=0.2))
    assert found.source.arrays is not None
    assert found.source.arrays.shape[1:] == (12, 12, 3)
    assert found.policy.mirror == 0.5


def test_the_majority_guess_is_wrong_on_all_other_classes(pictures: PictureSet) -> None:
    wrong = pictures.majority_wrong(pictures.test)
    assert wrong.shape == (60,)
    assert wrong.mean() == 0.9
    zeros_and_a_one = [*[i for i in pictures.test if pictures.source.pictures[i].label == 0], pictures.test[-1]]
    assert pictures.majority_wrong(zeros_and_a_one).tolist() == [False] * 6 + [True]
