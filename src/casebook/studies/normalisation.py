"""What do local response normalisation and batch norm do for speed of learning, learning rates and the error?"""

from functools import partial
from typing import NamedTuple

import numpy as np

from ..reports import figures
from .activations import Norm, four_layers
from .experiment import Experiment, Study
from .speed import compare_epochs, epochs_text, epochs_to_reach, times_longer
from .trials import Arm, TrainingBudget, training_error

NAMES: dict[Norm, str] = {"none": "no normalisation", "lrn": "response normalisation", "batch": "batch norm"}


class RatesPlan(NamedTuple):
    """How long to train, at which rates, and which training error to reach."""

    epochs: int
    rates: tuple[float, ...]
    batch_size: int
    target: float  # training error to reach
    most_measured: int  # training pictures on which the training error is measured


QUICK = RatesPlan(8, (0.3, 0.1, 0.03, 0.01, 0.003), 64, 0.1, 400)
FULL = RatesPlan(60, (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001), 128, 0.25, 2000)
WITHIN = 0.02  # of the arm's lowest test error: the arm tolerates the rate
FASTER = 10  # times the best rate of the network without normalisation; the nearest tried rate is taken


def best(arms: dict[float, Arm]) -> Arm:
    """The arm with the best validation accuracy of an epoch, mean over the seeds, then the lowest validation loss."""

    def rank(arm: Arm) -> tuple[float, float]:
        accuracy, loss = arm.curve("val_top1"), arm.curve("val_loss")
        if np.isnan(accuracy).all(1).any():  # a seed diverged in its first epoch
            return 0.0, -np.inf
        return float(np.nanmax(accuracy, 1).mean()), -float(np.nanmin(loss, 1).mean())

    return max(arms.values(), key=rank)


def tolerated(arms: dict[float, Arm]) -> tuple[float, ...]:
    """The rates at which the mean test error is at most WITHIN above the arm's lowest."""
    lowest = min(arm.error for arm in arms.values())
    return tuple(rate for rate, arm in sorted(arms.items()) if arm.error <= lowest + WITHIN)


def run(experiment: Experiment) -> None:
    plan = QUICK if experiment.is_quick else FULL
    side = 16 if experiment.is_digits else 32
    pictures = experiment.pictures(side=side, val_fraction=0.15 if experiment.is_quick else 0.1)
    measure = training_error(pictures, experiment.device, most=plan.most_measured)
    # Warm-up and clipping would make a rate that is too high bearable for all.
    settings = {"clip_norm": 0, "warmup_epochs": 0}
    every: dict[Norm, dict[float, Arm]] = {}
    for norm in NAMES:
        build = partial(four_layers, pictures.num_classes, pictures.in_channels, side, norm=norm)
        every[norm] = {}
        for rate in plan.rates:
            budget = TrainingBudget(plan.epochs, (rate,), plan.batch_size, settings=settings)
            every[norm][rate] = experiment.arm(f"{norm} at {rate:g}", build, pictures, budget, measure=measure)
    arms: dict[Norm, Arm] = {norm: best(of_rates) for norm, of_rates in every.items()}
    chance = 1 - 1 / pictures.num_classes
    epochs = {norm: epochs_to_reach(arm.curve("train_error"), plan.target, chance) for norm, arm in arms.items()}
    _draw(experiment, every, arms, chance)
    experiment.table(
        "At the best learning rate of each",
        ("network", "learning rate", f"epochs to {100 * plan.target:g} % training error", "test error in %",
         "of each seed"),
        [
            (NAMES[norm], f"{arm.learning_rate:g}", epochs_text(epochs[norm], plan.epochs), arm.percent, arm.percents)
            for norm, arm in arms.items()
        ],
        "Chosen by validation, over all seeds.",
    )  # fmt: skip
    rates = sorted(plan.rates)
    experiment.table(
        "Test error in % at each learning rate",
        (
            "network",
            *(f"{rate:g}" for rate in rates),
            f"highest / lowest rate within {100 * WITHIN:g} points of the best",
        ),
        [
            (
                NAMES[norm],
                *(of_rates[rate].percent for rate in rates),
                f"{max(tolerated(of_rates)) / min(tolerated(of_rates)):.3g}",
            )
            for norm, of_rates in every.items()
        ],
        "Means over the seeds. A training whose loss is no longer a number counts as wrong on all but one class.",
    )
    experiment.compare("batch norm lowers the test error", arms["batch"], arms["none"], "lower")
    experiment.compare("local response normalisation lowers the test error", arms["lrn"], arms["none"], "lower")
    for norm in ("batch", "lrn"):
        compare_epochs(
            experiment,
            f"with {NAMES[norm]} a training error of {100 * plan.target:g} % is reached in fewer epochs",
            times_longer(epochs["none"], epochs[norm], plan.epochs),
            f"{NAMES['none']} against {NAMES[norm]}",
        )
    wanted = FASTER * arms["none"].learning_rate
    fast = min(plan.rates, key=lambda rate: abs(np.log(rate / wanted)))
    experiment.compare(
        f"at {fast:g}, {fast / arms['none'].learning_rate:.3g} times the best rate of the network without "
        "normalisation, the one with batch norm makes fewer mistakes",
        every["batch"][fast], every["none"][fast], "lower",
    )  # fmt: skip


