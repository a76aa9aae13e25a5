"""Depths are the papers'; the competition's figures say what they refer to."""

from pathlib import Path

import pytest
import torch

from casebook.models import create_model
from casebook.studies.experiment import find_study, run_study
from casebook.studies.history import ENTRIES, depth

from .conftest import make_experiment


@pytest.mark.parametrize(
    ("name", "layers"),
    [("alexnet", 8), ("zfnet", 8), ("vgg16", 16), ("vgg19", 19), ("googlenet", 22), ("resnet50", 50),
     ("densenet121", 121), ("resnet20", 20), ("lenet5", 5)],
)  # fmt: skip
def test_depth_is_the_one_in_the_paper(name: str, layers: int) -> None:
    with torch.device("meta"):
        network = create_model(name).eval()
    side = {"resnet20": 32, "lenet5": 32}.get(name, 224)
    assert depth(network, (network.in_channels, side, side)) == layers


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
