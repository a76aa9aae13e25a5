"""What is each kind of augmentation worth, alone and with the others, against the number of pictures?"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from ..augmentation.policy import POLICIES, Policy
from ..models import create_model
from ..models.layers import ConvNormReLU, Head, Network, initialise_convolutions
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
from .pictures import UNMIRRORED, PictureSet
from .trials import Arm, TrainingBudget

NOTHING, TOGETHER, MIRRORED = "nothing", "all together", "mirrored"
GEOMETRY: dict[str, dict[str, Any]] = {
    "turned": {"rotate": 15},
    "resized": {"scale": (0.8, 1.25)},
    "sheared": {"shear": 10},
    "warped": {"warp": 0.04},
}
LIGHT: dict[str, dict[str, Any]] = {
    "light": {"brightness": 0.4, "contrast": 0.4},
    "noise": {"noise": 16},
    "blurred": {"blur": (0.1, 1.5), "blur_probability": 0.5},
}
COLOUR: dict[str, dict[str, Any]] = {"hue": {"hue": 15, "saturation": 0.4}, "principal colours": {"pca": 0.1}}
REGIONS: dict[str, dict[str, Any]] = {"erased": {"erase": 0.5}}
MIXED: dict[str, dict[str, Any]] = {"mixup": {"mixup": 0.2}, "cutmix": {"cutmix": 1.0}}


class AugmentationPlan(NamedTuple):
    """How long to train, and with how many pictures a class."""

    sizes: tuple[int, ...]  # pictures a class, besides all there are
    epochs: int
    batch_size: int
    options: Mapping[str, Any]  # `PictureSettings`
    learning_rate: float
    longer: int  # times the epochs, for NOTHING and TOGETHER with the fewest pictures


QUICK = AugmentationPlan((5, 20), 12, 32, {"most_test_per_class": 100}, 0.4, 3)
FULL = AugmentationPlan((50, 250, 1000), 100, 128, {"val_fraction": 0.1}, 0.1, 3)


def run(experiment: Experiment) -> None:
    plan = QUICK if experiment.is_quick else FULL
    side = 16 if experiment.is_digits else 32
    pictures = experiment.pictures(side=side, **plan.options)
    may_mirror = experiment.data not in UNMIRRORED
    policies = policies_of(side, in_colour=pictures.in_channels == 3, may_mirror=may_mirror)
    if not may_mirror:
        experiment.note(
            f"The mirror image of a digit is another sign, so {TOGETHER!r} has no mirror images. {MIRRORED!r} shows "
            "what they do."
        )
    budget = TrainingBudget(epochs=plan.epochs, learning_rates=(plan.learning_rate,), batch_size=plan.batch_size)
    longer = dataclasses.replace(budget, epochs=plan.longer * plan.epochs)
    network = SmallNet if experiment.is_quick else partial(create_model, "resnet20")
    build = partial(network, num_classes=pictures.num_classes, in_channels=pictures.in_channels)
    sizes, num_shown = sizes_of(pictures, plan.sizes), len(pictures.train)

    def trained(name: str, size: int, budget: TrainingBudget, suffix: str = "") -> Arm:
        def augmented(seed: int) -> PictureSet:
            fewer = shown_as_often(pictures, size, seed, num_shown=num_shown)
            return dataclasses.replace(fewer, policy=policies[name])

        return experiment.arm(f"{name}, {size} a class{suffix}", build, augmented, budget)

    arms: dict[str, list[Arm]] = {name: [] for name in policies}
    for size in sizes:
        for name in policies:
            arms[name].append(trained(name, size, budget))
    _report(experiment, sizes, arms, may_mirror)
    few = {name: trained(name, sizes[0], longer, ", longer") for name in (NOTHING, TOGETHER)}
    _report_longer(experiment, sizes[0], {plan.epochs: {name: arms[name][0] for name in few}, longer.epochs: few})


class SmallNet(Network):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): three convolutions."""

    def __init__(self, *, num_classes: int, in_channels: int):
        super().__init__(in_channels=in_channels, smallest_input=5)
        self.stem = ConvNormReLU(in_channels, 16, 3)
        self.stages = nn.Sequential(ConvNormReLU(16, 32, 3, stride=2), ConvNormReLU(32, 64, 3, stride=2))
        self.head = Head(64, num_classes)
        initialise_convolutions(self.modules())


