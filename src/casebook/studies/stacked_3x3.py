"""Do two or three 3x3 convolutions do the work of one 5x5 or 7x7 at lower cost?"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import nn

from ..cost.count import count
from ..models.layers import ConvNormReLU, Head, initialise_convolutions
from ..reports import figures
from .costs import costs_of, on_meta
from .experiment import Experiment, Study
from .interleaved import TimedCall, interleaved_seconds
from .trials import Arm, TrainingBudget, cifar_budget
from .verdict import Ratio, paired_ratio

# The kernel sides of one unit.
UNITS: dict[str, tuple[int, ...]] = {
    "two 3x3": (3, 3),
    "one 5x5": (5,),
    "three 3x3": (3, 3, 3),
    "one 7x7": (7,),
}
PAIRS = (("two 3x3", "one 5x5"), ("three 3x3", "one 7x7"))


class Architecture(NamedTuple):
    """The networks: each stage is `units` units, then max pooling."""

    widths: tuple[int, ...]  # of the stages
    units: int
    side: int
    batch_size: int
    epochs: int


QUICK = Architecture((24, 24), 1, 16, 32, 30)
QUICK_PER_CLASS = 20  # of the digits; with more, all networks make too few mistakes to compare
FULL = Architecture((64, 128, 256, 512, 512), 1, 32, 128, 160)  # VGG's column B, in which a unit of two 3x3 is a stage
LARGE_SIDE = 224  # for other pictures than CIFAR-10's in full mode


class FeatureMaps(NamedTuple):
    """The input of a unit that is timed: shapes from VGG's stages, and this study's own."""

    width: int
    side: int
    batch_size: int


QUICK_MAPS = (FeatureMaps(24, 16, 64), FeatureMaps(64, 56, 2), FeatureMaps(256, 14, 4))
FULL_MAPS = (*QUICK_MAPS, FeatureMaps(64, 224, 4), FeatureMaps(512, 14, 16))


def unit(in_channels: int, width: int, kernels: Sequence[int]) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, width, H, W): a convolution with batch norm and ReLU for each kernel."""
    layers = nn.Sequential()
    for kernel in kernels:
        layers.append(ConvNormReLU(in_channels, width, kernel))
        in_channels = width
    return layers


def stacked(kernels: Sequence[int], plan: Architecture, num_classes: int, in_channels: int) -> nn.Sequential:
    """Images -> logits: a 3x3 convolution to the first width, then stages of units with the same kernels."""
    channels = plan.widths[0]
    network = nn.Sequential(ConvNormReLU(in_channels, channels, 3))
    for width in plan.widths:
        for _ in range(plan.units):
            network.append(unit(channels, width, kernels))
            channels = width
        network.append(nn.MaxPool2d(2))
    network.append(Head(channels, num_classes))
    initialise_convolutions(network.modules())
    return network


def run(experiment: Experiment) -> None:
    plan = QUICK if experiment.is_quick else FULL
    if experiment.is_quick and not experiment.is_digits:
        plan = plan._replace(side=32)
    if not experiment.is_quick and experiment.data != "cifar10":
        plan = plan._replace(side=LARGE_SIDE)
    pictures = experiment.pictures(side=plan.side, **({} if experiment.is_quick else {"val_fraction": 0.1}))
    if experiment.is_quick and experiment.is_digits:
        pictures = pictures.fewer(QUICK_PER_CLASS)
        experiment.note(f"Training uses {len(pictures.train):,} of the pictures, {QUICK_PER_CLASS} a class.")
    builds = {
        name: partial(stacked, kernels, plan, pictures.num_classes, pictures.in_channels)
        for name, kernels in UNITS.items()
    }
    _count(experiment, plan)
    _measure(experiment)
    budget = budget_for(plan, quick=experiment.is_quick)
    arms = {name: experiment.arm(name, build, pictures, budget) for name, build in builds.items()}
    _compare(experiment, plan, arms, builds)


