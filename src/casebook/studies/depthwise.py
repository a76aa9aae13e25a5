"""What do depthwise-separable convolutions save, in multiplications and in time, and what do they cost?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..cost.count import count
from ..models import create_model
from ..models.layers import ConvNormReLU6, Network, initialise_convolutions
from ..reports import figures
from .experiment import Lab, Study
from .interleaved import Work, machine_limits, seconds_by_kind, seconds_in_turns
from .one_by_one import on_meta, share_of_equal_cost
from .trials import Budget
from .verdict import time_ratio

PAPER_SIDE = 224
LAYERS_AT = ((64, 56), (128, 28), (512, 14))  # channels and sides at which MobileNet's layers are timed
LAYER_BATCH = 8
SMALL_WIDTH = 0.25
DIGITS = {"side": 16, "most_per_class": 40}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = Budget(epochs=20, learning_rates=(0.6, 0.2, 0.07), tuning_epochs=6, batch_size=32)
FULL = Budget(epochs=120, learning_rates=(0.1, 0.03), tuning_epochs=12, batch_size=128)
NORM_MOMENTUM = 0.1
KINDS = ("depthwise 3x3", "pointwise 1x1", "normal 3x3", "batch norm", "activation", "rest")


def with_normal_convolutions(network: Network) -> Network:
    """A MobileNet v1 in which one 3x3 convolution, with its norm and activation, stands for each separable one: the
    "Conv MobileNet" of Table 4."""
    for stage in network.stages:
        for place, block in enumerate(stage):  # type: ignore[arg-type]
            first, last = block.depthwise.conv, block.pointwise.conv
            stage[place] = ConvNormReLU6(  # type: ignore[index]
                first.in_channels, last.out_channels, 3, stride=first.stride[0], eps=block.depthwise.norm.eps
            )
    initialise_convolutions(network.modules())
    return network


def separable_network(**options: Any) -> Network:
    return _steady(create_model("mobilenet_v1", **options))


def normal_network(**options: Any) -> Network:
    return _steady(with_normal_convolutions(create_model("mobilenet_v1", **options)))


def _steady(network: Network) -> Network:
    """The catalogue's norms remember for a thousand steps, of which a quick study has fewer."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    return network


