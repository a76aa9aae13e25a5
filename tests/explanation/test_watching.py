"""Looking inside leaves nothing behind, also after an exception, and sees what a layer gave."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from casebook.errors import ModelError
from casebook.explanation.deconvnet import class_gradient, project
from casebook.explanation.filters import feature_maps, first_filters
from casebook.explanation.grad_cam import grad_cam
from casebook.explanation.occlusion import occlusion
from casebook.explanation.watching import captured, stages_of
from casebook.explanation.windows import windows

from .conftest import images, num_hooks, with_statistics


class Tripwire(nn.Module):
    """Lets a number of runs pass, then raises."""

    def __init__(self):
        super().__init__()
        self.left = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.left == 0:
            raise ValueError("tripped")
        self.left -= 1
        return x


WAYS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "deconvnet": lambda network, image: project(network, image, "stages.1"),
    "guided": lambda network, image: class_gradient(network, image, [1], rule="guided"),
    "gradient": lambda network, image: class_gradient(network, image, [1]),
    "grad-cam": lambda network, image: grad_cam(network, image, [1]),
    "occlusion": lambda network, image: occlusion(network, image, 1, square=16),
    "features": lambda network, image: feature_maps(network, image, "stages.0"),
    "filters": lambda network, image: first_filters(network, (3, 33, 33)),
    "windows": lambda network, image: windows(network, (3, 33, 33), "stages.0", [(0, 0)]),
}


@pytest.fixture
def network() -> nn.Module:
    """In a mixture of modes, some weights frozen, one with a gradient."""
    network = with_statistics("mobilenet_v2_035").train()
    network.stages[1].eval()
    for weight in network.stem.parameters():
        weight.requires_grad = False
    weight = next(network.head.parameters())
    weight.grad = torch.ones_like(weight)
    return network


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_behind(untouched, network, way) -> None:
    untouched(network)
    with torch.no_grad():
        assert WAYS[way](network, images(network)) is not None
    with torch.inference_mode():
        assert WAYS[way](network, images(network)) is not None


@pytest.mark.parametrize("runs", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_also_after_an_exception(untouched, network, way, runs) -> None:
    network.stages[3].append(wire := Tripwire())  # type: ignore[operator]
    untouched(network)
    wire.left = runs
    try:
        WAYS[way](network, images(network))
    except ValueError as error:
        assert str(error) == "tripped"  # noqa: PT017 - the second run exists in some of the ways only
    else:
        assert runs == 1


def test_a_hook_that_was_there_stays(network) -> None:
    seen = []
    handle = network.stages[0].register_forward_hook(lambda *args: seen.append(1))  # type: ignore[index]
    before = num_hooks(network)
    grad_cam(network, images(network), [0])
    assert num_hooks(network) == before
    assert len(seen) == 1
    handle.remove()


def test_an_activation_in_place_does_not_change_what_is_seen() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
    image = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        before = network[0](image)
    assert (before < 0).any()
    np.testing.assert_allclose(feature_maps(network, image, "0"), before[0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(feature_maps(network, image, "1"), before[0].clamp(min=0).numpy(), rtol=1e-5, atol=1e-6)


def test_an_image_is_not_overwritten_by_a_first_layer_in_place() -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3))
    image = torch.randn(1, 3, 5, 5)
    kept = image.clone()
    project(network, image, "1", [0], rule="gradient")
    feature_maps(network, image, "1")
    assert torch.equal(image, kept)


def test_a_layer_that_hands_on_a_pair_is_seen_by_its_first() -> None:
    network = with_statistics("nasnet_mobile")
    image = images(network)
    cell = network.stages[0]
    with torch.no_grad():
        first, _ = cell(network.stem(image))
    np.testing.assert_allclose(feature_maps(network, image, "stages.0"), first[0].numpy(), rtol=1e-4, atol=1e-5)


class Scales(nn.Module):
    """Gives a list of maps."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x[..., ::2, ::2]]


class Sum(nn.Module):
    def forward(self, maps: list[Tensor]) -> Tensor:
        return maps[0].mean((2, 3)) + maps[1].mean((2, 3))


def test_a_layer_that_hands_on_a_list_is_seen_by_its_first() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), Scales(), Sum())
    image = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        np.testing.assert_allclose(feature_maps(network, image, "1"), network[0](image)[0].numpy())


def test_layers_are_found_by_name() -> None:
    network = with_statistics("resnet20")
    assert stages_of(network) == ["stem", "stages.0", "stages.1", "stages.2"]
    with pytest.raises(ModelError, match=r"resnet20 has no layer 'stage.1'; did you mean 'stages\.1'\?"):
        feature_maps(network, images(network), "stage.1")
    with pytest.raises(ModelError, match=r"it has stem, stages\.0, stages\.1, stages\.2, head and what they"):
        feature_maps(network, images(network), "")
    with pytest.raises(ModelError, match="has no stages to choose from; name a layer"):
        grad_cam(nn.Sequential(nn.Conv2d(3, 2, 3)), torch.zeros(1, 3, 5, 5), [0])
    with pytest.raises(ModelError, match="does not run in evaluation"):
        feature_maps(
            with_statistics("googlenet", auxiliary_heads=1), torch.zeros(1, 3, 63, 63), "auxiliary.inception4a"
        )


def test_a_layer_that_gives_no_map_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(0))
    with pytest.raises(ModelError, match=r"the layer '1' gives \(18,\), expected"):
        feature_maps(network, torch.zeros(1, 3, 5, 5), "1")


def test_the_hook_is_gone_when_the_block_is_left() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    with captured(network, ["0"]) as kept:
        assert num_hooks(network) == 1
        network(torch.zeros(1, 3, 5, 5))
    assert list(kept) == ["0"]
    assert num_hooks(network) == 0
    with pytest.raises(ModelError), captured(network, ["0", "gone"]):
        pass
    assert num_hooks(network) == 0
