"""What does ResNet's bottleneck block save against two 3x3 convolutions, and is it the better use of the same cost?"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models.layers import Classifier, ConvNormReLU, Network, initialise_convolutions
from ..models.resnet import Block, basic, bottleneck, stage
from ..reports import figures
from ..training.recipe import RECIPES
from .experiment import Lab, Study
from .interleaved import Work, seconds_in_turns
from .trials import Budget
from .verdict import time_ratio

CHANNELS, WIDTH, SIDE = 256, 64, 56  # Figure 5
TIMED_BATCH = 4


class Plan(NamedTuple):
    """The networks: blocks in each stage, the stages' widths, of which a bottleneck block gives four times as many
    channels, and the widths at which basic blocks cost as much. The first stage strides by 1, the others by 2."""

    depth: int
    widths: tuple[int, ...]
    basic_widths: tuple[int, ...]


# The projections of the first blocks add so much to a bottleneck network that the paper's equal widths would not be
# equal in cost: 1.27 times in the small one.
QUICK_PLAN = Plan(2, (8, 16, 32), (9, 18, 36))
FULL_PLAN = Plan(9, (16, 32, 64), (16, 32, 64))
DIGITS = {"side": 16, "most_per_class": 20}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = Budget(epochs=40, learning_rates=(0.2, 0.07, 0.03), tuning_epochs=10, batch_size=32)
FULL_EPOCHS = 182


class Blocks(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): a 3x3 convolution of the first width, then
    stages of one kind of block, with shortcuts that project where the shape changes."""

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
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


def networks(plan: Plan, **options: Any) -> dict[str, Callable[[], nn.Module]]:
    """The bottleneck network, that of basic blocks of its cost, and that of basic blocks of its outer widths."""
    outer = tuple(4 * width for width in plan.widths)
    return {
        "bottleneck": partial(Blocks, bottleneck, 4, plan.depth, plan.widths, **options),
        "basic, equal multiply-adds": partial(Blocks, basic, 1, plan.depth, plan.basic_widths, **options),
        "basic, equal outer width": partial(Blocks, basic, 1, plan.depth, outer, **options),
    }


def run(lab: Lab) -> None:
    cost_of_blocks(lab)
    train_networks(lab)


def cost_of_blocks(lab: Lab) -> None:
    """The blocks of Figure 5 at 56x56, the basic one also on as many channels, and the layers of the bottleneck."""
    torch.manual_seed(0)
    here = partial(Work, batch_size=TIMED_BATCH, side=SIDE)
    works = {
        f"bottleneck, {CHANNELS} channels": here(bottleneck(CHANNELS, WIDTH, 1), channels=CHANNELS),
        f"basic, {WIDTH} channels": here(basic(WIDTH, WIDTH, 1), channels=WIDTH),
        f"basic, {CHANNELS} channels": here(basic(CHANNELS, CHANNELS, 1), channels=CHANNELS),
    }
    ours, narrow, wide = works
    parts = {
        f"1x1, {CHANNELS} to {WIDTH}": here(ConvNormReLU(CHANNELS, WIDTH, 1), channels=CHANNELS),
        f"3x3, {WIDTH} to {WIDTH}": here(ConvNormReLU(WIDTH, WIDTH, 3), channels=WIDTH),
        f"1x1, {WIDTH} to {CHANNELS}": here(ConvNormReLU(WIDTH, CHANNELS, 1), channels=WIDTH),
    }
    seconds = seconds_in_turns(works | parts, lab.device)
    counts = {name: count(work.module, SIDE, in_channels=work.channels) for name, work in (works | parts).items()}
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
                name, f"{found.total.parameters:,}", f"{multiply_adds:,}", f"{values[name]:,}",
                f"{multiply_adds / values[name]:,.0f}", f"{1000 * median:.2f}", f"{rates[name]:.1f}",
            )
        )  # fmt: skip
    lab.table(
        f"Residual blocks at {SIDE}x{SIDE}, and the layers of the bottleneck",
        (
            "block or layer", "weights", "multiply-adds", "values written", "multiply-adds a value", "ms a picture",
            "thousand millions a second",
        ),
        rows,
        "Values written: by convolutions, norms, activations and the sum, each once. Times: medians of "
        f"{len(seconds[ours])} rounds in turns, {TIMED_BATCH} pictures, float32, {lab.device.type}.",
    )  # fmt: skip
    cost = {name: counts[name].total.multiply_adds or 0 for name in works}
    lab.verdict(
        f"a bottleneck block on {CHANNELS} channels has the cost of a basic one on {WIDTH} (Figure 5)",
        "exact",
        f"{cost[ours]:,} against {cost[narrow]:,} multiply-adds: {cost[ours] / cost[narrow]:.3f} times as many",
        difference=cost[ours] / cost[narrow],
        unit="ratio of multiply-adds",
    )
    lab.verdict(
        f"on the same {CHANNELS} channels the bottleneck saves most of the multiply-adds",
        "exact",
        f"{cost[ours]:,} against {cost[wide]:,}: {cost[wide] / cost[ours]:.2f} times fewer",
        difference=cost[wide] / cost[ours],
        unit="ratio of multiply-adds",
    )
    lab.compare_times(
        f"the bottleneck on {CHANNELS} channels takes no longer than the basic block on {WIDTH}, to within 5 %",
        time_ratio(seconds[ours], seconds[narrow]), "time of the bottleneck over the basic block's", below=1.05,
    )  # fmt: skip
    lab.compare_times(
        f"the bottleneck is faster than the basic block on the same {CHANNELS} channels",
        time_ratio(seconds[ours], seconds[wide]),
        f"time of the bottleneck over the basic block's, where multiply-adds have {cost[ours] / cost[wide]:.3f}",
        below=1.0,
    )
    down, between, up = (rates[name] for name in parts)
    lab.note(
        f"Why time does not follow multiply-adds: the bottleneck writes {values[ours]:,} values for a picture, the "
        f"basic block of its cost {values[narrow]:,}, and does {cost[ours] / values[ours]:.0f} multiply-adds for each "
        f"instead of {cost[narrow] / values[narrow]:.0f}. Writing and reading them takes time that the count leaves "
        f"out: the 3x3 layer does {between:.0f} thousand million multiply-adds a second here, the 1x1 layers "
        f"{down:.0f} and {up:.0f}."
    )

    figure, (left, right) = figures.canvas(width=9.5, height=3.4, columns=2, sharey=True)
    figures.bars(left, {name: cost[name] / 1e6 for name in works})
    ms = {name: 1000 / TIMED_BATCH * np.quantile(seconds[name], (0.5, 0.05, 0.95)) for name in works}
    figures.bars(
        right, {name: float(q[0]) for name, q in ms.items()}, spread={name: tuple(ms[name][1:]) for name in ms}
    )
    for axes, what in ((left, "multiply-adds of one picture, in millions"), (right, "ms a picture (line: 5 to 95 %)")):
        axes.set_xlabel(what)
    lab.picture(
        f"Blocks at {SIDE}x{SIDE}: multiply-adds and time",
        figures.svg(figure),
        "Bars for the bottleneck block, the basic block of its cost and the basic block of its channels.",
    )


