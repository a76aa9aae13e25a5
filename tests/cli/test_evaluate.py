"""casebook evaluate: the run's own test set, other data, class lists."""

import json
import shutil
from pathlib import Path

import pytest

from casebook.models.weights import read_weights

from .conftest import Command, one_line


def test_without_data_it_scores_the_locked_test_set(command: Command, small_run: Path) -> None:
    document = command("evaluate", small_run, "--json").json
    before = json.loads((small_run / "evaluation.json").read_text())["test"]
    assert document["split"] == "test"
    assert document["n"] == before["n"]
    assert document["top1"] == before["top1"]
    assert document["confusion"] == before["confusion"]


def test_text(command: Command, small_run: Path) -> None:
    result = command("evaluate", small_run)
    assert result.code == 0
    assert result.out.startswith("top-1 ")
    assert "calibration error" in result.out


def test_fewer_classes_are_scored_against_all(command: Command, small_run: Path, digit_folder: Path) -> None:
    for name in ("digit_3", "digit_1"):
        shutil.copytree(digit_folder / name, Path("part") / name)
    document = command("evaluate", small_run, "part", "--json").json
    assert document["split"] == "all"
    assert document["n"] == 80
    assert {row["class"] for row in document["per_class"] if row["n"]} == {"digit_1", "digit_3"}
    assert any("2 of the network's 4 classes" in note for note in document["notes"])


def test_a_named_network_with_weights_and_a_class_list(command: Command, small_run: Path, digit_folder: Path) -> None:
    """Folders are matched by id, which is not the order of the folders."""
    shutil.copytree(digit_folder / "digit_2", "data/n02")
    shutil.copytree(digit_folder / "digit_0", "data/n00")
    Path("classes.csv").write_text("index,wnid,name\n" + "".join(f"{i},n0{i},digit {i}\n" for i in range(4)))
    shutil.copy(small_run / "model.safetensors", "weights.safetensors")
    state, _ = read_weights(Path("weights.safetensors"))
    assert any(value.shape == (4, 84) for value in state.values())
    named = ("lenet5", "data", "--weights", "weights.safetensors", "--classes", "classes.csv", "--json")
    document = command("evaluate", *named).json
    assert {row["class"] for row in document["per_class"] if row["n"]} == {"digit 0", "digit 2"}
    whole = command("evaluate", small_run, digit_folder, "--json").json
    rows = {row["class"]: row for row in whole["per_class"]}
    right = sum(round(rows[name]["recall"] * rows[name]["n"]) for name in ("digit_0", "digit_2"))
    assert round(document["top1"] * document["n"]) == right


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["RUN", "nowhere"], "there is no folder or list 'nowhere'"),
        (["RUN", "other"], "2 classes that "),
        (["RUN", "other", "--split", "tset"], "split is 'tset', expected auto"),
        (["mobilnet_v2", "other"], "did you mean 'mobilenet_v2'?"),
        (["lenet5", "other"], "add --weights"),
        (["other"], "other: no model.json"),
        (["lenet5", "other", "--weights", "RUN", "--classes", "list.csv"], "lists 3 classes, but the weights have 4"),
        (["mobilenet_v2", "other", "--weights", "RUN"], "weights of lenet5, expected weights of mobilenet_v2"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    command: Command, small_run: Path, digit_folder: Path, arguments: list[str], expected: str
) -> None:
    for name, new in (("digit_0", "null"), ("digit_1", "eins")):
        shutil.copytree(digit_folder / name, Path("other") / new)
    Path("list.csv").write_text("index,name\n0,null\n1,eins\n2,zwei\n")
    given = [str(small_run) if argument == "RUN" else argument for argument in arguments]
    assert expected in one_line(command("evaluate", *given))


@pytest.mark.parametrize("flag", ["--batch-size", "--workers"])
def test_wrong_usage(command: Command, small_run: Path, flag: str) -> None:
    assert flag in one_line(command("evaluate", small_run, flag, "-1"), code=2)
