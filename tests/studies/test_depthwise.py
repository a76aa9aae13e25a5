"""The network with normal convolutions is the paper's, arms differ in their convolutions, and the study runs."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from casebook.cost.count import count
from casebook.models import create_model
from casebook.models.mobilenet_v1 import STAGES
from casebook.studies import depthwise as study
from casebook.studies import interleaved
from casebook.studies.costs import on_meta
from casebook.studies.depthwise import (
    KINDS,
    NORM_MOMENTUM,
    kind_of,
    normal_network,
    separable_network,
    with_normal_convolutions,
)
from casebook.studies.experiment import Experiment, find_study, run_study
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

CPU = torch.device("cpu")


def test_table_4_counted_by_hand() -> None:
    """29.3 million weights and 4,866 million multiply-adds, the linear layer's million apart."""
    channels, side, weights, multiply_adds = 32, 112, 27 * 32 + 2 * 32, 27 * 32 * 112**2
    for out_channels, depth, stride in STAGES:
        for _ in range(depth):
            side //= stride
            weights += 9 * channels * out_channels + 2 * out_channels
            multiply_adds += 9 * channels * out_channels * side**2
            channels, stride = out_channels, 1
    total = count(on_meta(lambda: with_normal_convolutions(create_model("mobilenet_v1"))), 224).total
    assert total.multiply_adds == multiply_adds + 1024 * 1000
    assert total.parameters == weights + 1024 * 1000 + 1000
    assert round(multiply_adds / 1e6) == 4866
    assert round(total.parameters / 1e5) == 293


def test_arms_differ_in_their_convolutions_alone() -> None:
    options = {"width": 0.25, "num_classes": 10, "in_channels": 1, "small_stem": True}
    ours, theirs = separable_network(**options), normal_network(**options)
    images = torch.rand(2, 1, 16, 16)
    assert ours.eval()(images).shape == theirs.eval()(images).shape == (2, 10)
    sides = [{k: v.shape for k, v in count(n, 16).outputs.items() if k.count(".") == 2} for n in (ours, theirs)]
    assert sides[0] == sides[1]
    assert len([k for k in sides[0] if k.startswith("stages")]) == 13
    same = [{k: v.shape for k, v in n.state_dict().items() if "stages" not in k} for n in (ours, theirs)]
    assert same[0] == same[1]
    groups = [{m.groups > 1 for m in n.modules() if isinstance(m, nn.Conv2d)} for n in (ours, theirs)]
    assert groups == [{True, False}, {False}]
    for network in (ours, theirs):
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {(m.momentum, m.eps) for m in norms} == {(NORM_MOMENTUM, 1e-3)}


def test_the_separable_network_is_the_catalogues_apart_from_its_norms() -> None:
    options = {"num_classes": 10, "in_channels": 1, "small_stem": True}
    ours = count(separable_network(width=0.25, **options), 16, in_channels=1).total
    assert ours == count("mobilenet_v1_025", 16, **options).total


def test_every_layer_is_of_one_kind() -> None:
    network = create_model("mobilenet_v1_025")
    kinds = [kind_of(m) for m in network.modules() if not list(m.children())]
    assert {kind: kinds.count(kind) for kind in KINDS} == {
        "depthwise 3x3": 13, "pointwise 1x1": 13, "normal 3x3": 1, "batch norm": 27, "activation": 27,
        "rest": len(kinds) - 81,
    }  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "DIGITS", {"side": 16, "most_per_class": 4, "most_test_per_class": 4})
    monkeypatch.setattr(study, "QUICK", TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=20))
    monkeypatch.setattr(study, "LAYER_BATCH", 1)
    monkeypatch.setattr(study, "LAYERS_AT", ((16, 8), (32, 4)))
    monkeypatch.setattr(study, "PAPER_SIDE", 64)
    monkeypatch.setattr(interleaved, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(interleaved, "ROUNDS", 3)


@pytest.mark.usefixtures("small")
def test_the_study_runs_to_its_end(tmp_path: Path) -> None:
    found = run_study(make_experiment(find_study("depthwise"), tmp_path))
    json.dumps(found)
    both, parts, layers, trained = found["tables"]
    assert [row[1] for row in both["rows"]] == ["4,231,976", "29,294,088"]
    for name in ("separable", "normal"):
        for column in (2, 4):
            assert sum(float(row[column]) for row in parts["rows"] if row[0] == name) == pytest.approx(100, abs=0.3)
    assert len(layers["rows"]) == 6
    costs = [int(row[2].replace(",", "")) for row in trained["rows"]]
    assert [row[0] for row in trained["rows"]] == ["separable", "normal", "normal, equal multiply-adds"]
    assert costs[1] > 7 * costs[0]
    assert costs[2] == pytest.approx(costs[0], rel=0.06)
    assert [verdict["outcome"] for verdict in found["verdicts"]].count("exact") == 1
    assert len(found["verdicts"]) == 5
    assert len(found["pictures"]) == 3


@pytest.mark.slow
def test_the_full_study_trains_the_whole_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: dict[str, nn.Module] = {}

    class Seen(Exception):
        pass

    def arm(self: Experiment, name: str, build, pictures, budget) -> None:
        assert budget is study.FULL
        assert pictures.preprocessing.size == 32
        built[name] = on_meta(build)
        if len(built) == 3:
            raise Seen

    monkeypatch.setattr(Experiment, "arm", arm)
    on_digits = dataclasses.replace(study.STUDY, full_data="digits")
    experiment = make_experiment(on_digits, tmp_path, mode="full")
    with pytest.raises(Seen):
        study.train_networks(experiment)
    weights = {name: sum(w.numel() for w in network.parameters()) for name, network in built.items()}
    paper = create_model("mobilenet_v1", num_classes=10, in_channels=1)
    assert weights["separable"] == sum(w.numel() for w in paper.parameters())
    assert weights["normal"] > 6 * weights["separable"]
