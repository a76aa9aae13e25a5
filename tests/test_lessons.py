"""Every command and every line of Python in the errata, the questions and the page on Python prints what they show.

A section is a heading with what stands under it. Its blocks run in order and know what the blocks above the first
section imported, so each section can be tried alone. In a `console` block a line "$ casebook ..." is a command and
what follows is its output; a `python` block is a doctest. "..." stands for anything.
"""

import contextlib
import doctest
import io
import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from casebook.cli import app

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    language: str
    text: str
    line: int


class Section(NamedTuple):
    page: str
    heading: str
    blocks: list[Block]


def read_sections(page: Path) -> list[Section]:
    """What stands above the first heading of the second level comes first, as the section ""."""
    found = [Section(page.stem, "", [])]
    language, text, start = None, [], 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is not None:
                found[-1].blocks.append(Block(language, "\n".join(text) + "\n", start))
                language, text = None, []
            else:
                language, start = line.removeprefix("```").strip(), number
        elif language is not None:
            text.append(line)
        elif heading := re.match(r"###? (.+)", line):
            found.append(Section(page.stem, heading[1], []))
    assert language is None, f"{page.name}:{start}: a block is not closed"
    return found


def run_python(block: Block, namespace: dict, page: str) -> None:
    name = f"{page}.md:{block.line}"
    examples = doctest.DocTestParser().get_doctest(block.text, namespace, name, f"{page}.md", block.line)
    assert examples.examples, f"{name}: a python block without a line to run"
    told = io.StringIO()
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(examples, out=told.write, clear_globs=False)
    namespace.update(examples.globs)
    if told.getvalue():
        raise AssertionError(told.getvalue())


def run_console(block: Block, page: str) -> None:
    commands = re.split(r"^\$ casebook ", block.text, flags=re.MULTILINE)
    assert not commands[0], f"{page}.md:{block.line}: a console block starts with '$ casebook ...'"
    for command in commands[1:]:
        line, _, expected = command.replace("\\\n", " ").partition("\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            app(shlex.split(line), standalone_mode=False)
        assert expected.strip(), f"{page}.md:{block.line}: casebook {line} is shown without its output"
        same = doctest.OutputChecker().check_output(expected, out.getvalue(), FLAGS)
        assert same, f"{page}.md:{block.line}: casebook {line} prints\n{out.getvalue()}\nnot\n{expected}"


SECTIONS = [section for name in ("errata", "questions") for section in read_sections(DOCS / f"{name}.md")]
PREAMBLES = {section.page: section for section in SECTIONS if not section.heading}
RUN = [section for section in SECTIONS if section.heading and section.blocks]


@pytest.mark.parametrize("section", RUN, ids=lambda section: f"{section.page}: {section.heading}")
def test_a_section_runs_and_prints_what_it_shows(section: Section) -> None:
    namespace: dict = {}
    for block in [*PREAMBLES[section.page].blocks, *section.blocks]:
        if block.language == "python":
            run_python(block, namespace, section.page)
        elif block.language == "console":
            run_console(block, section.page)
        else:
            pytest.fail(f"{section.page}.md:{block.line}: {block.language!r} is neither python nor console")


def test_every_erratum_is_there_once_and_shown() -> None:
    errata = [s for s in SECTIONS if s.page == "errata" and re.match(r"[LP]\d\d ", s.heading)]
    numbers = [section.heading[:3] for section in errata]
    lectures, papers = numbers[:44], numbers[44:]
    assert sorted(lectures) == [f"L{n:02d}" for n in range(1, 45)]  # they stand in the order of the lectures' parts
    assert papers == [f"P{n:02d}" for n in range(1, len(papers) + 1)]
    assert [section.heading for section in errata if not section.blocks] == []


def test_every_question_has_an_answer_that_runs() -> None:
    questions = [section for section in SECTIONS if section.page == "questions" and section.heading.endswith("?")]
    assert len(questions) >= 20
    assert [section.heading for section in questions if not section.blocks] == []


def test_the_page_on_python_runs_from_top_to_bottom() -> None:
    namespace: dict = {}
    blocks = [block for section in read_sections(DOCS / "python.md") for block in section.blocks]
    assert len(blocks) >= 10
    for block in blocks:
        assert block.language == "python", f"python.md:{block.line}"
        run_python(block, namespace, "python")


def test_the_notebook_runs_from_top_to_bottom() -> None:
    """Each cell is code without prompts; all share one namespace."""
    notebook = json.loads((DOCS / "python.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    namespace: dict = {"__name__": "__main__"}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"python.ipynb {cell['id']}", "exec"), namespace)
    assert namespace["run"].test.n == 90
    assert namespace["run"].test.top1 > 0.7
    assert "digit 0 True None" in shown.getvalue()


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("## A\n```python\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2"),
        ("## A\n```console\n$ casebook explain-cost depth\n...\nThe network is 51 ...\n```\n", "50 weight layers deep"),
        ("## A\n```console\n$ casebook explain-cost depth\n```\n", "without its output"),
    ],
)
def test_a_wrong_page_would_be_noticed(page: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    block = read_sections(tmp_path / "page.md")[1].blocks[0]
    with pytest.raises(AssertionError, match=re.escape(told)):
        run_python(block, {}, "page") if block.language == "python" else run_console(block, "page")
