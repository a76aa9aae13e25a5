"""VGG.

The paper's parameters are those of its Table 2 and its errors those of Tables 3 to 5, on the ImageNet validation set
with dense evaluation: S is the shorter side of the training pictures and Q that of the test pictures. Accuracies of
published weights are those of torchvision 0.28.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, of_torchvision

PAPER = Paper(
    title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
    authors="K. Simonyan, A. Zisserman",
    year=2014,
    venue="ICLR 2015",
    link="https://arxiv.org/abs/1409.1556",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

INPUT = Departure(
    "input",
    "subtracts the mean of each channel",
    "normalises each channel by mean and deviation",
    "the public weights do so",
)
START = Departure(
    "initialisation",
    "normal; deeper networks start from the trained VGG-11",
    "uniform after Glorot and Bengio",
    "a note in the paper's section 3.1 says that it works without pre-training",
)
NORM = Departure("batch norm", "none", "after each convolution", "the public weights do so")
LECTURE = Departure("third block", "three convolutions in VGG-16", "two", "lectures list it so")


def size(parameters: float) -> Figure:
    return Figure("parameters", parameters, "count", "rounded", "Table 2")


def card(
    name: str,
    parameters: int,
    multiply_adds: int,
    *published: Figure,
    accuracies: tuple[float, float] | None = None,
    departures: tuple[Departure, ...] = (),
    recipe: str = "classic",
) -> ModelCard:
    source = "torchvision's training of this network; timm's copy"
    weights = accuracies and of_torchvision(name, source, *accuracies, prepare=PREPARE)
    return ModelCard(
        name=name,
        family="vgg",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=(*departures, START, INPUT),
        weights=(weights,) if weights else (),
        smallest_input=64,
        recipe=recipe,
    )


def normed(name: str, parameters: int, multiply_adds: int, accuracies: tuple[float, float]) -> ModelCard:
    return card(name, parameters, multiply_adds, accuracies=accuracies, departures=(NORM,), recipe="scratch")


CARDS = {
    "vgg11": card(
        "vgg11",
        132_863_336,
        7_609_090_048,
        size(133e6),
        *errors("S = Q = 256", 29.6, 10.4, "Table 3"),
        accuracies=(0.69020, 0.88628),
    ),
    "vgg13": card(
        "vgg13",
        133_047_848,
        11_308_466_176,
        size(133e6),
        *errors("S = Q = 256", 28.7, 9.9, "Table 3"),
        *errors("several Q", 28.2, 9.6, "Table 4"),
        accuracies=(0.69928, 0.89246),
    ),
    "vgg16": card(
        "vgg16",
        138_357_544,
        15_470_264_320,
        size(138e6),
        *errors("S = Q = 256", 27.0, 8.8, "Table 3"),
        *errors("S = 256 to 512, Q = 384", 25.6, 8.1, "Table 3"),
        *errors("S = 256 to 512, several Q", 24.8, 7.5, "Table 4"),
        *errors("S = 256 to 512, several crops and dense", 24.4, 7.2, "Table 5"),
        accuracies=(0.71592, 0.90382),
    ),
    "vgg19": card(
        "vgg19",
        143_667_240,
        19_632_062_464,
        size(144e6),
        *errors("S = Q = 256", 27.3, 9.0, "Table 3"),
        *errors("S = 256 to 512, Q = 384", 25.5, 8.0, "Table 3"),
        *errors("S = 256 to 512, several Q", 24.8, 7.5, "Table 4"),
        *errors("S = 256 to 512, several crops and dense", 24.4, 7.1, "Table 5"),
        accuracies=(0.72376, 0.90876),
    ),
    "vgg11_bn": normed("vgg11_bn", 132_868_840, 7_609_090_048, (0.70370, 0.89810)),
    "vgg13_bn": normed("vgg13_bn", 133_053_736, 11_308_466_176, (0.71586, 0.90374)),
    "vgg16_bn": normed("vgg16_bn", 138_365_992, 15_470_264_320, (0.73360, 0.91516)),
    "vgg19_bn": normed("vgg19_bn", 143_678_248, 19_632_062_464, (0.74218, 0.91842)),
    "vgg15_lecture": card("vgg15_lecture", 137_767_464, 13_620_576_256, departures=(LECTURE,)),
}
