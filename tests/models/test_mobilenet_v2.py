"""MobileNet v2: Table 2, the linear shortcut, widths, and TensorFlow's padding."""

import numpy as np
import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.layers import InvertedResidual, SameConv2d, round_channels
from casebook.models.mobilenet_v2 import WIDTHS

from .networks import on_meta


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_stages_have_the_sizes_of_table_2(padding):
    network = on_meta("mobilenet_v2", padding=padding)
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = [tuple(x.shape[1:3])]
    for stage in network.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [
        *((32, 112), (16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7)),
        (1280, 7),
    ]
    assert [len(stage) for stage in network.stages] == [1, 2, 3, 4, 3, 3, 1, 1]


def test_there_is_no_activation_after_a_projection_or_a_sum():
    network = create_model("mobilenet_v2_035", num_classes=3).eval()
    shortcuts = [module for module in network.modules() if isinstance(module, InvertedResidual)]
    assert len(shortcuts) == 10
    for block in shortcuts:
        nn.init.zeros_(block.branch[-1].norm.weight)
        x = torch.randn(2, block.branch[0].conv.in_channels, 4, 4)  # negative values pass too
        assert torch.equal(block(x), x)
    projections = [block[-1] for stage in network.stages[:-1] for block in stage if isinstance(block, nn.Sequential)]
    assert all(not hasattr(projection, "activation") for projection in projections)


def test_a_width_is_an_option_and_a_name():
    for name, width in WIDTHS.items():
        named, asked = on_meta(name), on_meta("mobilenet_v2", width=width)
        assert [tuple(w.shape) for w in named.parameters()] == [tuple(w.shape) for w in asked.parameters()]
        assert named.head.num_features == max(1280, round_channels(1280 * width))  # never below 1280


def test_a_depth_multiplies_the_blocks_of_each_stage_and_rounds_up():
    lengths = {
        depth: [len(stage) for stage in on_meta("mobilenet_v2", depth=depth).stages] for depth in (0.01, 0.5, 1.2, 2)
    }
    assert lengths == {
        0.01: [1, 1, 1, 1, 1, 1, 1, 1],
        0.5: [1, 1, 2, 2, 2, 2, 1, 1],
        1.2: [2, 3, 4, 5, 4, 4, 2, 1],
        2: [2, 4, 6, 8, 6, 6, 2, 1],
    }


@pytest.mark.parametrize("depth", [0, -1, 4.1, float("nan"), True, "deep"])
def test_an_impossible_depth_is_named(depth):
    with pytest.raises(ModelError, match=rf"depth is {depth!r}, expected above 0 and at most 4"):
        on_meta("mobilenet_v2", depth=depth)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(1, 8), (11.2, 16), (12, 16), (16.8, 16), (20, 24), (19.9, 24), (1792, 1792)]
)
def test_channels_are_multiples_of_eight_and_lose_at_most_a_tenth(channels, rounded):
    assert round_channels(channels) == rounded
    assert rounded % 8 == 0
    assert rounded >= 0.9 * channels


@pytest.mark.parametrize("side", [4, 5, 6, 7, 8, 9])
def test_same_padding_is_tensorflows(side):
    """Against the definition: ceil(side / 2) outputs; zeros in total (outputs - 1) * 2 + 3 - side, fewer before."""
    conv = SameConv2d(1, 1, 3, stride=2, bias=False)
    x = torch.randn(1, 1, side, side)
    outputs = (side + 1) // 2
    total = (outputs - 1) * 2 + 3 - side
    before = total // 2
    padded = np.pad(x[0, 0].numpy(), (before, total - before))
    kernel = conv.weight.detach()[0, 0].numpy()
    expected = [
        [(padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * kernel).sum() for j in range(outputs)] for i in range(outputs)
    ]
    np.testing.assert_allclose(conv(x)[0, 0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_same_padding_changes_strided_convolutions_only():
    network = on_meta("mobilenet_v2", padding="same")
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 5
    assert all(isinstance(module, SameConv2d) for module in strided)
    assert sum(isinstance(module, SameConv2d) for module in network.modules()) == 5
    assert network.state_dict().keys() == on_meta("mobilenet_v2").state_dict().keys()
    assert network.departures[-1].what == "padding"


def test_same_and_symmetric_padding_agree_on_odd_sides_and_differ_on_even_ones():
    torch.manual_seed(0)
    same = create_model("mobilenet_v2_035", num_classes=3, padding="same").eval()
    symmetric = create_model("mobilenet_v2_035", num_classes=3).eval()
    symmetric.load_state_dict(same.state_dict())
    with torch.no_grad():
        odd, even = torch.randn(1, 3, 65, 65), torch.randn(1, 3, 64, 64)  # 65, 33, 17, 9, 5, 3
        assert torch.allclose(same(odd), symmetric(odd), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(same(even), symmetric(even), rtol=1e-2)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_the_small_stem_keeps_small_pictures_large(padding):
    network = on_meta("mobilenet_v2", small_stem=True, num_classes=10, padding=padding)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 10)
    assert "stem" in [departure.what for departure in network.departures]


def test_same_padding_keeps_channels_last():
    network = create_model("mobilenet_v2_035", padding="same").to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    assert network.stem(x).is_contiguous(memory_format=torch.channels_last)


def test_block_expansion_1_has_no_expansion_convolution():
    network = on_meta("mobilenet_v2")
    assert len(network.stages[0][0]) == 2
    assert len(network.stages[1][0]) == 3
    assert "expansion 1" in [departure.what for departure in network.departures]


def test_depthwise_weights_start_as_large_as_their_nine_inputs_want():
    network = create_model("mobilenet_v2_035", num_classes=3)
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 64]
    for conv in depthwise:
        assert conv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.15)
