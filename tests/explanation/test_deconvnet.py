"""The deconvnet is the adjoint that the paper states; what the paper leaves open is as `descent` says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from casebook.errors import ModelError
from casebook.explanation.deconvnet import class_gradient, project


def rectify(signal: Tensor) -> Tensor:
    return signal.clamp(min=0)


class ByHand(nn.Module):
    """Convolution, ReLU, max pooling; strided and grouped convolution, ReLU, max pooling; convolution, ReLU."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=2)
        self.conv3 = nn.Conv2d(12, 5, 2)
        self.relu = nn.ReLU(inplace=True)  # shared by all layers, and in place
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.relu(self.conv3(x))

    def switches(self, image: Tensor) -> tuple[Tensor, list]:
        x, one = functional.max_pool2d(self.conv1(image).relu(), 2, return_indices=True)
        x, two = functional.max_pool2d(self.conv2(x).relu(), 2, return_indices=True)
        return self.conv3(x).relu(), [one, two]

    def down(self, signal: Tensor, switches: list, rule: Callable[[Tensor, str], Tensor]) -> Tensor:
        """Zeiler and Fergus, section 2.1, from the top: rectify, filter transposed, unpool, rectify, ..."""
        signal = functional.conv_transpose2d(rule(signal, "conv3"), self.conv3.weight)
        signal = functional.max_unpool2d(signal, switches[1], 2, output_size=(8, 8))
        signal = functional.conv_transpose2d(
            rule(signal, "conv2"), self.conv2.weight, stride=2, padding=1, output_padding=1, groups=2
        )
        signal = functional.max_unpool2d(signal, switches[0], 2, output_size=(32, 32))
        return functional.conv_transpose2d(rule(signal, "conv1"), self.conv1.weight, padding=1)

    def open(self, image: Tensor) -> dict[str, Tensor]:
        """Where each layer's ReLU lets something through."""
        one = self.conv1(image)
        two = self.conv2(functional.max_pool2d(one.relu(), 2))
        three = self.conv3(functional.max_pool2d(two.relu(), 2))
        return {"conv1": one > 0, "conv2": two > 0, "conv3": three > 0}


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def expected(network: ByHand, image: Tensor, channel: int, rule: str, *, whole_map: bool = False) -> Tensor:
    top, switches = network.switches(image)
    begins = top[0, channel] if rule == "deconvnet" else (top[0, channel] > 0).float()
    signal = torch.zeros_like(top)
    if whole_map:
        signal[0, channel] = begins
    else:
        row, column = divmod(int(top[0, channel].argmax()), top.shape[3])
        signal[0, channel, row, column] = begins[row, column]
    opened = network.open(image)
    rules = {
        "deconvnet": lambda signal, layer: rectify(signal),
        "guided": lambda signal, layer: rectify(signal) * opened[layer],
        "gradient": lambda signal, layer: signal * opened[layer],
    }
    return network.down(signal, switches, rules[rule])[0]


