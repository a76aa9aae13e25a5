"""casebook summary."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import casebook

from .conftest import Command, one_line


def test_the_document_is_the_summary(command: Command) -> None:
    document = command("summary", "resnet18", "--json").json
    structure = document.pop("structure")
    assert structure[:2] == ["input 224x224x3", "stem:"]
    assert "  x 2" in structure
    assert document == casebook.count("resnet18").to_dict()
    assert (document["total"]["parameters"], document["total"]["multiply_adds"]) == (11_689_512, 1_814_073_344)


def test_every_option_reaches_the_library(command: Command) -> None:
    document = command(
        "summary", "mobilenet_v2", "--input", "64x96", "--batch", 8, "--depth", 2, "--hwc", "--num-classes", 10,
        "--in-channels", 1, "--set", "padding=same", "--set", "small_stem=true", "--optimiser", "adamw", "--traced",
        "--json",
    ).json  # fmt: skip
    found = casebook.count(
        "mobilenet_v2", (64, 96), batch_size=8, num_classes=10, in_channels=1, padding="same", small_stem=True,
        optimiser="adamw", traced=True,
    )  # fmt: skip
    assert document.pop("structure")[1:3] == ["stem:", "  conv 3x3 + batch norm + ReLU6 -> 64x96x32"]
    assert document == found.at_depth(2).to_dict("HWC")
    assert document["input_shape"] == [64, 96, 1]
    assert document["traced"]["agrees"]


def test_text_names_what_it_counts(command: Command) -> None:
    text = command("summary", "resnet50", "--depth", "2", "--wide").out
    lines = text.splitlines()
    assert lines[0] == "resnet50: one picture of 3 x 224 x 224 (C x H x W)"
    assert all(len(line) <= 120 for line in lines)
    total = next(line for line in lines if line.startswith("total"))
    assert total.split()[1:5] == ["1000", "25,557,032", "4,089,184,256", "4,078,070,272"]
    assert "not counted: batch_norm in BatchNorm2d, 53 x" in text
    assert [line for line in lines if line.endswith(":")] == ["stem:", *(f"stage {n}:" for n in range(1, 5)), "head:"]
    assert "64x112x112" in command("summary", "resnet50").out
    assert "112x112x64" in command("summary", "resnet50", "--hwc").out


def test_a_page_with_the_strip(command: Command, tmp_path: Path) -> None:
    result = command("summary", "lenet5", "--num-classes", 7, "--html", tmp_path / "lenet.html")
    assert "page: " in result.err
    assert ">FC 7<" in (tmp_path / "lenet.html").read_text(encoding="utf-8")


def test_the_legend_comes_on_request(command: Command) -> None:
    words = ("multiply adds: a multiplication", "flops: would be", "columns: window: kernel, /stride")
    assert not any(word in command("summary", "lenet5").out for word in words)
    assert all(word in command("summary", "lenet5", "--legend").out for word in words)
    assert "legend" not in command("summary", "lenet5", "--json").json


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["mobilenet_v2", "nasnet_mobile", "densenet121", "googlenet", "alexnet"])
def test_text_fits_the_terminal_and_cuts_no_name(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = command("summary", name, "--legend")
    assert max(map(len, result.out.splitlines())) <= width
    assert ".." not in result.out
    assert "columns left out of the table: additions" in result.err or width == 120
    assert not command("summary", name, "--wide").err


def test_the_names_of_layers_are_a_tree(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer's full name comes back from the indents."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = command("summary", "mobilenet_v2").out.split("\n\n")[1].splitlines()[1:]
    assert lines[:2] == ["stem:", "  conv            Conv2d             32x112x112         864     10,838,016"]
    found, stack, stage = [], [], ""
    for line in lines:
        if line.endswith(":"):
            stage = line[:-1].replace("stage ", "stages.")
            continue
        label = line[: line.find("  ", len(line) - len(line.lstrip()))] if "  " in line.strip() else line
        stack[(len(label) - len(label.lstrip())) // 2 - 1 :] = [label.strip()]
        if len(line.split()) > 2:
            number = stage.partition(".")[2]
            found.append(".".join([f"stages.{int(number) - 1}" if number else stage, *stack]))
    assert found == [layer.name for layer in casebook.count("mobilenet_v2").layers]


def test_traced_is_compared(command: Command) -> None:
    text = command("summary", "lenet5", "--traced").out
    assert "torch's own counter: 416,520 multiply-adds, the same" in text


def test_csv_reads_back(command: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(command("summary", "lenet5", "--csv").out)))
    assert sum(int(row["parameters"]) for row in rows) == 61_706
    assert sum(int(row["multiply_adds"] or 0) for row in rows) == 416_520
    assert (rows[0]["name"], rows[0]["output_shape"], rows[0]["kernel_size"]) == ("stem.0", "6x28x28", "5x5")
    assert rows[1]["multiplications"] == ""


def test_markdown_tables_are_whole(command: Command) -> None:
    lines = command("summary", "lenet5", "--markdown").out.splitlines()
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert len(tables) == 2 + 13 + 2 + 5
    assert set(tables) == {10, 8}
    assert "| total | 10 | 61,706 | 416,520 | 416,520 |" in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet51"], 1, "unknown network 'resnet51'; did you mean 'resnet50'"),
        (["resnet18", "--input", "20"], 1, "images are 20x20, expected at least 33x33 pixels"),
        (["lenet5", "--input", "224"], 1, "images are 224x224, expected exactly 32x32 pixels"),
        (["resnet18", "--input", "0"], 1, "input_size is 0, expected"),
        (["resnet18", "--set", "padding=same"], 1, "resnet18 has no option 'padding'"),
        (["resnet18", "--optimiser", "lion"], 1, "unknown optimiser 'lion'; expected sgd or adamw"),
        (["resnet18", "--input", "big"], 2, "--input is 'big', expected a side in pixels or HEIGHTxWIDTH"),
        (["resnet18", "--input", "3x224x224"], 2, "--input is '3x224x224', expected a side"),
        (["resnet18", "--set", "small_stem"], 2, "--set is 'small_stem', expected NAME=VALUE"),
        (["resnet18", "--json", "--csv"], 2, "--json, --csv and --markdown exclude each other"),
        (["resnet18", "--batch", "0"], 2, "--batch"),
        (["resnet18", "--depth", "0"], 2, "--depth"),
        ([], 2, "name"),
    ],
)
def test_what_cannot_be_asked(command: Command, arguments: list[str], code: int, message: str) -> None:
    assert message in one_line(command("summary", *arguments), code)


def test_it_ends_cleanly_as_a_process() -> None:
    """Python's last search for garbage is skipped; all of the document must have been written all the same."""
    run = subprocess.run(
        [sys.executable, "-m", "casebook", "summary", "resnet152", "--json"], capture_output=True, timeout=60,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, b"")
    assert json.loads(run.stdout)["total"]["parameters"] == 60_192_808
