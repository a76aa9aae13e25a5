"""Fewer pictures are shown as often as all; differences are written and drawn as they are."""

import numpy as np
import pytest

from casebook.reports import figures
from casebook.studies.few_pictures import draw_differences, in_points, shown_as_often, size_axis, sizes_of
from casebook.studies.pictures import PictureSet, PictureSettings, load_pictures
from casebook.studies.verdict import paired_difference


@pytest.fixture(scope="module")
def pictures() -> PictureSet:
    return load_pictures("digits", PictureSettings(side=8, mode="L", most_per_class=12, most_test_per_class=6))


def test_sizes_end_with_all_and_leave_out_what_is_more(pictures: PictureSet) -> None:
    assert sizes_of(pictures, (5, 2, 12, 100)) == [2, 5, 12]
    assert sizes_of(pictures, ()) == [12]


def test_an_epoch_is_as_long_at_each_size_and_holds_each_picture_as_often(pictures: PictureSet) -> None:
    few = shown_as_often(pictures, 3, seed=1, num_shown=120)
    assert (len(few.train), len(few.val), len(few.test)) == (120, 60, 60)
    assert few.source.arrays is not None
    names = [few.source.pictures[i].name for i in few.train]
    assert sorted(names.count(name) for name in set(names)) == [4] * 30
    assert np.bincount(few.labels(few.train)).tolist() == [12] * 10
    drawn = {pictures.source.pictures[i].name for i in pictures.fewer(3, 1).train}
    assert set(names) == drawn


def test_an_epoch_is_as_long_where_the_pictures_do_not_divide_it(pictures: PictureSet) -> None:
    few = shown_as_often(pictures, 5, seed=1, num_shown=120)
    names = [few.source.pictures[i].name for i in few.train]
    assert len(names) == 120
    assert {names.count(name) for name in set(names)} == {2, 3}


def test_test_pictures_and_pixels_stay_as_they_were(pictures: PictureSet) -> None:
    few = shown_as_often(pictures, 2, seed=0, num_shown=120)
    assert few.source.arrays is not None
    assert pictures.source.arrays is not None
    np.testing.assert_array_equal(few.source.arrays[list(few.test)], pictures.source.arrays[list(pictures.test)])
    np.testing.assert_array_equal(few.test_labels, pictures.test_labels)


def test_a_smaller_set_lies_within_a_larger_one_of_its_seed(pictures: PictureSet) -> None:
    def names(size: int, seed: int) -> set[str]:
        found = shown_as_often(pictures, size, seed, num_shown=120)
        return {found.source.pictures[i].name for i in found.train}

    assert names(2, 0) < names(5, 0)
    assert names(2, 0) != names(2, 1)


def test_points_have_a_star_where_zero_is_outside() -> None:
    wrong, right = np.ones((2, 50), bool), np.zeros((2, 50), bool)
    assert in_points(paired_difference(wrong, right)).startswith("+100.0 (")
    assert in_points(paired_difference(wrong, right)).endswith("*")
    assert not in_points(paired_difference(right, right)).endswith("*")


def test_intervals_are_drawn_where_they_are() -> None:
    found = [paired_difference(np.arange(100)[None] < few, np.zeros((1, 100), bool)) for few in (10, 30)]
    figure, axes = figures.canvas(columns=2)
    draw_differences(axes[0], [2, 5], {"one": found})
    size_axis(axes[1], [2, 50])
    line = axes[0].containers[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [10, 30])
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["2", "50"]
    assert figures.svg(figure).startswith("<svg")
