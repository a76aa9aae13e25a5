"""A lesson -> a notebook that runs from top to bottom."""

import doctest
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from .drawings import directive
from .exercises import Exercise, asked, exercises
from .source import DETAILS, Block, Lesson

COMMANDS = '''import shlex
from casebook.cli import app

def casebook_command(line):
    """Runs a command of Casebook as the terminal would."""
    app(shlex.split(line), standalone_mode=False)'''
CLOSED = {"jupyter": {"source_hidden": True}, "collapsed": True}
"""An answer's code, which the reader opens."""


def notebook(lesson: Lesson, seed: int) -> str:
    """The lesson as a notebook: text, code without prompts, commands, and cells for the reader's answers."""
    return notebook_text(list(_cells(lesson, seed)))


def notebook_text(cells: Sequence[dict[str, Any]]) -> str:
    """The file of a notebook with these cells, which get their numbers as ids."""
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cells(lesson: Lesson, seed: int) -> Iterator[dict[str, Any]]:
    yield _text(f"# {lesson.title}\n\n{lesson.lead}")
    if any(block.kind == "console" for block in lesson.blocks):
        yield _code(COMMANDS)
    found = exercises(lesson, seed)
    if found:
        yield _code(f'my_answers = {{"seed": {seed}, "{lesson.name}": {{}}}}  # the last cell marks them')
    waiting, open_exercise = iter(found), None
    for block in lesson.blocks:
        if block.kind == "heading":
            if open_exercise:
                yield _answer_cell(open_exercise)
            open_exercise = next(waiting) if _is_exercise(block, found) else None
            yield _text(f"{'#' * int(block.label)} {block.text}")
        elif block.is_folded and open_exercise and open_exercise.kind == "predict":
            yield _answer_cell(open_exercise)
            open_exercise = None
            yield _cell(block)
        elif open_exercise and block.kind == open_exercise.kind:
            yield _text(asked(open_exercise))
        else:
            yield _cell(block)
    if open_exercise:
        yield _answer_cell(open_exercise)
    if found:
        yield _code(
            "from casebook.lessons.marking import mark\n\n"
            "for one in mark(my_answers):\n    print(one.exercise, one.key, one.outcome, one.remark)"
        )


def _is_exercise(block: Block, found: list[Exercise]) -> bool:
    return block.text in {f"{exercise.kind.capitalize()}: {exercise.title}" for exercise in found}


def _cell(block: Block) -> dict[str, Any]:
    if block.kind == "text":
        return _text(f"{DETAILS}\n\n{block.text}\n\n</details>" if block.is_folded else block.text)
    if block.kind == "python":
        title = f"# {block.label.capitalize()}\n" if block.label else ""
        return _code(title + python_source(block.text), block.is_folded)
    if block.kind == "console":
        return _code(console_source(block.text), block.is_folded)
    if block.kind == "draw":
        asked = directive(block.text)
        return _code(f"# {asked.caption}\nimport casebook\n{asked.call}")
    return _text(f"```{block.kind}\n{block.text.rstrip()}\n```")


def python_source(text: str) -> str:
    """The code of a block with prompts, without them and without what it prints."""
    return "".join(map(_example, doctest.DocTestParser().get_examples(text))).rstrip("\n")


def _example(example: doctest.Example) -> str:
    """Its code; an error that it is to show is caught, so that the notebook goes on."""
    if not example.exc_msg:
        return example.source
    return f"try:\n{textwrap.indent(example.source, '    ')}except Exception as error:\n    print(error)\n"


def console_source(text: str) -> str:
    """The commands of a block, one call each."""
    lines = re.findall(r"^\$ casebook (.+(?:\n.+)*?)$(?<!\\)", text.replace("\\\n", " "), re.MULTILINE)
    return "\n".join(f"casebook_command({' '.join(line.split())!r})" for line in lines)


def _answer_cell(exercise: Exercise) -> dict[str, Any]:
    form = ", ".join(f'"{key}": ""' for key in exercise.asks)
    return _code(f'my_answers["{exercise.lesson}"]["{exercise.name}"] = {{{form}}}')


def _text(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.strip("\n").splitlines(True)}


def _code(source: str, is_folded: bool = False) -> dict[str, Any]:
    return {
        "cell_type": "code", "metadata": CLOSED if is_folded else {}, "source": source.splitlines(True),
        "execution_count": None, "outputs": [],
    }  # fmt: skip
