"""The report's section on "unsure": the numbers that the judge gave, and curves of them."""

import re

from casebook.reports.unsure import risk_chart, unsure_section

from .samples import judged, predict, run_page_that_is_unsure


def test_the_table_has_the_promises_that_can_be_given() -> None:
    predictions = predict(3, 60, wrong=0.05)
    found = judged(predictions, 0.2)
    section = unsure_section({"unsure": found})
    assert section is not None
    assert [row[0] for row in section.table.rows] == [f"{100 * one['most_wrong']:.0f} %" for one in found["promises"]]
    first, here = section.table.rows[0], found["promises"][0]["here"]
    assert first[1] == str(here["answered"])
    assert first[3] == str(here["wrong"])
    assert section.promise == "20 %"


def test_the_curve_is_read_at_every_percent() -> None:
    """Of ten pictures, nine are right: the one mistake is the tenth, so the curve is 0 up to 90 % answered."""
    chart = risk_chart([[n / 10, 0.1 if n == 10 else 0.0] for n in range(1, 11)], 0.05, 10)
    readings = re.findall(r'end">(\d+) % answered', chart)
    assert readings == [str(percent) for percent in range(1, 101)]
    assert "surest pictures answered, %" in chart
    shown = re.findall(r">(0\.0|10\.0)\xa0%</text><text class=\"place\"", chart)
    assert shown == ["0.0"] * 90 + ["10.0"] * 10


def test_nothing_was_judged() -> None:
    assert unsure_section({}) is None
    assert unsure_section({"unsure": None}) is None


def test_the_page_says_how_many_are_answered() -> None:
    html = run_page_that_is_unsure()
    assert 'id="unsure"' in html
    assert "Promises that can be given" in html
    assert "--unsure 0.4" in html
