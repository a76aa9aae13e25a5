"""Which transfer strategy wins with how many pictures?"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from ..data.sources import load_source
from ..errors import DataError
from ..models import create_model, model_card
from ..models.layers import Network
from ..models.residual_parts import basic
from ..models.resnet_cifar import CifarResNet, Variant
from ..models.weights import Weights, load_into, resolve
from ..reports import figures
from .experiment import Experiment, Study
from .few_pictures import (
    EACH_BY_ITSELF,
    differences,
    draw_differences,
    in_points,
    percents,
    shown_as_often,
    size_axis,
    sizes_of,
)
from .pictures import IN_MEMORY_SIDE, PictureSet
from .trials import Arm, TrainingBudget, learning_parts

STRATEGIES = {"scratch": "none", "head": "head", "last stage": "last:1", "everything": "full"}
RATES = (1.0, 0.3, 0.1)
PACKAGED = ("resnet20", "cifar10")  # a network and the name of its weights, which the package may contain
FEWEST_CLASSES = 4  # that can be halved


class TransferPlan(NamedTuple):
    """How long to train, and with how many pictures a class."""

    sizes: tuple[int, ...]  # pictures a class, besides all there are
    epochs: int
    batch_size: int
    options: Mapping[str, Any]  # `PictureSettings`
    source_epochs: int = 0  # of the starting network, if it is trained here
    least_shown: int = 0  # pictures in an epoch
    val_step: int = 1  # 3 uses every third validation picture


QUICK_HALVES = TransferPlan((2, 5, 10, 25), 8, 32, {}, 12)
QUICK_WEIGHTS = TransferPlan(
    (2, 5, 10), 4, 16, {"most_per_class": 25, "most_test_per_class": 100}, least_shown=128, val_step=3
)
FULL_HALVES = TransferPlan((2, 5, 10, 25, 100, 500), 60, 128, {"val_fraction": 0.1}, 100)
FULL_WEIGHTS = TransferPlan((2, 5, 10, 25, 100, 500), 60, 64, {})


class Start(NamedTuple):
    """The network with random weights, and the trained one from which the other strategies start."""

    scratch: Callable[[], Network]
    transferred: Callable[[], Network]
    folded_norms: bool


def run(experiment: Experiment) -> None:
    model, spec = _wanted_weights(experiment)
    found = resolve(spec, model) if spec else None
    if found is not None and not experiment.settings.pretrained and _knows(found, experiment.data):
        found = None
        experiment.note(f"The packaged weights of {model} have these very classes, so the start is another network.")
    if found is not None:
        plan = QUICK_WEIGHTS if experiment.is_quick else FULL_WEIGHTS
        pictures, start = _from_weights(experiment, plan, model, found)
    else:
        plan = QUICK_HALVES if experiment.is_quick else FULL_HALVES
        pictures, start = _from_half(experiment, plan)

    pictures = dataclasses.replace(pictures, val=pictures.val[:: plan.val_step])
    num_shown = max(len(pictures.train), plan.least_shown)
    budget = TrainingBudget(epochs=plan.epochs, learning_rates=RATES, batch_size=plan.batch_size)
    sizes = sizes_of(pictures, plan.sizes)
    arms: dict[str, list[Arm]] = {name: [] for name in STRATEGIES}
    for size in sizes:
        for name, strategy in STRATEGIES.items():
            arm = experiment.arm(
                f"{name}, {size} a class",
                start.scratch if strategy == "none" else start.transferred,
                partial(shown_as_often, pictures, size, num_shown=num_shown),
                budget,
                learning=partial(learning_parts, strategy=strategy, folded_norms=start.folded_norms),
            )
            arms[name].append(arm)
    _report(experiment, sizes, arms)


def _wanted_weights(experiment: Experiment) -> tuple[str, str]:
    """The network and the weights that the user gave, or packaged ones for colour pictures; "" for no weights."""
    if experiment.settings.pretrained:
        return experiment.settings.pretrained
    model, name = PACKAGED
    is_packaged = any(published.name == name for published in model_card(model).weights)
    return (model, name) if is_packaged and not experiment.is_digits else (model, "")


def _knows(weights: Weights, data: str) -> bool:
    """Whether the weights have these classes, so they may have seen the pictures that are held back here."""
    return weights.classes is not None and set(weights.classes) == set(load_source(data).classes)


def _from_weights(experiment: Experiment, plan: TransferPlan, model: str, weights: Weights) -> tuple[PictureSet, Start]:
    prepare = weights.preprocessing or model_card(model).preprocessing
    side = min(prepare.size, IN_MEMORY_SIDE) if experiment.is_quick else prepare.size
    pictures = experiment.pictures(side=side, mode=prepare.mode, **plan.options)
    preprocessing = dataclasses.replace(pictures.preprocessing, mean=prepare.mean, std=prepare.std)
    pictures = dataclasses.replace(pictures, preprocessing=preprocessing)
    options = dict(weights.options) | {"num_classes": pictures.num_classes, "in_channels": prepare.channels}
    scratch = partial(create_model, model, **options)

    def transferred() -> Network:
        network = scratch()
        load_into(network, weights, replace_head=True)
        return network

    experiment.note(f"Start: {model} with the weights {weights.source}, on {side}x{side} pixels.")
    if side != prepare.size:
        experiment.note(f"The weights were made for {prepare.size}x{prepare.size} pixels, which --full uses.")
    return pictures, Start(scratch, transferred, weights.folded_norms)


def _from_half(experiment: Experiment, plan: TransferPlan) -> tuple[PictureSet, Start]:
    """A network trained on the first half of the classes, and the pictures of the other half."""
    every = experiment.pictures(side=16 if experiment.is_digits else 32, **plan.options)
    if every.num_classes < FEWEST_CLASSES:
        raise DataError(
            f"{every.source.name} has {every.num_classes} classes, expected at least {FEWEST_CLASSES}: half of them "
            "train the network to start from; or give a trained network with --model and --weights"
        )
    half = every.num_classes // 2
    first, second = tuple(range(half)), tuple(range(half, every.num_classes))
    options: dict[str, Any] = {"side": every.preprocessing.size, **plan.options}
    source, target = experiment.pictures(classes=first, **options), experiment.pictures(classes=second, **options)
    depth = 1 if experiment.is_quick else 3  # 8 layers, or 20

    def build(num_classes: int) -> CifarResNet:
        return CifarResNet(Variant(basic, depth), num_classes=num_classes, in_channels=target.in_channels)

    budget = TrainingBudget(epochs=plan.source_epochs, learning_rates=RATES[2:], batch_size=plan.batch_size)
    trained = experiment.arm(
        "source network", partial(build, half), source, budget, seeds=experiment.settings.seeds[:1]
    )
    state: dict[str, Tensor] = trained.trials[0].load_into(build(half)).state_dict()

    def transferred() -> Network:
        network = build(half)
        network.load_state_dict(state)
        network.reset_classifier(target.num_classes)
        return network

    known, new = ", ".join(source.source.classes), ", ".join(target.source.classes)
    experiment.note(
        f"Start: a residual network of {6 * depth + 2} layers, trained on the classes {known} (test error there "
        f"{100 * trained.error:.1f} %). The strategies train it on the classes {new}."
    )
    return target, Start(partial(build, target.num_classes), transferred, False)


def _report(experiment: Experiment, sizes: list[int], arms: Mapping[str, list[Arm]]) -> None:
    figure, axes = figures.canvas(width=10.5, columns=2)
    figures.curves(axes[0], {name: percents(of_size) for name, of_size in arms.items()}, x=sizes)
    size_axis(axes[0], sizes)
    axes[0].set_ylabel("test error in %")
    apart = {name: differences(of_size, arms["scratch"]) for name, of_size in arms.items() if name != "scratch"}
    draw_differences(axes[1], sizes, apart, first_colour=1)
    axes[1].set_ylabel("points of test error less scratch's")
    experiment.picture(
        "Test error against the number of pictures, and the difference to training from scratch",
        figure,
        "Left: a line for each strategy, its test error over the training pictures a class; the range of the seeds is "
        "shaded. Right: how far each strategy is from scratch at each number, with 95 % intervals.",
    )
    experiment.table(
        "Test error in %",
        ("pictures a class", *STRATEGIES, "fewest mistakes"),
        [
            (str(size), *(f"{100 * arms[name][place].error:.1f}" for name in STRATEGIES), _winners(arms, place))
            for place, size in enumerate(sizes)
        ],
        "Last column: the strategy with the fewest mistakes, and those that are not detectably worse.",
    )
    versus_head = differences(arms["everything"], arms["head"])
    experiment.table(
        "Paired differences in points of test error",
        ("pictures a class", *(f"{name} less scratch" for name in apart), "everything less head"),
        [
            (str(size), *(in_points(of_size[place]) for of_size in apart.values()), in_points(versus_head[place]))
            for place, size in enumerate(sizes)
        ],
        EACH_BY_ITSELF,
    )
    few, many = f"with {sizes[0]} pictures a class", f"with all {sizes[-1]} pictures a class"
    head, scratch, everything = arms["head"], arms["scratch"], arms["everything"]
    experiment.compare(
        f"{few}, a new head makes fewer mistakes than training from scratch", head[0], scratch[0], "lower"
    )
    experiment.compare(
        f"{few}, a new head makes fewer mistakes than fine-tuning everything", head[0], everything[0], "lower"
    )
    experiment.compare(
        f"{many}, fine-tuning everything makes fewer mistakes than a new head", everything[-1], head[-1], "lower"
    )
    experiment.compare(
        f"{many}, fine-tuning everything makes fewer mistakes than training from scratch", everything[-1], scratch[-1],
        "lower",
    )  # fmt: skip


def _winners(arms: Mapping[str, list[Arm]], place: int) -> str:
    """The best strategy at a number of pictures, then those that are not detectably worse."""
    ranked = sorted(arms, key=lambda name: arms[name][place].error)
    best = arms[ranked[0]][place]
    apart = {name: differences([arms[name][place]], [best])[0] for name in ranked[1:]}
    return ", ".join([ranked[0], *(name for name, found in apart.items() if not found.is_detectable)])


STUDY = Study(
    name="transfer",
    title="Transfer: what should learn, with how many pictures",
    question="Scratch, a new head, the last stage or everything: which strategy wins with how many pictures?",
    paper='Yosinski, Clune, Bengio, Lipson, "How transferable are features in deep neural networks?", NIPS 2014, '
    "https://arxiv.org/abs/1411.1792",
    claim="On halves of ImageNet's classes a network that starts from features of the other half ends better than one "
    "from random weights, also when all of it is fine-tuned (abstract; Figure 2); the highest layers, kept frozen, fit "
    "the new task worst.",
    paper_setup="ImageNet, halves of 500 classes with about 645,000 training pictures each, AlexNet's network",
    design="A network trained on half of the classes, or one with given weights, learns classes that are new to it "
    "by four strategies: from random weights; a new head with everything else frozen; the last stage as well; and "
    "all stages at rates that fall toward the stem (a tenth of the head's for the last stage, then half each). At "
    "each number of pictures all strategies see the same pictures, drawn again for each seed, for the same number of "
    "steps at all numbers, and validation chooses among the same learning rates. There are more validation pictures "
    "than training pictures at the smallest numbers, which helps all strategies more than practice would.",
    would_change="A start that has seen far more than the target has: on halves of the digits it has seen about as "
    "many pictures as the target, of few classes, so there is little to transfer. Classes further from those that the "
    "start knows: a new head loses first. Longer training or larger rates for the stages: with many pictures "
    "everything and scratch come closer. All seeds share one starting network; another one is another experiment.",
    run=run,
)
