"""EfficientNet: Table 1, compound scaling, squeeze widths, stochastic depth, and each departure."""

import math

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model, list_models, model_card
from casebook.models.efficientnet import ALPHA, BETA, GAMMA, SCALES, STAGES
from casebook.models.layers import DropPath, InvertedResidual, SameConv2d, SqueezeExcitation

from .networks import on_meta


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_stages_have_the_sizes_of_table_1(padding):
    network = on_meta("efficientnet_b0", padding=padding)
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = [tuple(x.shape[1:3])]
    for stage in network.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [
        *((32, 112), (16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (192, 7), (320, 7)),
        (1280, 7),
    ]
    assert [len(stage) for stage in network.stages] == [1, 2, 2, 3, 3, 4, 1, 1]
    kernels = [stage[0].depthwise.conv.kernel_size[0] for stage in network.stages[:-1]]
    assert kernels == [3, 3, 5, 3, 5, 5, 3]


@pytest.mark.parametrize("name", list_models("efficientnet"))
def test_a_variant_is_b0_scaled(name):
    scale, network = SCALES[name], on_meta(name)
    assert model_card(name).input_size == scale.resolution
    assert network.head.dropout.p == scale.dropout
    assert [len(stage) for stage in network.stages[:-1]] == [math.ceil(row.depth * scale.depth) for row in STAGES]
    for stage, row in zip(network.stages, STAGES, strict=False):
        (project, *_) = [m for key, m in stage.named_modules() if key.endswith("project.conv")]
        channels = project.out_channels
        assert channels % 8 == 0
        assert channels / (row.channels * scale.width) >= 0.9
        assert channels - row.channels * scale.width < 8
    asked = on_meta("efficientnet_b0", width=scale.width, depth=scale.depth)
    assert [tuple(w.shape) for w in asked.parameters()] == [tuple(w.shape) for w in network.parameters()]


def test_one_step_of_the_compound_coefficient_about_doubles_the_work():
    """Equation 3: alpha * beta^2 * gamma^2 is about 2."""
    factor = ALPHA * BETA**2 * GAMMA**2
    assert factor == pytest.approx(1.92, abs=0.001)


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 5}, {"drop_path": 1}, {"drop_path": -0.1}])
def test_impossible_scales(options):
    (option,) = options
    with pytest.raises(ModelError, match=rf"{option} is {options[option]}, expected"):
        on_meta("efficientnet_b0", **options)


def test_it_squeezes_to_a_quarter_of_the_blocks_input():
    network = on_meta("efficientnet_b0")
    channels = 32
    for block in [block for stage in network.stages[:-1] for block in stage]:
        branch = block.branch if isinstance(block, InvertedResidual) else block
        assert branch.excitation.reduce.out_channels == channels // 4
        assert isinstance(branch.excitation.activation, nn.SiLU)
        assert isinstance(branch.excitation.gate, nn.Sigmoid)
        channels = branch.project.conv.out_channels
    assert sum(isinstance(module, SqueezeExcitation) for module in network.modules()) == 16


def test_blocks_are_dropped_more_the_deeper_they_are():
    network = on_meta("efficientnet_b0", drop_path=0.4)
    blocks = [block for stage in network.stages[:-1] for block in stage]
    for i, block in enumerate(blocks):
        if isinstance(block, InvertedResidual):
            assert block.branch.drop_path.p == pytest.approx(0.4 * i / 16)
        else:
            assert not any(isinstance(module, DropPath) for module in block.modules())
    assert [i for i, block in enumerate(blocks) if isinstance(block, InvertedResidual)] == [
        2,
        4,
        6,
        7,
        9,
        10,
        12,
        13,
        14,
    ]
    usual = [module.p for module in on_meta("efficientnet_b0").modules() if isinstance(module, DropPath)]
    assert max(usual) == pytest.approx(0.2 * 14 / 16)


def test_drop_path_acts_in_training_alone():
    torch.manual_seed(0)
    block = create_model("efficientnet_b0", num_classes=3, drop_path=0.9).stages[5][3]
    x = torch.randn(64, 192, 2, 2)
    with torch.no_grad():
        kept = sum(bool((out != picture).any()) for out, picture in zip(block.train()(x), x, strict=True))
        assert 0 < kept < 40  # of 64, each with probability 0.21
        assert all(bool((out != picture).any()) for out, picture in zip(block.eval()(x), x, strict=True))


def test_a_zeroed_branch_is_the_identity():
    network = create_model("efficientnet_b0", num_classes=3).eval()
    for block in [module for module in network.modules() if isinstance(module, InvertedResidual)]:
        nn.init.zeros_(block.branch.project.norm.weight)
        x = torch.randn(2, block.branch.project.conv.out_channels, 4, 4)
        assert torch.equal(block(x), x)


def test_weights_start_as_in_the_authors_code_but_for_the_last_layer():
    network = create_model("efficientnet_b0", num_classes=4)
    assert [departure.what for departure in network.departures] == ["initialisation of the last layer"]
    branch = network.stages[5][2].branch
    assert branch.expand.conv.weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.02)
    assert branch.depthwise.conv.weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    assert branch.excitation.expand.weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.02)
    assert branch.excitation.expand.bias.abs().max() == 0
    assert network.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)  # not 0.5 / sqrt(3)
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_same_padding_changes_strided_convolutions_only():
    network = on_meta("efficientnet_b0", padding="same")
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 5
    assert all(isinstance(conv, SameConv2d) for conv in strided)
    assert sum(isinstance(module, SameConv2d) for module in network.modules()) == 5
    assert network.departures[-1].what == "padding"
