"""Xception. The paper's figures are those of its Tables 1 and 3."""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors

PAPER = Paper(
    title="Xception: Deep Learning with Depthwise Separable Convolutions",
    authors="F. Chollet",
    year=2016,
    venue="CVPR 2017",
    link="https://arxiv.org/abs/1610.02357",
)
HALF = (0.5, 0.5, 0.5)

CARDS = {
    "xception": ModelCard(
        name="xception",
        family="xception",
        paper=PAPER,
        parameters=22_855_952,
        multiply_adds=8_357_403_496,
        prepare={"mean": HALF, "std": HALF, "interpolation": "bicubic", "crop_fraction": 0.8975},
        published=(
            Figure("parameters", 22_855_952, "count", "exact", "Table 3"),
            *errors("1 crop", 21.0, 5.5, "Table 1"),
        ),
        departures=(Departure("initialisation", "not stated", "He et al. 2015", "made for ReLU"),),
        options=("small_stem", "padding", "norm_eps"),
        input_size=299,
        smallest_input=39,
    ),
}
