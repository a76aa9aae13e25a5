"""What do the 1x1 reductions of an inception module save, in multiplications and in time, and what do they cost?"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models.googlenet import TABLE_1, VARIANTS, Convolution, Filters, GoogLeNet, Inception, naive, reduced
from ..models.layers import Classifier, ConvNormReLU, Network, initialise_convolutions
from ..reports import figures
from .experiment import Lab, Study
from .interleaved import Work, seconds_in_turns
from .trials import Budget
from .verdict import time_ratio

Module = Callable[[Convolution, int, Filters], tuple[nn.Module, int]]

ROWS = {name: filters for stage in TABLE_1 for name, filters in stage.items()}
FIRST, FIRST_CHANNELS, FIRST_SIDE = "inception3a", 192, 28  # the module whose figures are on the slides
TIMED_BATCH = 8
SMALL_TABLE = (("inception3a", "inception3b"), ("inception4a", "inception4b"))
SMALL_SHARE, SMALL_STEM_CHANNELS = 0.25, 32
DIGITS = {"side": 16, "most_per_class": 20}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = Budget(epochs=24, learning_rates=(0.3, 0.1), tuning_epochs=8, batch_size=32)
FULL = Budget(epochs=120, learning_rates=(0.3, 0.1), tuning_epochs=12, batch_size=128)


def unreduced(convolution: Convolution, in_channels: int, f: Filters) -> tuple[nn.Module, int]:
    """Every window sees every channel; the 1x1 convolution behind the pooling stays, so that as many channels leave as
    with reductions. Module, output channels."""
    module = Inception(
        convolution(in_channels, f.one, 1),
        convolution(in_channels, f.three, 3),
        convolution(in_channels, f.five, 5),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(in_channels, f.pooled, 1)),
    )
    return module, f.one + f.three + f.five + f.pooled


def narrow(filters: Filters, share: float) -> Filters:
    """That share of the filters of every branch, at least one."""
    return Filters(*(max(1, round(share * number)) for number in filters))


def narrowed(module: Module, share: float) -> Module:
    """The module with that share of the filters that it is asked for."""
    return lambda convolution, in_channels, f: module(convolution, in_channels, narrow(f, share))


class InceptionNetwork(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): a 3x3 convolution, then stages of inception
    modules by the rows of GoogLeNet's table, max pooling between the stages."""

    def __init__(
        self,
        module: Module,
        convolution: Convolution = ConvNormReLU,
        table: tuple[tuple[str, ...], ...] = SMALL_TABLE,
        *,
        num_classes: int,
        in_channels: int,
        stem_channels: int = SMALL_STEM_CHANNELS,
    ):
        super().__init__(in_channels=in_channels, smallest_input=2 ** len(table))
        self.stem, channels = convolution(in_channels, stem_channels, 3), stem_channels
        self.stages = nn.Sequential()
        for number, rows in enumerate(table):
            stage = nn.Sequential(OrderedDict({"pool": nn.MaxPool2d(2)} if number else {}))
            for row in rows:
                built, channels = module(convolution, channels, ROWS[row])
                stage.add_module(row, built)
            self.stages.append(stage)
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


def share_of_equal_cost(build: Callable[[float], nn.Module], multiply_adds: int, side: int) -> float:
    """The share of the filters at which `build(share)` is nearest to the multiply-adds, of those that halving tries."""
    low, high, tried = 0.0, 1.0, []
    for _ in range(9):
        middle = (low + high) / 2
        cost = count(on_meta(partial(build, middle)), side).total.multiply_adds or 0
        tried.append((abs(cost - multiply_adds), middle))
        low, high = (middle, high) if cost < multiply_adds else (low, middle)
    return min(tried)[1]


def run(lab: Lab) -> None:
    count_modules(lab)
    time_modules(lab)
    train_networks(lab)


