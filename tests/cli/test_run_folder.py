"""Run folders that are damaged, unfinished, or given together with what they bring themselves."""

import os
import shutil
from pathlib import Path

import pytest

from .conftest import Command, one_line

QUICK = ("--model", "lenet5", "--epochs", "1", "--workers", "0")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("model.json", "[]", "model.json: holds a list, expected an object"),
        ("model.json", "{", "model.json: not valid JSON"),
        ("model.json", '{"format": 1}', "model.json: no architecture, classes, options, preprocessing"),
        ("model.json", '{"format": 99}', "model.json: format 99, this Casebook reads 1"),
        ("model.safetensors", "", "the file is empty (0 bytes)"),
        ("model.safetensors", "no weights", "no whole safetensors file"),
    ],
)
def test_damaged(command: Command, small_run: Path, file: str, content: str, expected: str) -> None:
    shutil.copytree(small_run, "run")
    Path("run", file).write_text(content)
    assert expected in one_line(command("predict", "run", "x.png"))


def test_weights_of_another_network(command: Command, small_run: Path) -> None:
    shutil.copytree(small_run, "run")
    model = Path("run/model.json")
    model.write_text(model.read_text().replace('"lenet5"', '"lenet5_1998"'))
    assert "model.safetensors does not fit model.json, which has lenet5_1998" in one_line(
        command("predict", "run", "x.png")
    )


def test_a_damaged_recipe(command: Command, small_run: Path) -> None:
    shutil.copytree(small_run, "run")
    Path("run/evaluation.json").unlink()
    Path("run/recipe.toml").write_text('epochs = "x')
    assert "recipe.toml: not a TOML file" in one_line(command("train", "--resume", "run"))


def test_a_training_that_fails_at_the_start_leaves_no_folder(
    command: Command, digit_folder: Path, small_run: Path
) -> None:
    for arguments in (["nowhere"], [digit_folder, "--weights", "gone.pt"],
                      [digit_folder, "--weights", small_run, "--transfer", "last:9"]):  # fmt: skip
        one_line(command("train", *arguments, *QUICK, "--out", "run"))
        assert not Path("run").exists()
    assert command("train", digit_folder, *QUICK, "--out", "run").code == 0


def test_a_class_list_renames_the_outputs_of_a_run(command: Command, small_run: Path, digit_folder: Path) -> None:
    shutil.copytree(digit_folder / "digit_3", "data/three")
    shutil.copytree(digit_folder / "digit_1", "data/one")
    Path("classes.csv").write_text("index,name\n0,zero\n1,one\n2,two\n3,three\n")
    document = command("evaluate", small_run, "data", "--classes", "classes.csv", "--json").json
    assert {row["class"] for row in document["per_class"] if row["n"]} == {"one", "three"}
    assert "cannot read" in one_line(command("evaluate", small_run, "data", "--classes", "gone.csv"))


def test_what_a_run_brings_itself_is_not_taken_from_flags(command: Command, small_run: Path) -> None:
    assert "leave out --weights" in one_line(command("evaluate", small_run, "--weights", small_run))


def test_an_unknown_precision(command: Command, small_run: Path) -> None:
    assert "precision is 'fp8', expected auto, fp32 or bf16" in one_line(
        command("evaluate", small_run, "--precision", "fp8")
    )


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_a_class_whose_name_is_no_utf8(command: Command, digit_folder: Path) -> None:
    shutil.copytree(digit_folder, "data")
    odd = os.fsdecode(b"\xff\xfe")
    Path("data/digit_0").rename(Path("data", odd))
    assert command("train", "data", *QUICK, "--out", "run").code == 0
    document = command("evaluate", "run", "--json").json
    assert odd in {row["class"] for row in document["per_class"]}


def test_a_grey_network_says_that_it_drops_colours(command: Command, photo_folder: Path) -> None:
    result = command("train", photo_folder, *QUICK, "--out", "run", "--json")
    assert "lenet5 sees grey pictures: the colours of 48 pictures are dropped" in result.json["notes"]
