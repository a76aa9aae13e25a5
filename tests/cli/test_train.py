"""casebook train: flags, messages, exit codes, interruption."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.cli.train import _explain

from .conftest import Command, one_line

QUICK = ("--model", "lenet5", "--epochs", "1", "--workers", "0", "--set", "warmup_epochs=0", "--set", "mirror=false")


def folder(root: Path, **counts: int) -> Path:
    """ROOT/CLASS/N.png with that many noisy 8x8 pictures of each class."""
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_json_is_the_one_document_on_stdout(command: Command, digit_folder: Path) -> None:
    result = command("train", digit_folder, *QUICK, "--out", "run", "--seed", "7", "--json")
    assert result.code == 0
    document = result.json
    assert document["run"] == "run"
    assert document["pictures"]["test"] == document["test"]["n"]
    assert 0 <= document["test"]["top1_interval"][0] <= document["test"]["top1"] <= 1
    assert "train epoch   1" in result.err  # progress goes elsewhere
    assert "seed = 7" in Path("run/recipe.toml").read_text()
    assert Path("run/report.html").is_file()


def test_text_names_the_result_and_where_it_lies(command: Command, digit_folder: Path) -> None:
    result = command("train", digit_folder, *QUICK)
    assert result.code == 0
    assert result.out.startswith("test: top-1 ")
    assert "95 % interval" in result.out
    assert "-lenet5-1/report.html" in result.out
    assert re.search(r"  memory: \d+(\.\d+)? [MG]iB$", result.out, re.MULTILINE)


def test_a_choice_is_explained_with_its_figures(command: Command, digit_folder: Path) -> None:
    photos = ("--model", "resnet20", "--weights", "cifar10", "--workers", "0")
    result = command("train", digit_folder, *photos, "--epochs", "1", "--explain-choice", "--out", "run")
    assert result.code == 0
    assert re.search(r"^plan: few pictures \(28 a class\), like", result.out, re.MULTILINE)
    assert re.search(
        r"^tried heads on 112 training pictures, in folds: log loss \d\.\d+ at 10, ", result.out, re.MULTILINE
    )
    assert re.search(r"^training took \d+ s, \d+ s were expected for the network$", result.out, re.MULTILINE)


def test_both_networks_of_a_contest_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    tried = {"val_top1": 0.9, "val_loss": 0.25, "temperature": 1.5, "kept": False}
    better = tried | {"val_top1": 0.95, "val_loss": 0.125, "kept": True}
    networks = [{"model": "resnet20", **tried}, {"model": "mobilenet_v2", **better}]
    _explain({"plan": "", "reason": "measured", "tried": [], "networks": networks}, 12)
    assert capsys.readouterr().out.splitlines() == [
        "plan: measured",
        "tried resnet20: 90.0% of the validation pictures right, log loss 0.250, not kept",
        "tried mobilenet_v2: 95.0% of the validation pictures right, log loss 0.125, kept",
        "training took 12 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere", *QUICK], "there is no folder or list 'nowhere'"),
        (["digit", *QUICK], "did you mean 'digits'?"),
        (["text.txt", *QUICK], "text.txt is a file of an unknown kind; expected"),
        (["good", "--model", "resnet51"], "unknown network 'resnet51'; did you mean 'resnet5"),
        (["one_class", *QUICK], "has the one class 'only'"),
        (["one_each", *QUICK], "a single readable picture of 2 classes"),
        (["empty", *QUICK], "has no folders and no pictures in it"),
        (["good", *QUICK, "--out", "text.txt"], "text.txt: is a file; --out takes a folder"),
        (["good", *QUICK, "--out", "text.txt/below"], "cannot write the run folder text.txt/below"),
        (["good", *QUICK, "--out", "taken"], "taken: exists already"),
        (["good", *QUICK, "--set", "epoch=3"], "unknown setting 'epoch'; did you mean 'epochs'"),
        (["good", *QUICK, "--set", "epochs=many"], "epochs: input should be a valid integer"),
        (["good", *QUICK, "--learning-rate", "-1"], "learning_rate: input should be greater than 0, but -1.0 came"),
        (["good", *QUICK, "--transfer", "head"], "no weights to transfer are given"),
        (["good", *QUICK, "--device", "toaster"], "device is 'toaster', expected auto, cpu"),
        (["good", *QUICK, "--weights", "zero.safetensors"], "zero.safetensors: the file is empty (0 bytes)"),
        (["good", *QUICK, "--weights", "text.safetensors"], "text.safetensors: no whole safetensors file"),
        (["good", *QUICK, "--weights", "nowhere.pt"], "nowhere.pt: no such file"),
        (["good", *QUICK, "--weights", "imagenet"], "unknown weights 'imagenet' for lenet5"),
        (["good", "--recipe", "broken.toml"], "broken.toml: not a TOML file"),
        (["good", "--recipe", "digit"], "did you mean 'digits'?"),
        (["--resume", "nowhere"], "no run folder 'nowhere' to resume"),
        (["--resume", "good"], "good: no recipe.toml"),
        (["x" * 5000, *QUICK], "File name too long"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(command: Command, arguments: list[str], expected: str) -> None:
    folder(Path("good"), left=4, right=4)
    folder(Path("one_class"), only=4)
    folder(Path("one_each"), left=1, right=1)
    Path("empty").mkdir()
    Path("taken").mkdir()
    Path("taken/mine.txt").write_text("mine")
    for name in ("text.txt", "text.safetensors"):
        Path(name).write_text("no picture, no weights")
    Path("zero.safetensors").touch()
    Path("broken.toml").write_text("epochs = = 3")
    assert expected in one_line(command("train", *arguments))
    assert Path("taken/mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "casebook train needs DATA"),
        (["--resume", "run", "--out", "x"], "leave out --out"),
        (["digits", "--set", "nonsense"], "--set takes NAME=VALUE, but 'nonsense' came"),
        (["digits", "--set", "=3"], "--set takes NAME=VALUE, but '=3' came"),
        (["digits", "--epochs", "many"], "--epochs"),
        (["digits", "--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(command: Command, arguments: list[str], expected: str) -> None:
    assert expected in one_line(command("train", *arguments), code=2)


def test_pictures_that_cannot_be_read_are_named_and_left_out(command: Command) -> None:
    folder(Path("data"), left=8, right=8)
    Path("data/left/empty.png").touch()
    Path("data/right/fake.png").write_text("no picture")
    whole = Path("data/left/0.png").read_bytes()
    Path("data/left/cut.png").write_bytes(whole[: len(whole) // 2])
    result = command("train", "data", *QUICK, "--out", "run", "--json")
    assert result.code == 0
    assert {item["picture"] for item in result.json["skipped"]} == {"left/empty.png", "right/fake.png", "left/cut.png"}
    assert all(item["reason"] for item in result.json["skipped"])
    text = command("train", "data", *QUICK, "--out", "run2")
    assert "3 pictures could not be read and were left out" in text.err
    strict = one_line(command("train", "data", *QUICK, "--out", "run3", "--strict"))
    assert "3 of 19 pictures cannot be read" in strict


def test_a_finished_run_is_not_trained_again(command: Command, digit_folder: Path) -> None:
    first = command("train", digit_folder, *QUICK, "--out", "run", "--json")
    kept = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    again = command("train", "--resume", "run", "--json")
    assert again.code == 0
    assert "run has finished already; there is nothing to resume" in again.err
    assert again.json == first.json
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == kept


def test_an_empty_class_is_reported(command: Command) -> None:
    folder(Path("data"), left=8, right=8, nothing=0)
    result = command("train", "data", *QUICK, "--out", "run")
    assert result.code == 0
    assert "class 'nothing' has no pictures: left out" in result.err


def test_hostile_names_stay_names(command: Command) -> None:
    names = ["<script>alert(1)", "new\nline", "-dash", "a,b;c", '"quote\'s"', "ünïcødé 猫", "x" * 200, "\x1b[31mred"]
    folder(Path("data"), **dict.fromkeys(names, 6))
    Path("data/-dash/0.png").rename('data/-dash/it\'s "quoted"\n.png')
    result = command("train", "data", *QUICK, "--out", "run", "--json")
    assert result.code == 0
    assert {row["class"] for row in result.json["test"]["per_class"]} <= set(names)
    assert "<script>alert" not in Path("run/report.html").read_text()
    predicted = command("predict", "run", "data/-dash", "data/new\nline", "--top", "8")
    assert predicted.code == 0
    assert len(predicted.out.splitlines()) == 12  # one line a picture, whatever the names hold
    assert "\x1b" not in predicted.out


def test_a_full_disk_is_one_line_and_leaves_the_older_files(
    command: Command, digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync = os.fsync

    def full_after_a_while(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_a_while)
    result = command("train", digit_folder, *QUICK, "--epochs", "20", "--out", "run")
    assert "No space left on device" in one_line(result)
    assert not [path.name for path in Path("run").iterdir() if path.name.endswith((".tmp", ".part"))]
    assert all(path.stat().st_size for path in Path("run").iterdir() if path.name != "metrics.jsonl")
