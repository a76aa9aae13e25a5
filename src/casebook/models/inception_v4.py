"""Inception v4 and Inception-ResNet v2.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017,
Figures 3 to 9 and 15 to 19, https://arxiv.org/abs/1602.07261.

Both follow the authors' own code, TF-Slim (tensorflow/models, research/slim/nets), rather than the printed figures; its
letters name the modules here. The cards list the differences. Initialisation, dropout and batch norms are as in
Inception v3.
"""

from collections.abc import Callable

from torch import Tensor, nn

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
from .layers import Add, Head, Network

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
        self.head = Head(1536, num_classes, dropout=0.2)
        initialise(self.modules())


# Inception-ResNet v2


class ScaledResidual(nn.Module):
    """(B, C, H, W) -> the same shape: activation(input + scale * branch), section 3.3."""

    def __init__(self, branch: nn.Module, scale: float, activation: nn.Module):
        super().__init__()
        self.branch = branch
        self.scale = scale
        self.sum = Add()
        self.activation = activation
        self.owns_activation_input = isinstance(activation, nn.ReLU)  # see temporary.overwriting_activations

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
        self.head = Head(1536, num_classes, dropout=0.2)
        initialise(self.modules())


NETWORKS = {"inception_v4": InceptionV4, "inception_resnet_v2": InceptionResNetV2}
