"""Does a deeper plain network train worse than a shallow one, and does a shortcut cure it?"""

import dataclasses
from functools import partial
from typing import Any

from ..models import create_model
from ..reports import figures
from .experiment import TRAINING_PICTURES, Experiment, Study
from .pictures import PictureSet
from .trials import Arm, TrainingBudget, cifar_budget, mistakes, some_training, training_error

DEPTHS = (20, 56)
KINDS = ("plain", "resnet")
QUICK = TrainingBudget(epochs=12, learning_rates=(0.1, 0.02), tuning_epochs=4, batch_size=64)
FULL = cifar_budget()


def on_training_pictures(arm: Arm, options: dict[str, Any], pictures: PictureSet, experiment: Experiment) -> Arm:
    """The arm with its mistakes on training pictures; a network that diverged counts as always giving one class."""
    indices, trials = some_training(pictures), []
    guessed = pictures.majority_wrong(indices)
    for trial in arm.trials:
        wrong = guessed
        if not trial.diverged:
            network = trial.load_into(create_model(arm.name, **options))
            wrong = mistakes(network, pictures, experiment.device, indices)
        trials.append(dataclasses.replace(trial, wrong=wrong))
    return Arm(arm.name, tuple(trials), float(guessed.mean()))


def run(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures, budget = experiment.pictures(side=16 if experiment.is_digits else 24), QUICK
    else:
        pictures, budget = experiment.pictures(side=32, val_fraction=0.1), FULL
    options = {"num_classes": pictures.num_classes, "in_channels": pictures.in_channels}
    measure = training_error(pictures, experiment.device)
    arms = {
        name: experiment.arm(name, partial(create_model, name, **options), pictures, budget, measure=measure)
        for name in (f"{kind}{depth}" for depth in DEPTHS for kind in KINDS)
    }
    fitted = {name: on_training_pictures(arm, options, pictures, experiment) for name, arm in arms.items()}
    _draw(experiment, arms)
    experiment.table(
        "Errors at the end",
        ("network", "learning rate", "training error in %", "test error in %", "of each seed"),
        [
            (name, f"{arm.learning_rate:g}", fitted[name].percent, arm.percent, arm.percents)
            for name, arm in arms.items()
        ],
        f"Training error: on {len(some_training(pictures))} training pictures, not augmented, with the weights that "
        "did best on the validation pictures.",
    )
    shallow, deep = DEPTHS
    experiment.compare(
        f"a plain network of {deep} layers has a higher training error than one of {shallow}",
        fitted[f"plain{deep}"], fitted[f"plain{shallow}"], "higher",
        measured="training error", unit=TRAINING_PICTURES,
    )  # fmt: skip
    experiment.compare(
        f"a plain network of {deep} layers is worse than one of {shallow}",
        arms[f"plain{deep}"], arms[f"plain{shallow}"], "higher",
    )  # fmt: skip
    experiment.compare(
        f"with shortcuts {deep} layers are better than {shallow}",
        arms[f"resnet{deep}"], arms[f"resnet{shallow}"], "lower",
    )  # fmt: skip
    experiment.compare(
        f"at {deep} layers the residual network is better than the plain one",
        arms[f"resnet{deep}"], arms[f"plain{deep}"], "lower",
    )  # fmt: skip


def _draw(experiment: Experiment, arms: dict[str, Arm]) -> None:
    figure, axes = figures.canvas(width=9.5, columns=2, sharey=True)
    for part, kind in zip(axes, KINDS, strict=True):
        lines = {}
        for name in (f"{kind}{depth}" for depth in DEPTHS):
            lines[f"{name}, validation"] = 100 * (1 - arms[name].curve("val_top1"))
            lines[f"{name}, training"] = 100 * arms[name].curve("train_error")
        figures.curves(part, lines, dashed=[name for name in lines if name.endswith("training")])
        part.set_xlabel("epoch")
    axes[0].set_ylabel("error in %")
    experiment.picture(
        "Error over the epochs, as in the paper's Figure 6",
        figure,
        f"Two panels, plain networks and residual networks, with the errors of {DEPTHS[0]} and {DEPTHS[1]} layers over "
        "the epochs.",
    )


STUDY = Study(
    name="degradation",
    title="Degradation: plain against residual networks",
    question="Does a deeper plain network train worse than a shallow one, and does a shortcut cure it?",
    paper='He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, Figure 6 and Table 6, '
    "https://arxiv.org/abs/1512.03385",
    claim="On CIFAR-10 the plain networks get worse with depth, in training error as well (Figure 6, left), and the "
    "residual ones better: ResNet-20 8.75 %, ResNet-56 6.97 % test error.",
    paper_setup="CIFAR-10, 45,000 training pictures of 32 pixels, 64,000 steps (about 182 epochs)",
    design="The same layers with and without shortcuts (option A: no weights), at 20 and 56 layers. All arms see the "
    "same pictures in the same order for the same number of epochs, and validation chooses among the same learning "
    "rates (in full mode there is only the paper's rate).",
    would_change="A longer training or other initial weights: plain networks that start close to the identity (recipe "
    "'plain') train at 110 layers. On easy pictures both depths reach the same error if they train long enough.",
    run=run,
    paper_data="cifar10",
)
