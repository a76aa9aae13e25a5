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
from .costs import cost_of, costs_of, share_of_equal_cost
from .experiment import Experiment, Study
from .interleaved import TimedCall, interleaved_seconds, machine_limits, seconds_by_kind
from .trials import TrainingBudget
from .verdict import paired_ratio

PAPER_SIDE = 224
LAYERS_AT = ((64, 56), (128, 28), (512, 14))  # channels and side of the maps on which layers are timed
LAYER_BATCH = 8
SMALL_WIDTH = 0.25
DIGITS = {"side": 16, "most_per_class": 40}
OTHERS = {"side": 32, "most_per_class": 100}
QUICK = TrainingBudget(epochs=20, learning_rates=(0.6, 0.2, 0.07), tuning_epochs=6, batch_size=32)
FULL = TrainingBudget(epochs=120, learning_rates=(0.1, 0.03), tuning_epochs=12, batch_size=128)
NORM_MOMENTUM = 0.1
KINDS = ("depthwise 3x3", "pointwise 1x1", "normal 3x3", "batch norm", "activation", "rest")


def with_normal_convolutions(network: Network) -> Network:
    """A MobileNet v1 with one 3x3 convolution, norm and activation in place of each separable one: the "Conv MobileNet"
    of Table 4."""
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
    """With norms that average over about ten steps: the catalogue's thousand are more than a quick study has."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    return network


def kind_of(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return KINDS[0] if module.groups > 1 else KINDS[1] if module.kernel_size == (1, 1) else KINDS[2]
    return KINDS[3] if isinstance(module, nn.BatchNorm2d) else KINDS[4] if isinstance(module, nn.ReLU6) else KINDS[5]


def run(experiment: Experiment) -> None:
    count_and_time(experiment)
    time_layers(experiment)
    train_networks(experiment)


def count_and_time(experiment: Experiment) -> None:
    """Both networks of Table 4 at 224x224: what they cost, how long one picture takes, and where the time goes."""
    calls = {
        "separable": TimedCall(create_model("mobilenet_v1"), 1, 3, PAPER_SIDE),
        "normal": TimedCall(with_normal_convolutions(create_model("mobilenet_v1")), 1, 3, PAPER_SIDE),
    }
    totals = {name: count(call.module, PAPER_SIDE).total for name, call in calls.items()}
    cost = {name: total.multiply_adds or 0 for name, total in totals.items()}
    weights = {name: total.parameters for name, total in totals.items()}
    seconds = interleaved_seconds(calls, experiment.device)
    ms = {name: 1000 * float(np.median(found)) for name, found in seconds.items()}
    experiment.table(
        f"MobileNet v1 with separable and with normal convolutions, {PAPER_SIDE}x{PAPER_SIDE}",
        ("convolutions", "weights", "multiply-adds", "ms a picture", "GMAdd/s"),
        [(name, weights[name], cost[name], f"{ms[name]:.1f}", f"{cost[name] / ms[name] / 1e6:.1f}") for name in calls],
        f"Times: medians of {len(seconds['normal'])} interleaved rounds, one picture at a time, float32, "
        f"{experiment.device.type}. GMAdd/s: thousand million multiply-adds a second. The paper's Table 4 has 4.2 and "
        "29.3 million weights, 569 and 4,866 million multiply-adds; ours with normal convolutions has a million more "
        "multiply-adds, those of the linear layer.",
    )
    fewer = cost["normal"] / cost["separable"]
    experiment.count(
        "separable convolutions make the network 8 to 9 times cheaper (section 3.1), as in Table 4",
        8 <= fewer <= 9,
        f"{cost['separable']:,} against {cost['normal']:,} multiply-adds, {fewer:.2f} times fewer; "
        f"{weights['separable']:,} against {weights['normal']:,} weights, "
        f"{weights['normal'] / weights['separable']:.2f} times fewer",
        fewer,
        "ratio of multiply-adds",
    )
    ratio = paired_ratio(seconds["separable"], seconds["normal"])
    what = "time with separable over time with normal convolutions"
    experiment.compare_times("the network with separable convolutions is faster", ratio, what)
    experiment.compare_times(
        f"it is as much faster as it has fewer multiply-adds, {fewer:.2f} times, within 5 %", ratio,
        f"{what}, at {1 / fewer:.3f} of the multiply-adds", below=1.05 / fewer,
    )  # fmt: skip
    _report_kinds(experiment, calls, cost, len(seconds["normal"]))
    quantiles = {name: 1000 * np.quantile(found, (0.5, 0.05, 0.95)) for name, found in seconds.items()}
    experiment.picture(
        f"MobileNet v1 at {PAPER_SIDE}x{PAPER_SIDE}: multiply-adds and time",
        figures.costs_and_times(cost, {name: tuple(found) for name, found in quantiles.items()}, height=2.6),
        "Two panels of bars for separable and normal convolutions: the times differ less than the multiply-adds.",
    )


def _report_kinds(experiment: Experiment, calls: dict[str, TimedCall], cost: dict[str, int], num_runs: int) -> None:
    """How much of a network's multiply-adds and of its time each kind of layer takes."""
    rows, shares, rates = [], {}, {}
    for name, call in calls.items():
        by_kind = {
            kind: float(np.median(found))
            for kind, found in seconds_by_kind(call, kind_of, experiment.device).items()
        }  # fmt: skip
        counted = dict.fromkeys(by_kind, 0)
        modules = dict(call.module.named_modules())
        for layer in count(call.module, PAPER_SIDE).layers:
            counted[kind_of(modules[layer.name])] += layer.multiply_adds or 0
        for kind in (kind for kind in KINDS if kind in by_kind):
            time_share, cost_share = by_kind[kind] / sum(by_kind.values()), counted[kind] / cost[name]
            shares[name, kind] = cost_share, time_share
            rates[name, kind] = counted[kind] / by_kind[kind] / 1e9
            rows.append(
                (name, kind, f"{100 * cost_share:.1f}", f"{1000 * by_kind[kind]:.2f}", f"{100 * time_share:.1f}")
            )
    experiment.table(
        "Where the time of one picture goes",
        ("convolutions", "layers", "% of the multiply-adds", "ms", "% of the time"),
        rows,
        f"Medians of {num_runs} runs that wait for each layer. Rest: pooling and the linear layer.",
    )
    depthwise, pointwise, normal, *passing = KINDS[:5]
    passed = {name: 100 * sum(shares[name, kind][1] for kind in passing) for name in calls}
    of_pointwise, of_depthwise = shares["separable", pointwise], shares["separable", depthwise]
    experiment.note(
        f"Why time does not follow multiplications: the pointwise layers, {100 * of_pointwise[0]:.0f} % of the "
        f"separable network's multiply-adds, do {rates['separable', pointwise]:.0f} GMAdd/s here, the normal 3x3 "
        f"layers {rates['normal', normal]:.0f}: they have a ninth of the arithmetic for each value they read. The "
        f"depthwise layers do {rates['separable', depthwise]:.0f}, so {100 * of_depthwise[0]:.0f} % of the "
        f"multiply-adds take {100 * of_depthwise[1]:.0f} % of the time. Norms and activations, which the count leaves "
        f"out and of which there are twice as many, take {passed['separable']:.0f} % instead of {passed['normal']:.0f} "
        "%."
    )


