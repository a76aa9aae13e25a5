"""SE-ResNet-50 and SENet-154 on ImageNet.

Accuracies of published weights are those of timm's results file, commit aa4b5850. timm's weights of SENet-154 are
not on the Hugging Face hub; give their file by its path.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, on_hub
from .resnet import PREPARE, STRIDE, timm_a1

PAPER = Paper(
    title="Squeeze-and-Excitation Networks",
    authors="J. Hu, L. Shen, S. Albanie, G. Sun, E. Wu",
    year=2017,
    venue="CVPR 2018",
    link="https://arxiv.org/abs/1709.01507",
)
REPOSITORY = "the authors' repository, hujie-frank/SENet"
INPUT = Departure(
    "input",
    "subtracts the mean of each channel",
    "normalises each channel by mean and deviation",
    "the public weights do so",
)

CARDS = {
    "seresnet50": ModelCard(
        name="seresnet50",
        family="senet",
        paper=PAPER,
        parameters=28_088_024,
        multiply_adds=4_091_699_200,
        prepare=PREPARE,
        published=(
            Figure("parameters", 28.1e6, "count", "reduction 16, rounded", "Table 10"),
            Figure("multiply_adds", 3.87e9, "count", "224x224", "Table 2"),
            *errors("1 crop", 23.29, 6.62, "Table 2"),
            *errors("1 crop, trained longer", 22.37, 6.36, REPOSITORY),
        ),
        departures=(STRIDE, INPUT),
        weights=(
            on_hub(
                "seresnet50.ra2_in1k",
                "timm, RandAugment",
                0.81288,
                0.95652,
                prepare=PREPARE | {"size": 288, "crop_fraction": 0.95, "interpolation": "bicubic"},
            ),
            timm_a1("seresnet50", 0.81114, 0.95122),
        ),
        options=("small_stem",),
    ),
    "senet154": ModelCard(
        name="senet154",
        family="senet",
        paper=PAPER,
        parameters=115_088_984,
        multiply_adds=20_688_363_520,
        prepare=PREPARE,
        published=(
            *errors("1 crop", 18.68, 4.47, f"Table 8 and {REPOSITORY}"),
            *errors("1 crop of 320x320", 17.28, 3.79, "Table 8"),
            *errors("trained and tested with 1 crop of 320x320", 16.88, 3.58, "Table 8"),
        ),
        departures=(INPUT,),
        options=("small_stem",),
        smallest_input=35,
    ),
}
