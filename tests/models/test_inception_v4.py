"""Inception v4 and Inception-ResNet v2: sizes of the grids, what a residual does, and each departure."""

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.models.inception_v4 import ScaledResidual
from casebook.models.layers import ConvNormReLU
from casebook.models.layouts import peers

from .networks import block_shapes, departures, on_meta

NAMES = ("inception_v4", "inception_resnet_v2")


def test_v4_has_the_papers_grids():
    network = on_meta("inception_v4")
    x, stem = torch.empty(1, 3, 299, 299, device="meta"), []
    for layer in network.stem:
        x = layer(x)
        stem.append((x.shape[1], x.shape[2]))
    assert stem == [(32, 149), (32, 147), (64, 147), (160, 73), (192, 71), (384, 35)]
    assert block_shapes(network, 299) == [
        *((f"inception5{letter}", 384, 35) for letter in "bcde"),
        *((f"inception6{letter}", 1024, 17) for letter in "abcdefgh"),
        *((f"inception7{letter}", 1536, 8) for letter in "abcd"),
    ]


def test_v4_goes_down_before_across_in_the_longest_branch():
    network = on_meta("inception_v4")
    branch = dict(network.stages[1].named_children())["inception6b"].branch2
    assert [unit.conv.kernel_size for unit in branch] == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    assert set(departures(network)) == {"17x17 modules"}


def test_inception_resnet_has_its_codes_grids():
    network = on_meta("inception_resnet_v2")
    found = block_shapes(network, 299)
    assert found[0] == ("inception5b", 320, 35)
    assert [part[1:] for part in found] == [(320, 35)] * 11 + [(1088, 17)] * 21 + [(2080, 8)] * 11 + [(1536, 8)]
    scales = [module.scale for module in network.modules() if isinstance(module, ScaledResidual)]
    assert scales == [0.17] * 10 + [0.1] * 20 + [0.2] * 9 + [1.0]
    assert {"stem", "depth", "channels", "last module"} == set(departures(network))


def test_only_the_last_residual_module_ends_without_relu():
    modules = [m for m in on_meta("inception_resnet_v2").modules() if isinstance(m, ScaledResidual)]
    assert [isinstance(m.activation, nn.ReLU) for m in modules] == [True] * 39 + [False]
    assert [m.owns_activation_input for m in modules] == [True] * 39 + [False]
    for module in modules:
        assert module.branch[1].bias is not None


def test_a_residual_is_scaled_and_added():
    double = ScaledResidual(nn.ReLU(), 0.5, nn.Identity())
    assert double(torch.tensor([2.0, -2.0])).tolist() == [3, -2]
    block = create_model("inception_resnet_v2", num_classes=2, small_stem=True).eval().stages[0].residual1
    nn.init.zeros_(block.branch[1].weight)
    x = torch.rand(2, 320, 4, 4)
    assert torch.equal(block(x), x)
    assert not torch.equal(block(-x), -x)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True, num_classes=10)
    assert network.stem(torch.empty(1, 3, 32, 32, device="meta")).shape[2:] == (32, 32)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (7, 7)
    side = network.smallest_input
    assert network(torch.empty(2, 3, side, side, device="meta")).shape == (2, 10)
    assert network.stages(network.stem(torch.empty(1, 3, side, side, device="meta"))).shape[2:] == (2, 2)
    assert network.departures[-1].why.startswith("small pictures")


@pytest.mark.parametrize("name", NAMES)
def test_epsilon_of_the_norms(name):
    units = [module for module in on_meta(name).modules() if isinstance(module, ConvNormReLU)]
    assert {unit.norm.eps for unit in units} == {1e-3}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stages.0.inception5b.branch0.norm.running_var", "batch_normalization_5/moving_variance"),
        ("stages.1.residual20.branch.1.bias", "block17_20_conv/bias"),
        ("stages.2.residual10.branch.0.branch1.2.conv.weight", "conv2d_202/kernel"),
        ("stages.2.conv7b.norm.running_mean", "conv_7b_bn/moving_mean"),
    ],
)
def test_some_names_in_keras(ours, theirs):
    """203 convolutions without a name of their own, numbered from 0 in the order in which they are made."""
    rename = peers("inception_resnet_v2")["keras"].rename
    assert rename(ours) == theirs
    keys = on_meta("inception_resnet_v2").state_dict().keys()
    assert ours in keys
    assert len({rename(key) for key in keys}) == len(keys)
