"""SqueezeNet. The paper's accuracies are those of its Table 2, given here as errors."""

from ..card import Departure, Figure, ModelCard, Paper

PAPER = Paper(
    title="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    authors="F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer",
    year=2016,
    venue="arXiv:1602.07360",
    link="https://arxiv.org/abs/1602.07360",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

INPUT = Departure(
    "input",
    "subtracts the mean of each channel (the authors' Caffe model)",
    "normalises each channel by mean and deviation",
    "the public weights do so",
)
SIDE = Departure(
    "first map",
    "111x111, for the authors' 227x227 pixels",
    "109x109, for the printed 224x224",
    "torchvision does so",
)
START = Departure(
    "start of the last layer",
    "biases of 0 (the authors' Caffe model)",
    "biases of 1",
    "from 0, small sets soon leave most classes without a gradient behind the last ReLU",
)
LATER = Departure(
    "layers",
    "7x7 stem with 96 channels; pooling after layers 1, 4 and 8",
    "3x3 stem with 64 channels; pooling after layers 1, 3 and 5",
    "the authors' version 1.1: the same accuracy at 1 / 2.4 of the cost",
)


def card(name: str, parameters: int, multiply_adds: int, *published: Figure, departures, smallest_input) -> ModelCard:
    return ModelCard(
        name=name,
        family="squeezenet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=departures,
        options=("small_stem",),
        smallest_input=smallest_input,
        recipe="classic",
    )


CARDS = {
    "squeezenet1_0": card(
        "squeezenet1_0",
        1_248_424,
        818_924_576,
        Figure("top1_error", 42.5, "%", "ImageNet validation", "Table 2"),
        Figure("top5_error", 19.7, "%", "ImageNet validation", "Table 2"),
        departures=(SIDE, INPUT, START),
        smallest_input=37,
    ),
    "squeezenet1_1": card("squeezenet1_1", 1_235_496, 349_151_936, departures=(LATER, INPUT, START), smallest_input=33),
}
