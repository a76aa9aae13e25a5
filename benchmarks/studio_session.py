"""A whole session in the studio, by keyboard alone: how long each step takes, and how many keys.

    python benchmarks/studio_session.py PICTURES [--weights FILE] [--model NAME] [--shots FOLDER]

PICTURES is a folder of class folders; it is copied first, since the session relabels two pictures. Needs Playwright and
Chromium. The times hold what the machine does (checking, training, exporting) and the keys, pressed without a pause.
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = "/usr/bin/chromium"
NAME_OF = """
() => {
  const here = document.activeElement;
  if (!here || here === document.body) return { name: "", role: "", tag: "BODY" };
  const labels = here.labels ? [...here.labels].map((label) => label.textContent).join(" ") : "";
  const name = here.getAttribute("aria-label") || labels || here.textContent || "";
  return { name: name.replace(/\\s+/g, " ").trim(), role: here.getAttribute("role") || "", tag: here.tagName };
}
"""
MOST_TABS = 250
SECONDS = 240  # for a step that computes


class Step(NamedTuple):
    name: str
    seconds: float
    keys: int


class Keyboard:
    """A page that is used by keys alone."""

    def __init__(self, page: Any):
        self.page, self.keys = page, 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.keys += len(text)

    def reach(self, pattern: str, *tags: str) -> None:
        """Presses Tab until what has the focus is of one of the tags and its name fits the pattern as a whole."""
        seen = []
        for _ in range(MOST_TABS):
            found = self.page.evaluate(NAME_OF)
            if (not tags or found["tag"] in tags) and re.fullmatch(pattern, found["name"]):
                return
            seen.append(f"{found['tag']} {found['name'][:40]}")
            self.press("Tab")
        raise AssertionError(f"the keyboard does not reach {pattern!r} on {self.page.url}; it went over {set(seen)}")

    def follow(self, pattern: str) -> None:
        """A link, and the page that it leads to: its heading has the focus then."""
        before = self.page.url
        self.reach(pattern, "A")
        self.press("Enter")
        self.page.wait_for_function("before => location.href !== before", arg=before)
        self.arrive()

    def arrive(self) -> None:
        """Waits until the heading of a new page has the focus."""
        self.page.wait_for_function("() => document.activeElement?.id === 'title'")

    def push(self, pattern: str) -> None:
        self.reach(pattern, "BUTTON")
        self.press("Enter")

    def choose(self, label: str, option: str) -> None:
        """An option of a select, by typing its name. A browser that is kept waiting for a second begins a new name."""
        self.reach(label, "SELECT")
        chosen = ""
        for _ in range(5):
            self.type(option)
            chosen = self.page.evaluate("() => document.activeElement.selectedOptions[0].textContent")
            if chosen.startswith(option):
                return
            self.page.wait_for_timeout(1200)
        raise AssertionError(f"typing {option!r} chose {chosen!r}")

    def until(self, text: str | re.Pattern[str], seconds: float = 30) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=1000 * seconds)


class Training(NamedTuple):
    """What the session chooses on the page Train."""

    model: str
    weights: str = ""
    epochs: int = 2


def session(page: Any, address: str, folder: str, training: Training, picture: Path) -> Iterator[Step]:
    """Goes through all pages; `folder` is a name below the studio's root, `picture` a file to predict."""
    keyboard = Keyboard(page)
    clock = time.perf_counter()

    def step(name: str) -> Step:
        nonlocal clock
        now = time.perf_counter()
        found = Step(name, now - clock, keyboard.keys)
        clock, keyboard.keys = time.perf_counter(), 0
        return found

    page.goto(address)
    keyboard.push("Open a folder")
    keyboard.reach(f"{folder}/.*", "BUTTON")
    keyboard.press("Enter")
    keyboard.push(f"Open {folder}")
    page.wait_for_url("**/gather")
    keyboard.arrive()
    yield step("open a folder")
    yield from _look(keyboard, step)
    yield from _train(keyboard, step, training, "first")
    keyboard.follow("Evaluate")
    keyboard.push("Open the test")
    keyboard.until(re.compile("Opened once"))
    yield step("open the locked test")
    keyboard.follow("Explain")
    keyboard.push("Explain")
    page.get_by_role("heading", name="What it shows").wait_for(timeout=1000 * SECONDS)
    page.locator("figure img").first.wait_for()
    yield step("explain a picture")
    yield from _train(keyboard, step, training._replace(epochs=training.epochs + 1), "second")
    keyboard.follow("Compare")
    for run in ("second", "first"):
        keyboard.reach(f"{run}.*", "INPUT")
        keyboard.press("Space")
    keyboard.push("Compare 2 runs")
    keyboard.until(re.compile("no detectable difference|(more|fewer) mistakes"), SECONDS)
    yield step("compare two runs")
    keyboard.follow("Try and export")
    with page.expect_file_chooser() as chooser:
        keyboard.push("Choose files")
    chooser.value.set_files(picture)  # the system's own dialog
    page.locator("section figure figcaption b").first.wait_for(timeout=1000 * SECONDS)
    yield step("predict a new picture")
    keyboard.push("Export")
    page.get_by_role("link", name="Download").first.wait_for(timeout=1000 * SECONDS)
    yield step("export")


