"""DenseNet.

The paper's ImageNet errors are from Table 3 and its CIFAR figures from Table 2; the error of DenseNet-161 is from the
authors' README (liuzhuang13/DenseNet). Accuracies of published weights are from torchvision 0.28 and from timm's
results file.
"""

from ..card import Departure, Figure, ModelCard, Paper, PublishedWeights
from .published import errors, of_torchvision, on_hub
from .resnet_cifar import PREPARE as CIFAR_PREPARE

PAPER = Paper(
    title="Densely Connected Convolutional Networks",
    authors="G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger",
    year=2016,
    venue="CVPR 2017",
    link="https://arxiv.org/abs/1608.06993",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
RA_PREPARE = PREPARE | {"size": 288, "crop_fraction": 0.95, "interpolation": "bicubic"}

LAST_NORM = Departure(
    "last norm",
    "pooling follows the last dense block directly",
    "batch norm and ReLU before the pooling",
    "as the authors' code and public weights",
)


def table3(crops: str, top1: float, top5: float) -> tuple[Figure, ...]:
    return errors(crops, top1, top5, "Table 3")


def torchvision(name: str, top1: float, top5: float) -> PublishedWeights:
    source = "the authors' weights as torchvision has them; timm's copy"
    return of_torchvision(name, source, top1, top5, prepare=PREPARE, licence="Apache-2.0")


RA_IN1K = on_hub("densenet121.ra_in1k", "timm, RandAugment", 0.76486, 0.93378, prepare=RA_PREPARE)


def card(name: str, parameters: int, multiply_adds: int, *published: Figure, weights=()) -> ModelCard:
    return ModelCard(
        name=name,
        family="densenet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=(LAST_NORM,),
        weights=weights,
        options=("small_stem", "dropout"),
        smallest_input=61,
    )


CARDS = {
    "densenet121": card(
        "densenet121",
        7_978_856,
        2_834_161_664,
        *table3("1 crop", 25.02, 7.71),
        *table3("10 crops", 23.61, 6.66),
        weights=(torchvision("densenet121", 0.74434, 0.91972), RA_IN1K),
    ),
    "densenet169": card(
        "densenet169",
        14_149_480,
        3_359_843_328,
        *table3("1 crop", 23.80, 6.85),
        *table3("10 crops", 22.08, 5.92),
        weights=(torchvision("densenet169", 0.75600, 0.92806),),
    ),
    "densenet201": card(
        "densenet201",
        20_013_928,
        4_291_365_888,
        Figure("parameters", 20e6, "count", "rounded", "section 4.4"),
        *table3("1 crop", 22.58, 6.34),
        *table3("10 crops", 21.46, 5.54),
        weights=(torchvision("densenet201", 0.76896, 0.93370),),
    ),
    "densenet161": card(
        "densenet161",
        28_681_000,
        7_727_907_072,
        *errors("1 crop", 22.2, None, "the authors' README, liuzhuang13/DenseNet"),
        weights=(torchvision("densenet161", 0.77138, 0.93560),),
    ),
    "densenet264": card(
        "densenet264",
        33_337_704,
        5_751_653_376,
        *table3("1 crop", 22.15, 6.12),
        *table3("10 crops", 20.80, 5.29),
    ),
    "densenet_bc_100_12": ModelCard(
        name="densenet_bc_100_12",
        family="densenet",
        paper=PAPER,
        parameters=769_162,
        multiply_adds=287_929_692,
        prepare=CIFAR_PREPARE,
        published=(
            Figure("parameters", 0.8e6, "count", "rounded", "Table 2"),
            Figure("test_error", 5.92, "%", "CIFAR-10 test, trained without augmentation, dropout 0.2", "Table 2"),
            Figure("test_error", 4.51, "%", "CIFAR-10 test, trained with shifts and mirroring", "Table 2"),
            Figure("test_error", 24.15, "%", "CIFAR-100 test, trained without augmentation, dropout 0.2", "Table 2"),
            Figure("test_error", 22.27, "%", "CIFAR-100 test, trained with shifts and mirroring", "Table 2"),
        ),
        departures=(LAST_NORM,),
        options=("dropout",),
        input_size=32,
        num_classes=10,
        smallest_input=8,
    ),
}
