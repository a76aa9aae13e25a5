"""Small pictures are made ahead while nothing else wants the machine."""

import asyncio
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from casebook.studio.app import Studio
from casebook.studio.filling import FILE, SIDE, Filling
from casebook.studio.session import Sessions
from casebook.studio.settings import StudioSettings


@pytest.fixture
def studio(tmp_path: Path, digit_folder: Path) -> Any:
    shutil.copytree(digit_folder, tmp_path / "digits")
    found: Any = Studio(StudioSettings(tmp_path), Sessions(tmp_path))
    found.jobs = SimpleNamespace(all=list)
    found.project = found.projects.open_folder("digits")
    yield found
    found.thumbnails.close()


def made(studio: Any, steps: int = 1000) -> int:
    """How many pictures one filling makes."""

    async def run() -> int:
        filling = Filling(studio)
        count = 0
        while count < steps and await filling.step():
            count += 1
        return count

    return asyncio.run(run())


def test_it_makes_each_picture_of_an_opened_project_once(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(studio) == 0  # nothing was opened
    pictures = studio.pictures_of(studio.project.id)
    assert made(studio) == len(pictures.names) == 160
    assert made(studio) == 0  # another start goes on where this one stopped
    kept = studio.projects.path(studio.project.id) / FILE
    assert json.loads(kept.read_text()) == {"pictures": 160}
    monkeypatch.setattr("casebook.studio.thumbnails._small", lambda *_: pytest.fail("it was not kept"))
    assert studio.thumbnails.get(pictures.source, 159, SIDE).startswith(b"\xff\xd8")


def test_a_picture_that_cannot_be_read_is_passed_over(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.pictures_of(studio.project.id)
    monkeypatch.setattr("casebook.studio.thumbnails._content", lambda *_: (_ for _ in ()).throw(OSError()))
    assert made(studio, 5) == 5


def test_a_full_disk_ends_it(studio: Any) -> None:
    studio.pictures_of(studio.project.id)
    studio.thumbnails._store.trouble = "database or disk is full"
    assert made(studio) == 0


def test_it_waits_while_a_job_runs_and_while_somebody_looks(studio: Any) -> None:
    filling = Filling(studio)
    studio.last_look = time.monotonic() - 60
    assert filling.is_quiet()
    for state, is_quiet in (("running", False), ("stopping", False), ("waiting", True), ("done", True)):
        job = SimpleNamespace(state=SimpleNamespace(state=state))
        studio.jobs = SimpleNamespace(all=lambda job=job: [job])
        assert filling.is_quiet() is is_quiet
    studio.last_look = time.monotonic()
    assert not filling.is_quiet()
