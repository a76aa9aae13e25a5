"""Text tables: they fit the width, fold before they drop, and never cut a cell."""

import pytest

from casebook.tables import TextColumn, layout

COLUMNS = (
    TextColumn("name"),
    TextColumn("weights", right=True),
    TextColumn("paper", rank=2, fold=10),
    TextColumn("seen", True, rank=1),
)
ROWS = [
    ["lenet5", "61,706", "Gradient-based learning applied to document recognition", "1"],
    ["alexnet", "60,965,224", "ImageNet classification", "22"],
]


def test_with_room_every_cell_has_its_line() -> None:
    assert layout(COLUMNS, ROWS).text.splitlines() == [
        "name        weights  paper                                                    seen",
        "lenet5       61,706  Gradient-based learning applied to document recognition     1",
        "alexnet  60,965,224  ImageNet classification                                    22",
    ]
    assert layout(COLUMNS, ROWS, 82) == layout(COLUMNS, ROWS)


def test_text_folds_before_columns_are_left_out() -> None:
    found = layout(COLUMNS, ROWS, 60)
    assert found.left_out == ()
    assert found.text.splitlines() == [
        "name        weights  paper                              seen",
        "lenet5       61,706  Gradient-based learning applied       1",
        "                     to document recognition",
        "alexnet  60,965,224  ImageNet classification              22",
    ]


def test_the_highest_rank_goes_first() -> None:
    found = layout(COLUMNS, ROWS, 30)
    assert found.left_out == ("paper",)
    assert found.text.splitlines()[1] == "lenet5       61,706     1"
    found = layout(COLUMNS, ROWS, 20)
    assert found.left_out == ("paper", "seen")
    assert found.text.splitlines()[2] == "alexnet  60,965,224"


def test_columns_of_rank_0_stay_whatever_the_width() -> None:
    found = layout(COLUMNS, ROWS, 5)
    assert found.text.splitlines()[2] == "alexnet  60,965,224"
    assert layout(COLUMNS[:1], [], 3).text == "name"


def test_names_of_columns_fold_over_narrow_numbers() -> None:
    columns = (TextColumn("kind"), TextColumn("top-1 error (%)", right=True))
    assert layout(columns, [["width", "1.25"]], 14).text.splitlines() == [
        "kind     top-1",
        "         error",
        "           (%)",
        "width     1.25",
    ]


def test_a_heading_has_a_line_of_its_own_and_widens_no_column() -> None:
    columns = (TextColumn("layer"), TextColumn("weights", right=True))
    assert layout(columns, ["stage 1, a long heading", ["conv", "9,408"]], 14).text.splitlines() == [
        "layer  weights",
        "stage 1, a long heading",
        "conv     9,408",
    ]


@pytest.mark.parametrize("width", range(25, 90, 5))
def test_no_line_is_too_long_and_nothing_is_lost(width: int) -> None:
    found = layout(COLUMNS, ROWS, width)
    assert all(len(line) <= width for line in found.text.splitlines())
    shown = [i for i, column in enumerate(COLUMNS) if column.name not in found.left_out]
    given = "".join(COLUMNS[i].name for i in shown) + "".join(row[i] for row in ROWS for i in shown)
    assert sorted("".join(found.text.split())) == sorted("".join(given.split()))
