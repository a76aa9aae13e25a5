"""The module without reductions hands on as many channels at the cost of the formula; the study runs to its end."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from casebook.cost.count import count
from casebook.cost.worked import explain
from casebook.models import create_model
from casebook.models.googlenet import GoogLeNet, reduced
from casebook.models.layers import ConvReLU
from casebook.studies import interleaved, one_by_one
from casebook.studies.costs import on_meta
from casebook.studies.experiment import Experiment, find_study, run_study
from casebook.studies.one_by_one import (
    DIGITS,
    FULL,
    ROWS,
    SMALL_SHARE,
    InceptionNetwork,
    narrow,
    narrowed,
    unreduced,
)
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

CPU = torch.device("cpu")


@pytest.mark.parametrize(("row", "channels", "side"), [("inception3a", 192, 28), ("inception4e", 528, 14)])
def test_the_module_without_reductions_counted_by_hand(row: str, channels: int, side: int) -> None:
    f = ROWS[row]
    module, out_channels = unreduced(ConvReLU, channels, f)
    assert out_channels == reduced(ConvReLU, channels, f)[1] == f.one + f.three + f.five + f.pooled
    assert module(torch.zeros(1, channels, 5, 5)).shape == (1, out_channels, 5, 5)
    weights = channels * (f.one + 9 * f.three + 25 * f.five + f.pooled)
    assert count(module, side, in_channels=channels).total.multiply_adds == weights * side**2


def test_module_3a_has_the_figures_of_explain_cost() -> None:
    f = ROWS["inception3a"]
    worked = explain(
        "inception", size="28", in_channels=192, conv1=f.one, reduce3=f.reduce3, conv3=f.three, reduce5=f.reduce5,
        conv5=f.five, pool_projection=f.pooled,
    ).results  # fmt: skip
    ours = count(reduced(ConvReLU, 192, f)[0], 28, in_channels=192).total.multiply_adds
    assert ours == 128_049_152
    assert ours in worked.values()
    assert 303_464_448 in worked.values()  # naive


def test_narrow_keeps_a_filter_in_every_branch() -> None:
    assert narrow(ROWS["inception3a"], 0.25) == (16, 24, 32, 4, 8, 8)
    assert narrow(ROWS["inception3a"], 0.001) == (1,) * 6


def test_the_networks_differ_in_the_reductions_alone() -> None:
    options = {"num_classes": 10, "in_channels": 1}
    ours, theirs = (InceptionNetwork(narrowed(m, SMALL_SHARE), **options) for m in (reduced, unreduced))
    x = torch.rand(2, 1, 16, 16)
    assert ours(x).shape == theirs(x).shape == (2, 10)
    shapes = [{k: tuple(v.shape) for k, v in n.named_parameters() if "inception" not in k} for n in (ours, theirs)]
    assert shapes[0] == shapes[1]
    outputs = [{k: v.shape for k, v in count(n, 16).outputs.items() if k.count(".") == 2} for n in (ours, theirs)]
    assert outputs[0] == outputs[1]
    kernels = [
        {m.kernel_size for name, m in n.named_modules() if isinstance(m, nn.Conv2d) and ".branch1" in name}
        for n in (ours, theirs)
    ]
    assert kernels == [{(1, 1), (3, 3)}, {(3, 3)}]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "DIGITS", DIGITS | {"side": 8, "most_per_class": 4, "most_test_per_class": 4})
    monkeypatch.setattr(one_by_one, "QUICK", TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=20))
    monkeypatch.setattr(one_by_one, "TIMED_BATCH", 1)
    monkeypatch.setattr(one_by_one, "FIRST_SIDE", 7)
    monkeypatch.setattr(interleaved, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(interleaved, "ROUNDS", 3)


@pytest.mark.usefixtures("small")
def test_the_study_runs_to_its_end(tmp_path: Path) -> None:
    study = find_study("1x1")
    experiment = make_experiment(study, tmp_path)
    found = run_study(experiment)
    json.dumps(found)
    assert [arm["name"] for arm in found["arms"]] == [
        "with reductions", "without, equal outputs", "without, equal multiply-adds",
    ]  # fmt: skip
    modules, times, networks = found["tables"]
    assert [row[0] for row in modules["rows"]] == [*ROWS, "GoogLeNet, 224x224"]
    assert modules["rows"][0][1:] == ["128,049,152", "256", "308,281,344", "256", "303,464,448", "416", "2.41"]
    assert modules["rows"][-1][1] == f"{count('googlenet').total.multiply_adds:,}"
    assert modules["rows"][-1][5] == f"{count('googlenet_naive').total.multiply_adds:,}"
    assert len(times["rows"]) == 12
    costs = [int(row[2].replace(",", "")) for row in networks["rows"]]
    assert costs[2] == pytest.approx(costs[0], rel=0.03)
    assert costs[1] > 2.5 * costs[0]
    assert [verdict["outcome"] for verdict in found["verdicts"][:2]] == ["exact", "exact"]
    assert len(found["verdicts"]) == 6
    assert all(picture["svg"].startswith("<svg") for picture in found["pictures"])


@pytest.mark.slow
def test_the_full_study_builds_googlenet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All nine modules, with batch norm, of the paper's filters; what is trained is seen, not trained."""
    built: dict[str, nn.Module] = {}

    class Seen(Exception):
        pass

    def arm(self: Experiment, name: str, build, pictures, budget) -> None:
        assert budget is FULL
        built[name] = on_meta(build)
        if len(built) == 3:
            raise Seen

    monkeypatch.setattr(Experiment, "arm", arm)
    on_digits = dataclasses.replace(find_study("1x1"), full_data="digits")
    experiment = make_experiment(on_digits, tmp_path, mode="full")
    with pytest.raises(Seen):
        one_by_one.train_networks(experiment)
    ours = built["with reductions"]
    assert isinstance(ours, GoogLeNet)
    weights = sum(w.numel() for name, w in ours.named_parameters() if "inception" in name and w.ndim == 4)
    catalogue = create_model("googlenet")
    assert weights == sum(w.numel() for name, w in catalogue.named_parameters() if "inception" in name and w.ndim == 4)
    costs = {name: count(network, 32).total.multiply_adds for name, network in built.items()}
    assert costs["without, equal multiply-adds"] == pytest.approx(costs["with reductions"], rel=0.02)
