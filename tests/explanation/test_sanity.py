"""Rank correlation, and that randomising the weights of a trained network changes its explanations."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import casebook
from casebook.errors import ModelError
from casebook.explanation.deconvnet import class_gradient
from casebook.explanation.grad_cam import grad_cam
from casebook.explanation.occlusion import occlusion
from casebook.explanation.sanity import cascade, rank_correlation

from .conftest import images, with_statistics


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_rank_correlation_is_spearmans(levels) -> None:
    generator = np.random.default_rng(levels)
    for _ in range(5):
        first, second = generator.integers(0, levels, (2, 8, 9)).astype(np.float32)
        assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, first) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.zeros_like(first)) is None


@pytest.fixture(scope="module")
def trained(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    out = tmp_path_factory.mktemp("runs") / "sane"
    run = casebook.train(
        digit_folder, out=out, model="lenet5", recipe="scratch", epochs=12, batch_size=16, mirror=False,
        warmup_epochs=0, workers=0, learning_rate=0.05, near_duplicates=False,
    )  # fmt: skip
    assert run.test.top1 > 0.9
    return run.network()


WAYS = {
    "gradient": lambda network: np.abs(class_gradient(network, images(network), [0])[0]).max(0),
    "grad-cam": lambda network: grad_cam(network, images(network), [0]).maps[0],
    "occlusion": lambda network: occlusion(network, images(network), 0, square=6).drop,
}


@pytest.mark.parametrize("way", WAYS)
def test_randomising_the_weights_changes_the_map(untouched, trained, way) -> None:
    untouched(trained)
    steps = cascade(trained, WAYS[way], seed=1)
    assert [step.part for step in steps] == ["", "head", "stages.1", "stages.0", "stem"]
    np.testing.assert_array_equal(steps[0].map, WAYS[way](trained))
    assert steps[0].correlation == 1
    for step in steps[2:]:
        assert step.correlation is None or step.correlation < 0.9
        assert not np.allclose(step.map, steps[0].map)
        assert step.correlation == rank_correlation(steps[0].map, step.map)


def test_it_randomises_from_the_head_down(trained) -> None:
    seen = []

    def note(network: nn.Module) -> np.ndarray:
        state = network.state_dict()
        seen.append({key for key, value in trained.state_dict().items() if not torch.equal(value, state[key])})
        return np.arange(4.0)

    steps = cascade(trained, note)
    assert {key.rpartition(".")[0] for key in seen[1] if key.endswith("weight")} == {"head.pool.1", "head.classifier"}
    assert not seen[0]
    assert all(before < after for before, after in pairwise(seen))
    assert {key for key in seen[-1] if "weight" in key} == {key for key in trained.state_dict() if "weight" in key}
    assert all(step.correlation == pytest.approx(1) for step in steps)


def test_a_replaced_head_is_randomised_too_and_others_refused() -> None:
    network = with_statistics("resnet20")
    network.reset_classifier(3)
    heads = []

    def note(network: nn.Module) -> np.ndarray:
        heads.append(network.head.classifier.weight.clone())  # type: ignore[union-attr]
        return np.arange(4.0)

    cascade(network, note)
    assert heads[1].shape == (3, 64)
    assert not torch.equal(heads[0], heads[1])
    with pytest.raises(ModelError, match="needs a network that create_model built"):
        cascade(nn.Sequential(nn.Conv2d(3, 2, 3)), note)
