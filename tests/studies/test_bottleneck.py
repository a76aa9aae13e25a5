"""The blocks of Figure 5 cost what the paper says, the networks differ in their blocks, and the study runs."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from casebook.cost.count import count
from casebook.cost.worked import explain
from casebook.models import create_model
from casebook.models.residual_parts import basic, bottleneck
from casebook.studies import bottleneck as study
from casebook.studies import interleaved
from casebook.studies.bottleneck import FULL_NETWORKS, QUICK_NETWORKS, Blocks, StageWidths, networks
from casebook.studies.experiment import find_study, run_study
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

CPU = torch.device("cpu")


def test_figure_5_counted_by_hand() -> None:
    pixels = 56 * 56
    ours = count(bottleneck(256, 64, 1), 56, in_channels=256).total.multiply_adds
    narrow = count(basic(64, 64, 1), 56, in_channels=64).total.multiply_adds
    wide = count(basic(256, 256, 1), 56, in_channels=256).total.multiply_adds
    assert ours == pixels * (256 * 64 + 9 * 64 * 64 + 64 * 256) == 218_365_952
    assert narrow == pixels * 2 * 9 * 64 * 64 == 231_211_008
    assert wide == pixels * 2 * 9 * 256 * 256
    worked = explain("resnet-bottleneck").results.values()
    assert {ours, wide} <= set(worked)


@pytest.mark.parametrize(("plan", "side"), [(QUICK_NETWORKS, 16), (QUICK_NETWORKS, 32), (FULL_NETWORKS, 32)])
def test_equal_cost_is_equal_to_5_percent(plan: StageWidths, side: int) -> None:
    with torch.device("meta"):
        built = {name: build() for name, build in networks(plan, num_classes=10, in_channels=3).items()}
    costs = {name: count(network, side).total.multiply_adds for name, network in built.items()}
    assert costs["basic, equal multiply-adds"] == pytest.approx(costs["bottleneck"], rel=0.05)
    widths = {name: network.head.num_features for name, network in built.items()}
    assert widths["basic, equal outer width"] == widths["bottleneck"] == 4 * plan.widths[-1]


def test_basic_blocks_at_the_papers_widths_are_its_cifar_network() -> None:
    """resnet20 of option B, but for nothing: the same weights in the same places."""
    ours = Blocks(basic, 1, 3, (16, 32, 64), num_classes=10, in_channels=3)
    theirs = create_model("resnet20", shortcut="B")
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_networks_have_as_many_blocks() -> None:
    for build in networks(QUICK_NETWORKS, num_classes=4, in_channels=1).values():
        network = build()
        assert [len(stage) for stage in network.stages] == [2, 2, 2]
        assert network(torch.rand(2, 1, 16, 16)).shape == (2, 4)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"side": 8, "most_per_class": 4, "most_test_per_class": 4}
    monkeypatch.setattr(study, "DIGITS", few)
    monkeypatch.setattr(study, "QUICK", TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=20))
    monkeypatch.setattr(study, "TIMED_BATCH", 1)
    monkeypatch.setattr(interleaved, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(interleaved, "ROUNDS", 3)


@pytest.mark.usefixtures("small")
def test_the_study_runs_to_its_end(tmp_path: Path) -> None:
    found = run_study(make_experiment(find_study("bottleneck"), tmp_path))
    json.dumps(found)
    blocks, trained = found["tables"]
    assert [row[2] for row in blocks["rows"][:3]] == ["218,365,952", "231,211,008", "3,699,376,128"]
    # Written: by three convolutions, their norms, activations, and the sum.
    assert blocks["rows"][0][3] == f"{56 * 56 * (2 * (64 + 64 + 256) + 64 + 64 + 256 + 256):,}"
    assert [row[0] for row in trained["rows"]] == [arm["name"] for arm in found["arms"]] == [
        "bottleneck", "basic, equal multiply-adds", "basic, equal outer width",
    ]  # fmt: skip
    assert [verdict["outcome"] for verdict in found["verdicts"][:2]] == ["exact", "exact"]
    assert found["verdicts"][0]["difference"] == pytest.approx(17 / 18)
    assert found["verdicts"][1]["difference"] == pytest.approx(288 / 17)
    assert len(found["verdicts"]) == 6
    assert len(found["pictures"]) == 2


@pytest.mark.slow
def test_the_full_study_has_the_papers_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert study.FULL.epochs == 182
    monkeypatch.setattr(study, "FULL_NETWORKS", StageWidths(1, (2, 4, 8), (2, 4, 8)))
    monkeypatch.setattr(study, "FULL", dataclasses.replace(study.FULL, epochs=1))
    few = {"mode": "L", "most_per_class": 4, "most_test_per_class": 4}
    experiment = make_experiment(find_study("bottleneck"), tmp_path, mode="full", data="digits")
    original = experiment.pictures
    monkeypatch.setattr(experiment, "pictures", lambda **options: original(**options | few | {"side": 8}))
    study.train_networks(experiment)
    recipe = next((tmp_path / "runs").glob("bottleneck-*/recipe.toml")).read_text()
    assert 'schedule = "step"' in recipe
    assert "decay_all = true" in recipe
    assert "batch_size = 128" in recipe
    assert "clip_norm = 0" in recipe
    assert len(experiment.findings.arms) == 3
