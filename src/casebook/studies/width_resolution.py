"""What do width and resolution multipliers save and lose, and is scaling all axes at once better?"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ..cost.count import count
from ..models import create_model, model_card
from ..models.efficientnet import ALPHA, GAMMA
from ..models.layers import ConvNormReLU, Head, Network, initialise_convolutions
from ..models.mobilenet_v1 import WIDTHS as MOBILENETS
from ..models.residual_parts import basic
from ..reports import figures
from .depthwise import separable_network
from .experiment import Experiment, Study
from .few_pictures import in_points
from .trials import Arm, TrainingBudget
from .verdict import paired_difference

WIDTHS, RESOLUTIONS = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)
CHANNELS, BLOCKS = (8, 16, 32), (2, 2, 2)  # of the small network's stages, before it is scaled
STEPS = 2  # of the compound coefficient: each about doubles the multiply-adds
CLOSE = 0.05  # how far from equal the multiply-adds of the scaled networks may be


class ScalingPlan(NamedTuple):
    """How MobileNet is reduced, how large the other network is before it is scaled up, and how all of them train."""

    base_width: float  # of MobileNet
    base_side: int  # pixels
    shares: tuple[float, ...]  # of the base's multiply-adds
    scaled_side: int  # pixels, of the network to scale up
    budget: TrainingBudget
    options: Mapping[str, Any]  # `PictureSettings`


QUICK = ScalingPlan(0.25, 24, (0.5, 0.25), 12, TrainingBudget(16, (0.1,), batch_size=32), {"most_per_class": 40})
FULL = ScalingPlan(1.0, 32, (0.5, 0.25), 32, TrainingBudget(100, (0.1,), batch_size=128), {"val_fraction": 0.1})
PHOTOGRAPHS = ScalingPlan(1.0, 224, (0.5, 0.25), 224, TrainingBudget(100, (0.1,), batch_size=128), {})


class SizedNetwork(NamedTuple):
    """A network at one size, and its cost."""

    name: str
    build: Callable[[], nn.Module]
    width: float
    blocks: str
    side: int  # pixels
    multiply_adds: int
    parameters: int


class ResidualNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): three stages of residual blocks.

    `width` multiplies the channels; `blocks` gives the number of blocks in each stage.
    """

    def __init__(self, width: float, blocks: Sequence[int], *, num_classes: int, in_channels: int):
        super().__init__(in_channels=in_channels, smallest_input=5)
        channels = round(CHANNELS[0] * width)
        self.stem = ConvNormReLU(in_channels, channels, 3)
        self.stages = nn.Sequential()
        for number, (base, depth) in enumerate(zip(CHANNELS, blocks, strict=True)):
            out_channels, stage = round(base * width), nn.Sequential()
            for block in range(depth):
                stage.append(basic(channels, out_channels, 2 if number and not block else 1))
                channels = out_channels
            self.stages.append(stage)
        self.head = Head(channels, num_classes)
        initialise_convolutions(self.modules())


def run(experiment: Experiment) -> None:
    plan = (
        QUICK
        if experiment.is_quick
        else PHOTOGRAPHS
        if experiment.is_own_data and experiment.data != "cifar10"
        else FULL
    )
    _count_multipliers(experiment)
    sample = experiment.pictures(side=plan.base_side, **plan.options)
    kinds = {"num_classes": sample.num_classes, "in_channels": sample.in_channels}
    small_stem = plan.base_side < 64
    reduced = reductions(plan, small_stem, **kinds)
    scaled = enlargements(plan, small_stem, quick=experiment.is_quick, **kinds)
    loaded = {plan.base_side: sample}

    def trained(network: SizedNetwork) -> Arm:
        if network.side not in loaded:
            loaded[network.side] = experiment.pictures(side=network.side, **plan.options)
        return experiment.arm(network.name, network.build, loaded[network.side], plan.budget)

    _report_reductions(experiment, reduced, [trained(network) for network in reduced])
    _report_enlargements(experiment, scaled, [trained(network) for network in scaled])


# MobileNet, reduced


