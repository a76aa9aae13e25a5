"""The pages around runs in Chromium: Train, Evaluate, Compare, Explain, Try and export, Networks."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import copy_run

RESULTS = {
    "compare": ({"runs": ["first", "second"], "part": "val"}, {
        "part": "val", "notes": ["The weights were chosen by these pictures."],
        "costs": {"first": {"parameters": 62_000, "multiply_adds": 417_000}},
        "compared": [
            {"name": "first", "top1": 0.75, "top1_interval": [0.55, 0.88], "n": 24, "against": []},
            {"name": "second", "top1": 0.5, "top1_interval": [0.31, 0.69], "n": 24, "against": [
                {"name": "first", "top1_error": {"difference": 0.25, "interval": [-0.02, 0.51]}}]},
        ]}),
    "predict": ({"run": "first", "uploads": ["0" * 32, "1" * 32]}, {"answers": [
        {"picture": "picture 1", "predictions": [{"class": "digit_1", "probability": 0.6}]},
        {"picture": "picture 2", "error": "no picture: its bytes are no JPEG, PNG or WebP"}]}),
    "export": ({"run": "first", "keras": True}, {
        "exported": ["first.casebook", "first.html", "first.keras", "first.json"], "folder": "exports",
        "bytes": 3_000_000, "golden": 22,
        "networks": {"float32": {}}, "int8": {"reason": "24 pictures cannot show what 8 bits cost"}}),
    "explain": ({"run": "first", "method": "grad-cam", "pictures": [0]}, {
        "files": ["000-grad-cam.svg"], "sanity": [[{"correlation": 0.05}]]}),
    "draw": ({"network": "lenet5", "level": "strip"}, {"files": ["drawing.svg"], "words": "lenet5"}),
    "evaluate": ({"run": "second"}, {"files": ["validation.html"], "top1": 0.5, "split": "val"}),
}  # fmt: skip
PLACES = {
    "train": "/p/{project}/train",
    "evaluate": "/p/{project}/evaluate?run=first",
    "evaluate-closed": "/p/{project}/evaluate?run=second&job={evaluate}",
    "compare": "/p/{project}/compare?job={compare}",
    "explain": "/p/{project}/explain?run=first&job={explain}",
    "try": "/p/{project}/try?run=first&job={predict}",
    "export": "/p/{project}/try?run=first&job={predict}&export={export}",
    "networks": "/networks?sort=year-down&find=resnet5",
    "network": "/networks/lenet5?job={draw}",
}
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="90"/>'
PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>Seen</title><main><h1>Seen</h1></main></html>"


def job_of(task: str) -> str:
    return f"20260101-12000{list(RESULTS).index(task)}-aaaa"


def finished_job(root: Path, task: str, project: str) -> None:
    """A job as a worker leaves it."""
    folder = root / ".casebook-studio" / "jobs" / job_of(task)
    (folder / "files").mkdir(parents=True)
    settings, result = RESULTS[task]
    asked = {"id": folder.name, "task": task, "project": project, "settings": settings, "made": 1767268800.0}
    for name, document in {"job": asked, "state": {"state": "done", "attempts": 1}, "result": result}.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    for name in result.get("files", ()):
        (folder / "files" / name).write_text(SVG if name.endswith(".svg") else PAGE)


@pytest.fixture(scope="module")
def studio(
    live_studio: Callable, digit_folder: Path, runs: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A studio with two finished runs, of which one has its test open, and a finished job of each task."""
    root = tmp_path_factory.mktemp("pages")
    shutil.copytree(digit_folder, root / "digits")
    for name, run in zip(("first", "second"), runs[:2], strict=True):
        copy_run(run, root / "runs" / name, root / "digits")
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "digits"})["id"]
    found.post(f"/api/projects/{found.project}/runs/first/open-test")
    found.kill()
    for task in RESULTS:
        finished_job(root, task, found.project)
    (root / ".casebook-studio" / "uploads").mkdir()
    for place, id in enumerate(RESULTS["predict"][0]["uploads"]):
        shutil.copy(root / "digits" / f"digit_{place}" / "000.png", root / ".casebook-studio" / "uploads" / id)
    found.start()
    found.places = {
        name: found.origin + path.format(project=found.project, **{task: job_of(task) for task in RESULTS})
        for name, path in PLACES.items()
    }
    return found


