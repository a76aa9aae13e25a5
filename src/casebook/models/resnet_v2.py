"""ResNet v2: normalisation and ReLU before each convolution, nothing after the sum.

Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, Figure 4 (e),
https://arxiv.org/abs/1603.05027. Departures: the first activation follows the pooling instead of the first
convolution, and bottlenecks have their stride in the 3x3 convolution; timm's weights do both. The Keras variants have
their stride in the last block of a stage, biases wherever no batch norm follows, and zero padding in the pooling.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from .layers import ConvNormReLU, Head, Network, NormReLU, initialise_convolutions
from .residual_parts import SMALL_STEM, PreActivated, Projecting, preactivated


def basic(in_channels: int, width: int, stride: int) -> PreActivated:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 3, stride=stride),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
    )
    return preactivated(in_channels, width, stride, branch)


def bottleneck(in_channels: int, width: int, stride: int) -> PreActivated:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 1),
        ConvNormReLU(width, width, 3, stride=stride),
        nn.Conv2d(width, 4 * width, 1, bias=False),
    )
    return preactivated(in_channels, 4 * width, stride, branch)


KERAS_EPS, KERAS_MOMENTUM = 1.001e-5, 0.01
keras_norm_relu = partial(NormReLU, eps=KERAS_EPS, momentum=KERAS_MOMENTUM)
keras_conv_norm_relu = partial(ConvNormReLU, eps=KERAS_EPS, momentum=KERAS_MOMENTUM)


def bottleneck_keras(in_channels: int, width: int, stride: int) -> PreActivated:
    """If the branch has a stride, the shortcut takes every other pixel."""
    branch = nn.Sequential(
        keras_conv_norm_relu(in_channels, width, 1),
        keras_conv_norm_relu(width, width, 3, stride=stride),
        nn.Conv2d(width, 4 * width, 1),
    )
    preactivation = keras_norm_relu(in_channels)
    if in_channels != 4 * width:
        return Projecting(preactivation, branch, nn.Conv2d(in_channels, 4 * width, 1, stride=stride))
    return PreActivated(preactivation, branch, nn.MaxPool2d(1, stride=stride) if stride > 1 else nn.Identity())


def pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)


def pool_zeros() -> nn.Module:
    """Max pooling with zero padding; a padded zero exceeds negative neighbours."""
    return nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, stride=2))


class Style(NamedTuple):
    """How a library builds the parts that the paper leaves open."""

    strides: tuple[int, ...]  # of the stages
    strided: int  # the block of a stage that strides
    bias: bool  # of the first convolution
    pool: Callable[[], nn.Module]
    norm_relu: Callable[[int], NormReLU]


TIMM = Style((1, 2, 2, 2), 0, False, pool, NormReLU)
KERAS = Style((2, 2, 2, 1), -1, True, pool_zeros, keras_norm_relu)


class Variant(NamedTuple):
    block: Callable[[int, int, int], nn.Module]  # in_channels, width, stride -> block
    expansion: int  # output channels of a block / its width
    depths: tuple[int, ...]  # blocks in each stage
    style: Style


VARIANTS = {
    "resnet18_v2": Variant(basic, 1, (2, 2, 2, 2), TIMM),
    "resnet34_v2": Variant(basic, 1, (3, 4, 6, 3), TIMM),
    "resnet50_v2": Variant(bottleneck, 4, (3, 4, 6, 3), TIMM),
    "resnet101_v2": Variant(bottleneck, 4, (3, 4, 23, 3), TIMM),
    "resnet152_v2": Variant(bottleneck, 4, (3, 8, 36, 3), TIMM),
    "resnet50_v2_keras": Variant(bottleneck_keras, 4, (3, 4, 6, 3), KERAS),
    "resnet101_v2_keras": Variant(bottleneck_keras, 4, (3, 4, 23, 3), KERAS),
    "resnet152_v2_keras": Variant(bottleneck_keras, 4, (3, 8, 36, 3), KERAS),
}
WIDTHS = (64, 128, 256, 512)


class ResNetV2(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The last stage ends with `final`, the normalisation and ReLU after the last sum.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        style = variant.style
        if small_stem:
            self.stem = nn.Sequential(nn.Conv2d(in_channels, 64, 3, padding=1, bias=style.bias))
            self.departures = (SMALL_STEM,)
        else:
            first = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=style.bias)
            self.stem = nn.Sequential(first, style.pool())
        self.stages, channels = nn.Sequential(), 64
        for width, depth, downsampling in zip(WIDTHS, variant.depths, style.strides, strict=True):
            strides, stage = [1] * depth, nn.Sequential()
            strides[style.strided] = downsampling
            for stride in strides:
                stage.append(variant.block(channels, width, stride))
                channels = width * variant.expansion
            self.stages.append(stage)
        self.stages[-1].add_module("final", style.norm_relu(channels))
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(ResNetV2, variant) for name, variant in VARIANTS.items()}