def kind_of(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return KINDS[0] if module.groups > 1 else KINDS[1] if module.kernel_size == (1, 1) else KINDS[2]
    return KINDS[3] if isinstance(module, nn.BatchNorm2d) else KINDS[4] if isinstance(module, nn.ReLU6) else KINDS[5]


def run(lab: Lab) -> None:
    works = {
        "separable": Work(create_model("mobilenet_v1"), 1, 3, PAPER_SIDE),
        "normal": Work(with_normal_convolutions(create_model("mobilenet_v1")), 1, 3, PAPER_SIDE),
    }
    count_and_time(lab, works)
    time_layers(lab)
    train_networks(lab)


def count_and_time(lab: Lab, works: dict[str, Work]) -> None:
    """Both networks of Table 4 at 224x224: what they cost, how long one picture takes, and where the time goes."""
    totals = {name: count(work.module, PAPER_SIDE).total for name, work in works.items()}
    cost = {name: total.multiply_adds or 0 for name, total in totals.items()}
    weights = {name: total.parameters for name, total in totals.items()}
    seconds = seconds_in_turns(works, lab.device)
    ms = {name: 1000 * float(np.median(found)) for name, found in seconds.items()}
    lab.table(
        f"MobileNet v1 with separable and with normal convolutions, {PAPER_SIDE}x{PAPER_SIDE}",
        ("convolutions", "weights", "multiply-adds", "ms a picture", "thousand millions a second"),
        [
            (name, f"{weights[name]:,}", f"{cost[name]:,}", f"{ms[name]:.1f}", f"{cost[name] / ms[name] / 1e6:.1f}")
            for name in works
        ],
        f"Times: medians of {len(seconds['normal'])} rounds in turns, one picture at a time, float32, "
        f"{lab.device.type}. The paper's Table 4 has 4.2 and 29.3 million weights, 569 and 4,866 million "
        "multiply-adds; ours with normal convolutions has a million more, those of the linear layer.",
    )
    fewer = cost["normal"] / cost["separable"]
    lab.verdict(
        "separable convolutions make the network 8 to 9 times cheaper (section 3.1), as in Table 4",
        "exact",
        f"{cost['separable']:,} against {cost['normal']:,} multiply-adds, {fewer:.2f} times fewer; "
        f"{weights['separable']:,} against {weights['normal']:,} weights, "
        f"{weights['normal'] / weights['separable']:.2f} times fewer",
        difference=fewer,
        unit="ratio of multiply-adds",
    )
    ratio = time_ratio(seconds["separable"], seconds["normal"])
    lab.compare_times(
        "the network with separable convolutions is faster", ratio,
        "time with separable over time with normal convolutions", below=1.0,
    )  # fmt: skip
    lab.compare_times(
        f"it is as much faster as it has fewer multiply-adds, {fewer:.2f} times, to within 5 %", ratio,
        f"time with separable over time with normal convolutions, where multiply-adds have {1 / fewer:.3f}",
        below=1.05 / fewer,
    )  # fmt: skip

    rows, shares, rates = [], {}, {}
    for name, work in works.items():
        by_kind = {kind: float(np.median(found)) for kind, found in seconds_by_kind(work, kind_of, lab.device).items()}
        counted = dict.fromkeys(by_kind, 0)
        modules = dict(work.module.named_modules())
        for layer in count(work.module, PAPER_SIDE).layers:
            counted[kind_of(modules[layer.name])] += layer.multiply_adds or 0
        for kind in (kind for kind in KINDS if kind in by_kind):
            time_share, cost_share = by_kind[kind] / sum(by_kind.values()), counted[kind] / cost[name]
            shares[name, kind] = cost_share, time_share
            rates[name, kind] = counted[kind] / by_kind[kind] / 1e9
            rows.append(
                (name, kind, f"{100 * cost_share:.1f}", f"{1000 * by_kind[kind]:.2f}", f"{100 * time_share:.1f}")
            )
    lab.table(
        "Where the time of one picture goes",
        ("convolutions", "part", "% of the multiply-adds", "ms", "% of the time"),
        rows,
        f"Medians of {len(seconds['normal'])} runs, each part waited for. Rest: pooling and the linear layer.",
    )
    depthwise, pointwise, normal, *passing = KINDS[:5]
    passed = {name: 100 * sum(shares[name, kind][1] for kind in passing) for name in works}
    of_pointwise, of_depthwise = shares["separable", pointwise], shares["separable", depthwise]
    lab.note(
        f"Why time does not follow multiplications: the pointwise layers, {100 * of_pointwise[0]:.0f} % of the "
        f"separable network's multiply-adds, do {rates['separable', pointwise]:.0f} thousand millions a second here, "
        f"the normal 3x3 layers {rates['normal', normal]:.0f}: they have a ninth of the arithmetic for each value that "
        f"is read. The depthwise layers do {rates['separable', depthwise]:.0f}, so that {100 * of_depthwise[0]:.0f} % "
        f"of the multiply-adds take {100 * of_depthwise[1]:.0f} % of the time. Norms and activations, which the count "
        f"leaves out and of which there are twice as many, take {passed['separable']:.0f} % instead of "
        f"{passed['normal']:.0f} %."
    )
    figure, (left, right) = figures.canvas(width=9.5, height=2.6, columns=2, sharey=True)
    figures.bars(left, {name: cost[name] / 1e6 for name in works})
    quantiles = {name: 1000 * np.quantile(found, (0.05, 0.95)) for name, found in seconds.items()}
    figures.bars(right, ms, spread={name: tuple(ends) for name, ends in quantiles.items()})
    left.set_xlabel("multiply-adds of one picture, in millions")
    right.set_xlabel("time of one picture in ms (line: 5 to 95 %)")
    lab.picture(
        f"MobileNet v1 at {PAPER_SIDE}x{PAPER_SIDE}: multiply-adds and time",
        figures.svg(figure),
        "Two panels of bars for separable and normal convolutions: the times differ less than the multiply-adds.",
    )


def time_layers(lab: Lab) -> None:
    """Single layers against what the machine can do: arithmetic at most, and memory at most."""
    works = {}
    torch.manual_seed(0)
    for channels, side in LAYERS_AT:
        for name, kernel, groups in (("normal 3x3", 3, 1), ("depthwise 3x3", 3, channels), ("pointwise 1x1", 1, 1)):
            layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
            works[name, f"{channels} at {side}x{side}"] = Work(layer, LAYER_BATCH, channels, side)
    seconds = seconds_in_turns({f"{name}, {at}": work for (name, at), work in works.items()}, lab.device)
    limits = machine_limits(lab.device)
    rows, groups = [], {}
    for (name, at), work in works.items():
        median = float(np.median(seconds[f"{name}, {at}"]))
        intensity, rate = work.multiply_adds / work.bytes_moved, work.multiply_adds / median
        groups.setdefault(name, []).append(("", intensity, rate / 1e9))
        rows.append(
            (
                name, at, f"{work.multiply_adds / 1e6:,.1f}", f"{work.bytes_moved / 1e6:.1f}", f"{intensity:.1f}",
                f"{1000 * median:.2f}", f"{rate / 1e9:.1f}", f"{limits.at(intensity) / 1e9:.1f}",
            )
        )  # fmt: skip
    lab.table(
        f"Layers of MobileNet v1, {LAYER_BATCH} pictures",
        (
            "layer", "channels", "multiply-adds in millions", "MB read and written", "multiply-adds a byte", "ms",
            "thousand millions a second", "at most",
        ),
        rows,
        "At most: the lesser of what a large 3x3 convolution reached here, "
        f"{limits.multiply_adds_per_second / 1e9:.0f} thousand millions a second, and what memory allows at "
        f"{limits.bytes_per_second / 1e9:.0f} GB a second, the rate of a large copy; a layer whose values stay in the "
        "processor's cache can be faster than that.",
    )  # fmt: skip
    mean = {name: np.mean([member[1:] for member in members], 0) for name, members in groups.items()}
    lab.note(
        "Alone, a depthwise layer does "
        f"{mean['depthwise 3x3'][0]:.1f} multiply-adds for each byte that it reads or writes, a pointwise one "
        f"{mean['pointwise 1x1'][0]:.0f}, a normal one {mean['normal 3x3'][0]:.0f}. At "
        f"{limits.bytes_per_second / 1e9:.0f} GB a second the first waits for memory: it reaches "
        f"{mean['depthwise 3x3'][1]:.0f} thousand million multiply-adds a second, the second "
        f"{mean['pointwise 1x1'][1]:.0f}, the third {mean['normal 3x3'][1]:.0f}. The pointwise layers too stay "
        "below what memory allows, which alone does not explain them."
    )
    figure, axes = figures.canvas()
    figures.points(axes, groups, joined=False)
    reach = np.geomspace(0.5, 400, 60)
    axes.plot(
        reach, [limits.at(value) / 1e9 for value in reach], color="#222", linestyle=":", linewidth=1.2,
        label="at most: memory, then arithmetic",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1, 3 * limits.multiply_adds_per_second / 1e9)
    axes.set_xlabel("multiply-adds for each byte read or written")
    axes.set_ylabel("thousand million multiply-adds a second")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    lab.picture(
        f"Layers and what the machine can do, each on {', '.join(str(channels) for channels, _ in LAYERS_AT)} channels",
        figures.svg(figure),
        "Rate against multiply-adds a byte, both logarithmic: depthwise layers lie far left, pointwise ones in the "
        "middle, normal ones right; a dotted line shows the most that memory and arithmetic allow.",
    )


def train_networks(lab: Lab) -> None:
    if lab.quick:
        pictures, budget, width = lab.pictures(**(DIGITS if lab.is_digits else OTHERS)), QUICK, SMALL_WIDTH
    else:
        pictures, budget, width = lab.pictures(side=PAPER_SIDE if lab.given else 32, val_fraction=0.1), FULL, 1.0
    side = pictures.preprocessing.size
    options: dict[str, Any] = {
        "num_classes": pictures.num_classes, "in_channels": pictures.in_channels, "small_stem": side < 64,
    }  # fmt: skip
    separable = partial(separable_network, width=width, **options)
    target = count(on_meta(separable), side).total.multiply_adds or 0
    share = share_of_equal_cost(lambda part: normal_network(width=width * part, **options), target, side)
    builds: dict[str, Callable[[], nn.Module]] = {
        "separable": separable,
        "normal": partial(normal_network, width=width, **options),
        "normal, equal multiply-adds": partial(normal_network, width=width * share, **options),
    }
    arms = {name: lab.arm(name, build, pictures, budget) for name, build in builds.items()}
    totals = {name: count(on_meta(build), side).total for name, build in builds.items()}
    lab.table(
        "Networks with separable and with normal convolutions",
        ("network", "weights", "multiply-adds", "learning rate", "test error in %", "of each seed", "training s"),
        [
            (
                name, f"{totals[name].parameters:,}", f"{totals[name].multiply_adds:,}", f"{arm.learning_rate:g}",
                f"{100 * arm.error:.2f}", ", ".join(f"{100 * error:.2f}" for error in arm.errors), f"{arm.seconds:.0f}",
            )
            for name, arm in arms.items()
        ],
        f"MobileNet v1 at width {width:g}, strides for small pictures where these are below 64 pixels; the last is at "
        f"width {width * share:.3f}, no layer below 8 channels.",
    )  # fmt: skip
    figure, axes = figures.canvas()
    figures.curves(axes, {name: 100 * (1 - arm.curve("val_top1")) for name, arm in arms.items()})
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error in %")
    lab.picture(
        "Learning with separable and normal convolutions",
        figures.svg(figure),
        "Validation error over the epochs of the three networks, mean and range of the seeds.",
    )
    lab.compare(
        "the separable convolutions cost accuracy: the network with normal ones makes fewer mistakes (Table 4)",
        arms["normal"], arms["separable"], "lower",
    )  # fmt: skip
    lab.compare(
        "at equal multiply-adds the wide separable network makes fewer mistakes than the narrow normal one",
        arms["separable"], arms["normal, equal multiply-adds"], "lower",
    )  # fmt: skip


STUDY = Study(
    name="depthwise",
    title="Depthwise-separable against normal convolutions",
    question="What do depthwise-separable convolutions save, in multiplications and in time, and what do they cost in "
    "accuracy?",
    paper='Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, '
    "section 3.1 and Table 4, https://arxiv.org/abs/1704.04861",
    claim="With 3x3 windows 8 to 9 times less computation at a small loss of accuracy (section 3.1). On ImageNet 70.6 "
    "against 71.7 % right, 569 against 4,866 million multiply-adds, 4.2 against 29.3 million weights (Table 4).",
    design="MobileNet v1, and the same network with one normal 3x3 convolution, norm and activation for each separable "
    "one. Counted and timed at the paper's size; trained narrow on small pictures in quick mode, in full width in full "
    "mode, and the normal one also narrowed to equal multiply-adds. Same pictures, order, epochs and learning rates to "
    "choose from; norms remember for ten steps in all arms.",
    would_change="Time: a library that merges norms and activations into the convolutions, or a device with more "
    "memory bandwidth for its arithmetic. Accuracy: with few pictures fewer weights can be an advantage, with ImageNet "
    "they cost 1.1 points.",
    run=run,
)
