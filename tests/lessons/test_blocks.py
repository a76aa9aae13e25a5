"""Every command and every line of Python in the lessons prints what the lesson shows, and so does each notebook.

The blocks of a lesson run in order and share their names, as in a notebook. Lessons that need Keras are run by
`pytest -m peers`.
"""

import contextlib
import io
import json
import re
import shlex

import pytest

from casebook.lessons import LESSONS
from casebook.lessons.exercises import exercise_sections
from casebook.lessons.notebook import console_source, notebook, python_source
from casebook.lessons.source import Lesson, read_lesson
from casebook.studies import STUDIES

from ..documents import Block, run_console, run_python

SHOWN = {"python", "console"}
NOT_RUN = {"draw", "compute", "defend", "run", "toml", "sh", "text"}
"""Drawings and exercises have tests of their own; commands that take minutes are checked by tests/test_docs.py."""
KERAS = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
MARKS = {name: KERAS for name in LESSONS if read_lesson(name).needs_keras}
EVERY = [pytest.param(name, marks=MARKS.get(name, [])) for name in LESSONS]
# The drawing of that lesson takes seconds, since it scales networks.
NOTEBOOKS = [pytest.param(name, marks=(MARKS | {"efficientnet": pytest.mark.slow}).get(name, [])) for name in LESSONS]


def need_keras(lesson: Lesson, request: pytest.FixtureRequest) -> None:
    if lesson.needs_keras:
        request.getfixturevalue("keras")
    if lesson.name == "keras-data":
        pytest.importorskip("grain")


def run_blocks(lesson: Lesson) -> None:
    namespace: dict = {}
    for block in lesson.blocks:
        found = Block(block.kind, block.text, block.line)
        if block.kind == "python":
            run_python(found, namespace, lesson.name)
        elif block.kind == "console":
            run_console(found, lesson.name)


def run_notebook(lesson: Lesson) -> dict:
    """Each cell is code without prompts; all share one namespace, which comes back."""
    document = json.loads(notebook(lesson, seed=5))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    cells = document["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    namespace: dict = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{lesson.name} {cell['id']}", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", EVERY)
def test_a_lesson_prints_what_it_shows(name: str, request: pytest.FixtureRequest) -> None:
    lesson = read_lesson(name)
    need_keras(lesson, request)
    kinds = {block.kind for block in lesson.blocks} - {"heading", "text"}
    assert kinds <= SHOWN | NOT_RUN
    assert kinds & SHOWN
    run_blocks(lesson)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(name: str, request: pytest.FixtureRequest) -> None:
    """Its answer cells are empty, so its last cell finds every answer open."""
    lesson = read_lesson(name)
    need_keras(lesson, request)
    namespace = run_notebook(lesson)
    if "my_answers" in namespace:
        assert namespace["one"].outcome == "open"


@pytest.mark.parametrize("name", LESSONS)
def test_the_answer_of_a_prediction_is_shown(name: str) -> None:
    """Something runs in the answer; a number stands in what it prints."""
    for kind, title, blocks in exercise_sections(read_lesson(name)):
        if kind == "predict":
            shown = [block for block in blocks if block.is_folded and block.kind in SHOWN]
            assert shown, f"{name}: {title}"
            answer = next(block.text for block in blocks if block.is_folded)
            if number := re.match(r"\*\*([0-9.,]+?)\.?\*\*", answer):
                printed = "".join(block.text for block in shown).replace(",", "")
                assert number[1].replace(",", "") in re.findall(r"[\d.]*\d", printed), f"{name}: {title}"


@pytest.mark.parametrize("name", LESSONS)
def test_runs_name_studies_that_exist(name: str) -> None:
    for kind, title, blocks in exercise_sections(read_lesson(name)):
        if kind == "run":
            words = shlex.split(next(block.text for block in blocks if block.kind == "run"))
            assert words[:2] == ["casebook", "study"], f"{name}: {title}"
            assert words[2] in STUDIES, f"{name}: {title}"


def test_a_wrong_lesson_would_be_noticed() -> None:
    lesson = read_lesson("classic-networks")
    wrong = [block._replace(text=block.text.replace("156", "157")) for block in lesson.blocks]
    with pytest.raises(AssertionError, match="Conv2d 28x28x6 157"):
        run_blocks(lesson._replace(blocks=tuple(wrong)))


def test_commands_of_a_notebook_are_calls() -> None:
    text = (
        '$ casebook explain-cost chain --input 32x32x1 --layers \\\n    "conv5-6"\n...\n$ casebook lesson\nlesson ...\n'
    )
    assert console_source(text) == (
        "casebook_command('explain-cost chain --input 32x32x1 --layers \"conv5-6\"')\ncasebook_command('lesson')"
    )
    assert python_source(">>> int('x')\nTraceback (most recent call last):\n    ...\nValueError: no\n") == (
        "try:\n    int('x')\nexcept Exception as error:\n    print(error)"
    )
    assert python_source(">>> for i in (1, 2):\n...     print(i)\n1\n2\n>>> 3\n3\n") == (
        "for i in (1, 2):\n    print(i)\n3"
    )
