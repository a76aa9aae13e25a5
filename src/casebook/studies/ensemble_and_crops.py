"""What do more networks and more views of each picture gain, and for how many multiplications?"""

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
from ..evaluation.views import Shown, predict_views
from ..models import create_model
from ..models.resnet import basic
from ..models.resnet_cifar import CifarResNet, Variant
from ..reports import figures
from .experiment import Lab, Study
from .few_pictures import in_points
from .trials import UNMIRRORED, Arm, Budget, PictureSet
from .verdict import Difference, Expected, paired_difference

ONE, CROPS, MANY_CROPS = "center", "10-crop", "144-crop"
WITH_MIRROR = (ONE, "flip", CROPS, MANY_CROPS)
NEXT_MEMBER = 10_000  # between the seeds of a group's members, so that no two groups share one


class Setting(NamedTuple):
    """How many networks, and how they are trained."""

    num_members: int  # of the largest ensemble
    budget: Budget
    options: Mapping[str, Any]  # of the pictures


QUICK = Setting(4, Budget(40, (0.3, 0.1), batch_size=32, tuning_epochs=15), {"most_per_class": 20})
FULL = Setting(7, Budget(100, (0.1,), batch_size=128), {"val_fraction": 0.1})


class Measured(NamedTuple):
    """One way to ask: how many networks, each with which protocol; what it costs and gets wrong."""

    group: str
    name: str
    num_networks: int
    num_views: int
    multiply_adds: int
    wrong: NDArray[np.bool_]  # (seeds, test pictures)

    @property
    def error(self) -> float:
        return float(self.wrong.mean())


def run(lab: Lab) -> None:
    setting = QUICK if lab.quick else FULL
    pictures = with_margin(lab, 16 if lab.is_digits else 32, setting.options)
    build = partial(network, lab.quick, num_classes=pictures.num_classes, in_channels=pictures.in_channels)
    groups = [[seed + NEXT_MEMBER * number for number in range(setting.num_members)] for seed in lab.seeds]
    arm = lab.arm("member", build, pictures, setting.budget, seeds=[seed for group in groups for seed in group])
    protocols, crops = protocols_for(may_mirror=lab.data not in UNMIRRORED)
    _report(lab, measure(lab, build(), arm, pictures, protocols, crops, setting.num_members), crops)


def with_margin(lab: Lab, side: int, options: Mapping[str, Any]) -> PictureSet:
    """The pictures at `side` pixels and a margin around that, of which AlexNet's windows are cut in training.

    So the crops of a test are of the size and scale that training has, and the centre alone is one of them, as in the
    papers.
    """
    pictures = lab.pictures(side=round(side * MARGIN), **options)
    whole = pictures.preprocessing
    policy = POLICIES["alexnet"].policy.changed({"pca": 0.0, "mirror": pictures.policy.mirror})
    lab.note(f"The network sees {side}x{side} pixels of each picture.")
    return dataclasses.replace(
        pictures, policy=policy,
        preprocessing=dataclasses.replace(whole, size=side, crop_fraction=side / whole.size),
    )  # fmt: skip


def network(quick: bool, *, num_classes: int, in_channels: int) -> nn.Module:
    """A residual network of 8 layers, or of 20."""
    if quick:
        return CifarResNet(Variant(basic, 1), num_classes=num_classes, in_channels=in_channels)
    return create_model("resnet20", num_classes=num_classes, in_channels=in_channels)


def protocols_for(*, may_mirror: bool) -> tuple[list[Protocol], Protocol]:
    """The papers' protocols, and their crops; where a mirror image is of no class, also crops without any, which are
    taken then."""
    found = [PROTOCOLS[name] for name in WITH_MIRROR]
    if may_mirror:
        return found, PROTOCOLS[CROPS]
    few, many = (dataclasses.replace(PROTOCOLS[name], mirror=False) for name in (CROPS, MANY_CROPS))
    few, many = (dataclasses.replace(protocol, name=f"{protocol.num_views}-crop") for protocol in (few, many))
    return [*found[:-1], few, many], few


def measure(
    lab: Lab, module: Any, arm: Arm, pictures: PictureSet, protocols: Sequence[Protocol], crops: Protocol,
    num_members: int,
) -> list[Measured]:  # fmt: skip
    """One network, ensembles of 2 and more, one network with each protocol, and all networks with the crops."""
    shown: dict[tuple[int, str], Shown] = {}
    for number, trained in enumerate(arm.runs):
        trained.load_into(module)
        is_first = number % num_members == 0
        for protocol in protocols if is_first else (PROTOCOLS[ONE], crops):
            shown[number, protocol.name] = predict_views(
                module, pictures.source, pictures.test, pictures.preprocessing, pictures.source.classes, protocol,
                device=lab.device, batch_size=256,
            )  # fmt: skip
        lab.say(f"member {number + 1} of {len(arm.runs)} asked")

    def asked(group: str, name: str, num_networks: int, protocol: Protocol) -> Measured:
        wrong: list[NDArray[np.bool_]] = []
        costs: list[Any] = []
        for first in range(0, len(arm.runs), num_members):
            members = [shown[first + number, protocol.name] for number in range(num_networks)]
            wrong.append(mistakes_of([member.predictions for member in members]))
            costs += [member.multiply_adds for member in members]
        assert None not in costs, "both networks here can be counted"
        cost = round(sum(costs) * num_members / len(arm.runs))
        return Measured(group, name, num_networks, num_networks * protocol.num_views, cost, np.stack(wrong))

    found = [
        asked("more networks", f"{number} network{'s' * (number > 1)}", number, PROTOCOLS[ONE])
        for number in range(1, num_members + 1)
    ]
    found += [asked("more views", protocol.name, 1, protocol) for protocol in protocols if protocol.name != ONE]
    return [*found, asked("both", f"{num_members} networks, {crops.name}", num_members, crops)]


