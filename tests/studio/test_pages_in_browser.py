"""Home and the run page in Chromium, and the one stream that all tabs follow while servers come and go."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casebook.studio.processes import started_at

JOB = "20260101-120000-aaaa"
STARTED = {
    "event": "TrainingStarted", "strategy": "none", "reason": "as the recipe says", "notes": ["colours are dropped"],
    "num_train": 112, "num_val": 24, "num_test": 24, "num_classes": 4, "batch_size": 16, "precision": "fp32",
    "device": "cpu",
}  # fmt: skip


def epoch(number: int) -> dict[str, Any]:
    return {
        "event": "EpochEnded", "phase": "train", "epoch": number, "epochs": 40, "train_loss": 2 / number,
        "learning_rate": 0.05, "val_loss": 2.1 / number, "val_top1": 1 - 0.7 / number, "images_per_second": 900.0,
        "seconds": 1.0, "validation_seconds": 0.1, "threads": 1, "is_best": True,
    }  # fmt: skip


def step(number: int) -> dict[str, Any]:
    return {
        "event": "StepEnded", "phase": "train", "epoch": number, "epochs": 40, "batch": 5, "batches": 7,
        "loss": None if number == 2 else 2 / number, "learning_rate": 0.05, "images_per_second": 900.0,
    }  # fmt: skip


class Training:
    """What looks to the server like a worker that trains: a process that lives, and a file of events."""

    def __init__(self, root: Path, project: str):
        self.folder = root / ".casebook-studio" / "jobs" / JOB
        self.folder.mkdir(parents=True)
        self.process = subprocess.Popen(["sleep", "300"], start_new_session=True)
        self._lines = 0
        asked = {"id": JOB, "task": "train", "project": project, "settings": {"model": "lenet5"}, "made": 1767268800.0}
        state = {"state": "running", "attempts": 1, "pid": self.process.pid, "started": started_at(self.process.pid)}
        for name, document in (("job", asked), ("state", state), ("run", {"run": "night"})):
            (self.folder / f"{name}.json").write_text(json.dumps(document))
        self.tell(STARTED, epoch(1), step(2))

    def tell(self, *events: dict[str, Any]) -> None:
        with (self.folder / "events.jsonl").open("a") as file:
            for event in events:
                file.write(json.dumps({"line": self._lines, "time": 0, "event": event}) + "\n")
                self._lines += 1

    def end(self) -> None:
        outcome = {"attempt": 1, "state": "failed", "message": "cannot write last.ckpt: No space left on device"}
        (self.folder / "outcome.json").write_text(json.dumps(outcome))
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def studio(live_studio: Callable, digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A studio with a project and a training that goes on as the test says."""
    root = tmp_path_factory.mktemp("studio")
    shutil.copytree(digit_folder, root / "photos" / "digits")
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "photos/digits"})["id"]
    found.kill()
    found.training = Training(root, found.project)
    found.start()
    found.run_page = f"{found.origin}/p/{found.project}/run/night"
    yield found
    found.training.close()


