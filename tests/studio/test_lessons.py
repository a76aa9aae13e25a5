"""The lessons in the studio: their list, the job that writes their pages, and the frame that shows one."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from casebook.lessons import LESSONS
from casebook.studio.lessons import plain

PAGE = "/api/lessons/pages/{}.html"


def test_a_paragraph_of_markdown_becomes_plain_text() -> None:
    assert plain("A *filter* of `1x1`\nand [a link](x.md).") == "A filter of 1x1 and a link."


@pytest.fixture(scope="module")
def studio(live_studio: Callable, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return live_studio(tmp_path_factory.mktemp("lessons"))


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


def test_a_page_that_is_not_written_says_what_writes_it(studio: Any) -> None:
    found = studio.get("/api/lessons")
    assert [one["name"] for one in found["lessons"]] == list(LESSONS)
    assert all(one["title"] and one["lead"] for one in found["lessons"])
    assert found["written"] == []
    assert "not written yet" in studio.get(PAGE.format("mobilenet"), 404)["error"]["message"]
    for name in ("none", "..%2F..%2Fsession", "index"):
        assert studio.get(PAGE.format(name), 404)["error"]["code"] in ("no_lesson", "not_found")
    job = {"task": "lessons", "settings": {"lesson": "../session"}}
    assert "expected one of" in studio.post("/api/jobs", job, 422)["error"]["message"]


def test_a_lesson_is_written_when_it_is_opened_and_its_links_stay_in_the_studio(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/lessons")
    page.get_by_role("link", name=re.compile("Keras.*residual|residual.*Keras", re.I)).first.press("Enter")
    frame = page.frame_locator("iframe.lesson")
    frame.get_by_role("heading", name="Exercises").or_(frame.locator("h2").last).wait_for(timeout=25000)
    [job] = [job for job in studio.get("/api/jobs")["jobs"] if job["task"] == "lessons"]  # one writes all of them
    if job["state"] == "running":
        studio.post(f"/api/jobs/{job['id']}/stop")
    assert "keras-residual-blocks" in studio.get("/api/lessons")["written"]
    assert not frame.locator("h1").is_visible()  # the studio shows it
    frame_height = page.locator("iframe").bounding_box()["height"]
    assert frame_height >= frame.locator("body").bounding_box()["height"]  # no second scroll bar
    before = page.url
    frame.locator("a[href$='.html']:visible").first.press("Enter")
    page.wait_for_function("before => location.href !== before", arg=before)
    assert re.search(r"/lessons/[a-z0-9-]+$", page.url)
    page.locator("#title:focus").wait_for()
    page.go_back()
    frame.locator("h2").last.wait_for()


@pytest.mark.usefixtures("page")  # the test before, in Chromium, writes the lesson
def test_nothing_in_a_lesson_can_run(studio: Any) -> None:
    status, headers, _ = studio.request("GET", PAGE.format("keras-residual-blocks"), {"Cookie": studio.cookie})
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["/lessons", "/lessons/keras-residual-blocks"])
def test_axe_finds_nothing_and_a_narrow_window_holds_it(page: Any, studio: Any, place: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    page.goto(studio.origin + place)
    page.locator("ol.lessons, iframe.lesson").wait_for()
    if "keras" in place:
        page.frame_locator("iframe").locator("h2").last.wait_for()
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    for width in (320, 900):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
