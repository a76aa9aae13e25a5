"""The window of a unit, against the receptive field that casebook.cost counts, and against what moves the unit."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from casebook.cost.count import count
from casebook.explanation.watching import captured
from casebook.explanation.windows import windows
from casebook.models import create_model

from .conftest import images, with_statistics

# Layers whose field is smaller than the picture: symmetric and "SAME" padding, none at all, branches, joins, gates.
LAYERS = {
    "resnet18": ("stages.0", "stages.1"),
    "resnet50_v2_keras": ("stages.0", "stages.1"),
    "alexnet": ("stem", "stages.0"),
    "mobilenet_v2": ("stem", "stages.1", "stages.2"),
    "googlenet": ("stages.0",),
    "inception_v3": ("stages.0",),
    "densenet_bc_100_12": ("stem", "stages.0.3"),
    "lenet5_1998": ("stem", "stages.0"),
    "fractalnet20": ("stages.0",),
    "nin_imagenet": ("stem", "stages.0"),
    "squeezenet1_1": ("stem", "stages.0"),
    "nasnet_mobile": ("stem",),
    "xception": ("stem", "stages.0"),
}


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, layers in LAYERS.items() for layer in layers])
def test_in_the_middle_it_is_as_large_as_the_receptive_field(name, layer) -> None:
    torch.manual_seed(0)
    network = create_model(name).eval()
    summary = count(name)
    output = summary.outputs[layer]
    assert output.receptive_field is not None
    _, rows, columns = output.shape
    (window,) = windows(network, summary.input_shape, layer, [(rows // 2, columns // 2)])
    assert (window.bottom - window.top, window.right - window.left) == output.receptive_field
    first, last = windows(network, summary.input_shape, layer, [(0, 0), (rows - 1, columns - 1)])
    assert (first.top, first.left) == (0, 0)
    assert 0 <= window.top < window.bottom <= summary.input_shape[1]
    assert last.bottom > window.bottom


@pytest.mark.parametrize(
    ("name", "options", "layer"),
    [
        ("mobilenet_v2_035", {"padding": "same"}, "stages.1"),
        ("mobilenet_v2_035", {}, "stages.1"),
        ("alexnet", {}, "stem"),
        ("resnet18", {}, "stages.0"),
    ],
)
def test_no_pixel_outside_moves_the_unit_and_the_corners_do(name, options, layer) -> None:
    network = with_statistics(name, **options).double()
    image = images(network, side=99).double()

    def unit(pixels: torch.Tensor) -> float:
        with torch.no_grad(), captured(network, [layer]) as kept:
            network(pixels)
        return float(kept[layer][0, :, 5, 7].sum())

    (window,) = windows(network, (3, 99, 99), layer, [(5, 7)])
    top, left, bottom, right = window
    outside = torch.randn_like(image)
    outside[:, :, top:bottom, left:right] = image[:, :, top:bottom, left:right]
    assert unit(outside) == unit(image)
    for row in (top, bottom - 1):
        for column in (left, right - 1):
            moved = image.clone()
            moved[:, :, row, column] += 1e3  # far enough for a maximum to change
            assert unit(moved) != unit(image)


class Attention(nn.Module):
    """(B, N, C) -> the same, each token looking at all."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.mixed = nn.Linear(6, 18)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.mixed(self.norm(tokens)).chunk(3, dim=-1)
        return tokens + functional.scaled_dot_product_attention(query, key, value)


class Tokens(nn.Module):
    """Patches of 4x4 pixels as tokens, normalised, then attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.LayerNorm(6)
        self.attention = Attention()

    def forward(self, images: Tensor) -> Tensor:
        return self.attention(self.norm(self.patches(images).flatten(2).transpose(1, 2))).mean(1)

    def as_map(self, output: Tensor) -> Tensor:
        return output.transpose(1, 2).unflatten(2, (4, 4)) if output.ndim == 3 else output


def test_a_token_sees_its_patch_and_through_attention_everything() -> None:
    network = Tokens()
    assert windows(network, (3, 16, 16), "norm", [(1, 2)]) == [(4, 8, 8, 12)]
    assert windows(network, (3, 16, 16), "attention", [(1, 2)]) == [(0, 0, 16, 16)]
