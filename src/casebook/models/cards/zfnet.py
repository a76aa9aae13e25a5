"""ZFNet. The paper's errors are those of its Table 2 for one network."""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors

PAPER = Paper(
    title="Visualizing and Understanding Convolutional Networks",
    authors="M. D. Zeiler, R. Fergus",
    year=2013,
    venue="ECCV 2014",
    link="https://arxiv.org/abs/1311.2901",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

INPUT = Departure(
    "input",
    "subtracts the mean of each pixel",
    "normalises each channel by mean and deviation",
    "as for the other networks",
)
NORM = Departure("contrast normalisation", "constants not stated", "those of AlexNet", "the paper builds on it")
LECTURE = (
    Departure("layer 2", "stride 2", "stride 1", "lectures list it so"),
    Departure("input size", "224x224", "227x227", "lectures list it so"),
)


def table2(top1: float, top5: float) -> tuple[Figure, ...]:
    return errors("one network", top1, top5, "Table 2", split="ImageNet 2012 validation")


def card(name: str, parameters: int, multiply_adds: int, *, departures=(), **known) -> ModelCard:
    return ModelCard(
        name=name,
        family="zfnet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        departures=(*departures, NORM, INPUT),
        recipe="classic",
        **known,
    )


CARDS = {
    "zfnet": card("zfnet", 62_357_608, 1_168_032_896, published=table2(38.4, 16.5), smallest_input=79),
    "zfnet_b": card(
        "zfnet_b",
        107_627_624,
        2_476_704_896,
        published=(
            *table2(37.5, 16.0),
            Figure("top5_error", 16.1, "%", "ImageNet 2012 test, one network", "Table 2"),
        ),
        smallest_input=79,
    ),
    "zfnet_wide": card(
        "zfnet_wide", 386_548_840, 10_147_396_384, departures=LECTURE, input_size=227, smallest_input=51
    ),
}
