"""A claim of a paper enters; a controlled experiment that anyone can repeat, with its verdict and interval, leaves."""

STUDIES = (
    "degradation",
    "identity",
    "stacked-3x3",
    "bottleneck",
    "1x1",
    "auxiliary-heads",
    "depthwise",
    "activations",
    "normalisation",
    "transfer",
    "augmentation",
    "ensemble-and-crops",
    "width-resolution",
    "history",
)
