"""What a lesson draws is what `casebook draw` writes, byte for byte, and what its notebook's call gives."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import casebook
from casebook.cli import app
from casebook.errors import CasebookError, DataError
from casebook.lessons import LESSONS
from casebook.lessons.drawings import directive, draw
from casebook.lessons.source import read_lesson


def slow(text: str) -> Any:
    """Some take seconds: those that measure networks at several sizes."""
    return pytest.param(text, marks=[pytest.mark.slow] if text.startswith("scaled") else [])


BLOCKS = sorted(
    {block.text for name in LESSONS for block in read_lesson(name).blocks if block.kind == "draw"}
)  # the same network is drawn in several lessons


@pytest.mark.parametrize("text", [slow(text) for text in BLOCKS], ids=lambda text: text.partition("\n")[0])
def test_a_drawing_is_that_of_the_command(text: str, tmp_path: Path) -> None:
    drawn, asked = draw(text), directive(text)
    assert drawn.caption
    app(["draw", *shlex.split(drawn.command), "--out", str(tmp_path / "a.svg")], standalone_mode=False)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawn.svg
    shown = eval(asked.call, {"casebook": casebook})
    assert shown.svg() == drawn.svg
    assert len(getattr(shown, "pages", [1])) == 1


def test_a_directive_is_read() -> None:
    found = directive('volume --input 6x6x3 --layers "dw3,conv1-5"\nTwo steps,\nnot one.\n')
    assert found.settings == {"input": "6x6x3", "layers": "dw3,conv1-5"}
    assert found.caption == "Two steps, not one."
    assert directive("freeze --pictures-per-class 100").settings == {"pictures_per_class": 100}


@pytest.mark.parametrize("text", ["sliding --kind", "sliding kind 1x1", "field --windows 3,3 extra"])
def test_what_is_no_directive_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=re.escape(repr(text))):
        draw(text)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(CasebookError, match="sort"):
        draw("sliding --sort 1x1\nA filter.")
