"""Runs with several labels a picture in the studio: it shows their figures, and says what it does not offer."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import casebook
from casebook.errors import CasebookError

from .conftest import copy_run


@pytest.fixture(scope="module")
def root(labels_run: casebook.Run, runs: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio's folder with a list of several labels, two runs of it, and a run with one label."""
    root = tmp_path_factory.mktemp("studio")
    shutil.copytree(labels_run.path.parent, root / "labels", ignore=shutil.ignore_patterns("run", "*.casebook"))
    for name in ("one", "two"):
        copy_run(labels_run.path, root / "runs" / name, root / "labels" / "list.csv")
    shutil.copytree(runs[0], root / "runs" / "digits")
    return root


@pytest.fixture(scope="module")
def studio(live_studio: Callable, root: Path) -> Any:
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "labels/list.csv"})["id"]
    return found


def test_pages_get_the_figures_of_several_labels(studio: Any, labels_run: casebook.Run) -> None:
    address = f"/api/projects/{studio.project}/runs"
    found = {run["name"]: run for run in studio.get(address)["runs"]}
    assert set(found) == {"one", "two"}
    assert found["one"]["val_map"] == max(row["val_map"] for row in labels_run.history)
    assert (found["one"]["val_top1"], found["one"]["several_labels"]) == (None, True)
    run = studio.get(f"{address}/one")
    assert (run["several_labels"], run["test"]) == (True, None)
    assert run["validation"]["map"] == found["one"]["val_map"]
    opened = studio.post(f"{address}/one/open-test")["test"]
    assert opened["map"] == pytest.approx(labels_run.label_test.map)
    assert len(opened["map_interval"]) == 2
    assert "subset_accuracy" in opened


def test_tasks_take_several_labels(do: Callable, root: Path, tmp_path: Path) -> None:
    found = do("evaluate", run="one")
    assert found["map"] > 0.5
    assert "average precision" in (tmp_path / "files" / "validation.html").read_text()
    first, second = do("compare", runs=["one", "two"])["compared"]
    assert first["map"] == second["map"] == pytest.approx(found["map"])
    assert second["against"][0]["map"]["verdict"] == "no detectable difference"
    with pytest.raises(CasebookError, match="compare runs of one kind"):
        do("compare", runs=["one", "digits"])
    shown = do("explain", run="one", method="top9")
    assert all((tmp_path / "files" / name).is_file() for name in shown["files"])


def test_what_is_not_offered_is_said(studio: Any, do: Callable) -> None:
    refused = studio.get(f"/api/projects/{studio.project}/pictures", 422)
    assert "'casebook train'" in refused["error"]["message"]
    with pytest.raises(CasebookError, match="cannot be unsure of one"):
        do("export", run="one", unsure=0.01)
