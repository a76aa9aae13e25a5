"""Inception v2 and v3.

Errors are on the ImageNet validation set: v2's from section 4.2 of its paper, v3's from the abstract. Accuracies of
published weights are from timm's results file, commit aa4b5850. For weights from TensorFlow, timm measures with zeros
in v3's averages at the border, which TensorFlow leaves out (`padding="same"`).
"""

from ..card import Departure, Figure, ModelCard, Paper, PublishedWeights
from .published import errors, on_hub

PAPER_V2 = Paper(
    title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    authors="S. Ioffe, C. Szegedy",
    year=2015,
    venue="ICML 2015",
    link="https://arxiv.org/abs/1502.03167",
)
PAPER_V3 = Paper(
    title="Rethinking the Inception Architecture for Computer Vision",
    authors="C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna",
    year=2015,
    venue="CVPR 2016",
    link="https://arxiv.org/abs/1512.00567",
)
PREPARE_V2 = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PREPARE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
CODE = "the authors' code and all public weights do so"
CAFFE = "the public weights from Caffe do so"

DEPARTURES_V2 = (
    Departure("first convolution", "7x7 on each colour separately, 8 filters each, then 1x1", "an ordinary 7x7", CAFFE),
    Departure(
        "pooling of 4c and 4d",
        "128 filters after it, but 576 output channels, which leave 96 (Figure 5)",
        "128, so the output has 608",
        CAFFE,
    ),
    Departure("convolution bias", "none, because the batch norm would cancel it", "in every convolution", CAFFE),
)
DEPARTURES_V3 = (
    Departure(
        "stem",
        "after the first pooling, 3x3 convolutions to 80, 192 (stride 2) and 288 channels",
        "1x1 convolution to 80, 3x3 to 192, max pooling with stride 2",
        CODE,
    ),
    Departure("35x35 modules", "no kernel above 3x3 (Figure 5)", "one 5x5 branch", CODE),
    Departure(
        "average pooling",
        "not stated",
        "includes the zeros at the border; padding='same' excludes them",
        "PyTorch's default",
    ),
    Departure(
        "auxiliary head",
        "one in training, on the 17x17 grid",
        "off by default; auxiliary_heads=1 adds it",
        "less memory",
    ),
    Departure("dropout", "not stated", "0.2 before the last layer", "the authors' code does so"),
)


def timm(repository: str, source: str, top1: float, top5: float, **prepare) -> PublishedWeights:
    prepare = PREPARE | {"size": 299, "interpolation": "bicubic"} | prepare
    return on_hub(repository, source, top1, top5, prepare=prepare)


def card(name: str, paper: Paper, parameters: int, multiply_adds: int, *options: str, **known) -> ModelCard:
    settings = {"family": "inception", "prepare": PREPARE, "input_size": 299, "smallest_input": 107} | known
    return ModelCard(
        name=name,
        paper=paper,
        parameters=parameters,
        multiply_adds=multiply_adds,
        options=("small_stem", *options),
        **settings,
    )


CARDS = {
    "inception_v2": card(
        "inception_v2",
        PAPER_V2,
        11_295_240,
        2_032_600_064,
        prepare=PREPARE_V2,
        input_size=224,
        smallest_input=33,
        published=(
            Figure("parameters", 13.6e6, "count", "the network as trained by the authors", "section 4.2"),
            *errors("1 crop", 25.2, 7.82, "section 4.2"),
            *errors("144 crops", 21.99, 5.82, "section 4.2"),
            *errors("6 networks, 144 crops", 20.1, 4.9, "section 4.2"),
        ),
        departures=DEPARTURES_V2,
    ),
    "inception_v3": card(
        "inception_v3",
        PAPER_V3,
        23_834_568,
        5_713_216_096,
        "auxiliary_heads",
        "padding",
        published=(
            Figure("multiply_adds", 5e9, "count", "299x299, rounded", "abstract"),
            *errors("1 crop", 21.2, 5.6, "abstract"),
            *errors("4 networks, many crops", 17.3, 3.5, "abstract"),
        ),
        departures=DEPARTURES_V3,
        weights=(
            timm("inception_v3.tv_in1k", "the authors' weights as torchvision has them", 0.77472, 0.93468),
            timm("inception_v3.tf_in1k", "the authors' weights, TF-Slim", 0.77866, 0.93644),
            timm("inception_v3.tf_adv_in1k", "TF-Slim, trained against adversaries", 0.77598, 0.93726),
            timm("inception_v3.gluon_in1k", "GluonCV", 0.78806, 0.94372, **PREPARE_V2),
        ),
    ),
}
