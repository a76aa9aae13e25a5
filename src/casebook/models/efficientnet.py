"""EfficientNet, B0 to B7: one small network, scaled in width, depth and resolution at once.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, Table 1 and
equation 3, https://arxiv.org/abs/1905.11946. The multipliers of B1 to B7 and the rounding come from the authors'
code (tensorflow/tpu, models/official/efficientnet); the paper has no table of them. Strided convolutions are padded
symmetrically; `padding="same"` gives TensorFlow's padding.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, NamedTuple

from torch import nn

from ..errors import ModelError
from .card import Departure
from .layers import (
    ConvNorm,
    DropPath,
    Head,
    InvertedResidual,
    Network,
    SqueezeExcitation,
    check_multipliers,
    initialise_convolutions,
    round_channels,
    tensorflow_options,
)


class ConvNormSiLU(ConvNorm):
    activation_type = nn.SiLU


class Scale(NamedTuple):
    """How far B0 is scaled; equation 3 of the paper derives the first three from one coefficient."""

    width: float  # channels / B0's
    depth: float  # blocks / B0's
    resolution: int  # side of the input in pixels
    dropout: float


SCALES = {
    "efficientnet_b0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Scale(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Scale(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Scale(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Scale(1.6, 2.2, 456, 0.4),
    "efficientnet_b6": Scale(1.8, 2.6, 528, 0.5),
    "efficientnet_b7": Scale(2.0, 3.1, 600, 0.5),
}
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15  # depth, width and resolution for one step of the compound coefficient


class Stage(NamedTuple):
    """One row of Table 1 (B0), in the order of its columns."""

    expansion: int
    kernel: int
    stride: int  # of the first block
    channels: int
    depth: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
STEM_CHANNELS, LAST_CHANNELS = 32, 1280

SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 in the stem and in the first strided stage",
    here="stride 1 in both",
    why="small pictures: the paper's strides would leave one pixel of a 32x32 picture for the last stages",
)


def mbconv(
    in_channels: int, channels: int, expansion: int, kernel: int, stride: int, drop_path: float, **options: Any
) -> nn.Module:
    """Expand 1x1, filter each channel, weight the channels, project 1x1; shortcut if the shape stays the same."""
    width = expansion * in_channels
    branch: OrderedDict[str, nn.Module] = OrderedDict()
    if expansion != 1:
        branch["expand"] = ConvNormSiLU(in_channels, width, 1, **options)
    branch["depthwise"] = ConvNormSiLU(width, width, kernel, stride=stride, groups=width, **options)
    branch["excitation"] = SqueezeExcitation(width, max(1, in_channels // 4), activation=nn.SiLU)
    branch["project"] = ConvNorm(width, channels, 1, **options)
    if stride != 1 or in_channels != channels:
        return nn.Sequential(branch)
    branch["drop_path"] = DropPath(drop_path)
    return InvertedResidual(nn.Sequential(branch))


class EfficientNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    `width` and `depth` multiply B0's channels and blocks. In training, a block with a shortcut is dropped with the
    probability `drop_path` times the fraction of blocks before it. The last of the `stages` is the 1x1 convolution,
    and the head has B0's dropout.

    Raises:
        ModelError: for a width or depth outside (0, 4], a drop_path outside [0, 1), an unknown padding or an
            impossible norm_eps.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        padding: Literal["symmetric", "same"] = "symmetric",
        norm_eps: float = 1e-3,
        drop_path: float = 0.2,
    ):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        check_multipliers(width=width, depth=depth)
        if not 0 <= drop_path < 1:
            raise ModelError(f"drop_path is {drop_path}, expected at least 0 and below 1")
        self.departures = (SMALL_STEM,) * small_stem + tensorflow_options(padding, norm_eps)

        options: dict[str, Any] = {"padding": padding, "eps": norm_eps, "momentum": 0.01}
        channels, depths = round_channels(STEM_CHANNELS * width), [math.ceil(row.depth * depth) for row in STAGES]
        self.stem = ConvNormSiLU(in_channels, channels, 3, stride=1 if small_stem else 2, **options)
        self.stages, before = nn.Sequential(), 0
        for i, (row, blocks) in enumerate(zip(STAGES, depths, strict=True)):
            out_channels, stage = round_channels(row.channels * width), nn.Sequential()
            stride = 1 if small_stem and i == 1 else row.stride
            for _ in range(blocks):
                p = drop_path * before / sum(depths)
                stage.append(mbconv(channels, out_channels, row.expansion, row.kernel, stride, p, **options))
                channels, stride, before = out_channels, 1, before + 1
            self.stages.append(stage)
        last_channels = round_channels(LAST_CHANNELS * width)
        self.stages.append(nn.Sequential(ConvNormSiLU(channels, last_channels, 1, **options)))
        self.head = Head(last_channels, num_classes, dropout=SCALES["efficientnet_b0"].dropout)
        initialise_convolutions(self.modules())


def scaled(scale: Scale) -> Callable[..., EfficientNet]:
    """A constructor of EfficientNets whose default multipliers and dropout are those of `scale`."""

    @wraps(EfficientNet, updated=())  # create_model reads the options from the signature
    def build(**options: Any) -> EfficientNet:
        options = {"width": scale.width, "depth": scale.depth} | options
        network = EfficientNet(**options)
        network.head.dropout = nn.Dropout(scale.dropout)
        return network

    return build


NETWORKS = {name: scaled(scale) for name, scale in SCALES.items()}