def _count_multipliers(experiment: Experiment) -> None:
    """Counts the paper's own networks and compares them with its tables."""
    counted = {
        (width, side): count("mobilenet_v1", side, width=width).total.multiply_adds or 0
        for width in WIDTHS
        for side in RESOLUTIONS
    }
    experiment.table(
        "MobileNet v1: million multiply-adds, counted",
        ("width", *(f"{side}x{side}" for side in RESOLUTIONS)),
        [(f"{width:g}", *(f"{counted[width, side] / 1e6:.1f}" for side in RESOLUTIONS)) for width in WIDTHS],
        "1,000 classes.",
    )
    printed = {width: _printed(name) for name, width in MOBILENETS.items()}
    off = [width for width in WIDTHS if round(counted[width, 224] / 1e6) != round(printed[width] / 1e6)]
    experiment.count(
        "MobileNet's multiply-adds at each width are those in Table 6 of its paper",
        not off,
        "; ".join(
            f"width {width:g}: {counted[width, 224] / 1e6:.1f} million, printed {printed[width] / 1e6:.0f}"
            for width in WIDTHS
        ),
    )
    full = counted[1.0, 224]
    shares = {side: (counted[1.0, side] / full, (side / 224) ** 2) for side in RESOLUTIONS[1:]}
    far = max(abs(found / square - 1) for found, square in shares.values())
    experiment.count(
        "a resolution multiplier multiplies the multiply-adds by its square, within 1 %",
        far < 0.01,
        "; ".join(
            f"{side} pixels: {100 * found:.2f} %, the square is {100 * square:.2f} %"
            for side, (found, square) in shares.items()
        ),
    )
    experiment.note(
        f"Half the width has {100 * counted[0.5, 224] / full:.1f} % of MobileNet's multiply-adds, not 25 %: the cost "
        "of the depthwise layers and of the first is proportional to the width, not to its square."
    )


def _printed(name: str) -> float:
    return next(figure.value for figure in model_card(name).published if figure.what == "multiply_adds")


def reductions(plan: ScalingPlan, small_stem: bool, **kinds: int) -> list[SizedNetwork]:
    """MobileNet at the base's width and side; then for each share of its multiply-adds a thinner network, and one with
    smaller pictures."""

    def at(name: str, width: float, side: int) -> SizedNetwork:
        return _counted(
            name,
            partial(separable_network, width=width, small_stem=small_stem, **kinds),
            width,
            "",
            side,
            kinds["in_channels"],
        )

    base = at("MobileNet", plan.base_width, plan.base_side)
    found = [base]
    for share in plan.shares:
        wanted = share * base.multiply_adds
        sides = range(9 if small_stem else 33, plan.base_side)
        smaller = _nearest(sides, partial(at, f"smaller, {share:g}", plan.base_width), wanted)
        widths = [plan.base_width * step / 64 for step in range(4, 64)]
        # The width adapts to the smaller network, because a side in whole pixels is the coarser measure.
        thinner = _nearest(
            widths, lambda width, name=f"thinner, {share:g}": at(name, width, plan.base_side), smaller.multiply_adds
        )
        found += [thinner, smaller]
    return found


# A network, enlarged


def enlargements(plan: ScalingPlan, small_stem: bool, *, quick: bool, **kinds: int) -> list[SizedNetwork]:
    """The base, then the same network scaled along single axes and along all, to the same multiply-adds.

    Compound scaling follows EfficientNet's formula for depth and resolution. The width that brings it to the target,
    2^STEPS times the base, is found by counting, like the sizes along the single axes.
    """
    side = plan.scaled_side
    if not quick:
        return _efficientnets(side, small_stem, **kinds)

    def at(name: str, width: float, blocks: Sequence[int], side: int) -> SizedNetwork:
        build = partial(ResidualNet, width, tuple(blocks), **kinds)
        return _counted(name, build, width, "+".join(map(str, blocks)), side, kinds["in_channels"])

    base = at("base", 1.0, BLOCKS, side)
    wanted = 2**STEPS * base.multiply_adds
    widths = [1 + step / 64 for step in range(128)]
    deep = [_spread(total) for total in range(sum(BLOCKS), 8 * sum(BLOCKS))]
    blocks, large = _spread(round(sum(BLOCKS) * ALPHA**STEPS)), round(side * GAMMA**STEPS)
    return [
        base,
        _nearest(deep, lambda blocks: at("depth", 1.0, blocks, side), wanted),
        _nearest(widths, lambda width: at("width", width, BLOCKS, side), wanted),
        _nearest(range(side, 3 * side), lambda side: at("resolution", 1.0, BLOCKS, side), wanted),
        _nearest(widths, lambda width: at("compound", width, blocks, large), wanted),
    ]


