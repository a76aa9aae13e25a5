"""MobileNet v2, with its width multipliers and, in the same way, depth multipliers.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, Table 2,
https://arxiv.org/abs/1801.04381. Departures: a block with expansion 1 has no expansion convolution, as in all
public code, and strided convolutions are padded symmetrically; `padding="same"` gives TensorFlow's padding.
"""

import math
from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from ..errors import ModelError
from .card import Departure
from .layers import (
    SAME_PADDING,
    ConvNorm,
    ConvNormReLU6,
    Head,
    InvertedResidual,
    Network,
    check_multipliers,
    initialise_convolutions,
    round_channels,
)

Padding = Literal["symmetric", "same"]


def inverted_residual(in_channels: int, out_channels: int, expansion: int, stride: int, padding: Padding) -> nn.Module:
    """Expand 1x1, filter each channel 3x3, project 1x1 with no activation; shortcut if the shape stays the same."""
    width = expansion * in_channels
    branch = nn.Sequential()
    if expansion != 1:
        branch.append(ConvNormReLU6(in_channels, width, 1))
    branch.append(ConvNormReLU6(width, width, 3, stride=stride, groups=width, padding=padding))
    branch.append(ConvNorm(width, out_channels, 1))
    return InvertedResidual(branch) if stride == 1 and in_channels == out_channels else branch


class Stage(NamedTuple):
    expansion: int  # the paper's t
    channels: int  # c, before the width multiplier
    depth: int  # n
    stride: int  # s


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
STEM_CHANNELS, LAST_CHANNELS = 32, 1280
WIDTHS = {
    "mobilenet_v2_035": 0.35,
    "mobilenet_v2_050": 0.5,
    "mobilenet_v2_075": 0.75,
    "mobilenet_v2": 1.0,
    "mobilenet_v2_130": 1.3,
    "mobilenet_v2_140": 1.4,
}

SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 in the stem and in the 24-channel stage",
    here="stride 1 in both",
    why="small pictures: the paper's strides would leave one pixel of a 32x32 picture for the last stages",
)


class MobileNetV2(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    `width` multiplies the channels, `depth` the blocks of each stage, rounded up. The last of the `stages` is the 1x1
    convolution to 1280 channels, which a width below 1 does not reduce.

    Raises:
        ModelError: for a width or depth outside (0, 4] or an unknown padding.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        padding: Padding = "symmetric",
    ):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        check_multipliers(width=width, depth=depth)
        if padding not in ("symmetric", "same"):
            raise ModelError(f"padding is {padding!r}, expected 'symmetric' or 'same'")
        self.departures = (SMALL_STEM,) * small_stem + (SAME_PADDING,) * (padding == "same")

        channels = round_channels(STEM_CHANNELS * width)
        self.stem = ConvNormReLU6(in_channels, channels, 3, stride=1 if small_stem else 2, padding=padding)
        self.stages = nn.Sequential()
        for i, (expansion, stage_channels, blocks, stride) in enumerate(STAGES):
            out_channels, stage = round_channels(stage_channels * width), nn.Sequential()
            stride = 1 if small_stem and i == 1 else stride
            for _ in range(math.ceil(blocks * depth)):
                stage.append(inverted_residual(channels, out_channels, expansion, stride, padding))
                channels, stride = out_channels, 1
            self.stages.append(stage)
        last_channels = round_channels(LAST_CHANNELS * max(1.0, width))
        self.stages.append(nn.Sequential(ConvNormReLU6(channels, last_channels, 1)))
        self.head = Head(last_channels, num_classes, dropout=0.2)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(MobileNetV2, width=width) for name, width in WIDTHS.items()}
