"""NASNet-A, mobile (4 @ 1056) and large (6 @ 4032).

Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018, Figures 2 and 4,
https://arxiv.org/abs/1707.07012; widths, padding, the outputs that a cell passes on, and the auxiliary head
follow the authors' code, https://github.com/tensorflow/models/tree/master/research/slim/nets/nasnet. Departures: the
running statistics of batch norms move faster, and drop-path and the auxiliary head are off by default.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ..errors import ModelError
from .card import Departure
from .layers import (
    ConvNorm,
    ConvNormReLU,
    DropPath,
    Head,
    Network,
    SameConv2d,
    SameMaxPool2d,
    initialise_convolutions,
    pad_same,
)

EPS = 1e-3  # of all batch norms

fx.wrap("pad_same")  # as in layers.py; torch.fx looks for it by module

Pair = tuple[Tensor, Tensor]  # what the last cell gave, and what a cell before it gave: both are a cell's input


# The parts of a cell


class ReLUConvNorm(nn.Sequential):
    """ReLU, 1x1 convolution, batch norm: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.activation = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPS)


class ReLUSeparableNorm(nn.Sequential):
    """ReLU, one filter for each channel, 1x1 convolution, batch norm: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, *, owns_input: bool):
        super().__init__()
        self.owns_activation_input = owns_input  # see temporary.overwriting_activations
        conv, padding = (nn.Conv2d, kernel_size // 2) if stride == 1 else (SameConv2d, 0)
        self.activation = nn.ReLU()
        self.depthwise = conv(
            in_channels, in_channels, kernel_size, stride=stride, padding=padding, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPS)


class FactorizedReduction(nn.Module):
    """(B, in, H, W) -> (B, out, H/2, W/2), without skipping pixels: half of the channels read every other pixel, the
    other half their diagonal neighbours, with zeros outside the image.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.activation = nn.ReLU()
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x)
        shifted = functional.pad(x, (-1, 1, -1, 1))
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))


class SameMeanPool2d(nn.Module):
    """3x3 means with stride 2 and TensorFlow's "SAME" windows, over the pixels inside the image only."""

    def forward(self, x: Tensor) -> Tensor:
        padding = (x.shape[2] % 2, x.shape[3] % 2)
        return functional.avg_pool2d(x, 3, stride=2, padding=padding, ceil_mode=True, count_include_pad=False)


class ZeroBorder(nn.Module):
    """(B, C, H, W) with the zero padding of TensorFlow's "SAME" for a 3x3 window with stride 2."""

    def forward(self, x: Tensor) -> Tensor:
        return pad_same(x, (3, 3), (2, 2))


class Pooling(NamedTuple):
    """How a reduction cell pools 3x3 with stride 2; libraries treat the border differently."""

    maximum: Callable[[], nn.Module]
    mean: Callable[[], nn.Module]


def behind_zeros(pool: type[nn.Module]) -> nn.Module:
    return nn.Sequential(ZeroBorder(), pool(3, 2))


POOLING = {
    "tensorflow": Pooling(partial(SameMaxPool2d, 3, 2), SameMeanPool2d),
    "timm": Pooling(partial(SameMaxPool2d, 3, 2), partial(behind_zeros, nn.AvgPool2d)),
    "keras": Pooling(partial(behind_zeros, nn.MaxPool2d), partial(behind_zeros, nn.AvgPool2d)),
}

# Operations: in_channels, out_channels, stride, pooling -> module


def separable(kernel_size: int, in_channels: int, out_channels: int, stride: int, pooling: Pooling) -> nn.Module:
    """The paper applies a separable convolution twice."""
    return nn.Sequential(
        ReLUSeparableNorm(in_channels, out_channels, kernel_size, stride, owns_input=False),
        ReLUSeparableNorm(out_channels, out_channels, kernel_size, 1, owns_input=True),
    )


def maximum(in_channels: int, out_channels: int, stride: int, pooling: Pooling) -> nn.Module:
    return pooling.maximum()


def mean(in_channels: int, out_channels: int, stride: int, pooling: Pooling) -> nn.Module:
    return pooling.mean() if stride == 2 else nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)


def same(in_channels: int, out_channels: int, stride: int, pooling: Pooling) -> nn.Module:
    return nn.Identity()


separable3, separable5, separable7 = partial(separable, 3), partial(separable, 5), partial(separable, 7)

# Cells, the paper's Figure 4. State 0 is what the last cell gave, 1 what the one before it gave, both brought to the
# cell's width; the sum of a row is the next state. An operation strides where its input is state 0 or 1.
CURRENT, PREVIOUS = 0, 1


class Row(NamedTuple):
    left: Callable[[int, int, int, Pooling], nn.Module]
    left_input: int
    right: Callable[[int, int, int, Pooling], nn.Module]
    right_input: int


