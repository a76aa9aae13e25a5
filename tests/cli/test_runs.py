"""casebook runs: run folders side by side."""

import re
import shutil
from pathlib import Path

from .conftest import Command, one_line
from .test_json import check, documented, must


def test_runs_are_listed(command: Command, small_run: Path) -> None:
    shutil.copytree(small_run, "runs/one")
    shutil.copytree(small_run, "runs/deep/two")
    Path("runs/deep/two/evaluation.json").unlink()
    Path("runs/broken").mkdir()
    Path("runs/broken/model.json").write_text("{}")
    result = command("runs", "--html", "runs.html")
    assert result.code == 0
    assert "runs/one" in result.out
    assert "not finished" in result.out
    assert re.search(r"runs/one +\S+ +lenet5 +\d+\.\d\d % +\d", result.out)
    assert "left out: runs/broken" in result.err
    assert "next: casebook evaluate " in result.err
    assert "runs/one" in Path("runs.html").read_text() or ">one<" in Path("runs.html").read_text()
    assert max(map(len, result.out.splitlines())) < 130


def test_the_printed_keys_are_documented(command: Command, small_run: Path) -> None:
    shutil.copytree(small_run, "runs/one")
    known = documented()["casebook runs"]
    assert must(known) <= check(command("runs", "--json").json, known)


def test_no_folder_is_reported_as_such(command: Command) -> None:
    assert "there is no folder 'runs'" in one_line(command("runs"))
