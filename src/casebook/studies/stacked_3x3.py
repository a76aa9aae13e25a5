"""Do two or three 3x3 convolutions do the work of one 5x5 or 7x7 at lower cost?"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models.layers import Classifier, ConvNormReLU, initialise_convolutions
from ..reports import figures
from ..training.recipe import RECIPES
from .experiment import Lab, Study
from .interleaved import Work, seconds_in_turns
from .trials import Arm, Budget
from .verdict import time_ratio

# Kernel sides of one unit. Those with the same name before the comma see the same pixels.
UNITS: dict[str, tuple[int, ...]] = {
    "two 3x3": (3, 3),
    "one 5x5": (5,),
    "three 3x3": (3, 3, 3),
    "one 7x7": (7,),
}
PAIRS = (("two 3x3", "one 5x5"), ("three 3x3", "one 7x7"))


class Plan(NamedTuple):
    widths: tuple[int, ...]  # of the stages; each is `units` units, then max pooling
    units: int
    side: int
    batch_size: int
    epochs: int


QUICK = Plan((24, 24), 1, 16, 32, 30)
QUICK_PER_CLASS = 20  # of the digits: with more of them all networks make too few mistakes to compare
FULL = Plan((64, 128, 256, 512, 512), 1, 32, 128, 160)  # VGG's column B, in which a unit of two 3x3 is a stage
LARGE_SIDE = 224  # of pictures other than CIFAR-10's in full mode


class World(NamedTuple):
    """Where a unit is timed: maps of VGG's shapes, from the first stage's to the last's, and of this study's."""

    width: int
    side: int
    batch_size: int


QUICK_PLACES = (World(24, 16, 64), World(64, 56, 2), World(256, 14, 4))
FULL_PLACES = (*QUICK_PLACES, World(64, 224, 4), World(512, 14, 16))


def unit(in_channels: int, width: int, kernels: Sequence[int]) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, width, H, W): a convolution with batch norm and ReLU for each kernel."""
    layers = nn.Sequential()
    for kernel in kernels:
        layers.append(ConvNormReLU(in_channels, width, kernel))
        in_channels = width
    return layers


def stacked(kernels: Sequence[int], plan: Plan, num_classes: int, in_channels: int) -> nn.Sequential:
    """Images -> logits: a 3x3 convolution to the first width, then stages of units that all have the same kernels."""
    channels = plan.widths[0]
    network = nn.Sequential(ConvNormReLU(in_channels, channels, 3))
    for width in plan.widths:
        for _ in range(plan.units):
            network.append(unit(channels, width, kernels))
            channels = width
        network.append(nn.MaxPool2d(2))
    network.append(Classifier(channels, num_classes))
    initialise_convolutions(network.modules())
    return network


