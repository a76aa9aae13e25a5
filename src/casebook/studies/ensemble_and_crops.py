"""What do more networks and more views of each picture gain, and how many multiplications do they cost?"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..augmentation.policy import POLICIES
from ..evaluation.ensemble import average
from ..evaluation.predictions import Predictions
from ..evaluation.protocols import MARGIN, PROTOCOLS, Protocol
from ..evaluation.views import Shown
from ..models import create_model
from ..models.residual_parts import basic
from ..models.resnet_cifar import CifarResNet, Variant
from ..reports import figures
from .experiment import Experiment, Study
from .few_pictures import in_points
from .pictures import UNMIRRORED, PictureSet
from .trials import Arm, TrainingBudget, predict_with_protocol
from .verdict import paired_difference

ONE, CROPS, MANY_CROPS = "center", "10-crop", "144-crop"
WITH_MIRROR = (ONE, "flip", CROPS, MANY_CROPS)
NEXT_MEMBER = 10_000  # between the seeds of a group's members, so no two groups share a member

Answers = dict[tuple[int, str], Shown]  # by the member's number and the protocol's name


class EnsemblePlan(NamedTuple):
    """How many networks, and how they are trained."""

    num_members: int  # of the largest ensemble
    budget: TrainingBudget
    options: Mapping[str, Any]  # `PictureSettings`


QUICK = EnsemblePlan(4, TrainingBudget(40, (0.3, 0.1), batch_size=32, tuning_epochs=15), {"most_per_class": 20})
FULL = EnsemblePlan(7, TrainingBudget(100, (0.1,), batch_size=128), {"val_fraction": 0.1})


class Method(NamedTuple):
    """A method to answer: so many networks, each with one protocol; its cost and its mistakes."""

    group: str
    name: str
    num_networks: int
    num_views: int
    multiply_adds: int
    wrong: NDArray[np.bool_]  # (seeds, test pictures)
    chance: float

    @property
    def error(self) -> float:
        return float(self.wrong.mean())


def run(experiment: Experiment) -> None:
    plan = QUICK if experiment.is_quick else FULL
    pictures = with_margin(experiment, 16 if experiment.is_digits else 32, plan.options)
    build = partial(network, experiment.is_quick, num_classes=pictures.num_classes, in_channels=pictures.in_channels)
    groups = [[seed + NEXT_MEMBER * n for n in range(plan.num_members)] for seed in experiment.settings.seeds]
    members = [seed for group in groups for seed in group]
    arm = experiment.arm("member", build, pictures, plan.budget, seeds=members)
    protocols = protocols_for(may_mirror=experiment.data not in UNMIRRORED)
    answers = ask(experiment, arm, build(), pictures, protocols, plan.num_members)
    _report(experiment, methods(arm, answers, protocols, plan.num_members), protocols.crops)


def with_margin(experiment: Experiment, side: int, options: Mapping[str, Any]) -> PictureSet:
    """The pictures at `side` pixels plus a margin, from which training cuts AlexNet's windows.

    So the test crops have the size and scale of those in training, and the centre is one of them, as in the papers.
    """
    pictures = experiment.pictures(side=round(side * MARGIN), **options)
    whole = pictures.preprocessing
    policy = POLICIES["alexnet"].policy.changed({"pca": 0.0, "mirror": pictures.policy.mirror})
    experiment.note(f"The network sees {side}x{side} pixels of each picture.")
    return dataclasses.replace(
        pictures, policy=policy,
        preprocessing=dataclasses.replace(whole, size=side, crop_fraction=side / whole.size),
    )  # fmt: skip


def network(quick: bool, *, num_classes: int, in_channels: int) -> nn.Module:
    """A residual network of 8 layers, or of 20."""
    if quick:
        return CifarResNet(Variant(basic, 1), num_classes=num_classes, in_channels=in_channels)
    return create_model("resnet20", num_classes=num_classes, in_channels=in_channels)


class Protocols(NamedTuple):
    every: list[Protocol]
    crops: Protocol  # the one that ensembles use as well


def protocols_for(*, may_mirror: bool) -> Protocols:
    """The papers' protocols; where a mirror image changes the class, also crops without mirror images."""
    found = [PROTOCOLS[name] for name in WITH_MIRROR]
    if may_mirror:
        return Protocols(found, PROTOCOLS[CROPS])
    few, many = (dataclasses.replace(PROTOCOLS[name], mirror=False) for name in (CROPS, MANY_CROPS))
    few, many = (dataclasses.replace(protocol, name=f"{protocol.num_views}-crop") for protocol in (few, many))
    return Protocols([*found[:-1], few, many], few)


def ask(
    experiment: Experiment, arm: Arm, module: Any, pictures: PictureSet, protocols: Protocols, num_members: int
) -> Answers:
    """The answers by the member's number and the protocol. Only the first member of each group uses every protocol;
    ensembles need no more than one view and the crops."""
    answers: Answers = {}
    for number, trial in enumerate(arm.trials):
        trial.load_into(module)
        is_first = number % num_members == 0
        for protocol in protocols.every if is_first else (PROTOCOLS[ONE], protocols.crops):
            answers[number, protocol.name] = predict_with_protocol(module, pictures, protocol, experiment.device)
        experiment.say(f"predicted with member {number + 1} of {len(arm.trials)}")
    return answers


