"""The nine pictures, found among planted ones."""

import numpy as np
import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.explanation.deconvnet import project
from casebook.explanation.top_patches import Excitement, choose_channels, excitement, top_patches, top_pictures


@pytest.fixture
def network() -> nn.Module:
    """Channel 0 looks for red, channel 1 for green."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -1, -1], [-1, 1, -1]])[:, :, None, None])
    return network


def pictures() -> torch.Tensor:
    """20 grey pictures with a dot each: red in the even ones, the stronger the higher the number, else green."""
    images = torch.full((20, 3, 8, 8), 0.1)
    for number, image in enumerate(images):
        image[:, 2 + number % 4, 5] = torch.tensor([0.0, 0, 0])
        image[number % 2, 2 + number % 4, 5] = 1 + number
    return images


def test_they_are_those_that_excite_the_channel_most(untouched, network) -> None:
    untouched(network)
    images = pictures()
    found = excitement(network, "2", iter([images[:7], images[7:14], images[14:]]))
    with torch.no_grad():
        np.testing.assert_allclose(found.largest, network(images).amax((2, 3)).numpy())
    assert top_pictures(found, 0) == [18, 16, 14, 12, 10, 8, 6, 4, 2]
    assert top_pictures(found, 1) == [19, 17, 15, 13, 11, 9, 7, 5, 3]
    red, green = top_patches(network, found, [0, 1], lambda row: images[row : row + 1])
    for nine, channel in ((red, 0), (green, 1)):
        assert [row for row, _ in nine] == top_pictures(found, channel)
        for row, projection in nine:
            top, left, bottom, right = projection.window  # type: ignore[misc]
            assert top <= 2 + row % 4 < bottom
            assert left <= 5 < right
            assert projection.activation == found.largest[row, channel]
            again = project(network, images[row : row + 1], "2", [channel])[0]
            np.testing.assert_array_equal(projection.pattern, again.pattern)
            assert projection.pattern[channel].argmax() == 8 * (2 + row % 4) + 5


def test_the_pickiest_channels_are_chosen() -> None:
    largest = np.zeros((50, 4), np.float32)
    largest[:, 0] = 5  # always the same
    largest[:, 1] = np.arange(50)  # spread evenly
    largest[:9, 2] = 1  # nine of fifty
    largest[:, 3] = -np.arange(50)  # never excited
    assert choose_channels(Excitement("x", largest), 4) == [2, 1, 0, 3]
    assert choose_channels(Excitement("x", largest[:5]), 2) == [0, 1]


def test_fewer_than_nine_pictures_and_none(network) -> None:
    found = excitement(network, "2", [pictures()[:3]])
    assert top_pictures(found, 0) == [2, 0, 1]
    with pytest.raises(ModelError, match="no picture that could excite"):
        excitement(network, "2", [])
    with pytest.raises(ModelError, match="channel 2 is asked for, but '2' has 2 channels"):
        top_pictures(found, 2)