def policies_of(side: int, *, in_colour: bool, may_mirror: bool) -> dict[str, Policy]:
    """Nothing, each operation alone, and all of them together, with mirror images only where they keep the class."""
    moved = {"crop": "padded", "padding": max(1, side // 8), "border": "fill"}
    operations = {"moved": moved} | GEOMETRY | LIGHT | (COLOUR if in_colour else {}) | REGIONS | MIXED
    mirror = {MIRRORED: {"mirror": 0.5}}
    if may_mirror:
        operations = mirror | operations
    everything = {name: value for changes in operations.values() for name, value in changes.items()}
    found = {NOTHING: {}} | operations | {TOGETHER: everything | {"mix_probability": 0.5}}
    if not may_mirror:
        found |= mirror
    return {name: POLICIES["none"].policy.changed(changes) for name, changes in found.items()}


def _report(experiment: Experiment, sizes: list[int], arms: Mapping[str, list[Arm]], may_mirror: bool) -> None:
    alone = [name for name in arms if name not in (NOTHING, TOGETHER) and (may_mirror or name != MIRRORED)]
    best = min(alone, key=lambda name: sum(arm.error for arm in arms[name]))
    apart = {name: differences(of_size, arms[NOTHING]) for name, of_size in arms.items() if name != NOTHING}

    figure, axes = figures.canvas(width=11.0, height=4.6, columns=2, width_ratios=(2, 3))
    shown = [NOTHING, best, TOGETHER, *([] if may_mirror else [MIRRORED])]
    figures.curves(axes[0], {name: percents(arms[name]) for name in shown}, x=sizes)
    size_axis(axes[0], sizes)
    axes[0].set_ylabel("test error in %")
    of_operation = {str(size): [of_size[place] for of_size in apart.values()] for place, size in enumerate(sizes)}
    draw_differences(axes[1], range(len(apart)), of_operation)
    axes[1].set_xticks(range(len(apart)), list(apart), rotation=40, ha="right", fontsize=8)
    axes[1].set_xlabel("")
    axes[1].set_ylabel("points of test error less nothing's")
    axes[1].legend(fontsize=8, frameon=False, title="pictures a class", title_fontsize=8, loc="upper left")
    experiment.picture(
        "Augmentation against the number of pictures",
        figure,
        f"Left: test error over the training pictures a class with nothing, with {best}, the best single operation "
        "over all numbers, and with all together. Right: for each operation the difference to nothing at each number "
        "of pictures, with 95 % intervals.",
    )
    experiment.table(
        "Test error in %",
        ("augmentation", *(f"{size} a class" for size in sizes)),
        [(name, *(f"{100 * arm.error:.1f}" for arm in of_size)) for name, of_size in arms.items()],
    )
    experiment.table(
        "Paired differences to no augmentation in points of test error",
        ("augmentation", *(f"{size} a class" for size in sizes)),
        [(name, *map(in_points, of_size)) for name, of_size in apart.items()],
        EACH_BY_ITSELF,
    )
    for place, size in enumerate(sizes):
        experiment.compare(
            f"with {size} pictures a class, all together makes fewer mistakes than no augmentation",
            arms[TOGETHER][place], arms[NOTHING][place], "lower",
        )  # fmt: skip
    experiment.compare(
        f"with {sizes[0]} pictures a class, all together makes fewer mistakes than {best} alone",
        arms[TOGETHER][0], arms[best][0], "lower",
    )  # fmt: skip
    if not may_mirror:
        experiment.compare(
            f"mirror images help digits as they help photographs, with all {sizes[-1]} pictures a class",
            arms[MIRRORED][-1], arms[NOTHING][-1], "lower",
        )  # fmt: skip


def _report_longer(experiment: Experiment, size: int, arms: Mapping[int, Mapping[str, Arm]]) -> None:
    """`arms` by the number of epochs and the augmentation."""
    shorter, longer = arms
    experiment.table(
        f"Test error in % after longer training, with {size} pictures a class",
        ("augmentation", *(f"{epochs} epochs" for epochs in arms), "longer less shorter in points"),
        [
            (
                name,
                *(f"{100 * of_length[name].error:.1f}" for of_length in arms.values()),
                in_points(differences([arms[longer][name]], [arms[shorter][name]])[0]),
            )
            for name in (NOTHING, TOGETHER)
        ],
        "An epoch shows as many pictures as there are in all, so it repeats the few.",
    )
    experiment.compare(
        f"with {size} pictures a class and {longer // shorter} times the steps, all together makes fewer "
        "mistakes than no augmentation",
        arms[longer][TOGETHER], arms[longer][NOTHING], "lower",
    )  # fmt: skip
    experiment.compare(
        f"with all together and {size} pictures a class, {longer // shorter} times the steps give fewer mistakes",
        arms[longer][TOGETHER], arms[shorter][TOGETHER], "lower",
    )  # fmt: skip


STUDY = Study(
    name="augmentation",
    title="Augmentation: each operation alone and all together",
    question="What is each kind of augmentation worth, alone and with the others, against the number of pictures?",
    paper='Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", '
    "NIPS 2012, section 4.1",
    claim="Without moved and mirrored pictures the network overfits so much that a much smaller one would have been "
    "needed (section 4.1). Later papers add erasing (Zhong et al., AAAI 2020), mixup (Zhang et al., ICLR 2018) and "
    "cutmix (Yun et al., ICCV 2019).",
    paper_setup="ImageNet, 1.2 million training pictures of 224 pixels, 90 epochs, one network",
    design="One network, trained with nothing, with each operation alone and with all together, at each number of "
    "pictures. All arms see the same pictures, drawn again for each seed, for the same number of steps at all numbers, "
    "at one learning rate (the better of two in a pilot, for nothing and for all together). 'All together' has mirror "
    "images only where a mirror image keeps its class.",
    would_change="More steps: the strongest policies need the longest training, and gain most from it. Other "
    "strengths: each operation has one here, chosen beforehand. Pictures that vary as the operation does: "
    "scikit-learn's digits are centred and upright already, so moving and turning make them harder than the test ever "
    "is.",
    run=run,
)
