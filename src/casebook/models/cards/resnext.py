"""ResNeXt on ImageNet.

Accuracies of published weights are those of torchvision 0.28 and of timm's results file, commit aa4b5850.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, of_torchvision, on_hub
from .resnet import PREPARE, cost, timm_a1, torchvision

PAPER = Paper(
    title="Aggregated Residual Transformations for Deep Neural Networks",
    authors="S. Xie, R. Girshick, P. Dollar, Z. Tu, K. He",
    year=2016,
    venue="CVPR 2017",
    link="https://arxiv.org/abs/1611.05431",
)
REPOSITORY = "the authors' repository, facebookresearch/ResNeXt"
SE_PAPER = '"Squeeze-and-Excitation Networks", https://arxiv.org/abs/1709.01507'


def card(name: str, parameters: int, multiply_adds: int, **known) -> ModelCard:
    return ModelCard(
        name=name,
        family="resnext",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        options=("small_stem",),
        **known,
    )


def gflops(value: float) -> Figure:
    return Figure("multiply_adds", value, "count", "224x224, rounded", REPOSITORY)


GLUON = on_hub(
    "resnext101_32x4d.gluon_in1k",
    "GluonCV; timm's copy",
    0.80336,
    0.94908,
    prepare=PREPARE | {"interpolation": "bicubic"},
)
NEW_TORCHVISION = of_torchvision(
    "resnext101_64x4d",
    "torchvision's only training of this network, with its newer recipe; timm's copy",
    0.83246,
    0.96454,
    prepare=PREPARE | {"crop_fraction": 224 / 232},
)

CARDS = {
    "resnext50_32x4d": card(
        "resnext50_32x4d",
        25_028_904,
        4_230_479_872,
        published=(cost(4.2e9), *errors("1 crop", 22.2, None, REPOSITORY)),
        weights=(torchvision("resnext50_32x4d", 0.77618, 0.93698), timm_a1("resnext50_32x4d", 0.81480, 0.95152)),
    ),
    "resnext101_32x4d": card(
        "resnext101_32x4d",
        44_177_704,
        7_969_996_800,
        published=(
            Figure("parameters", 44e6, "count", "rounded", REPOSITORY),
            gflops(7.8e9),
            *errors("1 crop", 21.2, 5.6, f"{SE_PAPER}, Table 2"),
        ),
        weights=(GLUON,),
    ),
    "resnext101_32x8d": card(
        "resnext101_32x8d",
        88_791_336,
        16_414_015_488,
        departures=(
            Departure("groups", "32 of 4 or 64 of 4 channels", "32 of 8 channels", "the public weights do so"),
        ),
        weights=(torchvision("resnext101_32x8d", 0.79312, 0.94526),),
    ),
    "resnext101_64x4d": card(
        "resnext101_64x4d",
        83_455_272,
        15_460_270_080,
        published=(
            gflops(15.6e9),
            *errors("1 crop", 20.4, 5.3, f"{SE_PAPER}, Table 8"),
            *errors("1 crop of 320x320", 19.1, 4.4, f"{SE_PAPER}, Table 8"),
        ),
        weights=(NEW_TORCHVISION,),
    ),
}
