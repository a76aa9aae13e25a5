"""Inception v2 (also called BN-Inception), v3, v4, and Inception-ResNet v2.

Sources: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, Figure 5, https://arxiv.org/abs/1502.03167 (v2); Szegedy et al., "Rethinking the Inception Architecture for
Computer Vision", CVPR 2016, Table 1, https://arxiv.org/abs/1512.00567 (v3); Szegedy et al., "Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017, Figures 3 to 9 and 15 to 19,
https://arxiv.org/abs/1602.07261 (v4, Inception-ResNet v2).

None of them is built as printed: v2 is the network of the public weights from Caffe, the others those of the authors'
own code, TF-Slim (tensorflow/models, research/slim/nets), whose letters name the modules here. The cards list the
differences. Initialisation is TF-Slim's, as are dropout and the batch norms' epsilon of all but v2. The running
statistics move by 0.1 a step, not by TF-Slim's 0.0003, with which they would be wrong for thousands of steps.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .card import Departure
from .googlenet import Inception
from .layers import Classifier, ConvNormReLU, Network, SameMaxPool2d, Sum, draw_truncated_normal

Kernel = int | tuple[int, int]
Unit = Callable[..., nn.Module]  # in_channels, channels, kernel, stride -> convolution, norm and ReLU


def unit(
    in_channels: int, channels: int, kernel: Kernel = 1, stride: int = 1, padding: Literal["symmetric", 0] = "symmetric"
) -> ConvNormReLU:
    """The convolution of v3, v4 and Inception-ResNet: those that stride have no padding, others keep the size."""
    padding = 0 if stride > 1 else padding
    return ConvNormReLU(in_channels, channels, kernel, stride=stride, padding=padding, eps=1e-3)


class BiasedUnit(ConvNormReLU):
    """The convolution of v2: with a bias, which the batch norm behind it makes superfluous; padded where it strides."""

    def __init__(self, in_channels: int, channels: int, kernel: Kernel = 1, stride: int = 1):
        super().__init__(in_channels, channels, kernel, stride=stride)
        self.conv.bias = nn.Parameter(torch.zeros(channels))


def chain(in_channels: int, *rows: tuple, unit: Unit = unit) -> nn.Sequential:
    """Convolutions one after another; a row is channels, kernel and, where not 1, stride."""
    units = nn.Sequential()
    for row in rows:
        units.append(unit(in_channels, *row))
        in_channels = row[0]
    return units


def stage(**blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(blocks))


def initialise(modules: Iterable[nn.Module]) -> None:
    """TF-Slim's variance_scaling_initializer: truncated normal with 2.6 / fan-in before the cut; biases 0."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            draw_truncated_normal(module.weight, std=math.sqrt(2.6 / module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# Inception v2


class Filters(NamedTuple):
    """One row of the table in Figure 5; a module without 1x1 strides and passes its input through a pooling."""

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
    """Module, output channels. At odd sizes the pooling's windows lie as the convolutions'."""
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
        self.head = Classifier(channels, num_classes)
        initialise(self.modules())


# What v3, v4 and Inception-ResNet v2 share


SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 three times, and convolutions without padding",
    here="stride 1, and padding that keeps the size",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture",
)
average_inside = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)  # TensorFlow's "SAME"
average_with_zeros = partial(nn.AvgPool2d, 3, stride=1, padding=1)


def stem_v3(in_channels: int, small: bool) -> nn.Sequential:
    """(B, in_channels, 299, 299) -> (B, 192, 35, 35)."""
    stride, padding = (1, "symmetric") if small else (2, 0)
    return nn.Sequential(
        unit(in_channels, 32, 3, stride),
        unit(32, 32, 3, padding=padding),
        unit(32, 64, 3),
        nn.MaxPool2d(3, stride=stride, padding=int(small)),
        unit(64, 80),
        unit(80, 192, 3, padding=padding),
        nn.MaxPool2d(3, stride=stride, padding=int(small)),
    )


def inception_a(in_channels: int, narrow: int, pooled: int, pool: Callable[[], nn.Module]) -> nn.Module:
    """v3's module on the 35x35 grid, and the first of Inception-ResNet."""
    return Inception(
        unit(in_channels, narrow),
        chain(in_channels, (48, 1), (64, 5)),
        chain(in_channels, (64, 1), (96, 3), (96, 3)),
        nn.Sequential(pool(), unit(in_channels, pooled)),
    )


