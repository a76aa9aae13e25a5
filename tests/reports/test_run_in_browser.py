"""The report in Chromium: opened from disk, by mouse and keyboard, in both colour schemes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from casebook.evaluation.metrics import evaluate_probabilities
from casebook.evaluation.predictions import Predictions
from casebook.reports.run import ReportData, write_report

HOSTILE = "<script>document.title = 'owned'</script>"


def picture(row: int) -> Image.Image:
    image = Image.new("RGB", (160, 120), (40 * row % 256, 90, 160))
    ImageDraw.Draw(image).ellipse((40, 20, 120, 100), fill=(240, 220, 30 * row % 256))
    return image


@pytest.fixture(scope="module")
def report_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    leading = labels.copy()
    leading[[0, 1, 2]] = 1  # three of the first class are taken for the second
    leading[8] = 2
    probabilities = np.full((24, 3), 0.05)
    probabilities[np.arange(24), leading] += 0.6 + 0.2 * rng.random(24)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes = (HOSTILE, "dog", "fox")
    names = tuple(f"photos/{row:02d}.jpg" for row in range(24))
    path = tmp_path_factory.mktemp("a run") / "report.html"
    data = ReportData(
        title="Foxes",
        model={"architecture": "resnet18", "classes": list(classes)},
        recipe={"epochs": 3},
        environment={"python": "3.12"},
        history=[{"epoch": e, "train_loss": 1 / e, "val_loss": 1.5 / e, "val_top1": 1 - 0.3 / e} for e in (1, 2, 3)],
        evaluation=evaluate_probabilities(probabilities, labels, classes, resamples=20),
        predictions=Predictions(names, labels, probabilities, classes),
        thumbnails=picture,
    )
    write_report(path, data)
    return path


@pytest.fixture
def page(browser: Any, report_path: Path) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
    opened.goto(report_path.as_uri())
    yield opened
    assert opened.title() == "Foxes"
    assert complaints == []
    opened.close()


def shown_pictures(page: Any) -> list[str]:
    """The names of the panel's pictures, all of which have decoded and can be seen."""
    pictures = page.locator("#panel img")
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        assert pictures.nth(number).is_visible()
        assert pictures.nth(number).evaluate("image => image.decode().then(() => image.naturalWidth)") == 144
    return [pictures.nth(number).get_attribute("alt") for number in range(pictures.count())]


def test_a_cell_opens_by_mouse(page: Any) -> None:
    assert "Choose a number" in page.inner_text("#panel")
    page.click(".matrix [data-cell='0-1']")
    assert sorted(shown_pictures(page)) == ["photos/00.jpg", "photos/01.jpg", "photos/02.jpg"]
    assert page.inner_text("#panel h3") == f"3 pictures of {HOSTILE} taken for dog"
    assert page.get_attribute(".matrix [data-cell='0-1']", "aria-expanded") == "true"

    page.click(".matrix [data-cell='2-2']")
    assert len(shown_pictures(page)) == 8
    assert page.get_attribute(".matrix [data-cell='0-1']", "aria-expanded") == "false"
    page.click(".panel .close")
    assert page.locator("#panel img").count() == 0


def test_a_cell_opens_by_keyboard(page: Any) -> None:
    def focused() -> str | None:
        return page.evaluate("document.activeElement.dataset.cell ?? null")

    for _ in range(20):
        page.keyboard.press("Tab")
        if focused():
            break
    assert focused() == "0-1"  # the first mistake
    page.keyboard.press("ArrowDown")
    assert focused() == "1-1"
    page.keyboard.press("ArrowRight")
    assert focused() == "1-2"
    page.keyboard.press("ArrowRight")
    assert focused() == "1-2"  # the edge
    page.keyboard.press("Enter")
    assert shown_pictures(page) == ["photos/08.jpg"]
    page.keyboard.press("Escape")
    assert page.locator("#panel img").count() == 0
    assert focused() == "1-2"
    page.keyboard.press("ArrowUp")  # (0, 2) is empty, so there is nothing to go to
    assert focused() == "1-2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    assert len(shown_pictures(page)) == 7


def test_a_listed_confusion_opens_the_same_pictures(page: Any) -> None:
    page.click(".pair >> nth=0")
    assert len(shown_pictures(page)) == 3
    assert page.get_attribute(".matrix [data-cell='0-1']", "aria-expanded") == "true"


def test_the_classes_sort(page: Any) -> None:
    def first_column() -> list[str]:
        return page.locator("#classes tbody tr td:first-child").all_inner_texts()

    assert first_column() == [HOSTILE, "dog", "fox"]
    recall = page.locator("#classes .sort >> nth=3")
    recall.click()
    assert first_column() == [HOSTILE, "dog", "fox"]  # 5 / 8, 7 / 8, 1
    assert page.locator("#classes th[aria-sort=ascending]").inner_text() == "Recall"
    recall.click()
    assert first_column() == ["fox", "dog", HOSTILE]
    page.locator("#classes .sort >> nth=0").press("Enter")
    assert first_column() == [HOSTILE, "dog", "fox"]


def test_a_curve_tells_its_values_under_the_pointer(page: Any) -> None:
    chart = page.locator("#training svg.chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.56, box["y"] + box["height"] / 2)
    reading = page.locator("#training svg.chart .at:hover .shown")
    assert reading.evaluate("group => getComputedStyle(group).opacity") == "1"
    assert reading.locator("text").all_text_contents() == ["0.5", "0.75", "epoch 2"]
    assert chart.locator(".legend").evaluate("group => getComputedStyle(group).opacity") == "0"
