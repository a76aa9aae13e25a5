"""AlexNet: the two towers of 2012, a version without groups, and the single column of 2014.

Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
Figure 2 and section 3, https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html. The
towers are the two groups of layers 2, 4 and 5; "alexnet_ungrouped" has full connections there. The paper's sizes follow
from 227x227 pixels, although it prints 224. "alexnet_owt" is the column of Krizhevsky, "One weird trick for
parallelizing convolutional neural networks", 2014, https://arxiv.org/abs/1404.5997, with 256 channels in layer 4, as
his code and torchvision have it, where the paper has 384.
"""

from functools import partial
from typing import NamedTuple

from torch import nn

from .layers import ConvReLU, Network, dense_head, draw_normal, response_norm


class ConvLayer(NamedTuple):
    channels: int
    kernel_size: int
    stride: int
    padding: int
    groups: int
    norm: bool  # local response normalisation after the ReLU
    pool: bool  # then 3x3 max pooling with stride 2


class Variant(NamedTuple):
    layers: tuple[ConvLayer, ...]
    dropouts: tuple[float, float, float]  # before layers 6, 7 and 8
    smallest_input: int
    open_layers: tuple[str, ...]  # whose biases begin at 1


OPEN = ("stages.0.", "stages.2.", "stages.3.", "head.pool.")
TOWERS = (
    ConvLayer(96, 11, 4, 0, 1, True, True),
    ConvLayer(256, 5, 1, 2, 2, True, True),
    ConvLayer(384, 3, 1, 1, 1, False, False),
    ConvLayer(384, 3, 1, 1, 2, False, False),
    ConvLayer(256, 3, 1, 1, 2, False, True),
)
COLUMN = (
    ConvLayer(64, 11, 4, 2, 1, False, True),
    ConvLayer(192, 5, 1, 2, 1, False, True),
    ConvLayer(384, 3, 1, 1, 1, False, False),
    ConvLayer(256, 3, 1, 1, 1, False, False),
    ConvLayer(256, 3, 1, 1, 1, False, True),
)
VARIANTS = {
    "alexnet": Variant(TOWERS, (0, 0.5, 0.5), 99, OPEN),
    "alexnet_ungrouped": Variant(tuple(layer._replace(groups=1) for layer in TOWERS), (0, 0.5, 0.5), 99, OPEN),
    "alexnet_owt": Variant(COLUMN, (0.5, 0.5, 0), 95, ()),
}


class AlexNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The stem is layer 1 of the paper, the stages are layers 2 to 5 and the head is 6 to 8.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=variant.smallest_input)
        parts, channels = [], in_channels
        for layer in variant.layers:
            part = nn.Sequential(
                ConvReLU(
                    channels,
                    layer.channels,
                    layer.kernel_size,
                    stride=layer.stride,
                    padding=layer.padding,
                    groups=layer.groups,
                )
            )
            if layer.norm:
                part.append(response_norm())
            if layer.pool:
                part.append(nn.MaxPool2d(3, stride=2))
            parts.append(part)
            channels = layer.channels
        self.stem = parts[0]
        self.stages = nn.Sequential(*parts[1:])
        self.head = dense_head(channels, 6, num_classes, variant.dropouts)
        self._initialise(variant.open_layers)

    def _initialise(self, open_layers: tuple[str, ...]) -> None:
        """Section 5: normal with deviation 0.01; biases 1 in the open layers, to keep ReLUs active, else 0."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                draw_normal(module.weight, std=0.01)
                nn.init.constant_(module.bias, float(name.startswith(open_layers)))  # type: ignore[arg-type]


NETWORKS = {name: partial(AlexNet, variant) for name, variant in VARIANTS.items()}