def _look(keyboard: Keyboard, step: Callable[[str], Step]) -> Iterator[Step]:
    """Checks the data, relabels two pictures and takes one back."""
    page = keyboard.page
    keyboard.follow("Check")
    keyboard.push("Check the pictures")
    keyboard.until(re.compile("^As of"), SECONDS)
    yield step("check")
    keyboard.follow("Label")
    keyboard.reach("Pictures", "DIV")
    for _ in range(2):
        keyboard.press("ArrowRight", "2")
        page.locator(".cell-picture.at.changed").wait_for()
    keyboard.press("u")
    keyboard.until(re.compile("^undone: 1 picture"))
    yield step("relabel two pictures, undo one")


def _train(keyboard: Keyboard, step: Callable[[str], Step], training: Training, name: str) -> Iterator[Step]:
    page = keyboard.page
    keyboard.follow("Train")
    keyboard.choose("Network", training.model)
    if training.weights:
        keyboard.choose("Starts from", training.weights)
        keyboard.reach("Let Casebook measure it.*", "INPUT")
        keyboard.press("ArrowDown")  # the head only
    keyboard.reach("More settings", "SUMMARY")
    keyboard.press("Enter")
    keyboard.reach("Epochs", "INPUT")
    keyboard.type(str(training.epochs))
    keyboard.reach("Name of the run", "INPUT")
    keyboard.type(name)
    keyboard.push("Train")
    page.get_by_role("link", name="Evaluate", exact=True).last.wait_for()
    page.locator("main").get_by_role("link", name="Evaluate").wait_for(timeout=1000 * SECONDS)
    yield step(f"train {training.model}, {training.epochs} epochs")


class Server(NamedTuple):
    address: str
    """It lets one browser in."""
    pid: int


@contextlib.contextmanager
def studio(root: Path) -> Iterator[Server]:
    """A studio of the folder, until the block is left."""
    command = [sys.executable, "-m", "casebook", "studio", str(root), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = r"http://127\.0\.0\.1:\d+/\?token=\S+"
            found = next(found[0] for line in process.stderr if (found := re.search(address, line)))
            yield Server(found, process.pid)
        finally:  # also after a step that failed: leaving the block waits for the process
            process.terminate()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        root = Path(temporary)
        shutil.copytree(options.pictures, root / options.pictures.name)
        weights = ""
        if options.weights:
            weights = Path(shutil.copy(options.weights, root)).name
        picture = next(path for path in sorted(options.pictures.rglob("*")) if path.is_file())
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        with studio(root) as server:
            page = browser.new_page()
            training = Training(options.model, weights, options.epochs)
            total = 0.0
            try:
                for step in session(page, server.address, options.pictures.name, training, picture):
                    total += step.seconds
                    print(f"{step.name:<40}{step.seconds:>8.1f} s{step.keys:>6} keys", flush=True)
            except Exception:
                with contextlib.suppress(Exception):  # the page may be gone, too
                    print(f"{page.url} says:\n{page.inner_text('main')}", file=sys.stderr)
                raise
            print(f"{'all':<40}{total:>8.1f} s")
        browser.close()


if __name__ == "__main__":
    main()
