"""ZFNet: the maps of Figure 3, its variants, and each departure."""

import pytest
import torch
from torch import nn

from casebook.models import create_model, list_models

from .networks import on_meta, stage_shapes


@pytest.mark.parametrize(("name", "widths"), [("zfnet", (384, 384, 256)), ("zfnet_b", (512, 1024, 512))])
def test_maps_have_the_sizes_of_figure_3(name, widths):
    network, (third, fourth, fifth) = on_meta(name), widths
    assert network.stem[0](torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 96, 110, 110)
    assert network.stages[0][0](torch.empty(1, 96, 55, 55, device="meta")).shape == (1, 256, 26, 26)
    assert stage_shapes(network, 224) == [(96, 55, 55), (256, 13, 13), (third, 13, 13), (fourth, 13, 13), (fifth, 6, 6)]
    assert [departure.what for departure in network.departures] == ["contrast normalisation", "input"]


def test_the_wide_one_does_not_stride_in_layer_2():
    network = on_meta("zfnet_wide")
    assert stage_shapes(network, 227) == [(96, 55, 55), (256, 27, 27), (512, 27, 27), (1024, 27, 27), (512, 13, 13)]
    assert network.head.pool.fc6.weight.numel() + 4096 == 354_422_784
    assert {"layer 2", "input size"} < {departure.what for departure in network.departures}


@pytest.mark.parametrize("name", list_models("zfnet"))
def test_convolution_relu_pooling_normalisation(name):
    network = on_meta(name)
    for part in (network.stem, network.stages[0]):
        assert [type(module) for module in part[1:]] == [nn.MaxPool2d, nn.LocalResponseNorm]
        norm = part[2]
        assert (norm.size, norm.alpha, norm.beta, norm.k) == (5, 5e-4, 0.75, 2)
    assert sum(isinstance(module, nn.LocalResponseNorm) for module in network.modules()) == 2


@pytest.mark.parametrize("name", list_models("zfnet"))
def test_the_smallest_input_leaves_four_pixels(name):
    network = on_meta(name)
    assert stage_shapes(network, network.smallest_input)[-1][1:] == (2, 2)
    assert stage_shapes(network, network.smallest_input - 1)[-1][1:] == (1, 1)
    assert network(torch.empty(2, 3, 100, 110, device="meta")).shape == (2, 1000)


def test_weights_start_as_the_paper_says():
    for key, module in create_model("zfnet", num_classes=5).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.1), key
            assert not module.bias.any()
