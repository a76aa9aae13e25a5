"""The page of runs side by side."""

from pathlib import Path

from casebook.reports.runs import RunRow, runs_page, write_runs_page

from .markup import Markup

ROWS = [
    RunRow("first", "photos", "resnet18", 0.913, (0.87, 0.94), 240, 1_814_073_344, 812.4, "2026-01-02", "runs/first"),
    RunRow("second", "digits", "lenet5", None, None, None, None, None, "2026-01-03", "second"),
]


def test_a_run_shows_its_accuracy_cost_and_time() -> None:
    found = Markup(runs_page(ROWS))
    shown = ("2 runs", "first", "runs/first", "photos", "resnet18", "91.3\u00a0%", "240 pictures", "1.81 G", "812")
    for expected in (*shown, "2026-01-02", "only between runs on the same data"):
        assert expected in found.text, expected
    values = [attributes["data-value"] for attributes in found.all("td") if "data-value" in attributes]
    assert values[3:6] == ["0.913", "1814073344", "812.4"]
    assert values[7 + 3 : 7 + 6] == ["", "", ""]  # not known: sorted last
    assert "only between runs" not in Markup(runs_page(ROWS[:1])).text


def test_no_runs(tmp_path: Path) -> None:
    write_runs_page(tmp_path / "runs.html", [])
    assert "0 runs" in (tmp_path / "runs.html").read_text("utf-8")


def test_mean_average_precision_is_named() -> None:
    row = ROWS[0]._replace(top1=None, map=0.875, interval=(0.8, 0.9))
    found = Markup(runs_page([row]))
    assert "mAP 87.5\u00a0%" in found.text
    assert [attributes["data-value"] for attributes in found.all("td") if "data-value" in attributes][3] == "0.875"
