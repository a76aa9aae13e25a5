"""ResNet, 18 to 152 layers, and the plain networks it is compared with.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and Figure 3,
https://arxiv.org/abs/1512.03385. Departures: a bottleneck strides in its 3x3 convolution, not in its first 1x1, as
most published weights do; "resnet50_v1" strides as the paper does. Shortcuts are the paper's option B also below 50
layers, where it has A; `shortcut="A"` and "C" give the others. The paper has no multipliers: `width` and `depth` are
those of MobileNet v2 and EfficientNet.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError
from .card import Departure
from .layers import Classifier, ConvNorm, ConvNormReLU, Network, Sum, initialise_convolutions
from .mobilenet_v2 import check_multipliers, round_channels


class Residual(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride): relu(branch + shortcut)."""

    owns_activation_input = True  # see layers.overwriting_activations

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.sum = Sum()
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.sum(self.branch(x), self.shortcut(x)))


class ZeroPadShortcut(nn.Module):
    """(B, C, H, W) -> (B, C + extra_channels, H/stride, W/stride): every other pixel, new channels zero."""

    def __init__(self, extra_channels: int, stride: int):
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


def zero_padding(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option A: the identity where the shape stays, else a shortcut without weights."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ZeroPadShortcut(out_channels - in_channels, stride)


def projection(in_channels: int, out_channels: int, stride: int, kernel_size: int = 1) -> nn.Module:
    """The paper's option B: the identity where the shape stays, else a 1x1 convolution."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, kernel_size, stride=stride)


def projection_everywhere(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option C: a 1x1 convolution in every block."""
    return ConvNorm(in_channels, out_channels, 1, stride=stride)


Block = Callable[..., nn.Module]  # in_channels, width, stride -> block; residual ones also take a shortcut
Shortcut = Callable[[int, int, int], nn.Module]  # in_channels, out_channels, stride -> shortcut
Option = Literal["A", "B", "C"]
SHORTCUTS: dict[Option, Shortcut] = {"A": zero_padding, "B": projection, "C": projection_everywhere}


def basic(in_channels: int, width: int, stride: int, *, shortcut: Shortcut = projection) -> Residual:
    branch = nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNorm(width, width, 3))
    return Residual(branch, shortcut(in_channels, width, stride))


def bottleneck(
    in_channels: int,
    width: int,
    stride: int,
    *,
    shortcut: Shortcut = projection,
    groups: int = 1,
    group_width: int = 64,
) -> Residual:
    """`group_width` is the number of channels of a group of the 3x3 convolution where `width` is 64."""
    inner = groups * group_width * width // 64
    branch = nn.Sequential(
        ConvNormReLU(in_channels, inner, 1),
        ConvNormReLU(inner, inner, 3, stride=stride, groups=groups),
        ConvNorm(inner, 4 * width, 1),
    )
    return Residual(branch, shortcut(in_channels, 4 * width, stride))


def bottleneck_v1(in_channels: int, width: int, stride: int, *, shortcut: Shortcut = projection) -> Residual:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 1, stride=stride),
        ConvNormReLU(width, width, 3),
        ConvNorm(width, 4 * width, 1),
    )
    return Residual(branch, shortcut(in_channels, 4 * width, stride))


def plain(in_channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNormReLU(width, width, 3))


class Variant(NamedTuple):
    block: Block
    expansion: int  # output channels of a block / its width
    depths: tuple[int, ...]  # blocks in each stage
    width: float = 1.0  # channels of stem and stages / the paper's


VARIANTS = {
    "resnet18": Variant(basic, 1, (2, 2, 2, 2)),
    "resnet34": Variant(basic, 1, (3, 4, 6, 3)),
    "resnet50": Variant(bottleneck, 4, (3, 4, 6, 3)),
    "resnet101": Variant(bottleneck, 4, (3, 4, 23, 3)),
    "resnet152": Variant(bottleneck, 4, (3, 8, 36, 3)),
    "resnet50_v1": Variant(bottleneck_v1, 4, (3, 4, 6, 3)),
    "resnet101_v1": Variant(bottleneck_v1, 4, (3, 4, 23, 3)),
    "resnet152_v1": Variant(bottleneck_v1, 4, (3, 8, 36, 3)),
}
PLAIN = {
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
        channels = round_channels(64 * variant.width)
        if small_stem:
            self.stem = ConvNormReLU(in_channels, channels, 3)
            self.departures = (SMALL_STEM,)
        else:
            convolution = ConvNormReLU(in_channels, channels, 7, stride=2)
            self.stem = nn.Sequential(convolution, nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.Sequential()
        for (width, stride), depth in zip(STAGES, variant.depths, strict=True):
            width = round_channels(width * variant.width)
            self.stages.append(stage(variant.block, depth, channels, width, variant.expansion, stride))
            channels = width * variant.expansion
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


def shortcut_block(block: Block, option: Option) -> Block:
    """The block with the shortcuts of an option of the paper. Raises ModelError for an unknown one."""
    if option not in SHORTCUTS:
        raise ModelError(f"shortcut is {option!r}, expected 'A', 'B' or 'C'")
    return partial(block, shortcut=SHORTCUTS[option])


def shortcut_departure(papers: Option, option: Option) -> tuple[Departure, ...]:
    departure = Departure("shortcuts", f"option {papers}", f"option {option}", "asked for")
    return (departure,) if option != papers else ()


def resnet(
    variant: Variant,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    small_stem: bool = False,
    shortcut: Option = "B",
    width: float = 1.0,
    depth: float = 1.0,
) -> ResNet:
    """A ResNet with shortcuts of the paper's option A (below 50 layers its own), B (its own from 50 on) or C.

    `width` multiplies the channels of the stem and the stages, to multiples of 8, and `depth` the blocks of each stage,
    rounded up. Raises ModelError for another option, or a width or depth outside (0, 4].
    """
    check_multipliers(width=width, depth=depth)
    variant = variant._replace(
        block=shortcut_block(variant.block, shortcut),
        depths=tuple(math.ceil(blocks * depth) for blocks in variant.depths),
        width=width,
    )
    network = ResNet(variant, num_classes=num_classes, in_channels=in_channels, small_stem=small_stem)
    if shortcut != "B":  # what the card says about shortcuts is about B
        network.undone = ("shortcuts",)
        network.departures += shortcut_departure("A" if variant.expansion == 1 else "B", shortcut)
    return network


NETWORKS = {name: partial(resnet, variant) for name, variant in VARIANTS.items()}
NETWORKS |= {name: partial(ResNet, variant) for name, variant in PLAIN.items()}
