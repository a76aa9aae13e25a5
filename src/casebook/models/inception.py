"""Inception v2 (also called BN-Inception) and v3.

Sources: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, Figure 5, https://arxiv.org/abs/1502.03167 (v2); Szegedy et al., "Rethinking the Inception Architecture for
Computer Vision", CVPR 2016, Table 1, https://arxiv.org/abs/1512.00567 (v3).

Neither follows the paper to the letter: v2 is the network of the public weights from Caffe, v3 that of the authors' own
code, TF-Slim (tensorflow/models, research/slim/nets), whose letters name the modules here. The cards list the
differences. Initialisation, v3's dropout and its batch norms' epsilon are TF-Slim's. The running statistics move by 0.1
per step; with TF-Slim's 0.0003 they would be wrong for thousands of steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import nn

from ..errors import ModelError
from .card import Departure
from .inception_parts import (
    SMALL_STEM,
    Inception,
    average_inside,
    chain,
    inception_a,
    initialise,
    reduction_a,
    reduction_b,
    split,
    stage,
    stem_v3,
    unit,
)
from .layers import ConvNormReLU, Head, Network, SameMaxPool2d, draw_truncated_normal

# Inception v2


class BiasedUnit(ConvNormReLU):
    """The convolution of v2: with a bias, which the batch norm after it cancels, and padded also with a stride."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1):
        super().__init__(in_channels, channels, kernel, stride=stride)
        self.conv.bias = nn.Parameter(torch.zeros(channels))


class Filters(NamedTuple):
    """One row of the table in Figure 5. A module without the 1x1 branch has stride 2 and pools its input."""

    one: int  # 1x1
    reduce: int
    three: int  # 3x3
    reduce_double: int
    double: int  # 3x3, twice
    pooled: int  # 1x1 after the pooling


TABLE_V2 = (
    {
        "inception3a": Filters(64, 64, 64, 64, 96, 32),
        "inception3b": Filters(64, 64, 96, 64, 96, 64),
    },
    {
        "inception3c": Filters(0, 128, 160, 64, 96, 0),
        "inception4a": Filters(224, 64, 96, 96, 128, 128),
        "inception4b": Filters(192, 96, 128, 96, 128, 128),
        "inception4c": Filters(160, 128, 160, 128, 160, 128),
        "inception4d": Filters(96, 128, 192, 160, 192, 128),
    },
    {
        "inception4e": Filters(0, 128, 192, 192, 256, 0),
        "inception5a": Filters(352, 192, 320, 160, 224, 128),
        "inception5b": Filters(352, 192, 320, 192, 224, 128),
    },
)
MAX_POOLED = "inception5b"  # the only module whose pooling takes the maximum, not the mean


def module_v2(in_channels: int, f: Filters, pool: nn.Module) -> tuple[nn.Module, int]:
    """Module, output channels."""
    module = Inception(
        BiasedUnit(in_channels, f.one),
        chain(in_channels, (f.reduce, 1), (f.three, 3), unit=BiasedUnit),
        chain(in_channels, (f.reduce_double, 1), (f.double, 3), (f.double, 3), unit=BiasedUnit),
        nn.Sequential(pool, BiasedUnit(in_channels, f.pooled)),
    )
    return module, f.one + f.three + f.double + f.pooled


def reduction_v2(in_channels: int, f: Filters) -> tuple[nn.Module, int]:
    """Module and number of output channels. At odd sizes the pooling windows are aligned with the convolutions."""
    module = Inception(
        chain(in_channels, (f.reduce, 1), (f.three, 3, 2), unit=BiasedUnit),
        chain(in_channels, (f.reduce_double, 1), (f.double, 3), (f.double, 3, 2), unit=BiasedUnit),
        SameMaxPool2d(3, stride=2),
    )
    return module, f.three + f.double + in_channels


SMALL_STEM_V2 = Departure(
    what="stem",
    paper="7x7 convolution with stride 2, max pooling with stride 2 after it and before the first module",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last modules",
)


