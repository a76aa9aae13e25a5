"""Parts that the residual networks share: shortcuts, blocks, pre-activation, and the network of four stages.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and Figure 3,
https://arxiv.org/abs/1512.03385; for pre-activation "Identity Mappings in Deep Residual Networks", ECCV 2016,
https://arxiv.org/abs/1603.05027. Each family's own file has its table and its departures.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError
from .card import Departure
from .layers import Add, ConvNorm, ConvNormReLU, Head, Network, NormReLU, initialise_convolutions, round_channels


class Residual(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride): relu(branch + shortcut)."""

    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.sum = Add()
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.sum(self.branch(x), self.shortcut(x)))


class ZeroPadShortcut(nn.Module):
    """(B, C, H, W) -> (B, C + extra_channels, H/stride, W/stride): every other pixel; new channels are 0."""

    def __init__(self, extra_channels: int, stride: int):
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


def zero_padding(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option A: the identity if the shape does not change, otherwise zero padding without weights."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ZeroPadShortcut(out_channels - in_channels, stride)


def projection(in_channels: int, out_channels: int, stride: int, kernel_size: int = 1) -> nn.Module:
    """The paper's option B: the identity if the shape does not change, otherwise a 1x1 convolution."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, kernel_size, stride=stride)


def projection_everywhere(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option C: a 1x1 convolution in every block."""
    return ConvNorm(in_channels, out_channels, 1, stride=stride)


Block = Callable[..., nn.Module]  # in_channels, width, stride -> block; residual ones also take a shortcut
Shortcut = Callable[[int, int, int], nn.Module]  # in_channels, out_channels, stride -> shortcut
Option = Literal["A", "B", "C"]
SHORTCUTS: dict[Option, Shortcut] = {"A": zero_padding, "B": projection, "C": projection_everywhere}


def basic(in_channels: int, width: int, stride: int, *, shortcut: Shortcut = projection) -> Residual:
    """Two 3x3 convolutions."""
    branch = nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNorm(width, width, 3))
    return Residual(branch, shortcut(in_channels, width, stride))


def bottleneck(
    in_channels: int,
    width: int,
    stride: int,
    *,
    shortcut: Shortcut = projection,
    groups: int = 1,
    group_width: int = 64,
) -> Residual:
    """1x1, 3x3 and 1x1 convolutions; at `width` 64 each group of the 3x3 convolution has `group_width` channels."""
    inner = groups * group_width * width // 64
    branch = nn.Sequential(
        ConvNormReLU(in_channels, inner, 1),
        ConvNormReLU(inner, inner, 3, stride=stride, groups=groups),
        ConvNorm(inner, 4 * width, 1),
    )
    return Residual(branch, shortcut(in_channels, 4 * width, stride))


def plain(in_channels: int, width: int, stride: int) -> nn.Module:
    """The basic block without a shortcut."""
    return nn.Sequential(ConvNormReLU(in_channels, width, 3, stride=stride), ConvNormReLU(width, width, 3))


class Variant(NamedTuple):
    block: Block
    expansion: int  # output channels of a block / its width
    depths: tuple[int, ...]  # blocks in each stage
    width: float = 1.0  # channels of stem and stages / the paper's


STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block

SMALL_STEM = Departure(
    what="stem",
    paper="7x7 convolution with stride 2, then 3x3 max pooling with stride 2",
    here="3x3 convolution with stride 1, no pooling",
    why="small pictures: the paper's stem would leave one pixel of a 32x32 picture for the last stage",
)


def stage(block: Block, depth: int, in_channels: int, width: int, expansion: int, stride: int) -> nn.Sequential:
    """`depth` blocks; the first one strides and changes the number of channels."""
    blocks = nn.Sequential(block(in_channels, width, stride))
    for _ in range(depth - 1):
        blocks.append(block(width * expansion, width, 1))
    return blocks


class ResNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3, small_stem: bool = False):
        super().__init__(in_channels=in_channels, smallest_input=9 if small_stem else 33)
        channels = round_channels(64 * variant.width)
        if small_stem:
            self.stem = ConvNormReLU(in_channels, channels, 3)
            self.departures = (SMALL_STEM,)
        else:
            convolution = ConvNormReLU(in_channels, channels, 7, stride=2)
            self.stem = nn.Sequential(convolution, nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.Sequential()
        for (width, stride), depth in zip(STAGES, variant.depths, strict=True):
            width = round_channels(width * variant.width)
            self.stages.append(stage(variant.block, depth, channels, width, variant.expansion, stride))
            channels = width * variant.expansion
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


def shortcut_block(block: Block, option: Option) -> Block:
    """The block with shortcuts of the option A, B or C. Raises ModelError for any other."""
    if option not in SHORTCUTS:
        raise ModelError(f"shortcut is {option!r}, expected 'A', 'B' or 'C'")
    return partial(block, shortcut=SHORTCUTS[option])


def shortcut_departure(papers: Option, option: Option) -> tuple[Departure, ...]:
    departure = Departure("shortcuts", f"option {papers}", f"option {option}", "chosen by an option")
    return (departure,) if option != papers else ()


class PreActivated(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride): shortcut(x) + branch(preactivation(x))."""

    def __init__(self, preactivation: NormReLU, branch: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.preactivation = preactivation
        self.branch = branch
        self.shortcut = shortcut
        self.sum = Add()

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(self.branch(self.preactivation(x)), self.shortcut(x))


class Projecting(PreActivated):
    """Like PreActivated, but the projection shortcut starts from the pre-activation too."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.preactivation(x)
        return self.sum(self.branch(x), self.shortcut(x))


def preactivated(in_channels: int, out_channels: int, stride: int, branch: nn.Module) -> PreActivated:
    """The branch with an identity shortcut if the shape does not change, otherwise with a 1x1 convolution."""
    if stride == 1 and in_channels == out_channels:
        return PreActivated(NormReLU(in_channels), branch, nn.Identity())
    shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return Projecting(NormReLU(in_channels), branch, shortcut)
