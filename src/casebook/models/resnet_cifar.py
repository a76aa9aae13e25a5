"""ResNet for 32x32 pictures, 20 to 1202 layers, and the plain networks it is compared with.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2,
https://arxiv.org/abs/1512.03385: 6n + 2 layers in three stages of 16, 32 and 64 channels, with the
parameter-free shortcuts of option A, so that a residual network has exactly its plain twin's weights.
"""

from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Classifier, ConvNorm, ConvNormReLU, Network, initialise_convolutions
from .resnet import Block, Residual, plain, stage


class ZeroPadShortcut(nn.Module):
    """(B, C, H, W) -> (B, C + extra_channels, H/stride, W/stride): every other pixel, new channels zero."""

    def __init__(self, extra_channels: int, stride: int):
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


def basic_zero_pad(in_channels: int, width: int, stride: int) -> nn.Module:
    branch = nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNorm(width, width, 3))
    keeps_shape = stride == 1 and in_channels == width
    return Residual(branch, nn.Identity() if keeps_shape else ZeroPadShortcut(width - in_channels, stride))


class Variant(NamedTuple):
    block: Block
    depth: int  # the paper's n, blocks in each stage


VARIANTS = {
    "resnet20": Variant(basic_zero_pad, 3),
    "resnet32": Variant(basic_zero_pad, 5),
    "resnet44": Variant(basic_zero_pad, 7),
    "resnet56": Variant(basic_zero_pad, 9),
    "resnet110": Variant(basic_zero_pad, 18),
    "resnet1202": Variant(basic_zero_pad, 200),
    "plain20": Variant(plain, 3),
    "plain32": Variant(plain, 5),
    "plain44": Variant(plain, 7),
    "plain56": Variant(plain, 9),
    "plain110": Variant(plain, 18),
}
STAGES = ((16, 1), (32, 2), (64, 2))  # width, stride of the first block


class CifarResNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, variant: Variant, *, num_classes: int = 10, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=5)
        self.stem = ConvNormReLU(in_channels, 16, 3)
        self.stages, channels = nn.Sequential(), 16
        for width, stride in STAGES:
            self.stages.append(stage(variant.block, variant.depth, channels, width, 1, stride))
            channels = width
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(CifarResNet, variant) for name, variant in VARIANTS.items()}