def count_modules(lab: Lab) -> None:
    kinds: dict[str, Module] = {"with reductions": reduced, "without": unreduced, "naive": naive}
    rows, channels, costs = [], dict.fromkeys(kinds, FIRST_CHANNELS), {}
    for stage, side in zip(TABLE_1, (28, 14, 7), strict=True):
        for name, filters in stage.items():
            cells = []
            for kind, module in kinds.items():
                # Each network's own input: the naive modules hand all channels of the pooling on.
                built, out_channels = module(VARIANTS["googlenet"].convolution, channels[kind], filters)
                cost = count(built, side, in_channels=channels[kind]).total
                costs[name, kind], channels[kind] = cost.multiply_adds or 0, out_channels
                cells += [f"{costs[name, kind]:,}", str(out_channels)]
            ratio = costs[name, "without"] / costs[name, "with reductions"]
            rows.append((name, *cells, f"{ratio:.2f}"))
    whole = {
        "with reductions": count("googlenet").total,
        "without": count(on_meta(lambda: GoogLeNet(VARIANTS["googlenet"]._replace(module=unreduced))), 224).total,
        "naive": count("googlenet_naive").total,
    }
    sums = {kind: total.multiply_adds or 0 for kind, total in whole.items()}
    cells = [cell for kind in kinds for cell in (f"{sums[kind]:,}", "")]
    rows.append(("GoogLeNet, 224x224", *cells, f"{sums['without'] / sums['with reductions']:.2f}"))
    lab.table(
        "Multiplications of GoogLeNet's modules",
        (
            "module", "with reductions (2b)", "channels out", "without, equal outputs", "channels out",
            "naive (2a)", "channels out", "without / with",
        ),
        rows,
        "Without, equal outputs: the large windows see all channels; the 1x1 convolution behind the pooling stays. "
        "Naive: the pooling passes all channels on, so that the next module has more to see.",
    )  # fmt: skip
    with_, without = costs[FIRST, "with reductions"], costs[FIRST, "without"]
    lab.verdict(
        "the reductions of module 3a save more than half of its multiplications at equal outputs",
        "exact",
        f"{without:,} without, {with_:,} with: {without / with_:.2f} times fewer, "
        f"and {costs[FIRST, 'naive'] / with_:.2f} times fewer than the naive module, whose output has "
        f"{sum(ROWS[FIRST][i] for i in (0, 2, 4)) + FIRST_CHANNELS} channels instead of 256",
        difference=without / with_,
        unit="ratio of multiplications",
    )
    lab.verdict(
        "without reductions the whole of GoogLeNet would need several times the multiplications",
        "exact",
        f"{sums['without']:,} at equal outputs, {sums['naive']:,} with naive modules, {sums['with reductions']:,} as "
        f"it is: {sums['without'] / sums['with reductions']:.2f} and "
        f"{sums['naive'] / sums['with reductions']:.2f} times as many",
        difference=sums["without"] / sums["with reductions"],
        unit="ratio of multiplications",
    )


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def time_modules(lab: Lab) -> None:
    """Module 3a as a whole, and each of its layers apart: where the time goes that the multiplications do not tell."""
    convolution, filters = VARIANTS["googlenet"].convolution, ROWS[FIRST]
    torch.manual_seed(0)
    here = partial(Work, batch_size=TIMED_BATCH, side=FIRST_SIDE)
    works = {
        kind: here(module(convolution, FIRST_CHANNELS, filters)[0], channels=FIRST_CHANNELS)
        for kind, module in (("with reductions", reduced), ("without", unreduced), ("naive", naive))
    }
    layers = (
        ("1x1", FIRST_CHANNELS, filters.one, 1),
        ("1x1 before the 3x3", FIRST_CHANNELS, filters.reduce3, 1),
        ("3x3 behind it", filters.reduce3, filters.three, 3),
        ("3x3 on all channels", FIRST_CHANNELS, filters.three, 3),
        ("1x1 before the 5x5", FIRST_CHANNELS, filters.reduce5, 1),
        ("5x5 behind it", filters.reduce5, filters.five, 5),
        ("5x5 on all channels", FIRST_CHANNELS, filters.five, 5),
        ("1x1 behind the pooling", FIRST_CHANNELS, filters.pooled, 1),
    )
    works |= {
        f"{name}, {channels} to {outputs}": here(convolution(channels, outputs, side), channels=channels)
        for name, channels, outputs, side in layers
    }
    works["3x3 max pooling"] = here(nn.MaxPool2d(3, stride=1, padding=1), channels=FIRST_CHANNELS)
    seconds = seconds_in_turns(works, lab.device)
    rates: dict[str, float] = {}
    rows = []
    for name, work in works.items():
        median = float(np.median(seconds[name]))
        rates[name] = work.multiply_adds / median / 1e9
        known = f"{rates[name]:.1f}" if work.multiply_adds else "none"
        rows.append((name, f"{work.multiply_adds / 1e6:,.1f}", f"{1000 * median:.2f}", known))
    lab.table(
        f"Time of module 3a and its layers, {TIMED_BATCH} pictures of {FIRST_SIDE}x{FIRST_SIDE}x{FIRST_CHANNELS}",
        ("module or layer", "multiply-adds in millions", "ms", "thousand millions a second"),
        rows,
        f"Medians of {len(seconds['naive'])} rounds in turns, float32, {lab.device.type}. The modules also copy their "
        "branches into one tensor.",
    )
    ratio = time_ratio(seconds["with reductions"], seconds["without"])
    fewer = works["without"].multiply_adds / works["with reductions"].multiply_adds
    lab.compare_times(
        "the module with reductions takes less time than the one without, at equal outputs",
        ratio, "time with over time without", below=1.0,
    )  # fmt: skip
    lab.compare_times(
        f"the time falls by as much as the multiplications, {fewer:.2f} times, to within 5 %",
        ratio, f"time with over time without, where multiplications have {1 / fewer:.2f}", below=1.05 / fewer,
    )  # fmt: skip
    small = f"1x1 before the 5x5, {FIRST_CHANNELS} to {filters.reduce5}"
    pooling = float(np.median(seconds["3x3 max pooling"]) / np.median(seconds["with reductions"]))
    lab.note(
        f"Why time does not follow multiplications: with reductions the module does {rates['with reductions']:.0f} "
        f"thousand million multiply-adds a second here, without {rates['without']:.0f}. Its layers are small "
        f"({small}: {rates[small]:.0f}), each reads all {FIRST_CHANNELS} channels again for few filters, and "
        f"{100 * pooling:.0f} % of its time is the pooling, which multiplies nothing."
    )

    figure, (left, right) = figures.canvas(width=9.5, height=3.6, columns=2, sharey=True)
    kinds = ("with reductions", "without", "naive")
    figures.bars(left, {kind: works[kind].multiply_adds / TIMED_BATCH / 1e6 for kind in kinds})
    ms = {kind: 1000 / TIMED_BATCH * np.quantile(seconds[kind], (0.5, 0.05, 0.95)) for kind in kinds}
    figures.bars(
        right, {kind: float(ms[kind][0]) for kind in kinds}, spread={kind: tuple(ms[kind][1:]) for kind in kinds}
    )
    left.set_xlabel("multiply-adds of one picture, in millions")
    right.set_xlabel("time of one picture in ms (line: 5 to 95 %)")
    lab.picture(
        "Module 3a: multiplications and time",
        figures.svg(figure),
        "Bars for the module with reductions, without at equal outputs, and naive; the time falls less than the "
        "multiplications do.",
    )


