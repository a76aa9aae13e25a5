"""Wide ResNets: depth by formula, widths, identity of zeroed branches, dropout in the branch, and departures."""

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.residual_parts import PreActivated, Residual
from casebook.models.wide_resnet import WideResNet

from .networks import on_meta


# The paper's Table 4 rounds the last two; the first is WRN-28-10 on CIFAR-100.
@pytest.mark.parametrize(
    ("depth", "widening", "num_classes", "parameters"),
    [(28, 10, 100, 36_536_884), (16, 8, 10, 10_961_370), (40, 4, 10, 8_949_210)],
)
def test_other_depths_and_widths_count_as_in_outside_builds(depth, widening, num_classes, parameters):
    with torch.device("meta"):
        network = WideResNet(depth, widening, num_classes=num_classes)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    convolutions = [key for key, m in network.named_modules() if isinstance(m, nn.Conv2d) and "shortcut" not in key]
    assert len(convolutions) == depth - 3  # the paper counts the three projections
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == depth


def test_wrn_has_the_sizes_of_table_1():
    network = on_meta("wrn28_10")
    x = network.stem(torch.empty(1, 3, 32, 32, device="meta"))
    for stage, shape in zip(network.stages, [(160, 32), (320, 16), (640, 8)], strict=True):
        x = stage(x)
        assert tuple(x.shape[1:]) == (shape[0], shape[1], shape[1])


def test_a_zeroed_branch_of_wrn_is_exactly_the_identity():
    network = WideResNet(10, 1).eval()
    blocks = [module for module in WideResNet(16, 2).eval().modules() if isinstance(module, PreActivated)]
    same_shape = [block for block in blocks if isinstance(block.shortcut, nn.Identity)]
    assert len(same_shape) == 3
    for block in same_shape:
        x = torch.randn(2, block.preactivation.norm.num_features, 4, 4)
        nn.init.zeros_(block.branch[-1].weight)
        assert torch.equal(block(x), x)
    assert (network.stages(network.stem(torch.randn(2, 3, 8, 8))) >= 0).all()


def test_dropout_is_between_the_convolutions_and_only_in_training():
    network = WideResNet(10, 1, branch_dropout=0.3)
    block = network.stages[0][0]
    assert [type(module).__name__ for module in block.branch] == ["ConvNormReLU", "Dropout", "Conv2d"]
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.3}
    x = torch.randn(2, 16, 8, 8)
    inner = block.branch[1](torch.ones(10_000))
    assert (inner == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(network.eval().stages(x), network.stages(x))
    assert {m.p for m in on_meta("wrn28_10").modules() if isinstance(m, nn.Dropout)} == {0.0}
    assert {m.p for m in on_meta("wrn28_10", branch_dropout=0.3).modules() if isinstance(m, nn.Dropout)} == {0.3}
    with pytest.raises(ModelError, match="branch_dropout is 1, expected"):
        create_model("wrn28_10", branch_dropout=1)


def test_wrn_convolutions_start_with_variance_2_over_fan_in():
    for module in WideResNet(10, 4).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
            assert module.weight.std().item() == pytest.approx((2 / module.weight[0].numel()) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("name", "depth"), [("wide_resnet50_2", 50), ("wide_resnet101_2", 101)])
def test_only_the_inner_channels_are_doubled(name, depth):
    network, plain = on_meta(name), on_meta(f"resnet{depth}")
    pairs = [
        (wide, usual)
        for wide, usual in zip(network.modules(), plain.modules(), strict=True)
        if isinstance(wide, Residual)
    ]
    assert 3 * len(pairs) + 2 == depth
    for wide, usual in pairs:
        widths, usuals = ([layer.conv.out_channels for layer in block.branch] for block in (wide, usual))
        assert widths == [2 * usuals[0], 2 * usuals[1], usuals[2]]
    assert any(departure.what == "depth" for departure in network.departures) == (depth == 101)
