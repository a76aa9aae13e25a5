"""Wide ResNet on ImageNet and CIFAR-10.

Accuracies of published weights are those of torchvision 0.28 and of timm's results file, commit aa4b5850.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, on_hub
from .resnet import PREPARE, torchvision
from .resnet_cifar import PREPARE as CIFAR_PREPARE

PAPER = Paper(
    title="Wide Residual Networks",
    authors="S. Zagoruyko, N. Komodakis",
    year=2016,
    venue="BMVC 2016",
    link="https://arxiv.org/abs/1605.07146",
)
REPOSITORY = "the authors' repository, szagoruyko/wide-residual-networks"

CARDS = {
    "wide_resnet50_2": ModelCard(
        name="wide_resnet50_2",
        family="wide_resnet",
        paper=PAPER,
        parameters=68_883_240,
        multiply_adds=11_398_021_120,
        prepare=PREPARE,
        published=(
            Figure("parameters", 68.9e6, "count", "rounded", f"{REPOSITORY}, pretrained/README.md"),
            *errors("1 crop", 21.9, 5.79, f"{REPOSITORY}, README.md; pretrained/README.md has a top-5 of 6.03"),
        ),
        weights=(
            torchvision("wide_resnet50_2", 0.78468, 0.94086),
            on_hub(
                "wide_resnet50_2.racm_in1k",
                "timm, RandAugment and mixing of pictures",
                0.82260,
                0.96062,
                prepare=PREPARE | {"size": 288, "crop_fraction": 0.95, "interpolation": "bicubic"},
            ),
        ),
        options=("small_stem",),
    ),
    "wide_resnet101_2": ModelCard(
        name="wide_resnet101_2",
        family="wide_resnet",
        paper=PAPER,
        parameters=126_886_696,
        multiply_adds=22_753_050_624,
        prepare=PREPARE,
        departures=(Departure("depth", "50 layers at double width", "101 layers", "torchvision does so"),),
        weights=(torchvision("wide_resnet101_2", 0.78848, 0.94284),),
        options=("small_stem",),
    ),
    "wrn28_10": ModelCard(
        name="wrn28_10",
        family="wide_resnet",
        paper=PAPER,
        parameters=36_479_194,
        multiply_adds=5_243_328_768,
        prepare=CIFAR_PREPARE,
        published=(
            Figure("parameters", 36.5e6, "count", "rounded", "Table 4"),
            Figure("test_error", 4.00, "%", "CIFAR-10 test, median of 5 runs", REPOSITORY),
            Figure("test_error", 3.89, "%", "CIFAR-10 test, median of 5 runs, branch_dropout 0.3", REPOSITORY),
        ),
        options=("branch_dropout",),
        input_size=32,
        num_classes=10,
        smallest_input=5,
    ),
}
