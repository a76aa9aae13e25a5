"""What does ResNet's bottleneck block save against two 3x3 convolutions, and is it the better use of the same cost?"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models.layers import ConvNormReLU, Head, Network, initialise_convolutions
from ..models.residual_parts import Block, basic, bottleneck, stage
from ..reports import figures
from .costs import costs_of
from .experiment import Experiment, Study
from .interleaved import TimedCall, interleaved_seconds
from .trials import TrainingBudget, cifar_budget
from .verdict import paired_ratio

CHANNELS, WIDTH, SIDE = 256, 64, 56  # Figure 5
TIMED_BATCH = 4


class StageWidths(NamedTuple):
    """Blocks in each stage, widths of the stages (a bottleneck block has four times as many channels), and widths at
    which basic blocks cost the same. The first stage has stride 1, the others have stride 2."""

    depth: int
    widths: tuple[int, ...]
    basic_widths: tuple[int, ...]


# The projections of the first blocks make a small bottleneck network 1.27 times as expensive as one of basic blocks at
# the paper's equal widths, so the basic widths are larger here.
QUICK_NETWORKS = StageWidths(2, (8, 16, 32), (9, 18, 36))
FULL_NETWORKS = StageWidths(9, (16, 32, 64), (16, 32, 64))
DIGITS = {"side": 16, "most_per_class": 20}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = TrainingBudget(epochs=40, learning_rates=(0.2, 0.07, 0.03), tuning_epochs=10, batch_size=32)
FULL = cifar_budget()
BOTTLENECK, EQUAL_COST, EQUAL_WIDTH = "bottleneck", "basic, equal multiply-adds", "basic, equal outer width"


class Blocks(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): a 3x3 convolution to the first width, then
    stages of one kind of block. Shortcuts project where the shape changes."""

    def __init__(
        self, block: Block, expansion: int, depth: int, widths: tuple[int, ...], *, num_classes: int, in_channels: int
    ):
        super().__init__(in_channels=in_channels, smallest_input=2 ** (len(widths) - 1) + 1)
        channels = widths[0]
        self.stem = ConvNormReLU(in_channels, channels, 3)
        self.stages = nn.Sequential()
        for number, width in enumerate(widths):
            self.stages.append(stage(block, depth, channels, width, expansion, 2 if number else 1))
            channels = width * expansion
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


def networks(plan: StageWidths, **options: Any) -> dict[str, Callable[[], nn.Module]]:
    """The bottleneck network, and networks of basic blocks of its cost and of its outer widths."""
    outer = tuple(4 * width for width in plan.widths)
    return {
        BOTTLENECK: partial(Blocks, bottleneck, 4, plan.depth, plan.widths, **options),
        EQUAL_COST: partial(Blocks, basic, 1, plan.depth, plan.basic_widths, **options),
        EQUAL_WIDTH: partial(Blocks, basic, 1, plan.depth, outer, **options),
    }


def run(experiment: Experiment) -> None:
    cost_of_blocks(experiment)
    train_networks(experiment)


