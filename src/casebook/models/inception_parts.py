"""Parts that the Inception networks share; their sources are in the networks' files.

GoogLeNet uses only `Inception`. The modules from `stem_v3` on belong to Inception v3, and v4 or Inception-ResNet v2 use
them too.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from .card import Departure
from .layers import ConvNormReLU, draw_truncated_normal


class Inception(nn.Module):
    """(B, C, H, W) -> the outputs of all branches for the same input, concatenated along the channels."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


Kernel = int | tuple[int, int]
Unit = Callable[..., nn.Module]  # in_channels, channels, kernel, stride -> convolution, norm and ReLU


def unit(
    in_channels: int, channels: int, kernel: Kernel = 1, stride: int = 1, padding: Literal["symmetric", 0] = "symmetric"
) -> ConvNormReLU:
    """The convolution of v3, v4 and Inception-ResNet: no padding with a stride, otherwise the size stays the same."""
    padding = 0 if stride > 1 else padding
    return ConvNormReLU(in_channels, channels, kernel, stride=stride, padding=padding, eps=1e-3)


def chain(in_channels: int, *rows: tuple, unit: Unit = unit) -> nn.Sequential:
    """Convolutions one after another; a row is channels, kernel and, where not 1, stride."""
    units = nn.Sequential()
    for row in rows:
        units.append(unit(in_channels, *row))
        in_channels = row[0]
    return units


def stage(**blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(blocks))


def initialise(modules: Iterable[nn.Module]) -> None:
    """TF-Slim's variance_scaling_initializer: truncated normal with 2.6 / fan-in before the cut; biases 0."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            draw_truncated_normal(module.weight, std=math.sqrt(2.6 / module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 three times, and convolutions without padding",
    here="stride 1, and padding that keeps the size",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture",
)
average_inside = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)  # TensorFlow's "SAME"


def stem_v3(in_channels: int, small: bool) -> nn.Sequential:
    """(B, in_channels, 299, 299) -> (B, 192, 35, 35)."""
    stride, padding = (1, "symmetric") if small else (2, 0)
    return nn.Sequential(
        unit(in_channels, 32, 3, stride),
        unit(32, 32, 3, padding=padding),
        unit(32, 64, 3),
        nn.MaxPool2d(3, stride=stride, padding=int(small)),
        unit(64, 80),
        unit(80, 192, 3, padding=padding),
        nn.MaxPool2d(3, stride=stride, padding=int(small)),
    )


def inception_a(in_channels: int, narrow: int, pooled: int, pool: Callable[[], nn.Module]) -> nn.Module:
    """v3's module on the 35x35 grid, and the first of Inception-ResNet."""
    return Inception(
        unit(in_channels, narrow),
        chain(in_channels, (48, 1), (64, 5)),
        chain(in_channels, (64, 1), (96, 3), (96, 3)),
        nn.Sequential(pool(), unit(in_channels, pooled)),
    )


def reduction_a(in_channels: int, k: int, l: int, m: int, n: int) -> nn.Module:  # noqa: E741 (the paper's letters)
    """35x35 -> 17x17: Figure 7 of the v4 paper, whose Table 1 has k, l, m and n."""
    return Inception(
        unit(in_channels, n, 3, 2),
        chain(in_channels, (k, 1), (l, 3), (m, 3, 2)),
        nn.MaxPool2d(3, stride=2),
    )


def reduction_b(in_channels: int, narrow: tuple[int, int], deep: tuple[int, int, int, int]) -> nn.Module:
    """17x17 -> 8x8 in v3 and v4."""
    return Inception(
        chain(in_channels, (narrow[0], 1), (narrow[1], 3, 2)),
        chain(in_channels, (deep[0], 1), (deep[1], (1, 7)), (deep[2], (7, 1)), (deep[3], 3, 2)),
        nn.MaxPool2d(3, stride=2),
    )


def split(in_channels: int, channels: int) -> nn.Module:
    """A 1x3 and a 3x1 convolution side by side, with which v3 and v4 widen the last 8x8 grid."""
    return Inception(unit(in_channels, channels, (1, 3)), unit(in_channels, channels, (3, 1)))
