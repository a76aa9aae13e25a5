"""The gallery in Chromium, light and dark: words keep their places, axe finds nothing serious, steps answer to keys."""

from pathlib import Path
from typing import Any

import pytest

from casebook.drawing.text import text_width
from casebook.workflows.illustrate import write_illustration

FILES = sorted((Path(__file__).parents[2] / "docs" / "drawings").glob("*.svg"))
WORDS = """() => [...document.querySelectorAll("svg text")].map((node) => [
  node.textContent, Number(node.getAttribute("font-size")), node.classList.contains("strong"), node.getBBox().width,
  getComputedStyle(node).fill,
])"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All drawings inside one page."""
    path = tmp_path_factory.mktemp("gallery") / "all.html"
    inside = "".join(file.read_text(encoding="utf-8") for file in FILES)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drawings</title></head><body><main>'
        f"<h1>Drawings</h1>{inside}</main></body></html>",
        encoding="utf-8",
    )
    return path


def serious(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [f"{one['id']}: {one['help']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_no_wider_than_the_table_says(browser: Any, gallery: Path, scheme: Any) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    page.goto(gallery.as_uri())
    words = page.evaluate(WORDS)
    page.close()
    assert len(words) > 1000
    for text, size, bold, width, _ in words:
        assert width <= text_width(text, size, bold=bold) + 1, text
    inks = {ink for *_, ink in words}
    assert inks == ({"rgb(25, 28, 33)", "rgb(77, 85, 95)"} if scheme == "light" else
                    {"rgb(238, 240, 242)", "rgb(179, 187, 196)"})  # fmt: skip


@pytest.mark.slow
def test_axe_finds_nothing_serious_in_the_drawings(browser: Any, gallery: Path) -> None:
    page = browser.new_page()
    page.goto(gallery.as_uri())
    assert page.get_by_role("img").count() == len(FILES)
    assert serious(page) == []
    page.close()


@pytest.mark.slow
def test_the_steps_of_a_sliding_filter(browser: Any, tmp_path: Path) -> None:
    write_illustration(tmp_path / "steps.html", "sliding", kind="1x1", size=3, channels=2)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto((tmp_path / "steps.html").as_uri())
    assert serious(page) == []
    assert page.locator(".frames figure:visible").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shown = page.locator(".frames figure:visible img")
    assert shown.count() == 1
    assert page.get_by_role("radio", name="3", exact=True).is_checked()
    page.emulate_media(media="print")
    assert page.locator(".frames figure:visible").count() == 9
    page.close()
