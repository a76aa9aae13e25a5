"""SE-ResNet-50 and SENet-154: residual networks whose branches weight their channels.

Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, Table 1 and the appendix on SENet-154,
https://arxiv.org/abs/1709.01507, and the authors' Caffe models, hujie-frank/SENet. Departure: a bottleneck of
SE-ResNet-50 has its stride in the 3x3 convolution instead of the first 1x1, like timm's weights.
"""

from functools import partial

from torch import nn

from .card import Departure
from .layers import ConvNorm, ConvNormReLU, Head, Network, SqueezeExcitation, initialise_convolutions
from .residual_parts import STAGES, Residual, ResNet, Variant, bottleneck, projection, stage

REDUCTION = 16  # the paper's r


def squeeze_excitation(channels: int) -> SqueezeExcitation:
    return SqueezeExcitation(channels, channels // REDUCTION)


def se_bottleneck(in_channels: int, width: int, stride: int) -> Residual:
    block = bottleneck(in_channels, width, stride)
    block.branch.append(squeeze_excitation(4 * width))
    return block


def senet_bottleneck(in_channels: int, width: int, stride: int) -> Residual:
    """ResNeXt's 64x4d block with half the channels in the first convolution; with a stride, its projection is 3x3."""
    branch = nn.Sequential(
        ConvNormReLU(in_channels, 2 * width, 1),
        ConvNormReLU(2 * width, 4 * width, 3, stride=stride, groups=64),
        ConvNorm(4 * width, 4 * width, 1),
        squeeze_excitation(4 * width),
    )
    return Residual(branch, projection(in_channels, 4 * width, stride, kernel_size=3 if stride > 1 else 1))


SENET154_DEPTHS = (3, 8, 36, 3)
SMALL_STEM = Departure(
    what="stem",
    paper="the first 3x3 convolution and 3x3 max pooling, each with stride 2",
    here="the first convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last stage",
)


class SENet154(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 35)
        self.stem = nn.Sequential(
            ConvNormReLU(in_channels, 64, 3, stride=1 if small_stem else 2),
            ConvNormReLU(64, 64, 3),
            ConvNormReLU(64, 128, 3),
        )
        if small_stem:
            self.departures = (SMALL_STEM,)
        else:
            self.stem.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))  # Caffe's rounding
        self.stages, channels = nn.Sequential(), 128
        for (width, stride), depth in zip(STAGES, SENET154_DEPTHS, strict=True):
            self.stages.append(stage(senet_bottleneck, depth, channels, width, 4, stride))
            channels = 4 * width
        self.head = Head(channels, num_classes, dropout=0.2)
        initialise_convolutions(self.modules())


NETWORKS = {"seresnet50": partial(ResNet, Variant(se_bottleneck, 4, (3, 4, 6, 3))), "senet154": SENet154}
