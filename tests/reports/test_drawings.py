"""The page of a drawing: boxes, panel and table have the same numbers; a keyboard reaches each box."""

import json
from pathlib import Path
from typing import Any

import pytest

import casebook
from casebook.cost.compare import compare
from casebook.drawing.draw import draw_network
from casebook.reports import drawings, networks, strips


def test_the_table_has_the_numbers_of_the_boxes() -> None:
    drawing = draw_network("resnet18")
    html = drawings.render(drawing)
    table = drawings.fact_table(list(drawing.facts.values()))
    assert html.count('role="button"') == len(drawing.facts) == len(table.rows)
    assert "11,689,512 weights and 1,814,073,344 multiply-adds" in table.note
    first = table.rows[0]
    assert first[0] == "7x7 conv, 64, /2, with batch norm, ReLU"
    assert "multiplications: 112 x 112 x 64 x (7 x 7 x 3) = 118,013,952" in str(first[-1])
    data = json.loads(html.split('id="report-data">')[1].split("</script>")[0])
    assert data["1"]["arithmetic"][2] == "multiplications: 112 x 112 x 64 x (7 x 7 x 3) = 118,013,952"


def test_a_network_shows_itself_in_a_notebook() -> None:
    network = casebook.create_model("lenet5")
    assert network._repr_svg_() == casebook.draw("lenet5").svg()
    del network.card
    assert network._repr_svg_() is None  # how large its pictures are is not known


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("drawing") / "page.html"
    casebook.draw("googlenet", level="block", out=path)
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(Path(path).as_uri())
    yield opened
    opened.close()


def test_a_keyboard_reaches_every_box(page: Any) -> None:
    boxes = page.locator("[data-box]").count()
    assert boxes == 8
    reached = []
    for _ in range(boxes + 3):
        page.keyboard.press("Tab")
        if key := page.evaluate("document.activeElement.dataset.box"):
            reached.append(key)
            title = page.evaluate("document.getElementById('fact-title').textContent")
            assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(title)
    assert len(set(reached)) == boxes


def test_pointing_and_tapping_show_the_numbers(page: Any) -> None:
    page.locator("[data-box]").nth(2).hover()
    assert page.locator("#fact-title").inner_text() == "3x3 conv, 128, with ReLU"
    assert "110,720" in page.locator("#fact-lines").inner_text()
    page.locator("[data-box]").nth(0).click()
    assert "28 x 28 x 64 x (1 x 1 x 192) = 9,633,792" in page.locator("#fact-arithmetic").inner_text()


def test_a_report_shows_the_strip_of_its_network_in_few_bytes() -> None:
    picture = strips.strip_picture("resnet34", {"num_classes": 3}, 224)
    assert picture is not None
    assert len(picture.uri) < 20_000
    assert "stage 3: residual block, residual block x 5" in picture.words
    assert strips.strip_picture("resnet34", {"unheard_of": 1}) is None
    assert strips.strip_picture("no such network", {}) is None
    pages = networks.render(compare(["resnet18", "plain18"]))
    assert pages.count('class="strip"') == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, tmp_path: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    casebook.draw("mobilenet_v2", out=tmp_path / "a.html")
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    opened.goto((tmp_path / "a.html").as_uri())
    found = axe.Axe().run(opened).response["violations"]
    opened.close()
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
