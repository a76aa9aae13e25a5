"""AlexNet. The figures of 2012 are those of its abstract and of Tables 1 and 2, for one network."""

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
    "input", "the mean of each pixel is subtracted", "mean and deviation of each channel", "as public weights"
)
SIDE = Departure("input size", "224x224", "227x227", "the paper's 55x55 maps follow from 227 pixels")
TOWERS = Departure("towers", "layers 2, 4 and 5 see one tower's maps", "they see all maps", "today's usual form")
FOURTH = Departure("fourth layer", "384 channels", "256 channels", "as the author's code and torchvision")
NORM = Departure("normalisation", "the layers of 2012 have it after layers 1 and 2", "none", "as torchvision")
START = Departure(
    "initialisation", "not stated", "that of 2012 with biases of 0", "biases of 1 hardly start to learn here"
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
