"""The head as a logistic regression: against scikit-learn, its penalty by cross-validation, class weights."""

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from casebook.errors import DataError
from casebook.training.logistic import (
    UNSEEN_LOGIT,
    deal_folds,
    fit_logistic,
    least_losses,
    try_heads,
    weights_help,
    within_noise,
)


def clouds(counts: list[int], distance: float, *, num_features: int = 20, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Pictures of each class around a centre of its own; most features say nothing."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = generator.normal(0, 1, (len(labels), num_features))
    features[:, : len(counts)] += distance * np.eye(len(counts))[labels]
    return (features * 3 + 5).astype(np.float32), labels


@pytest.mark.parametrize("num_classes", [2, 4])
def test_no_step_lowers_the_loss_of_what_was_fitted(num_classes: int) -> None:
    features, labels = clouds([30] * num_classes, 1.5)
    penalty = 0.1
    weights, biases = (torch.from_numpy(one).double() for one in fit_logistic(features, labels, num_classes, penalty))
    x, y = torch.from_numpy(features).double(), torch.from_numpy(labels)
    scale = x.std(0, correction=0)

    def loss(weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.cross_entropy(x @ weights.T + biases, y)
        # Of two classes scikit-learn penalises the difference of the rows, which is twice each of them.
        factor = 2 if num_classes == 2 else 1
        return mean + factor * penalty / 2 * ((weights * scale) ** 2).sum()

    weights.requires_grad_()
    biases.requires_grad_()
    found = loss(weights, biases)
    gradients = torch.autograd.grad(found, (weights, biases))
    assert max(float((one.abs()).max()) for one in gradients) < 2e-3
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = [one + 0.01 * torch.randn(one.shape, generator=generator) for one in (weights, biases)]
        assert loss(*moved) > found


def test_constant_features_and_missing_classes_do_no_harm() -> None:
    features, labels = clouds([20, 20], 3)
    features[:, 5] = 7
    weights, biases = fit_logistic(features, labels * 2, 4, 0.1)
    assert weights.shape == (4, 20)
    assert not weights[:, 5].any()
    assert biases[1] == biases[3] == UNSEEN_LOGIT
    assert set((features @ weights.T + biases).argmax(1)) == {0, 2}


def test_clear_classes_need_little_penalty_and_noise_much() -> None:
    clear, labels = clouds([40, 40, 40], 4)
    noise, _ = clouds([40, 40, 40], 0)
    groups = np.arange(len(labels))
    easy, hopeless = (try_heads(features, labels, groups) for features in (clear, noise))
    assert easy.penalty < hopeless.penalty
    assert easy.skill > 0.9
    assert hopeless.skill < 0.3
    assert not easy.balanced
    assert easy.to_dict()["losses"][f"{easy.penalty:g}"] == round(easy.losses[easy.penalty], 5)


def test_copies_in_other_folds_would_flatter_the_head() -> None:
    """Features without a meaning, each picture five times: only a fold that keeps copies together shows chance."""
    features, labels = clouds([20, 20], 0, num_features=100)
    copies = np.repeat(features, 5, axis=0), np.repeat(labels, 5)
    together = try_heads(*copies, np.repeat(np.arange(40), 5))
    apart = try_heads(*copies, np.arange(200))
    assert together.top1 < 0.7
    assert apart.top1 > 0.9


def test_class_weights_are_taken_where_rare_classes_gain() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    plain = np.zeros(100, int)
    weighted = np.where(np.arange(100) < 2, 1, labels)  # two of the many are lost, ten of the few are found
    assert weights_help(plain, weighted, labels) is True
    assert not weights_help(weighted, plain, labels)
    assert not weights_help(plain, plain, labels)
    costly = np.where(np.arange(100) < 40, 1, labels)
    assert not weights_help(plain, costly, labels)


def test_unequal_classes_get_weights_where_they_help() -> None:
    features, labels = clouds([400, 20, 20], 1.6, num_features=6, seed=1)
    found = try_heads(features, labels, np.arange(len(labels)))
    equal = try_heads(*clouds([40, 40, 40], 1.6, num_features=6), np.arange(120))
    assert not equal.balanced
    assert found.macro_recall > 0.4
    assert json.loads(json.dumps(found.to_dict()))["penalty"] == found.penalty


def test_a_class_with_one_picture_is_no_obstacle() -> None:
    features, labels = clouds([20, 20, 1], 3)
    found = try_heads(features, labels, np.arange(len(labels)))
    assert found.top1 > 0.8


def test_a_large_set_is_tried_on_a_part() -> None:
    features, labels = clouds([1500, 1500], 3, num_features=4)
    assert try_heads(features, labels, np.arange(3000)).num_pictures == 2000


def test_sharper_features_have_the_lower_losses() -> None:
    """Of the same pictures, so that the difference of each is known."""
    sharp, labels = clouds([40, 40, 40], 3)
    blurred, _ = clouds([40, 40, 40], 1)
    groups = np.arange(len(labels))
    losses = [least_losses(features, labels, groups) for features in (sharp, blurred)]
    assert losses[0].shape == labels.shape
    assert within_noise(losses[0] - losses[1])
    assert not within_noise(losses[1] - losses[0])
    assert within_noise(losses[0] - losses[0])
    assert losses[0].mean() <= min(try_heads(sharp, labels, groups).losses.values()) * 1.1


def test_folds_hold_as_many_of_each_class_and_whole_groups() -> None:
    labels = np.repeat(np.arange(3), [50, 30, 23])
    groups = np.arange(103)
    groups[:10] = 0  # ten copies
    folds = deal_folds(labels, groups, seed=1)
    assert len(set(folds[:10].tolist())) == 1
    counts = np.array([np.bincount(labels[folds == fold], minlength=3) for fold in range(5)])
    assert (counts.max(0) - counts.min(0)).max() <= 1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_handful_of_pictures_is_divided(count: int) -> None:
    features, labels = clouds([count, count, 1], 6)
    assert try_heads(features, labels, np.arange(len(labels))).num_pictures == 2 * count + 1


def test_each_fold_has_two_classes_to_learn_from() -> None:
    with pytest.raises(DataError, match="4 pictures are too few"):
        deal_folds(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), 0)
    labels = np.array([0] * 40 + [0, 0, 0, 1] + [0, 0, 1])  # four large groups leave one fold for the two small ones
    groups = np.array([place // 10 for place in range(40)] + [4] * 4 + [5] * 3)
    with pytest.raises(DataError, match="a fold leaves one class"):
        deal_folds(labels, groups, 0)
