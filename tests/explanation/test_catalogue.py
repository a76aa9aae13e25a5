"""Over the whole catalogue: every network can be looked into, and two ways of doing it agree."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from casebook.explanation.deconvnet import project
from casebook.explanation.descent import descending
from casebook.explanation.grad_cam import grad_cam
from casebook.explanation.watching import stages_of
from casebook.models import list_models
from casebook.models.layers import Network, SqueezeExcitation
from casebook.models.temporary import overwriting_activations

from .conftest import images, with_statistics

# One small network per kind of block, as in tests/models; the others are marked.
SMALL = (
    *("lenet5", "lenet5_1998", "resnet18", "resnet20", "plain20", "mobilenet_v2_035", "nin_cifar", "squeezenet1_1"),
    *("googlenet", "resnet18_v2", "densenet_bc_100_12", "fractalnet20_column", "mobilenet_v1_025"),
    *("mobilenet_v3_small", "efficientnet_b0", "nasnet_mobile", "inception_v2"),
)
NAMES = [pytest.param(name, marks=() if name in SMALL else pytest.mark.full) for name in list_models()]
HELD = (nn.LocalResponseNorm, SqueezeExcitation, nn.Tanh, nn.SiLU, nn.Hardswish)


def with_hooks(network: Network, image: Tensor, layer: str, channel: int) -> np.ndarray:
    """The deconvnet with a backward hook on each ReLU, as far as such hooks go: no gates, no divisors."""
    handles = [
        module.register_full_backward_hook(lambda module, received, signals: (signals[0].clamp(min=0),))
        for module in network.modules()
        if isinstance(module, nn.ReLU | nn.ReLU6)
    ]
    kept: list[Tensor] = []
    handles.append(network.get_submodule(layer).register_forward_hook(lambda module, args, output: kept.append(output)))
    leaf = image.clone().requires_grad_()
    network(leaf * 1)
    for handle in handles[-1:]:
        handle.remove()
    output = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
    signal = torch.zeros_like(output)
    place = output[0, channel].argmax()
    signal[0, channel].view(-1)[place] = output[0, channel].flatten()[place].detach()
    (pattern,) = torch.autograd.grad(output, leaf, signal)
    for handle in handles:
        handle.remove()
    return pattern[0].numpy()


@pytest.mark.parametrize("name", NAMES)
def test_deconvnet_and_grad_cam(untouched, name) -> None:
    network = with_statistics(name)
    untouched(network)
    image = images(network)
    with torch.no_grad():
        logits = network(image)
    with descending("deconvnet"), torch.enable_grad():
        watched = network(image.clone().requires_grad_())
    torch.testing.assert_close(watched, logits, rtol=1e-3, atol=1e-4 * float(logits.abs().max()))

    found = grad_cam(network, image, [3])
    assert found.maps.shape == (1, *image.shape[2:])
    assert np.isfinite(found.maps).all()
    assert found.layer in stages_of(network)
    assert any(grad_cam(network, image, [index]).coarse.any() for index in range(7))

    layer = stages_of(network)[len(stages_of(network)) // 2]
    projections = project(network, image, layer, num_channels=2)
    for projection in projections:
        assert projection.pattern.shape == image.shape[1:]
        assert np.isfinite(projection.pattern).all()
        assert projection.activation > 0
        top, left, bottom, right = projection.window  # type: ignore[misc]
        inside = projection.pattern[:, top:bottom, left:right]
        assert inside.any()
        if not any(isinstance(module, SqueezeExcitation) for module in network.modules()):
            assert np.count_nonzero(inside) == np.count_nonzero(projection.pattern)
    if not any(isinstance(module, HELD) or "Tanh" in type(module).__name__ for module in network.modules()):
        expected = with_hooks(network, image, layer, projections[0].channel)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(projections[0].pattern, expected, rtol=1e-3, atol=1e-4 * largest)


def test_modules_that_overwrite_their_input(untouched) -> None:
    """Networks that were told to work in place, as training does, give the same."""
    network = with_statistics("resnet20")
    untouched(network)
    image = images(network, side=32)
    expected = project(network, image, "stages.2", [0, 1])
    with overwriting_activations(network):
        found = project(network, image, "stages.2", [0, 1])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.pattern, other.pattern, rtol=1e-5, atol=1e-6)