class Design(NamedTuple):
    stride: int
    rows: tuple[Row, ...]
    output: tuple[int, ...]  # the states that are concatenated


NORMAL = Design(
    stride=1,
    rows=(
        Row(separable5, CURRENT, separable3, PREVIOUS),
        Row(separable5, PREVIOUS, separable3, PREVIOUS),
        Row(mean, CURRENT, same, PREVIOUS),
        Row(mean, PREVIOUS, mean, PREVIOUS),
        Row(separable3, CURRENT, same, CURRENT),
    ),
    output=(PREVIOUS, 2, 3, 4, 5, 6),
)
REDUCTION = Design(
    stride=2,
    rows=(
        Row(separable5, CURRENT, separable7, PREVIOUS),
        Row(maximum, CURRENT, separable7, PREVIOUS),
        Row(mean, CURRENT, separable5, PREVIOUS),
        Row(same, 3, mean, 2),
        Row(separable3, 2, maximum, CURRENT),
    ),
    output=(3, 4, 5, 6),
)


class PairBlock(nn.Module):
    """The module of one row of a cell: all states so far -> the next state. Training may drop an operation's result."""

    def __init__(self, row: Row, channels: list[int], width: int, stride: int, pooling: Pooling, drop_path: float):
        super().__init__()
        self.inputs = row.left_input, row.right_input
        operations, drops = [], []
        for operation, state in ((row.left, row.left_input), (row.right, row.right_input)):
            is_input = state in (CURRENT, PREVIOUS)
            operations.append(operation(channels[state], width, stride if is_input else 1, pooling))
            drops.append(DropPath(drop_path) if drop_path and operation is not same else nn.Identity())
        self.left, self.right = operations
        self.drop_left, self.drop_right = drops

    def forward(self, states: list[Tensor]) -> Tensor:
        left, right = self.inputs
        return self.drop_left(self.left(states[left])) + self.drop_right(self.right(states[right]))


class Cell(nn.Module):
    """(previous output, the one before it) -> (this cell's output, the second input of the next cell).

    That second input is the previous output if `hands_on` is 0, and the one before it if `hands_on` is 1.
    """

    def __init__(
        self,
        design: Design,
        current: nn.Module,
        previous: nn.Module,
        previous_channels: int,
        width: int,
        *,
        pooling: Pooling,
        drop_path: float,
        hands_on: int,
    ):
        super().__init__()
        self.current = current
        self.previous = previous
        channels = [width, previous_channels]
        self.rows = nn.ModuleList()
        for row in design.rows:
            self.rows.append(PairBlock(row, channels, width, design.stride, pooling, drop_path))
            channels.append(width)
        self.output = design.output
        self.hands_on = hands_on

    def forward(self, pair: Pair) -> Pair:
        states = [self.current(pair[0]), self.previous(pair[1])]
        for row in self.rows:
            states.append(row(states))
        return torch.cat([states[i] for i in self.output], 1), pair[self.hands_on]


class Twice(nn.Module):
    """Gives one feature map as both inputs of the first cell."""

    def forward(self, x: Tensor) -> Pair:
        return x, x


class Last(nn.Module):
    """The last cell's output, which is the first of the pair, after a ReLU."""

    def __init__(self):
        super().__init__()
        self.activation = nn.ReLU()

    def forward(self, pair: Pair) -> Tensor:
        return self.activation(pair[0])


class AuxiliaryHead(Head):
    """The authors' auxiliary head, on the last cell of the second stage; pools other sizes to `side` first."""

    def __init__(self, in_channels: int, num_classes: int, side: int):
        pooled = (side - 5) // 3 + 1
        pool = nn.Sequential(
            Last(),
            nn.AdaptiveAvgPool2d(side),
            nn.AvgPool2d(5, stride=3),
            ConvNormReLU(in_channels, 128, 1, eps=EPS),
            ConvNormReLU(128, 768, pooled, padding=0, eps=EPS),
            nn.Flatten(),
        )
        super().__init__(768, num_classes, pool=pool)


# The networks


class Variant(NamedTuple):
    depth: int  # the paper's N, normal cells in each stage
    channels: int  # of the last map
    stem_channels: int
    hands_on: int  # of the reduction cells between stages: what Cell's hands_on is
    auxiliary_side: int  # of the map that the auxiliary head sees at the nominal size


VARIANTS = {
    "nasnet_mobile": Variant(4, 1056, 32, 0, 14),
    "nasnet_large": Variant(6, 4032, 96, 1, 21),
}

SMALL_STEM = Departure(
    what="stem",
    paper="3x3 convolution with stride 2, then two reduction cells",
    here="3x3 convolution with stride 1 to three times the first cells' width",
    why="small pictures, as in the authors' network for CIFAR-10",
)
BORDERS = {
    "tensorflow": (),
    "timm": (Departure("pooling", "means leave out what lies beyond the edge", "count it as zeros", "as timm"),),
    "keras": (
        Departure("pooling", "means and maxima leave out what lies beyond the edge", "count it as zeros", "as Keras"),
    ),
}


