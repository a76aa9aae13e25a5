"""Every network is trained at every rate, and judged at the one that validation chooses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from casebook.models.layers import response_norm
from casebook.studies import activations, normalisation
from casebook.studies.activations import four_layers
from casebook.studies.experiment import run_study
from casebook.studies.normalisation import NAMES, RatesPlan, best, tolerated
from casebook.studies.trials import Arm, Trial

from .conftest import make_experiment

CPU = torch.device("cpu")
SHORT = RatesPlan(2, (0.3, 0.03, 0.003), 32, 0.3, 60)


def test_the_networks_draw_the_same_weights_and_differ_in_their_norms_alone() -> None:
    drawn = {}
    for norm in NAMES:
        torch.manual_seed(0)
        network = four_layers(10, 1, 16, norm=norm)
        drawn[norm] = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.LocalResponseNorm)]
        assert len(norms) == {"none": 0, "lrn": 3, "batch": 3}[norm]
    for weights in drawn.values():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(weights, drawn["none"], strict=True))


def test_the_response_norm_is_alexnets() -> None:
    """Section 3.3, by its formula: k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    x = 100 * torch.rand(1, 9, 2, 2, generator=torch.Generator().manual_seed(0))
    ours = response_norm()(x)
    for i in range(9):
        near = x[:, max(0, i - 2) : i + 3].square().sum(1)
        assert torch.allclose(ours[:, i], x[:, i] / (2 + 1e-4 * near) ** 0.75, rtol=1e-5)


def arm(rate: float, errors: list[float], accuracies: list[list[float]]) -> Arm:
    runs = []
    for seed, (error, curve) in enumerate(zip(errors, accuracies, strict=True)):
        wrong = np.arange(100) < 100 * error
        rows = tuple({"val_top1": value, "val_loss": 1 - value} for value in curve)
        runs.append(Trial(seed, rate, wrong, rows, "" if curve else "no number", Path()))
    return Arm(f"at {rate}", tuple(runs), 0.9)


def test_validation_chooses_and_the_test_pictures_do_not() -> None:
    good = arm(0.1, [0.3, 0.3], [[0.5, 0.9], [0.5, 0.8]])
    lucky = arm(0.01, [0.1, 0.1], [[0.5, 0.8], [0.5, 0.8]])
    failed = arm(1.0, [0.0, 0.9], [[1.0, 1.0], []])
    assert best({0.1: good, 0.01: lucky, 1.0: failed}) is good


def test_rates_close_to_the_best_are_tolerated() -> None:
    flat = [[0.5], [0.5]]
    arms = {
        rate: arm(rate, [error, error], flat)
        for rate, error in ((0.3, 0.9), (0.1, 0.11), (0.03, 0.10), (0.01, 0.12), (0.003, 0.13))
    }
    assert tolerated(arms) == (0.01, 0.03, 0.1)


@pytest.mark.parametrize("mode", ["quick", pytest.param("full", marks=pytest.mark.slow)])
def test_the_study_in_small(mode, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "QUICK", SHORT)
    monkeypatch.setattr(normalisation, "FULL", SHORT._replace(epochs=1, rates=(10.0, 1e30)))
    monkeypatch.setattr(activations, "WIDTHS", (8, 8, 8))
    experiment = make_experiment(normalisation.STUDY, tmp_path, mode=mode, data=str(digit_folder))
    result = run_study(experiment)
    rates = {"quick": SHORT.rates, "full": (10.0, 1e30)}[mode]
    assert [arm["name"] for arm in result["arms"]] == [f"{norm} at {rate:g}" for norm in NAMES for rate in rates]
    chosen, everywhere = result["tables"]
    assert [row[0] for row in chosen["rows"]] == list(NAMES.values())
    assert everywhere["columns"][1:-1] == [f"{rate:g}" for rate in sorted(rates)]
    by_name = {arm["name"]: arm["test_errors"][0] for arm in result["arms"]}
    for norm, row, line in zip(NAMES, chosen["rows"], everywhere["rows"], strict=True):
        assert float(row[3]) == pytest.approx(100 * by_name[f"{norm} at {row[1]}"], abs=0.006)
        shown = [float(cell) for cell in line[1:-1]]
        assert shown == pytest.approx([100 * by_name[f"{norm} at {rate:g}"] for rate in sorted(rates)], abs=0.006)
    assert len(result["verdicts"]) == 5
    assert "learning rate" in result["pictures"][0]["svg"]
    recipe = next((tmp_path / "runs").glob("batch*/recipe.toml")).read_text()
    assert "clip_norm = 0" in recipe
    assert "warmup_epochs = 0" in recipe
    if mode == "full":
        diverged = [arm["name"] for arm in result["arms"] if arm["diverged"]]
        assert "none at 1e+30" in diverged