def budget_for(plan: Architecture, *, quick: bool) -> TrainingBudget:
    """Two rates to try; in full mode momentum, weight decay and the steps of the rate are those of the ResNet paper."""
    paper = cifar_budget().settings
    used = () if quick else ("momentum", "weight_decay", "schedule", "milestones", "gamma")
    return TrainingBudget(
        epochs=plan.epochs,
        learning_rates=(0.1, 0.03),
        batch_size=plan.batch_size,
        tuning_epochs=max(1, plan.epochs // (3 if quick else 10)),
        settings={name: paper[name] for name in used},
    )


def fields(kernels: Sequence[int], plan: Architecture) -> list[tuple[int, int] | None]:
    """The receptive field behind each stage."""
    network = on_meta(partial(stacked, kernels, plan, 10, 3))
    outputs = count(network, plan.side, in_channels=3).outputs
    pools = [name for name, module in network.named_children() if isinstance(module, nn.MaxPool2d)]
    return [outputs[name].receptive_field for name in pools]


def _count(experiment: Experiment, plan: Architecture) -> None:
    """The arithmetic of one unit at equal width, which needs no pictures."""
    width, side = 64, 56
    costs = {}
    for name, kernels in UNITS.items():
        counted = count(on_meta(partial(unit, width, width, kernels)), side, in_channels=width)
        weights = sum(layer.parameters for layer in counted.layers if layer.kernel_size)
        costs[name] = (weights, counted.total.multiply_adds or 0, counted.outputs[""].receptive_field)
    experiment.table(
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
        experiment.count(
            f"{stack} convolutions see what {single} sees, with fewer weights and multiply-adds at equal width",
            same and ours < theirs and our_adds < their_adds,
            f"{single} has {theirs / ours:.2f} times the weights ({more:.0f} % more) and {their_adds / our_adds:.2f} "
            f"times the multiply-adds of {stack}; the receptive fields are "
            f"{' and '.join(f'{f[0]}x{f[1]}' for f in (our_field, their_field) if f)}, and equal behind every stage of "
            "the trained networks",
            theirs / ours,
            "ratio of weights",
        )


def _measure(experiment: Experiment) -> None:
    """Interleaved times of the units, with and without what stands between their convolutions."""
    rows, ratios, counted = [], {}, {}
    for maps in QUICK_MAPS if experiment.is_quick else FULL_MAPS:
        where = f"{maps.width} channels, {maps.side}x{maps.side}"
        whole = {
            name: TimedCall(unit(maps.width, maps.width, kernels), maps.batch_size, maps.width, maps.side)
            for name, kernels in UNITS.items()
        }
        bare = {
            f"{name}, convolutions only": call._replace(module=nn.Sequential(*(part.conv for part in call.module)))  # type: ignore[attr-defined]
            for name, call in whole.items()
        }
        seconds = interleaved_seconds(whole | bare, experiment.device)
        multiply_adds = {name: call.multiply_adds for name, call in whole.items()}
        for stack, single in PAIRS:
            alone = {name: seconds[f"{name}, convolutions only"] for name in (stack, single)}
            pair = f"{stack} / {single}, {where}"
            ratios[pair] = ratio = paired_ratio(seconds[stack], seconds[single])
            counted[pair] = multiply_adds[stack] / multiply_adds[single]
            rows.append(
                (
                    f"{where}, {maps.batch_size} pictures", f"{stack} / {single}", f"{counted[pair]:.2f}",
                    f"{ratio.ratio:.2f}", f"{paired_ratio(alone[stack], alone[single]).ratio:.2f}",
                    *(f"{multiply_adds[name] / np.median(alone[name]) / 1e9:.0f}" for name in (stack, single)),
                    f"{100 * (1 - np.median(alone[stack] / seconds[stack])):.0f} %",
                )
            )  # fmt: skip
            experiment.compare_times(
                f"{stack} convolutions are faster than {single} at {maps.width} channels and {maps.side}x{maps.side} "
                "pixels",
                ratio,
                f"time of {stack} over that of {single} ({counted[pair]:.2f} of the multiply-adds)",
            )
    experiment.table(
        "Time of one unit against its multiply-adds",
        ("maps", "pair", "multiply-adds", "time", "time of the convolutions only", "GMAdd/s, stack",
         "GMAdd/s, single", "norm and ReLU in the stack's time"),
        rows,
        "Ratios of stack to single, medians over interleaved rounds; inference, channels last. Why time does not "
        "follow the multiply-adds: for each value that it reads and writes, a 3x3 convolution on C channels does 9 C "
        "multiply-adds and a 7x7 does 49 C, so a stack spends more time on memory and does fewer multiply-adds a "
        "second. Batch norms and ReLUs, which read and write every map and hardly multiply, come two or three times "
        "instead of once.",
    )  # fmt: skip
    _draw_times(experiment, ratios, counted)


def _draw_times(experiment: Experiment, ratios: dict[str, Ratio], counted: dict[str, float]) -> None:
    figure, axes = figures.canvas(height=3.6)
    figures.bars(
        axes,
        {name: ratio.ratio for name, ratio in ratios.items()},
        spread={name: (ratio.low, ratio.high) for name, ratio in ratios.items()},
    )
    for place, name in enumerate(reversed(ratios)):
        label = "ratio of multiply-adds" if not place else None
        axes.plot([counted[name]] * 2, [place - 0.38, place + 0.38], color="#c8501e", linewidth=2, label=label)
    axes.axvline(1, color="#555", linewidth=0.8, linestyle=":")
    axes.set_xlabel("time of the stack / time of the single convolution")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    shown = "; ".join(f"{name} {ratio.ratio:.2f}" for name, ratio in ratios.items())
    experiment.picture(
        "Measured time against multiply-adds",
        figure,
        f"A bar for each ratio of times, stack over single, with a mark at the ratio of multiply-adds: {shown}.",
    )


def _compare(
    experiment: Experiment, plan: Architecture, arms: Mapping[str, Arm], builds: Mapping[str, partial]
) -> None:
    costs = costs_of(builds, plan.side)
    experiment.table_of_networks(
        "Networks",
        arms,
        costs,
        f"{len(plan.widths)} stages of {plan.units} unit each, {', '.join(map(str, plan.widths))} channels, "
        f"{plan.side}x{plan.side} pixels.",
    )
    shown = {f"{name}, {costs[name].multiply_adds / 1e6:.3g} million multiply-adds": arm for name, arm in arms.items()}
    figure, axes = figures.canvas(height=2.8)
    figures.bars(
        axes,
        {name: 100 * arm.error for name, arm in shown.items()},
        spread={name: (100 * min(arm.errors), 100 * max(arm.errors)) for name, arm in shown.items()},
    )
    axes.set_xlabel("test error in %, mean and range of the seeds")
    experiment.picture(
        "Error and multiply-adds",
        figure,
        "A bar for each network: " + "; ".join(f"{name}: {arm.percent} %" for name, arm in shown.items()) + ".",
    )
    for stack, single in PAIRS:
        experiment.compare(
            f"{stack} convolutions make fewer mistakes than {single}", arms[stack], arms[single], "lower"
        )


STUDY = Study(
    name="stacked-3x3",
    title="Stacked 3x3 convolutions against 5x5 and 7x7",
    question="Do two or three 3x3 convolutions do the work of one 5x5 or 7x7, at lower cost and with fewer mistakes?",
    paper='Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, '
    "sections 2.3 and 4.1, https://arxiv.org/abs/1409.1556",
    claim="Two 3x3 convolutions see 5x5 pixels and three see 7x7, with 27 C^2 weights in place of 49 C^2, which are "
    "81 % more (section 2.3). A network with a 5x5 in place of each pair of 3x3 of VGG's network B has a top-1 error "
    "that is 7 % higher, on central crops of ImageNet (section 4.1).",
    paper_setup="ImageNet, 1.3 million training pictures of 224 pixels, 74 epochs, one training each",
    design="Networks that differ only in the kernels of their units: the same widths, stages, pooling, receptive field "
    "and head, all with batch norm behind each convolution. A stack has two or three ReLUs where the single "
    "convolution has one, which is part of the claim. All arms see the same pictures in the same order for the same "
    "number of epochs, and validation chooses among the same learning rates.",
    would_change="Equal weights or multiply-adds instead of equal width; networks without batch norm, such as VGG, in "
    "which depth is harder to train; small maps, where most of a 7x7 window lies on padding. Times hold for this "
    "machine and its library: one with a fast algorithm for 3x3 only (Winograd) favours the stacks.",
    run=run,
)
