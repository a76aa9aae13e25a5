"""A page of a study and the book: whole, self-contained, and deaf to what names contain."""

import re
from typing import Any

import pytest

from casebook.reports import figures
from casebook.reports.studies import book, markdown_table, study_page, verdict_lines

ENVIRONMENT = {"processor": "A processor", "cores": 2, "gpu": None, "torch": "2", "casebook": "0.1"}


def result(**changes: Any) -> dict[str, Any]:
    figure, axes = figures.canvas()
    figures.curves(axes, {"one": [[3.0, 2.0, 1.0], [3.5, 2.5, float("nan")]], "two": [1.0, 2.0, 3.0]}, dashed=["two"])
    verdict = {
        "claim": "deep is better than shallow", "kind": "no detectable difference",
        "outcome": "no detectable difference on digits",
        "text": "test error of deep less that of shallow: ...", "difference": -0.012, "interval": [-0.03, 0.006],
        "unit": "share of test pictures",
    }  # fmt: skip
    arm = {"name": "deep", "learning_rate": 0.1, "epochs": 3, "test_errors": [0.1, 0.2], "train_seconds": 3.25,
           "diverged": [1]}  # fmt: skip
    found = {
        "study": "degradation", "caveat": "This run: digits. The paper: CIFAR-10.",
        "mode": "quick", "data": "digits", "seeds": [0, 1], "seconds": 75.0, "title": "A title",
        "question": "A question?", "paper": "He et al., https://arxiv.org/abs/1512.03385",
        "claim": "The paper's result",
        "design": "The design", "would_change": "More data",
        "tables": [{"title": "A table", "columns": ["name", "error in %"], "rows": [["deep", "1,234.5"]], "note": "N"}],
        "summary": {"title": "A title", "svg": figures.svg(figures.verdicts([verdict])), "alt": "The verdicts"},
        "pictures": [{"title": "A drawing", "svg": figures.svg(figure), "alt": "Two lines"}], "verdicts": [verdict],
        "arms": [arm], "notes": ["A note"], "environment": ENVIRONMENT,
    }  # fmt: skip
    return found | changes


def test_a_page_has_all_that_a_report_must_have() -> None:
    page = study_page(result())
    for part in ("A question?", "The paper&#x27;s result", "The design", "More data", "A note", "A drawing",
                 "no detectable difference", "seeds 1 diverged", "15.00", "A processor, 2 cores"):  # fmt: skip
        assert part in page
    assert 'href="https://arxiv.org/abs/1512.03385"' in page
    assert '<td class="number">1,234.5</td>' in page


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = study_page(result())
    assert "default-src 'none'" in page
    assert not re.findall(r'src="(?!data:image/svg\+xml;base64,)', page)


@pytest.mark.parametrize("field", ["data", "title", "question", "design", "study"])
def test_what_a_user_names_is_shown_as_text(field: str) -> None:
    hostile = '"><script>alert(1)</script>'
    for page in (study_page(result(**{field: hostile})), book([result(**{field: hostile})])):
        assert "<script>alert" not in page


def test_the_caveat_comes_before_everything_else_of_a_study() -> None:
    page = study_page(result())
    assert page.index("This run: digits. The paper: CIFAR-10.") < page.index("A question?")


def test_the_book_opens_with_a_caveat_and_a_picture_of_each_study() -> None:
    pages = book([result(), result(study="history", summary=None)])
    assert pages.index("says nothing about a paper&#x27;s own set-up") < pages.index('<img alt="The verdicts"')
    assert pages.index('<img alt="The verdicts"') < pages.index("<table")
    assert pages.count('<img alt="The verdicts"') == 1


def test_the_summary_draws_differences_and_ratios_apart_with_their_claims() -> None:
    (in_points,) = result()["verdicts"]
    ratio = {
        "claim": "faster",
        "kind": "reproduced",
        "difference": 0.8,
        "interval": [0.7, 0.9],
        "unit": "ratio of times",
    }
    figure = figures.verdicts([in_points, ratio])
    points, ratios = figure.axes
    assert [float(x) for x in points.lines[0].get_xdata()] == pytest.approx([-3.0, 0.6])
    assert [float(x) for x in ratios.lines[0].get_xdata()] == [0.7, 0.9]
    assert ratios.lines[0].get_color() != points.lines[0].get_color()  # grey where there is no difference
    assert all(claim in figures.svg(figure) for claim in ("deep is better than shallow", "faster"))


def test_the_book_has_every_claim() -> None:
    pages = book([result(), result(study="history", title="Another", arms=[], verdicts=[])])
    assert '<a href="#degradation">' in pages
    assert 'id="history"' in pages
    assert "2 studies in quick mode, 2 min 30 s in all" in pages
    assert "1 claims" in pages
    assert "-1.20 points (-3.00 to +0.60)" in pages


def test_verdicts_as_lines_and_as_markdown() -> None:
    assert verdict_lines(result())[0].startswith("no detectable difference on digits: deep is better than shallow (")
    table = markdown_table([result()])
    assert table.splitlines()[2] == (
        "| degradation | deep is better than shallow | no detectable difference on digits | "
        "-1.20 points (-3.00 to +0.60) | 1 min 15 s |"
    )


def test_drawings_are_the_same_each_time() -> None:
    assert result()["pictures"] == result()["pictures"]


def test_points_and_bars_are_drawn_with_their_names() -> None:
    figure, axes = figures.canvas(columns=2)
    figures.points(axes[0], {"compound": [("b0", 1, 2), ("b1", 2, 1)], "width": [("w", 1, 3)]})
    figures.bars(axes[1], {"first": 1.0, "second": 2.0}, spread={"first": (0.5, 1.5)})
    drawn = figures.svg(figure)
    assert all(name in drawn for name in ("b0", "b1", "compound", "first", "second"))
