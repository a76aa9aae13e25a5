"""The Markdown of the lessons is read as it stands, and what is no lesson is refused with its line."""

import re
from pathlib import Path

import pytest

from casebook.errors import DataError
from casebook.lessons import LESSONS
from casebook.lessons.source import docs_folder, parse_lesson, read_lesson, slug

FOLDER = Path(__file__).parents[2] / "docs" / "lessons"
TEXT = """# A title

The lead.

## One

Text over
two lines.

```python casebook
>>> 1
1
```

### Predict: a thing

What is it?

<details><summary>Answer</summary>

**(b)** Because.

```python
>>> 2
2
```

</details>

After.
"""


def test_blocks_keep_their_order_lines_and_folds() -> None:
    lesson = parse_lesson("x", TEXT)
    assert (lesson.title, lesson.lead) == ("A title", "The lead.")
    assert [(block.kind, block.label, block.line, block.is_folded) for block in lesson.blocks] == [
        ("heading", "2", 5, False),
        ("text", "", 7, False),
        ("python", "casebook", 10, False),
        ("heading", "3", 15, False),
        ("text", "", 17, False),
        ("text", "", 21, True),
        ("python", "", 23, True),
        ("text", "", 30, False),
    ]
    assert lesson.blocks[1].text == "Text over\ntwo lines."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT.replace("</details>\n", ""), "an answer is not closed"),
        (TEXT.replace("<details><summary>Answer</summary>", "<script>alert(1)</script>"), "x.md:19: '<script>"),
        (TEXT.replace("<details><summary>Answer</summary>", "</details>"), "x.md:19: '</details>'"),
        ("## Two\n\nText.\n", "begins otherwise than with a title"),
    ],
)
def test_what_is_no_lesson_is_refused(text: str, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        parse_lesson("x", text)


def test_an_unknown_lesson_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match="unknown lesson 'clasic-networks'; did you mean 'classic-networks'"):
        read_lesson("clasic-networks")
    with pytest.raises(DataError, match=r"unknown lesson '\.\./errata'"):
        read_lesson("../errata")


def test_the_list_has_every_lesson() -> None:
    assert docs_folder() == FOLDER.parent
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README", "coverage"} == set(LESSONS)


def test_the_index_lists_the_lessons_in_their_order() -> None:
    linked = re.findall(r"\]\(([\w-]+)\.md\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert [name for name in linked if name != "coverage"] == list(LESSONS)


def test_anchors_are_those_of_github() -> None:
    assert slug("L34 Activations of LeNet-5: and AlexNet?") == "l34-activations-of-lenet-5-and-alexnet"


@pytest.mark.parametrize("name", LESSONS)
def test_code_fits_on_a_slide(name: str) -> None:
    """A slide shows 110 characters of code in a line, and 66 in each of two columns."""
    for block in read_lesson(name).blocks:
        if block.kind in ("python", "console", "sh", "run"):
            longest = max(map(len, block.text.splitlines()))
            most = 66 if block.label in ("casebook", "keras") else 110
            assert longest <= most, f"{name}.md:{block.line}: {longest} characters"
