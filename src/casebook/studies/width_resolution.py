"""What do the multipliers of width and resolution cost and lose, and is scaling all axes at once better?"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ..cost.count import count
from ..models import create_model, model_card
from ..models.efficientnet import ALPHA, GAMMA
from ..models.layers import Classifier, ConvNormReLU, Network, initialise_convolutions
from ..models.mobilenet_v1 import WIDTHS as MOBILENETS
from ..models.resnet import basic
from ..reports import figures
from .experiment import Lab, Study
from .few_pictures import in_points
from .trials import Arm, Budget
from .verdict import paired_difference

WIDTHS, RESOLUTIONS = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)
CHANNELS, BLOCKS = (8, 16, 32), (2, 2, 2)  # of the small network's stages, before it is scaled
STEPS = 2  # of the compound coefficient: each about doubles the multiply-adds
CLOSE = 0.05  # how far from equal the multiply-adds of the scaled networks may be


class Setting(NamedTuple):
    """How MobileNet is reduced, where the scaled networks begin, and how long all learn."""

    base_width: float  # of MobileNet
    base_side: int  # pixels
    shares: tuple[float, ...]  # of the base's multiply-adds
    scaled_side: int  # pixels, of the network that is scaled up
    budget: Budget
    options: Mapping[str, Any]  # of the pictures


QUICK = Setting(0.25, 24, (0.5, 0.25), 12, Budget(16, (0.1,), batch_size=32), {"most_per_class": 40})
FULL = Setting(1.0, 32, (0.5, 0.25), 32, Budget(100, (0.1,), batch_size=128), {"val_fraction": 0.1})
PHOTOGRAPHS = Setting(1.0, 224, (0.5, 0.25), 224, Budget(100, (0.1,), batch_size=128), {})


class Scaled(NamedTuple):
    """One network at one size, and what that costs."""

    name: str
    build: Callable[[], nn.Module]
    width: float
    blocks: str
    side: int  # pixels
    multiply_adds: int
    parameters: int


class ResidualNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): three stages of residual blocks.

    `width` multiplies the channels, `blocks` are those of each stage.
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
        self.head = Classifier(channels, num_classes)
        initialise_convolutions(self.modules())


def run(lab: Lab) -> None:
    setting = QUICK if lab.quick else PHOTOGRAPHS if lab.given and lab.data != "cifar10" else FULL
    _count_multipliers(lab)
    sample = lab.pictures(side=setting.base_side, **setting.options)
    kinds = {"num_classes": sample.num_classes, "in_channels": sample.in_channels}
    small_stem = setting.base_side < 64
    reduced = reductions(setting, small_stem, **kinds)
    scaled = enlargements(setting, small_stem, quick=lab.quick, **kinds)
    loaded = {setting.base_side: sample}

    def trained(network: Scaled) -> Arm:
        if network.side not in loaded:
            loaded[network.side] = lab.pictures(side=network.side, **setting.options)
        return lab.arm(network.name, network.build, loaded[network.side], setting.budget)

    _report_reductions(lab, reduced, [trained(network) for network in reduced])
    _report_enlargements(lab, scaled, [trained(network) for network in scaled])


# MobileNet, reduced


def _count_multipliers(lab: Lab) -> None:
    """The paper's own networks, counted on the meta device and compared with what its tables print."""
    counted = {
        (width, side): count("mobilenet_v1", side, width=width).total.multiply_adds or 0
        for width in WIDTHS
        for side in RESOLUTIONS
    }
    lab.table(
        "MobileNet v1: million multiply-adds, counted",
        ("width", *(f"{side}x{side}" for side in RESOLUTIONS)),
        [(f"{width:g}", *(f"{counted[width, side] / 1e6:.1f}" for side in RESOLUTIONS)) for width in WIDTHS],
        "1,000 classes.",
    )
    printed = {width: _printed(name) for name, width in MOBILENETS.items()}
    off = [width for width in WIDTHS if round(counted[width, 224] / 1e6) != round(printed[width] / 1e6)]
    lab.verdict(
        "the multiply-adds of MobileNet's widths are those that Table 6 of its paper prints",
        "contradicted" if off else "exact",
        "; ".join(
            f"width {width:g}: {counted[width, 224] / 1e6:.1f} million, printed {printed[width] / 1e6:.0f}"
            for width in WIDTHS
        ),
    )
    full = counted[1.0, 224]
    shares = {side: (counted[1.0, side] / full, (side / 224) ** 2) for side in RESOLUTIONS[1:]}
    far = max(abs(found / square - 1) for found, square in shares.values())
    lab.verdict(
        "a resolution multiplier takes its square of the multiply-adds, within 1 %",
        "exact" if far < 0.01 else "contradicted",
        "; ".join(
            f"{side} pixels: {100 * found:.2f} %, the square is {100 * square:.2f} %"
            for side, (found, square) in shares.items()
        ),
    )
    lab.note(
        f"Half the width takes {100 * counted[0.5, 224] / full:.1f} % of MobileNet's multiply-adds, not 25 %: the "
        "depthwise and the first layers fall with the width itself, not with its square."
    )