class InceptionV2(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=5 if small_stem else 33)
        self.departures = (SMALL_STEM_V2,) * small_stem
        self.stem = nn.Sequential(
            BiasedUnit(in_channels, 64, 3) if small_stem else BiasedUnit(in_channels, 64, 7, 2),
            nn.Identity() if small_stem else SameMaxPool2d(3, stride=2),
            BiasedUnit(64, 64),
            BiasedUnit(64, 192, 3),
            nn.Identity() if small_stem else SameMaxPool2d(3, stride=2),
        )
        self.stages, channels = nn.Sequential(), 192
        for rows in TABLE_V2:
            modules = stage()
            for name, f in rows.items():
                pool = nn.MaxPool2d if name == MAX_POOLED else nn.AvgPool2d
                module, channels = (
                    module_v2(channels, f, pool(3, stride=1, padding=1)) if f.one else reduction_v2(channels, f)
                )
                modules.add_module(name, module)
            self.stages.append(modules)
        self.head = Head(channels, num_classes)
        initialise(self.modules())


# Inception v3


average_with_zeros = partial(nn.AvgPool2d, 3, stride=1, padding=1)


def inception_c_v3(width: int, pool: Callable[[], nn.Module]) -> nn.Module:
    """On the 17x17 grid: 7x7 convolutions in two steps."""
    return Inception(
        unit(768, 192),
        chain(768, (width, 1), (width, (1, 7)), (192, (7, 1))),
        chain(768, (width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))),
        nn.Sequential(pool(), unit(768, 192)),
    )


def inception_e_v3(in_channels: int, pool: Callable[[], nn.Module]) -> nn.Module:
    """On the 8x8 grid."""
    return Inception(
        unit(in_channels, 320),
        nn.Sequential(unit(in_channels, 384), split(384, 384)),
        nn.Sequential(unit(in_channels, 448), unit(448, 384, 3), split(384, 384)),
        nn.Sequential(pool(), unit(in_channels, 192)),
    )


def auxiliary_head_v3(num_classes: int) -> Head:
    """(B, 768, 17, 17) -> logits (B, num_classes). It averages other sizes to the same 5x5 grid."""
    narrow, whole = unit(768, 128), unit(128, 768, 5, padding=0)
    pool = nn.Sequential(nn.AvgPool2d(5, stride=3), nn.AdaptiveAvgPool2d(5), narrow, whole, nn.Flatten())
    initialise(narrow.modules())
    draw_truncated_normal(whole.conv.weight, std=0.01)
    head = Head(768, num_classes, pool=pool)
    draw_truncated_normal(head.classifier.weight, std=0.001)  # type: ignore[arg-type]
    return head


class InceptionV3(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    With `padding="same"`, averages at the border exclude the padding, as in TensorFlow. Training with the auxiliary
    head needs at least two pictures, because its last batch norm sees one pixel of each.

    Raises:
        ModelError: for other than 0 or 1 `auxiliary_heads`, or an unknown padding.
    """

    auxiliary_weight = 0.4

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        auxiliary_heads: int = 0,
        padding: Literal["symmetric", "same"] = "symmetric",
    ):
        super().__init__(in_channels=in_channels, smallest_input=11 if small_stem else 107)
        if auxiliary_heads not in (0, 1):
            raise ModelError(f"auxiliary_heads is {auxiliary_heads!r}, expected 0 or 1")
        if padding not in ("symmetric", "same"):
            raise ModelError(f"padding is {padding!r}, expected 'symmetric' or 'same'")
        self.departures = (SMALL_STEM,) * small_stem
        self.undone = ("average pooling",) * (padding == "same") + ("auxiliary head",) * auxiliary_heads
        pool = average_inside if padding == "same" else average_with_zeros
        self.stem = stem_v3(in_channels, small_stem)
        self.stages = nn.Sequential(
            stage(
                inception5b=inception_a(192, 64, 32, pool),
                inception5c=inception_a(256, 64, 64, pool),
                inception5d=inception_a(288, 64, 64, pool),
            ),
            stage(
                inception6a=reduction_a(288, 64, 96, 96, 384),
                inception6b=inception_c_v3(128, pool),
                inception6c=inception_c_v3(160, pool),
                inception6d=inception_c_v3(160, pool),
                inception6e=inception_c_v3(192, pool),
            ),
            stage(
                inception7a=reduction_b(768, (192, 320), (192, 192, 192, 192)),
                inception7b=inception_e_v3(1280, pool),
                inception7c=inception_e_v3(2048, pool),
            ),
        )
        self.head = Head(2048, num_classes, dropout=0.2)
        initialise(self.modules())
        if auxiliary_heads:
            self.auxiliary["inception6e"] = auxiliary_head_v3(num_classes)


NETWORKS = {"inception_v2": InceptionV2, "inception_v3": InceptionV3}
