"""Wide ResNet: a bottleneck with twice the inner width for ImageNet, and WRN-28-10 for CIFAR.

Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, Table 1 and section 3.4,
https://arxiv.org/abs/1605.07146, and the authors' code, szagoruyko/wide-residual-networks: WRN-50-2-bottleneck is
ResNet-50 with strides in the 3x3 convolution, WRN-28-10 has pre-activation. Departure: the paper has no 101 layers.
"""

import math
from functools import partial

from torch import nn

from ..errors import ModelError
from .layers import ConvNormReLU, Head, Network, NormReLU, draw_normal
from .residual_parts import PreActivated, ResNet, Variant, bottleneck, preactivated, stage

VARIANTS = {
    "wide_resnet50_2": Variant(partial(bottleneck, group_width=128), 4, (3, 4, 6, 3)),
    "wide_resnet101_2": Variant(partial(bottleneck, group_width=128), 4, (3, 4, 23, 3)),
}


def wide_basic(in_channels: int, width: int, stride: int, *, dropout: float) -> PreActivated:
    """Two 3x3 convolutions with dropout before the second (Figure 1 (d))."""
    branch = nn.Sequential(
        ConvNormReLU(in_channels, width, 3, stride=stride),
        nn.Dropout(dropout),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
    )
    return preactivated(in_channels, width, stride, branch)


STAGES = ((16, 1), (32, 2), (64, 2))  # width before widening, stride of the first block


class WideResNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): WRN-`depth`-`widening` for small pictures.

    `branch_dropout` is the fraction of a block's inner activations that training drops; the paper uses 0.3 for its
    CIFAR networks with dropout. The last stage ends with `final`, the normalisation and ReLU after the last sum.

    Raises:
        ModelError: for a dropout outside [0, 1).
    """

    def __init__(
        self,
        depth: int,
        widening: int,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        branch_dropout: float = 0.0,
    ):
        super().__init__(in_channels=in_channels, smallest_input=5)
        if not 0 <= branch_dropout < 1:
            raise ModelError(f"branch_dropout is {branch_dropout}, expected at least 0 and below 1")
        block = partial(wide_basic, dropout=branch_dropout)
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.stages, channels = nn.Sequential(), 16
        for width, stride in STAGES:
            width *= widening
            self.stages.append(stage(block, (depth - 4) // 6, channels, width, 1, stride))
            channels = width
        self.stages[-1].add_module("final", NormReLU(channels))
        self.head = Head(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # variance 2 / fan-in, as the authors' code has it
                draw_normal(module.weight, std=math.sqrt(2 / module.weight[0].numel()))


NETWORKS = {name: partial(ResNet, variant) for name, variant in VARIANTS.items()} | {
    "wrn28_10": partial(WideResNet, 28, 10)
}
