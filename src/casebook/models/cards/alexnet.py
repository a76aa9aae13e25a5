"""AlexNet. The figures of 2012 are from the abstract and Tables 1 and 2, for one network."""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors

PAPER = Paper(
    title="ImageNet Classification with Deep Convolutional Neural Networks",
    authors="A. Krizhevsky, I. Sutskever, G. E. Hinton",
    year=2012,
    venue="NIPS 2012",
    link="https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
)
COLUMN_PAPER = Paper(
    title="One weird trick for parallelizing convolutional neural networks",
    authors="A. Krizhevsky",
    year=2014,
    venue="arXiv:1404.5997",
    link="https://arxiv.org/abs/1404.5997",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

INPUT = Departure(
    "input",
    "subtracts the mean of each pixel",
    "normalises each channel by mean and deviation",
    "the public weights do so",
)
SIDE = Departure("input size", "224x224", "227x227", "the paper's 55x55 maps follow from 227 pixels")
TOWERS = Departure("towers", "layers 2, 4 and 5 see one tower's maps", "they see all maps", "the usual form today")
FOURTH = Departure("fourth layer", "384 channels", "256 channels", "the author's code and torchvision do so")
NORM = Departure("normalisation", "after layers 1 and 2, as in 2012", "none", "torchvision does so")
START = Departure(
    "initialisation", "not stated", "as in 2012, but with biases of 0", "with biases of 1 it hardly starts to learn"
)


ONE = "one network, 10 crops"

CARDS = {
    "alexnet": ModelCard(
        name="alexnet",
        family="alexnet",
        paper=PAPER,
        parameters=60_965_224,
        multiply_adds=724_406_816,
        prepare=PREPARE,
        published=(
            Figure("parameters", 60e6, "count", "rounded", "abstract"),
            *errors(ONE, 37.5, 17.0, "Table 1", split="ImageNet 2010 test"),
            *errors(ONE, 40.7, 18.2, "Table 2", split="ImageNet 2012 validation"),
        ),
        departures=(SIDE, INPUT),
        input_size=227,
        smallest_input=99,
        recipe="classic",
    ),
    "alexnet_ungrouped": ModelCard(
        name="alexnet_ungrouped",
        family="alexnet",
        paper=PAPER,
        parameters=62_378_344,
        multiply_adds=1_135_256_096,
        prepare=PREPARE,
        departures=(TOWERS, SIDE, INPUT),
        input_size=227,
        smallest_input=99,
        recipe="classic",
    ),
    "alexnet_owt": ModelCard(
        name="alexnet_owt",
        family="alexnet",
        paper=COLUMN_PAPER,
        parameters=61_100_840,
        multiply_adds=714_188_480,
        prepare=PREPARE,
        departures=(FOURTH, NORM, START, INPUT),
        smallest_input=95,
        recipe="classic",
    ),
}