def time_layers(experiment: Experiment) -> None:
    """Single layers against what the machine can do: the limit of its arithmetic and the limit of its memory."""
    calls = {}
    torch.manual_seed(0)
    for channels, side in LAYERS_AT:
        for name, kernel, groups in (("normal 3x3", 3, 1), ("depthwise 3x3", 3, channels), ("pointwise 1x1", 1, 1)):
            layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
            calls[name, f"{channels} at {side}x{side}"] = TimedCall(layer, LAYER_BATCH, channels, side)
    seconds = interleaved_seconds({f"{name}, {at}": call for (name, at), call in calls.items()}, experiment.device)
    limits = machine_limits(experiment.device)
    rows, groups = [], {}
    for (name, at), call in calls.items():
        median = float(np.median(seconds[f"{name}, {at}"]))
        intensity, rate = call.multiply_adds / call.bytes_moved, call.multiply_adds / median
        groups.setdefault(name, []).append(("", intensity, rate / 1e9))
        rows.append(
            (
                name, at, f"{call.multiply_adds / 1e6:,.1f}", f"{call.bytes_moved / 1e6:.1f}", f"{intensity:.1f}",
                f"{1000 * median:.2f}", f"{rate / 1e9:.1f}", f"{limits.at(intensity) / 1e9:.1f}",
            )
        )  # fmt: skip
    arithmetic, memory = limits.multiply_adds_per_second / 1e9, limits.bytes_per_second / 1e9
    experiment.table(
        f"Layers of MobileNet v1, {LAYER_BATCH} pictures",
        (
            "layer", "channels", "multiply-adds in millions", "MB read and written", "multiply-adds a byte", "ms",
            "GMAdd/s", "limit",
        ),
        rows,
        f"Limit: the lower of what a large 3x3 convolution reached here, {arithmetic:.0f} GMAdd/s, and what memory "
        f"allows at {memory:.0f} GB a second, the rate of a large copy. A layer whose values stay in the processor's "
        "cache can be faster.",
    )  # fmt: skip
    mean = {name: np.mean([member[1:] for member in members], 0) for name, members in groups.items()}
    experiment.note(
        "A depthwise layer does "
        f"{mean['depthwise 3x3'][0]:.1f} multiply-adds for each byte that it reads or writes, a pointwise one "
        f"{mean['pointwise 1x1'][0]:.0f}, a normal one {mean['normal 3x3'][0]:.0f}. At {memory:.0f} GB a second the "
        f"first waits for memory: it reaches {mean['depthwise 3x3'][1]:.0f} GMAdd/s, the second "
        f"{mean['pointwise 1x1'][1]:.0f}, the third {mean['normal 3x3'][1]:.0f}. The pointwise layers also stay below "
        "what memory allows, so memory does not fully explain them."
    )
    figure, axes = figures.canvas()
    figures.points(axes, groups, joined=False)
    reach = np.geomspace(0.5, 400, 60)
    axes.plot(
        reach, [limits.at(value) / 1e9 for value in reach], color="#222", linestyle=":", linewidth=1.2,
        label="limit: memory, then arithmetic",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1, 3 * arithmetic)
    axes.set_xlabel("multiply-adds for each byte read or written")
    axes.set_ylabel("thousand million multiply-adds a second")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    experiment.picture(
        f"Layers and what the machine can do, each on {', '.join(str(channels) for channels, _ in LAYERS_AT)} channels",
        figure,
        "Rate against multiply-adds a byte, both logarithmic: depthwise layers lie far left, pointwise ones in the "
        "middle, normal ones right; a dotted line shows the limit of memory and arithmetic.",
    )


