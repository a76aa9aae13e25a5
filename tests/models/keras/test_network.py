"""A network as a Keras model: the same logits, the same number of weights, and a file that needs nothing of ours."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import FAMILIES, create_model, model_card
from casebook.models.keras.network import to_keras

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

# The smallest network of each family, and those with a part that no smallest one has.
SMALLEST = [min(names, key=lambda name: model_card(name).parameters) for names in FAMILIES.values()]
NAMES = sorted({*SMALLEST, "lenet5", "alexnet_owt", "inception_v3", "resnet50_v1", "resnet50_v2_keras", "plain20"})
SAVED = [name for name in NAMES if model_card(name).parameters < 10_000_000]


def with_statistics(name: str) -> nn.Module:
    """A network whose batch norms have statistics that are not the initial ones."""
    torch.manual_seed(0)
    network = create_model(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def side_of(name: str) -> int:
    """The card's size where fully connected layers want it, else a smaller one."""
    card = model_card(name)
    if card.fixed_input or card.family in ("alexnet", "zfnet", "vgg"):
        return card.input_size
    return max(card.smallest_input, min(64, card.input_size))


def difference(network: nn.Module, model, images: torch.Tensor) -> float:
    """The largest of the outputs, by the largest output."""
    with torch.no_grad():
        expected = network(images)
    found = np.asarray(model.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0))
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert expected.std() > 0
    return float(np.abs(found - expected.numpy()).max() / expected.abs().max())


def images(channels: int, *sides: int) -> torch.Tensor:
    return torch.randn(3, channels, sides[0], sides[-1], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_weights_are_the_networks(name, keras, record_property):
    network, side = with_statistics(name), side_of(name)
    model = to_keras(network, side)
    worst = difference(network, model, images(network.in_channels, side))
    record_property("difference", worst)
    print(f"\n{name} {side}: {worst:.1e}")
    assert worst <= 1e-4
    assert model.name == name
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("name", SAVED)
def test_saved_and_loaded_it_is_the_same(name, keras, tmp_path):
    network, side = with_statistics(name), side_of(name)
    to_keras(network, side).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")  # in the safe mode, which runs no code of the file
    assert difference(network, again, images(network.in_channels, side)) <= 1e-4


class Pooled(nn.Module):
    """One pooling of something that is below zero in places."""

    def __init__(self, pool: nn.Module):
        super().__init__()
        self.pool, self.scale = pool, nn.Parameter(torch.full((3, 1, 1), -2.0))

    def forward(self, x):
        return self.pool(x * self.scale).mean((2, 3))


class Twice(nn.Module):
    """One convolution, used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(torch.relu(self.conv(x))).flatten(1)


class Odd(nn.Module):
    """With an operator of which Keras has no counterpart here."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.inner = nn.Sequential(Sorted())

    def forward(self, x):
        return self.inner(self.conv(x)).mean((2, 3))


class Sorted(nn.Module):
    def forward(self, x):
        return x.cumsum(1)


@pytest.mark.parametrize("side", [12, 13])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 1), (5, 3, 2)]
)
def test_pooling(kernel, stride, padding, side, keras):
    pools = [
        nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=include)
        for ceil, include in itertools.product((False, True), repeat=2)
    ]
    pools += [nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil) for ceil in (False, True)]
    for pool in pools:
        assert difference(Pooled(pool), to_keras(Pooled(pool), side), images(3, side)) <= 1e-5, pool


def test_max_pooling_of_what_is_not_negative_pads_with_zeros(keras):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten())
    model = to_keras(network, 12)
    assert "ZeroPadding2D" in {type(layer).__name__ for layer in model.layers}
    assert difference(network, model, images(3, 12)) <= 1e-5


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 6, (1, 5), padding=(0, 2)),
        nn.Conv2d(3, 6, 3, stride=(2, 1), padding=1, groups=3),
        nn.Conv2d(3, 3, 3, dilation=2, padding=2, groups=3, bias=False),
        nn.Conv2d(3, 6, 3, dilation=2, padding=1),
        nn.Conv2d(3, 6, 5, padding="same"),
    ],
    ids=str,
)
def test_convolutions(conv, keras):
    network = nn.Sequential(conv, nn.Flatten())
    assert difference(network, to_keras(network, (12, 9)), images(3, 12, 9)) <= 1e-5


def test_a_flattened_map_keeps_its_order(keras):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 4 * 6, 7))
    assert difference(network, to_keras(network, (6, 8)), images(3, 6, 8)) <= 1e-5


def test_a_module_called_twice_is_one_layer(keras):
    network = Twice()
    model = to_keras(network, 6)
    assert difference(network, model, images(3, 6)) <= 1e-5
    assert model.count_params() == 3 * 3 * 9 + 3


def test_layers_bear_the_names_of_modules(keras):
    model = to_keras(create_model("resnet18", num_classes=3), 64, name="mine")
    assert model.name == "mine"
    assert model.input_shape == (None, 64, 64, 3)
    assert model.output_shape == (None, 3)
    layer = model.get_layer("stages_1_0_branch_0_conv")
    assert layer.kernel.shape == (3, 3, 64, 128)
    assert model.get_layer("stages_1_0_branch_0_norm").momentum == pytest.approx(0.9)


def test_half_precision_and_training_are_left_as_they_are(keras):
    network = create_model("mobilenet_v2_035", num_classes=3).half().train()
    model = to_keras(network, 64)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert network.training
    assert network.head.classifier.weight.dtype == torch.float16


def test_an_operator_without_counterpart_is_named(keras):
    with pytest.raises(ModelError, match=r"aten\.cumsum\.default in inner\.0 \(Sorted\) has no known counterpart"):
        to_keras(Odd(), 8)


def test_pooling_to_a_grid_that_does_not_divide_is_named(keras):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(7), nn.Flatten())
    with pytest.raises(ModelError, match=r"in 1 \(AdaptiveAvgPool2d\) pools 9x9 to 7x7, expected a multiple"):
        to_keras(network, 9)


def test_a_network_without_card_needs_a_size(keras):
    with pytest.raises(ModelError, match="give to_keras an input_size"):
        to_keras(Twice())


def test_a_network_without_weights_has_nothing_to_give(keras):
    with torch.device("meta"):
        network = create_model("lenet5")
    with pytest.raises(ModelError, match="meta device"):
        to_keras(network)
