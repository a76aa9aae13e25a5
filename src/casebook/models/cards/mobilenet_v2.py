"""MobileNet v2.

The paper's figures are from Table 4, or else from the authors' README (tensorflow/models,
research/slim/nets/mobilenet). Accuracies of published weights are from timm's results file, commit aa4b5850.
"""

from ..card import Departure, Figure, ModelCard, Paper, PublishedWeights
from .published import errors, on_hub

PAPER = Paper(
    title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    authors="M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen",
    year=2018,
    venue="CVPR 2018",
    link="https://arxiv.org/abs/1801.04381",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
README = "the authors' README, tensorflow/models"

DEPARTURES = (
    Departure(
        "expansion 1", "a 1x1 expansion convolution in every block", "none where t = 1", "all public code does so"
    ),
    Departure("dropout", "not stated", "0.2 before the last layer", "torchvision does so"),
)


def timm(repository: str, source: str, top1: float, top5: float) -> PublishedWeights:
    return on_hub(repository, source, top1, top5, prepare=PREPARE | {"interpolation": "bicubic"})


def counts(parameters: float, multiply_adds: float, source: str) -> tuple[Figure, Figure]:
    return (
        Figure("parameters", parameters, "count", "rounded", source),
        Figure("multiply_adds", multiply_adds, "count", "224x224, rounded", source),
    )


def card(name: str, parameters: int, multiply_adds: int, *published: Figure, weights=()) -> ModelCard:
    return ModelCard(
        name=name,
        family="mobilenet_v2",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=DEPARTURES,
        weights=weights,
        options=("small_stem", "padding", "width", "depth"),
    )


CARDS = {
    "mobilenet_v2": card(
        "mobilenet_v2",
        3_504_872,
        300_774_272,
        *counts(3.4e6, 300e6, "Table 4"),
        *errors("1 crop", 28.0, None, "Table 4"),
        weights=(timm("mobilenetv2_100.ra_in1k", "timm, RandAugment", 0.72910, 0.91000),),
    ),
    "mobilenet_v2_035": card(
        "mobilenet_v2_035", 1_677_128, 59_285_808, *counts(1.66e6, 59e6, README), *errors("1 crop", 39.7, None, README)
    ),
    "mobilenet_v2_050": card(
        "mobilenet_v2_050",
        1_968_680,
        97_131_840,
        *counts(1.95e6, 97e6, README),
        *errors("1 crop", 34.6, None, README),
        weights=(timm("mobilenetv2_050.lamb_in1k", "timm, LAMB", 0.65928, 0.86114),),
    ),
    "mobilenet_v2_075": card(
        "mobilenet_v2_075",
        2_636_424,
        209_069_792,
        *counts(2.61e6, 209e6, README),
        *errors("1 crop", 30.2, None, README),
    ),
    "mobilenet_v2_130": card(
        "mobilenet_v2_130",
        5_386_792,
        509_374_560,
        *counts(5.34e6, 509e6, README),
        *errors("1 crop", 25.6, None, README),
    ),
    "mobilenet_v2_140": card(
        "mobilenet_v2_140",
        6_108_776,
        582_195_824,
        *counts(6.9e6, 585e6, "Table 4"),
        *counts(6.06e6, 582e6, README),
        *errors("1 crop", 25.3, None, "Table 4"),
        weights=(timm("mobilenetv2_140.ra_in1k", "timm, RandAugment", 0.76528, 0.93008),),
    ),
}
