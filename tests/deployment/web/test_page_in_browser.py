"""The page in Chromium: from a file and from a web server, with and without a network, by keyboard, at any width."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from casebook.deployment.web import Runtime, Site, write_web

from .conftest import picture

WAIT_MS = 20_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(site: Site, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = write_web(site, tmp_path_factory.mktemp("site") / "page", runtime).path
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def single(site: Site, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_web(site, tmp_path_factory.mktemp("single") / "page.html", runtime).path.as_uri()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context(viewport={"width": 1000, "height": 800}, service_workers="allow")
    yield made
    made.close()


def opened(context: Any, url: str) -> Any:
    """The page when its classifier is ready; a word on its console fails the test."""
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(url)
    page.wait_for_selector("body[data-ready]", timeout=WAIT_MS)
    return page


def give(page: Any, *files: tuple[str, bytes]) -> list[str]:
    """What the page says of each picture, the last given first."""
    page.set_input_files("#files", [{"name": name, "mimeType": "", "buffer": content} for name, content in files])
    # Not wait_for_function, which evaluates a string, as the page's policy forbids.
    page.locator(".card .took:not(:empty), .card.failed").nth(len(files) - 1).wait_for(timeout=WAIT_MS)
    return page.locator(".card .says").all_inner_texts()


def checked(page: Any) -> list[list[str]]:
    """The rows of the table that compares this browser with Python."""
    page.get_by_text("Does this browser answer as Python does?").click()
    page.get_by_role("button", name="Check").click()
    page.wait_for_selector("#check-table:not([hidden])", timeout=WAIT_MS)
    rows = page.locator("#check-rows tr")
    return [rows.nth(i).locator("td").all_inner_texts() for i in range(rows.count())]


RED, BLUE = ("red.png", picture((210, 40, 30))), ("blue.jpg", picture((20, 40, 220), "JPEG"))


def test_a_file_answers_without_a_server(context: Any, single: str) -> None:
    context.set_offline(True)
    page = opened(context, single)
    assert give(page, RED, BLUE, ("notes.txt", b"three years of work")) == [
        "is not a JPEG, PNG, GIF, BMP, WebP or AVIF file", "blue", "red",
    ]  # fmt: skip
    assert [row[:2] + row[3:4] for row in checked(page)] == [
        ["red.png", "same", "equal"],
        ["blue.jpg", "same", "equal"],
    ]
    assert "2 of 2 pictures" in page.inner_text("#check-result")
    page.get_by_text("Licences", exact=True).click()
    page.get_by_role("button", name="Show the licences").click()
    page.wait_for_selector("#notices:not([hidden])", timeout=WAIT_MS)
    assert len(page.inner_text("#notices")) > 100_000
    assert page.complaints == []


def test_a_folder_goes_on_without_its_server(context: Any, server: Any) -> None:
    url = f"http://127.0.0.1:{server.server_port}/"
    page = opened(context, url)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.close()
    context.set_offline(True)
    page = opened(context, url)
    assert give(page, RED) == ["red"]
    assert [row[1] for row in checked(page)] == ["same", "same"]
    assert page.evaluate("crossOriginIsolated")  # by the service worker, so that several threads may run
    assert page.complaints == []


def test_a_difference_from_python_is_shown(context: Any, site: Site, runtime: Runtime, tmp_path: Path) -> None:
    changed = [one._replace(probabilities=[0.5, 0.3, 0.2], pixels_sha256="0" * 64) for one in site.golden[:1]]
    url = write_web(site._replace(golden=changed), tmp_path / "page.html", runtime).path.as_uri()
    page = opened(context, url)
    assert [row[1] + " " + row[3] for row in checked(page)] == ["differs differ"]
    assert "0 of 1 pictures" in page.inner_text("#check-result")


def test_unsure_is_an_answer(context: Any, site: Site, runtime: Runtime, tmp_path: Path) -> None:
    numbers = {
        "most_wrong": 0.01, "confidence": 0.9, "least_margin": 1.0, "temperature": 1.0,
        "sets": {"coverage": 0.9, "least_probability": 0.2}, "unlike": None,
    }  # fmt: skip
    manifest = site.manifest | {"unsure": numbers}
    page = opened(context, write_web(site._replace(manifest=manifest), tmp_path / "p.html", runtime).path.as_uri())
    grey, red = give(page, RED, ("grey.png", picture((100, 104, 98))))
    assert grey.startswith("Unsure\n")
    assert "not sure enough for at most 1 % wrong answers" in grey
    assert "Possible: " in grey
    assert "(the true class is among those named for 90.0 % of pictures)" in grey
    assert red == "red"


def test_a_wrong_network_is_reported(context: Any, site: Site, runtime: Runtime, tmp_path: Path) -> None:
    broken = site._replace(files={"model.onnx": b"something else"})
    page = context.new_page()
    page.goto(write_web(broken, tmp_path / "page.html", runtime).path.as_uri())
    page.wait_for_selector("body[data-failed]", timeout=WAIT_MS)
    assert page.inner_text("#status") == "The classifier cannot start: wrong files"


def test_a_folder_that_is_opened_as_a_file_says_what_to_do(
    context: Any, site: Site, runtime: Runtime, tmp_path: Path
) -> None:
    page = context.new_page()
    page.goto((write_web(site, tmp_path / "page", runtime).path / "index.html").as_uri())
    page.wait_for_selector("body[data-failed]", timeout=WAIT_MS)
    assert "from a web server" in page.inner_text("#status")


def test_the_camera_is_answered_until_it_is_stopped(context: Any, single: str) -> None:
    page = opened(context, single)
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_selector("#live .took:not(:empty)", timeout=WAIT_MS)
    assert page.inner_text("#live .says") == "green"  # what Chromium's pretended camera shows
    page.get_by_role("button", name="Stop the camera").click()
    assert page.locator("#live").is_hidden()
    assert page.complaints == []


def test_the_keyboard_reaches_everything(context: Any, single: str) -> None:
    page = opened(context, single)
    give(page, RED)
    names = []
    for _ in range(7):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
    expected = ["Choose pictures", "Use the camera", "Clear", "The 3 classes", "Does this browser", "Licences"]
    assert [name[: len(start)] for name, start in zip(names, expected, strict=False)] == expected
    page.get_by_role("button", name="Clear").press("Enter")
    assert page.locator(".card").count() == 0
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose pictures").press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows(context: Any, single: str, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(context, single)
    page.emulate_media(color_scheme=scheme)
    give(
        page,
        RED,
        ("a_file_with_a_name_as_long_as_cameras_and_scanners_write_them_today.jpg", BLUE[1]),
        ("a.txt", b"text"),
    )
    checked(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width in (320, 600, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
