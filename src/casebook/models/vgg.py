"""VGG, 11 to 19 layers, with and without batch norm, and a 15-layer version that lectures show as VGG-16.

Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, Table 1
(columns A, B, D and E), https://arxiv.org/abs/1409.1556. Batch norm is a later addition, as in torchvision: after each
convolution, which keeps its bias. Weights are initialised after Glorot and Bengio, as a note in section 3.1 allows.
"""

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

from torch import nn

from .layers import ConvReLU, Network, dense_head


class BiasedConvNormReLU(nn.Sequential):
    """3x3 convolution with bias, batch norm, ReLU. The norm cancels the bias, but public weights have it."""

    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(in_channels, out_channels, 3, padding=1),
                norm=nn.BatchNorm2d(out_channels),
                activation=nn.ReLU(),
            )
        )


class Variant(NamedTuple):
    depths: tuple[int, ...]  # convolutions in each block
    norm: bool = False


VARIANTS = {
    "vgg11": Variant((1, 1, 2, 2, 2)),
    "vgg13": Variant((2, 2, 2, 2, 2)),
    "vgg16": Variant((2, 2, 3, 3, 3)),
    "vgg19": Variant((2, 2, 4, 4, 4)),
    "vgg11_bn": Variant((1, 1, 2, 2, 2), norm=True),
    "vgg13_bn": Variant((2, 2, 2, 2, 2), norm=True),
    "vgg16_bn": Variant((2, 2, 3, 3, 3), norm=True),
    "vgg19_bn": Variant((2, 2, 4, 4, 4), norm=True),
    "vgg15_lecture": Variant((2, 2, 2, 3, 3)),
}
WIDTHS = (64, 128, 256, 512, 512)


def block(in_channels: int, width: int, depth: int, norm: bool) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, width, H/2, W/2): `depth` 3x3 convolutions, then max pooling."""
    layers = nn.Sequential()
    for _ in range(depth):
        layers.append(BiasedConvNormReLU(in_channels, width) if norm else ConvReLU(in_channels, width, 3, padding=1))
        in_channels = width
    return layers.append(nn.MaxPool2d(2))


class VGG(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes). The stem is the first of the five blocks."""

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=64)
        inputs = (in_channels, *WIDTHS[:-1])
        blocks = [
            block(channels, width, depth, variant.norm)
            for channels, width, depth in zip(inputs, WIDTHS, variant.depths, strict=True)
        ]
        self.stem = blocks[0]
        self.stages = nn.Sequential(*blocks[1:])
        self.head = dense_head(WIDTHS[-1], 7, num_classes, (0, 0.5, 0.5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


NETWORKS = {name: partial(VGG, variant) for name, variant in VARIANTS.items()}