@pytest.fixture
def page(browser: Any, studio: Any) -> Iterator[Any]:
    """A page of a browser that has been let in; it must not complain."""
    context = browser.new_context(viewport={"width": 900, "height": 900})
    name, _, value = studio.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": studio.origin, "sameSite": "Strict", "httpOnly": True}])
    complaints: list[str] = []
    context.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert complaints == []


@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing_in_light_and_dark_and_a_narrow_window_holds_it(page: Any, studio: Any, place: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(studio.places[place])
    page.locator("main select, main table, main h2").first.wait_for()
    page.wait_for_load_state("load")
    for summary in page.locator("main summary").all():
        summary.click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    for width in (320, 900):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_detectable_difference_is_said_aloud(page: Any, studio: Any) -> None:
    page.goto(studio.places["compare"])
    page.get_by_text("second and first: no detectable difference (-2.0 to 51.0 points of error).").wait_for()
    assert page.get_by_role("row", name=re.compile("first")).last.inner_text().endswith("62 k\t417 k")
    assert page.get_by_label("first", exact=True).is_checked()
    assert page.get_by_label("the test").is_disabled()  # that of the second run is closed


def test_the_command_follows_the_settings(page: Any, studio: Any) -> None:
    page.goto(studio.places["train"])
    page.get_by_label("Network").select_option("resnet20")
    page.get_by_label("Starts from").select_option("cifar10")
    page.get_by_label("The head only").check()
    page.get_by_text("More settings").click()
    page.get_by_label("Epochs").fill("7")
    page.get_by_label("Name of the run").fill("my-run")
    command = page.get_by_label("Command", exact=True).inner_text()
    assert command == (
        "casebook train digits --model resnet20 --weights cifar10 --transfer head --epochs 7 --out runs/my-run"
    )


def test_the_ledger_sorts_and_finds(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/networks")
    page.get_by_role("button", name="Weights", exact=True).click()
    first = page.locator("tbody tr").first
    first.get_by_text("lenet5_1998").wait_for()
    page.get_by_label("Find").fill("resnet50")
    page.get_by_text(re.compile(r"^\d+ of \d+ networks")).wait_for()
    assert "find=resnet50" in page.url  # the address holds it
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert all("resnet50" in row for row in page.locator("tbody tr td:first-child").all_inner_texts())


def test_a_closed_test_shows_no_figure_until_it_is_opened(page: Any, studio: Any) -> None:
    page.goto(studio.places["evaluate-closed"])
    page.get_by_role("button", name="Open the test").wait_for()
    assert "Right on test pictures" not in page.inner_text("main")
    page.get_by_role("button", name="Open the test").press("Enter")
    page.get_by_text("Opened once").wait_for()
    assert page.get_by_text("Right on test pictures").is_visible()
    assert page.frame_locator("iframe").last.locator("h1").inner_text()


def test_the_epochs_of_two_phases_count_on(page: Any, studio: Any) -> None:
    phases = ("head", "head", "tune", "tune")
    ended = [{"event": "EpochEnded", "phase": name, "epoch": n, "epochs": 2} for n, name in enumerate(phases, 1)]
    steps = [
        {"event": "StepEnded", "phase": phase, "epoch": n, "epochs": 2, "batch": 1, "batches": 1, "loss": 1.0}
        for phase in ("head", "tune")
        for n in (1, 2)
    ]
    events = [one for pair in zip(steps, ended, strict=True) for one in pair]
    page.goto(studio.origin)
    found = page.evaluate(
        """events => import('/static/pages/run.js').then(({ summary }) => {
             const found = summary(events);
             return { epochs: [...found.epochs.keys()], steps: found.steps.map(([x]) => x), total: found.total };
           })""",
        events,
    )
    assert found == {"epochs": [1, 2, 3, 4], "steps": [1, 2, 3, 4], "total": 4}


def test_a_head_and_fine_tuning_are_lines_of_their_own(page: Any, studio: Any) -> None:
    rows = [
        {"phase": phase, "epoch": number, "train_loss": 1.0, "val_loss": 1.0, "val_top1": top1, "learning_rate": 0.1,
         "seconds": 1.0, "is_best": True}
        for number, (phase, top1) in enumerate([("head", 0.9), ("tune", 0.5), ("tune", 0.95)], 1)
    ]  # fmt: skip
    history = {"network": "resnet20", "complete": True, "epochs": 2, "rows": rows}
    page.route("**/runs/second/history", lambda route: route.fulfill(json=history))
    page.goto(f"{studio.origin}/p/{studio.project}/run/second")
    page.get_by_text("Epoch 1 is a new head on the network as it was; from epoch 2 on").wait_for()
    assert page.get_by_text("the weights that are kept: epoch 3").is_visible()
    lines = page.locator("figure", has_text="Validation accuracy").locator("path.line")
    starts = lines.evaluate_all("lines => lines.map((line) => line.getAttribute('d').split('L').length)")
    assert starts == [1, 2]  # points of the head, points of fine-tuning


def test_the_newest_export_of_a_run_is_shown(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/p/{studio.project}/try?run=first")
    page.get_by_role("link", name="Download").nth(3).wait_for()
    page.get_by_text("There is no 8-bit network inside").click()
    assert page.get_by_text("24 pictures cannot show what 8 bits cost").is_visible()
    page.goto(f"{studio.origin}/p/{studio.project}/try?run=second")
    page.get_by_role("button", name="Export").wait_for()
    assert page.get_by_role("link", name="Download").count() == 0


def test_a_reload_keeps_what_was_tried_and_exported(page: Any, studio: Any) -> None:
    page.goto(studio.places["export"])
    for _ in range(2):
        page.get_by_role("link", name="Download").nth(3).wait_for()
        for place in (1, 2):
            page.get_by_role("img", name=f"picture {place}").wait_for()
        drawn = "[...document.querySelectorAll('figure img')].filter((image) => image.naturalWidth === 8).length"
        page.wait_for_function("() => [...document.querySelectorAll('figure img')].every((image) => image.complete)")
        assert page.evaluate(drawn) == 2
        assert page.get_by_text("digit_1 60").is_visible()
        page.reload()


@pytest.mark.parametrize(("text", "words", "terminal"), [
    ("chose resnet20: small pictures (28 pixels), at least 40 a class; --model chooses another",
     "chose resnet20: small pictures (28 pixels), at least 40 a class; another can be chosen under “Network” on the "
     "page Train", ""),
    ("it starts from the weights at hand; --model mobilenet_v2 --weights imagenet does better on photographs",
     "it starts from the weights at hand; mobilenet_v2, which starts from the weights “imagenet” and can be chosen on "
     "the page Train, does better on photographs", ""),
    ("Training leaves them out, or stops with --strict", "Training leaves them out", ""),
    ("A new split keeps the proportions; --class-weights balanced makes up for them",
     "A new split keeps the proportions", "--class-weights balanced makes up for them"),
    ("runs/x: exists already; go on with it by 'casebook train --resume runs/x', choose another --out, or remove it",
     "runs/x: exists already", "go on with it by 'casebook train --resume runs/x', choose another --out, or remove it"),
    ("cannot write a.b: No space left; free some", "cannot write a.b: No space left; free some", ""),
    ("add --label-from parent", "add --label-from parent", ""),
    ("", "", ""),
])  # fmt: skip
def test_flags_are_said_in_the_words_of_a_page(page: Any, studio: Any, text: str, words: str, terminal: str) -> None:
    page.goto(studio.origin)
    found = page.evaluate("text => import('/static/lib/words.js').then((words) => words.spoken(text))", text)
    assert found == {"words": words, "terminal": terminal}


@pytest.mark.parametrize(("accepted", "epoch"), [(True, 4), (False, 2)])
def test_the_epoch_that_is_marked_is_the_one_that_was_kept(page: Any, studio: Any, accepted: bool, epoch: int) -> None:
    from casebook.training.fine_tuning import Judgement, Losses

    losses = Losses(np.ones(4), np.ones(4, bool))
    note = Judgement(accepted, 0.1, 0.2, losses, losses).reason
    rows = [{"number": n, "phase": phase, "is_best": n % 2 == 0} for n, phase in enumerate("hhtt", 1)]
    page.goto(studio.origin)
    found = page.evaluate(
        "([rows, note]) => import('/static/pages/run.js').then(({ kept }) => kept(rows, [note]).number)", [rows, note]
    )
    assert found == epoch
