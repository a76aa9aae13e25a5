"""ResNet for 32x32 pictures, 20 to 1202 layers, and the plain networks it is compared with.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2,
https://arxiv.org/abs/1512.03385: 6n + 2 layers in three stages of 16, 32 and 64 channels, with the
parameter-free shortcuts of option A, so that a residual network has exactly its plain twin's weights;
`shortcut="B"` and "C" give the other options of section 4.1.

Initialisation is He's, as in the paper. With it, the gradient of a plain network grows by a fifth per layer on the way
back: over 110 layers by a factor of many millions, so the network does not learn. Batch norm and ReLU cause this
together, and the effect is weaker the closer units are to their linear part: Yang et al., "A Mean Field Theory of Batch
Normalization", ICLR 2019, https://arxiv.org/abs/1902.08129. `linear_start=True` starts closer to that part and close to
the identity. Zagoruyko and Komodakis train deep plain networks from the identity too, by other means, in "DiracNets",
https://arxiv.org/abs/1706.00388.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .card import Departure
from .layers import ConvNormReLU, Head, Network, initialise_convolutions
from .residual_parts import Block, Option, basic, plain, shortcut_block, shortcut_departure, stage


class Variant(NamedTuple):
    block: Block
    depth: int  # the paper's n, blocks in each stage


VARIANTS = {
    "resnet20": Variant(basic, 3),
    "resnet32": Variant(basic, 5),
    "resnet44": Variant(basic, 7),
    "resnet56": Variant(basic, 9),
    "resnet110": Variant(basic, 18),
    "resnet1202": Variant(basic, 200),
}
PLAIN = {
    "plain20": Variant(plain, 3),
    "plain32": Variant(plain, 5),
    "plain44": Variant(plain, 7),
    "plain56": Variant(plain, 9),
    "plain110": Variant(plain, 18),
}
STAGES = ((16, 1), (32, 2), (64, 2))  # width, stride of the first block

LINEAR_START = Departure(
    "initialisation",
    "convolutions start as He et al. draw them, batch norms with a shift of 0",
    "convolutions between equal numbers of channels start as the identity and a fifth of that draw, batch norms with a "
    "shift of 1",
    "asked for: without shortcuts 110 layers do not learn from the paper's start",
)


class CifarResNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, variant: Variant, *, num_classes: int = 10, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=5)
        self.stem = ConvNormReLU(in_channels, 16, 3)
        self.stages, channels = nn.Sequential(), 16
        for width, stride in STAGES:
            self.stages.append(stage(variant.block, variant.depth, channels, width, 1, stride))
            channels = width
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


def cifar_resnet(
    variant: Variant, *, num_classes: int = 10, in_channels: int = 3, shortcut: Option = "A"
) -> CifarResNet:
    """A residual network with shortcuts of option A (the paper's choice here), B or C.

    Raises ModelError for another option.
    """
    variant = variant._replace(block=shortcut_block(variant.block, shortcut))
    network = CifarResNet(variant, num_classes=num_classes, in_channels=in_channels)
    network.departures = shortcut_departure("A", shortcut)
    return network


def cifar_plain(
    variant: Variant, *, num_classes: int = 10, in_channels: int = 3, linear_start: bool = False
) -> CifarResNet:
    """A plain network. With `linear_start` it starts nearly linear, which deep ones need in order to learn."""
    network = CifarResNet(variant, num_classes=num_classes, in_channels=in_channels)
    if linear_start:
        network.departures = (LINEAR_START,)
        start_nearly_linear(network)
    return network


@torch.no_grad()
def start_nearly_linear(network: CifarResNet) -> None:
    """Shifts normalised units by 1, so that 5 of 6 are positive, where a ReLU is the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.fill_(1.0)
        elif isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels:
            module.weight.mul_(0.2)
            module.weight[:, :, 1, 1] += torch.eye(module.out_channels, device=module.weight.device)


NETWORKS = {name: partial(cifar_resnet, variant) for name, variant in VARIANTS.items()}
NETWORKS |= {name: partial(cifar_plain, variant) for name, variant in PLAIN.items()}