def train_networks(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures = experiment.pictures(**(DIGITS if experiment.is_digits else OTHERS))
        budget, width = QUICK, SMALL_WIDTH
    else:
        side = PAPER_SIDE if experiment.is_own_data else 32
        pictures, budget, width = experiment.pictures(side=side, val_fraction=0.1), FULL, 1.0
    side = pictures.preprocessing.size
    options: dict[str, Any] = {
        "num_classes": pictures.num_classes, "in_channels": pictures.in_channels, "small_stem": side < 64,
    }  # fmt: skip
    separable = partial(separable_network, width=width, **options)
    target = cost_of(separable, side).multiply_adds
    share = share_of_equal_cost(lambda part: normal_network(width=width * part, **options), target, side)
    builds: dict[str, Callable[[], nn.Module]] = {
        "separable": separable,
        "normal": partial(normal_network, width=width, **options),
        "normal, equal multiply-adds": partial(normal_network, width=width * share, **options),
    }
    arms = {name: experiment.arm(name, build, pictures, budget) for name, build in builds.items()}
    experiment.table_of_networks(
        "Networks with separable and with normal convolutions",
        arms,
        costs_of(builds, side),
        f"MobileNet v1 at width {width:g}, with the strides for small pictures below 64 pixels; the last network has "
        f"width {width * share:.3f}, and no layer has fewer than 8 channels.",
    )
    experiment.learning_curves("Learning with separable and normal convolutions", arms)
    experiment.compare(
        "the separable convolutions cost accuracy: the network with normal ones makes fewer mistakes (Table 4)",
        arms["normal"], arms["separable"], "lower",
    )  # fmt: skip
    experiment.compare(
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
    paper_setup="ImageNet, 1.28 million training pictures of 224 pixels, one training each",
    design="MobileNet v1, and the same network with one normal 3x3 convolution, norm and activation for each separable "
    "one. Counted and timed at the paper's size; trained narrow on small pictures in quick mode, at full width in full "
    "mode, and the normal one also narrowed to equal multiply-adds. All arms have the same pictures, order and epochs, "
    "and choose among the same learning rates; batch norms average over about ten steps.",
    would_change="Time: a library that merges norms and activations into the convolutions, or a device with more "
    "memory bandwidth for its arithmetic. Accuracy: with few pictures fewer weights can be an advantage; on ImageNet "
    "they cost 1.1 points.",
    run=run,
)
