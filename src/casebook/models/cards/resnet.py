"""ResNet and its plain twins on ImageNet.

The paper's multiply-adds ("FLOPs") are from Table 1, its errors on the ImageNet validation set from Tables 2 to 4.
Accuracies of published weights are from torchvision 0.28 and from timm's results file, commit aa4b5850.
"""

from ..card import Departure, Figure, ModelCard, Paper, PublishedWeights
from .published import errors, of_torchvision, on_hub

PAPER = Paper(
    title="Deep Residual Learning for Image Recognition",
    authors="K. He, X. Zhang, S. Ren, J. Sun",
    year=2015,
    venue="CVPR 2016",
    link="https://arxiv.org/abs/1512.03385",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
A1_PREPARE = PREPARE | {"size": 288, "crop_fraction": 1.0, "interpolation": "bicubic"}

INPUT = Departure(
    "input",
    "subtracts the mean of each pixel",
    "normalises each channel by mean and deviation",
    "the public weights do so",
)
PROJECTION = Departure(
    "shortcuts",
    "option A (zeros) up to 34 layers",
    "option B (1x1 projection)",
    "the public weights do so",
)
STRIDE = Departure(
    "bottleneck stride", "in the first 1x1 convolution", "in the 3x3 convolution", "the public weights do so"
)


def cost(multiply_adds: float) -> Figure:
    return Figure("multiply_adds", multiply_adds, "count", "224x224", "Table 1")


def torchvision(name: str, top1: float, top5: float) -> PublishedWeights:
    source = "torchvision's first training of this network; timm's copy"
    return of_torchvision(name, source, top1, top5, prepare=PREPARE)


def timm_a1(name: str, top1: float, top5: float) -> PublishedWeights:
    source = 'timm, recipe A1 of "ResNet strikes back", https://arxiv.org/abs/2110.00476'
    return on_hub(f"{name}.a1_in1k", source, top1, top5, prepare=A1_PREPARE)


def card(name: str, parameters: int, multiply_adds: int, **known) -> ModelCard:
    return ModelCard(
        name=name,
        family="resnet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        options=("small_stem",) if name.startswith("plain") else ("small_stem", "shortcut", "width", "depth"),
        **known,
    )


RESNET50 = (
    cost(3.8e9),
    *errors("10 crops", 22.85, 6.71, "Table 3"),
    *errors("dense, multi-scale", 20.74, 5.25, "Table 4"),
    *errors("1 crop", 24.7, 7.8, "the authors' repository, KaimingHe/deep-residual-networks"),
)
RESNET101 = (
    cost(7.6e9),
    *errors("10 crops", 21.75, 6.05, "Table 3"),
    *errors("dense, multi-scale", 19.87, 4.60, "Table 4"),
    *errors("1 crop", 23.6, 7.1, "the authors' repository, KaimingHe/deep-residual-networks"),
)
RESNET152 = (
    cost(11.3e9),
    *errors("10 crops", 21.43, 5.71, "Table 3"),
    *errors("dense, multi-scale", 19.38, 4.49, "Table 4"),
    *errors("1 crop", 23.0, 6.7, "the authors' repository, KaimingHe/deep-residual-networks"),
)

CARDS = {
    "resnet18": card(
        "resnet18",
        11_689_512,
        1_814_073_344,
        published=(cost(1.8e9), *errors("10 crops, option A", 27.88, None, "Table 2")),
        departures=(PROJECTION, INPUT),
        weights=(torchvision("resnet18", 0.69758, 0.89078), timm_a1("resnet18", 0.73164, 0.91054)),
    ),
    "resnet34": card(
        "resnet34",
        21_797_672,
        3_663_761_408,
        published=(
            cost(3.6e9),
            *errors("10 crops, option A", 25.03, 7.76, "Table 3"),
            *errors("10 crops, option B", 24.52, 7.46, "Table 3"),
            *errors("10 crops, option C", 24.19, 7.40, "Table 3"),
            *errors("dense, multi-scale, option B", 21.84, 5.71, "Table 4"),
            *errors("dense, multi-scale, option C", 21.53, 5.60, "Table 4"),
        ),
        departures=(PROJECTION, INPUT),
        weights=(torchvision("resnet34", 0.73314, 0.91420), timm_a1("resnet34", 0.77930, 0.93758)),
    ),
    "resnet50": card(
        "resnet50",
        25_557_032,
        4_089_184_256,
        published=RESNET50,
        departures=(STRIDE, INPUT),
        weights=(torchvision("resnet50", 0.76130, 0.92862), timm_a1("resnet50", 0.81240, 0.95112)),
    ),
    "resnet101": card(
        "resnet101",
        44_549_160,
        7_801_405_440,
        published=RESNET101,
        departures=(STRIDE, INPUT),
        weights=(torchvision("resnet101", 0.77374, 0.93546), timm_a1("resnet101", 0.82326, 0.95630)),
    ),
    "resnet152": card(
        "resnet152",
        60_192_808,
        11_513_626_624,
        published=RESNET152,
        departures=(STRIDE, INPUT),
        weights=(torchvision("resnet152", 0.78312, 0.94046), timm_a1("resnet152", 0.82742, 0.95734)),
    ),
    "resnet50_v1": card("resnet50_v1", 25_557_032, 3_857_973_248, published=RESNET50, departures=(INPUT,)),
    "resnet101_v1": card("resnet101_v1", 44_549_160, 7_570_194_432, published=RESNET101, departures=(INPUT,)),
    "resnet152_v1": card("resnet152_v1", 60_192_808, 11_282_415_616, published=RESNET152, departures=(INPUT,)),
    "plain18": card(
        "plain18",
        11_515_688,
        1_794_805_760,
        published=(cost(1.8e9), *errors("10 crops", 27.94, None, "Table 2")),
        departures=(INPUT,),
    ),
    "plain34": card(
        "plain34",
        21_623_848,
        3_644_493_824,
        published=(cost(3.6e9), *errors("10 crops", 28.54, 10.02, "Tables 2 and 3")),
        departures=(INPUT,),
    ),
}
