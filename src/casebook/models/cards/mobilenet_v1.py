"""MobileNet v1.

The paper's figures are from Table 6, accuracies of published weights from timm's results file.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, on_hub

PAPER = Paper(
    title="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    authors="A. G. Howard, M. Zhu, B. Chen, D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam",
    year=2017,
    venue="arXiv:1704.04861",
    link="https://arxiv.org/abs/1704.04861",
)
HALF = (0.5, 0.5, 0.5)
PREPARE = {"mean": HALF, "std": HALF}
TABLE = "Table 6"

DEPARTURES = (
    Departure("activation", "ReLU", "ReLU6", "the authors' code and all public weights use it"),
    Departure(
        "last block",
        "stride 2 in the last depthwise row of Table 1, although its input and output are 7x7",
        "stride 1",
        "matches the sizes in the table and all public code",
    ),
    Departure("dropout", "not stated", "0.001 before the last layer", "the authors' code does so"),
    Departure(
        "norm statistics",
        "not stated; the authors' code keeps 0.9997 of the old value per step",
        "keeps 0.99",
        "suits trainings of a few thousand steps; Keras does so",
    ),
)


def card(
    name: str, parameters: int, multiply_adds: int, printed: tuple[float, float], top1_error: float, weights=()
) -> ModelCard:
    return ModelCard(
        name=name,
        family="mobilenet_v1",
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
        weights=weights,
        options=("small_stem", "padding", "width", "norm_eps"),
    )


RA4 = on_hub(
    "mobilenetv1_100.ra4_e3600_r224_in1k",
    "timm, RandAugment, 3600 epochs",
    0.75388,
    0.92310,
    prepare=PREPARE | {"interpolation": "bicubic"},
    options={"norm_eps": 1e-5},
)

CARDS = {
    "mobilenet_v1": card("mobilenet_v1", 4_231_976, 568_740_352, (4.2e6, 569e6), 29.4, (RA4,)),
    "mobilenet_v1_075": card("mobilenet_v1_075", 2_585_560, 325_400_448, (2.6e6, 325e6), 31.6),
    "mobilenet_v1_050": card("mobilenet_v1_050", 1_331_592, 149_497_088, (1.3e6, 149e6), 36.3),
    "mobilenet_v1_025": card("mobilenet_v1_025", 470_072, 41_030_272, (0.5e6, 41e6), 49.4),
}
