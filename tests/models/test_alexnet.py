"""AlexNet: the maps of Figure 2, its normalisation by the formula, its towers, and each departure."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from casebook.models import create_model, list_models
from casebook.models.layers import draw_normal, response_norm
from casebook.models.temporary import overwriting_activations

from .networks import on_meta, stage_shapes

ALEXNETS = list_models("alexnet")


@pytest.mark.parametrize("name", ["alexnet", "alexnet_ungrouped"])
def test_maps_have_the_sizes_of_figure_2(name):
    network = on_meta(name)
    assert network.stem[0](torch.empty(1, 3, 227, 227, device="meta")).shape == (1, 96, 55, 55)
    assert stage_shapes(network, 227) == [(96, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 6, 6)]
    assert network.head.pool.fc6.in_features == 9216
    assert network.head.pool.fc7.weight.shape == (4096, 4096)


def test_the_printed_224_pixels_do_not_give_the_papers_maps():
    network = on_meta("alexnet")
    assert network.stem[0](torch.empty(1, 3, 224, 224, device="meta")).shape[2:] == (54, 54)
    assert {departure.what for departure in network.departures} == {"input size", "input"}


def normalised(x: np.ndarray) -> np.ndarray:
    """The formula of section 3.3, channel by channel."""
    k, n, alpha, beta = 2, 5, 1e-4, 0.75
    out, channels = np.empty_like(x), x.shape[1]
    for i in range(channels):
        low, high = max(0, i - n // 2), min(channels - 1, i + n // 2)
        out[:, i] = x[:, i] / (k + alpha * (x[:, low : high + 1] ** 2).sum(axis=1)) ** beta
    return out


def test_response_normalisation_is_the_papers_formula():
    x = 30 * torch.randn(2, 9, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = response_norm()(x).numpy()
    np.testing.assert_allclose(found, normalised(x.numpy()), rtol=1e-12)
    divided_by_n = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)(x).numpy()
    assert not np.allclose(found, divided_by_n, rtol=1e-3)


@pytest.mark.parametrize("name", ALEXNETS)
def test_convolution_relu_normalisation_pooling(name):
    network = on_meta(name)
    first, second = network.stem, network.stages[0]
    kinds = [[type(module) for module in part[1:]] for part in (first, second)]
    normed = name != "alexnet_owt"
    assert kinds == [[nn.LocalResponseNorm] * normed + [nn.MaxPool2d]] * 2
    assert sum(isinstance(module, nn.LocalResponseNorm) for module in network.modules()) == 2 * normed
    assert any(departure.what == "normalisation" for departure in network.departures) != normed


@pytest.mark.parametrize("name", ["alexnet", "alexnet_ungrouped"])
def test_only_the_third_layer_lets_the_towers_meet(name):
    """In layers 2, 4 and 5, what comes from the first half of the channels goes to the first half alone."""
    network = create_model(name, num_classes=2)
    layers = [stage[0].conv for stage in network.stages]
    meets = []
    for layer in layers:
        x = torch.zeros(1, layer.in_channels, 5, 5)
        before = layer(x)
        x[:, : layer.in_channels // 2] = 1
        changed = (layer(x) != before).any(dim=(0, 2, 3))
        half = len(changed) // 2
        assert changed[:half].all()
        meets.append(bool(changed[half:].all()))
        assert meets[-1] or not changed[half:].any()
    towers = name == "alexnet"
    assert meets == [not towers, True, not towers, not towers]
    assert any(departure.what == "towers" for departure in network.departures) != towers


def test_the_column_of_2014():
    network = on_meta("alexnet_owt")
    assert stage_shapes(network, 224) == [(64, 27, 27), (192, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)]
    assert network.stem[0](torch.empty(1, 3, 224, 224, device="meta")).shape[2:] == (55, 55)
    whats = [departure.what for departure in network.departures]
    assert whats == ["fourth layer", "normalisation", "initialisation", "input"]


@pytest.mark.parametrize(("name", "places"), [("alexnet", (0, 0.5, 0.5)), ("alexnet_owt", (0.5, 0.5, 0))])
def test_where_the_dropout_is(name, places):
    head = on_meta(name).head
    assert (head.pool.dropout6.p, head.pool.dropout7.p, getattr(head.dropout, "p", 0)) == places


@pytest.mark.parametrize("name", ALEXNETS)
def test_weights_start_as_in_section_5(name):
    network = create_model(name, num_classes=5)
    ones = []
    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.1)
            assert module.bias.unique().numel() == 1
            ones += [key] * bool(module.bias[0] == 1)
    opened = ["stages.0.0.conv", "stages.2.0.conv", "stages.3.0.conv", "head.pool.fc6", "head.pool.fc7"]
    assert ones == ([] if name == "alexnet_owt" else opened)


@pytest.mark.parametrize("name", ALEXNETS)
def test_other_sizes_are_averaged_to_the_papers_grid(name):
    network = on_meta(name)
    for side in (network.smallest_input, 256):
        assert network(torch.empty(2, 3, side, side + 9, device="meta")).shape == (2, 1000)
    x = torch.rand(1, 256, 6, 6)
    assert torch.equal(nn.AdaptiveAvgPool2d(6)(x), x)


@pytest.mark.parametrize("name", ALEXNETS)
def test_the_smallest_input_leaves_four_pixels(name):
    network = on_meta(name)
    assert stage_shapes(network, network.smallest_input)[-1] == (256, 2, 2)
    assert math.prod(stage_shapes(network, network.smallest_input - 1)[-1]) == 256


def test_overwriting_changes_nothing():
    torch.manual_seed(0)
    network = create_model("alexnet", num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            draw_normal(module.weight, std=0.05)
    network.eval()
    x = torch.randn(1, 3, 99, 99)
    expected = torch.autograd.grad(network(x).sum(), network.stem[0].conv.weight)[0]
    with overwriting_activations(network):
        assert network.stem[0].activation.inplace
        found = torch.autograd.grad(network(x).sum(), network.stem[0].conv.weight)[0]
    assert torch.equal(found, expected)
