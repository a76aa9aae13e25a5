"""What do the 1x1 reductions of an inception module save, in multiplications and in time, and what do they cost?"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models import create_model
from ..models.googlenet import TABLE_1, VARIANTS, Convolution, Filters, GoogLeNet, naive, reduced
from ..models.inception_parts import Inception
from ..models.layers import ConvNormReLU, Head, Network, initialise_convolutions
from ..reports import figures
from .costs import cost_of, costs_of, share_of_equal_cost
from .experiment import Experiment, Study
from .interleaved import TimedCall, interleaved_seconds
from .trials import TrainingBudget
from .verdict import paired_ratio

Module = Callable[[Convolution, int, Filters], tuple[nn.Module, int]]

ROWS = {name: filters for stage in TABLE_1 for name, filters in stage.items()}
FIRST, FIRST_CHANNELS, FIRST_SIDE = "inception3a", 192, 28  # the module that is counted and timed
TIMED_BATCH = 8
SMALL_TABLE = (("inception3a", "inception3b"), ("inception4a", "inception4b"))
SMALL_SHARE, SMALL_STEM_CHANNELS = 0.25, 32
DIGITS = {"side": 16, "most_per_class": 20}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = TrainingBudget(epochs=24, learning_rates=(0.3, 0.1), tuning_epochs=8, batch_size=32)
FULL = TrainingBudget(epochs=120, learning_rates=(0.3, 0.1), tuning_epochs=12, batch_size=128)


def unreduced(convolution: Convolution, in_channels: int, f: Filters) -> tuple[nn.Module, int]:
    """The module and its output channels. Every window sees every channel; the 1x1 convolution behind the pooling
    stays, so the module has as many outputs as one with reductions."""
    module = Inception(
        convolution(in_channels, f.one, 1),
        convolution(in_channels, f.three, 3),
        convolution(in_channels, f.five, 5),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(in_channels, f.pooled, 1)),
    )
    return module, f.one + f.three + f.five + f.pooled


def narrow(filters: Filters, share: float) -> Filters:
    """A share of the filters of every branch, at least one each."""
    return Filters(*(max(1, round(share * number)) for number in filters))


def narrowed(module: Module, share: float) -> Module:
    """The module with a share of the filters that it is asked for."""
    return lambda convolution, in_channels, f: module(convolution, in_channels, narrow(f, share))


class InceptionNetwork(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): a 3x3 convolution, then stages of inception
    modules with the filters of GoogLeNet's table, and max pooling between the stages."""

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
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


def run(experiment: Experiment) -> None:
    count_modules(experiment)
    time_modules(experiment)
    train_networks(experiment)


