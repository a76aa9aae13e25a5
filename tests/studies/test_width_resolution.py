"""The scaled networks cost what they say and the same, and MobileNet's counts are its paper's."""

from pathlib import Path

import pytest
import torch

from casebook.cost.count import count
from casebook.studies import width_resolution
from casebook.studies.experiment import find_study, run_study
from casebook.studies.trials import TrainingBudget
from casebook.studies.width_resolution import (
    BLOCKS,
    CHANNELS,
    CLOSE,
    FULL,
    QUICK,
    STUDY,
    ResidualNet,
    ScalingPlan,
    enlargements,
    reductions,
)

from .conftest import make_experiment

CPU = torch.device("cpu")
DIGITS = {"num_classes": 10, "in_channels": 1}
SHORT = ScalingPlan(
    0.25, 12, (0.5,), 8, TrainingBudget(1, (0.1,), batch_size=16), {"most_per_class": 4, "most_test_per_class": 3}
)


def test_the_residual_network_has_the_multiply_adds_of_the_formula() -> None:
    first, second, third = CHANNELS
    convolutions = 9 * (first + (2 * BLOCKS[0]) * first * first) * 144
    convolutions += 9 * (first * second + (2 * BLOCKS[1] - 1) * second * second) * 36 + first * second * 36
    convolutions += 9 * (second * third + (2 * BLOCKS[2] - 1) * third * third) * 9 + second * third * 9
    network = ResidualNet(1.0, BLOCKS, **DIGITS)
    assert count(network, 12, in_channels=1).total.multiply_adds == convolutions + third * 10
    wide = ResidualNet(2.0, (1, 3, 2), **DIGITS)
    assert [len(stage) for stage in wide.stages] == [1, 3, 2]  # type: ignore[arg-type]
    assert wide.stages(wide.stem(torch.zeros(1, 1, 12, 12))).shape == (1, 64, 3, 3)


def test_scaled_networks_cost_the_same_and_differ_along_their_axis() -> None:
    base, depth, width, resolution, compound = enlargements(QUICK, True, quick=True, **DIGITS)
    for network in (depth, width, resolution, compound):
        assert abs(network.multiply_adds / (4 * base.multiply_adds) - 1) < CLOSE
    assert (depth.width, depth.side) == (1.0, base.side)
    assert depth.blocks == "8+8+7"
    assert (width.blocks, width.side) == (base.blocks, base.side)
    assert width.width > 1.5
    assert (resolution.width, resolution.blocks, resolution.side) == (1.0, base.blocks, 2 * base.side)
    assert compound.side == round(base.side * 1.15**2)
    assert sum(map(int, compound.blocks.split("+"))) == round(sum(BLOCKS) * 1.2**2)
    assert 1.1 < compound.width < 1.3  # 1.1 squared is 1.21


def test_thinner_and_smaller_cost_the_same() -> None:
    base, *found = reductions(QUICK, True, **DIGITS)
    for thinner, smaller in zip(found[::2], found[1::2], strict=True):
        assert abs(thinner.multiply_adds / smaller.multiply_adds - 1) < CLOSE
        assert (thinner.side, smaller.width) == (base.side, base.width)
    assert found[-1].multiply_adds < found[0].multiply_adds < base.multiply_adds


def test_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(width_resolution, "QUICK", SHORT)
    result = run_study(make_experiment(STUDY, tmp_path))
    assert [arm["name"] for arm in result["arms"]] == [
        "MobileNet", "thinner, 0.5", "smaller, 0.5", "base", "depth", "width", "resolution", "compound"
    ]  # fmt: skip
    printed, square, *measured = result["verdicts"]
    assert (printed["outcome"], square["outcome"]) == ("exact", "exact")
    assert "width 0.5: 149.5 million, printed 149" in printed["text"]
    assert "128 pixels: 32.77 %, the square is 32.65 %" in square["text"]
    assert len(measured) == 2 + 4
    assert result["tables"][0]["rows"][0] == ["1", "568.7", "418.1", "290.7", "186.4"]
    assert len(result["pictures"]) == 2
    assert sum("multiply-adds are found by counting" in note for note in result["notes"]) == 1


@pytest.mark.slow
def test_the_full_study_builds_efficientnets_of_one_cost() -> None:
    base, *found = enlargements(FULL, True, quick=False, num_classes=10, in_channels=3)
    assert base.multiply_adds == count("efficientnet_b0", 32, num_classes=10, small_stem=True).total.multiply_adds
    for network in found:
        assert abs(network.multiply_adds / found[2].multiply_adds - 1) < CLOSE
    assert found[2].side == 64


@pytest.mark.slow
def test_the_full_study_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path) -> None:
    monkeypatch.setattr(width_resolution, "PHOTOGRAPHS", SHORT)
    monkeypatch.setattr(width_resolution, "_count_multipliers", lambda experiment: None)
    monkeypatch.setattr(width_resolution, "_efficientnets", lambda side, stem, **kinds: enlargements(
        SHORT, True, quick=True, **kinds))  # fmt: skip
    result = run_study(make_experiment(STUDY, tmp_path, mode="full", data=str(photo_folder)))
    assert result["mode"] == "full"


def test_it_is_found_by_name() -> None:
    assert find_study("width-resolution") is STUDY
