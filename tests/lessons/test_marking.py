"""Answers are marked as they are, and files that are none get a message that helps."""

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from casebook.errors import DataError
from casebook.lessons import LESSONS
from casebook.lessons import marking as marking_module
from casebook.lessons.exercises import exercises
from casebook.lessons.marking import answer_form, mark, mark_file, same, write_form
from casebook.lessons.source import parse_lesson, read_lesson

RUN = """# A title

The lead.

### Run: degradation

```run
casebook study degradation --seeds 3
```
"""


def right_answers(name: str, seed: int) -> dict[str, Any]:
    """Of all kinds but the runs."""
    return {
        exercise.name: {
            key: str(value) if isinstance(value, Fraction) else value for key, value in exercise.right.items()
        }
        for exercise in exercises(read_lesson(name), seed)
        if exercise.kind != "run"
    }


@pytest.mark.parametrize("name", LESSONS)
def test_right_answers_are_right_and_another_seeds_are_not(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(tomli_w.dumps({"seed": 7, name: right_answers(name, 7)}))
    marks = mark_file(tmp_path / "a.toml")
    assert {one.outcome for one in marks} <= {"right", "open"}
    assert sum(one.outcome == "right" for one in marks) == sum(map(len, right_answers(name, 7).values()))
    if any(exercise.kind == "compute" for exercise in exercises(read_lesson(name), 7)):
        others = mark({"seed": 8, name: right_answers(name, 7)})
        assert any(one.outcome == "wrong" and one.remark.startswith("casebook explain-cost") for one in others)


def test_the_form_opens_every_answer(tmp_path: Path) -> None:
    names = list(LESSONS)
    assert write_form(tmp_path / "answers.toml", names, 4)
    marks = mark_file(tmp_path / "answers.toml")
    assert {one.outcome for one in marks} == {"open"}
    assert len(marks) == sum(len(one.asks) for name in names for one in exercises(read_lesson(name), 4))
    assert "seed = 4" in answer_form(names, 4)


def test_a_form_with_answers_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text("mine")
    assert not write_form(tmp_path / "answers.toml", ["classic-networks"], 4)
    assert (tmp_path / "answers.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "right", "verdict"),
    [
        (156, 156, True),
        (156.0, 156, True),
        ("1,234", 1234, True),
        ("156", 156, True),
        (157, 156, False),
        ("28 X 28 x6", "28x28x6", True),
        ("28×28×6", "28x28x6", True),
        ("28x28x7", "28x28x6", False),
        ("(B)", "b", True),
        ("b.", "b", True),
        (5, "b", False),
        (0.311, Fraction(14, 45), True),
        ("14/45", Fraction(14, 45), True),
        (0.32, Fraction(14, 45), False),
        ("1/0", 3, False),
        (float("nan"), 3, False),
        (float("inf"), 3.5, False),
        (True, 1, False),
        (["b"], "b", False),
        ({}, 1, False),
    ],
)
def test_what_counts_as_the_same(given: Any, right: Any, verdict: bool) -> None:
    assert same(given, right) is verdict


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file answers nothing, expected tables such as [classic-networks.a-first-layer]"),
        (b"seed = 1", "the file answers nothing"),
        (b"seed = 'x'\n[classic-networks]", "seed is 'x', expected the whole number"),
        (b"output = 28x28", "is no TOML: "),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"[clasic-networks.a]\nx=1", "unknown lesson: 'clasic-networks'; did you mean 'classic-networks'"),
        (b"classic-networks = 3", "classic-networks is 3, expected tables such as [classic-networks.what-pooling"),
        (b"[classic-networks.a-first-layr]\nx=1", "did you mean 'a-first-layer'? it has what-pooling-changes,"),
        (b"[classic-networks]\na-first-layer = 3", "a-first-layer is 3, expected a table [classic-networks.a-first-la"),
        (b"[classic-networks.a-first-layer]\nouput = 1", "did you mean 'output'? it asks for output, parameters, "),
        (b"a = " + b"[" * 5000, "is no TOML"),
        (b"#" * 1_000_001, "has 1,000,001 bytes"),
    ],
)
def test_files_that_are_none(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(told)):
        mark_file(tmp_path / "a.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory, expected a file of answers; begin with"):
        mark_file(tmp_path / "none.toml")
    with pytest.raises(DataError, match="Is a directory"):
        mark_file(tmp_path)


@pytest.mark.parametrize(
    ("result", "outcome", "remark"),
    [
        ({"study": "degradation", "seeds": [0, 1, 2], "verdicts": [{"claim": "c", "outcome": "o"}]}, "right", "c: o"),
        ({"study": "identity", "seeds": [0, 1], "verdicts": []}, "wrong", "that is a result of identity, expected one"),
        ({"study": "degradation", "seeds": [0], "verdicts": []}, "wrong", "one seed gives no verdict"),
        ([], "wrong", "is no result of a study; 'casebook study degradation'"),
    ],
)
def test_a_run_is_marked_by_its_result(
    result: Any, outcome: str, remark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking_module, "read_lesson", lambda name: parse_lesson(name, RUN))
    (tmp_path / "result.json").write_text(json.dumps(result))
    (found,) = mark({"classic-networks": {"degradation": {"folder": str(tmp_path)}}})
    assert (found.outcome, remark in found.remark) == (outcome, True)
