"""What the commands print with."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from casebook.cli.output import accuracy_lines, fail, print_json, print_table, print_text, skipped_lines, table_width
from casebook.tables import TextColumn


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("first\n  second\x1b[31m") == 1
    assert capsys.readouterr().err == "Error: first second\\x1b[31m\n"


def test_red_on_a_terminal_unless_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    fail("one")
    monkeypatch.setenv("NO_COLOR", "1")
    fail("two")
    assert terminal.getvalue() == "\033[31mError: one\033[0m\nError: two\n"


def test_json_reads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"name": "ünïcødé \udce9", "n": 1}
    for encoding in ("utf-8", "ascii"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        print_json(document)
        stream.flush()
        assert json.loads(stream.buffer.getvalue()) == document  # type: ignore[attr-defined]


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"loss": float("nan")})


def test_a_table_fits_the_terminal_and_names_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (TextColumn("name"), TextColumn("n", right=True), TextColumn("paper", rank=1))
    rows = [["a\n", "10,000", "The Title of a Paper"]]
    monkeypatch.setenv("COLUMNS", "30")
    print_table(columns, rows)
    printed = capsys.readouterr()
    assert printed.out == "name       n\na\\n   10,000\n"
    assert printed.err == "columns left out of the table: paper; --wide shows them\n"
    print_table(columns, rows, wide=True)
    printed = capsys.readouterr()
    assert printed.out == "name       n  paper\na\\n   10,000  The Title of a Paper\n"
    assert not printed.err


def test_text_wraps_below_its_indent_and_keeps_words_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_text("short\n  a/long/path-of/a.jpg ~ another\n\nwidth      288    384")
    assert capsys.readouterr().out.splitlines() == [
        "short",
        "  a/long/path-of/a.jpg",
        "    ~ another",
        "",
        "width      288",
        "  384",
    ]


def test_a_pipe_has_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    assert (table_width(), table_width(wide=True)) == (100, None)


def test_accuracy_lines() -> None:
    metrics = {"n": 8, "top1": 0.5, "top1_interval": [0.25, 0.75], "top1_error": 0.5}
    assert accuracy_lines(metrics) == ["top-1 50.00 % (95 % interval 25.00 % to 75.00 %; error 50.00 %), 8 pictures"]


def test_skipped_lines_count_what_they_leave_out() -> None:
    skipped = [{"picture": f"{n}.png", "reason": "is empty"} for n in range(12)]
    lines = skipped_lines(skipped)
    assert lines[0].startswith("12 pictures could not be read")
    assert lines[-1].startswith("  ... and 2 more")
    assert len(lines) == 12


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "casebook", "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


def test_an_ascii_terminal_is_no_failure(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "casebook", "models", "größe"], capture_output=True, timeout=60, cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith(b"Error: no network fits 'gr\\xf6\\xdfe'")
