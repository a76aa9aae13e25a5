"""What holds of every page: valid nesting, landmarks, nothing from elsewhere, names only as text."""

import base64
import functools
import hashlib
import itertools
import re

import pytest
from jinja2 import TemplateSyntaxError, UndefinedError

from casebook.reports.page import bar_start, cut, environment, page, text_table

from .markup import Markup
from .samples import HOSTILE, PAGES

every_page = pytest.mark.parametrize("name", PAGES)


@functools.cache
def html(name: str) -> str:
    return PAGES[name]()


@functools.cache
def read(name: str) -> Markup:
    return Markup(html(name))


@every_page
def test_elements_nest_as_html_allows(name: str) -> None:
    assert read(name).faults == []


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<p>a<div>b</div></p>", "<div> inside"),
        ("<ul><li>a</ul>", "</ul> does not close"),
        ("<table><tr><td>a</td></tr></table>", "<tr> inside <table>"),
        ("<button><a>x</a></button>", "inside another one"),
        ("<div>", "never closed"),
        ("<p id=a id=b></p>", "twice"),
    ],
)
def test_the_check_finds_faults(html: str, fault: str) -> None:
    assert any(fault in found for found in Markup(html).faults)


@every_page
def test_nothing_runs_but_our_own_script(name: str) -> None:
    found = read(name)
    policy = next(meta for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    programs = [content for tag, content in found.raw if tag == "script"][1:]  # the first is the data
    needed = any("data-cell" in a or a.get("class") == "sort" for a in found.all("button"))
    needed = needed or any("data-box" in a for a in found.all("g"))  # a box of a drawing
    assert len(programs) == (1 if needed else 0)
    if programs:
        digest = base64.b64encode(hashlib.sha256(programs[0].encode()).digest()).decode()
        assert rules["script-src"] == f"'sha256-{digest}'"
    else:
        assert "script-src" not in rules
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert not {"iframe", "object", "embed", "form", "base"} & {tag for tag, _ in found.elements}


@every_page
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    for tag, attributes in read(name).elements:
        for key in ("src", "href", "srcset", "data", "poster", "action"):
            address = attributes.get(key, "data:")
            allowed = ("data:", "#", "https://") if tag == "a" else ("data:",)
            beside = tag == "a" and name.startswith("lesson") and re.fullmatch(r"[\w-]+\.html(#.*)?", address)
            assert beside or address.startswith(allowed), (tag, attributes)
    styles = " ".join(content for tag, content in read(name).raw if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles


@every_page
def test_hostile_names_stay_text(name: str) -> None:
    assert "<script>document" not in html(name)
    assert "<img src=x" not in html(name)
    if name != "networks" and not name.startswith("lesson"):  # which show only names and texts of our own
        assert HOSTILE in read(name).text


@every_page
def test_landmarks_headings_and_names(name: str) -> None:
    found = read(name)
    for tag in ("main", "header", "footer", "h1", "title"):
        assert len(found.all(tag)) == 1, tag
    assert found.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in found.elements:
        refers = [attributes.get("aria-labelledby"), attributes.get("aria-controls")]
        refers.append(attributes["href"][1:] if attributes.get("href", "").startswith("#") else None)
        assert {one for one in refers if one} <= set(ids), (tag, attributes)
        if tag == "img":
            assert "alt" in attributes
        if tag == "button":
            assert attributes.get("type") == "button"
        if tag in ("section", "nav") or attributes.get("role") == "region":
            assert attributes.get("aria-label") or attributes.get("aria-labelledby"), (tag, attributes)
        if tag == "svg":
            assert attributes.get("role") == ("group" if name == "drawing" else "img")  # a group of buttons
            assert attributes.get("aria-label")


@every_page
def test_the_same_content_gives_the_same_bytes(name: str) -> None:
    assert PAGES[name]() == html(name)


def test_every_template_compiles() -> None:
    for name in environment().list_templates():
        try:
            environment().get_template(name)
        except TemplateSyntaxError as error:
            pytest.fail(f"{name}: {error}")


def test_a_name_that_a_template_does_not_get_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        page("study.html.j2", title="x")


def test_long_names_keep_their_ends() -> None:
    assert cut("a" * 200) == "a" * 200
    assert cut("b" + "a" * 200) == "…" + "a" * 199


@pytest.mark.parametrize(("lowest", "start"), [(0.96, 0.9), (0.91, 0.8), (0.03, 0.0), (1.0, 0.9)])
def test_bars_begin_below_the_lowest_interval(lowest: float, start: float) -> None:
    assert bar_start(lowest) == pytest.approx(start)


def test_a_table_from_text() -> None:
    table = text_table([["kind", "n"], ["a", "1"]])
    assert [(column.title, column.kind) for column in table.columns] == [("kind", "text"), ("n", "number")]
    assert table.rows == [["a", "1"]]
