"""A residual block that starts at zero changes no bit of a trained network; every other kind does."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from casebook.models.residual_parts import basic
from casebook.models.resnet_cifar import CifarResNet, Variant
from casebook.models.weights import read_weights
from casebook.studies import identity
from casebook.studies.experiment import run_study
from casebook.studies.identity import KINDS, deepen, new_block

from .conftest import make_experiment

CPU = torch.device("cpu")
SMALL = Variant(basic, 1)


def trained() -> CifarResNet:
    """With statistics and scales that a training might leave."""
    torch.manual_seed(5)
    network = CifarResNet(SMALL, num_classes=4, in_channels=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    network.train()
    for _ in range(3):
        network(torch.randn(8, 3, 16, 16))
    return network.eval()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_only_residual_blocks_that_start_at_zero_are_the_identity(kind: str) -> None:
    network, images = trained(), torch.randn(6, 3, 16, 16)
    before = network(images)
    new = deepen(network, *KINDS[kind], 2)
    network.eval()
    assert len(new) == 6
    assert [len(stage) for stage in network.stages] == [3, 3, 3]  # type: ignore[arg-type]
    same = torch.equal(network(images), before)
    assert same == kind.startswith("residual, last"), kind
    for block in new:
        block.train()  # what the batch is, the sum of the branch is still zero
    assert torch.equal(network(images), before) == same


def test_all_kinds_draw_the_same_weights() -> None:
    drawn = {}
    for kind, (residual, zero) in KINDS.items():
        torch.manual_seed(3)
        drawn[kind] = [value.clone() for value in new_block(8, residual, zero).state_dict().values()]
    first = drawn["residual, He's initialisation"]
    for kind, values in drawn.items():
        assert [value.shape for value in values] == [value.shape for value in first]
        different = [i for i, (ours, theirs) in enumerate(zip(values, first, strict=True)) if not ours.equal(theirs)]
        # In order: convolution, norm (5 tensors), convolution, norm.
        assert different == {"norm": [7], "weights": [6], "": []}[KINDS[kind][1]]
        assert all(not values[i].any() for i in different)


def test_a_plain_block_that_starts_at_zero_learns_nothing_and_lets_nothing_before_it_learn() -> None:
    network = trained()
    deepen(network, *KINDS["plain, last norm zero"], 1)
    network.train()
    network(torch.randn(8, 3, 16, 16)).sum().backward()  # type: ignore[union-attr]
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == {"head.classifier.bias"}
    residual = trained()
    deepen(residual, *KINDS["residual, last norm zero"], 1)
    residual.train()
    residual(torch.randn(8, 3, 16, 16)).sum().backward()  # type: ignore[union-attr]
    moved = {name for name, weight in residual.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert "stages.0.1.branch.1.norm.weight" in moved, "the new block leaves the identity"
    assert "stem.conv.weight" in moved


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "VARIANTS", {identity.BASE: SMALL})
    monkeypatch.setattr(identity, "ADDED", 1)


def test_the_study_in_small(small: None, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The further training hardly moves anything, so that what it started from is still there at its end."""
    monkeypatch.setattr(identity, "PER_CLASS", 12)
    monkeypatch.setattr(identity, "QUICK", dataclasses.replace(identity.QUICK, epochs=3))
    further = dataclasses.replace(identity.QUICK_FURTHER, epochs=1, learning_rates=(1e-9,))
    monkeypatch.setattr(identity, "QUICK_FURTHER", further)
    experiment = make_experiment(identity.STUDY, tmp_path, data=str(digit_folder), seeds=(0, 1))
    result = run_study(experiment)
    base, *others = result["arms"]
    assert [arm["epochs"] for arm in result["arms"]] == [3, 1, 1, 1, 1]
    kinds = {f"resnet20 + {kind}": kind for kind in identity.TRAINED}
    assert [arm["name"] for arm in others] == ["resnet20, trained further", *kinds]

    heads: dict[str, list] = {}
    for path in sorted((tmp_path / "runs").iterdir()):
        weights, _ = read_weights(path / "model.safetensors")
        heads.setdefault(path.name.rpartition("-")[0], []).append(weights["head.classifier.weight"])
    assert not torch.equal(*heads["resnet20"])
    for arm in others:
        close = [[torch.allclose(own, base, atol=1e-5) for base in heads["resnet20"]] for own in heads[arm["name"]]]
        assert sorted(close) == [[False, True], [True, False]], f"{arm['name']}: each seed from its own base"

    verdicts = {verdict["claim"]: verdict for verdict in result["verdicts"]}
    exact = [verdict for verdict in result["verdicts"] if verdict["outcome"] == "exact"]
    assert len(exact) == 2
    assert all("bit for bit the same" in verdict["text"] for verdict in exact)
    hurt = verdicts["after equal further training the added residual blocks cost less than one point of test error"]
    assert hurt["outcome"] == "no arm learned: no verdict", "three epochs are too few"
    assert hurt["interval"][0] < hurt["difference"] < hurt["interval"][1]
    assert "below +1.00" in hurt["text"]

    rows = {row[0]: row[1:] for row in result["tables"][0]["rows"]}
    assert rows["residual, last norm zero"][:2] == [rows["none"][0], "0"]
    assert float(rows["none"][0]) == pytest.approx(50 * sum(base["test_errors"]), abs=0.006)
    assert all(
        float(row[1]) > 0.01
        for kind, row in rows.items()
        if kind.startswith("plain") or kind.endswith("initialisation")
    )
    dead = next(arm for arm in others if kinds.get(arm["name"]) == "plain, last norm zero")
    assert min(dead["test_errors"]) >= 0.7, "one class of four is all that a dead network can say"
    assert any("mean absolute value is 0.000" in note for note in result["notes"]), "this training moves nothing"
    assert "epochs after the blocks were added" in result["pictures"][0]["svg"]


@pytest.mark.slow
def test_full_is_the_recipe_of_the_paper_and_then_more(
    small: None, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (identity.FULL.epochs, identity.FULL_FURTHER.epochs) == (182, 60)
    assert identity.FULL_FURTHER.learning_rates == (identity.RATE,)
    monkeypatch.setattr(identity, "FULL", dataclasses.replace(identity.FULL, epochs=2))
    monkeypatch.setattr(identity, "FULL_FURTHER", dataclasses.replace(identity.FULL_FURTHER, epochs=1))
    experiment = make_experiment(identity.STUDY, tmp_path, mode="full", data=str(digit_folder))
    result = run_study(experiment)
    assert [arm["epochs"] for arm in result["arms"]] == [2, 1, 1, 1, 1]
    assert "32x32 pixels, colour" in result["notes"][0]
    recipe = next((tmp_path / "runs").glob("resnet20-*/recipe.toml")).read_text()
    assert 'schedule = "step"' in recipe
    assert "batch_size = 128" in recipe
