"""The page of a study, the book, and the verdicts as text."""

from casebook.reports import figures
from casebook.reports.studies import book, markdown_table, study_page, verdict_lines

from .markup import Markup
from .samples import study_result


def plain_result(**changes):
    """A result without hostile names."""
    verdict = {
        "claim": "deep is better than shallow", "outcome": "no detectable difference", "text": "test error ...",
        "difference": -0.012, "interval": [-0.03, 0.006], "unit": "share of test pictures",
    }  # fmt: skip
    environment = {"processor": "A processor", "cores": 2, "gpu": None, "torch": "2", "casebook": "0.1"}
    return study_result(**{"data": "digits", "title": "A title", "verdicts": [verdict], "environment": environment}
                        | changes)  # fmt: skip


def test_a_page_has_all_that_a_report_must_have() -> None:
    page = study_page(plain_result())
    found = Markup(page)
    for part in ("A question?", "The paper's result", "The design", "More data", "A drawing", "data digits, seeds 0, 1",
                 "no detectable difference", "Deep is better than shallow.", "seeds 1 diverged", "15.00",
                 "A processor, 2 cores"):  # fmt: skip
        assert part in found.text, part
    assert 'href="https://arxiv.org/abs/1512.03385"' in page
    assert '<td class="number">1,234.5</td>' in page


def test_the_book_opens_with_the_verdicts_and_folds_the_table() -> None:
    page = book([plain_result(), plain_result(study="history", title="Another", arms=[], verdicts=[])])
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
    assert verdict_lines(plain_result())[0].startswith("no detectable difference: deep is better than shallow (")
    table = markdown_table([plain_result()])
    assert table.splitlines()[2] == (
        "| degradation | deep is better than shallow | no detectable difference | "
        "-1.20 points (-3.00 to +0.60) | 1 min 15 s |"
    )


def test_points_and_bars_are_drawn_with_their_names() -> None:
    figure, axes = figures.canvas(columns=2)
    figures.points(axes[0], {"compound": [("b0", 1, 2), ("b1", 2, 1)], "width": [("w", 1, 3)]})
    figures.bars(axes[1], {"first": 1.0, "second": 2.0}, spread={"first": (0.5, 1.5)})
    drawn = figures.svg(figure)
    assert all(name in drawn for name in ("b0", "b1", "compound", "first", "second"))
