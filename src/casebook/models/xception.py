"""Xception: Inception's separation of channels and space, taken to the extreme.

Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, Figure 5,
https://arxiv.org/abs/1610.02357; details that the figure leaves open follow the author's Keras code. Pooling is padded
symmetrically; `padding="same"` gives TensorFlow's padding.
"""

from typing import Any, Literal

from torch import Tensor, nn

from .card import Departure
from .layers import (
    Add,
    ConvNorm,
    ConvNormReLU,
    Head,
    Network,
    SameMaxPool2d,
    initialise_convolutions,
    tensorflow_options,
)

Padding = Literal["symmetric", "same"]


class SeparableConvNorm(nn.Sequential):
    """Filter each channel 3x3, mix the channels 1x1 with no activation in between (section 4.7), then batch norm."""

    def __init__(self, in_channels: int, out_channels: int, **norm: Any):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, **norm)


class SeparableConvNormReLU(SeparableConvNorm):
    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(self, in_channels: int, out_channels: int, **norm: Any):
        super().__init__(in_channels, out_channels, **norm)
        self.activation = nn.ReLU()


class Residual(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride): branch + shortcut, no activation after."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.sum = Add()

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(self.branch(x), self.shortcut(x))


ENTRY_WIDTHS = (128, 256, 728)  # one block each, which halves the sides
MIDDLE_WIDTH, MIDDLE_DEPTH = 728, 8
EXIT_WIDTHS = (1024, 1536, 2048)  # a block which halves the sides, then two convolutions

SMALL_STEM = Departure(
    what="stem",
    paper="stride 2 in the first convolution and the first block, no padding",
    here="stride 1 in both, padding 1",
    why="small pictures: the paper's strides would leave one pixel of a 32x32 picture for the last stages",
)


def pooling(stride: int, padding: Padding) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return SameMaxPool2d(3, stride=stride) if padding == "same" else nn.MaxPool2d(3, stride=stride, padding=1)


def changing(
    in_channels: int, widths: tuple[int, int], first: nn.Module, stride: int, padding: Padding, **norm: Any
) -> Residual:
    """Two separable convolutions and a pooling, with a 1x1 shortcut, both with stride 2; `first` starts the branch."""
    branch = nn.Sequential(
        first,
        SeparableConvNormReLU(in_channels, widths[0], **norm),
        SeparableConvNorm(*widths, **norm),
        pooling(stride, padding),
    )
    return Residual(branch, ConvNorm(in_channels, widths[1], 1, stride=stride, **norm))


def keeping(channels: int, **norm: Any) -> Residual:
    """Three separable convolutions with an identity shortcut."""
    branch = nn.Sequential(
        nn.ReLU(),
        SeparableConvNormReLU(channels, channels, **norm),
        SeparableConvNormReLU(channels, channels, **norm),
        SeparableConvNorm(channels, channels, **norm),
    )
    return Residual(branch, nn.Identity())


class Xception(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The stages are the three blocks of the entry flow, the middle flow and the exit flow.

    Raises:
        ModelError: for an unknown padding or an impossible norm_eps.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        padding: Padding = "symmetric",
        norm_eps: float = 1e-3,
    ):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 39)
        self.departures = (SMALL_STEM,) * small_stem + tensorflow_options(padding, norm_eps)

        norm: dict[str, Any] = {"eps": norm_eps, "momentum": 0.01}
        border = int(small_stem)
        self.stem = nn.Sequential(
            ConvNormReLU(in_channels, 32, 3, stride=1 if small_stem else 2, padding=border, **norm),
            ConvNormReLU(32, 64, 3, padding=border, **norm),
        )
        self.stages, channels = nn.Sequential(), 64
        for width in ENTRY_WIDTHS:
            first = nn.ReLU() if self.stages else nn.Identity()  # the stem ends with a ReLU
            stride = 1 if small_stem and not self.stages else 2
            self.stages.append(nn.Sequential(changing(channels, (width, width), first, stride, padding, **norm)))
            channels = width
        self.stages.append(nn.Sequential(*(keeping(MIDDLE_WIDTH, **norm) for _ in range(MIDDLE_DEPTH))))
        self.stages.append(
            nn.Sequential(
                changing(MIDDLE_WIDTH, (MIDDLE_WIDTH, EXIT_WIDTHS[0]), nn.ReLU(), 2, padding, **norm),
                SeparableConvNormReLU(EXIT_WIDTHS[0], EXIT_WIDTHS[1], **norm),
                SeparableConvNormReLU(EXIT_WIDTHS[1], EXIT_WIDTHS[2], **norm),
            )
        )
        self.head = Head(EXIT_WIDTHS[2], num_classes, dropout=0.5)
        initialise_convolutions(self.modules())


NETWORKS = {"xception": Xception}