def train_networks(lab: Lab) -> None:
    if lab.quick:
        pictures, budget, plan = lab.pictures(**(DIGITS if lab.is_digits else OTHERS)), QUICK, QUICK_PLAN
    else:
        pictures, plan = lab.pictures(side=32, val_fraction=0.1), FULL_PLAN
        paper = RECIPES["cifar"].settings
        used = ("momentum", "nesterov", "weight_decay", "decay_all", "schedule", "milestones", "gamma")
        budget = Budget(
            epochs=FULL_EPOCHS, learning_rates=(paper["learning_rate"],), batch_size=paper["batch_size"],
            settings={name: paper[name] for name in used} | {"clip_norm": 0, "warmup_epochs": 0},
        )  # fmt: skip
    builds = networks(plan, num_classes=pictures.num_classes, in_channels=pictures.in_channels)
    arms = {name: lab.arm(name, build, pictures, budget) for name, build in builds.items()}
    side, rows, cost = pictures.preprocessing.size, [], {}
    for name, arm in arms.items():
        with torch.device("meta"):
            total = count(builds[name](), side).total
        cost[name] = total.multiply_adds or 0
        rows.append(
            (
                name, f"{total.parameters:,}", f"{cost[name]:,}", f"{arm.learning_rate:g}", f"{100 * arm.error:.2f}",
                ", ".join(f"{100 * error:.2f}" for error in arm.errors), f"{arm.seconds:.0f}",
            )
        )  # fmt: skip
    lab.table(
        "Networks of residual blocks",
        ("network", "weights", "multiply-adds", "learning rate", "test error in %", "of each seed", "training s"),
        rows,
        f"{plan.depth} blocks in each of {len(plan.widths)} stages.",
    )
    figure, axes = figures.canvas()
    figures.curves(axes, {name: 100 * (1 - arm.curve("val_top1")) for name, arm in arms.items()})
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error in %")
    lab.picture(
        "Learning with bottleneck and basic blocks",
        figures.svg(figure),
        "Validation error over the epochs of the three networks, mean and range of the seeds.",
    )
    lab.compare(
        "at equal multiply-adds the bottleneck network makes fewer mistakes than the one of basic blocks",
        arms["bottleneck"], arms["basic, equal multiply-adds"], "lower",
    )  # fmt: skip
    lab.compare(
        "the bottleneck costs accuracy: at equal outer width the network of basic blocks, at "
        f"{cost['basic, equal outer width'] / cost['bottleneck']:.0f} times the cost, makes fewer mistakes",
        arms["basic, equal outer width"], arms["bottleneck"], "lower",
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
    design="Blocks: Figure 5, counted and timed in turns, and the basic block on 256 channels. Networks: as many "
    "blocks of each kind, with shortcuts of option B; basic blocks once at the width of equal cost (to 5 %) and once "
    "at the bottlenecks' outer widths. Same pictures, order, epochs and learning rates to choose from.",
    would_change="Deeper networks and harder pictures, where channels are worth more than window area: the paper's "
    "gain is of ImageNet, at 16 blocks. Times depend on how fast the device moves memory.",
    run=run,
)
