"""The arms differ in their activation and in nothing else, and each is judged at its own fastest rate."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from casebook.studies import activations
from casebook.studies.activations import SpeedPlan, fastest, four_layers, unregularised
from casebook.studies.experiment import run_study
from casebook.studies.trials import Arm, Trial

from .conftest import make_experiment

CPU = torch.device("cpu")
SHORT = SpeedPlan(3, (0.03, 1e-6), 16, (0.6, 0.05), 100)


def test_both_networks_start_with_the_same_weights() -> None:
    drawn = []
    for name in ("relu", "tanh"):
        torch.manual_seed(0)
        drawn.append(four_layers(10, 3, 32, activation=name))
    relu, tanh = drawn
    for ours, theirs in zip(relu.state_dict().values(), tanh.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    kinds = [[type(layer) for layer in network] for network in drawn]
    different = {(ours, theirs) for ours, theirs in zip(*kinds, strict=True) if ours != theirs}
    assert different == {(nn.ReLU, nn.Tanh)}


def test_the_network_has_four_layers_of_the_sizes_it_says() -> None:
    network = four_layers(10, 3, 32)
    shapes = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert shapes == [(32, 3, 5, 5), (32, 32, 5, 5), (64, 32, 5, 5), (10, 64 * 4 * 4)]
    for side in (16, 32, 33):
        assert four_layers(4, 1, side)(torch.rand(2, 1, side, side)).shape == (2, 4)
    spread = network[3].weight.std().item()  # type: ignore[union-attr]
    assert spread == pytest.approx((25 * 32) ** -0.5, rel=0.05)


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        ("none", [nn.Conv2d, nn.ReLU, nn.MaxPool2d]),
        ("lrn", [nn.Conv2d, nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d]),
        ("batch", [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]),
    ],
)
def test_norms_stand_where_their_papers_put_them(norm, order: list) -> None:
    assert [type(layer) for layer in four_layers(10, 1, 16, norm=norm)] == [*order * 3, nn.Flatten, nn.Linear]


def test_the_budget_holds_nothing_back() -> None:
    recipe = unregularised(SHORT, 0.1).recipe("digits", 0, 0.1, 3, "cpu")
    assert recipe.schedule == "constant"
    assert (recipe.weight_decay, recipe.clip_norm, recipe.warmup_epochs, recipe.label_smoothing) == (0, 0, 0, 0)
    assert (recipe.learning_rate, recipe.momentum) == (0.1, 0.9)


def arm(rate: float, *errors: list[float]) -> Arm:
    runs = [
        Trial(seed, rate, np.zeros(3, bool), tuple({"train_error": e} for e in curve), "", Path())
        for seed, curve in enumerate(errors)
    ]
    return Arm(f"{rate}", tuple(runs), 0.9)


def test_the_fastest_rate_is_that_of_all_seeds_together() -> None:
    plan = SpeedPlan(4, (0.1, 0.01), 16, (0.5,), 100)
    risky = arm(0.1, [0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9, 0.9])  # 0.44 epochs, and never
    steady = arm(0.01, [0.6, 0.5, 0.4, 0.3], [0.6, 0.5, 0.4, 0.3])  # 2 epochs
    assert fastest({0.1: risky, 0.01: steady}, plan, 0.9) is steady
    slow, slower = arm(0.1, [0.9, 0.8, 0.8, 0.7]), arm(0.01, [0.9, 0.8, 0.8, 0.75])
    assert fastest({0.01: slower, 0.1: slow}, plan, 0.9) is slow, "where none arrives, the lower error at the end"


def test_a_rate_that_diverges_at_once_is_not_the_fastest() -> None:
    plan = SpeedPlan(4, (0.1, 0.01), 16, (0.5,), 100)
    failed, steady = arm(10.0, []), arm(0.01, [0.9, 0.9, 0.9, 0.9])
    assert fastest({10.0: failed, 0.01: steady}, plan, 0.9) is steady
    assert fastest({0.01: steady, 10.0: failed}, plan, 0.9) is steady


@pytest.mark.parametrize("mode", ["quick", pytest.param("full", marks=pytest.mark.slow)])
def test_the_study_in_small(mode, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "QUICK_COLOUR", SHORT)
    monkeypatch.setattr(activations, "FULL", SHORT._replace(epochs=1))
    monkeypatch.setattr(activations, "WIDTHS", (8, 8, 8))
    experiment = make_experiment(activations.STUDY, tmp_path, mode=mode, data=str(digit_folder), seeds=(0, 1))
    result = run_study(experiment)
    assert [arm["name"] for arm in result["arms"]] == [
        "relu at 0.03", "relu at 1e-06", "tanh at 0.03", "tanh at 1e-06"
    ]  # fmt: skip
    reached, rates = result["tables"]
    assert [row[0] for row in reached["rows"]] == ["60", "5"]
    assert all("times as many epochs (" in row[-1] for row in reached["rows"])
    assert [row[0] for row in rates["rows"]] == ["relu", "tanh"]
    assert len(result["verdicts"]) == 3
    assert all(verdict["unit"] == "ratio of epochs" for verdict in result["verdicts"])
    assert "training error in %" in result["pictures"][0]["svg"]
    if mode == "quick":
        assert [row[-1] for row in rates["rows"]] == ["0.03", "0.03"], "a millionth learns nothing"
    recipe = next((tmp_path / "runs").glob("relu*/recipe.toml")).read_text()
    assert 'schedule = "constant"' in recipe
