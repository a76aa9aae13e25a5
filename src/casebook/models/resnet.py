"""ResNet, 18 to 152 layers, and the plain networks it is compared with.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and Figure 3,
https://arxiv.org/abs/1512.03385. Departures: a bottleneck has its stride in the 3x3 convolution instead of the first
1x1, like most published weights; "resnet50_v1" follows the paper. Shortcuts are the paper's option B also below 50
layers, where the paper uses A; `shortcut="A"` and "C" give the others. The multipliers `width` and `depth` are not in
the paper; they work as in MobileNet v2 and EfficientNet.
"""

import math
from functools import partial

from torch import nn

from .layers import ConvNorm, ConvNormReLU, check_multipliers
from .residual_parts import (
    Option,
    Residual,
    ResNet,
    Shortcut,
    Variant,
    basic,
    bottleneck,
    plain,
    projection,
    shortcut_block,
    shortcut_departure,
)


def bottleneck_v1(in_channels: int, width: int, stride: int, *, shortcut: Shortcut = projection) -> Residual:
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 1, stride=stride),
        ConvNormReLU(width, width, 3),
        ConvNorm(width, 4 * width, 1),
    )
    return Residual(branch, shortcut(in_channels, 4 * width, stride))


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
    """A ResNet with shortcuts of option A (the paper's choice below 50 layers), B (its choice from 50 on) or C.

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
