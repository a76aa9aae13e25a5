"""LeNet-5, as it is built today and as it was in 1998.

Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE
86(11), 1998, section II-B, http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf. "lenet5_1998" has the partial
connections of Table I, trainable sub-sampling, the scaled tanh, and distances to fixed bitmaps as its output. "lenet5"
is what people mean by the name today: full connections, parameter-free pooling and a linear output.
"""

import math
import random

import torch
from torch import Tensor, nn

from .card import Departure
from .layers import Head, Network, draw_normal, initialise_convolutions

# Table I: the maps of S2 that each of the sixteen maps of C3 reads, grouped by their number.
C3_CONNECTIONS = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    (
        (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5),
        (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    ),
    ((0, 1, 2, 3, 4, 5),),
)  # fmt: skip

# Our own 7 by 12 drawings of the digits (the paper prints its ASCII set in Figure 3): '#' is +1, '.' is -1.
GLYPHS = (
    "....... ..###.. .#...#. #.....# #.....# #.....# #.....# #.....# #.....# .#...#. ..###.. .......",
    "....... ...#... ..##... .#.#... ...#... ...#... ...#... ...#... ...#... ...#... .#####. .......",
    "....... .#####. #.....# ......# ......# .....#. ....#.. ...#... ..#.... .#..... ####### .......",
    "....... ######. ......# ......# ......# ..####. ......# ......# ......# ......# ######. .......",
    "....... .....#. ....##. ...#.#. ..#..#. .#...#. #....#. ####### .....#. .....#. .....#. .......",
    "....... ####### #...... #...... #...... #####.. .....#. ......# ......# #....#. .####.. .......",
    "....... ...###. ..#.... .#..... #...... #.####. ##....# #.....# #.....# .#....# ..####. .......",
    "....... ####### ......# .....#. .....#. ....#.. ....#.. ...#... ...#... ..#.... ..#.... .......",
    "....... ..###.. .#...#. #.....# .#...#. ..###.. .#...#. #.....# #.....# .#...#. ..###.. .......",
    "....... .####.. #....#. #.....# #.....# #....## .####.# ......# .....#. ....#.. .###... .......",
)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), so that f(1) = 1 and f(-1) = -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class SubSampling(nn.Module):
    """(B, C, H, W) -> (B, C, H/2, W/2): sums of 2x2 times a trained coefficient, plus a trained bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.mean = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return 4 * self.mean(x) * self.coefficient + self.bias


class PartialConv(nn.Module):
    """C3: (B, 6, H, W) -> (B, 16, H-4, W-4); each map reads only some of the inputs: 1,516 weights."""

    def __init__(self, kernel_size: int = 5):
        super().__init__()
        self.convs = nn.ModuleList()
        for i, maps in enumerate(C3_CONNECTIONS):
            num_inputs = sum(map(len, maps))
            self.convs.append(nn.Conv2d(num_inputs, len(maps), kernel_size, groups=len(maps)))
            self.register_buffer(f"inputs{i}", torch.tensor(maps).flatten(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = [conv(x[:, self.get_buffer(f"inputs{i}")]) for i, conv in enumerate(self.convs)]
        return torch.cat(maps, dim=1)


class RBF(nn.Module):
    """(B, 84) -> (B, num_classes): the negative squared distance to each class's fixed code of +1 and -1.

    The paper's output is the distance, small for the right class (equation 7); its negative is a logit. The
    codes of the ten digits are drawn bitmaps; for another number of classes they are pseudo-random.
    """

    codes: Tensor

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        if num_classes == len(GLYPHS):
            codes = [[1.0 if dot == "#" else -1.0 for dot in glyph.replace(" ", "")] for glyph in GLYPHS]
        else:
            draw = random.Random(1998)
            codes = [draw.choices((-1.0, 1.0), k=num_features) for _ in range(num_classes)]
        self.register_buffer("codes", torch.tensor(codes))

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None, :] - self.codes).square().sum(dim=2)


class RBFHead(Head):
    """A head whose last layer has no trainable weights."""

    def new_classifier(self, num_classes: int) -> nn.Module:
        return RBF(self.num_features, num_classes)


class LeNet5(Network):
    """C1, S2 (stem), C3, S4 and C5 (stages), F6 and the output (head), with today's parts."""

    fixed_input = True

    def __init__(self, *, num_classes: int = 10, in_channels: int = 1):
        super().__init__(in_channels=in_channels, smallest_input=32)
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 6, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2)),
            nn.Sequential(nn.Conv2d(16, 120, 5), nn.ReLU()),
        )
        hidden = nn.Linear(120, 84)
        self.head = Head(84, num_classes, pool=nn.Sequential(nn.Flatten(), hidden, nn.ReLU()))
        initialise_convolutions(self.modules())
        draw_normal(hidden.weight, std=math.sqrt(2 / hidden.in_features))
        nn.init.zeros_(hidden.bias)


class LeNet5Of1998(Network):
    """The same layers with the paper's parts: 60,000 weights for one input channel and any number of classes."""

    fixed_input = True

    def __init__(self, *, num_classes: int = 10, in_channels: int = 1):
        super().__init__(in_channels=in_channels, smallest_input=32)
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 6, 5), ScaledTanh(), SubSampling(6), ScaledTanh())
        self.stages = nn.Sequential(
            nn.Sequential(PartialConv(), ScaledTanh(), SubSampling(16), ScaledTanh()),
            nn.Sequential(nn.Conv2d(16, 120, 5), ScaledTanh()),
        )
        f6 = nn.Sequential(nn.Flatten(), nn.Linear(120, 84), ScaledTanh())
        self.head = RBFHead(84, num_classes, pool=f6)
        if num_classes != len(GLYPHS):
            self.departures = (
                Departure(
                    what="output codes",
                    paper="bitmaps of the characters",
                    here=f"{num_classes} pseudo-random codes of +1 and -1, always the same",
                    why="bitmaps are drawn for the ten digits only",
                ),
            )
        self._initialise()

    def _initialise(self) -> None:
        """Uniform within 2.4 / fan-in, the paper's appendix A."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in, weights = module.weight[0].numel(), module.parameters(recurse=False)
            elif isinstance(module, SubSampling):
                fan_in, weights = 4, module.parameters(recurse=False)
            else:
                continue
            for weight in weights:
                nn.init.uniform_(weight, -2.4 / fan_in, 2.4 / fan_in)


NETWORKS = {"lenet5": LeNet5, "lenet5_1998": LeNet5Of1998}
