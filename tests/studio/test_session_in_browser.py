"""The whole session by keyboard alone, as `benchmarks/studio_session.py` times it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casebook.studio.processes import started_at

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_keyboard_is_enough_from_the_folder_to_the_exported_classifier(
    monkeypatch: pytest.MonkeyPatch, browser: Any, live_studio: Callable, session_root: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    studio_session = pytest.importorskip("studio_session")
    studio = live_studio(session_root)
    studio.kill()
    studio.start()  # with a launch token that nobody has used
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    picture = session_root / "digits" / "digit_0" / "000.png"
    training = studio_session.Training("lenet5", epochs=2)
    steps = list(studio_session.session(page, studio.address, "digits", training, picture))
    page.close()
    assert complaints == []
    assert [step.name.partition(",")[0] for step in steps] == [
        "open a folder", "check", "relabel two pictures", "train lenet5", "open the locked test", "explain a picture",
        "train lenet5", "compare two runs", "predict a new picture", "export",
    ]  # fmt: skip
    with (session_root / "digits-labels.csv").open() as file:
        rows = {row["path"]: row["label"] for row in csv.DictReader(file)}
    moved = [path for path, label in rows.items() if label not in path]
    assert len(moved) == 1  # two were relabelled, and one of them was undone
    [project] = studio.get("/api/home")["projects"]
    runs = {run["name"]: run["openings"] for run in studio.get(f"/api/projects/{project['id']}/runs")["runs"]}
    assert runs == {"first": 1, "second": 0}
    assert (session_root / "exports" / "second.casebook").is_file()


def test_a_step_that_fails_ends_the_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It once hung: the block waited for a server that nobody had told to stop."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    studio_session = pytest.importorskip("studio_session")
    pids: list[int] = []

    def session() -> None:
        with studio_session.studio(tmp_path) as server:
            pids.append(server.pid)
            raise TimeoutError

    with pytest.raises(TimeoutError):
        session()
    assert started_at(pids[0]) is None


@pytest.fixture
def session_root(tmp_path: Path, digit_folder: Path) -> Path:
    import shutil

    shutil.copytree(digit_folder, tmp_path / "digits")
    return tmp_path
