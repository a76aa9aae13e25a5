"""The page of a study, the book, and the verdicts as text."""

import pytest

from casebook.reports import figures
from casebook.reports.studies import book, markdown_table, study_page, verdict_lines

from .markup import Markup
from .samples import study_result


def plain_result(**changes):
    """A result without hostile names."""
    verdict = {
        "claim": "deep is better than shallow", "kind": "no detectable difference",
        "outcome": "no detectable difference on digits", "text": "test error ...", "difference": -0.012,
        "interval": [-0.03, 0.006],
        "unit": "share of test pictures",
    }  # fmt: skip
    environment = {"processor": "A processor", "cores": 2, "gpu": None, "torch": "2", "casebook": "0.1"}
    summary = {"title": "A title", "svg": figures.svg(figures.verdicts([verdict])), "alt": "The verdicts"}
    plain = {"data": "digits", "title": "A title", "verdicts": [verdict], "environment": environment,
             "summary": summary, "caveat": "This run: digits. The paper: CIFAR-10."}  # fmt: skip
    return study_result(**plain | changes)


def test_a_page_has_all_that_a_report_must_have() -> None:
    page = study_page(plain_result())
    found = Markup(page)
    for part in ("A question?", "The paper's result", "The design", "More data", "A drawing", "data digits, seeds 0, 1",
                 "no detectable difference on digits", "Deep is better than shallow.", "seeds 1 diverged", "15.00",
                 "A processor, 2 cores"):  # fmt: skip
        assert part in found.text, part
    assert 'href="https://arxiv.org/abs/1512.03385"' in page
    assert '<td class="number">1,234.5</td>' in page


def test_the_caveat_comes_before_everything_else_of_a_study() -> None:
    page = study_page(plain_result())
    assert page.index("This run: digits. The paper: CIFAR-10.") < page.index("A question?")


def test_the_book_opens_with_a_caveat_and_a_picture_of_each_study() -> None:
    page = book([plain_result(), plain_result(study="history", summary=None)])
    picture = '<img alt="The verdicts"'
    assert page.index("says nothing about a paper") < page.index(picture) < page.index("2 claims")
    assert page.count(picture) == 1


def test_the_summary_draws_differences_and_ratios_apart_with_their_claims() -> None:
    (in_points,) = plain_result()["verdicts"]
    ratio = {"claim": "faster", "kind": "reproduced", "difference": 0.8, "interval": [0.7, 0.9], "unit": "times"}
    figure = figures.verdicts([in_points, ratio])
    points, ratios = figure.axes
    assert [float(x) for x in points.lines[0].get_xdata()] == pytest.approx([-3.0, 0.6])
    assert [float(x) for x in ratios.lines[0].get_xdata()] == [0.7, 0.9]
    assert ratios.lines[0].get_color() != points.lines[0].get_color()  # grey where there is no difference
    assert all(claim in figures.svg(figure) for claim in ("deep is better than shallow", "faster"))
    assert [tick.get_text() for tick in ratios.get_xticklabels()] == ["0.5", "1"]  # no axis without numbers


def test_the_book_opens_with_the_verdicts_and_folds_the_table() -> None:
    page = book([plain_result(), plain_result(study="history", title="Another", arms=[], verdicts=[], summary=None)])
    found = Markup(page)
    assert '<a href="#degradation">' in page
    assert 'id="history"' in page
    assert "2 studies in quick mode, 2 min 30 s in all" in found.text
    assert "1 claim: 1" in found.text
    assert "-1.20 points (-3.00 to +0.60)" in found.text
    table = page.index("All claims and verdicts")
    assert page.rindex("<details>", 0, table) > page.index("1 claim: 1")
    assert "see the figures" in found.text


def test_verdicts_as_lines_and_as_markdown() -> None:
    assert verdict_lines(plain_result())[0].startswith(
        "no detectable difference on digits: deep is better than shallow ("
    )
    table = markdown_table([plain_result()])
    assert table.splitlines()[2] == (
        "| degradation | deep is better than shallow | no detectable difference on digits | "
        "-1.20 points (-3.00 to +0.60) | 1 min 15 s |"
    )


def test_points_and_bars_are_drawn_with_their_names() -> None:
    figure, axes = figures.canvas(columns=2)
    figures.points(axes[0], {"compound": [("b0", 1, 2), ("b1", 2, 1)], "width": [("w", 1, 3)]})
    figures.bars(axes[1], {"first": 1.0, "second": 2.0}, spread={"first": (0.5, 1.5)})
    drawn = figures.svg(figure)
    assert all(name in drawn for name in ("b0", "b1", "compound", "first", "second"))