@pytest.fixture
def tabs(browser: Any, studio: Any) -> Iterator[Any]:
    """A browser that has been let in. No page may complain or ask other servers."""
    context = browser.new_context(viewport={"width": 900, "height": 900})
    name, _, value = studio.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": studio.origin, "sameSite": "Strict", "httpOnly": True}])
    complaints: list[str] = []
    context.streams = []

    def asked(request: Any) -> None:
        if not request.url.startswith((studio.origin, "blob:", "data:")):
            complaints.append(request.url)
        if request.resource_type == "eventsource":
            context.streams.append(request.url)

    context.on("request", asked)
    context.on("console", lambda said: re.search("ERR_|status of", said.text) or complaints.append(said.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert complaints == []


def wait_for_epochs(page: Any, number: int) -> None:
    """Until the table of epochs has so many rows."""
    rows = page.locator("details table tbody tr")
    rows.nth(number - 1).wait_for(state="attached", timeout=8000)
    assert rows.count() == number


def test_the_printed_address_lets_in_once_and_the_keyboard_opens_a_folder(browser: Any, studio: Any) -> None:
    page = browser.new_page()
    page.goto(studio.address)
    page.get_by_role("heading", name="Casebook studio").wait_for()
    assert page.url == f"{studio.origin}/"  # the token is gone from the address
    page.get_by_role("button", name="Open a folder").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="photos/").wait_for()
    page.get_by_role("button", name="photos/").press("Enter")
    page.get_by_role("button", name="digits/").press("Enter")
    page.get_by_role("button", name="Open digits").press("Enter")
    page.wait_for_url(f"**/p/{studio.project}/gather")  # the folder has its project already
    page.locator("#title:focus").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Casebook studio").wait_for()
    page.close()
    stranger = browser.new_page()
    stranger.goto(studio.address)
    assert "not let in" in stranger.inner_text("body")
    stranger.close()


def test_nothing_is_lost_over_reloads_and_restarts_and_all_tabs_share_a_stream(tabs: Any, studio: Any) -> None:
    first = tabs.new_page()
    first.goto(studio.run_page)
    wait_for_epochs(first, 1)
    assert first.get_by_text("Epoch 2 of 40").is_visible()
    assert first.get_by_text("the best so far: epoch 1").is_visible()
    assert first.get_by_text("Running for").is_visible()
    second = tabs.new_page()
    second.goto(f"{studio.origin}/p/{studio.project}/train")
    second.get_by_role("link", name="look at it").click()
    wait_for_epochs(second, 1)
    studio.training.tell(epoch(2), step(3))
    for page in (first, second):
        wait_for_epochs(page, 2)
    assert len(tabs.streams) == 1

    second.reload()
    wait_for_epochs(second, 2)
    studio.kill()
    studio.training.tell(epoch(3), epoch(4))
    first.get_by_text("The studio does not answer").wait_for()
    second.get_by_text("The studio does not answer").wait_for()
    studio.start()
    studio.training.tell(epoch(5))
    for page in (first, second):
        wait_for_epochs(page, 5)
        page.get_by_text("The studio does not answer").wait_for(state="detached")

    streams = len(tabs.streams)
    first.close()  # the tab that had the stream
    studio.training.tell(epoch(6))
    wait_for_epochs(second, 6)
    assert len(tabs.streams) == streams + 1
    assert second.get_by_role("img", name=re.compile(r"Loss\..*after epoch 6")).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["home", "run", "dialog"])
def test_axe_finds_nothing_and_a_narrow_window_holds_it(tabs: Any, studio: Any, place: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = tabs.new_page()
    page.emulate_media(color_scheme=scheme)
    page.goto(studio.run_page if place == "run" else studio.origin)
    page.locator("h2").first.wait_for()
    if place == "dialog":
        page.get_by_role("button", name="Open a folder").click()
        page.get_by_role("button", name="photos/").wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    for width in (320, 900):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_failed_training_says_why_and_offers_to_go_on(tabs: Any, studio: Any) -> None:
    page = tabs.new_page()
    page.goto(studio.run_page)
    page.get_by_role("button", name="Stop and keep a checkpoint").wait_for()
    held: list[tuple[Any, Any]] = []
    page.route("**/api/home", lambda route: held.append((route, route.fetch())), times=1)
    studio.training.tell({"event": "RunOpened", "path": "night"})  # for which the page reads its jobs again
    while not held:
        page.wait_for_timeout(20)
    studio.training.end()
    page.get_by_text("No space left on device").first.wait_for()
    with page.expect_request("**/api/home", timeout=8000):  # it asks again
        held[0][0].fulfill(response=held[0][1])  # says that the training runs, and comes too late
    page.get_by_role("button", name="Resume").wait_for()
    said = page.locator("[aria-live]").inner_text()
    assert said.startswith("training: failed, cannot write last.ckpt")
    home = tabs.new_page()
    home.goto(studio.origin)
    home.get_by_role("heading", name="Stopped trainings").wait_for()
    assert home.get_by_role("link", name="training of digits").get_attribute("href").endswith("/run/night")


def test_an_address_that_names_nothing_says_so(tabs: Any, studio: Any) -> None:
    page = tabs.new_page()
    for path in ("/p/aaaaaaaa/train", f"/p/{studio.project}/nonsense", f"/p/{studio.project}/run/none"):
        page.goto(studio.origin + path)
        page.get_by_text(re.compile("There is no such page|there is no run")).wait_for()
        assert page.get_by_role("link", name=re.compile("home", re.I)).first.is_visible()


def test_an_old_page_gets_a_new_token_by_itself(tabs: Any, studio: Any) -> None:
    page = tabs.new_page()
    page.goto(studio.origin)
    page.locator("h2").first.wait_for()
    page.evaluate("document.querySelector('meta[name=casebook-token]').content = 'old'")
    found = page.evaluate("import('/static/lib/api.js').then((api) => api.post('/api/projects', {digits: true}))")
    assert found["kind"] == "digits"
