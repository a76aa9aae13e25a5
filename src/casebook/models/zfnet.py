"""ZFNet, its wider variant (b), and the network that lectures show under this name.

Source: Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, Figure 3 and Table 2,
https://arxiv.org/abs/1311.2901. It is AlexNet with smaller, denser windows in the first layers, and with one tower. The
padding of layer 1, and pooling windows that extend past the edge, follow from the sizes in Figure 3. "zfnet_wide" has
the channels of variant (b), stride 1 in the second layer, and 227x227 pixels: its first dense layer alone has 354
million weights.
"""

from functools import partial
from typing import NamedTuple

from torch import nn

from .layers import ConvReLU, Network, dense_head, draw_normal, response_norm


class Variant(NamedTuple):
    channels: tuple[int, int, int]  # of layers 3, 4 and 5
    paddings: tuple[int, int]  # of layers 1 and 2
    stride: int  # of layer 2
    hangs_over: bool  # whether the last pooling window may lie half outside
    grid: int  # side of what the dense layers see
    smallest_input: int


VARIANTS = {
    "zfnet": Variant((384, 384, 256), (1, 0), 2, True, 6, 79),
    "zfnet_b": Variant((512, 1024, 512), (1, 0), 2, True, 6, 79),
    "zfnet_wide": Variant((512, 1024, 512), (0, 2), 1, False, 13, 51),
}


class ZFNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The stem is layer 1 of the paper, the stages are layers 2 to 5 and the head is 6 and 7 and the output.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3):
        super().__init__(in_channels=in_channels, smallest_input=variant.smallest_input)

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, stride=2, ceil_mode=variant.hangs_over)

        third, fourth, fifth = variant.channels
        first_padding, second_padding = variant.paddings
        self.stem = nn.Sequential(
            ConvReLU(in_channels, 96, 7, stride=2, padding=first_padding), pool(), response_norm()
        )
        self.stages = nn.Sequential(
            nn.Sequential(ConvReLU(96, 256, 5, stride=variant.stride, padding=second_padding), pool(), response_norm()),
            nn.Sequential(ConvReLU(256, third, 3, padding=1)),
            nn.Sequential(ConvReLU(third, fourth, 3, padding=1)),
            nn.Sequential(ConvReLU(fourth, fifth, 3, padding=1), pool()),
        )
        self.head = dense_head(fifth, variant.grid, num_classes, (0, 0.5, 0.5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                draw_normal(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


NETWORKS = {name: partial(ZFNet, variant) for name, variant in VARIANTS.items()}