def count_modules(experiment: Experiment) -> None:
    kinds: dict[str, Module] = {"with reductions": reduced, "without": unreduced, "naive": naive}
    rows, channels, costs = [], dict.fromkeys(kinds, FIRST_CHANNELS), {}
    for stage, side in zip(TABLE_1, (28, 14, 7), strict=True):
        for name, filters in stage.items():
            cells = []
            for kind, module in kinds.items():
                # Each network has its own input here: naive modules pass all channels of the pooling on.
                built, out_channels = module(VARIANTS["googlenet"].convolution, channels[kind], filters)
                total = count(built, side, in_channels=channels[kind]).total
                costs[name, kind], channels[kind] = total.multiply_adds or 0, out_channels
                cells += [f"{costs[name, kind]:,}", str(out_channels)]
            rows.append((name, *cells, f"{costs[name, 'without'] / costs[name, 'with reductions']:.2f}"))
    whole = {
        "with reductions": cost_of(partial(create_model, "googlenet"), 224).multiply_adds,
        "without": cost_of(lambda: GoogLeNet(VARIANTS["googlenet"]._replace(module=unreduced)), 224).multiply_adds,
        "naive": cost_of(partial(create_model, "googlenet_naive"), 224).multiply_adds,
    }
    cells = [cell for kind in kinds for cell in (f"{whole[kind]:,}", "")]
    rows.append(("GoogLeNet, 224x224", *cells, f"{whole['without'] / whole['with reductions']:.2f}"))
    experiment.table(
        "Multiplications of GoogLeNet's modules",
        (
            "module", "with reductions (2b)", "channels out", "without, equal outputs", "channels out",
            "naive (2a)", "channels out", "without / with",
        ),
        rows,
        "Without, equal outputs: the large windows see all channels; the 1x1 convolution behind the pooling stays. "
        "Naive: the pooling passes all channels on, so the next module has more input.",
    )  # fmt: skip
    with_, without = costs[FIRST, "with reductions"], costs[FIRST, "without"]
    experiment.count(
        "the reductions of module 3a save more than half of its multiplications at equal outputs",
        without > 2 * with_,
        f"{without:,} without, {with_:,} with: {without / with_:.2f} times fewer, and "
        f"{costs[FIRST, 'naive'] / with_:.2f} times fewer than the naive module, whose output has "
        f"{sum(ROWS[FIRST][i] for i in (0, 2, 4)) + FIRST_CHANNELS} channels instead of 256",
        without / with_,
        "ratio of multiplications",
    )
    more = {kind: whole[kind] / whole["with reductions"] for kind in ("without", "naive")}
    experiment.count(
        "without reductions the whole of GoogLeNet would need several times the multiplications",
        more["without"] > 2,
        f"{whole['without']:,} at equal outputs, {whole['naive']:,} with naive modules, "
        f"{whole['with reductions']:,} with reductions: {more['without']:.2f} and {more['naive']:.2f} times as many",
        more["without"],
        "ratio of multiplications",
    )


