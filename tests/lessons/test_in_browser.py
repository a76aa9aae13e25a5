"""Slides in Chromium: each shows all that is on it, and prints on a sheet of its own."""

import re
from pathlib import Path
from typing import Any

import pytest

from casebook.lessons import LESSONS
from casebook.lessons.slides import slides_page
from casebook.lessons.source import read_lesson

HIDDEN = """() => [...document.querySelectorAll(".sheet")].map((sheet, number) => {
  const place = sheet.querySelector(".place").getBoundingClientRect();
  const shown = [...sheet.children].filter((one) => !one.matches(".place"));
  return [number + 1, sheet.scrollHeight - sheet.clientHeight, sheet.scrollWidth - sheet.clientWidth,
    Math.max(0, ...[...sheet.querySelectorAll("pre")].map((one) => one.scrollWidth - one.clientWidth)),
    Math.max(...shown.map((one) => one.getBoundingClientRect().bottom)) - place.bottom];
}).filter((found) => found.slice(1).some((pixels) => pixels > 1))"""


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_slides_hide_nothing_and_print_one_a_sheet(name: str, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "slides.html"
    path.write_text(slides_page(read_lesson(name), 0), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate(HIDDEN) == []
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert len(sheets) == path.read_text(encoding="utf-8").count('class="sheet"')
    width, height = map(float, sheets[0])
    assert width / height == pytest.approx(16 / 9, rel=0.002)
