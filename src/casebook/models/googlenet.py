"""GoogLeNet: the paper's network, its version with batch norm, and one without 1x1 reductions, to compare costs.

Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, Table 1 and Figures 2 and 3,
https://arxiv.org/abs/1409.4842. The table counts weights without biases, in units of 1024. The figures of its first
row (2.7K weights, 34M operations) fit a 7x7 convolution on each colour separately, 8 filters each, followed by a 1x1
convolution. The 7x7 convolution that the row names has 9,408 weights and 118M multiply-adds; everyone builds that one,
and so do we. Local response normalisation and initialisation, which the paper leaves open, follow Caffe's
bvlc_googlenet.

"googlenet_bn" is the network of torchvision's weights: batch norm instead of biases and local response normalisation,
3x3 instead of 5x5 convolutions, 2x2 windows in the last max pooling, dropout 0.2. "googlenet_naive" uses the
naive module of Figure 2(a) with the filters of Table 1 and no reductions. Its pooling branches keep all channels, so
their number grows to 4,944. Nobody trains it; it shows what the 1x1 convolutions save.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from torch import nn

from ..errors import ModelError
from .card import Departure
from .inception_parts import Inception
from .layers import ConvNormReLU, ConvReLU, Head, Network, draw_truncated_normal


class Filters(NamedTuple):
    """One row of Table 1."""

    one: int  # 1x1
    reduce3: int
    three: int  # 3x3
    reduce5: int
    five: int  # 5x5
    pooled: int  # 1x1 after the pooling


TABLE_1 = (
    {
        "inception3a": Filters(64, 96, 128, 16, 32, 32),
        "inception3b": Filters(128, 128, 192, 32, 96, 64),
    },
    {
        "inception4a": Filters(192, 96, 208, 16, 48, 64),
        "inception4b": Filters(160, 112, 224, 24, 64, 64),
        "inception4c": Filters(128, 128, 256, 24, 64, 64),
        "inception4d": Filters(112, 144, 288, 32, 64, 64),
        "inception4e": Filters(256, 160, 320, 32, 128, 128),
    },
    {
        "inception5a": Filters(256, 160, 320, 32, 128, 128),
        "inception5b": Filters(384, 192, 384, 48, 128, 128),
    },
)
AUXILIARY = ("inception4a", "inception4d")

Convolution = Callable[..., nn.Module]  # in_channels, out_channels, kernel_size, stride=1 -> convolution and ReLU


def reduced(convolution: Convolution, in_channels: int, f: Filters, *, large: int = 5) -> tuple[nn.Module, int]:
    """The module of Figure 2(b), where 1x1 convolutions reduce the channels, and its number of output channels."""
    module = Inception(
        convolution(in_channels, f.one, 1),
        nn.Sequential(convolution(in_channels, f.reduce3, 1), convolution(f.reduce3, f.three, 3)),
        nn.Sequential(convolution(in_channels, f.reduce5, 1), convolution(f.reduce5, f.five, large)),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(in_channels, f.pooled, 1)),
    )
    return module, f.one + f.three + f.five + f.pooled


def naive(convolution: Convolution, in_channels: int, f: Filters) -> tuple[nn.Module, int]:
    """The module of Figure 2(a), without reductions, and its number of output channels."""
    module = Inception(
        convolution(in_channels, f.one, 1),
        convolution(in_channels, f.three, 3),
        convolution(in_channels, f.five, 5),
        nn.MaxPool2d(3, stride=1, padding=1),
    )
    return module, f.one + f.three + f.five + in_channels


def as_in_caffe(modules: Iterable[nn.Module]) -> None:
    """Uniform with variance 1 / fan-in, biases 0.2."""
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = math.sqrt(3 / module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.2)


def as_in_slim(modules: Iterable[nn.Module]) -> None:
    """Truncated normal with deviation 0.01, biases 0: TF-Slim's, by GoogLeNet's authors, and torchvision's."""
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_truncated_normal(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Variant(NamedTuple):
    module: Callable[[Convolution, int, Filters], tuple[nn.Module, int]]
    convolution: Convolution
    norm: Callable[[], nn.Module]  # of the stem
    last_pool: int  # side of its window
    auxiliary_pool: Callable[[], nn.Module]
    dropout: float
    initialise: Callable[[Iterable[nn.Module]], None]


def auxiliary_head(variant: Variant, in_channels: int, num_classes: int) -> Head:
    """Section 5: (B, in_channels, 14, 14) -> logits (B, num_classes). It averages other sizes to the same 4x4 grid."""
    hidden = nn.Sequential(
        OrderedDict(
            average=variant.auxiliary_pool(),
            resize=nn.AdaptiveAvgPool2d(4),
            conv=variant.convolution(in_channels, 128, 1),
            flatten=nn.Flatten(),
            linear=nn.Linear(128 * 4 * 4, 1024),
            activation=nn.ReLU(),
        )
    )
    variant.initialise(hidden.modules())
    return Head(1024, num_classes, pool=hidden, dropout=0.7)


local_response_norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0)
average_5x5 = partial(nn.AvgPool2d, 5, stride=3, ceil_mode=True)
with_norm = partial(ConvNormReLU, eps=1e-3)

