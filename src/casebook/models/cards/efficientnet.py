"""EfficientNet.

The paper's figures are from Table 2: one network, one crop at its own resolution. Accuracies of published weights are
from timm's results file.
"""

from ..card import Departure, Figure, ModelCard, Paper
from .published import errors, on_hub

PAPER = Paper(
    title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    authors="M. Tan, Q. V. Le",
    year=2019,
    venue="ICML 2019",
    link="https://arxiv.org/abs/1905.11946",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bicubic"}
TABLE = "Table 2"
TRAININGS = {
    "in1k": "the authors' first training, in TensorFlow; timm's copy",
    "aa_in1k": "the authors' training with AutoAugment, in TensorFlow; timm's copy",
    "ra_in1k": "the authors' training with RandAugment, in TensorFlow; timm's copy",
}

DEPARTURES = (
    Departure(
        "initialisation of the last layer",
        "not stated; uniform up to 1 / sqrt(classes) in the authors' code",
        "normal with deviation 0.01",
        "with few classes, the logits would start large",
    ),
)


def card(
    name: str,
    parameters: int,
    multiply_adds: int,
    printed: tuple[float, float],  # parameters and multiply-adds
    top1_and_top5_error: tuple[float, float],
    input_size: int,
    crop_fraction: float,
    **accuracies: tuple[float, float],  # of published weights
) -> ModelCard:
    prepare = PREPARE | {"size": input_size, "crop_fraction": crop_fraction}
    return ModelCard(
        name=name,
        family="efficientnet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=prepare,
        published=(
            Figure("parameters", printed[0], "count", "rounded", TABLE),
            Figure("multiply_adds", printed[1], "count", f"{input_size}x{input_size}, rounded", TABLE),
            *errors(f"1 crop of {input_size}x{input_size}", *top1_and_top5_error, TABLE),
        ),
        departures=DEPARTURES,
        weights=tuple(
            on_hub(f"tf_{name}.{training}", TRAININGS[training], *found, prepare=prepare, options={"padding": "same"})
            for training, found in accuracies.items()
        ),
        options=("small_stem", "padding", "width", "depth", "norm_eps", "drop_path"),
        input_size=input_size,
    )


CARDS = {
    found.name: found
    for found in (
        card(
            *("efficientnet_b0", 5_288_548, 385_814_752, (5.3e6, 0.39e9), (22.9, 6.7), 224, 0.875),
            aa_in1k=(0.76882, 0.93270),
            in1k=(0.76542, 0.93008),
        ),
        card(
            *("efficientnet_b1", 7_794_184, 686_802_832, (7.8e6, 0.7e9), (20.9, 5.6), 240, 0.882),
            aa_in1k=(0.78840, 0.94202),
            in1k=(0.78546, 0.94096),
        ),
        card(
            *("efficientnet_b2", 9_109_994, 993_561_872, (9.2e6, 1.0e9), (19.9, 5.1), 260, 0.890),
            aa_in1k=(0.80074, 0.94906),
            in1k=(0.79612, 0.94714),
        ),
        card(
            *("efficientnet_b3", 12_233_232, 1_827_141_392, (12e6, 1.8e9), (18.4, 4.3), 300, 0.904),
            aa_in1k=(0.81648, 0.95724),
            in1k=(0.80878, 0.95308),
        ),
        card(
            *("efficientnet_b4", 19_341_616, 4_393_771_024, (19e6, 4.2e9), (17.1, 3.6), 380, 0.922),
            aa_in1k=(0.83040, 0.96298),
            in1k=(0.82598, 0.96132),
        ),
        card(
            *("efficientnet_b5", 30_389_784, 10_266_384_752, (30e6, 9.9e9), (16.4, 3.3), 456, 0.934),
            ra_in1k=(0.83834, 0.96764),
            aa_in1k=(0.83696, 0.96712),
            in1k=(0.83170, 0.96534),
        ),
        card(
            *("efficientnet_b6", 43_040_704, 19_067_593_536, (43e6, 19e9), (16.0, 3.2), 528, 0.942),
            aa_in1k=(0.84124, 0.96890),
        ),
        card(
            *("efficientnet_b7", 66_347_960, 37_745_884_192, (66e6, 37e9), (15.7, 3.0), 600, 0.949),
            ra_in1k=(0.84926, 0.97220),
            aa_in1k=(0.84424, 0.96908),
        ),
    )
}
