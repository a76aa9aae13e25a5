"""How much sooner does a network with ReLUs reach a training error than the same network with tanh?"""

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from torch import nn

from ..augmentation.policy import POLICIES
from ..models.layers import draw_normal, response_norm
from ..reports import figures
from .experiment import Experiment, Study
from .speed import compare_epochs, epochs_text, epochs_to_reach, times_longer
from .trials import Arm, TrainingBudget, training_error

Activation = Literal["relu", "tanh"]
Norm = Literal["none", "lrn", "batch"]

WIDTHS = (32, 32, 64)  # of the three convolutions; the fourth layer is the linear one
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class SpeedPlan(NamedTuple):
    """How long to train, at which rates, and which training errors to reach."""

    epochs: int
    rates: tuple[float, ...]
    batch_size: int
    targets: tuple[float, ...]  # training errors; the verdicts are about the first
    most_measured: int  # training pictures on which the training error is measured


QUICK = SpeedPlan(14, (0.3, 0.1, 0.03, 0.01, 0.003), 128, (0.25, 0.1, 0.05), 1000)
QUICK_COLOUR = QUICK._replace(batch_size=32)  # harder pictures need more steps than a few pictures give
FULL = SpeedPlan(60, (0.3, 0.1, 0.03, 0.01, 0.003, 0.001), 128, (0.25, 0.15, 0.1), 5000)
PAPER_TIMES = 6


