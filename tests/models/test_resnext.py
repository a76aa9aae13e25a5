"""ResNeXt: groups and widths of Table 1, a group seen alone, and the departure."""

import pytest
import torch
from torch import nn

from casebook.models import FAMILIES
from casebook.models.residual_parts import Residual, bottleneck

from .networks import on_meta


@pytest.mark.parametrize("name", FAMILIES["resnext"])
def test_a_name_tells_depth_groups_and_their_width(name):
    depth, template = name.removeprefix("resnext").split("_")
    groups, width = (int(number) for number in template.removesuffix("d").split("x"))
    network = on_meta(name)
    blocks = [module for module in network.modules() if isinstance(module, Residual)]
    assert 3 * len(blocks) + 2 == int(depth)
    for i, stage in enumerate(network.stages):
        for block in stage:
            first, grouped, last = (layer.conv for layer in block.branch)
            assert (first.groups, grouped.groups, last.groups) == (1, groups, 1)
            assert first.out_channels == grouped.out_channels == groups * width * 2**i
            assert last.out_channels == 256 * 2**i
    told = {departure.what for departure in network.departures}
    assert ("groups" in told) == (template == "32x8d")


def test_strides_are_in_the_3x3_convolution():
    network = on_meta("resnext50_32x4d")
    assert {
        module.kernel_size[0]
        for key, module in network.stages.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and "branch" in key
    } == {3}


def test_a_block_is_the_sum_of_its_groups():
    """Figure 3: form (c), a grouped convolution, computes the aggregated branches of form (a)."""
    torch.manual_seed(0)
    block = bottleneck(16, 64, 1, groups=4, group_width=4).double().eval()
    first, grouped, last = block.branch
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    inner, total = first(x), 0
    for i in range(4):
        own = slice(4 * i, 4 * i + 4)
        middle = nn.functional.conv2d(inner[:, own], grouped.conv.weight[own], padding=1)
        middle = torch.relu(middle / (1 + grouped.norm.eps) ** 0.5)  # a fresh norm has mean 0 and variance 1
        total = total + nn.functional.conv2d(middle, last.conv.weight[:, own])
    torch.testing.assert_close(last.norm(total), block.branch(x))


def test_a_zeroed_branch_is_the_identity():
    block = bottleneck(256, 64, 1, groups=32, group_width=4).eval()
    nn.init.zeros_(block.branch[-1].norm.weight)
    x = torch.rand(2, 256, 4, 4)  # not negative, as behind a ReLU
    assert torch.equal(block(x), x)
    assert not torch.equal(block(-x), -x)
