"""The lessons of docs/lessons enter; pages, slides, notebooks and marks for a reader's answers leave."""

LESSONS = (
    "classic-networks",
    "residual-networks",
    "why-residual-networks-work",
    "one-by-one-convolutions",
    "inception-motivation",
    "inception-network",
    "mobilenet",
    "mobilenet-architecture",
    "efficientnet",
    "transfer-learning",
    "augmentation",
    "state-of-computer-vision",
    "alexnet-to-resnet",
    "top-5-error",
    "keras-residual-blocks",
    "keras-classic-networks",
    "keras-data",
    "keras-augmentation",
    "keras-transfer-learning",
)

COMPANIONS = ("questions", "errata")
"""Pages of docs/ that the lessons link to."""
