"""casebook compare: names and patterns in, a table, a picture and a page out."""

import csv
import io

import pytest

from casebook.cost.compare import compare, table
from casebook.models import list_models

from .conftest import Command, one_line


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = command("compare", "alexnet", "resnet18", "resnet152_v2_keras")
    assert max(map(len, result.out.splitlines())) <= width
    assert ("not comparable" in result.err) == (width == 80)


def test_the_table_is_the_librarys(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = command("compare", "lenet5", "resnet20", "resnet18", "--wide").out.splitlines()
    assert lines[0] == (
        "errors: ILSVRC 2012 validation, one centre crop at the network's input size, the paper's own training"
    )
    assert [line.split()[0] for line in lines[1:]] == ["name", "lenet5", "resnet20", "resnet18"]
    rows = table(compare(["lenet5", "resnet18"]))
    assert list(csv.reader(io.StringIO(command("compare", "lenet5", "resnet18", "--csv").out))) == rows
    markdown = command("compare", "lenet5", "resnet18", "--markdown").out.splitlines()
    assert [line.strip("| ").split(" | ")[0] for line in markdown] == ["name", "---", "lenet5", "resnet18"]


def test_patterns_and_repeated_names(command: Command) -> None:
    document = command("compare", "plain2*", "plain20", "--json").json
    assert [row["name"] for row in document["networks"]] == list_models("plain2*")


def test_pictures_and_page(command: Command, tmp_path) -> None:
    flags = ["--picture", str(tmp_path / "a.svg"), "--html", str(tmp_path / "b.html"), "--error", "top5"]
    result = command("compare", "resnet18", "mobilenet_v2", *flags)
    assert result.code == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert "mobilenet_v2" in (tmp_path / "b.html").read_text()
    assert "a.svg" in result.err


def test_what_cannot_be_compared_is_one_line(command: Command) -> None:
    assert "no network fits 'resnet51'; did you mean 'resnet50'?" in one_line(command("compare", "resnet51"))
    assert "expected .png or .svg" in one_line(command("compare", "resnet18", "--picture", "a.gif"))
    assert "none of these networks has a published top1 error" in one_line(
        command("compare", "lenet5", "--picture", "a.png")
    )
    assert "at least 33x33" in one_line(command("compare", "resnet18", "--input", "20"))


@pytest.mark.parametrize(
    "arguments", [[], ["resnet18", "--error", "top3"], ["resnet18", "--csv", "--json"], ["resnet18", "--input", "0"]]
)
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    one_line(command("compare", *arguments), code=2)
