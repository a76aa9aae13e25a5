"""casebook data check."""

import shutil
from pathlib import Path

import pytest

from .conftest import Command, one_line


@pytest.fixture
def leaking(digit_folder: Path) -> Path:
    """A data set with its own split, in which one training picture is a test picture as well."""
    for split, numbers in (("train", range(10)), ("test", range(9, 15))):
        for name in ("digit_0", "digit_1"):
            Path("split", split, name).mkdir(parents=True)
            for number in numbers:
                file = f"{number:03d}.png"
                shutil.copy(digit_folder / name / file, Path("split", split, name, file))
    return Path("split")


def test_a_clean_folder(command: Command, digit_folder: Path) -> None:
    result = command("data", "check", digit_folder, "--strict")
    assert result.code == 0
    assert "160 pictures in 4 classes" in result.out


def test_leaks_are_said_and_fatal_when_strict(command: Command, leaking: Path) -> None:
    relaxed = command("data", "check", leaking, "--json")
    assert relaxed.code == 0
    assert relaxed.json["leaks"] == 2
    assert {(pair["first_split"], pair["second_split"]) for pair in relaxed.json["pairs"]} == {("test", "train")} or {
        (pair["first_split"], pair["second_split"]) for pair in relaxed.json["pairs"]
    } == {("train", "test")}
    strict = command("data", "check", leaking, "--strict")
    assert strict.code == 1
    assert "Error: 2 leaks between splits, and --strict was given" in strict.err
    assert command("data", "check", leaking, "--strict", "--json").json["leaks"] == 2


def test_broken_pictures_are_named(command: Command, digit_folder: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0/000.png").write_bytes(b"")
    result = command("data", "check", "data")
    assert result.code == 0
    assert "digit_0/000.png is empty (0 bytes)" in result.out


def test_what_a_user_can_mend_is_one_line(command: Command) -> None:
    assert "there is no folder or list 'nowhere'" in one_line(command("data", "check", "nowhere"))


def test_terminal_codes_in_names_are_shown_not_obeyed(command: Command, digit_folder: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0").rename("data/\x1b[31mred")
    assert "\x1b" not in command("data", "check", "data").out
