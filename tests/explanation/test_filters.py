"""First filters are the weights; feature maps are what the layers give."""

import numpy as np
import pytest
import torch

from casebook.errors import ModelError
from casebook.explanation.filters import feature_maps, first_filters

from .conftest import images, with_statistics


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet20", "stem.conv"),
        ("fractalnet20_column", "stages.0.0.rows.0.0.conv"),
        ("densenet_bc_100_12", "stem"),
        ("lenet5", "stem.0"),
        ("alexnet", "stem.0.conv"),
    ],
)
def test_the_first_convolution_that_runs(untouched, name, layer) -> None:
    network = with_statistics(name)
    untouched(network)
    side = network.smallest_input
    found = first_filters(network, (network.in_channels, side, side))
    assert found.layer == layer
    weight = network.get_submodule(layer).weight
    assert torch.equal(torch.from_numpy(found.weights), weight)  # type: ignore[arg-type]


def test_other_layers_are_named() -> None:
    network = with_statistics("mobilenet_v2_035")
    depthwise = "stages.1.0.1.conv"
    assert first_filters(network, (3, 33, 33), depthwise).weights.shape[1:] == (1, 3, 3)
    with pytest.raises(ModelError, match=r"the filters of 'stages.1.0.0.conv' see \d+ channels each, expected one or"):
        first_filters(network, (3, 33, 33), "stages.1.0.0.conv")
    with pytest.raises(ModelError, match=r"'stages.1' is a Sequential, expected a convolution"):
        first_filters(network, (3, 33, 33), "stages.1")


def test_feature_maps_are_the_outputs() -> None:
    network = with_statistics("seresnet50")
    image = images(network)
    with torch.no_grad():
        stem = network.stem(image)
        first = network.stages[0](stem)
        logits = network(image)
    for layer, expected in (("stem", stem), ("stages.0", first), ("head", logits[:, :, None, None])):
        np.testing.assert_allclose(feature_maps(network, image, layer), expected[0].numpy(), rtol=1e-4, atol=1e-5)
