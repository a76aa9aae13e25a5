"""The report of a run shows what export made of its network: float32 beside 8 bits."""

from pathlib import Path
from typing import Any

import pytest

from casebook.reports.exported import add_export, networks_table

from .samples import run_page_that_is_unsure

FLOAT32 = {"file": "model.onnx", "bytes": 4 * 2**20, "worst_difference": 1.5e-6}
INT8 = {"file": "model.int8.onnx", "bytes": 2**20, "worst_difference": 0.02}
VERDICT = {
    "accepted": True, "reason": "of 200 validation pictures <b>", "setting": "extremes", "n": 200,
    "divergences": {"extremes": 1e-4, "percentile 99.999": 3e-3}, "float32_right": 190, "int8_right": 189,
    "difference": 0.5, "interval": [-0.4, 1.4],
}  # fmt: skip


def manifest(verdict: dict[str, Any] | None, **networks: Any) -> dict[str, Any]:
    return {"networks": {"float32": FLOAT32} | networks, "int8": verdict, "golden": [{}] * 22}


def words(rows: Any) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else f"{cell.text}, {cell.below}" for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("given", "second"),
    [
        (manifest(VERDICT, int8=INT8),
         ["8 bits, model.int8.onnx", "1.0 MiB", "2.0e-02", "189 of 200", "0.50", "-0.40 to 1.40"]),
        (manifest(VERDICT | {"accepted": False}),
         ["8 bits, refused, not in the bundle", "–", "–", "189 of 200", "0.50", "-0.40 to 1.40"]),
        (manifest(VERDICT | {"accepted": False, "difference": None, "interval": None}),
         ["8 bits, refused, not in the bundle", "–", "–", "–", "–", "–"]),
    ],
)  # fmt: skip
def test_float32_stands_beside_8_bits(given: dict[str, Any], second: list[str]) -> None:
    first, found = words(networks_table(given).rows)
    right = "–" if second[3] == "–" else "190 of 200"
    assert first == ["float32, model.onnx", "4.0 MiB", "1.5e-06", right, "–", "–"]
    assert found == second


def test_without_8_bits_there_is_one_network() -> None:
    assert len(networks_table(manifest(None)).rows) == 1


def test_a_report_shows_the_last_export_alone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    before = run_page_that_is_unsure()
    page.write_text(before, "utf-8")
    assert add_export(page, "first.casebook", manifest(VERDICT, int8=INT8))
    assert add_export(page, "<second>.casebook", manifest(VERDICT, int8=INT8))
    html = page.read_text("utf-8")
    assert html.count('<section id="bundle"') == html.count('<a href="#bundle">') == 1
    assert "first.casebook" not in html
    assert "&lt;second&gt;.casebook" in html
    assert "of 200 validation pictures &lt;b&gt;" in html
    assert "extremes 1.0e-04 (taken)" in html
    assert html.index('<section id="bundle"') < html.index("</main>")
    start, end = html.index('<section id="bundle"'), html.index("</main>")
    assert (html[:start] + html[end:]).replace('<li><a href="#bundle">Bundle</a></li>\n', "") == before


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"", b"<main></main>", b"</ul></nav></main></main>"])
def test_what_is_no_report_stays_as_it_is(content: bytes | None, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    if content is not None:
        page.write_bytes(content)
    assert not add_export(page, "a.casebook", manifest(None))
    assert not page.exists() if content is None else page.read_bytes() == content
