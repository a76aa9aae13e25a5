"""MobileNet v3: Tables 1 and 2, where it squeezes and which activation it has, the head, and timm's other builds."""

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.models.layers import InvertedResidual, SameConv2d, SqueezeExcitation
from casebook.models.layouts import peers, to_layout

from .networks import on_meta


def blocks_of(network):
    return [block for stage in network.stages[:-1] for block in stage]


@pytest.mark.parametrize(
    ("name", "sizes", "squeezing", "first_hard_swish"),
    [
        (
            "mobilenet_v3_large",
            [(16, 112), (24, 56), (24, 56), (40, 28), (40, 28), (40, 28)]
            + [(80, 14)] * 4
            + [(112, 14)] * 2
            + [(160, 7)] * 3,
            {3, 4, 5, 10, 11, 12, 13, 14},
            6,
        ),
        (
            "mobilenet_v3_small",
            [(16, 56), (24, 28), (24, 28)] + [(40, 14)] * 3 + [(48, 14)] * 2 + [(96, 7)] * 3,
            {0, 3, 4, 5, 6, 7, 8, 9, 10},
            3,
        ),
    ],
)
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_blocks_are_those_of_the_tables(name, sizes, squeezing, first_hard_swish, padding):
    network = on_meta(name, padding=padding)
    x, found = network.stem(torch.empty(1, 3, 224, 224, device="meta")), []
    assert x.shape[1:] == (16, 112, 112)
    for i, block in enumerate(blocks_of(network)):
        x = block(x)
        found.append((x.shape[1], x.shape[2]))
        squeezes = any(isinstance(module, SqueezeExcitation) for module in block.modules())
        assert squeezes == (i in squeezing)
        activations = {type(m) for key, m in block.named_modules() if key.endswith("depthwise.activation")}
        assert activations == {nn.Hardswish if i >= first_hard_swish else nn.ReLU}
    assert found == sizes


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
def test_it_squeezes_to_a_quarter_of_the_expansion_and_gates_hard(name):
    for module in on_meta(name).modules():
        if isinstance(module, SqueezeExcitation):
            wide, narrow = module.expand.out_channels, module.reduce.out_channels
            assert narrow % 8 == 0
            assert 0.9 * wide / 4 <= narrow <= max(8, wide / 4 + 8)
            assert isinstance(module.gate, nn.Hardsigmoid)
            assert isinstance(module.activation, nn.ReLU)


def test_a_zeroed_branch_is_the_identity():
    network = create_model("mobilenet_v3_small", num_classes=3).eval()
    shortcuts = [module for module in network.modules() if isinstance(module, InvertedResidual)]
    assert len(shortcuts) == 6
    for block in shortcuts:
        nn.init.zeros_(block.branch.project.norm.weight)
        x = torch.randn(2, block.branch.project.conv.out_channels, 4, 4)
        assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("name", "pooled", "hidden"), [("mobilenet_v3_small", 576, 1024), ("mobilenet_v3_large", 960, 1280)]
)
def test_the_hidden_layer_belongs_to_the_head(name, pooled, hidden):
    network = on_meta(name)
    assert network.stages[-1][0].conv.out_channels == pooled
    assert (network.head.pool.hidden.in_features, network.head.pool.hidden.out_features) == (pooled, hidden)
    assert network.head.num_features == hidden
    features = network.head.features(torch.empty(2, pooled, 7, 7, device="meta"))
    assert features.shape == (2, hidden)


def test_each_departure_is_there():
    network = create_model("mobilenet_v3_small", num_classes=3)
    assert [departure.what for departure in network.departures] == ["initialisation", "dropout"]
    assert network.head.dropout.p == 0.2
    hidden = network.head.pool.hidden
    assert hidden.weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    depthwise = network.stages[4][2].branch.depthwise.conv
    assert depthwise.weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}
    same = on_meta("mobilenet_v3_small", padding="same")
    strided = [m for m in same.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 5
    assert all(isinstance(conv, SameConv2d) for conv in strided)
    assert same.departures[-1].what == "padding"


@pytest.mark.peers
@pytest.mark.usefixtures("operators")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
        ("mobilenet_v3_large", "mobilenetv3_large_100"),
        ("efficientnet_b0", "efficientnet_b0"),
    ],
)
def test_timms_builds_with_pytorchs_padding_are_ours_with_another_epsilon(name, theirs):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    ours, peer = create_model(name, norm_eps=1e-5).double().eval(), timm.create_model(theirs).double().eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    peer.load_state_dict(to_layout(ours.state_dict(), name, "timm"))
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert (ours(x) - peer(x)).abs().max() <= 1e-8 * peer(x).abs().max()
    assert "padding" in peers(name)["timm"].options
