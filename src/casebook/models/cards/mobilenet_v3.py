"""MobileNet v3.

The paper's figures are from Table 3 of the last version on arXiv. Accuracies of published weights are from timm's
results file.
"""

from ..card import Departure, Figure, ModelCard, Paper, PublishedWeights
from .published import errors, on_hub

PAPER = Paper(
    title="Searching for MobileNetV3",
    authors="A. Howard, M. Sandler, G. Chu, L.-C. Chen, B. Chen, M. Tan, W. Wang, Y. Zhu, R. Pang, V. Vasudevan, "
    "Q. V. Le, H. Adam",
    year=2019,
    venue="ICCV 2019",
    link="https://arxiv.org/abs/1905.02244",
)
HALF = (0.5, 0.5, 0.5)
PREPARE = {"mean": HALF, "std": HALF}
TABLE = "Table 3"

DEPARTURES = (
    Departure("initialisation", "not stated", "He et al. 2015", "made for ReLU and similar activations"),
    Departure("dropout", '"dropout of 0.8"', "drops 0.2 of the features", "the authors' code keeps 0.8"),
)


def timm(repository: str, top1: float, top5: float) -> PublishedWeights:
    source = "the authors' training in TensorFlow; timm's copy"
    return on_hub(repository, source, top1, top5, prepare=PREPARE, options={"padding": "same"})


def card(
    name: str,
    parameters: int,
    multiply_adds: int,
    printed: tuple[float, float],
    top1_error: float,
    weights: PublishedWeights,
) -> ModelCard:
    return ModelCard(
        name=name,
        family="mobilenet_v3",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=(
            Figure("parameters", printed[0], "count", "rounded", TABLE),
            Figure("multiply_adds", printed[1], "count", "224x224, rounded", TABLE),
            *errors("1 crop", top1_error, None, TABLE),
        ),
        departures=DEPARTURES,
        weights=(weights,),
        options=("small_stem", "padding", "norm_eps"),
    )


CARDS = {
    "mobilenet_v3_small": card(
        "mobilenet_v3_small",
        2_542_856,
        56_510_400,
        (2.5e6, 56e6),
        32.6,
        timm("tf_mobilenetv3_small_100.in1k", 0.67922, 0.87686),
    ),
    "mobilenet_v3_large": card(
        "mobilenet_v3_large",
        5_483_032,
        216_589_760,
        (5.4e6, 219e6),
        24.8,
        timm("tf_mobilenetv3_large_100.in1k", 0.75510, 0.92600),
    ),
}
