"""Stacks and single convolutions see the same pixels, at the paper's ratio of weights, and differ in nothing else."""

from pathlib import Path

import pytest
import torch
from torch import nn

from casebook.cost.count import count
from casebook.studies import stacked_3x3
from casebook.studies.experiment import find_study, run_study
from casebook.studies.stacked_3x3 import FULL, PAIRS, QUICK, UNITS, Architecture, FeatureMaps, fields, stacked, unit

from .conftest import make_experiment

CPU = torch.device("cpu")
TINY = Architecture((6, 6), 1, 16, 32, 1)


@pytest.mark.parametrize(("name", "field", "kernels"), [("two 3x3", 5, 18), ("one 5x5", 5, 25), ("three 3x3", 7, 27),
                                                        ("one 7x7", 7, 49)])  # fmt: skip
def test_a_unit_has_the_papers_weights_and_receptive_field(name: str, field: int, kernels: int) -> None:
    width, side = 12, 20
    counted = count(unit(width, width, UNITS[name]), side, in_channels=width)
    weights = kernels * width**2
    assert counted.outputs[""].receptive_field == (field, field)
    assert counted.outputs[""].shape == (width, side, side)
    norms = 2 * width * len(UNITS[name])
    assert counted.total.parameters == weights + norms
    assert counted.total.multiply_adds == weights * side**2


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_networks_of_a_pair_see_the_same_behind_every_stage(plan: Architecture) -> None:
    for stack, single in PAIRS:
        assert fields(UNITS[stack], plan) == fields(UNITS[single], plan)
        assert len(fields(UNITS[stack], plan)) == len(plan.widths)
    assert fields(UNITS["two 3x3"], plan) != fields(UNITS["one 7x7"], plan)
    # By hand: 3 of the first convolution, 4 of the unit, 1 of the pooling, then everything at twice the distance.
    assert fields(UNITS["one 5x5"], plan)[:2] == [(8, 8), (8 + 2 * 4 + 2,) * 2]


@torch.no_grad()
def test_networks_differ_in_their_units_alone() -> None:
    sizes = {}
    for name, kernels in UNITS.items():
        torch.manual_seed(0)
        network = stacked(kernels, TINY, 4, 1).eval()
        images = torch.rand(2, 1, 16, 16)
        assert network(images).shape == (2, 4)
        sizes[name] = [type(part).__name__ for part in network]
        relus = [module for module in network.modules() if isinstance(module, nn.ReLU)]
        assert len(relus) == 1 + len(kernels) * len(TINY.widths)
    assert len({tuple(parts) for parts in sizes.values()}) == 1


def test_the_full_network_of_pairs_is_vggs_column_b() -> None:
    """Table 1: 64-64-128-128-256-256-512-512-512-512; the first of the two 64 is here the common first convolution
    and a unit of two behind it."""
    with torch.device("meta"):
        network = stacked(UNITS["two 3x3"], FULL, 1000, 3)
    widths = [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [64, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512]


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked_3x3, "QUICK", TINY)
    monkeypatch.setattr(stacked_3x3, "FULL", TINY)
    for name in ("QUICK_MAPS", "FULL_MAPS"):
        monkeypatch.setattr(stacked_3x3, name, (FeatureMaps(4, 8, 2),))


@pytest.mark.parametrize("mode", ["quick", pytest.param("full", marks=pytest.mark.slow)])
def test_the_study_in_small(mode, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_study("stacked-3x3") is stacked_3x3.STUDY
    short(monkeypatch)
    monkeypatch.setattr(stacked_3x3, "LARGE_SIDE", 24)
    experiment = make_experiment(stacked_3x3.STUDY, tmp_path, mode=mode, data=str(digit_folder))
    result = run_study(experiment)
    side = {"quick": 32, "full": 24}[mode]
    assert f"{side}x{side} pixels, colour" in result["notes"][0]
    assert [arm["name"] for arm in result["arms"]] == list(UNITS)
    counted, timed, networks = result["tables"]
    assert [row[3] for row in counted["rows"]] == ["18", "25", "27", "49"]
    assert [row[2] for row in timed["rows"]] == ["0.72", "0.55"]
    assert [row[0] for row in networks["rows"]] == list(UNITS)
    exact = [verdict for verdict in result["verdicts"] if verdict["outcome"] == "exact"]
    assert [verdict["difference"] for verdict in exact] == pytest.approx([25 / 18, 49 / 27])
    assert "81 % more" in exact[1]["text"]
    errors = {arm["name"]: arm["test_errors"][0] for arm in result["arms"]}
    apart = [verdict["difference"] for verdict in result["verdicts"] if verdict["unit"] == "share of test pictures"]
    assert apart == pytest.approx([errors[stack] - errors[single] for stack, single in PAIRS])
    assert sum(verdict["unit"] == "ratio of times" for verdict in result["verdicts"]) == 2
    assert len(result["pictures"]) == 2