def train_networks(lab: Lab) -> None:
    pictures = lab.pictures(**(DIGITS if lab.is_digits else OTHERS)) if lab.quick else lab.pictures(
        side=224 if lab.given else 32, val_fraction=0.1
    )  # fmt: skip
    budget = QUICK if lab.quick else FULL
    side = pictures.preprocessing.size
    options: dict[str, Any] = {"num_classes": pictures.num_classes, "in_channels": pictures.in_channels}

    def build(module: Module, share: float) -> nn.Module:
        if lab.quick:
            return InceptionNetwork(narrowed(module, SMALL_SHARE * share), **options)
        variant = VARIANTS["googlenet_bn"]._replace(module=narrowed(module, share))
        return GoogLeNet(variant, small_stem=side < 64, **options)

    target = count(on_meta(partial(build, reduced, 1.0)), side).total.multiply_adds or 0
    share = share_of_equal_cost(partial(build, unreduced), target, side)
    builds = {
        "with reductions": partial(build, reduced, 1.0),
        "without, equal outputs": partial(build, unreduced, 1.0),
        "without, equal multiply-adds": partial(build, unreduced, share),
    }
    arms = {name: lab.arm(name, make, pictures, budget) for name, make in builds.items()}
    totals = {name: count(on_meta(make), side).total for name, make in builds.items()}
    lab.table(
        "Networks of inception modules",
        ("network", "weights", "multiply-adds", "learning rate", "test error in %", "of each seed", "training s"),
        [
            (
                name, f"{totals[name].parameters:,}", f"{totals[name].multiply_adds:,}", f"{arm.learning_rate:g}",
                f"{100 * arm.error:.2f}", ", ".join(f"{100 * error:.2f}" for error in arm.errors), f"{arm.seconds:.0f}",
            )
            for name, arm in arms.items()
        ],
        f"The last has {100 * share:.0f} % of the filters in every branch.",
    )  # fmt: skip
    figure, axes = figures.canvas()
    figures.curves(axes, {name: 100 * (1 - arm.curve("val_top1")) for name, arm in arms.items()})
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error in %")
    lab.picture(
        "Learning with and without reductions",
        figures.svg(figure),
        "Validation error over the epochs of the three networks, mean and range of the seeds.",
    )
    lab.compare(
        "at equal multiply-adds the wider network with reductions makes fewer mistakes than the narrow one without",
        arms["with reductions"], arms["without, equal multiply-adds"], "lower",
    )  # fmt: skip
    lab.compare(
        "the reductions cost accuracy: at equal outputs the network without them makes fewer mistakes",
        arms["without, equal outputs"], arms["with reductions"], "lower",
    )  # fmt: skip


STUDY = Study(
    name="1x1",
    title="1x1 convolutions: an inception module with and without reductions",
    question="What do the 1x1 reductions of an inception module save, in multiplications and in time, and what do they "
    "cost in accuracy?",
    paper='Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 4, Figure 2 and Table 1, '
    "https://arxiv.org/abs/1409.4842",
    claim="Naive modules would make the computation blow up within a few stages (section 4); with reductions all of "
    "GoogLeNet has 1.5 thousand million multiply-adds (section 1; the rows of Table 1 add up to 1,502 million). The "
    "paper gives no error of a network without them.",
    design="Multiplications: Table 1 with the modules of Figure 2(b), with the same branches that see all channels and "
    "hand as many on, and with those of Figure 2(a). Time: module 3a at 28x28, in turns. Accuracy: four modules of a "
    "quarter of the table's filters (in full mode all nine) with batch norm; the network without reductions once with "
    "equal outputs and once narrowed to equal multiply-adds. Same pictures, order, epochs and learning rates to "
    "choose from.",
    would_change="Wider inputs: the saving grows with the channels that the large windows see. Other libraries or "
    "devices change the times, never the multiplications. On harder pictures the wider of two networks of equal cost "
    "can gain more.",
    run=run,
)
