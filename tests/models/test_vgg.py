"""VGG: Table 1 by its columns, batch norm after every convolution, and each departure."""

import math

import pytest
import torch
from torch import nn

from casebook.models import create_model, list_models

from .networks import on_meta

VGGS = list_models("vgg")


def convolutions(network) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", VGGS)
def test_a_name_states_the_number_of_layers(name):
    network = on_meta(name)
    depth = int(name.removeprefix("vgg").removesuffix("_bn").removesuffix("_lecture"))
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert len(convolutions(network)) + len(linear) == depth
    assert [layer.out_features for layer in linear] == [4096, 4096, 1000]


@pytest.mark.parametrize("name", VGGS)
def test_blocks_halve_the_side(name):
    network = on_meta(name)
    x, shapes = network.stem(torch.empty(1, 3, 224, 224, device="meta")), []
    for stage in network.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]


@pytest.mark.parametrize("name", VGGS)
def test_convolutions_are_3x3_with_bias(name):
    for conv in convolutions(on_meta(name)):
        assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
        assert conv.bias is not None


@pytest.mark.parametrize("name", VGGS)
def test_batch_norm_is_a_departure(name):
    network = on_meta(name)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert norms == (len(convolutions(network)) if name.endswith("_bn") else 0)
    assert any(departure.what == "batch norm" for departure in network.departures) == name.endswith("_bn")


def test_the_lecture_lacks_one_convolution_of_vgg16():
    lecture, vgg16 = on_meta("vgg15_lecture"), on_meta("vgg16")
    missing = sum(weight.numel() for weight in vgg16.parameters()) - sum(w.numel() for w in lecture.parameters())
    assert missing == 3 * 3 * 256 * 256 + 256
    assert len(convolutions(lecture.stages[1])) == 2
    assert len(convolutions(vgg16.stages[1])) == 3
    assert lecture.departures[0].what == "third block"


def test_dropout_stands_after_both_hidden_layers():
    head = on_meta("vgg16").head
    assert (head.pool.dropout6.p, head.pool.dropout7.p, head.dropout.p) == (0, 0.5, 0.5)


def test_weights_start_after_glorot_and_bengio():
    torch.manual_seed(0)
    network = create_model("vgg11", num_classes=5)
    assert any(departure.what == "initialisation" for departure in network.departures)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            window = module.weight[0, 0].numel()
            bound = math.sqrt(6 / (window * (module.weight.shape[0] + module.weight.shape[1])))
            assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert not module.bias.any()


def test_other_sizes_are_averaged_to_7x7():
    network = on_meta("vgg11")
    for side in (64, 256):
        assert network(torch.empty(2, 3, side, side + 40, device="meta")).shape == (2, 1000)
    assert network.stages(network.stem(torch.empty(1, 3, 64, 64, device="meta"))).shape[2:] == (2, 2)