def four_layers(
    num_classes: int, in_channels: int, side: int, *, activation: Activation = "relu", norm: Norm = "none"
) -> nn.Sequential:
    """(B, in_channels, side, side) -> logits: three 5x5 convolutions, each with max pooling, and a linear layer.

    Batch norm comes before the activation, local response normalisation behind it, as in their papers. All variants
    start with the same weights, with standard deviation 1 / sqrt(fan-in), 0.01 in the linear layer; biases are 0.
    """
    network, channels = nn.Sequential(), in_channels
    for width in WIDTHS:
        network.append(nn.Conv2d(channels, width, 5, padding=2))
        if norm == "batch":
            network.append(nn.BatchNorm2d(width))
        network.append(ACTIVATIONS[activation]())
        if norm == "lrn":
            network.append(response_norm())
        network.append(nn.MaxPool2d(3, stride=2, padding=1))
        channels, side = width, (side + 1) // 2
    network.append(nn.Flatten())
    network.append(nn.Linear(channels * side * side, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            draw_normal(module.weight, std=module.weight[0].numel() ** -0.5)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.Linear):
            draw_normal(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    return network


def unregularised(plan: SpeedPlan, rate: float) -> TrainingBudget:
    """A constant rate and no regularisation, as for the paper's Figure 1."""
    settings = {"schedule": "constant", "weight_decay": 0.0, "clip_norm": 0, "warmup_epochs": 0, "nesterov": False}
    return TrainingBudget(plan.epochs, (rate,), plan.batch_size, settings=settings)


def fastest(arms: dict[float, Arm], plan: SpeedPlan, chance: float) -> Arm:
    """The arm that reaches the first target soonest, on average over the seeds, then the one with the lowest error."""

    def rank(arm: Arm) -> tuple[float, float]:
        errors = arm.curve("train_error")
        epochs = epochs_to_reach(errors, plan.targets[0], chance)
        last = np.nan_to_num(errors[:, -1], nan=1.0) if errors.size else np.ones(1)  # diverged
        return float(np.where(np.isnan(epochs), plan.epochs, epochs).mean()), float(last.mean())

    return min(arms.values(), key=rank)


def run(experiment: Experiment) -> None:
    plan = (QUICK if experiment.is_digits else QUICK_COLOUR) if experiment.is_quick else FULL
    side = 16 if experiment.is_digits else 32
    pictures = experiment.pictures(
        side=side, policy=POLICIES["none"].policy, val_fraction=0.15 if experiment.is_quick else 0.1
    )
    measure = training_error(pictures, experiment.device, most=plan.most_measured)
    chance = 1 - 1 / pictures.num_classes
    every: dict[str, dict[float, Arm]] = {}
    for activation in ACTIVATIONS:
        build = partial(four_layers, pictures.num_classes, pictures.in_channels, side, activation=activation)
        every[activation] = {
            rate: experiment.arm(
                f"{activation} at {rate:g}", build, pictures, unregularised(plan, rate), measure=measure
            )
            for rate in plan.rates
        }  # fmt: skip
    arms = {activation: fastest(of_rates, plan, chance) for activation, of_rates in every.items()}
    _draw(experiment, every, arms, plan, chance)
    epochs = {
        (name, target): epochs_to_reach(arm.curve("train_error"), target, chance)
        for name, arm in arms.items()
        for target in plan.targets
    }
    slower = {
        target: times_longer(epochs["tanh", target], epochs["relu", target], plan.epochs) for target in plan.targets
    }
    experiment.table(
        "Epochs until a training error",
        ("training error in %", *arms, "tanh takes"),
        [
            (f"{100 * target:g}", *(epochs_text(epochs[name, target], plan.epochs) for name in arms), found.text())
            for target, found in slower.items()
        ],
        f"Means over the seeds, on up to {plan.most_measured:,} training pictures, interpolated between epochs.",
    )
    target = plan.targets[0]
    rates = sorted(plan.rates)
    experiment.table(
        f"Every learning rate: epochs until {100 * target:g} % training error; test error in %",
        ("activation", *(f"{rate:g}" for rate in rates), "chosen"),
        [
            (name, *(_cell(every[name][rate], plan, chance) for rate in rates), f"{arm.learning_rate:g}")
            for name, arm in arms.items()
        ],
        "Means over the seeds. The chosen rate is the one that reaches the error soonest, as in the paper.",
    )
    what = f"tanh against ReLU, until {100 * target:g} % training error"
    compare_epochs(
        experiment, f"with ReLU a training error of {100 * target:g} % is reached in fewer epochs", slower[target], what
    )
    compare_epochs(
        experiment, f"with ReLU it is reached more than {PAPER_TIMES - 1} times as fast (the paper: six times)",
        slower[target], what, above=PAPER_TIMES - 1,
    )  # fmt: skip
    rate = arms["relu"].learning_rate
    equal = epochs_to_reach(every["tanh"][rate].curve("train_error"), target, chance)
    compare_epochs(
        experiment, "at one learning rate, the best for ReLU, ReLU reaches it in fewer epochs",
        times_longer(equal, epochs["relu", target], plan.epochs), f"{what}, both at {rate:g}",
    )  # fmt: skip


def _draw(
    experiment: Experiment, every: dict[str, dict[float, Arm]], arms: dict[str, Arm], plan: SpeedPlan, chance: float
) -> None:
    figure, axes = figures.canvas(width=9.5, columns=2)
    errors = {name: arm.curve("train_error") for name, arm in arms.items()}
    lines = {
        f"{name}, learning rate {arms[name].learning_rate:g}": 100
        * np.concatenate([np.full((len(values), 1), chance), values], 1)
        for name, values in errors.items()
    }
    figures.curves(axes[0], lines, x=np.arange(1 + max(values.shape[1] for values in errors.values())))
    axes[0].axhline(100 * plan.targets[0], color="#555", linewidth=0.8, linestyle=":")
    axes[0].set_xlabel("epoch")
    axes[0].set_ylabel("training error in %")
    rates = sorted(plan.rates)
    by_rate = {}
    for name, of_rates in every.items():
        found = np.stack(
            [epochs_to_reach(of_rates[rate].curve("train_error"), plan.targets[0], chance) for rate in rates], 1
        )
        found[:, np.isnan(found).any(0)] = np.nan  # no mean where a seed never reaches the error
        by_rate[name] = found
    figures.curves(axes[1], by_rate, x=rates)
    axes[1].set_xscale("log")
    axes[1].set_xlim(rates[0] / 1.3, rates[-1] * 1.3)
    axes[1].set_ylim(bottom=0)
    axes[1].set_xlabel("learning rate")
    axes[1].set_ylabel(f"epochs until {100 * plan.targets[0]:g} %")
    experiment.picture(
        "Training error over the epochs, as in AlexNet's Figure 1, and epochs at each learning rate",
        figure,
        "Left, the training error of the networks with ReLU and with tanh over the epochs, each at its fastest rate, "
        f"from chance at epoch 0, with a dotted line at {100 * plan.targets[0]:g} %. Right, the epochs until that "
        "error at each rate at which all seeds reach it: "
        + "; ".join(
            f"{name} "
            + ", ".join(
                f"{epochs.mean():.1f} at {rate:g}" for rate, epochs in zip(rates, found.T, strict=True)
                if not np.isnan(epochs).any()
            )
            for name, found in by_rate.items()
        )
        + ".",
    )  # fmt: skip


def _cell(arm: Arm, plan: SpeedPlan, chance: float) -> str:
    epochs = epochs_to_reach(arm.curve("train_error"), plan.targets[0], chance)
    return f"{epochs_text(epochs, plan.epochs)}; {arm.percent}"


STUDY = Study(
    name="activations",
    title="Activations: tanh against ReLU",
    question="How much sooner does a network with ReLUs reach a training error than the same one with tanh?",
    paper='Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012, section '
    "3.1 and Figure 1, https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
    claim="A four-layer convolutional network with ReLUs reaches 25 % training error on CIFAR-10 six times faster than "
    "an equivalent network with tanh; the learning rates were chosen independently to make training as fast as "
    "possible, and nothing regularised (Figure 1).",
    paper_setup="CIFAR-10, training pictures of 32 pixels; it gives neither layer sizes nor the number of runs",
    design="Three 5x5 convolutions with max pooling and a linear layer, with either activation behind each convolution "
    "and the same initial weights; no augmentation, no weight decay, a constant rate. Each activation trains at each "
    "of the same learning rates with every seed, and is judged at the rate that reaches the error soonest.",
    would_change="The initial weights, which need not suit both activations; batch norm; another optimiser. Both learn "
    "a few easy pictures in a handful of epochs.",
    run=run,
    paper_data="cifar10",
)
