"""SE-ResNet-50 and SENet-154: where the weighing is, what it costs, shapes, and each departure."""

import pytest
import torch
from torch import nn

from casebook.models.layers import ConvNorm, SqueezeExcitation
from casebook.models.residual_parts import Residual
from casebook.models.senet import se_bottleneck, senet_bottleneck

from .networks import on_meta


def blocks(network) -> list[Residual]:
    return [module for module in network.modules() if isinstance(module, Residual)]


@pytest.mark.parametrize("name", ["seresnet50", "senet154"])
def test_every_branch_ends_by_weighing_its_channels(name):
    network = on_meta(name)
    for block in blocks(network):
        *_, last, weighing = block.branch
        assert isinstance(weighing, SqueezeExcitation)
        assert weighing.reduce.in_channels == weighing.expand.out_channels == last.conv.out_channels
        assert weighing.reduce.out_channels * 16 == last.conv.out_channels
    assert sum(isinstance(m, SqueezeExcitation) for m in network.modules()) == len(blocks(network))


def test_the_weighing_costs_what_equation_5_says():
    """2/r times the sum of N C^2 over the stages, plus biases; the rest is ResNet-50."""
    extra = sum(w.numel() for w in on_meta("seresnet50").parameters())
    extra -= sum(w.numel() for w in on_meta("resnet50").parameters())
    stages = list(zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    assert extra == sum(n * (2 * c * c // 16 + c + c // 16) for n, c in stages)


def test_the_name_counts_the_layers_of_senet154():
    """Convolutions outside projections and weighings, three of them the stem's, and the linear layer."""
    network = on_meta("senet154")
    layers = [
        key
        for key, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and not any(part in key for part in ("shortcut", "reduce", "expand"))
    ]
    assert len(layers) == 154


def test_the_blocks_of_senet154():
    network = on_meta("senet154")
    assert [len(stage) for stage in network.stages] == [3, 8, 36, 3]
    for i, stage in enumerate(network.stages):
        for j, block in enumerate(stage):
            first, grouped, last, _ = block.branch
            assert (first.conv.out_channels, grouped.conv.out_channels) == (128 * 2**i, 256 * 2**i)
            assert (last.conv.out_channels, grouped.conv.groups) == (256 * 2**i, 64)
            assert grouped.conv.stride == ((2, 2) if i and not j else (1, 1))
            if j:
                assert isinstance(block.shortcut, nn.Identity)
            else:
                assert isinstance(block.shortcut, ConvNorm)
                assert block.shortcut.conv.kernel_size == ((3, 3) if i else (1, 1))
    assert network.head.dropout.p == 0.2


def test_the_stem_of_senet154_rounds_up():
    network = on_meta("senet154")
    assert network.stem(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 128, 56, 56)
    assert network.stem[:3](torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 128, 112, 112)
    last = network.stages(network.stem(torch.empty(1, 3, 35, 35, device="meta")))
    assert last.shape[2:] == (2, 2)
    assert network.stages(network.stem(torch.empty(1, 3, 34, 34, device="meta"))).shape[2:] == (1, 1)


@pytest.mark.parametrize(("block", "channels"), [(se_bottleneck, 256), (senet_bottleneck, 256)])
def test_a_zeroed_branch_is_the_identity_and_a_closed_gate_too(block, channels):
    for close in (False, True):
        built = block(channels, 64, 1).eval()
        x = torch.rand(2, channels, 4, 4)  # not negative, as behind a ReLU
        assert not torch.equal(built(x), x)
        if close:
            nn.init.zeros_(built.branch[-1].expand.weight)
            nn.init.constant_(built.branch[-1].expand.bias, -200.0)
        else:
            nn.init.zeros_(built.branch[-2].norm.weight)
        assert torch.equal(built(x), x)


def test_where_seresnet50_strides():
    network = on_meta("seresnet50")
    assert {
        module.kernel_size[0]
        for key, module in network.stages.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and "branch" in key
    } == {3}
    assert [departure.what for departure in network.departures] == ["bottleneck stride", "input"]
    assert [departure.what for departure in on_meta("senet154").departures] == ["input"]


@pytest.mark.parametrize("name", ["seresnet50", "senet154"])
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True, num_classes=10)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 10)
    assert network.departures[-1].what == "stem"