def mistakes_of(members: Sequence[Predictions]) -> NDArray[np.bool_]:
    """(N,) which pictures the mean of the members' probabilities gets wrong."""
    mean = average(members)
    return mean.probabilities.argmax(1) != mean.labels


def _report(lab: Lab, found: Sequence[Measured], asked_crops: Protocol) -> None:
    one = found[0]
    figure, axes = figures.canvas(width=8.0, height=4.6)
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for way in found:
        between = way.group == one.group and 1 < way.num_networks < found[-1].num_networks
        label = str(way.num_networks) if between else way.name
        groups.setdefault(way.group, []).append((label, way.multiply_adds / one.multiply_adds, 100 * way.error))
    figures.points(axes, groups, joined=False)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"multiply-adds / those of one network and one view ({one.multiply_adds / 1e6:.2f} million)")
    axes.set_ylabel("test error in %")
    axes.margins(x=0.2)
    lab.picture(
        "Test error against multiply-adds",
        figures.svg(figure),
        "A point for each way to ask: ensembles of 1 and more networks, one network with several views of each "
        "picture, and all networks with several views.",
    )
    lab.table(
        "What it gains and costs",
        ("way", "networks", "views", "multiply-adds", "times", "test error in %", "less one network in points"),
        [
            (
                way.name, way.num_networks, way.num_views, way.multiply_adds,
                f"{way.multiply_adds / one.multiply_adds:.1f}", f"{100 * way.error:.2f}",
                "" if way is one else in_points(paired_difference(way.wrong, one.wrong)),
            )
            for way in found
        ],
        "Multiply-adds for one picture, all networks and views together; views that are the same box count once, "
        "as the three squares of a square picture are. Differences are paired over groups of seeds and pictures, "
        "with 95 % intervals; * marks those without zero.",
    )  # fmt: skip

    by_name = {way.name: way for way in found}
    ensemble = max((way for way in found if way.group == "more networks"), key=lambda way: way.num_networks)
    crops, both = by_name[asked_crops.name], found[-1]
    _compare(lab, f"an ensemble of {ensemble.num_networks} networks makes fewer mistakes than one", ensemble, one)
    _compare(lab, f"one network makes fewer mistakes with {crops.num_views} crops than with one", crops, one)
    _compare(
        lab,
        f"{ensemble.num_networks} networks with one view make fewer mistakes than one network with {crops.num_views} "
        f"crops ({ensemble.multiply_adds / one.multiply_adds:.0f} against "
        f"{crops.multiply_adds / one.multiply_adds:.0f} times the multiply-adds)",
        ensemble, crops,
    )  # fmt: skip
    _compare(lab, "crops still help where there is an ensemble already", both, ensemble)
    _compare(lab, "the mirror image as a second view makes for fewer mistakes", by_name["flip"], one)


def _compare(lab: Lab, claim: str, way: Measured, reference: Measured, expected: Expected = "lower") -> Difference:
    found = paired_difference(way.wrong, reference.wrong)
    lab.verdict(
        claim,
        found.outcome(expected),
        f"test error of {way.name} less that of {reference.name}: {found.text()}",
        difference=found.difference,
        interval=(found.low, found.high),
        unit="share of test pictures",
    )
    return found


STUDY = Study(
    name="ensemble-and-crops",
    title="Ensembles and crops: gain against cost",
    question="What do more networks and more views of each picture gain, and for how many multiplications?",
    paper='Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 7 and Table 3, '
    "https://arxiv.org/abs/1409.4842",
    claim="Top-5 error on the ILSVRC 2014 validation set (Table 3): one network with one crop 10.07 %, with 10 "
    "crops 9.15 %, with 144 crops 7.89 %; seven networks with one crop 8.09 %, with 10 crops 7.62 %, with 144 "
    "crops 6.67 %.",
    design="Networks that differ in their seed alone: starting weights and the order of the same pictures. Each "
    "seed of the study has a group of its own members, and no member is in two groups, so the groups are "
    "independent. The mean of the probabilities decides, of several networks, of several views, and of both. Every "
    "way to ask is tested on the same pictures; multiply-adds are counted at the sizes that were run.",
    would_change="Members that see different pictures or are built differently make different mistakes, and gain "
    "more. Crops gain where objects are not in the middle; digits are. Mirror images help where the mirror image "
    "is of the same class and was seen in training.",
    run=run,
)
