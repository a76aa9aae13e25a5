"""Losses of several labels a picture, against closed forms."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from casebook.training.objective import OBJECTIVES, balanced_pair_weights, binary_losses
from casebook.training.recipe import make_recipe

NAN = float("nan")


def test_binary_losses_and_the_focal_loss():
    logits = torch.tensor([[0.7, -1.2, 3.0]], dtype=torch.float64)
    p = torch.sigmoid(logits)
    targets = torch.tensor([[1.0, 0.0, NAN]], dtype=torch.float64)
    plain = torch.stack([-p[0, 0].log(), -(1 - p[0, 1]).log(), torch.tensor(0.0, dtype=torch.float64)])[None]
    assert_close(binary_losses(logits, targets), plain)
    factors = torch.stack([(1 - p[0, 0]) ** 2, p[0, 1] ** 2, torch.tensor(1.0, dtype=torch.float64)])[None]
    assert_close(binary_losses(logits, targets, gamma=2.0), plain * factors)
    soft = torch.tensor([[0.3, 0.3, 0.3]], dtype=torch.float64)
    assert_close(binary_losses(logits, soft), -(0.3 * p.log() + 0.7 * (1 - p).log()))


def test_unknown_labels_have_no_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    targets = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])
    objective = OBJECTIVES["multilabel"]
    recipe = make_recipe(None, data="digits", focal_gamma=2.0, label_smoothing=0.0)
    losses = objective.of_pictures(objective.losses(logits, targets, recipe), targets, torch.full((2, 3), 3.0))
    losses.sum().backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, False, True], [False, False, False]]
    assert losses[0].item() == pytest.approx(3 * np.log(2) / 4, rel=1e-6)
    assert losses[1].item() == 0


def test_balanced_weights_weigh_presence_and_absence_alike():
    targets = np.array([[1, 0], [0, 0], [0, NAN], [0, 1]], np.float32)
    absent, present = balanced_pair_weights(targets, 2).numpy()
    known, positive = np.array([4, 3]), np.array([1, 1])
    np.testing.assert_allclose(present * positive, absent * (known - positive), rtol=1e-6)
    np.testing.assert_allclose((present * positive + absent * (known - positive)) / known, 1, rtol=1e-6)
