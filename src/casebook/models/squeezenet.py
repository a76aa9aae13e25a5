"""SqueezeNet 1.0 and 1.1.

Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016,
Table 1, https://arxiv.org/abs/1602.07360. Version 1.1, with the first weights of both, is in the authors' repository,
https://github.com/forresti/SqueezeNet. As in Caffe, pooling windows may extend past the edge.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .card import Departure
from .layers import ConvHead, ConvReLU, Network


class Fire(nn.Module):
    """(B, in_channels, H, W) -> (B, 2 * expanded, H, W): a 1x1 squeeze, then 1x1 and 3x3 side by side."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = ConvReLU(in_channels, squeezed, 1)
        self.expand1x1 = ConvReLU(squeezed, expanded, 1)
        self.expand3x3 = ConvReLU(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1)


class Variant(NamedTuple):
    channels: int  # of the stem
    kernel_size: int  # of the stem
    depths: tuple[int, ...]  # fire modules in each stage; pooling lies between stages
    smallest_input: int


VARIANTS = {
    "squeezenet1_0": Variant(96, 7, (3, 4, 1), 37),
    "squeezenet1_1": Variant(64, 3, (2, 2, 4), 33),
}
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))  # squeezed, expanded

SMALL_STEM = Departure(
    what="stem",
    paper="convolution with stride 2, then 3x3 max pooling with stride 2",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last stage",
)


class SqueezeNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes), all of them non-negative."""

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=8 if small_stem else variant.smallest_input)
        channels = variant.channels
        if small_stem:
            self.stem = nn.Sequential(ConvReLU(in_channels, channels, 3, padding=1))
            self.departures = (SMALL_STEM,)
        else:
            self.stem = nn.Sequential(ConvReLU(in_channels, channels, variant.kernel_size, stride=2, padding=0), pool())
        self.stages, fires = nn.Sequential(), iter(FIRES)
        for number, depth in enumerate(variant.depths, 1):
            stage = nn.Sequential()
            for _ in range(depth):
                squeezed, expanded = next(fires)
                stage.append(Fire(channels, squeezed, expanded))
                channels = 2 * expanded
            if number < len(variant.depths):
                stage.append(pool())
            self.stages.append(stage)
        initialise(self.modules())
        self.head = ConvHead(channels, num_classes, dropout=0.5)


def pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def initialise(modules: Iterable[nn.Module]) -> None:
    """Caffe's "xavier", which depends only on the inputs: uniform with variance 1 / fan-in; biases 0."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            bound = math.sqrt(3 / module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


NETWORKS = {name: partial(SqueezeNet, variant) for name, variant in VARIANTS.items()}
