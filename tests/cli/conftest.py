"""Commands run in this process, through the real entry point, with what they print."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import casebook
from casebook.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("predict", run, "-", stdin=b"...")` -> exit code, stdout and stderr.

    An exception that is not turned into a message fails the test, as a traceback fails the user.
    """

    def run(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["casebook", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """runs/ and the like land in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def small_run(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the classes digit_0 to digit_3. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("runs") / "small"
    casebook.train(
        digit_folder, out=out, recipe="scratch", model="lenet5", epochs=3, batch_size=16, mirror=False,
        warmup_epochs=0, workers=0, learning_rate=0.05, near_duplicates=False,
    )  # fmt: skip
    return out


def one_line(result: Result, code: int = 1) -> str:
    """The message of a command that failed as it should: one line on stderr, nothing on stdout."""
    assert result.code == code
    assert not result.out
    lines = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    assert result.err.splitlines()[-1] == lines[0]
    return lines[0]