def _draw(experiment: Experiment, every: dict[Norm, dict[float, Arm]], arms: dict[Norm, Arm], chance: float) -> None:
    figure, axes = figures.canvas(width=9.5, columns=2)
    errors: dict[Norm, np.ndarray] = {norm: arm.curve("train_error") for norm, arm in arms.items()}
    longest = max(values.shape[1] for values in errors.values())
    lines = {
        f"{NAMES[norm]}, rate {arms[norm].learning_rate:g}": 100
        * np.concatenate([np.full((len(values), 1), chance), values], 1)
        for norm, values in errors.items()
    }
    figures.curves(axes[0], lines, x=np.arange(longest + 1))
    axes[0].set_xlabel("epoch")
    axes[0].set_ylabel("training error in %")
    by_rate = {
        NAMES[norm]: 100 * np.array([of_rates[rate].errors for rate in sorted(of_rates)]).T
        for norm, of_rates in every.items()
    }
    figures.curves(axes[1], by_rate, x=sorted(next(iter(every.values()))))
    axes[1].set_xscale("log")
    axes[1].set_xlabel("learning rate")
    axes[1].set_ylabel("test error in %")
    experiment.picture(
        "Speed of learning, and tolerance of the learning rate",
        figure,
        "Left, the training error over the epochs at the best rate of each network, from chance at epoch 0. Right, the "
        "test error at every learning rate: "
        + "; ".join(
            f"{name} {', '.join(f'{value:.1f}' for value in values.mean(0))} %" for name, values in by_rate.items()
        )
        + ".",
    )


STUDY = Study(
    name="normalisation",
    title="Normalisation: none, local response, batch",
    question="What do local response normalisation and batch norm do for the speed of learning, for the learning rates "
    "that work, and for the error?",
    paper='Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate '
    'Shift", ICML 2015, section 4.2, https://arxiv.org/abs/1502.03167; Krizhevsky et al., NIPS 2012, section 3.3; '
    "Simonyan, Zisserman, ICLR 2015, section 4.1, https://arxiv.org/abs/1409.1556",
    claim="Batch norm reaches the same accuracy with 14 times fewer steps (Ioffe and Szegedy, abstract), at five times "
    "the learning rate, at which the network without it diverges (section 4.2, Figure 3). Local response "
    "normalisation lowers AlexNet's top-1 and top-5 errors by 1.4 % and 1.2 %, and that of a four-layer network on "
    "CIFAR-10 from 13 % to 11 % (AlexNet, section 3.3); it does not improve VGG's network A: 29.6 % top-1 error "
    "without it and 29.7 % with it (Table 3).",
    paper_setup="ImageNet, 1.2 million training pictures, Inception with batch norm, AlexNet and VGG; a four-layer "
    "network on CIFAR-10",
    design="The four-layer network of the study 'activations' with ReLU, without normalisation, with AlexNet's "
    "response normalisation behind each ReLU, or with batch norm before it; the same initial weights, pictures, order "
    "and epochs. Every network trains at every learning rate with every seed, without warm-up or clipping; each is "
    "then judged at the rate that validation chooses.",
    would_change="Depth: with four layers batch norm has little to improve. Small batches spoil its statistics. "
    "AlexNet's constants hardly do more than scale activations of this size by 2^-0.75, three times in a row, which a "
    "larger learning rate compensates; they damp larger activations more, such as those from pixels of 0 to 255.",
    run=run,
)