def _printed(name: str) -> float:
    return next(figure.value for figure in model_card(name).published if figure.what == "multiply_adds")


def mobilenet(width: float, small_stem: bool, *, num_classes: int, in_channels: int) -> nn.Module:
    """MobileNet v1 with batch norms that settle within a few hundred steps."""
    network = create_model(
        "mobilenet_v1", width=width, small_stem=small_stem, num_classes=num_classes, in_channels=in_channels
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return network


def reductions(setting: Setting, small_stem: bool, **kinds: int) -> list[Scaled]:
    """MobileNet at the base's width and side, then for each share of its multiply-adds the thinner and the smaller."""

    def at(name: str, width: float, side: int) -> Scaled:
        return _counted(name, partial(mobilenet, width, small_stem, **kinds), width, "", side, kinds["in_channels"])

    base = at("MobileNet", setting.base_width, setting.base_side)
    found = [base]
    for share in setting.shares:
        wanted = share * base.multiply_adds
        sides = range(9 if small_stem else 33, setting.base_side)
        smaller = _nearest(sides, partial(at, f"smaller, {share:g}", setting.base_width), wanted)
        widths = [setting.base_width * step / 64 for step in range(4, 64)]
        # The thinner one is fitted to the smaller, whose side is the coarser measure.
        thinner = _nearest(
            widths, lambda width, name=f"thinner, {share:g}": at(name, width, setting.base_side), smaller.multiply_adds
        )
        found += [thinner, smaller]
    return found


# A network, enlarged


def enlargements(setting: Setting, small_stem: bool, *, quick: bool, **kinds: int) -> list[Scaled]:
    """The base, then the same network scaled along one axis alone and along all, to the same multiply-adds.

    Compound scaling follows the formula of EfficientNet for depth and resolution; the width that brings it to the
    target, 2^STEPS times the base, is found by counting, as are the settings of the single axes.
    """
    side = setting.scaled_side
    if not quick:
        return _efficientnets(side, small_stem, **kinds)

    def at(name: str, width: float, blocks: Sequence[int], side: int) -> Scaled:
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


def _efficientnets(side: int, small_stem: bool, **kinds: int) -> list[Scaled]:
    """B0, and what the paper scales it to in Figure 8: r = 2, and beside it d, w, and the r of d = 1.4 and w = 1.2 that
    come nearest to its multiply-adds by our count."""
    options = kinds | ({"small_stem": True} if small_stem else {})

    def at(name: str, depth: float, width: float, side: int) -> Scaled:
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
    """So many blocks over the stages as evenly as can be, the first stages first."""
    stages = len(BLOCKS)
    return tuple(total // stages + (number < total % stages) for number in range(stages))


def _counted(
    name: str, build: Callable[[], nn.Module], width: float, blocks: str, side: int, in_channels: int
) -> Scaled:
    with torch.device("meta"):
        network = build()
    found = count(network, side, in_channels=in_channels).total
    assert found.multiply_adds is not None
    return Scaled(name, build, width, blocks, side, found.multiply_adds, found.parameters)


def _nearest(settings: Sequence[Any], at: Callable[[Any], Scaled], wanted: float) -> Scaled:
    """The setting whose multiply-adds come nearest; these rise along `settings`, so half of them go at each count."""
    low, high = 0, len(settings) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(settings[middle]).multiply_adds < wanted else (low, middle)
    return min(at(settings[low]), at(settings[high]), key=lambda network: abs(network.multiply_adds - wanted))


# What came of it


def _report_reductions(lab: Lab, networks: Sequence[Scaled], arms: Sequence[Arm]) -> None:
    figure, axes = figures.canvas(width=7.2, height=4.4)
    for number, (kind, label) in enumerate((("thinner", "thinner"), ("smaller", "smaller pictures"))):
        places = [(network, arm) for network, arm in zip(networks, arms, strict=True) if network.name.startswith(kind)]
        line = [(networks[0], arms[0]), *places]
        colour = figures.COLOURS[number]
        axes.plot(
            [network.multiply_adds / 1e6 for network, _ in line], [100 * arm.error for _, arm in line],
            color=colour, marker="o", markersize=5, linewidth=1.3, label=label,
        )  # fmt: skip
        for network, arm in line[number:]:  # the whole one is written once
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
    lab.picture(
        "MobileNet v1, thinner or with smaller pictures",
        figures.svg(figure),
        "Test error over multiply-adds, one line for smaller widths and one for smaller pictures, both from the same "
        "network.",
    )
    _table(lab, "MobileNet v1, reduced", networks, arms, networks[0].multiply_adds)
    by_name = {network.name: arm for network, arm in zip(networks, arms, strict=True)}
    costs = {network.name: network.multiply_adds for network in networks}
    for network in networks:
        kind, _, share = network.name.partition(", ")
        if kind != "thinner":
            continue
        smaller = f"smaller, {share}"
        lab.compare(
            f"at {network.multiply_adds / networks[0].multiply_adds:.2f} of the multiply-adds "
            f"({_apart(network.multiply_adds, costs[smaller])} apart) a thinner MobileNet makes fewer mistakes than "
            "one with smaller pictures",
            by_name[network.name], by_name[smaller], "lower",
        )  # fmt: skip
    last = networks[-2].name
    lab.compare("a thinner MobileNet makes more mistakes than the whole one", by_name[last], arms[0], "higher")


def _report_enlargements(lab: Lab, networks: Sequence[Scaled], arms: Sequence[Arm]) -> None:
    base, compound = arms[0], arms[-1]
    figure, axes = figures.canvas(width=7.2, height=4.0)
    names = [_described(network) for network in networks]
    bars = {name: 100 * arm.error for name, arm in zip(names, arms, strict=True)}
    spread = {name: (100 * min(arm.errors), 100 * max(arm.errors)) for name, arm in zip(names, arms, strict=True)}
    figures.bars(axes, bars, spread=spread)
    axes.set_xlabel("test error in %")
    lab.picture(
        "One network, scaled along one axis or all, at equal multiply-adds",
        figures.svg(figure),
        "A bar for the base and for each way to scale it, with the range of the seeds as a line.",
    )
    wanted = networks[-1].multiply_adds
    _table(lab, "One network, enlarged", networks, arms, wanted, reference=base)
    far = [network for network in networks[1:] if abs(network.multiply_adds / wanted - 1) > CLOSE]
    lab.note(
        "The scaled networks' multiply-adds are found by counting. From compound scaling's they are "
        + ", ".join(f"{_apart(network.multiply_adds, wanted)} ({network.name})" for network in networks[1:-1])
        + " apart."
        + "".join(f" {network.name} is further than {100 * CLOSE:.0f} %, so not equal." for network in far)
    )
    for network, arm in zip(networks[1:-1], arms[1:-1], strict=True):
        lab.compare(
            f"compound scaling makes fewer mistakes than {network.name} alone at equal multiply-adds "
            f"({_apart(network.multiply_adds, wanted)} apart)", compound, arm, "lower",
        )  # fmt: skip
    lab.compare("compound scaling makes fewer mistakes than the base", compound, base, "lower")


def _described(network: Scaled) -> str:
    return f"{network.name}: {network.blocks} blocks,\nwidth {network.width:.3g}, {network.side} pixels"


def _apart(cost: int, reference: int) -> str:
    return f"{100 * (cost / reference - 1):+.1f} %"


def _table(
    lab: Lab, title: str, networks: Sequence[Scaled], arms: Sequence[Arm], wanted: int, reference: Arm | None = None
) -> None:
    reference = reference or arms[0]
    with_blocks = any(network.blocks for network in networks)
    lab.table(
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
        "Differences are paired over seeds and pictures, with 95 % intervals; * marks those without zero.",
    )  # fmt: skip


STUDY = Study(
    name="width-resolution",
    title="Width and resolution multipliers, and compound scaling",
    question="What do the multipliers of width and resolution cost and lose, and is scaling all axes at once better?",
    paper='Howard et al., "MobileNets", 2017, Tables 6 and 7, https://arxiv.org/abs/1704.04861; Tan and Le, '
    '"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, Figure 8, '
    "https://arxiv.org/abs/1905.11946",
    claim="MobileNet's top-1 accuracy falls from 70.6 % to 68.4, 63.7 and 50.6 % at widths 0.75, 0.5 and 0.25 "
    "(Table 6), and to 69.1, 67.2 and 64.4 % at 192, 160 and 128 pixels (Table 7). EfficientNet-B0, scaled to "
    "about equal multiply-adds, is more accurate scaled in depth, width and resolution together than along any one "
    "of them (Figure 8).",
    design="MobileNet v1's multiply-adds are counted at its paper's widths and resolutions. Then it is made "
    "thinner or given smaller pictures until both have the same multiply-adds, by counting. A small residual "
    "network is scaled to four times its multiply-adds by blocks, by channels, by the side of its pictures, and by "
    "all three in the proportions of EfficientNet's formula (1.2, 1.1 and 1.15 for each step). All have the same "
    "pictures, the same number of steps and the same learning rate.",
    would_change="Pictures with detail: scikit-learn's digits are 8x8, so larger ones show nothing new to the "
    "network, only finer maps, and smaller ones lose little. A longer training: deep and wide networks are cut "
    "short by the same number of steps. Another base: the proportions were found for EfficientNet-B0.",
    run=run,
)
