"""The competition's figures say what they refer to."""

from pathlib import Path

from casebook.studies.experiment import find_study, run_study
from casebook.studies.history import ENTRIES

from .conftest import make_experiment


def test_entries_do_not_pass_for_single_networks() -> None:
    by_name = {entry.entry: entry for entry in ENTRIES}
    assert by_name["AlexNet (winner)"].top5_error == 15.3
    assert "7 networks" in by_name["AlexNet (winner)"].refers_to
    assert by_name["Clarifai (winner)"].network == ""  # 11.7 % is not ZFNet's
    assert by_name["ZFNet"].top5_error == 14.8
    assert all("test" in entry.refers_to and entry.source for entry in ENTRIES)


def test_the_study(tmp_path: Path) -> None:
    result = run_study(make_experiment(find_study("history"), tmp_path))
    counted, reported, single = result["tables"]
    assert [row[:3] for row in counted["rows"][:2]] == [["alexnet", "2012", "8"], ["zfnet", "2013", "8"]]
    assert len(reported["rows"]) == len(ENTRIES)
    assert not [row for row in single["rows"] if "7 models" in row[2]]
    assert [verdict["outcome"] for verdict in result["verdicts"]] == ["not exact", "exact"]
    assert "60,965,224 / 6,998,552 = 8.71" in result["verdicts"][0]["text"]
