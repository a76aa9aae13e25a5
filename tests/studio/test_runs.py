"""Runs in the studio: the test stays closed until it is opened, tasks ask a run, files of a job stay where they are."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casebook.errors import CasebookError

from .conftest import copy_run

JOB = "20260101-120000-bbbb"
FIGURES = ("top1_interval", "macro_f1", "per_class", "ece")  # of a test; no validation row has them


@pytest.fixture(scope="module")
def root(digit_folder: Path, runs: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio's folder with the digits and two finished runs of them."""
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(digit_folder, root / "digits")
    for name, run in zip(("first", "second"), runs[:2], strict=True):
        copy_run(run, root / "runs" / name, root / "digits")
    files = root / ".casebook-studio" / "jobs" / JOB / "files"
    files.mkdir(parents=True)
    for name in ("drawing.svg", "other.svg"):
        (files / name).write_text("<svg/>")
    asked = {"id": JOB, "task": "draw", "project": None, "settings": {"network": "lenet5"}, "made": 1767268800.0}
    documents = {"job": asked, "state": {"state": "done", "attempts": 1}, "result": {"files": ["drawing.svg"]}}
    for name, document in documents.items():
        (files.parent / f"{name}.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module")
def studio(live_studio: Callable, root: Path) -> Any:
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "digits"})["id"]
    return found


def test_no_answer_holds_a_figure_of_the_test_before_it_is_opened(studio: Any, root: Path) -> None:
    address = f"/api/projects/{studio.project}/runs"
    run = studio.get(f"{address}/second")
    assert (run["test"], run["openings"], run["complete"]) == (None, [], True)
    assert run["validation"]["top1"] > 0
    secret = json.loads((root / "runs" / "second" / "evaluation.json").read_text())["test"]["top1"]
    for path in ("/api/home", address, f"{address}/second", f"{address}/second/history"):
        said = json.dumps(studio.get(path))
        assert not any(name in said for name in FIGURES), path
        assert not re.search(rf'"test\w*": {secret}', said), path
    assert studio.get(f"{address}/second/report", 403)["error"]["code"] == "closed"


def test_openings_are_counted_and_kept(studio: Any, root: Path) -> None:
    address = f"/api/projects/{studio.project}/runs/first"
    opened = studio.post(f"{address}/open-test")
    assert set(FIGURES) <= set(opened["test"])
    assert len(opened["openings"]) == 1
    assert len(studio.post(f"{address}/open-test")["openings"]) == 2
    assert len(studio.get(address)["openings"]) == 2  # to look at it again counts nothing
    kept = json.loads((root / ".casebook-studio" / "projects" / studio.project / "openings.json").read_text())
    assert list(kept) == ["first"]
    status, headers, body = studio.request("GET", f"{address}/report", {"Cookie": studio.cookie})
    assert status == 200
    assert b"<!doctype html>" in body[:100].lower()
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert studio.post(f"/api/projects/{studio.project}/runs/..%2Ffirst/open-test", status=404)


def test_a_run_whose_test_pictures_were_relabelled_says_so(studio: Any, root: Path) -> None:
    address = f"/api/projects/{studio.project}"
    assert studio.get(f"{address}/runs/first")["relabelled"] == 0
    tested = [line for line in (root / "runs" / "first" / "split.csv").read_text().splitlines() if ",test" in line]
    names = studio.get(f"{address}/pictures")["names"]
    number = next(place for place, name in enumerate(names) if any(name in line for line in tested))
    other = "digit_0" if "digit_0" not in names[number] else "digit_1"
    studio.post(f"{address}/labels", {"changes": [{"numbers": [number], "label": other}]})
    assert studio.get(f"{address}/runs/first")["relabelled"] == 1
    studio.post(f"{address}/labels/undo")
    assert studio.get(f"{address}/runs/first")["relabelled"] == 0