def run(lab: Lab) -> None:
    plan = QUICK if lab.quick else FULL
    if lab.quick and not lab.is_digits:
        plan = plan._replace(side=32)
    if not lab.quick and lab.data != "cifar10":
        plan = plan._replace(side=LARGE_SIDE)
    if lab.quick:
        pictures = lab.pictures(side=plan.side)
        if lab.is_digits:
            pictures = pictures.fewer(QUICK_PER_CLASS)
            lab.note(f"Of them {len(pictures.train):,} pictures train, {QUICK_PER_CLASS} of each class.")
        budget = Budget(
            epochs=plan.epochs, learning_rates=(0.1, 0.03), tuning_epochs=max(1, plan.epochs // 3),
            batch_size=plan.batch_size,
        )  # fmt: skip
    else:
        pictures = lab.pictures(side=plan.side, val_fraction=0.1)
        paper = RECIPES["cifar"].settings
        settings = {name: paper[name] for name in ("momentum", "weight_decay", "schedule", "milestones", "gamma")}
        budget = Budget(
            epochs=plan.epochs, learning_rates=(0.1, 0.03), tuning_epochs=max(1, plan.epochs // 10),
            batch_size=plan.batch_size, settings=settings,
        )  # fmt: skip
    builds = {
        name: partial(stacked, kernels, plan, pictures.num_classes, pictures.in_channels)
        for name, kernels in UNITS.items()
    }
    _count(lab, plan)
    _measure(lab)
    arms = {name: lab.arm(name, build, pictures, budget) for name, build in builds.items()}
    _compare(lab, plan, arms, builds)


def fields(kernels: Sequence[int], plan: Plan) -> list[tuple[int, int] | None]:
    """The receptive field behind each stage."""
    with torch.device("meta"):
        network = stacked(kernels, plan, 10, 3)
    outputs = count(network, plan.side, in_channels=3).outputs
    pools = [name for name, module in network.named_children() if isinstance(module, nn.MaxPool2d)]
    return [outputs[name].receptive_field for name in pools]


def _count(lab: Lab, plan: Plan) -> None:
    """The arithmetic of one unit at equal width, which needs no pictures."""
    width, side = 64, 56
    costs = {}
    for name, kernels in UNITS.items():
        with torch.device("meta"):
            counted = count(unit(width, width, kernels), side, in_channels=width)
        convolutions = [layer for layer in counted.layers if layer.kernel_size]
        weights = sum(layer.parameters for layer in convolutions)
        costs[name] = (weights, counted.total.multiply_adds or 0, counted.outputs[""].receptive_field)
    lab.table(
        f"One unit at {width} channels on {side}x{side} maps",
        ("unit", "receptive field", "weights of convolutions", "in units of C^2", "multiply-adds"),
        [
            (name, f"{field[0]}x{field[1]}", weights, weights // width**2, multiply_adds)
            for name, (weights, multiply_adds, field) in costs.items()
        ],
        "Without biases and batch norms.",
    )
    for stack, single in PAIRS:
        (ours, our_adds, our_field), (theirs, their_adds, their_field) = costs[stack], costs[single]
        same = our_field == their_field and fields(UNITS[stack], plan) == fields(UNITS[single], plan)
        more = 100 * (theirs / ours - 1)
        lab.verdict(
            f"{stack} convolutions see what {single} sees, with fewer weights and multiply-adds at equal width",
            "exact" if same and ours < theirs and our_adds < their_adds else "contradicted",
            f"{single} has {theirs / ours:.2f} times the weights ({more:.0f} % more) and {their_adds / our_adds:.2f} "
            f"times the multiply-adds of {stack}; the receptive fields are "
            f"{' and '.join(f'{f[0]}x{f[1]}' for f in (our_field, their_field) if f)}, and equal behind every stage of "
            "the networks that are trained",
            difference=theirs / ours,
            unit="ratio of weights",
        )


def _measure(lab: Lab) -> None:
    """Times of units in turns, with and without what stands between convolutions."""
    rows, drawn = [], {}
    for place in QUICK_PLACES if lab.quick else FULL_PLACES:
        whole = {
            name: Work(unit(place.width, place.width, kernels), place.batch_size, place.width, place.side)
            for name, kernels in UNITS.items()
        }
        bare = {
            f"{name}, convolutions alone": work._replace(module=nn.Sequential(*(part.conv for part in work.module)))  # type: ignore[attr-defined]
            for name, work in whole.items()
        }
        seconds = seconds_in_turns(whole | bare, lab.device)
        multiply_adds = {name: work.multiply_adds for name, work in whole.items()}
        for stack, single in PAIRS:
            ratio = time_ratio(seconds[stack], seconds[single])
            alone = time_ratio(
                seconds[f"{stack}, convolutions alone"], seconds[f"{single}, convolutions alone"]
            )  # fmt: skip
            share = 1 - np.median(seconds[f"{stack}, convolutions alone"] / seconds[stack])
            counted = multiply_adds[stack] / multiply_adds[single]
            where = f"{place.width} channels, {place.side}x{place.side}, {place.batch_size} pictures"
            rows.append(
                (
                    where, f"{stack} / {single}", f"{counted:.2f}", f"{ratio.ratio:.2f}", f"{alone.ratio:.2f}",
                    *(
                        f"{multiply_adds[name] / np.median(seconds[f'{name}, convolutions alone']) / 1e9:.0f}"
                        for name in (stack, single)
                    ),
                    f"{100 * share:.0f} %",
                )
            )  # fmt: skip
            drawn[f"{stack} / {single}, {place.width} at {place.side}x{place.side}"] = ratio
            lab.compare_times(
                f"{stack} convolutions are faster than {single} at {place.width} channels and {place.side}x"
                f"{place.side} pixels",
                ratio,
                f"time of {stack} over that of {single} ({counted:.2f} of the multiply-adds)",
                below=1.0,
            )
    lab.table(
        "Time of one unit against its multiply-adds",
        ("maps", "pair", "multiply-adds", "time", "time of the convolutions alone", "GMAdd/s, stack",
         "GMAdd/s, single", "norm and ReLU in the stack's time"),
        rows,
        "Ratios, stack over single; medians over rounds in turns; in inference, channels last. Why the time is "
        "not that of the multiply-adds: for each value that it reads and each that it writes, a 3x3 convolution on C "
        "channels has 9 C multiply-adds to do and a 7x7 has 49 C, so a stack spends more time on memory and does "
        "fewer in a second; and the batch norms and ReLUs, which read and write every map and hardly multiply, "
        "come two or three times instead of once.",
    )  # fmt: skip
    figure, axes = figures.canvas(height=3.6)
    figures.bars(
        axes, {name: ratio.ratio for name, ratio in drawn.items()},
        spread={name: (ratio.low, ratio.high) for name, ratio in drawn.items()},
    )  # fmt: skip
    for place, (name, row) in enumerate(zip(list(drawn)[::-1], rows[::-1], strict=True)):
        axes.plot([float(row[2])] * 2, [place - 0.38, place + 0.38], color="#c8501e", linewidth=2,
                  label="ratio of multiply-adds" if name == next(iter(drawn)) else None)  # fmt: skip
    axes.axvline(1, color="#555", linewidth=0.8, linestyle=":")
    axes.set_xlabel("time of the stack / time of the single convolution")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    lab.picture(
        "Measured time against multiply-adds",
        figures.svg(figure),
        "Bars of the ratio of times, stack over single, for each size of map, each with a mark at the ratio of "
        "multiply-adds: " + "; ".join(f"{name} {ratio.ratio:.2f}" for name, ratio in drawn.items()) + ".",
    )


def _compare(lab: Lab, plan: Plan, arms: dict[str, Arm], builds: Mapping[str, partial]) -> None:
    rows, shown = [], {}
    for name, arm in arms.items():
        total = count(builds[name](), plan.side).total
        rows.append(
            (
                name, total.parameters, total.multiply_adds or 0, f"{100 * arm.error:.2f}",
                ", ".join(f"{100 * error:.2f}" for error in arm.errors), f"{arm.learning_rate:g}",
                f"{arm.seconds:.1f}",
            )
        )  # fmt: skip
        shown[f"{name}, {(total.multiply_adds or 0) / 1e6:.3g} million multiply-adds"] = arm
    lab.table(
        "Networks",
        ("units", "parameters", "multiply-adds", "test error in %", "of each seed", "learning rate",
         "training seconds"),
        rows,
        f"{len(plan.widths)} stages of {plan.units} unit each, {', '.join(map(str, plan.widths))} channels, "
        f"{plan.side}x{plan.side} pixels.",
    )  # fmt: skip
    figure, axes = figures.canvas(height=2.8)
    figures.bars(axes, {name: 100 * arm.error for name, arm in shown.items()}, spread={
        name: (100 * min(arm.errors), 100 * max(arm.errors)) for name, arm in shown.items()
    })  # fmt: skip
    axes.set_xlabel("test error in %, mean and range of the seeds")
    lab.picture(
        "Error and multiply-adds",
        figures.svg(figure),
        "A bar for each network: " + "; ".join(f"{name}: {100 * arm.error:.2f} %" for name, arm in shown.items()) + ".",
    )
    for stack, single in PAIRS:
        lab.compare(f"{stack} convolutions make fewer mistakes than {single}", arms[stack], arms[single], "lower")


STUDY = Study(
    name="stacked-3x3",
    title="Stacked 3x3 convolutions against 5x5 and 7x7",
    question="Do two or three 3x3 convolutions do the work of one 5x5 or 7x7, at lower cost and with fewer mistakes?",
    paper='Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, '
    "sections 2.3 and 4.1, https://arxiv.org/abs/1409.1556",
    claim="Two 3x3 convolutions see 5x5 pixels and three see 7x7, with 27 C^2 weights in place of 49 C^2, which are "
    "81 % more (section 2.3). A network with a 5x5 in place of each pair of 3x3 of VGG's network B has a top-1 error "
    "that is 7 % higher, on central crops of ImageNet (section 4.1).",
    design="Networks that differ in the kernels of their units alone: the same widths, stages, pooling, receptive "
    "field and head, all with batch norm behind each convolution. A stack has two or three ReLUs where the single "
    "convolution has one: that is part of the claim. All arms see the same pictures in the same order for the same "
    "epochs and choose between the same learning rates.",
    would_change="Equal weights or multiply-adds in place of equal width; networks without batch norm, as VGG's, in "
    "which depth is harder to train; small maps, on which most of a 7x7 lies on padding. Times hold for this machine "
    "and its library: one that has a fast algorithm for 3x3 alone (Winograd) favours the stacks.",
    run=run,
)
