"""Label, Check and Gather in Chromium: by keyboard, with a camera that plays a film, at any width."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def studio(live_studio: Callable, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("studio")
    shutil.copytree(photo_folder, root / "photos")
    shutil.copy(root / "photos" / "spots" / "00.jpg", root / "photos" / "spots" / "copy.jpg")
    found = live_studio(root)
    found.project = found.post("/api/projects", {"folder": "photos"})["id"]
    return found


@pytest.fixture
def page(browser: Any, studio: Any) -> Iterator[Any]:
    """A page of a browser that has been let in; it may not complain."""
    context = browser.new_context(viewport={"width": 900, "height": 900})
    name, _, value = studio.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": studio.origin, "sameSite": "Strict", "httpOnly": True}])
    found, complaints = context.new_page(), []
    found.on("console", lambda said: "status of 422" in said.text or complaints.append(said.text))
    found.on("pageerror", lambda error: complaints.append(str(error)))
    yield found
    context.close()
    assert complaints == []


def listed(studio: Any, name: str = "photos") -> dict[str, str]:
    with (studio.root / f"{name}-labels.csv").open() as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def test_pictures_are_labelled_by_keyboard_alone(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/p/{studio.project}/label")
    grid = page.locator(".grid")
    grid.focus()
    status = page.locator("main")
    for key, said in (
        ("ArrowRight", "49 shown"),
        ("2", "1 picture: stripes"),
        ("Shift+ArrowRight", "1 picture: stripes"),
        ("x", "2 pictures left out"),
        ("u", "undone: 2 pictures"),
        ("End", "undone: 2 pictures"),
        ("x", "1 picture left out"),
    ):
        page.keyboard.press(key)
        page.wait_for_timeout(30)
        status.get_by_text(said).wait_for()
        assert page.evaluate("document.activeElement.className") == "grid"
    page.keyboard.press("c")
    page.keyboard.type("dots")
    page.keyboard.press("Enter")
    page.get_by_text("1 picture: dots").wait_for()
    found = listed(studio)
    assert found["photos/spots/01.jpg"] == "stripes"
    assert "photos/stripes/23.jpg" not in found
    assert len(found) == 48
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="stripes/23.jpg").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_timeout(600)
    assert page.url.endswith("?at=48")
    page.reload()
    page.locator("#picture-48.at").wait_for()


def test_an_undo_does_not_overtake_the_change_before_it(page: Any, studio: Any) -> None:
    sent: list[str] = []
    held: list[Any] = []

    def hold(route: Any) -> None:
        sent.append(route.request.url.rsplit("/", 1)[1])
        held.append(route)

    page.goto(f"{studio.origin}/p/{studio.project}/label?class=spots")
    page.locator(".grid").focus()
    page.keyboard.press("End")
    before = page.locator(".cell-picture.at").inner_text()
    page.route("**/labels", hold)
    page.route("**/labels/undo", hold)
    page.keyboard.press("2")
    page.keyboard.press("u")
    page.wait_for_timeout(200)
    assert sent == ["labels"]  # the undo waits
    held[0].continue_()
    page.get_by_text("1 picture: stripes").wait_for()
    page.wait_for_timeout(200)
    assert sent == ["labels", "undo"]
    held[1].continue_()
    page.get_by_text("undone: 1 picture").wait_for()
    assert page.locator(".cell-picture.at").inner_text() == before == "spots"


def test_a_heading_that_comes_late_leaves_the_focus_with_the_user(page: Any, studio: Any) -> None:
    held: list[Any] = []
    page.goto(studio.origin)
    page.route("**/pages/label.js", lambda route: held.append(route))
    page.goto(f"{studio.origin}/p/{studio.project}/gather")
    page.get_by_role("heading", name="Gather").wait_for()
    page.get_by_role("link", name="Label").click()
    page.wait_for_url("**/label")
    page.get_by_role("link", name="Train", exact=True).focus()
    page.keyboard.press("Shift+Tab")
    page.wait_for_timeout(100)
    held[0].continue_()
    page.locator(".grid").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "A"


def test_the_grid_says_where_it_is(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/p/{studio.project}/label?class=stripes")
    page.locator(".grid").focus()
    page.keyboard.press("ArrowRight")
    option = page.locator(f"#{page.locator('.grid').get_attribute('aria-activedescendant')}")
    assert option.get_attribute("aria-posinset") == "2"
    assert option.get_attribute("aria-setsize") == page.locator("main [role=status]").inner_text().split()[0]


@pytest.mark.slow
def test_the_camera_takes_bursts_that_stay_together(page: Any, studio: Any) -> None:
    page.goto(studio.origin)
    page.get_by_role("button", name="Open a folder").click()
    page.get_by_label("New folder").fill("fruit")
    page.keyboard.press("Enter")
    page.get_by_label("New class").fill("apple")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Use the camera").click()
    page.locator("video").wait_for()
    page.wait_for_timeout(700)
    page.locator("video").click()
    for burst in (1, 2):
        page.keyboard.down(" ")
        page.get_by_text("Taking apple … 2").wait_for()
        with page.expect_response("**/gather/end"):
            page.keyboard.up(" ")
        page.get_by_text("the split keeps it together").wait_for()
        if burst == 1:
            page.get_by_label("New class").fill("pear")
            page.keyboard.press("Enter")
            page.get_by_label("apple").check()
            page.locator("video").click()
            page.wait_for_timeout(100)
    project = page.url.split("/")[4]
    journal = studio.root / ".casebook-studio" / "projects" / project / "journal.jsonl"
    bursts = {json.loads(line)["fact"][0]["group"] for line in journal.read_text().splitlines()}
    assert len(bursts) == 2
    assert set(listed(studio, "fruit").values()) == {"apple"}
    page.set_input_files("#gather-files", [str(studio.root / "photos" / "spots" / "03.jpg")])
    page.get_by_text("1 pictures taken").wait_for()
    page.set_input_files("#gather-files", [{"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}])
    page.get_by_text("1 not taken").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["label", "check", "gather"])
def test_axe_finds_nothing_and_a_narrow_window_holds_it(page: Any, studio: Any, place: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{studio.origin}/p/{studio.project}/{place}")
    page.locator("main .buttons").first.wait_for()
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    for width in (320, 900):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_what_the_check_finds_can_be_mended_beside_it(page: Any, studio: Any) -> None:
    page.goto(f"{studio.origin}/p/{studio.project}/check")
    on = page.get_by_role("link", name="Train on these pictures")
    on.wait_for()
    assert "main" not in on.get_attribute("class").split()
    page.get_by_role("button", name="Check the pictures").click()
    page.get_by_role("button", name="Keep the first only").click()
    assert "main" in on.get_attribute("class").split()  # the page says what comes next
    page.get_by_role("button", name="Take them back in").wait_for()
    assert "photos/spots/copy.jpg" not in listed(studio)
    page.get_by_role("button", name="Look for wrong labels").click()
    page.get_by_role("button", name="It is ").or_(page.get_by_text("No label is suspect")).first.wait_for(timeout=40000)