@pytest.mark.parametrize("whole_map", [False, True], ids=["strongest", "whole map"])
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_it_is_the_stated_adjoint(untouched, image, rule, whole_map) -> None:
    network = ByHand().train()
    untouched(network)
    found = project(network, image, "relu", [0, 1, 2, 3, 4], rule=rule, whole_map=whole_map)
    assert any(np.abs(projection.pattern).max() > 1e-3 for projection in found)
    for channel, projection in enumerate(found):
        by_hand = expected(network, image, channel, rule, whole_map=whole_map)
        assert projection.channel == channel
        np.testing.assert_allclose(projection.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


def test_the_three_rules_differ(image) -> None:
    network = ByHand()
    patterns = [
        project(network, image, "relu", [1], rule=rule)[0].pattern for rule in ("deconvnet", "guided", "gradient")
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(patterns[first], patterns[second], rtol=0.01, atol=1e-4)


def test_without_channels_the_strongest_come_first(image) -> None:
    network = ByHand().eval()
    strongest = network.switches(image)[0][0].flatten(1).max(1).values
    found = project(network, image, "relu", num_channels=3)
    assert [projection.channel for projection in found] == strongest.argsort(descending=True)[:3].tolist()
    assert [projection.activation for projection in found] == pytest.approx(
        strongest.sort().values.flip(0)[:3].tolist()
    )


def test_a_silent_channel_gives_nothing(image) -> None:
    network = ByHand()
    with torch.no_grad():
        network.conv3.bias[2] = -1e3  # type: ignore[index]
    silent = project(network, image, "conv3", [2])[0]
    assert silent.activation < 0
    assert not silent.pattern.any()


def test_windows_of_overlapping_pooling_add_up() -> None:
    """3x3 with stride 2: a pixel that wins in several windows gets the sum of their signals."""
    pixels = torch.zeros(1, 1, 7, 7)
    pixels[0, 0, 2, 2] = 5  # the largest of four windows
    network = nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 3, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.arange(1.0, 10).view(1, 1, 3, 3))
    found = project(network, pixels, "1", [0])[0]
    activation = 5 * (1 + 2 + 4 + 5)
    assert found.activation == activation
    assert found.pattern[0, 2, 2] == activation * (1 + 2 + 4 + 5)


def test_a_batch_norm_is_part_of_the_filter_before_it(image) -> None:
    torch.manual_seed(1)
    conv, norm = nn.Conv2d(3, 6, 5, stride=2, bias=False), nn.BatchNorm2d(6)
    norm.running_mean.normal_(), norm.running_var.uniform_(0.2, 3)  # type: ignore[union-attr]
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    folded = nn.Conv2d(3, 6, 5, stride=2)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
    with torch.no_grad():
        folded.weight.copy_(conv.weight * scale[:, None, None, None])
        folded.bias.copy_(norm.bias - norm.running_mean * scale)  # type: ignore[union-attr, operator]
    last = nn.Conv2d(6, 4, 3)
    found = project(nn.Sequential(conv, norm, nn.ReLU(), last), image, "3", [0, 3])
    same = project(nn.Sequential(folded, nn.ReLU(), last), image, "2", [0, 3])
    for one, other in zip(found, same, strict=True):
        np.testing.assert_allclose(one.pattern, other.pattern, rtol=1e-4, atol=1e-6)


class Written(nn.Module):
    """conv, activation, conv, activation, conv, with the activation written in a given way."""

    def __init__(self, activate: Callable[[Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(2)
        self.convs = nn.ModuleList([nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.Conv2d(6, 4, 3)])
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.convs
        return third(self.activate(second(self.activate(first(x)))))


def ignored(x: Tensor) -> Tensor:
    functional.relu_(x)
    return x


@pytest.mark.parametrize(
    "activate",
    [
        *(functional.relu, torch.relu, Tensor.relu, functional.relu_, Tensor.relu_, torch.relu_, ignored),
        *(nn.ReLU(), nn.ReLU(inplace=True), lambda x: functional.relu(x, inplace=True), lambda x: x.clamp(min=0)),
        *(lambda x: functional.relu(input=x), lambda x: torch.clamp_min(x, 0), lambda x: functional.threshold(x, 0, 0)),
        *(lambda x: functional.leaky_relu(x, 0.0), lambda x: functional.hardtanh(x, 0.0, 1e9)),
    ],
    ids=range(16),
)
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_however_the_activation_is_written(untouched, image, rule, activate) -> None:
    network, plain = Written(activate), Written(nn.ReLU())
    untouched(network)
    found = project(network, image, "convs.2", [1, 2], rule=rule)
    for one, other in zip(found, project(plain, image, "convs.2", [1, 2], rule=rule), strict=True):
        assert other.pattern.any()
        np.testing.assert_allclose(one.pattern, other.pattern, rtol=1e-5, atol=1e-7)


ONE_SIDED = {
    "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish, "gelu": nn.GELU, "elu": nn.ELU,
    "leaky": nn.LeakyReLU, "softplus": nn.Softplus, "sigmoid": nn.Sigmoid, "mish": nn.Mish,
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_SIDED)
def test_every_activation_with_one_side_rectifies(image, name) -> None:
    network = Written(ONE_SIDED[name]())
    found = project(network, image, "convs.2", [2], whole_map=True)[0]
    with torch.no_grad():
        top = network(image)
        signal = torch.zeros_like(top)
        signal[0, 2] = rectify(top[0, 2])
        first, second, third = (conv.weight for conv in network.convs)
        signal = rectify(functional.conv_transpose2d(signal, third))
        signal = rectify(functional.conv_transpose2d(signal, second, padding=1, groups=3))
        by_hand = functional.conv_transpose2d(signal, first)[0]
    assert by_hand.any()
    np.testing.assert_allclose(found.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activate", [nn.Tanh(), torch.tanh, nn.Softsign(), nn.Hardtanh()], ids=range(4))
def test_an_activation_with_two_sides_lets_the_signal_pass(image, activate) -> None:
    network = Written(activate)
    found = project(network, image, "convs.2", [2], whole_map=True)[0]
    with torch.no_grad():
        top = network(image)
        signal = torch.zeros_like(top)
        signal[0, 2] = rectify(top[0, 2])
        first, second, third = (conv.weight for conv in network.convs)
        signal = functional.conv_transpose2d(functional.conv_transpose2d(signal, third), second, padding=1, groups=3)
        by_hand = functional.conv_transpose2d(signal, first)[0]
    assert by_hand.any()
    np.testing.assert_allclose(found.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


class Gated(nn.Module):
    """conv, then channels times a gate that their own means decide, then conv."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.inner, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 3)
        self.product = product

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.inner(functional.adaptive_avg_pool2d(x, 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(self.product(x, self.gate(x)))


PRODUCTS = [
    *(lambda x, g: x * g, lambda x, g: g * x, torch.mul, lambda x, g: torch.mul(g, x), lambda x, g: x.mul_(g)),
    lambda x, g: x * g.expand_as(x),
]


@pytest.mark.parametrize("product", PRODUCTS, ids=range(6))
def test_a_gate_is_held_as_it_was(image, product) -> None:
    network = Gated(product)
    found = project(network, image, "last", [1])[0]
    with torch.no_grad():
        signal = torch.zeros(1, 4, 28, 28)
        row, column = found.position  # type: ignore[misc]
        signal[0, 1, row, column] = found.activation
        signal = functional.conv_transpose2d(signal, network.last.weight) * network.gate(network.conv(image))
        by_hand = functional.conv_transpose2d(signal, network.conv.weight)[0]
    np.testing.assert_allclose(found.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


def test_a_map_times_its_own_sigmoid_is_gated_too(image) -> None:
    """SiLU, written out: no rectification, for there is no activation, only a gate."""
    network = Written(lambda x: x * torch.sigmoid(x))
    found = project(network, image, "convs.2", [2])[0]
    with torch.no_grad():
        first, second, third = network.convs
        one = first(image)
        two = second(one * one.sigmoid())
        signal = torch.zeros(1, 4, 28, 28)
        row, column = found.position  # type: ignore[misc]
        signal[0, 2, row, column] = found.activation
        signal = functional.conv_transpose2d(signal, third.weight) * two.sigmoid()
        signal = functional.conv_transpose2d(signal, second.weight, padding=1, groups=3) * one.sigmoid()
        by_hand = functional.conv_transpose2d(signal, first.weight)[0]
    np.testing.assert_allclose(found.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


def test_the_divisor_of_a_response_norm_is_held_as_it_was(image) -> None:
    torch.manual_seed(5)
    conv, last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
    norm = nn.LocalResponseNorm(5, alpha=0.5, beta=0.75, k=2.0)
    network = nn.Sequential(conv, nn.ReLU(), norm, last)
    found = project(network, image, "3", [1])[0]
    with torch.no_grad():
        x = conv(image).relu()
        assert (x == 0).any()  # where x / norm(x) does not tell the divisor
        squares = functional.pad(x.square(), (0, 0, 0, 0, 2, 2))
        divisor = (2 + 0.5 / 5 * sum(squares[:, i : i + 6] for i in range(5))) ** 0.75
        signal = torch.zeros(1, 4, 28, 28)
        row, column = found.position  # type: ignore[misc]
        signal[0, 1, row, column] = found.activation
        signal = rectify(functional.conv_transpose2d(signal, last.weight) / divisor)
        by_hand = functional.conv_transpose2d(signal, conv.weight)[0]
    np.testing.assert_allclose(found.pattern, by_hand.numpy(), rtol=1e-4, atol=1e-6)


class Joined(nn.Module):
    """Affine: concatenation, addition, average pooling, padding, channels moved, batch norm, a linear end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)
        self.norm, self.mixed = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1, groups=4)
        self.linear = nn.Linear(8, 3)
        self.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.left(x), self.right(x) + self.left(x)], 1)
        x = functional.avg_pool2d(functional.pad(x, (1, 0, 2, 0)), 3, 2)[:, [1, 0, 3, 2, 5, 4, 7, 6]]
        x = x + self.mixed(self.norm(x))
        return self.linear(x.mean((2, 3)))


def test_joins_means_and_moves_are_adjoints(image) -> None:
    """<pattern, d> is the activation times what moving the picture by d adds to it, for an affine network."""
    network = Joined().double().eval()
    image = image.double()
    direction = torch.randn(image.shape, dtype=torch.double, generator=torch.Generator().manual_seed(9))
    for channel in range(3):
        found = project(network, image, "linear", [channel])[0]
        with torch.no_grad():
            step = (network(image + direction) - network(image))[0, channel].item()
        activation = max(found.activation, 0)
        assert float((torch.from_numpy(found.pattern) * direction[0]).sum()) == pytest.approx(
            activation * step, rel=1e-4, abs=1e-5
        )
    assert any(project(network, image, "linear", [c])[0].activation > 0 for c in range(3))


def test_the_class_gradient_is_the_derivative_and_guided_is_not(untouched, image) -> None:
    network = nn.Sequential(ByHand(), nn.Flatten(), nn.Linear(45, 6)).eval()
    untouched(network)
    two = torch.cat([image, image.flip(3)])
    found = class_gradient(network, two, [4, 1])
    leaf = two.clone().requires_grad_()
    logits = network(leaf)
    (derivative,) = torch.autograd.grad(logits[0, 4] + logits[1, 1], leaf)
    np.testing.assert_allclose(found, derivative.numpy(), rtol=1e-5, atol=1e-8)
    for rule in ("guided", "deconvnet"):
        assert not np.allclose(class_gradient(network, two, [4, 1], rule=rule), found, rtol=0.01, atol=1e-4)


def test_what_is_wrong_is_named(untouched, image) -> None:
    network = ByHand()
    untouched(network)
    with pytest.raises(ModelError, match="channel 5 is asked for, but 'relu' has 5 channels, from 0"):
        project(network, image, "relu", [5])
    with pytest.raises(ModelError, match="channel -1 is asked for"):
        project(network, image, "relu", [-1])
    with pytest.raises(ModelError, match="no layer 'conv9'; did you mean 'conv"):
        project(network, image, "conv9")
    with pytest.raises(ModelError, match="the rule is 'smooth', expected deconvnet, guided, gradient"):
        project(network, image, "relu", rule="smooth")
    with pytest.raises(ModelError, match="class 9 is asked for, but the network has 5 outputs"):
        class_gradient(nn.Sequential(network, nn.AdaptiveMaxPool2d(1), nn.Flatten()), image, [9])
    with pytest.raises(ModelError, match=r"images have the shape \(3, 32, 32\)"):
        class_gradient(network, image[0], [0])