def time_modules(experiment: Experiment) -> None:
    """Module 3a as a whole and layer by layer: where the time goes that the multiplications do not explain."""
    convolution, filters = VARIANTS["googlenet"].convolution, ROWS[FIRST]
    torch.manual_seed(0)
    here = partial(TimedCall, batch_size=TIMED_BATCH, side=FIRST_SIDE)
    modules = {
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
    calls = modules | {
        f"{name}, {channels} to {outputs}": here(convolution(channels, outputs, side), channels=channels)
        for name, channels, outputs, side in layers
    }
    calls["3x3 max pooling"] = here(nn.MaxPool2d(3, stride=1, padding=1), channels=FIRST_CHANNELS)
    seconds = interleaved_seconds(calls, experiment.device)
    rates: dict[str, float] = {}
    rows = []
    for name, call in calls.items():
        median = float(np.median(seconds[name]))
        rates[name] = call.multiply_adds / median / 1e9
        rate = f"{rates[name]:.1f}" if call.multiply_adds else "none"
        rows.append((name, f"{call.multiply_adds / 1e6:,.1f}", f"{1000 * median:.2f}", rate))
    experiment.table(
        f"Time of module 3a and its layers, {TIMED_BATCH} pictures of {FIRST_SIDE}x{FIRST_SIDE}x{FIRST_CHANNELS}",
        ("module or layer", "multiply-adds in millions", "ms", "GMAdd/s"),
        rows,
        f"Medians of {len(seconds['naive'])} interleaved rounds, float32, {experiment.device.type}. GMAdd/s: thousand "
        "million multiply-adds a second. The modules also copy their branches into one tensor.",
    )
    ratio = paired_ratio(seconds["with reductions"], seconds["without"])
    fewer = calls["without"].multiply_adds / calls["with reductions"].multiply_adds
    experiment.compare_times(
        "the module with reductions takes less time than the one without, at equal outputs", ratio,
        "time with over time without",
    )  # fmt: skip
    experiment.compare_times(
        f"the time falls by as much as the multiplications, {fewer:.2f} times, within 5 %", ratio,
        f"time with over time without, at {1 / fewer:.2f} of the multiplications", below=1.05 / fewer,
    )  # fmt: skip
    small = f"1x1 before the 5x5, {FIRST_CHANNELS} to {filters.reduce5}"
    pooling = float(np.median(seconds["3x3 max pooling"]) / np.median(seconds["with reductions"]))
    experiment.note(
        f"Why time does not follow multiplications: with reductions the module does {rates['with reductions']:.0f} "
        f"GMAdd/s here, without {rates['without']:.0f}. Its layers are small ({small}: {rates[small]:.0f}), each reads "
        f"all {FIRST_CHANNELS} channels again for few filters, and {100 * pooling:.0f} % of its time is the pooling, "
        "which multiplies nothing."
    )
    quantiles = {name: 1000 / TIMED_BATCH * np.quantile(seconds[name], (0.5, 0.05, 0.95)) for name in modules}
    experiment.picture(
        "Module 3a: multiplications and time",
        figures.costs_and_times(
            {name: call.multiply_adds / TIMED_BATCH for name, call in modules.items()},
            {name: tuple(found) for name, found in quantiles.items()},
        ),
        "Bars for the module with reductions, without at equal outputs, and naive; the time falls less than the "
        "multiplications do.",
    )


def train_networks(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures, budget = experiment.pictures(**(DIGITS if experiment.is_digits else OTHERS)), QUICK
    else:
        pictures, budget = experiment.pictures(side=224 if experiment.is_own_data else 32, val_fraction=0.1), FULL
    side = pictures.preprocessing.size
    options: dict[str, Any] = {"num_classes": pictures.num_classes, "in_channels": pictures.in_channels}

    def build(module: Module, share: float) -> nn.Module:
        if experiment.is_quick:
            return InceptionNetwork(narrowed(module, SMALL_SHARE * share), **options)
        variant = VARIANTS["googlenet_bn"]._replace(module=narrowed(module, share))
        return GoogLeNet(variant, small_stem=side < 64, **options)

    target = cost_of(partial(build, reduced, 1.0), side).multiply_adds
    share = share_of_equal_cost(partial(build, unreduced), target, side)
    builds = {
        "with reductions": partial(build, reduced, 1.0),
        "without, equal outputs": partial(build, unreduced, 1.0),
        "without, equal multiply-adds": partial(build, unreduced, share),
    }
    arms = {name: experiment.arm(name, make, pictures, budget) for name, make in builds.items()}
    experiment.table_of_networks(
        "Networks of inception modules", arms, costs_of(builds, side),
        f"The last has {100 * share:.0f} % of the filters in every branch.",
    )  # fmt: skip
    experiment.learning_curves("Learning with and without reductions", arms)
    experiment.compare(
        "at equal multiply-adds the wider network with reductions makes fewer mistakes than the narrow one without",
        arms["with reductions"], arms["without, equal multiply-adds"], "lower",
    )  # fmt: skip
    experiment.compare(
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
    claim="Naive modules would make the computation blow up within a few stages (section 4); with reductions the whole "
    "of GoogLeNet has 1.5 thousand million multiply-adds (section 1; the rows of Table 1 add up to 1,502 million). The "
    "paper gives no error of a network without them.",
    paper_setup="ImageNet, 1.2 million training pictures of 224 pixels; no network without reductions was trained",
    design="Multiplications: Table 1 with the modules of Figure 2(b), with the same branches seeing all channels at "
    "equal outputs, and with the modules of Figure 2(a). Time: module 3a at 28x28, in interleaved rounds. Accuracy: "
    "four modules with a quarter of the table's filters (in full mode all nine) and batch norm; the network without "
    "reductions once with equal outputs and once narrowed to equal multiply-adds. All arms have the same pictures, "
    "order and epochs, and choose among the same learning rates.",
    would_change="Wider inputs: the saving grows with the channels that the large windows see. Other libraries or "
    "devices change the times, never the multiplications. On harder pictures the wider of two networks of equal cost "
    "can gain more.",
    run=run,
)
