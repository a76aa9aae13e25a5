"""SqueezeNet: the maps and fire modules of Table 1, its head, and each departure."""

import math

import pytest
import torch
from torch import nn

from casebook.models import create_model, list_models
from casebook.models.squeezenet import Fire

from .networks import on_meta, stage_shapes

SQUEEZENETS = list_models("squeezenet")


def test_maps_have_the_sizes_of_table_1_from_227_pixels():
    network = on_meta("squeezenet1_0")
    assert network.stem[0](torch.empty(1, 3, 227, 227, device="meta")).shape[2:] == (111, 111)
    assert stage_shapes(network, 227) == [(96, 55, 55), (256, 27, 27), (512, 13, 13), (512, 13, 13)]


def test_from_the_printed_224_pixels_the_first_map_is_smaller():
    network = on_meta("squeezenet1_0")
    assert network.stem[0](torch.empty(1, 3, 224, 224, device="meta")).shape[2:] == (109, 109)
    assert stage_shapes(network, 224) == [(96, 54, 54), (256, 27, 27), (512, 13, 13), (512, 13, 13)]
    assert [departure.what for departure in network.departures] == ["first map", "input", "start of the last layer"]


def test_version_1_1_pools_earlier():
    network = on_meta("squeezenet1_1")
    assert network.stem[0].conv.weight.shape == (64, 3, 3, 3)
    assert stage_shapes(network, 224) == [(64, 55, 55), (128, 27, 27), (256, 13, 13), (512, 13, 13)]
    assert [departure.what for departure in network.departures] == ["layers", "input", "start of the last layer"]


@pytest.mark.parametrize("name", SQUEEZENETS)
def test_fire_modules_are_those_of_table_1(name):
    fires = [module for module in on_meta(name).modules() if isinstance(module, Fire)]
    assert [fire.squeeze.conv.out_channels for fire in fires] == [16, 16, 32, 32, 48, 48, 64, 64]
    for fire in fires:
        squeezed = fire.squeeze.conv.out_channels
        assert (fire.expand1x1.conv.out_channels, fire.expand3x3.conv.out_channels) == (4 * squeezed, 4 * squeezed)
        assert (fire.squeeze.conv.kernel_size, fire.expand1x1.conv.kernel_size) == ((1, 1), (1, 1))
        assert fire.expand3x3.conv.kernel_size == (3, 3)


def test_a_fire_module_puts_1x1_before_3x3():
    fire, x = Fire(4, 2, 3), torch.randn(1, 4, 5, 5)
    out = fire(x)
    assert out.shape == (1, 6, 5, 5)
    assert torch.equal(out[:, :3], fire.expand1x1(fire.squeeze(x)))
    assert torch.equal(out[:, 3:], fire.expand3x3(fire.squeeze(x)))


@pytest.mark.parametrize("name", SQUEEZENETS)
def test_the_head_is_a_convolution_behind_dropout(name):
    torch.manual_seed(0)
    network = create_model(name, num_classes=5).eval()
    assert not any(isinstance(module, nn.Linear) for module in network.modules())
    assert network.head.dropout.p == 0.5
    x = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        features = network.head.features(network.stages(network.stem(x)))
        assert features.shape[1] == network.head.num_features == 512
        assert torch.equal(network.head.classifier(features), network(x))


@pytest.mark.parametrize(("name", "last"), [("squeezenet1_0", (512, 8, 8)), ("squeezenet1_1", (512, 8, 8))])
def test_the_small_stem_keeps_small_pictures_large(name, last):
    network = on_meta(name, small_stem=True, num_classes=10)
    assert stage_shapes(network, 32)[-1] == last
    assert stage_shapes(network, network.smallest_input)[-1] == (512, 2, 2)
    assert network.departures[-1].what == "stem"
    assert not any(departure.what == "stem" for departure in on_meta(name).departures)


@pytest.mark.parametrize("name", SQUEEZENETS)
def test_the_smallest_input_leaves_four_pixels(name):
    network = on_meta(name)
    assert stage_shapes(network, network.smallest_input)[-1][1:] == (2, 2)
    assert stage_shapes(network, network.smallest_input - 1)[-1][1:] == (1, 1)


@pytest.mark.parametrize("name", SQUEEZENETS)
def test_weights_start_as_in_the_authors_files_but_for_the_last_biases(name):
    """From biases of 0 behind the last ReLU, most classes get no gradient any more within an epoch of a small set."""
    network = create_model(name)
    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            std = 0.01 if key.startswith("head.") else 1 / math.sqrt(module.weight[0].numel())
            assert module.weight.std().item() == pytest.approx(std, rel=0.1), key
            assert (module.bias == (1 if key.startswith("head.") else 0)).all(), key
