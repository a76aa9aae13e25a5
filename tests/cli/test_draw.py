"""casebook draw: illustrations are commands of their own, everything else is a network."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from casebook.cli import app
from casebook.errors import ModelError

RUNNER = CliRunner()


def test_an_illustration_is_written(tmp_path: Path) -> None:
    out = tmp_path / "deep.svg"
    result = RUNNER.invoke(app, ["draw", "sliding", "--kind", "depthwise", "--stride", "3", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stderr
    assert "Depthwise 3x3 convolution, valid padding, stride 3" in out.read_text(encoding="utf-8")


def test_the_default_file_has_the_name_of_the_illustration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, ["draw", "field", "--windows", "5"]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["field.svg"]


@pytest.mark.parametrize("padding", ["2", "same"])
def test_padding_is_a_number_or_a_word(tmp_path: Path, padding: str) -> None:
    out = tmp_path / "a.svg"
    given = ["draw", "sliding", "--padding", padding, "--kernel-size", "5", "--step", "1", "-o", str(out)]
    assert RUNNER.invoke(app, given).exit_code == 0
    words = "padding 2" if padding == "2" else "same padding"
    assert words in out.read_text(encoding="utf-8")


def test_another_ending_is_wrong_usage(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["draw", "field", "-o", str(tmp_path / "a.png")])
    assert result.exit_code == 2
    assert "expected a name that ends in .svg" in result.stderr


def test_what_is_no_illustration_is_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, ["draw", "lenet5"]).exit_code == 0
    assert RUNNER.invoke(app, ["draw", "lenet5", "--level", "block", "--html"]).exit_code == 0
    assert (
        RUNNER.invoke(app, ["draw", "lenet5", "--level", "layers", "--stage", "1", "--set", "num_classes=3"]).exit_code
        == 0
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lenet5-block.html",
        "lenet5-layers-1.svg",
        "lenet5-strip.svg",
    ]


def test_a_run_is_drawn_with_its_classes(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run.svg"
    result = RUNNER.invoke(app, ["draw", str(runs[0]), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "FC 4" in out.read_text(encoding="utf-8")


def test_a_wrong_ending_for_a_page(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["draw", "lenet5", "--html", "-o", str(tmp_path / "a.svg")])
    assert result.exit_code == 2
    assert "ends in .html" in result.stderr


def test_twins_have_a_picture_and_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, ["draw", "plain20", "--beside", "resnet20"]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["plain20-beside-resnet20-strip.svg"]
    result = RUNNER.invoke(app, ["draw", "plain20", "--beside", "resnet20", "--html"])
    assert isinstance(result.exception, ModelError)
