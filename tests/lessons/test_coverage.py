"""Nothing of the lectures is left out without a reason: docs/lessons/coverage.md has a row for each of their items."""

import re

from casebook.lessons import LESSONS

from ..documents import DOCS

TEXT = (DOCS / "lessons" / "coverage.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([A-Z])(\d+) \| (.+?) \| (.+?) \| (.*) \|$", TEXT, re.MULTILINE)
# How many items each part of the lectures has, in their order.
ITEMS = {"W": 5, "L": 6, "A": 10, "Z": 7, "V": 12, "R": 13, "Y": 7, "N": 6, "C": 7, "G": 14, "M": 10, "B": 6, "E": 4,
         "T": 10, "D": 6, "S": 6, "P": 4, "O": 8, "K": 13, "Q": 25, "F": 7}  # fmt: skip


def test_every_item_has_its_row() -> None:
    expected = [(letter, str(number)) for letter, count in ITEMS.items() for number in range(1, count + 1)]
    assert [(letter, number) for letter, number, *_ in ROWS] == expected


def test_every_row_names_a_place_or_a_reason() -> None:
    for letter, number, what, where, how in ROWS:
        assert what, letter + number
        assert "](" in where or "lesson" in where or (where == "left out" and how), letter + number


def test_every_lesson_covers_something() -> None:
    assert set(LESSONS) <= set(re.findall(r"\[([\w-]+)\]\(\1\.md", TEXT))
