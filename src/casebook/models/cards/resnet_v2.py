"""ResNet v2 on ImageNet.

The paper's errors are those of its Table 5. Accuracies of published weights are those of timm's results file, commit
aa4b5850.
"""

from ..card import Departure, ModelCard, Paper, PublishedWeights
from .published import errors, on_hub

PAPER = Paper(
    title="Identity Mappings in Deep Residual Networks",
    authors="K. He, X. Zhang, S. Ren, J. Sun",
    year=2016,
    venue="ECCV 2016",
    link="https://arxiv.org/abs/1603.05027",
)
PREPARE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}

FIRST = Departure(
    "first activation",
    "directly after the first convolution, for both shortcut and branch",
    "after the pooling, inside the first block, for its branch and projection",
    "the public weights do so",
)
STRIDE = Departure(
    "bottleneck stride", "in the first 1x1 convolution", "in the 3x3 convolution", "the public weights do so"
)
KERAS = (
    FIRST,
    Departure(
        "strided block",
        "the first of a stage, in its first 1x1 convolution",
        "the last of each stage except the last stage, in its 3x3 convolution; the shortcut takes every other pixel",
        "the weights of Keras Applications do so",
    ),
    Departure(
        "biases",
        "none in convolutions",
        "in the first convolution, in the last of each branch, and in projections",
        "the weights of Keras Applications do so",
    ),
    Departure("pooling", "not stated", "pads with zeros", "the weights of Keras Applications do so"),
    Departure(
        "norms",
        "not stated",
        "epsilon 1.001e-5, keeps 0.99 of the old statistics",
        "the weights of Keras Applications do so",
    ),
)


def depth(layers: int) -> Departure:
    return Departure("depth", "152 and 200 layers on ImageNet", f"{layers} layers", "the public weights do so")


def timm(repository: str, recipe: str, top1: float, top5: float) -> PublishedWeights:
    return on_hub(repository, recipe, top1, top5, prepare=PREPARE | {"size": 288, "crop_fraction": 1.0})


def card(name: str, parameters: int, multiply_adds: int, *departures: Departure, published=(), weights=()) -> ModelCard:
    return ModelCard(
        name=name,
        family="resnet_v2",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=departures,
        weights=weights,
        options=("small_stem",),
    )


RA4 = "timm, RandAugment, 3600 epochs"
A1H = 'timm, after recipe A1 of "ResNet strikes back", https://arxiv.org/abs/2110.00476'
RESNET152 = errors("1 crop of 320x320", 21.1, 5.5, "Table 5")
CARDS = {
    "resnet18_v2": card(
        "resnet18_v2",
        11_687_720,
        1_814_073_344,
        FIRST,
        depth(18),
        weights=(timm("resnetv2_18.ra4_e3600_r224_in1k", RA4, 0.75364, 0.92692),),
    ),
    "resnet34_v2": card(
        "resnet34_v2",
        21_795_880,
        3_663_761_408,
        FIRST,
        depth(34),
        weights=(timm("resnetv2_34.ra4_e3600_r224_in1k", RA4, 0.79070, 0.94560),),
    ),
    "resnet50_v2": card(
        "resnet50_v2",
        25_549_352,
        4_089_184_256,
        FIRST,
        STRIDE,
        depth(50),
        weights=(timm("resnetv2_50.a1h_in1k", A1H, 0.81406, 0.95712),),
    ),
    "resnet101_v2": card(
        "resnet101_v2",
        44_541_480,
        7_801_405_440,
        FIRST,
        STRIDE,
        depth(101),
        weights=(timm("resnetv2_101.a1h_in1k", A1H, 0.83002, 0.96444),),
    ),
    "resnet152_v2": card("resnet152_v2", 60_185_128, 11_513_626_624, FIRST, STRIDE, published=RESNET152),
    "resnet50_v2_keras": card("resnet50_v2_keras", 25_568_360, 3_482_255_360, *KERAS, depth(50)),
    "resnet101_v2_keras": card("resnet101_v2_keras", 44_577_896, 7_194_476_544, *KERAS, depth(101)),
    "resnet152_v2_keras": card("resnet152_v2_keras", 60_236_904, 10_906_697_728, *KERAS, published=RESNET152),
}