def reduction_a(in_channels: int, k: int, l: int, m: int, n: int) -> nn.Module:  # noqa: E741 (the paper's letters)
    """35x35 -> 17x17: Figure 7 of the v4 paper, whose Table 1 has k, l, m and n."""
    return Inception(
        unit(in_channels, n, 3, 2),
        chain(in_channels, (k, 1), (l, 3), (m, 3, 2)),
        nn.MaxPool2d(3, stride=2),
    )


def reduction_b(in_channels: int, narrow: tuple[int, int], deep: tuple[int, int, int, int]) -> nn.Module:
    """17x17 -> 8x8 in v3 and v4."""
    return Inception(
        chain(in_channels, (narrow[0], 1), (narrow[1], 3, 2)),
        chain(in_channels, (deep[0], 1), (deep[1], (1, 7)), (deep[2], (7, 1)), (deep[3], 3, 2)),
        nn.MaxPool2d(3, stride=2),
    )


def split(in_channels: int, channels: int) -> nn.Module:
    """A 3x3 convolution's two halves side by side, where v3 and v4 expand the channels for the last 8x8 grid."""
    return Inception(unit(in_channels, channels, (1, 3)), unit(in_channels, channels, (3, 1)))


# Inception v3


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


def auxiliary_head_v3(num_classes: int) -> Classifier:
    """(B, 768, 17, 17) -> logits (B, num_classes); at other sizes the averages are brought to the same 5x5."""
    narrow, whole = unit(768, 128), unit(128, 768, 5, padding=0)
    pool = nn.Sequential(nn.AvgPool2d(5, stride=3), nn.AdaptiveAvgPool2d(5), narrow, whole, nn.Flatten())
    initialise(narrow.modules())
    draw_truncated_normal(whole.conv.weight, std=0.01)
    head = Classifier(768, num_classes, pool=pool)
    draw_truncated_normal(head.classifier.weight, std=0.001)  # type: ignore[arg-type]
    return head


class InceptionV3(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    `padding="same"` averages at the border over the pixels inside only, as TensorFlow does.

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
        self.head = Classifier(2048, num_classes, dropout=0.2)
        initialise(self.modules())
        if auxiliary_heads:
            self.auxiliary["inception6e"] = auxiliary_head_v3(num_classes)


# Inception v4


def stem_v4(in_channels: int, small: bool) -> nn.Sequential:
    """Figure 3: (B, in_channels, 299, 299) -> (B, 384, 35, 35)."""
    stride, padding = (1, "symmetric") if small else (2, 0)
    return nn.Sequential(
        unit(in_channels, 32, 3, stride),
        unit(32, 32, 3, padding=padding),
        unit(32, 64, 3),
        Inception(nn.MaxPool2d(3, stride=stride, padding=int(small)), unit(64, 96, 3, stride)),
        Inception(
            chain(160, (64, 1), (96, 3, 1, padding)),
            chain(160, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, padding)),
        ),
        Inception(unit(192, 192, 3, stride), nn.MaxPool2d(3, stride=stride, padding=int(small))),
    )


def inception_a_v4() -> nn.Module:
    """Figure 4, on the 35x35 grid."""
    return Inception(
        unit(384, 96),
        chain(384, (64, 1), (96, 3)),
        chain(384, (64, 1), (96, 3), (96, 3)),
        nn.Sequential(average_inside(), unit(384, 96)),
    )


