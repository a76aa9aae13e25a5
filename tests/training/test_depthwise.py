"""The spread gradient is the gradient."""

import pytest
import torch
from torch import nn

from casebook.device import autocast
from casebook.models import create_model
from casebook.training.depthwise import StridedDepthwise, spreading_gradients

CPU = torch.device("cpu")


@pytest.mark.parametrize(("side", "kernel", "stride", "padding"), [
    (8, 3, 2, 1), (7, 3, 2, 1), (9, 5, 2, 2), (8, 5, 2, 2), (9, 3, 2, 0), (10, 3, 3, 1), (6, 2, 2, 0), (8, 7, 4, 3),
])  # fmt: skip
def test_gradients_against_finite_differences(side, kernel, stride, padding):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, side, side + 1, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, dtype=torch.float64, generator=generator, requires_grad=True)
    steps, around = (stride, stride), (padding, padding)
    assert torch.autograd.gradcheck(lambda x, w: StridedDepthwise.apply(x, w, steps, around), (x, weight))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_network_gets_the_same_gradients(padding):
    torch.manual_seed(0)
    network = create_model("mobilenet_v2_035", num_classes=3, padding=padding).train()
    images = torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last)

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)
        network.zero_grad()
        with autocast(CPU, torch.bfloat16):
            logits = network(images)
        logits.float().square().sum().backward()
        return [weight.grad.clone() for weight in network.parameters()]

    expected = gradients()
    with spreading_gradients(network, CPU, torch.bfloat16):
        changed = [m for m in network.modules() if isinstance(m, nn.Conv2d) and "_conv_forward" in vars(m)]
        found = gradients()
    assert len(changed) == 4
    assert not any("_conv_forward" in vars(module) for module in network.modules())
    difference = sum((a - b).square().sum() for a, b in zip(found, expected, strict=True))
    assert difference <= 1e-3 * sum(a.square().sum() for a in expected)


def test_only_where_it_is_faster():
    network = create_model("mobilenet_v2_035", num_classes=3)
    with spreading_gradients(network, CPU, torch.float32):
        assert not any("_conv_forward" in vars(module) for module in network.modules())
    with pytest.raises(ZeroDivisionError), spreading_gradients(network, CPU, torch.bfloat16):
        1 / 0  # noqa: B018
    assert not any("_conv_forward" in vars(module) for module in network.modules())
