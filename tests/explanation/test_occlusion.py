"""Occlusion against a square at a time, and a network of which it is known where it looks."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from casebook.errors import ModelError
from casebook.explanation.occlusion import occlusion

from .conftest import images, with_statistics


@pytest.mark.parametrize(("square", "stride", "fill"), [(8, 4, 0.0), (7, 5, 1.5), (32, 3, 0.0), (1, 1, -2.0)])
def test_batches_of_squares_equal_single_squares(untouched, square, stride, fill) -> None:
    network = with_statistics("resnet20") if square > 1 else nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 7))
    untouched(network)
    image = torch.randn(1, 3, 32, 32) if square > 1 else torch.randn(1, 3, 6, 6)
    side = image.shape[2]
    found = occlusion(network, image, 2, square=square, stride=stride, fill=fill, batch_size=3)
    starts = sorted({*range(0, side - square + 1, stride), side - square})
    assert list(found.tops) == list(found.lefts) == starts
    lost, covered = np.zeros((side, side)), np.zeros((side, side))
    with torch.no_grad():
        whole = network(image).softmax(1)[0, 2].item()
        for i, top in enumerate(starts):
            for j, left in enumerate(starts):
                hidden = image.clone()
                hidden[:, :, top : top + square, left : left + square] = fill
                answer = network(hidden).softmax(1)[0]
                assert found.probabilities[i, j] == pytest.approx(answer[2].item(), abs=1e-5)
                assert found.winners[i, j] == answer.argmax()
                lost[top : top + square, left : left + square] += whole - answer[2].item()
                covered[top : top + square, left : left + square] += 1
    assert covered.min() > 0
    assert found.probability == pytest.approx(whole, abs=1e-6)
    np.testing.assert_allclose(found.drop, lost / covered, atol=1e-5)


class Corner(nn.Module):
    """Sure of class 1 where the lower right quarter is bright."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, :, 16:, 16:].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(bright), 8 * bright - 4], 1)


def test_it_finds_where_a_network_looks() -> None:
    found = occlusion(Corner(), torch.ones(1, 3, 32, 32), 1, square=8, stride=8)
    assert found.drop[16:, 16:].min() > 0.05
    assert not found.drop[:16].any()
    assert not found.drop[:, :16].any()


def test_a_class_of_several_labels_has_a_probability_of_its_own() -> None:
    found = occlusion(Corner(), torch.ones(1, 3, 32, 32), 0, square=8, stride=8, activation=torch.sigmoid)
    assert found.probability == 0.5
    assert not found.drop.any()  # its logit stays 0, whatever becomes of the other class
    assert occlusion(Corner(), torch.ones(1, 3, 32, 32), 0, square=8, stride=8).drop.any()


def test_defaults_follow_the_picture() -> None:
    found = occlusion(Corner(), torch.ones(1, 3, 56, 70), 1)
    assert (found.square, found.stride) == (8, 4)
    assert found.drop.shape == (56, 70)


def test_what_does_not_fit_is_named() -> None:
    image = torch.ones(1, 3, 32, 32)
    for square in (0, 33, -1):
        with pytest.raises(ModelError, match=f"the square is {square} pixels, expected 1 to 32"):
            occlusion(Corner(), image, 1, square=square)
    for stride in (0, 9):
        with pytest.raises(ModelError, match=f"the stride is {stride} pixels, expected 1 to 8"):
            occlusion(Corner(), image, 1, square=8, stride=stride)
    with pytest.raises(ModelError, match="class 2 is asked for"):
        occlusion(Corner(), image, 2)


def test_the_mean_is_grey(untouched) -> None:
    """Hiding with 0 a picture that is 0 changes nothing."""
    network = with_statistics("resnet20")
    untouched(network)
    found = occlusion(network, torch.zeros_like(images(network, side=32)), 1, square=16)
    assert np.abs(found.drop).max() < 1e-6
