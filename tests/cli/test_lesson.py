"""casebook lesson: what is listed, printed, written and marked, and careless use."""

from pathlib import Path

import pytest

from casebook.lessons import LESSONS
from casebook.lessons.source import read_lesson

from .conftest import Command
from .test_json import all_keys, check, documented


def test_the_list_names_every_lesson(command: Command) -> None:
    result = command("lesson")
    assert result.code == 0
    names = [line.split()[0] for line in result.out.splitlines()[1:-1] if not line.startswith(" ")]
    assert names == list(LESSONS)
    assert result.out.splitlines()[-1].startswith("Next: casebook lesson classic-networks")


def test_a_lesson_is_printed_with_the_readers_numbers(command: Command) -> None:
    first, second = (command("lesson", "classic-networks", "--seed", seed).out for seed in (1, 2))
    assert first.startswith(f"# {read_lesson('classic-networks').title}\n")
    assert first.splitlines()[:20] == second.splitlines()[:20]
    assert first != second
    assert "```compute" not in first


def test_pages_are_written_and_answers_marked(command: Command) -> None:
    written = command("lesson", "classic-networks", "--out", "here", "--seed", "3")
    assert written.code == 0
    assert str(Path("here/classic-networks.html")) in written.out.splitlines()
    assert "next: casebook lesson check here/answers.toml" in written.err
    form = Path("here/answers.toml").read_text()
    Path("here/answers.toml").write_text(form.replace('answer = ""', 'answer = "b"', 1))
    marked = command("lesson", "check", "here/answers.toml")
    assert marked.code == 0
    assert "1 of 9 right, 0 wrong, 8 open" in marked.out


def test_a_wrong_answer_gets_a_hint(command: Command) -> None:
    Path("a.toml").write_text("seed = 3\n[classic-networks.a-first-layer]\nparameters = 1\n")
    out = command("lesson", "check", "a.toml").out
    assert "0 of 9 right, 1 wrong, 8 open" in out
    assert "a-first-layer, parameters: casebook explain-cost conv --size " in out


def test_json(command: Command) -> None:
    known = documented()["casebook lesson"]
    Path("a.toml").write_text("seed = 3\n[classic-networks.a-first-layer]\nparameters = 1\n")
    calls = [(), ("classic-networks",), ("classic-networks", "--out", "here"), ("check", "a.toml")]
    all_keys(known, *(check(command("lesson", *words, "--json").json, known) for words in calls))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("clasic-networks",), 1, "did you mean 'classic-networks'"),
        (("check",), 2, "check needs a file"),
        (("check", "none.toml"), 1, "No such file or directory"),
        (("classic-networks", "a.toml"), 2, "only 'check' takes a file"),
        (("--out", "here", "--format", "pdf"), 1, "there are html, slides, ipynb"),
    ],
)
def test_careless_use(command: Command, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = command("lesson", *arguments)
    assert result.code == code
    assert said in result.err