class FeatureMap(NamedTuple):
    channels: int
    stride: int  # of one of its pixels, counted in pixels of the stem's map


class PlannedCell(NamedTuple):
    """One planned cell and its place."""

    parent: nn.Sequential
    name: str
    design: Design
    width: int
    hands_on: int


def stem_cells(variant: Variant, stem: nn.Sequential) -> Iterator[PlannedCell]:
    for number in range(2):
        yield PlannedCell(stem, f"reduction{number}", REDUCTION, variant.channels // 24 * 2**number // 4, 0)


def stage_cells(variant: Variant, stages: list[nn.Sequential]) -> Iterator[PlannedCell]:
    """The cells of each stage: a reduction cell, except in the first stage, then normal cells; widths double."""
    for number, stage in enumerate(stages):
        width = variant.channels // 24 * 2**number
        if number:
            yield PlannedCell(stage, f"reduction{number + 1}", REDUCTION, width, variant.hands_on)
        for i in range(variant.depth * number, variant.depth * (number + 1)):
            yield PlannedCell(stage, f"cell{i}", NORMAL, width, 0)


def fitting(previous: FeatureMap, current: FeatureMap, width: int) -> nn.Module:
    """A module that brings the feature map from two cells back to the size of the last one and to `width` channels."""
    if previous.stride != current.stride:
        return FactorizedReduction(previous.channels, width)
    return ReLUConvNorm(previous.channels, width)


class NASNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    Stem, stages and cells pass on pairs of maps; the last stage returns one, after a ReLU. A cell's operations are
    dropped with the probability `drop_path` times the cell's number divided by the number of cells. `pooling` chooses
    how reduction cells treat the border: like the authors ("tensorflow"), "timm" or "keras".

    Raises:
        ModelError: for an unknown pooling, a `drop_path` outside [0, 1), or more than one auxiliary head.
    """

    auxiliary_weight = 0.4

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_stem: bool = False,
        auxiliary_heads: int = 0,
        drop_path: float = 0.0,
        pooling: Literal["tensorflow", "timm", "keras"] = "tensorflow",
    ):
        super().__init__(in_channels=in_channels, smallest_input=5 if small_stem else 35)
        if pooling not in POOLING:
            raise ModelError(f"pooling is {pooling!r}, expected one of {', '.join(POOLING)}")
        if not 0 <= drop_path < 1:
            raise ModelError(f"drop_path is {drop_path}, expected at least 0 and below 1")
        if auxiliary_heads not in (0, 1):
            raise ModelError(f"auxiliary_heads is {auxiliary_heads}, expected 0 or 1")
        self.departures = (SMALL_STEM,) * small_stem + BORDERS[pooling]
        self.undone = ("auxiliary head",) * auxiliary_heads

        width = variant.channels // 24
        channels = 3 * width if small_stem else variant.stem_channels
        stride, padding = (1, 1) if small_stem else (2, 0)
        self.stem, stages = nn.Sequential(), [nn.Sequential() for _ in range(3)]
        self.stem.add_module("conv", ConvNorm(in_channels, channels, 3, stride=stride, padding=padding, eps=EPS))
        self.stem.add_module("twice", Twice())
        plan = [*([] if small_stem else stem_cells(variant, self.stem)), *stage_cells(variant, stages)]
        current = previous = FeatureMap(channels, 1)
        for number, cell in enumerate(plan, start=1):
            is_raw = cell.parent is self.stem and number == 1  # the first cell takes the stem's map as it is
            cell.parent.add_module(
                cell.name,
                Cell(
                    cell.design,
                    ReLUConvNorm(current.channels, cell.width),
                    nn.Identity() if is_raw else fitting(previous, current, cell.width),
                    previous.channels if is_raw else cell.width,
                    cell.width,
                    pooling=POOLING[pooling],
                    drop_path=drop_path * number / len(plan),
                    hands_on=cell.hands_on,
                ),
            )
            previous = (current, previous)[cell.hands_on]
            current = FeatureMap(cell.width * len(cell.design.output), current.stride * cell.design.stride)
        stages[-1].add_module("last", Last())
        self.stages = nn.Sequential(*stages)
        if auxiliary_heads:
            auxiliary = AuxiliaryHead(variant.channels // 2, num_classes, variant.auxiliary_side)
            self.auxiliary[f"cell{2 * variant.depth - 1}"] = auxiliary  # the second stage's last
        self.head = Head(variant.channels, num_classes, dropout=0.5)
        initialise_convolutions(self.modules())


NETWORKS = {name: partial(NASNet, variant) for name, variant in VARIANTS.items()}
