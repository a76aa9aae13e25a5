"""DenseNets: Table 1, dense connections, dropout, and each departure."""

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.densenet import VARIANTS, DenseLayer
from casebook.models.layers import NormReLU
from casebook.models.temporary import overwriting_activations

from .networks import on_meta

ALL = [*VARIANTS, "densenet_bc_100_12"]


@pytest.mark.parametrize("name", ALL)
def test_a_name_states_the_number_of_layers(name):
    """But 264: the paper's 6, 12, 64 and 48 layers of Table 1 make 265."""
    depth = {"densenet_bc_100_12": 100, "densenet264": 265}.get(name) or int(name.removeprefix("densenet"))
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in on_meta(name).modules()) == depth


@pytest.mark.parametrize(("name", "growth"), [(name, variant.growth) for name, variant in VARIANTS.items()])
def test_stages_have_the_sizes_of_table_1(name, growth):
    network, depths = on_meta(name), VARIANTS[name].depths
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    assert x.shape == (1, 2 * growth, 56, 56)
    channels = 2 * growth
    for stage, depth, side in zip(network.stages, depths, (56, 28, 14, 7), strict=True):
        x = stage(x)
        channels += depth * growth
        assert x.shape == (1, channels, side, side)
        channels //= 2  # the compression of the transition that follows


def test_cifar_stages_have_the_papers_sizes():
    network = on_meta("densenet_bc_100_12")
    x = network.stem(torch.empty(1, 3, 32, 32, device="meta"))
    assert x.shape == (1, 24, 32, 32)
    for stage, shape in zip(network.stages, [(216, 32), (300, 16), (342, 8)], strict=True):
        x = stage(x)
        assert x.shape == (1, shape[0], shape[1], shape[1])


def test_a_layer_keeps_its_input_and_adds_its_growth():
    torch.manual_seed(0)
    layer = DenseLayer(10, 4, dropout=0.0).eval()
    assert [conv.out_channels for conv in layer.modules() if isinstance(conv, nn.Conv2d)] == [16, 4]
    x = torch.randn(2, 10, 5, 5)
    y = layer(x)
    assert y.shape == (2, 14, 5, 5)
    assert torch.equal(y[:, :10], x)
    assert y[:, 10:].min() < 0 < y[:, 10:].max()  # its ReLUs come before its convolutions, not behind


def test_every_layer_sees_what_all_before_it_made():
    """A change in what one layer adds reaches every later one, without passing through those between."""
    torch.manual_seed(0)
    stage = create_model("densenet_bc_100_12").eval().stages[0]
    for layer in list(stage)[1:-1]:
        nn.init.zeros_(layer.branch[1].conv.weight)
    x = torch.randn(1, 24, 8, 8)
    with torch.no_grad():
        before = stage(x)[:, -12:]
        nn.init.zeros_(stage[0].branch[1].conv.weight)
        assert not torch.allclose(stage(x)[:, -12:], before)


@pytest.mark.parametrize("name", ALL)
def test_batch_norm_and_relu_come_before_the_pooling(name):
    network = on_meta(name)
    assert type(network.stages[-1][-1]) is NormReLU
    assert [departure.what for departure in network.departures] == ["last norm"]


def test_dropout_follows_every_convolution_but_the_first():
    network = on_meta("densenet_bc_100_12", dropout=0.2)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.2] * 98
    assert not any(isinstance(module, nn.Dropout) for module in on_meta("densenet_bc_100_12").modules())
    assert network.state_dict().keys() == on_meta("densenet_bc_100_12").state_dict().keys()
    for name in ("densenet121", "densenet_bc_100_12"):
        with pytest.raises(ModelError, match=r"dropout is 1\.5, expected at least 0 and below 1"):
            create_model(name, dropout=1.5)


def test_the_small_stem_keeps_small_pictures_large():
    network = on_meta("densenet121", small_stem=True, num_classes=10)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network.stages(network.stem(torch.empty(1, 3, 16, 16, device="meta"))).shape[2:] == (2, 2)
    assert network.departures[-1].what == "stem"


@pytest.mark.parametrize("name", ["densenet121", "densenet_bc_100_12"])
def test_the_smallest_input_leaves_two_pixels(name):
    network = on_meta(name)
    images = torch.empty(1, 3, network.smallest_input, network.smallest_input, device="meta")
    assert network.stages(network.stem(images)).shape[2:] == (2, 2)
    assert network.stages(network.stem(images[:, :, 1:, 1:])).shape[2:] == (1, 1)


def test_overwriting_its_relus_changes_nothing():
    torch.manual_seed(0)
    network, x = create_model("densenet_bc_100_12").train(), torch.randn(2, 3, 16, 16)
    gradients = []
    for overwrite in (False, True):
        network.zero_grad()
        if overwrite:
            with overwriting_activations(network):
                network(x).square().sum().backward()
        else:
            network(x).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
