"""NASNet-A.

The paper's figures are its Tables 2 (large) and 3 (mobile). The accuracy of the published weights is that of timm's
results file.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, on_hub

PAPER = Paper(
    title="Learning Transferable Architectures for Scalable Image Recognition",
    authors="B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le",
    year=2017,
    venue="CVPR 2018",
    link="https://arxiv.org/abs/1707.07012",
)
PREPARE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
TIMM_PREPARE = PREPARE | {"size": 331, "crop_fraction": 0.911, "interpolation": "bicubic"}

MOMENTUM = Departure(
    "batch-norm momentum",
    "running statistics move by 0.0003 per batch, in the authors' code",
    "0.1",
    "in a few thousand steps they would stay near their initial values",
)
AUXILIARY = Departure(
    "auxiliary head",
    "one in training, with weight 0.4",
    "off by default; auxiliary_heads=1 adds it",
    "only training needs it, and it adds 2.4 million weights to the 5.3 million of nasnet_mobile",
)
DROP_PATH = Departure(
    "drop-path",
    "rises during training to 0.3 in the last cell, and in proportion in earlier cells",
    "off by default; drop_path gives the final rates from the start",
    "a network does not know how far training has come",
)


def figures(parameters: float, multiply_adds: float, side: int, top1: float, top5: float, source: str):
    return (
        Figure("parameters", parameters, "count", "rounded", source),
        Figure("multiply_adds", multiply_adds, "count", f"{side}x{side}, rounded", source),
        *errors("1 crop", top1, top5, source),
    )


def card(name: str, parameters: int, multiply_adds: int, **known) -> ModelCard:
    return ModelCard(
        name=name,
        family="nasnet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        options=("small_stem", "auxiliary_heads", "drop_path", "pooling"),
        smallest_input=35,
        **known,
    )


CARDS = {
    "nasnet_mobile": card(
        "nasnet_mobile",
        5_289_978,
        563_638_816,
        published=figures(5.3e6, 564e6, 224, 26.0, 8.4, "Table 3"),
        departures=(MOMENTUM, AUXILIARY),
    ),
    "nasnet_large": card(
        "nasnet_large",
        88_753_150,
        23_783_414_658,
        input_size=331,
        published=figures(88.9e6, 23.8e9, 331, 17.3, 3.8, "Table 2"),
        departures=(MOMENTUM, AUXILIARY, DROP_PATH),
        weights=(
            on_hub(
                "nasnetalarge.tf_in1k",
                "the authors' weights, trained with TensorFlow; timm's copy",
                0.82638,
                0.96066,
                prepare=TIMM_PREPARE,
            ),
        ),
    ),
}
