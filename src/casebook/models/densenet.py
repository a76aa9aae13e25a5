"""DenseNet, 121 to 264 layers, and DenseNet-BC for 32x32 pictures.

Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, Table 1 and section 3,
https://arxiv.org/abs/1608.06993; the growth rate of 161 and the last norm are from the authors' code,
https://github.com/liuzhuang13/DenseNet. `dropout` follows every convolution except the first; the paper uses 0.2 when
it trains without augmentation.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .card import Departure
from .layers import ConvNormReLU, Head, Network, NormReLU, initialise_convolutions


class NormReLUConv(NormReLU):
    """Batch norm, ReLU, convolution without bias: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dropout: float):
        super().__init__(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()


class DenseLayer(nn.Module):
    """(B, C, H, W) -> (B, C + growth, H, W): the input, followed by the new channels of the bottleneck branch."""

    def __init__(self, in_channels: int, growth: int, dropout: float):
        super().__init__()
        self.branch = nn.Sequential(
            NormReLUConv(in_channels, 4 * growth, 1, dropout),
            NormReLUConv(4 * growth, growth, 3, dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], 1)


def transition(in_channels: int, dropout: float) -> nn.Module:
    """(B, C, H, W) -> (B, C/2, H/2, W/2): the paper's compression of 0.5, then mean pooling."""
    return nn.Sequential(NormReLUConv(in_channels, in_channels // 2, 1, dropout), nn.AvgPool2d(2))


def dense_stages(depths: tuple[int, ...], growth: int, channels: int, dropout: float) -> tuple[nn.Sequential, int]:
    """Dense blocks with a transition before each except the first, and the number of output channels."""
    stages = nn.Sequential()
    for depth in depths:
        stage = nn.Sequential()
        if len(stages):
            stage.append(transition(channels, dropout))
            channels //= 2
        for _ in range(depth):
            stage.append(DenseLayer(channels, growth, dropout))
            channels += growth
        stages.append(stage)
    stages[-1].append(NormReLU(channels))  # type: ignore[operator]
    return stages, channels


class Variant(NamedTuple):
    depths: tuple[int, ...]  # layers in each dense block
    growth: int  # the paper's k


VARIANTS = {
    "densenet121": Variant((6, 12, 24, 16), 32),
    "densenet169": Variant((6, 12, 32, 32), 32),
    "densenet201": Variant((6, 12, 48, 32), 32),
    "densenet161": Variant((6, 12, 36, 24), 48),
    "densenet264": Variant((6, 12, 64, 48), 32),
}
CIFAR_VARIANTS = {"densenet_bc_100_12": Variant((16, 16, 16), 12)}

SMALL_STEM = Departure(
    what="stem",
    paper="7x7 convolution with stride 2, then 3x3 max pooling with stride 2",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last stage",
)


def check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout is {dropout}, expected at least 0 and below 1")


class DenseNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ModelError: for a dropout outside [0, 1).
    """

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__(in_channels=in_channels, smallest_input=16 if small_stem else 61)
        check_dropout(dropout)
        channels = 2 * variant.growth
        if small_stem:
            self.stem = ConvNormReLU(in_channels, channels, 3)
            self.departures = (SMALL_STEM,)
        else:
            self.stem = nn.Sequential(
                ConvNormReLU(in_channels, channels, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)
            )
        self.stages, channels = dense_stages(variant.depths, variant.growth, channels, dropout)
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


class CifarDenseNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes), three dense blocks for small pictures.

    Raises:
        ModelError: for a dropout outside [0, 1).
    """

    def __init__(self, variant: Variant, *, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0):
        super().__init__(in_channels=in_channels, smallest_input=8)
        check_dropout(dropout)
        self.stem = nn.Conv2d(in_channels, 2 * variant.growth, 3, padding=1, bias=False)
        self.stages, channels = dense_stages(variant.depths, variant.growth, 2 * variant.growth, dropout)
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(DenseNet, variant) for name, variant in VARIANTS.items()}
NETWORKS |= {name: partial(CifarDenseNet, variant) for name, variant in CIFAR_VARIANTS.items()}
