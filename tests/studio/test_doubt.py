"""A run is asked about the project's pictures, but not about those of its locked test."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from casebook.studio.openings import last_parts, open_test
from casebook.studio.pictures import ProjectPictures
from casebook.studio.projects import Project, Projects
from casebook.studio.settings import StudioSettings
from casebook.studio.tasks.doubt import NUM_NEXT, ask
from casebook.studio.tasks.pictures import pictures_of
from casebook.studio.tasks.task import Work

from ..conftest import Runs, parts


@pytest.fixture
def project(tmp_path: Path, digit_folder: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(digit_folder, tmp_path / "digits")
    shutil.copytree(runs[0], tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    return Projects(StudioSettings(tmp_path)).open_folder("digits")


def work(root: Path, project: Project, settings: Mapping[str, Any]) -> Work:
    return Work(root, settings, project, StudioSettings(root), lambda event: None, 1)


def test_all_but_the_locked_test_is_asked_about(tmp_path: Path, project: Project) -> None:
    settings = StudioSettings(tmp_path)
    pictures = ProjectPictures(settings, Projects(settings), project)
    pictures.change([{"numbers": [0], "label": "digit_1"}, {"numbers": [1], "excluded": True}])
    tested = {name for name, part in parts(tmp_path / "runs" / "first").items() if part == "test"}
    found = ask(work(tmp_path, project, {"run": "first"}))
    assert len(found["numbers"]) == len(found["doubts"]) == len(found["guesses"]) == 160 - len(tested)
    assert not {last_parts(pictures.names[number]) for number in found["numbers"]} & tested
    assert (found["locked"], found["unreadable"]) == (len(tested), 0)
    assert all(0 <= one <= 1 for one in found["doubts"])
    assert len(found["next"]) <= NUM_NEXT
    assert set(found["next"]) <= set(found["numbers"]) - {0, 1}  # somebody has decided about these two
    labels = pictures.to_dict()["labels"]
    right = [labels[number] == guess for number, guess in zip(found["numbers"], found["guesses"], strict=True)]
    assert sum(right) / len(right) > 0.6  # numbers and answers belong together

    open_test(Projects(settings), project, "first")
    assert len(ask(work(tmp_path, project, {"run": "first"}))["numbers"]) == 160


def test_a_damaged_picture_has_no_doubt(tmp_path: Path, project: Project) -> None:
    (tmp_path / "digits" / "digit_0" / "000.png").write_bytes(b"broken")
    open_test(Projects(StudioSettings(tmp_path)), project, "first")
    found = ask(work(tmp_path, project, {"run": "first"}))
    assert found["unreadable"] == 1
    assert found["numbers"] == list(range(1, 160))


def test_a_number_means_the_same_picture_after_others_were_left_out(tmp_path: Path, project: Project) -> None:
    settings = StudioSettings(tmp_path)
    pictures = ProjectPictures(settings, Projects(settings), project)
    pictures.change([{"numbers": [0, 1, 2], "excluded": True}])
    (found,) = pictures_of(work(tmp_path, project, {"pictures": [5]}))
    assert found == str(tmp_path / "digits" / pictures.names[5])
