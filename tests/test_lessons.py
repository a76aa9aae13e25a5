"""Every command and every line of Python in the errata, the questions and the page on Python prints what they show.

A section is a heading with what stands under it. Its blocks run in order and know what the blocks above the first
section imported, so each section can be tried alone.
"""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from .documents import DOCS, Section, read_sections, run_console, run_python

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


@pytest.mark.slow  # its cells are the page's blocks, which the test before runs
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