def inception_b_v4() -> nn.Module:
    """Figure 5, on the 17x17 grid."""
    return Inception(
        unit(1024, 384),
        chain(1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
        chain(1024, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        nn.Sequential(average_inside(), unit(1024, 128)),
    )


def inception_c_v4() -> nn.Module:
    """Figure 6, on the 8x8 grid."""
    return Inception(
        unit(1536, 256),
        nn.Sequential(unit(1536, 384), split(384, 256)),
        nn.Sequential(unit(1536, 384), unit(384, 448, (3, 1)), unit(448, 512, (1, 3)), split(512, 256)),
        nn.Sequential(average_inside(), unit(1536, 256)),
    )


class InceptionV4(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=11 if small_stem else 107)
        self.departures = (SMALL_STEM,) * small_stem
        self.stem = stem_v4(in_channels, small_stem)
        self.stages = nn.Sequential(
            stage(**{f"inception5{letter}": inception_a_v4() for letter in "bcde"}),
            stage(
                inception6a=reduction_a(384, 192, 224, 256, 384),
                **{f"inception6{letter}": inception_b_v4() for letter in "bcdefgh"},
            ),
            stage(
                inception7a=reduction_b(1024, (192, 192), (256, 256, 320, 320)),
                **{f"inception7{letter}": inception_c_v4() for letter in "bcd"},
            ),
        )
        self.head = Classifier(1536, num_classes, dropout=0.2)
        initialise(self.modules())


# Inception-ResNet v2


class ScaledResidual(nn.Module):
    """(B, C, H, W) -> the same shape: activation(input + scale * branch), section 3.3."""

    def __init__(self, branch: nn.Module, scale: float, activation: nn.Module):
        super().__init__()
        self.branch = branch
        self.scale = scale
        self.sum = Sum()
        self.activation = activation
        self.owns_activation_input = isinstance(activation, nn.ReLU)  # see layers.overwriting_activations

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.sum(self.scale * self.branch(x), x))


def residual(
    module: nn.Module, width: int, channels: int, scale: float, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Module:
    """A 1x1 convolution, with bias and without norm, brings the module's `width` channels back to `channels`."""
    return ScaledResidual(nn.Sequential(module, nn.Conv2d(width, channels, 1)), scale, activation())


def residual_a() -> nn.Module:
    """Figure 16, on the 35x35 grid."""
    module = Inception(unit(320, 32), chain(320, (32, 1), (32, 3)), chain(320, (32, 1), (48, 3), (64, 3)))
    return residual(module, 32 + 32 + 64, 320, scale=0.17)


def residual_b() -> nn.Module:
    """Figure 17, on the 17x17 grid."""
    module = Inception(unit(1088, 192), chain(1088, (128, 1), (160, (1, 7)), (192, (7, 1))))
    return residual(module, 192 + 192, 1088, scale=0.1)


def residual_c(scale: float = 0.2, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Figure 19, on the 8x8 grid."""
    module = Inception(unit(2080, 192), chain(2080, (192, 1), (224, (1, 3)), (256, (3, 1))))
    return residual(module, 192 + 256, 2080, scale, activation)


def repeated(block: Callable[[], nn.Module], depth: int) -> dict[str, nn.Module]:
    return {f"residual{i + 1}": block() for i in range(depth)}


def reduction_b_residual() -> nn.Module:
    """Figure 18: 17x17 -> 8x8."""
    return Inception(
        chain(1088, (256, 1), (384, 3, 2)),
        chain(1088, (256, 1), (288, 3, 2)),
        chain(1088, (256, 1), (288, 3), (320, 3, 2)),
        nn.MaxPool2d(3, stride=2),
    )


class InceptionResNetV2(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The last residual module is not scaled and has no ReLU; a 1x1 convolution to 1,536 channels ends the last stage.
    """

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=11 if small_stem else 107)
        self.departures = (SMALL_STEM,) * small_stem
        self.stem = stem_v3(in_channels, small_stem)
        self.stages = nn.Sequential(
            stage(
                inception5b=inception_a(192, 96, 64, average_inside),
                **repeated(residual_a, 10),
            ),
            stage(
                inception6a=reduction_a(320, 256, 256, 384, 384),
                **repeated(residual_b, 20),
            ),
            stage(
                inception7a=reduction_b_residual(),
                **repeated(residual_c, 9),
                residual10=residual_c(scale=1.0, activation=nn.Identity),
                conv7b=unit(2080, 1536),
            ),
        )
        self.head = Classifier(1536, num_classes, dropout=0.2)
        initialise(self.modules())


NETWORKS = {
    "inception_v2": InceptionV2,
    "inception_v3": InceptionV3,
    "inception_v4": InceptionV4,
    "inception_resnet_v2": InceptionResNetV2,
}
