"""The page in Chromium: a picture is chosen, answered, and shown; nothing comes from elsewhere."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from casebook.runner.server.settings import Access, ServerSettings

REFUSED = re.compile("status of (401|422)")  # Chromium's own line about an answer that the page shows
TOKEN = "correct-horse-battery"


@pytest.fixture
def opened(browser: Any, listening: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """`opened(*networks, path="/", settings=...)` -> a page of a server; it may not complain or ask other servers."""
    complaints: list[str] = []
    pages = []

    def open_page(*networks: Any, path: str = "/", settings: ServerSettings | None = None) -> Any:
        server = listening(*networks, settings=settings)
        page = browser.new_page(viewport={"width": 900, "height": 900})
        pages.append(page)
        page.on("console", lambda said: REFUSED.search(said.text) or complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        address = f"http://127.0.0.1:{server.port}"
        page.on(
            "request", lambda asked: asked.url.startswith((address, "blob:", "data:,")) or complaints.append(asked.url)
        )
        page.goto(address + path, wait_until="networkidle")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def choose(page: Any, *files: tuple[str, bytes]) -> None:
    page.set_input_files(
        "#files", [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )


def test_pictures_are_answered_on_the_page(opened, brightness, picture, tmp_path) -> None:
    page = opened(brightness())
    choose(page, ("night.png", picture(2)), ("torn.png", picture(2)[:40]), ("dusk.png", picture(64)))
    page.get_by_text("3 pictures answered.").wait_for()
    answers = page.locator("#answers > li")
    assert answers.count() == 3
    dusk, torn, night = (answers.nth(number).inner_text() for number in range(3))
    assert night.split()[:2] == ["night.png", "dark"]
    assert "Unsure: the two best classes are equally probable" in dusk
    assert "Possible: dark, middling" in dusk
    assert "cut off or damaged" in torn
    assert not page.locator("#model-row").is_visible()
    for width in (360, 900):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "page.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_axe_finds_nothing(opened, brightness, picture, path, scheme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(brightness(), brightness(name="other"), path=path)
    page.emulate_media(color_scheme=scheme)
    if path == "/":
        choose(page, ("night.png", picture(2)), ("dusk.png", picture(64)))
        page.get_by_text("2 pictures answered.").wait_for()
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_a_model_is_chosen_and_a_token_asked_for(opened, brightness, picture) -> None:
    settings = ServerSettings(access=Access(token=TOKEN), drain_seconds=0)
    page = opened(brightness(), brightness(version="2"), settings=settings)
    page.get_by_label("Access token").fill(TOKEN)
    page.get_by_label("Access token").press("Tab")
    page.get_by_label("Model").select_option(label="brightness (version 1, 3 classes)")
    with page.expect_response(lambda response: "/v1/classify" in response.url) as answered:
        choose(page, ("night.png", picture(2)))
    assert answered.value.json()["version"] == "1"


def test_a_name_in_a_bundle_cannot_become_markup(opened, brightness, picture) -> None:
    page = opened(brightness(name="<b>x</b>", classes=("<img src=x onerror=document.title='owned'>", "b", "c")))
    choose(page, ("<i>.png", picture(2)))
    page.get_by_text("1 picture answered.").wait_for()
    assert "<img src=x" in page.locator("#answers").inner_text()
    assert page.title() == "What is in this picture?"


def test_the_documentation_lists_the_operations(opened, brightness) -> None:
    page = opened(brightness(), path="/docs")
    page.get_by_role("heading", name="POST /v1/classify").wait_for()
    assert page.get_by_role("heading", level=2).count() > 15
    assert "curl --data-binary @picture.jpg http://127.0.0.1:" in page.inner_text("#example")
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
