"""GoogLeNet, its batch-normalised descendant, and the network of naive modules.

The paper's costs are the sums of Table 1, its errors are from Tables 2 and 3. The weights of googlenet_bn are
torchvision's (cards/torchvision.py) and expect pixels between -1 and 1.
"""

from ..card import Departure, Figure, ModelCard, Paper

PAPER = Paper(
    title="Going Deeper with Convolutions",
    authors="C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich",
    year=2014,
    venue="CVPR 2015",
    link="https://arxiv.org/abs/1409.4842",
)
PREPARE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PREPARE_BN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

HEADS = Departure(
    "auxiliary heads",
    "two in training, after 4a and 4d",
    "off by default; auxiliary_heads=2 adds them",
    "training needs half the memory",
)
INPUT = Departure(
    "input", "subtracts the mean", "normalises each channel by mean and deviation", "the public weights do so"
)
BATCH_NORM = Departure(
    "norm",
    "biases; local response normalisation after the first pooling and before the second",
    "batch norm after each convolution, no biases, no local response normalisation",
    "torchvision's weights do so",
)
SMALL_KERNELS = Departure("5x5 branch", "5x5 convolutions", "3x3 convolutions", "torchvision's weights do so")
LAST_POOL = Departure("last max pooling", "3x3 windows", "2x2 windows", "torchvision's weights do so")
DROPOUT = Departure("dropout", "0.4 before the last layer", "0.2", "torchvision does so")
NAIVE = Departure(
    "modules",
    "1x1 convolutions before the larger ones and after the pooling (Figure 2b)",
    "none (Figure 2a), with the filters of Table 1 for the last layer of each branch",
    "shows what the reductions save",
)


def error(top5: float, models: str, crops: str, split: str = "ILSVRC 2012 validation") -> Figure:
    return Figure("top5_error", top5, "%", f"{split}, {models}, {crops}", "Tables 2 and 3")


PUBLISHED = (
    Figure("parameters", 6.8e6, "count", "224x224; sum of the rows, in units of 1024, without biases", "Table 1"),
    Figure("multiply_adds", 1.5e9, "count", "224x224; the first row is of a smaller convolution", "section 1, Table 1"),
    error(10.07, "1 model", "1 crop"),
    error(9.15, "1 model", "10 crops"),
    error(7.89, "1 model", "144 crops"),
    error(8.09, "7 models", "1 crop"),
    error(7.62, "7 models", "10 crops"),
    error(6.67, "7 models", "144 crops", "ILSVRC 2014 validation and test"),
)


def card(name: str, parameters: int, multiply_adds: int, **known) -> ModelCard:
    return ModelCard(
        name=name,
        family="googlenet",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        options=("small_stem", "auxiliary_heads"),
        **known,
    )


CARDS = {
    "googlenet": card(
        "googlenet",
        6_998_552,
        1_582_671_872,
        prepare=PREPARE,
        published=PUBLISHED,
        departures=(HEADS, INPUT),
        smallest_input=63,
        recipe="classic",
    ),
    "googlenet_bn": card(
        "googlenet_bn",
        6_624_904,
        1_498_376_192,
        prepare=PREPARE_BN,
        departures=(BATCH_NORM, SMALL_KERNELS, LAST_POOL, DROPOUT, HEADS, INPUT),
        smallest_input=47,
    ),
    "googlenet_naive": card(
        "googlenet_naive",
        97_526_008,
        12_568_061_056,
        prepare=PREPARE,
        departures=(NAIVE, HEADS, INPUT),
        smallest_input=63,
        recipe="classic",
    ),
}
