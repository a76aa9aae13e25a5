"""Network in Network, for CIFAR-10 and for ImageNet.

Source: Lin, Chen, Yan, "Network In Network", ICLR 2014, sections 3 and 4.1, https://arxiv.org/abs/1312.4400. The paper
does not state the widths; they come from the authors' Caffe files, https://gist.github.com/mavenlin/e56253735ef32c3c296d
(CIFAR-10) and https://gist.github.com/mavenlin/d802a5849de39225bcc6 (ImageNet). As in Caffe, pooling windows may
extend past the edge, so the last map for ImageNet has 6x6 pixels.
"""

from functools import partial
from typing import NamedTuple

from torch import nn

from .card import Departure
from .layers import ConvHead, ConvReLU, Network, draw_normal


class MLPConv(NamedTuple):
    """A convolution and 1x1 convolutions, each followed by a ReLU, then 3x3 pooling with stride 2 and dropout."""

    channels: tuple[int, ...]
    kernel_size: int
    stride: int
    padding: int
    std: float  # of the first convolution's initial weights; the 1x1 ones have 0.05
    pool: type[nn.MaxPool2d] | type[nn.AvgPool2d] | None
    dropout: float


class Variant(NamedTuple):
    blocks: tuple[MLPConv, ...]  # the last 1x1 convolution of the last one is the head's
    std: float  # of the head's initial weights
    smallest_input: int


CIFAR = Variant(
    (
        MLPConv((192, 160, 96), 5, 1, 2, 0.05, nn.MaxPool2d, 0.5),
        MLPConv((192, 192, 192), 5, 1, 2, 0.05, nn.AvgPool2d, 0.5),
        MLPConv((192, 192), 3, 1, 1, 0.05, None, 0),
    ),
    std=0.05,
    smallest_input=8,
)
IMAGENET = Variant(
    (
        MLPConv((96, 96, 96), 11, 4, 0, 0.01, nn.MaxPool2d, 0),
        MLPConv((256, 256, 256), 5, 1, 2, 0.05, nn.MaxPool2d, 0),
        MLPConv((384, 384, 384), 3, 1, 1, 0.01, nn.MaxPool2d, 0.5),
        MLPConv((1024, 1024), 3, 1, 1, 0.05, None, 0),
    ),
    std=0.01,
    smallest_input=71,
)
IMAGENET_SMALL = Variant((MLPConv((96, 96, 96), 3, 1, 1, 0.01, None, 0), *IMAGENET.blocks[1:]), 0.01, 8)

SMALL_STEM = Departure(
    what="stem",
    paper="11x11 convolution with stride 4, and 3x3 max pooling with stride 2 after its 1x1 convolutions",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave less than one pixel of a 32x32 picture for the last stage",
)


def mlpconv(in_channels: int, block: MLPConv) -> nn.Sequential:
    first, *others = block.channels
    conv = ConvReLU(in_channels, first, block.kernel_size, stride=block.stride, padding=block.padding)
    layers, channels = nn.Sequential(conv), first
    draw_normal(conv.conv.weight, std=block.std)
    for width in others:
        layers.append(ConvReLU(channels, width, 1))
        draw_normal(layers[-1].conv.weight, std=0.05)  # type: ignore[union-attr, arg-type]
        channels = width
    if block.pool:
        layers.append(block.pool(3, stride=2, ceil_mode=True))
    if block.dropout:
        layers.append(nn.Dropout(block.dropout))
    return layers


class NiN(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes), all of them non-negative.

    The stem is the first block, the stages are the others.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=variant.smallest_input)
        first, *others = variant.blocks
        self.stem = mlpconv(in_channels, first)
        self.stages, channels = nn.Sequential(), first.channels[-1]
        for block in others:
            self.stages.append(mlpconv(channels, block))
            channels = block.channels[-1]
        self.head = ConvHead(channels, num_classes)
        draw_normal(self.head.classifier.conv.weight, std=variant.std)  # type: ignore[union-attr, arg-type]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def nin_imagenet(*, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False) -> NiN:
    network = NiN(IMAGENET_SMALL if small_stem else IMAGENET, num_classes=num_classes, in_channels=in_channels)
    network.departures = (SMALL_STEM,) * small_stem
    return network


NETWORKS = {"nin_cifar": partial(NiN, CIFAR, num_classes=10), "nin_imagenet": nin_imagenet}
