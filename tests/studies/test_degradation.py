"""The four networks are twins but for shortcut and depth, and the study runs in both modes."""

import dataclasses
from pathlib import Path

import pytest
import torch

from casebook.cost.count import count
from casebook.models import create_model
from casebook.studies import degradation
from casebook.studies.experiment import run_study
from casebook.studies.trials import cifar_budget

from .conftest import make_experiment

CPU = torch.device("cpu")


def test_arms_have_the_papers_sizes_and_differ_in_shortcuts_alone() -> None:
    for depth, parameters in zip(degradation.DEPTHS, (269_722, 853_018), strict=True):
        costs = []
        for kind in ("plain", "resnet"):
            with torch.device("meta"):
                costs.append(count(create_model(f"{kind}{depth}"), 32).total)
        assert costs[0].parameters == costs[1].parameters == parameters
        assert costs[0].multiply_adds == costs[1].multiply_adds


def test_quick_gives_curves_verdicts_and_the_error_of_each_arm(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(degradation, "DEPTHS", (20, 32))
    shorten(monkeypatch)
    result = run_study(make_experiment(degradation.STUDY, tmp_path, data=str(digit_folder)))
    assert [arm["name"] for arm in result["arms"]] == ["plain20", "resnet20", "plain32", "resnet32"]
    table = result["tables"][0]
    assert [row[0] for row in table["rows"]] == [arm["name"] for arm in result["arms"]]
    assert [float(row[3]) for row in table["rows"]] == pytest.approx(
        [100 * arm["test_errors"][0] for arm in result["arms"]], abs=0.006
    )
    errors = {arm["name"]: arm["test_errors"][0] for arm in result["arms"]}
    pairs = [("plain32", "plain20"), ("resnet32", "resnet20"), ("resnet32", "plain32")]
    training, *verdicts = result["verdicts"]
    assert {verdict["outcome"] for verdict in result["verdicts"]} == {"one seed: no verdict"}
    assert training["difference"] == pytest.approx(
        (float(table["rows"][2][2]) - float(table["rows"][0][2])) / 100, abs=1e-4
    )
    for verdict, (deep, other) in zip(verdicts, pairs, strict=True):
        assert verdict["difference"] == pytest.approx(errors[deep] - errors[other])
        assert verdict["interval"][0] <= verdict["difference"] <= verdict["interval"][1]
    svg = result["pictures"][0]["svg"]
    for kind in ("plain", "resnet"):
        for part in ("validation", "training"):
            assert f"{kind}32, {part}" in svg


def test_full_is_the_recipe_of_the_paper(digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cifar_budget() == degradation.FULL
    assert len(degradation.QUICK.learning_rates) > 1, "all arms choose among rates"
    monkeypatch.setattr(degradation, "DEPTHS", (20, 20))
    shorten(monkeypatch)
    result = run_study(make_experiment(degradation.STUDY, tmp_path, mode="full", data=str(digit_folder)))
    assert len(result["verdicts"]) == 4
    assert "32x32 pixels, colour" in result["notes"][0]


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch, one rate, batches of 64."""
    for name in ("QUICK", "FULL"):
        budget = getattr(degradation, name)
        shorter = dataclasses.replace(budget, epochs=1, learning_rates=budget.learning_rates[:1], batch_size=64)
        monkeypatch.setattr(degradation, name, shorter)
