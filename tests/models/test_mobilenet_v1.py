"""MobileNet v1: Table 1, widths, where the work is, TensorFlow's padding, and each departure."""

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models.layers import SameConv2d
from casebook.models.mobilenet_v1 import WIDTHS

from .networks import departures, on_meta


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_blocks_have_the_sizes_of_table_1(padding):
    network = on_meta("mobilenet_v1", padding=padding)
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = [tuple(x.shape[1:3])]
    for block in [block for stage in network.stages for block in stage]:
        x = block(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [
        *((32, 112), (64, 112), (128, 56), (128, 56), (256, 28), (256, 28)),
        *[(512, 14)] * 6,
        *((1024, 7), (1024, 7)),
    ]


def test_there_are_28_layers_and_13_depthwise_ones():
    """Section 3.2: 28 layers, counting depthwise and pointwise convolutions as separate ones."""
    convolutions = [m for m in on_meta("mobilenet_v1").modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 28
    assert sum(conv.groups > 1 for conv in convolutions) == 13


def test_1x1_convolutions_do_95_percent_of_the_work():
    """The paper's Table 2: 94.86 % of the multiply-adds."""
    work = {}

    def count(conv, _, output):
        kind = "1x1" if conv.kernel_size == (1, 1) else "other"
        work[kind] = work.get(kind, 0) + output[0].numel() * conv.weight[0].numel()

    network = on_meta("mobilenet_v1")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.empty(1, 3, 224, 224, device="meta"))
    assert 100 * work["1x1"] / (sum(work.values()) + 1024 * 1000) == pytest.approx(94.86, abs=0.01)


def test_a_width_is_an_option_and_a_name():
    for name, width in WIDTHS.items():
        named, asked = on_meta(name), on_meta("mobilenet_v1", width=width)
        assert [tuple(w.shape) for w in named.parameters()] == [tuple(w.shape) for w in asked.parameters()]
        assert named.head.num_features == int(1024 * width)
    assert on_meta("mobilenet_v1", width=0.01).head.num_features == 10
    assert on_meta("mobilenet_v1", width=0.01).stem.conv.out_channels == 8  # never fewer
    with pytest.raises(ModelError, match="width is 5"):
        on_meta("mobilenet_v1", width=5)


def test_each_departure_is_there():
    network = on_meta("mobilenet_v1")
    assert departures(network) == ["activation", "last block", "dropout", "norm statistics"]
    activations = [m for m in network.modules() if isinstance(m, nn.ReLU | nn.ReLU6)]
    assert len(activations) == 27
    assert all(isinstance(activation, nn.ReLU6) for activation in activations)
    assert network.stages[-1][-1].depthwise.conv.stride == (1, 1)
    assert network.head.dropout.p == 0.001
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_same_padding_changes_strided_convolutions_only():
    network = on_meta("mobilenet_v1", padding="same")
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 5
    assert sum(isinstance(module, SameConv2d) for module in network.modules()) == 5
    assert all(isinstance(module, SameConv2d) for module in strided)
    assert departures(network)[-1] == "padding"


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_small", "efficientnet_b0", "xception"])
def test_another_epsilon_is_a_departure(name):
    network = on_meta(name, norm_eps=1e-5)
    assert departures(network)[-1] == "norm epsilon"
    assert "norm epsilon" not in departures(on_meta(name))
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    with pytest.raises(ModelError, match="norm_eps is 0, expected above 0"):
        on_meta(name, norm_eps=0)
    with pytest.raises(ModelError, match="padding is 'valid', expected 'symmetric' or 'same'"):
        on_meta(name, padding="valid")


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(
    "name", ["mobilenet_v1", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "xception"]
)
def test_the_small_stem_keeps_small_pictures_large(name, padding):
    network = on_meta(name, small_stem=True, num_classes=10, padding=padding)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network.smallest_input == 9
    assert network.stages(network.stem(torch.empty(1, 3, 9, 9, device="meta"))).shape[2:] == (2, 2)
    assert network(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 10)
    assert "stem" in departures(network)
    assert "stem" not in departures(on_meta(name))