VARIANTS = {
    "googlenet": Variant(reduced, ConvReLU, local_response_norm, 3, average_5x5, 0.4, as_in_caffe),
    "googlenet_bn": Variant(partial(reduced, large=3), with_norm, nn.Identity, 2, nn.Identity, 0.2, as_in_slim),
    "googlenet_naive": Variant(naive, ConvReLU, local_response_norm, 3, average_5x5, 0.4, as_in_caffe),
}

SMALL_STEM = Departure(
    what="stem",
    paper="7x7 convolution with stride 2, max pooling with stride 2 after it and before the first module",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave less than a pixel of a 32x32 picture for the last modules",
)


class GoogLeNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ModelError: for other than 0, 1 (after 4a) or 2 (after 4a and 4d) `auxiliary_heads`.
    """

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        auxiliary_heads: int = 0,
    ):
        smallest = 8 if variant.last_pool == 3 else 6  # the side that the first module needs for 2x2 in the end
        super().__init__(in_channels=in_channels, smallest_input=smallest if small_stem else 8 * smallest - 1)
        if auxiliary_heads not in (0, 1, 2):
            raise ModelError(f"auxiliary_heads is {auxiliary_heads!r}, expected 0, 1 or 2")
        self.departures = (SMALL_STEM,) * small_stem
        self.undone = ("auxiliary heads",) * (auxiliary_heads == 2)

        convolution, pool = variant.convolution, partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=convolution(in_channels, 64, 3) if small_stem else convolution(in_channels, 64, 7, stride=2),
                pool1=nn.Identity() if small_stem else pool(),
                norm1=variant.norm(),
                conv2=convolution(64, 64, 1),
                conv3=convolution(64, 192, 3),
                norm2=variant.norm(),
                pool2=nn.Identity() if small_stem else pool(),
            )
        )
        last_pool = nn.MaxPool2d(variant.last_pool, stride=2, ceil_mode=True)
        self.stages, channels = nn.Sequential(), 192
        for rows, first in zip(TABLE_1, ({}, {"pool": pool()}, {"pool": last_pool}), strict=True):
            stage = nn.Sequential(OrderedDict(first))
            for name, filters in rows.items():
                module, channels = variant.module(convolution, channels, filters)
                stage.add_module(name, module)
                if name in AUXILIARY[:auxiliary_heads]:
                    self.auxiliary[name] = auxiliary_head(variant, channels, num_classes)
            self.stages.append(stage)
        self.head = Head(channels, num_classes, dropout=variant.dropout)
        variant.initialise([*self.stem.modules(), *self.stages.modules()])


NETWORKS = {name: partial(GoogLeNet, variant) for name, variant in VARIANTS.items()}
