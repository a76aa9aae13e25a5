"""MobileNet v1 and its width multipliers.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
Table 1, https://arxiv.org/abs/1704.04861. Departures: ReLU6 instead of ReLU, and stride 1 in the last block, where
the table prints 2 next to equal sizes. Strided convolutions are padded symmetrically; `padding="same"` gives
TensorFlow's padding.
"""

from collections import OrderedDict
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import nn

from ..errors import ModelError
from .card import Departure
from .layers import ConvNormReLU6, Head, Network, initialise_convolutions, tensorflow_options


def separable(in_channels: int, out_channels: int, stride: int, **options: Any) -> nn.Module:
    """Filter each channel 3x3, then mix the channels 1x1, with an activation after each: Figure 3 of the paper."""
    depthwise = ConvNormReLU6(in_channels, in_channels, 3, stride=stride, groups=in_channels, **options)
    pointwise = ConvNormReLU6(in_channels, out_channels, 1, **options)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


class Stage(NamedTuple):
    channels: int  # before the width multiplier
    depth: int  # blocks
    stride: int  # of the first block


STAGES = (Stage(64, 1, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 6, 2), Stage(1024, 2, 2))
STEM_CHANNELS, FEWEST_CHANNELS = 32, 8
WIDTHS = {"mobilenet_v1": 1.0, "mobilenet_v1_075": 0.75, "mobilenet_v1_050": 0.5, "mobilenet_v1_025": 0.25}

SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 in the stem and in the 128-channel stage",
    here="stride 1 in both",
    why="small pictures: the paper's strides would leave one pixel of a 32x32 picture for the last stage",
)


def thinned(channels: int, width: float) -> int:
    """`channels` times the paper's alpha, as an integer of at least 8."""
    return max(FEWEST_CHANNELS, int(channels * width))


class MobileNetV1(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ModelError: for a width outside (0, 4], an unknown padding or an impossible norm_eps.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        padding: Literal["symmetric", "same"] = "symmetric",
        norm_eps: float = 1e-3,
    ):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        if not 0 < width <= 4:
            raise ModelError(f"width is {width}, expected above 0 and at most 4")
        self.departures = (SMALL_STEM,) * small_stem + tensorflow_options(padding, norm_eps)

        options: dict[str, Any] = {"padding": padding, "eps": norm_eps, "momentum": 0.01}
        channels = thinned(STEM_CHANNELS, width)
        self.stem = ConvNormReLU6(in_channels, channels, 3, stride=1 if small_stem else 2, **options)
        self.stages = nn.Sequential()
        for i, (stage_channels, depth, stride) in enumerate(STAGES):
            out_channels, stage = thinned(stage_channels, width), nn.Sequential()
            stride = 1 if small_stem and i == 1 else stride
            for _ in range(depth):
                stage.append(separable(channels, out_channels, stride, **options))
                channels, stride = out_channels, 1
            self.stages.append(stage)
        self.head = Head(channels, num_classes, dropout=0.001)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(MobileNetV1, width=width) for name, width in WIDTHS.items()}
