"""Xception: Figure 5, separable convolutions without an activation between, shortcuts, and each departure."""

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.models.layers import SameMaxPool2d
from casebook.models.xception import Residual, SeparableConvNorm

from .networks import on_meta


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_blocks_have_the_sizes_of_figure_5(padding):
    network = on_meta("xception", padding=padding)
    x = network.stem[0](torch.empty(1, 3, 299, 299, device="meta"))
    assert x.shape[1:] == (32, 149, 149)
    x, shapes = network.stem[1](x), []
    assert x.shape[1:] == (64, 147, 147)
    for block in [block for stage in network.stages for block in stage]:
        x = block(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [(128, 74), (256, 37), *[(728, 19)] * 9, (1024, 10), (1536, 10), (2048, 10)]


def test_there_are_36_convolutional_layers_in_14_modules():
    """Section 4: 36 convolutional layers in 14 modules; all but the first and the last have a shortcut."""
    network = on_meta("xception")
    separable = sum(isinstance(module, SeparableConvNorm) for module in network.modules())
    assert separable + len(network.stem) == 36
    assert sum(isinstance(module, Residual) for module in network.modules()) == 12


def test_nothing_stands_between_the_two_parts_of_a_separable_convolution():
    network = create_model("xception", num_classes=3).eval()
    for separable in [module for module in network.modules() if isinstance(module, SeparableConvNorm)]:
        assert [key for key, _ in separable.named_children()][:3] == ["depthwise", "pointwise", "norm"]
        assert separable.depthwise.bias is None
        assert separable.pointwise.bias is None
    x = torch.randn(1, 728, 4, 4)
    first = network.stages[3][0].branch[1]
    expected = first.norm(first.pointwise(first.depthwise(x))).relu()
    assert torch.equal(first(x), expected)


def test_blocks_begin_with_an_activation_and_do_not_end_with_one():
    network = create_model("xception", num_classes=3).eval()
    firsts = [type(module.branch[0]) for module in network.modules() if isinstance(module, Residual)]
    assert firsts == [nn.Identity] + [nn.ReLU] * 11
    for block in network.stages[3]:
        nn.init.zeros_(block.branch[-1].norm.weight)
        x = torch.randn(2, 728, 3, 3)  # negative values pass too
        kept = x.clone()
        assert torch.equal(block(x), kept)


@pytest.mark.parametrize("side", [63, 64])
def test_same_padding_moves_the_pooling_on_even_sides(side):
    torch.manual_seed(0)
    symmetric, same = nn.MaxPool2d(3, stride=2, padding=1), SameMaxPool2d(3, stride=2)
    x = torch.randn(1, 2, side, side)
    assert torch.equal(symmetric(x), same(x)) == (side % 2 == 1)
    network = on_meta("xception", padding="same")
    assert sum(isinstance(module, SameMaxPool2d) for module in network.modules()) == 4
    assert not any(type(module) is nn.MaxPool2d for module in network.modules())
    assert network.departures[-1].what == "padding"


def test_each_departure_is_there():
    network = create_model("xception", num_classes=3)
    assert [departure.what for departure in network.departures] == ["initialisation"]
    pointwise = network.stages[3][0].branch[1].pointwise
    assert pointwise.weight.std().item() == pytest.approx((2 / 728) ** 0.5, rel=0.02)
    pools = [module for module in network.modules() if isinstance(module, nn.MaxPool2d)]
    assert [type(pool) for pool in pools] == [nn.MaxPool2d] * 4
    assert {pool.padding for pool in pools} == {1}
    assert network.head.dropout.p == 0.5
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}
