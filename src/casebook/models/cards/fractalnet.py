"""FractalNet and its deepest columns, on CIFAR-10.

The paper's errors are those of its Table 1, for 20 layers. They are quoted from Table 2 of the DenseNet paper, except
the one with heavy augmentation.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .resnet_cifar import PREPARE

PAPER = Paper(
    title="FractalNet: Ultra-Deep Neural Networks without Residuals",
    authors="G. Larsson, M. Maire, G. Shakhnarovich",
    year=2016,
    venue="ICLR 2017",
    link="https://arxiv.org/abs/1605.07648",
)

NORM = Departure(
    "batch norm",
    "no learnt scale or shift, in the authors' code",
    "both",
    "batch norm was proposed so, and others build it so",
)
DROP_PATH = Departure(
    "drop-path",
    "in half of the mini-batches each path drops with probability 0.15; the others keep one column",
    "off by default; drop_path=0.15 gives the paper's",
    "a dropped column learns nothing from its mini-batch, which a short training cannot afford",
)
DROPOUT = Departure(
    "dropout",
    "0, 0.1, 0.2, 0.3 and 0.4 in the five blocks, in the authors' code",
    "off by default; dropout=True gives it",
    "after 32 consecutive layers with dropout, too little of a picture is left for 40 layers to learn",
)
CHANNELS = Departure(
    "channels",
    "not stated for 40 layers on CIFAR-10",
    "those of 20 layers: 64, 128, 256, 512, 512",
    "keeps the number of columns the only difference",
)


def test_error(error: float, refers_to: str, source: str) -> Figure:
    return Figure("test_error", error, "%", refers_to, source)


QUOTED = "Table 1, as Table 2 of the DenseNet paper has it"
ERRORS = (
    test_error(7.33, "CIFAR-10 test, trained without augmentation, with dropout and drop-path", QUOTED),
    test_error(28.20, "CIFAR-100 test, trained without augmentation, with dropout and drop-path", QUOTED),
    test_error(22.85, "CIFAR-100 test, trained with heavy augmentation, without dropout and drop-path", "Table 1"),
    test_error(1.87, "SVHN test, with dropout and drop-path", QUOTED),
)


def card(name: str, parameters: int, multiply_adds: int, *departures: Departure, published=()) -> ModelCard:
    return ModelCard(
        name=name,
        family="fractalnet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=departures,
        options=("drop_path", "dropout") if DROP_PATH in departures else ("dropout",),
        input_size=32,
        num_classes=10,
        smallest_input=32,
        recipe="classic" if CHANNELS in departures else "scratch",  # SGD at 0.05 starts too slowly for 40 layers
    )


CARDS = {
    "fractalnet20": card("fractalnet20", 33_734_922, 845_222_912, NORM, DROP_PATH, published=ERRORS),
    "fractalnet40": card("fractalnet40", 76_128_714, 2_036_077_568, NORM, DROP_PATH, CHANNELS),
    "fractalnet20_column": card("fractalnet20_column", 20_410_314, 549_131_264, NORM, DROPOUT),
    "fractalnet40_column": card("fractalnet40_column", 42_398_922, 1_190_859_776, NORM, DROPOUT, CHANNELS),
}