def _efficientnets(side: int, small_stem: bool, **kinds: int) -> list[SizedNetwork]:
    """B0, and the networks of the paper's Figure 8: r = 2, and the d, the w, and the r with d = 1.4 and w = 1.2 whose
    multiply-adds come nearest to it by our count."""
    options = kinds | ({"small_stem": True} if small_stem else {})

    def at(name: str, depth: float, width: float, side: int) -> SizedNetwork:
        build = partial(create_model, "efficientnet_b0", width=width, depth=depth, **options)
        return _counted(name, build, width, f"x {depth:g}", side, kinds["in_channels"])

    resolution = at("resolution", 1.0, 1.0, 2 * side)
    wanted = resolution.multiply_adds
    factors = [1 + step / 20 for step in range(61)]
    return [
        at("base", 1.0, 1.0, side),
        _nearest(factors, lambda depth: at("depth", depth, 1.0, side), wanted),
        _nearest(factors, lambda width: at("width", 1.0, width, side), wanted),
        resolution,
        _nearest(range(side, 2 * side), lambda side: at("compound", 1.4, 1.2, side), wanted),
    ]


def _spread(total: int) -> tuple[int, ...]:
    """The blocks of each stage: as even as possible, with one more in the first stages."""
    stages = len(BLOCKS)
    return tuple(total // stages + (number < total % stages) for number in range(stages))


def _counted(
    name: str, build: Callable[[], nn.Module], width: float, blocks: str, side: int, in_channels: int
) -> SizedNetwork:
    with torch.device("meta"):
        network = build()
    found = count(network, side, in_channels=in_channels).total
    assert found.multiply_adds is not None
    return SizedNetwork(name, build, width, blocks, side, found.multiply_adds, found.parameters)


def _nearest(sizes: Sequence[Any], at: Callable[[Any], SizedNetwork], wanted: float) -> SizedNetwork:
    """The network whose multiply-adds come nearest, found by bisection: they rise along `sizes`."""
    low, high = 0, len(sizes) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(sizes[middle]).multiply_adds < wanted else (low, middle)
    return min(at(sizes[low]), at(sizes[high]), key=lambda network: abs(network.multiply_adds - wanted))


# The results


def _report_reductions(experiment: Experiment, networks: Sequence[SizedNetwork], arms: Sequence[Arm]) -> None:
    figure, axes = figures.canvas(width=7.2, height=4.4)
    for number, (kind, label) in enumerate((("thinner", "thinner"), ("smaller", "smaller pictures"))):
        sized = [(network, arm) for network, arm in zip(networks, arms, strict=True) if network.name.startswith(kind)]
        line = [(networks[0], arms[0]), *sized]
        colour = figures.COLOURS[number]
        axes.plot(
            [network.multiply_adds / 1e6 for network, _ in line], [100 * arm.error for _, arm in line],
            color=colour, marker="o", markersize=5, linewidth=1.3, label=label,
        )  # fmt: skip
        for network, arm in line[number:]:  # the whole network is labelled once
            changed = f"{network.side} pixels" if number else f"width {network.width:.2g}"
            axes.annotate(
                f"{changed}, {network.side} pixels" if network is networks[0] else changed,
                (network.multiply_adds / 1e6, 100 * arm.error),
                xytext=(0, -16 if number else 8), textcoords="offset points", ha="center", fontsize=7.5, color=colour,
            )  # fmt: skip
    axes.legend(fontsize=8, frameon=False)
    axes.set_xlabel("million multiply-adds")
    axes.set_ylabel("test error in %")
    axes.margins(x=0.3, y=0.15)
    experiment.picture(
        "MobileNet v1, thinner or with smaller pictures",
        figure,
        "Test error over multiply-adds: one line for smaller widths and one for smaller pictures, from the same "
        "network.",
    )
    _table(experiment, "MobileNet v1, reduced", networks, arms, networks[0].multiply_adds)
    by_name = {network.name: arm for network, arm in zip(networks, arms, strict=True)}
    costs = {network.name: network.multiply_adds for network in networks}
    for network in networks:
        kind, _, share = network.name.partition(", ")
        if kind != "thinner":
            continue
        smaller = f"smaller, {share}"
        experiment.compare(
            f"at {network.multiply_adds / networks[0].multiply_adds:.2f} of the multiply-adds "
            f"({_apart(network.multiply_adds, costs[smaller])} apart) a thinner MobileNet makes fewer mistakes than "
            "one with smaller pictures",
            by_name[network.name], by_name[smaller], "lower",
        )  # fmt: skip
    last = networks[-2].name
    experiment.compare("a thinner MobileNet makes more mistakes than the whole one", by_name[last], arms[0], "higher")


def _report_enlargements(experiment: Experiment, networks: Sequence[SizedNetwork], arms: Sequence[Arm]) -> None:
    base, compound = arms[0], arms[-1]
    figure, axes = figures.canvas(width=7.2, height=4.0)
    names = [_described(network) for network in networks]
    bars = {name: 100 * arm.error for name, arm in zip(names, arms, strict=True)}
    spread = {name: (100 * min(arm.errors), 100 * max(arm.errors)) for name, arm in zip(names, arms, strict=True)}
    figures.bars(axes, bars, spread=spread)
    axes.set_xlabel("test error in %")
    experiment.picture(
        "One network, scaled along one axis or all, at equal multiply-adds",
        figure,
        "A bar for the base and for each scaled network, with the range of the seeds as a line.",
    )
    wanted = networks[-1].multiply_adds
    _table(experiment, "One network, enlarged", networks, arms, wanted, reference=base)
    far = [network for network in networks[1:] if abs(network.multiply_adds / wanted - 1) > CLOSE]
    experiment.note(
        "The scaled networks' multiply-adds are found by counting. They differ from compound scaling's by "
        + ", ".join(f"{_apart(network.multiply_adds, wanted)} ({network.name})" for network in networks[1:-1])
        + "."
        + "".join(f" {network.name} differs by more than {100 * CLOSE:.0f} %, so it is not equal." for network in far)
    )
    for network, arm in zip(networks[1:-1], arms[1:-1], strict=True):
        experiment.compare(
            f"compound scaling makes fewer mistakes than {network.name} alone at equal multiply-adds "
            f"({_apart(network.multiply_adds, wanted)} apart)", compound, arm, "lower",
        )  # fmt: skip
    experiment.compare("compound scaling makes fewer mistakes than the base", compound, base, "lower")


def _described(network: SizedNetwork) -> str:
    return f"{network.name}: {network.blocks} blocks,\nwidth {network.width:.3g}, {network.side} pixels"


def _apart(cost: int, reference: int) -> str:
    return f"{100 * (cost / reference - 1):+.1f} %"


def _table(
    experiment: Experiment,
    title: str,
    networks: Sequence[SizedNetwork],
    arms: Sequence[Arm],
    wanted: int,
    reference: Arm | None = None,
) -> None:
    reference = reference or arms[0]
    with_blocks = any(network.blocks for network in networks)
    experiment.table(
        title,
        (
            "network", "width", *(["blocks"] if with_blocks else []), "side in pixels", "multiply-adds", "less the "
            + ("compound" if with_blocks else "whole"), "weights", "test error in %", "less the first in points",
        ),
        [
            (
                network.name, f"{network.width:.3g}", *([network.blocks] if with_blocks else []), network.side,
                network.multiply_adds, _apart(network.multiply_adds, wanted), network.parameters,
                f"{100 * arm.error:.2f}",
                "" if arm is reference else in_points(paired_difference(arm.wrong, reference.wrong)),
            )
            for network, arm in zip(networks, arms, strict=True)
        ],
        "Differences are paired over seeds and pictures, with 95 % intervals; * marks those that exclude zero.",
    )  # fmt: skip


STUDY = Study(
    name="width-resolution",
    title="Width and resolution multipliers, and compound scaling",
    question="What do width and resolution multipliers save and lose, and is scaling all axes at once better?",
    paper='Howard et al., "MobileNets", 2017, Tables 6 and 7, https://arxiv.org/abs/1704.04861; Tan and Le, '
    '"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, Figure 8, '
    "https://arxiv.org/abs/1905.11946",
    claim="MobileNet's top-1 accuracy falls from 70.6 % to 68.4, 63.7 and 50.6 % at widths 0.75, 0.5 and 0.25 "
    "(Table 6), and to 69.1, 67.2 and 64.4 % at 192, 160 and 128 pixels (Table 7). EfficientNet-B0, scaled to "
    "about equal multiply-adds, is more accurate scaled in depth, width and resolution together than along any one "
    "of them (Figure 8).",
    paper_setup="ImageNet, 1.28 million training pictures of up to 224 pixels and more, one training each",
    design="MobileNet v1's multiply-adds are counted at its paper's widths and resolutions. Then a thinner MobileNet "
    "is compared with one on smaller pictures at equal multiply-adds, found by counting. A small residual network is "
    "scaled to four times its multiply-adds by blocks, by channels, by the side of its pictures, and by all three in "
    "the proportions of EfficientNet's formula (1.2, 1.1 and 1.15 for each step). All have the same pictures, the same "
    "number of steps and the same learning rate.",
    would_change="Pictures with detail: scikit-learn's digits are 8x8, so larger ones show the network nothing new, "
    "only finer maps, and smaller ones lose little. A longer training: the same number of steps stops deep and wide "
    "networks too early. Another base: the proportions were found for EfficientNet-B0.",
    run=run,
)