def methods(arm: Arm, answers: Answers, protocols: Protocols, num_members: int) -> list[Method]:
    """One network, ensembles of 2 and more, one network with each protocol, and all networks with the crops."""

    def method(group: str, name: str, num_networks: int, protocol: Protocol) -> Method:
        wrong: list[NDArray[np.bool_]] = []
        costs: list[Any] = []
        for first in range(0, len(arm.trials), num_members):
            members = [answers[first + number, protocol.name] for number in range(num_networks)]
            wrong.append(mistakes_of([member.predictions for member in members]))
            costs += [member.multiply_adds for member in members]
        assert None not in costs, "both networks here can be counted"
        cost = round(sum(costs) * num_members / len(arm.trials))
        num_views = num_networks * protocol.num_views
        return Method(group, name, num_networks, num_views, cost, np.stack(wrong), arm.chance)

    found = [
        method("more networks", f"{number} network{'s' * (number > 1)}", number, PROTOCOLS[ONE])
        for number in range(1, num_members + 1)
    ]
    found += [method("more views", protocol.name, 1, protocol) for protocol in protocols.every if protocol.name != ONE]
    return [*found, method("both", f"{num_members} networks, {protocols.crops.name}", num_members, protocols.crops)]


def mistakes_of(members: Sequence[Predictions]) -> NDArray[np.bool_]:
    """(N,) which pictures the mean of the members' probabilities gets wrong."""
    mean = average(members)
    return mean.probabilities.argmax(1) != mean.labels


def _report(experiment: Experiment, found: Sequence[Method], crops_protocol: Protocol) -> None:
    one = found[0]
    figure, axes = figures.canvas(width=8.0, height=4.6)
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for method in found:
        between = method.group == one.group and 1 < method.num_networks < found[-1].num_networks
        label = str(method.num_networks) if between else method.name
        groups.setdefault(method.group, []).append(
            (label, method.multiply_adds / one.multiply_adds, 100 * method.error)
        )
    figures.points(axes, groups, joined=False)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"multiply-adds / those of one network and one view ({one.multiply_adds / 1e6:.2f} million)")
    axes.set_ylabel("test error in %")
    axes.margins(x=0.2)
    experiment.picture(
        "Test error against multiply-adds",
        figure,
        "A point for each method: ensembles of 1 and more networks, one network with several views of each picture, "
        "and all networks with several views.",
    )
    experiment.table(
        "What each method gains and costs",
        ("method", "networks", "views", "multiply-adds", "times", "test error in %", "less one network in points"),
        [
            (
                method.name, method.num_networks, method.num_views, method.multiply_adds,
                f"{method.multiply_adds / one.multiply_adds:.1f}", f"{100 * method.error:.2f}",
                "" if method is one else in_points(paired_difference(method.wrong, one.wrong)),
            )
            for method in found
        ],
        "Multiply-adds for one picture, over all networks and views; equal views count once, such as the three squares "
        "of a square picture. Differences are paired over groups of seeds and pictures, with 95 % intervals; * marks "
        "those that exclude zero.",
    )  # fmt: skip

    by_name = {method.name: method for method in found}
    ensemble = max(
        (method for method in found if method.group == "more networks"), key=lambda method: method.num_networks
    )
    crops, both = by_name[crops_protocol.name], found[-1]
    comparisons = (
        (f"an ensemble of {ensemble.num_networks} networks makes fewer mistakes than one", ensemble, one),
        (f"one network makes fewer mistakes with {crops.num_views} crops than with one", crops, one),
        (
            f"{ensemble.num_networks} networks with one view make fewer mistakes than one network with "
            f"{crops.num_views} crops ({ensemble.multiply_adds / one.multiply_adds:.0f} against "
            f"{crops.multiply_adds / one.multiply_adds:.0f} times the multiply-adds)",
            ensemble,
            crops,
        ),
        ("crops still help an ensemble", both, ensemble),
        ("the mirror image as a second view gives fewer mistakes", by_name["flip"], one),
    )
    for claim, method, reference in comparisons:
        experiment.compare(claim, method, reference, "lower")


STUDY = Study(
    name="ensemble-and-crops",
    title="Ensembles and crops: gain against cost",
    question="What do more networks and more views of each picture gain, and how many multiplications do they cost?",
    paper='Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 7 and Table 3, '
    "https://arxiv.org/abs/1409.4842",
    claim="Top-5 error on the ILSVRC 2014 validation set (Table 3): one network with one crop 10.07 %, with 10 "
    "crops 9.15 %, with 144 crops 7.89 %; seven networks with one crop 8.09 %, with 10 crops 7.62 %, with 144 "
    "crops 6.67 %.",
    paper_setup="ImageNet, 1.2 million training and 50,000 validation pictures, seven networks",
    design="Networks that differ only in their seed: initial weights and the order of the same pictures. Each seed of "
    "the study has a group of members of its own, so the groups are independent. The mean of the probabilities "
    "decides, over several networks, over several views, and over both. All methods are tested on the same pictures; "
    "multiply-adds are counted at the sizes that were run.",
    would_change="Members that see different pictures or have different architectures make different mistakes, and "
    "gain more. Crops gain where objects are off the centre; digits are not. Mirror images help where they keep the "
    "class and were seen in training.",
    run=run,
)
