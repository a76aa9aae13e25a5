"""ResNet v2: identity of zeroed branches, the order of norm and convolution, sizes, and each departure."""

import pytest
import torch
from torch import nn

from casebook.models import FAMILIES, create_model
from casebook.models.layers import NormReLU
from casebook.models.residual_parts import PreActivated, Projecting

from .networks import on_meta

NAMES = FAMILIES["resnet_v2"]
KERAS = [name for name in NAMES if name.endswith("keras")]


def blocks(network) -> list[PreActivated]:
    return [module for module in network.modules() if isinstance(module, PreActivated)]


def told(name) -> set[str]:
    return {departure.what for departure in on_meta(name).departures}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_states_the_number_of_layers(name):
    layers = [
        key
        for key, module in on_meta(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in key
    ]
    assert len(layers) == int(name.removeprefix("resnet").split("_")[0])


@pytest.mark.parametrize("name", ["resnet18_v2", "resnet50_v2", "resnet50_v2_keras"])
def test_sizes_of_the_stages(name):
    network = on_meta(name)
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = [tuple(x.shape[1:3])]
    for stage in network.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:3]))
    wide = 1 if name == "resnet18_v2" else 4
    sides = (28, 14, 7, 7) if name in KERAS else (56, 28, 14, 7)
    assert shapes == [(64, 56), *zip((64 * wide, 128 * wide, 256 * wide, 512 * wide), sides, strict=True)]


@pytest.mark.parametrize("name", ["resnet18_v2", "resnet50_v2", "resnet50_v2_keras"])
def test_a_zeroed_branch_is_exactly_the_identity(name):
    """Of any sign: nothing comes after the sum."""
    network = create_model(name, num_classes=3).eval()
    same_shape = [block for block in blocks(network) if isinstance(block.shortcut, nn.Identity)]
    assert len(same_shape) >= len(blocks(network)) - 2 * len(network.stages)
    for block in same_shape:
        x = torch.randn(2, block.preactivation.norm.num_features, 4, 4)
        assert not torch.equal(block(x), x)
        nn.init.zeros_(block.branch[-1].weight)
        assert torch.equal(block(x), x)


def test_a_signal_passes_all_blocks_unchanged_from_projection_to_projection():
    """Equation 4 of the paper: with the branches at zero, a stage is its first block."""
    network = create_model("resnet50_v2", num_classes=3).eval()
    for block in blocks(network):
        nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(2, 256, 8, 8)
    assert torch.equal(network.stages[1](x), network.stages[1][0](x))


@pytest.mark.parametrize("name", ["resnet18_v2", "resnet50_v2", "resnet50_v2_keras"])
def test_only_projections_share_the_activation(name):
    for block in blocks(create_model(name)):
        assert isinstance(block, Projecting) == isinstance(block.shortcut, nn.Conv2d)


def test_a_projection_sees_the_activated_input():
    block = create_model("resnet18_v2").eval().stages[1][0]
    nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(block(x), block.shortcut(block.preactivation(x)))
    assert not torch.allclose(block(x), block.shortcut(x))


@pytest.mark.parametrize("name", NAMES)
def test_the_last_map_is_normalised_and_not_negative(name):
    network = on_meta(name)
    assert isinstance(network.stages[-1].final, NormReLU)
    assert list(network.stages[-1].named_children())[-1][0] == "final"
    assert "first activation" in told(name)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.ReLU) for module in network.stem.modules())
    assert ("depth" in told(name)) == ("152" not in name)


@pytest.mark.parametrize("name", ["resnet50_v2", *KERAS])
def test_where_the_bottleneck_strides(name):
    network = on_meta(name)
    strided = {
        (int(key.split(".")[0]), int(key.split(".")[1]), module.kernel_size[0])
        for key, module in network.stages.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and "branch" in key
    }
    ends = [len(list(stage.children())) - 1 for stage in network.stages]
    if name in KERAS:
        assert strided == {(0, ends[0], 3), (1, ends[1], 3), (2, ends[2], 3)}
        assert all(isinstance(network.stages[i][ends[i]].shortcut, nn.MaxPool2d) for i in range(3))
        assert "strided block" in told(name)
    else:
        assert strided == {(1, 0, 3), (2, 0, 3), (3, 0, 3)}
        assert "bottleneck stride" in told(name)


@pytest.mark.parametrize("name", ["resnet50_v2", "resnet50_v2_keras"])
def test_biases_and_norms_follow_keras_on_request(name):
    network = on_meta(name)
    biased = [key for key, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    norms = {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert bool(biased) == ("biases" in told(name)) == ("norms" in told(name)) == ("pooling" in told(name))
    assert norms == ({(1.001e-5, 0.01)} if biased else {(1e-5, 0.1)})
    if biased:
        assert biased[0] == "stem.0"
        assert sum(key.endswith("branch.2") for key in biased) == len(blocks(network))
        assert sum(key.endswith("shortcut") for key in biased) == len(network.stages) == len(biased) - 1 - 16


def test_the_border_of_the_pool_counts_as_zeros_for_keras():
    x = -torch.ones(1, 64, 4, 4)
    ours, keras = create_model("resnet50_v2").stem[1](x), create_model("resnet50_v2_keras").stem[1](x)
    assert (ours == -1).all()
    assert (keras[..., 0, :] == 0).all()
    assert (keras[..., 1, 1] == -1).all()


@pytest.mark.parametrize("name", ["resnet18_v2", "resnet50_v2_keras"])
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True, num_classes=10)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 10)
    assert network.departures[-1].what == "stem"
