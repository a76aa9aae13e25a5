"""Reads our Markdown pages and runs their blocks, for the tests of every page that has some.

A section is a heading with what stands under it. In a `console` block a line "$ casebook ..." is a command and what
follows is its output; a `python` block is a doctest. "..." stands for anything.
"""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

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
