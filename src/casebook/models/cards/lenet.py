"""LeNet-5. The paper's figures are from sections II-B and III."""

from ..card import Departure, Figure, ModelCard, Paper

PAPER = Paper(
    title="Gradient-Based Learning Applied to Document Recognition",
    authors="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner",
    year=1998,
    venue="Proceedings of the IEEE 86(11), 2278-2324",
    link="http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf",
)
# Paper (0) becomes -0.1 and ink (1) 1.175: the mean is about 0 and the variance about 1 (section II-B).
PREPARE = {"resize": "squash", "mode": "L", "mean": (0.1 / 1.275,), "std": (1 / 1.275,)}

CARDS = {
    "lenet5": ModelCard(
        name="lenet5",
        family="lenet",
        paper=PAPER,
        parameters=61_706,
        multiply_adds=416_520,
        prepare=PREPARE,
        departures=(
            Departure(
                "C3", "each map sees 3, 4 or 6 of the 6 preceding maps", "each sees all 6", "the usual form today"
            ),
            Departure(
                "sub-sampling",
                "trained coefficient and bias",
                "average pooling",
                "the usual form today",
            ),
            Departure("activation", "1.7159 tanh(2x/3)", "ReLU", "the usual form today"),
            Departure("output", "distances to fixed bitmaps", "linear layer", "the usual form today"),
            Departure("initialisation", "uniform within 2.4 / fan-in", "He et al. 2015", "made for ReLU"),
        ),
        input_size=32,
        in_channels=1,
        num_classes=10,
        smallest_input=32,
        fixed_input=True,
        recipe="small",
    ),
    "lenet5_1998": ModelCard(
        name="lenet5_1998",
        family="lenet",
        paper=PAPER,
        parameters=60_000,
        multiply_adds=325_680,  # C1, C3, C5, F6; sub-sampling and the distances are neither of the two kinds
        prepare=PREPARE,
        published=(
            Figure("parameters", 60_000, "count", "trainable", "section II-B"),
            Figure("connections", 340_908, "count", "with biases, sub-sampling and output", "section II-B"),
            Figure("test_error", 0.95, "%", "MNIST test", "section III"),
            Figure("test_error", 0.8, "%", "MNIST test, trained with distortions", "section III"),
        ),
        departures=(
            Departure(
                "output",
                "distance, smallest for the right class",
                "its negative",
                "logits are largest for the right class",
            ),
            Departure(
                "bitmaps", "the ASCII set of Figure 3", "our own drawings", "the paper does not list their pixels"
            ),
        ),
        input_size=32,
        in_channels=1,
        num_classes=10,
        smallest_input=32,
        fixed_input=True,
        recipe="small",
    ),
}
