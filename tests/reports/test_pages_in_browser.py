"""Every page in Chromium: nothing runs or loads that is not ours, no width overflows, text stands out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .samples import PAGES

# WCAG contrast of each text that can be seen, drawn on a canvas to resolve any colour syntax.
CONTRAST = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (colour) => {
    context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    const parts = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const background = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen, .none, .shown, script")) continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const pair = [luminance(ink), luminance(background(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    found.push([ratio, node.tagName + "." + node.className + ": " + node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, render in PAGES.items():
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(render().encode("utf-8", "replace"))
    return found


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, browser: Any, paths: dict[str, Path]) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
    opened.goto(paths[request.param].as_uri())
    yield opened
    assert opened.title() != "owned"
    assert complaints == []
    opened.close()


def test_a_page_fits_and_can_be_read(page: Any) -> None:
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ratios = page.evaluate(CONTRAST)
        assert len(ratios) > 10
        assert [text for ratio, text in ratios if ratio < 4.3] == []
    images = page.locator("img[src^='data:']")
    for number in range(min(3, images.count())):
        assert images.nth(number).evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_browser_sees_the_landmarks(page: Any) -> None:
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("heading", level=1).count() == 1
