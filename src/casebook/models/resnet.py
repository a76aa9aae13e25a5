"""ResNet, 18 to 152 layers, and the plain networks it is compared with.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and Figure 3,
https://arxiv.org/abs/1512.03385. One departure: a bottleneck strides in its 3x3 convolution, not in its first
1x1, as most published weights do; "resnet50_v1" strides as the paper does.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from .card import Departure
from .layers import Classifier, ConvNorm, ConvNormReLU, Network, initialise_convolutions


class Residual(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride): relu(branch + shortcut)."""

    owns_activation_input = True  # see layers.overwriting_activations

    def __init__(self, branch: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.branch(x) + self.shortcut(x))


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option B: the identity where the shape stays, else a 1x1 convolution."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride=stride)


def basic(in_channels: int, width: int, stride: int) -> nn.Module:
    branch = nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNorm(width, width, 3))
    return Residual(branch, projection(in_channels, width, stride))


def bottleneck(in_channels: int, width: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 1),
        ConvNormReLU(width, width, 3, stride=stride),
        ConvNorm(width, 4 * width, 1),
    )
    return Residual(branch, projection(in_channels, 4 * width, stride))


def bottleneck_v1(in_channels: int, width: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 1, stride=stride),
        ConvNormReLU(width, width, 3),
        ConvNorm(width, 4 * width, 1),
    )
    return Residual(branch, projection(in_channels, 4 * width, stride))


def plain(in_channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNormReLU(width, width, 3))


Block = Callable[[int, int, int], nn.Module]  # in_channels, width, stride -> block


class Variant(NamedTuple):
    block: Block
    expansion: int  # output channels of a block / its width
    depths: tuple[int, ...]  # blocks in each stage


VARIANTS = {
    "resnet18": Variant(basic, 1, (2, 2, 2, 2)),
    "resnet34": Variant(basic, 1, (3, 4, 6, 3)),
    "resnet50": Variant(bottleneck, 4, (3, 4, 6, 3)),
    "resnet101": Variant(bottleneck, 4, (3, 4, 23, 3)),
    "resnet152": Variant(bottleneck, 4, (3, 8, 36, 3)),
    "resnet50_v1": Variant(bottleneck_v1, 4, (3, 4, 6, 3)),
    "resnet101_v1": Variant(bottleneck_v1, 4, (3, 4, 23, 3)),
    "resnet152_v1": Variant(bottleneck_v1, 4, (3, 8, 36, 3)),
    "plain18": Variant(plain, 1, (2, 2, 2, 2)),
    "plain34": Variant(plain, 1, (3, 4, 6, 3)),
}
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block

SMALL_STEM = Departure(
    what="stem",
    paper="7x7 convolution with stride 2, then 3x3 max pooling with stride 2",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last stage",
)


def stage(block: Block, depth: int, in_channels: int, width: int, expansion: int, stride: int) -> nn.Sequential:
    """`depth` blocks, the first of which strides and changes the number of channels."""
    blocks = nn.Sequential(block(in_channels, width, stride))
    for _ in range(depth - 1):
        blocks.append(block(width * expansion, width, 1))
    return blocks


class ResNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        if small_stem:
            self.stem = ConvNormReLU(in_channels, 64, 3)
            self.departures = (SMALL_STEM,)
        else:
            self.stem = nn.Sequential(ConvNormReLU(in_channels, 64, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))
        self.stages, channels = nn.Sequential(), 64
        for (width, stride), depth in zip(STAGES, variant.depths, strict=True):
            self.stages.append(stage(variant.block, depth, channels, width, variant.expansion, stride))
            channels = width * variant.expansion
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(ResNet, variant) for name, variant in VARIANTS.items()}