def test_the_test_of_runs_is_compared_only_where_all_are_open(do: Callable) -> None:
    with pytest.raises(CasebookError, match="the test of second is closed"):
        do("compare", runs=["first", "second"], part="test")
    with pytest.raises(CasebookError, match="two runs or more"):
        do("compare", runs=["first", "first"])


def test_runs_are_compared_pair_by_pair_with_their_costs(do: Callable) -> None:
    found = do("compare", runs=["first", "second"])
    assert [row["name"] for row in found["compared"]] == ["first", "second"]
    assert found["costs"]["first"]["multiply_adds"] > found["costs"]["first"]["parameters"] > 0
    [against] = [other for row in found["compared"] for other in row["against"]]
    low, high = against["top1_error"]["interval"]
    assert low <= against["top1_error"]["difference"] <= high


def test_a_run_answers_about_pictures_of_the_project_and_dropped_ones(do: Callable, studio: Any, root: Path) -> None:
    content = (root / "digits" / "digit_2" / "000.png").read_bytes()
    status, _, body = studio.request(
        "POST", "/api/uploads", studio.headers | {"Content-Type": "application/octet-stream"}, content
    )
    assert status == 201
    id = json.loads(body)["id"]
    status, headers, shown = studio.request("GET", f"/api/uploads/{id}", {"Cookie": studio.cookie})
    assert (status, headers["Content-Type"], shown[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert studio.get(f"/api/uploads/{'0' * 32}", 404)["error"]["code"] == "no_upload"
    found = do("predict", run="first", uploads=[id], pictures=[0, 1])
    assert len(found["answers"]) == 3
    assert all(abs(sum(one["probability"] for one in answer["predictions"]) - 1) < 0.01 for answer in found["answers"])
    for bad in ({"uploads": ["0" * 32]}, {"pictures": [10**6]}, {}):
        with pytest.raises(CasebookError, match=r"drop it again|there is no picture|at least one"):
            do("predict", run="first", **bad)
    with pytest.raises(CasebookError, match=r"no such name|there is no run"):
        do("predict", run="../first", pictures=[0])


@pytest.mark.parametrize("method", ["grad-cam", "filters", "top9"])
def test_explanations_are_files_of_the_job(do: Callable, tmp_path: Path, method: str) -> None:
    given = {"pictures": [0], "sanity": True} if method == "grad-cam" else {}
    found = do("explain", run="first", method=method, **given)
    assert found["files"]
    for name in found["files"]:
        assert (tmp_path / "files" / name).read_bytes().startswith(b"\x89PNG")
    if method == "grad-cam":
        assert len(found["files"]) == 2
        assert found["sanity"]


def test_the_page_of_the_validation_is_made(do: Callable, tmp_path: Path) -> None:
    found = do("evaluate", run="first")
    assert found["split"] == "val"
    assert "Confusion" in (tmp_path / "files" / "validation.html").read_text()


def test_only_what_a_job_lists_is_given_out(studio: Any) -> None:
    status, headers, body = studio.request("GET", f"/api/jobs/{JOB}/files/drawing.svg", {"Cookie": studio.cookie})
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert body == b"<svg/>"
    for name in ("job.json", "other.svg", "worker.log", "..%2Fjob.json", "files", "%2Fetc%2Fpasswd"):
        assert studio.get(f"/api/jobs/{JOB}/files/{name}", 404)


def test_the_list_of_networks_and_a_card(studio: Any) -> None:
    listed = {one["name"]: one for one in studio.get("/api/networks")["networks"]}
    assert len(listed) > 90
    assert listed["resnet50"]["top1"] > 0.8
    assert listed["lenet5"]["top1"] is None  # no ImageNet weights
    assert studio.get("/api/networks/resnet50")["departures"]
    assert "there is no network" in studio.get("/api/networks/resnet51", 404)["error"]["message"]
    choices = studio.get(f"/api/projects/{studio.project}/choices")
    assert choices["data"] == "digits"
    assert {run["name"] for run in choices["runs"]} == {"first", "second"}
