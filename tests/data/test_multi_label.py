"""Labels that hold several labels, and names that only look so."""

import pytest

from casebook.data.multi_label import combined_labels


@pytest.mark.parametrize(
    ("labels", "separator", "several"),
    [
        (["c0", "c9", "c0,c9"], ",", {"c0,c9"}),
        (["c0,c3", "c0,c9", "c3,c9"], ",", {"c0,c3", "c0,c9", "c3,c9"}),
        (["cat|dog", "dog", "cat"], "|", {"cat|dog"}),
        (["cat dog", "dog", "cat", "fox"], " ", {"cat dog"}),
        (
            ["haze primary", "clear primary", "agriculture clear primary", "agriculture primary", "clear water",
             "agriculture haze primary", "cloudy", "habitation clear", "clear habitation primary"],
            " ",
            {"haze primary", "clear primary", "agriculture clear primary", "agriculture primary", "clear water",
             "agriculture haze primary", "habitation clear", "clear habitation primary"},
        ),
    ],
)  # fmt: skip
def test_several_labels(labels: list[str], separator: str, several: set[str]) -> None:
    assert combined_labels(labels) == (separator, several)


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog"],
        ["dog, large", "cat, large", "dog, small", "cat, small"],
        ["tench, Tinca tinca", "great white shark, white shark", "white wolf"],
        ["left hand", "right hand", "left foot", "right foot", "hand", "foot"],
        ["red car", "blue car", "red bus", "blue bus", "green car", "green bus"],
        ["T-shirt/top", "Trouser", "n/a"],
        ["great white shark", "white wolf", "timber wolf", "wolf spider"],
        ["a,", "a", ",b", "b"],
        ["crane, bird", "bird, nest", "wolf, grey"],
        ["hot dog", "hot", "dog", "great white shark", "white wolf", "timber wolf"],
    ],
)
def test_one_label_each(labels: list[str]) -> None:
    assert combined_labels(labels) is None
