"""Arms start alike but for the heads, gradients are measured without a trace, and the study runs to its end."""

import copy
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from casebook.models import create_model
from casebook.models.googlenet import AUXILIARY
from casebook.models.temporary import overwriting_activations
from casebook.studies import auxiliary_heads as study
from casebook.studies.auxiliary_heads import (
    KINDS,
    MEASURED_PICTURES,
    gradients,
    small_googlenet,
    some_pictures,
    with_heads,
)
from casebook.studies.experiment import find_study, run_study
from casebook.studies.pictures import PictureSettings, load_pictures
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

CPU = torch.device("cpu")
OPTIONS = {"num_classes": 10, "in_channels": 1}


def built(kind: str, heads: int):
    torch.manual_seed(0)
    return with_heads(partial(small_googlenet, KINDS[kind], **OPTIONS), heads)


@pytest.mark.parametrize("kind", KINDS)
def test_arms_start_with_the_same_weights_outside_the_heads(kind: str) -> None:
    states = [built(kind, heads).state_dict() for heads in (0, 1, 2)]
    for state in states[1:]:
        assert all(torch.equal(state[name], value) for name, value in states[0].items())
    assert not any(name.startswith("auxiliary") for name in states[0])
    assert list(built(kind, 1).auxiliary) == [AUXILIARY[0]]
    assert all(torch.equal(states[2][name], value) for name, value in states[1].items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_small_network_is_an_eighth_of_googlenet(kind: str) -> None:
    network = built(kind, 2)
    logits, auxiliary = network.train()(torch.rand(2, 1, 8, 8))
    assert [logits.shape, *(head.shape for head in auxiliary)] == [(2, 10)] * 3
    assert network.eval()(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    paper = create_model("googlenet")
    widths = [
        [m.out_channels for name, m in n.named_modules() if isinstance(m, nn.Conv2d) and "inception" in name]
        for n in (with_heads(lambda: network, 0), paper)
    ]
    assert widths[0] == [round(width / 8) for width in widths[1]]
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == (kind == "with batch norm")


def test_gradients_are_those_of_autograd_and_nothing_is_disturbed() -> None:
    network = built("with batch norm", 2).train()
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    network.stem.conv.weight.grad = torch.ones_like(network.stem.conv.weight)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found = gradients(network, images, labels)
    with torch.no_grad(), overwriting_activations(network):  # as within the training loop
        assert gradients(network, images, labels) == pytest.approx(found, rel=1e-4)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert (network.stem.conv.weight.grad == 1).all()
    assert network.stem.conv.weight.grad.shape == network.stem.conv.weight.shape
    assert network.training
    assert network.head.dropout.p == 0.4

    network.zero_grad()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits, auxiliary = network(images)
    loss = functional.cross_entropy(logits, labels) + 0.3 * sum(functional.cross_entropy(a, labels) for a in auxiliary)
    loss.backward()
    early = [w.grad for part in (network.stem, network.stages[0]) for w in part.parameters() if w.ndim == 4]
    assert found["early"] == pytest.approx(float(sum(g.square().sum() for g in early) ** 0.5), rel=1e-4)
    assert found["early"] != found["early_last"]


def test_without_heads_all_losses_are_the_last() -> None:
    found = gradients(built("without batch norm", 0), torch.rand(4, 1, 8, 8), torch.arange(4))
    assert found["early"] == pytest.approx(found["early_last"])
    assert found["late"] > found["early"]  # it vanishes on its way back


def test_heads_do_not_reach_the_last_stage() -> None:
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    without, with_both = (gradients(built("without batch norm", n), images, labels) for n in (0, 2))
    assert with_both["late"] == pytest.approx(without["late"], rel=1e-5)
    assert with_both["early_last"] == pytest.approx(without["early_last"], rel=1e-5)
    assert with_both["early"] > without["early"]


def test_the_measured_pictures_are_training_pictures_as_they_are() -> None:
    pictures = load_pictures("digits", PictureSettings(side=8, mode="L", most_per_class=12, most_test_per_class=4))
    images, labels = some_pictures(pictures, CPU)
    assert images.shape == (MEASURED_PICTURES, 1, 8, 8)
    again, _ = some_pictures(pictures, CPU)
    assert torch.equal(images, again)
    assert len(labels.unique()) == 10


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "DIGITS", {"side": 8, "most_per_class": 4, "most_test_per_class": 4})
    monkeypatch.setattr(study, "QUICK", TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=20))
    monkeypatch.setattr(study, "NUM_STARTS", 3)


@pytest.mark.usefixtures("small")
def test_the_study_runs_to_its_end(tmp_path: Path) -> None:
    found = run_study(make_experiment(find_study("auxiliary-heads"), tmp_path))
    json.dumps(found)
    names = [arm["name"] for arm in found["arms"]]
    assert names == [
        "without batch norm, no heads", "without batch norm, one head", "without batch norm, two heads",
        "with batch norm, no heads", "with batch norm, two heads",
    ]  # fmt: skip
    assert [[row[0] for row in table["rows"]] for table in found["tables"]] == [names, names]
    start = found["verdicts"][0]
    assert start["unit"] == "ratio of gradient norms"
    assert start["outcome"] == "reproduced on digits"
    assert start["interval"][0] > 1
    assert len(found["verdicts"]) == 5
    assert [picture["title"] for picture in found["pictures"]] == [
        "Gradient of the early stages over training", "Learning with and without heads",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_full_study_takes_the_catalogues_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    few = {"mode": "L", "side": 8, "most_per_class": 1, "most_test_per_class": 1}
    monkeypatch.setattr(study, "NUM_STARTS", 3)
    monkeypatch.setattr(study, "FULL", TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=8))
    monkeypatch.setattr(study, "MEASURED_PICTURES", 2)
    seen = []

    def create(name: str, **options):
        seen.append((name, options["auxiliary_heads"], options["small_stem"]))
        return small_googlenet(KINDS["without batch norm"], **OPTIONS)

    monkeypatch.setattr(study, "create_model", create)
    experiment = make_experiment(find_study("auxiliary-heads"), tmp_path, mode="full", data="digits")
    original = experiment.pictures
    monkeypatch.setattr(experiment, "pictures", lambda **options: original(**options | few))
    study.run(experiment)
    assert set(seen) == {("googlenet", 2, True), ("googlenet_bn", 2, True)}
    assert len(experiment.findings.arms) == 5
    network = create_model("googlenet", auxiliary_heads=2, small_stem=True, **OPTIONS)
    assert set(gradients(network, torch.rand(2, 1, 16, 16), torch.arange(2))) == {"early", "early_last", "late"}
