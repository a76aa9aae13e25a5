"""FractalNet with 20 and 40 layers, and its deepest column as a network of its own.

Source: Larsson et al., "FractalNet: Ultra-Deep Neural Networks without Residuals", ICLR 2017, sections 3 and 4,
https://arxiv.org/abs/1605.07648; channels, dropout, the order of pooling and last join, and the initial weights
follow the authors' code, https://github.com/gustavla/fractalnet. Departures: batch norms learn a scale and a shift.
Drop-path is off by default; `drop_path=0.15` gives the paper's. Dropout in a single column is off too; `dropout=True`
adds it.
"""

import math
import operator
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .layers import Head, Network


class Unit(nn.Sequential):
    """3x3 convolution with bias, dropout, batch norm, ReLU, pooling: (B, in, H, W) -> (B, out, H, W), or H/2, W/2."""

    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(self, in_channels: int, out_channels: int, dropout: float, pool: nn.Module):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU()
        self.pool = pool


class DropPathDraw(nn.Module):
    """Returns its input. In training it also draws which paths the joins keep, in one of two equally likely ways:

    - local: each join drops each of its paths with probability `p`, but keeps at least one;
    - global: all joins keep the same single column.

    Source: Larsson et al. 2017, section 3.1. All columns are computed; a dropped path has weight 0 in the mean.
    """

    def __init__(self, num_columns: int, p: float):
        super().__init__()
        self.num_columns = num_columns
        self.p = p
        self.is_global: Tensor | None = None
        self.column: Tensor | None = None  # 0 is the deepest

    def forward(self, images: Tensor) -> Tensor:
        if self.training and self.p:
            self.is_global = torch.rand((), device=images.device) < 0.5
            self.column = torch.randint(self.num_columns, (), device=images.device)
        return images

    def kept(self, num_paths: int) -> Tensor:
        """(num_paths,) bool: what a join of the `num_paths` deepest columns keeps.

        If the chosen column is not among them, nothing uses the join. It then keeps all paths for its batch norms.
        """
        assert self.is_global is not None
        assert self.column is not None
        luck = torch.rand(num_paths, device=self.column.device)
        survives = luck >= luck.max().clamp(max=self.p)
        is_column = torch.arange(num_paths, device=self.column.device) == self.column
        return torch.where(self.is_global, is_column | ~is_column.any(), survives)

    def extra_repr(self) -> str:
        return f"num_columns={self.num_columns}, p={self.p}"


class Join(nn.Module):
    """The mean of the kept paths: a list of (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, draw: DropPathDraw):
        super().__init__()
        self.draw = draw

    def forward(self, paths: list[Tensor]) -> Tensor:
        if len(paths) == 1:
            return paths[0]
        if not (self.draw.training and self.draw.p):
            return reduce(operator.add, paths) / len(paths)
        kept = self.draw.kept(len(paths)).to(paths[0].dtype)
        shares = kept / kept.sum()
        return reduce(operator.add, [share * path for share, path in zip(shares, paths, strict=True)])


class FractalBlock(nn.Module):
    """(B, in, H, W) -> (B, out, H/2, W/2): columns of units, joined in every row where several end.

    The deepest column, number 0, has a unit in every row, the next one in every second row, and so on. All columns end
    in the last row, where each is pooled before they are joined.
    """

    def __init__(
        self, num_columns: int, num_rows: int, in_channels: int, out_channels: int, dropout: float, draw: DropPathDraw
    ):
        super().__init__()
        self.num_columns = num_columns
        self.rows = nn.ModuleList()
        channels = [in_channels] * num_columns
        for number in range(1, num_rows + 1):
            row = nn.ModuleList()
            for column in range(num_columns):
                if number % 2**column == 0:
                    pool = nn.MaxPool2d(2) if number == num_rows else nn.Identity()
                    row.append(Unit(channels[column], out_channels, dropout, pool))
                    channels[column] = out_channels
            self.rows.append(row)
        self.join = Join(draw)

    def forward(self, x: Tensor) -> Tensor:
        columns = [x] * self.num_columns
        for row in self.rows:
            paths = [unit(column) for unit, column in zip(row, columns, strict=False)]  # type: ignore[arg-type]
            columns[: len(paths)] = [self.join(paths)] * len(paths)
        return columns[0]


class XavierHead(Head):
    """A head whose last layer starts as the authors' does."""

    def new_classifier(self, num_classes: int) -> nn.Module:
        linear = nn.Linear(self.num_features, num_classes)
        draw_xavier(linear)
        return linear


def draw_xavier(module: nn.Conv2d | nn.Linear) -> None:
    """Weights uniform with variance 1 / fan-in, which Caffe calls Xavier; biases 0."""
    bound = math.sqrt(3 / module.weight[0].numel())
    nn.init.uniform_(module.weight, -bound, bound)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class Variant(NamedTuple):
    num_columns: int  # the paper's C
    num_rows: int  # units of the deepest column in a block, 2^(C - 1)


VARIANTS = {"fractalnet20": Variant(3, 4), "fractalnet40": Variant(4, 8)}
COLUMNS = {"fractalnet20_column": Variant(1, 4), "fractalnet40_column": Variant(1, 8)}
BLOCKS = ((64, 0.0), (128, 0.1), (256, 0.2), (512, 0.3), (512, 0.4))  # channels, dropout


class FractalNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes).

    The stem computes nothing; it draws the paths that drop-path keeps in a mini-batch. `dropout` uses the rates in
    BLOCKS, or none.

    Raises:
        ModelError: for a `drop_path` outside [0, 1).
    """

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
        dropout: bool = True,
    ):
        super().__init__(in_channels=in_channels, smallest_input=32)
        if not 0 <= drop_path < 1:
            raise ModelError(f"drop_path is {drop_path}, expected at least 0 and below 1")
        self.undone = ("drop-path",) * (drop_path > 0)
        self.stem = draw = DropPathDraw(variant.num_columns, drop_path)
        self.stages = nn.Sequential()
        channels = in_channels
        for out_channels, rate in BLOCKS:
            block = FractalBlock(*variant, channels, out_channels, rate if dropout else 0.0, draw)
            self.stages.append(nn.Sequential(block))
            channels = out_channels
        self.head = XavierHead(channels, num_classes)
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                draw_xavier(module)


def single_column(
    variant: Variant, *, num_classes: int = 10, in_channels: int = 3, dropout: bool = False
) -> FractalNet:
    """A FractalNet of one column. It has no joins and so no drop-path, and by default no dropout."""
    network = FractalNet(variant, num_classes=num_classes, in_channels=in_channels, dropout=dropout)
    network.undone = ("dropout",) * dropout
    return network


def deepest_column(network: FractalNet) -> FractalNet:
    """The deepest column of a network of `create_model` as a separate network, with copies of its weights and with its
    dropout: "fractalnet20_column" from "fractalnet20".
    """
    from . import create_model

    classes = len(network.head.classifier.state_dict()["bias"])
    dropout = any(isinstance(module, nn.Dropout) for module in network.stages.modules())
    column = create_model(
        f"{network.name}_column", num_classes=classes, in_channels=network.in_channels, dropout=dropout
    )
    state = network.state_dict()
    column.load_state_dict({key: state[key] for key in column.state_dict()})
    return column.to(next(network.parameters())).train(network.training)  # type: ignore[return-value]


NETWORKS = {name: partial(FractalNet, variant) for name, variant in VARIANTS.items()}
NETWORKS |= {name: partial(single_column, variant) for name, variant in COLUMNS.items()}
