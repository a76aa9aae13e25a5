"""MobileNet v3, small and large.

Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, Tables 1 and 2, https://arxiv.org/abs/1905.02244.
The second-last layer of the tables, which has no batch norm, is the hidden layer of the head here. Strided convolutions
are padded symmetrically; `padding="same"` gives TensorFlow's padding.
"""

from collections import OrderedDict
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import nn

from .card import Departure
from .layers import (
    ConvNorm,
    ConvNormReLU,
    Head,
    InvertedResidual,
    Network,
    SqueezeExcitation,
    draw_normal,
    initialise_convolutions,
    round_channels,
    tensorflow_options,
)


class ConvNormHardSwish(ConvNorm):
    activation_type = nn.Hardswish


RE, HS = ConvNormReLU, ConvNormHardSwish


class Block(NamedTuple):
    """One row of the paper's tables, in their order."""

    kernel: int
    width: int  # the table's "exp size"
    channels: int  # "#out"
    squeezes: bool  # "SE"
    layer: type[ConvNorm]  # "NL"
    stride: int


class Variant(NamedTuple):
    stages: tuple[tuple[Block, ...], ...]
    last_channels: int  # of the 1x1 convolution at the end of the stages
    hidden: int  # features of the head


VARIANTS = {
    "mobilenet_v3_large": Variant(
        stages=(
            (Block(3, 16, 16, False, RE, 1),),
            (Block(3, 64, 24, False, RE, 2), Block(3, 72, 24, False, RE, 1)),
            (Block(5, 72, 40, True, RE, 2), Block(5, 120, 40, True, RE, 1), Block(5, 120, 40, True, RE, 1)),
            (
                *(Block(3, 240, 80, False, HS, 2), Block(3, 200, 80, False, HS, 1)),
                *(Block(3, 184, 80, False, HS, 1), Block(3, 184, 80, False, HS, 1)),
            ),
            (Block(3, 480, 112, True, HS, 1), Block(3, 672, 112, True, HS, 1)),
            (Block(5, 672, 160, True, HS, 2), Block(5, 960, 160, True, HS, 1), Block(5, 960, 160, True, HS, 1)),
        ),
        last_channels=960,
        hidden=1280,
    ),
    "mobilenet_v3_small": Variant(
        stages=(
            (Block(3, 16, 16, True, RE, 2),),
            (Block(3, 72, 24, False, RE, 2), Block(3, 88, 24, False, RE, 1)),
            (Block(5, 96, 40, True, HS, 2), Block(5, 240, 40, True, HS, 1), Block(5, 240, 40, True, HS, 1)),
            (Block(5, 120, 48, True, HS, 1), Block(5, 144, 48, True, HS, 1)),
            (Block(5, 288, 96, True, HS, 2), Block(5, 576, 96, True, HS, 1), Block(5, 576, 96, True, HS, 1)),
        ),
        last_channels=576,
        hidden=1024,
    ),
}
STEM_CHANNELS = 16

SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 in the stem and in the first strided block",
    here="stride 1 in both",
    why="small pictures: the paper's strides would leave one pixel of a 32x32 picture for the last stages",
)


def bneck(block: Block, in_channels: int, **options: Any) -> nn.Module:
    """Expand 1x1, filter each channel, weight the channels, project 1x1; shortcut if the shape stays the same."""
    kernel, width, channels, squeezes, layer, stride = block
    branch: OrderedDict[str, nn.Module] = OrderedDict()
    if width != in_channels:
        branch["expand"] = layer(in_channels, width, 1, **options)
    branch["depthwise"] = layer(width, width, kernel, stride=stride, groups=width, **options)
    if squeezes:
        branch["excitation"] = SqueezeExcitation(width, round_channels(width / 4), gate=nn.Hardsigmoid)
    branch["project"] = ConvNorm(width, channels, 1, **options)
    keeps_shape = stride == 1 and in_channels == channels
    return InvertedResidual(nn.Sequential(branch)) if keeps_shape else nn.Sequential(branch)


class MobileNetV3(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The last of the `stages` is the 1x1 convolution before the pooling.

    Raises:
        ModelError: for an unknown padding or an impossible norm_eps.
    """

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        padding: Literal["symmetric", "same"] = "symmetric",
        norm_eps: float = 1e-3,
    ):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        self.departures = (SMALL_STEM,) * small_stem + tensorflow_options(padding, norm_eps)

        options: dict[str, Any] = {"padding": padding, "eps": norm_eps, "momentum": 0.01}
        channels = STEM_CHANNELS
        self.stem = HS(in_channels, channels, 3, stride=1 if small_stem else 2, **options)
        self.stages, unstrided = nn.Sequential(), small_stem
        for blocks in variant.stages:
            stage = nn.Sequential()
            for block in blocks:
                if unstrided and block.stride == 2:
                    block, unstrided = block._replace(stride=1), False
                stage.append(bneck(block, channels, **options))
                channels = block.channels
            self.stages.append(stage)
        self.stages.append(nn.Sequential(HS(channels, variant.last_channels, 1, **options)))

        hidden = nn.Linear(variant.last_channels, variant.hidden)
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        pool.add_module("hidden", hidden)
        pool.add_module("activation", nn.Hardswish())
        self.head = Head(variant.hidden, num_classes, pool=pool, dropout=0.2)
        initialise_convolutions(self.modules())
        draw_normal(hidden.weight, std=(2 / hidden.in_features) ** 0.5)
        nn.init.zeros_(hidden.bias)


NETWORKS = {name: partial(MobileNetV3, variant) for name, variant in VARIANTS.items()}
