"""Network in Network. The paper's errors are those of its Tables 1 and 2; it has none for ImageNet."""

from ..card import Departure, Figure, ModelCard, Paper

PAPER = Paper(
    title="Network In Network",
    authors="M. Lin, Q. Chen, S. Yan",
    year=2013,
    venue="ICLR 2014",
    link="https://arxiv.org/abs/1312.4400",
)

CARDS = {
    "nin_cifar": ModelCard(
        name="nin_cifar",
        family="nin",
        paper=PAPER,
        parameters=966_986,
        multiply_adds=222_486_528,
        prepare={"resize": "squash", "mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
        published=(
            Figure("test_error", 10.41, "%", "CIFAR-10 test", "Table 1"),
            Figure("test_error", 8.81, "%", "CIFAR-10 test, trained with shifts and mirroring", "Table 1"),
            Figure("test_error", 35.68, "%", "CIFAR-100 test", "Table 2"),
        ),
        departures=(
            Departure(
                "input",
                "contrast normalisation per picture, then whitening",
                "normalises each channel by mean and deviation",
                "works for any data set",
            ),
        ),
        input_size=32,
        num_classes=10,
        smallest_input=8,
        recipe="classic",
    ),
    "nin_imagenet": ModelCard(
        name="nin_imagenet",
        family="nin",
        paper=PAPER,
        parameters=7_595_176,
        multiply_adds=1_100_188_800,
        prepare={"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        departures=(
            Departure(
                "layers", "no network for ImageNet", "the authors' Caffe model", "they published it after the paper"
            ),
            Departure(
                "input",
                "subtracts the mean of each pixel (the authors' Caffe model)",
                "normalises each channel by mean and deviation",
                "as for the other networks",
            ),
        ),
        options=("small_stem",),
        smallest_input=71,
        recipe="classic",
    ),
}
