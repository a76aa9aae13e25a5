"""The page of what `evaluate` compared."""

from pathlib import Path

from casebook.evaluation.comparison import Scored, compare
from casebook.reports.comparison import render, write_page

from .markup import Markup
from .samples import predict


def test_the_page_shows_every_row_and_difference(tmp_path: Path) -> None:
    rows = [
        Scored(name, kind, protocol, 1, predict(7, 6, seed=seed), 2_000_000)
        for seed, (name, kind, protocol) in enumerate(
            [("one", "network", "center"), ("two", "network", "center"), ("ensemble", "ensemble", "center"),
             ("one", "network", "10-crop")]
        )
    ]  # fmt: skip
    document = {"model": "ensemble", "data": "photos", "notes": ["a note"], "compared": compare(rows)}
    page = render(document)
    found = Markup(page)
    differences = sum(len(row["against"]) for row in document["compared"])
    assert differences >= 2
    assert page.count("<tr>") == 2 + len(rows) + differences
    assert len([a for tag, a in found.elements if tag == "span" and a.get("class") == "bar"]) == len(rows)
    for expected in ("ensemble on photos", "42 pictures, the same in every row", "a note", "Top-5 error", "2 M"):
        assert expected in found.text
    write_page(tmp_path / "p.html", document)
    assert (tmp_path / "p.html").read_text("utf-8") == page


def test_one_protocol_alone_has_no_differences() -> None:
    rows = [Scored("one", "network", "center", 1, predict(3, 6), None)]
    found = Markup(render({"model": "one", "data": "", "notes": [], "compared": compare(rows)}))
    assert "Differences" not in found.text
    assert "not counted" in found.text
    assert "Network" not in found.text  # one name needs no column