def cost_of_blocks(experiment: Experiment) -> None:
    """The blocks of Figure 5 at 56x56, a basic one on as many channels, and the layers of the bottleneck."""
    torch.manual_seed(0)
    here = partial(TimedCall, batch_size=TIMED_BATCH, side=SIDE)
    blocks = {
        f"bottleneck, {CHANNELS} channels": here(bottleneck(CHANNELS, WIDTH, 1), channels=CHANNELS),
        f"basic, {WIDTH} channels": here(basic(WIDTH, WIDTH, 1), channels=WIDTH),
        f"basic, {CHANNELS} channels": here(basic(CHANNELS, CHANNELS, 1), channels=CHANNELS),
    }
    ours, narrow, wide = blocks
    layers = {
        f"1x1, {CHANNELS} to {WIDTH}": here(ConvNormReLU(CHANNELS, WIDTH, 1), channels=CHANNELS),
        f"3x3, {WIDTH} to {WIDTH}": here(ConvNormReLU(WIDTH, WIDTH, 3), channels=WIDTH),
        f"1x1, {WIDTH} to {CHANNELS}": here(ConvNormReLU(WIDTH, CHANNELS, 1), channels=WIDTH),
    }
    calls = blocks | layers
    seconds = interleaved_seconds(calls, experiment.device)
    counts = {name: count(call.module, SIDE, in_channels=call.channels) for name, call in calls.items()}
    values = {
        name: sum(math.prod(layer.output_shape) for layer in found.layers if layer.type != "Identity")
        for name, found in counts.items()
    }
    rows, rates = [], {}
    for name, found in counts.items():
        multiply_adds, median = found.total.multiply_adds or 0, float(np.median(seconds[name])) / TIMED_BATCH
        rates[name] = multiply_adds / median / 1e9
        rows.append(
            (
                name, found.total.parameters, multiply_adds, values[name], f"{multiply_adds / values[name]:,.0f}",
                f"{1000 * median:.2f}", f"{rates[name]:.1f}",
            )
        )  # fmt: skip
    experiment.table(
        f"Residual blocks at {SIDE}x{SIDE}, and the layers of the bottleneck",
        (
            "block or layer", "weights", "multiply-adds", "values written", "multiply-adds a value", "ms a picture",
            "GMAdd/s",
        ),
        rows,
        "Values written: by convolutions, norms, activations and the sum, each once. GMAdd/s: thousand million "
        f"multiply-adds a second. Times: medians of {len(seconds[ours])} interleaved rounds, {TIMED_BATCH} pictures, "
        f"float32, {experiment.device.type}.",
    )  # fmt: skip
    cost = {name: counts[name].total.multiply_adds or 0 for name in blocks}
    experiment.count(
        f"a bottleneck block on {CHANNELS} channels has the cost of a basic one on {WIDTH} (Figure 5), within 10 %",
        abs(cost[ours] / cost[narrow] - 1) < 0.1,
        f"{cost[ours]:,} against {cost[narrow]:,} multiply-adds: {cost[ours] / cost[narrow]:.3f} times as many",
        cost[ours] / cost[narrow],
        "ratio of multiply-adds",
    )
    experiment.count(
        f"on the same {CHANNELS} channels the bottleneck saves most of the multiply-adds",
        cost[wide] > 2 * cost[ours],
        f"{cost[ours]:,} against {cost[wide]:,}: {cost[wide] / cost[ours]:.2f} times fewer",
        cost[wide] / cost[ours],
        "ratio of multiply-adds",
    )
    experiment.compare_times(
        f"the bottleneck on {CHANNELS} channels takes no longer than the basic block on {WIDTH}, within 5 %",
        paired_ratio(seconds[ours], seconds[narrow]), "time of the bottleneck over the basic block's", below=1.05,
    )  # fmt: skip
    experiment.compare_times(
        f"the bottleneck is faster than the basic block on the same {CHANNELS} channels",
        paired_ratio(seconds[ours], seconds[wide]),
        f"time of the bottleneck over the basic block's, at {cost[ours] / cost[wide]:.3f} of the multiply-adds",
    )
    down, between, up = (rates[name] for name in layers)
    experiment.note(
        f"Why time does not follow multiply-adds: the bottleneck writes {values[ours]:,} values for a picture and does "
        f"{cost[ours] / values[ours]:.0f} multiply-adds for each; the basic block of the same cost writes "
        f"{values[narrow]:,} and does {cost[narrow] / values[narrow]:.0f}. Writing and reading them takes time that "
        f"the count leaves out: the 3x3 layer does {between:.0f} GMAdd/s here, the 1x1 layers {down:.0f} and {up:.0f}."
    )
    quantiles = {name: 1000 / TIMED_BATCH * np.quantile(seconds[name], (0.5, 0.05, 0.95)) for name in blocks}
    experiment.picture(
        f"Blocks at {SIDE}x{SIDE}: multiply-adds and time",
        figures.costs_and_times(cost, {name: tuple(found) for name, found in quantiles.items()}),
        "Bars for the bottleneck block, the basic block of its cost and the basic block on its channels.",
    )


def train_networks(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures = experiment.pictures(**(DIGITS if experiment.is_digits else OTHERS))
        budget, plan = QUICK, QUICK_NETWORKS
    else:
        pictures, budget, plan = experiment.pictures(side=32, val_fraction=0.1), FULL, FULL_NETWORKS
    builds = networks(plan, num_classes=pictures.num_classes, in_channels=pictures.in_channels)
    arms = {name: experiment.arm(name, build, pictures, budget) for name, build in builds.items()}
    costs = costs_of(builds, pictures.preprocessing.size)
    experiment.table_of_networks(
        "Networks of residual blocks", arms, costs, f"{plan.depth} blocks in each of {len(plan.widths)} stages."
    )
    experiment.learning_curves("Learning with bottleneck and basic blocks", arms)
    experiment.compare(
        "at equal multiply-adds the bottleneck network makes fewer mistakes than the one of basic blocks",
        arms[BOTTLENECK], arms[EQUAL_COST], "lower",
    )  # fmt: skip
    experiment.compare(
        "the bottleneck costs accuracy: at equal outer width the network of basic blocks, at "
        f"{costs[EQUAL_WIDTH].multiply_adds / costs[BOTTLENECK].multiply_adds:.0f} times the cost, makes fewer "
        "mistakes",
        arms[EQUAL_WIDTH], arms[BOTTLENECK], "lower",
    )  # fmt: skip


STUDY = Study(
    name="bottleneck",
    title="Bottleneck: 1x1, 3x3, 1x1 against two 3x3",
    question="What does ResNet's bottleneck block save against two 3x3 convolutions, and is it the better use of the "
    "same cost?",
    paper='He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.1, Figure 5 and Tables 1 '
    "and 3, https://arxiv.org/abs/1512.03385",
    claim="A bottleneck block on 256 channels and a basic block on 64 have similar time complexity (Figure 5). With as "
    "many blocks, ResNet-50 has 3.8 and ResNet-34 3.6 thousand million multiply-adds (Table 1), and 22.85 against "
    "24.52 % top-1 error on ImageNet with 10 crops and shortcuts of option B (Table 3).",
    paper_setup="ImageNet, 1.28 million training pictures of 224 pixels, about 120 epochs, one training each",
    design="Blocks: Figure 5, counted and timed in interleaved rounds, and the basic block on 256 channels. Networks: "
    "the same number of blocks of each kind, with shortcuts of option B; basic blocks once at the width of equal cost "
    "(within 5 %) and once at the bottlenecks' outer widths. All arms have the same pictures, order and epochs, and "
    "choose among the same learning rates.",
    would_change="Deeper networks and harder pictures, where channels are worth more than window area: the paper's "
    "gain is on ImageNet, at 16 blocks. Times depend on how fast the device moves memory.",
    run=run,
)
