"""Every picture of the lectures, and the drawing that shows the same; for the end of docs/drawings/README.md."""

from typing import NamedTuple


class Picture(NamedTuple):
    """A picture of a lecture. `drawings` are names of the gallery; `words` say what else shows it, or why none does."""

    part: str
    what: str
    drawings: tuple[str, ...] = ()
    words: str = ""


STUDY = "Curves are measured: `casebook study degradation` trains plain and residual networks and plots them."
PICTURES = (
    Picture("LeNet-5", "the volumes from the input to ten classes", ("lenet5",)),
    Picture("LeNet-5", "the paper's figure of 1998", ("lenet5",),
            "The same maps; the figure itself is not copied. `casebook draw lenet5_1998` has the paper's own parts."),
    Picture("AlexNet", "the volumes from 227x227x3 to 1000 classes", ("alexnet",)),
    Picture("AlexNet", "the paper's figure with a row for each GPU, and the strip of its entries", ("alexnet",),
            "The two rows are the two groups in this drawing; the strip is `casebook draw alexnet`."),
    Picture("ZFNet", "the network", (), "`casebook draw zfnet --style volume`; `zfnet_wide` has the lecture's widths."),
    Picture("VGG", "the chain of volumes, and the strip from the input to FC 1000", ("vgg16",)),
    Picture("VGG", "why three 3x3 act as one 7x7, and two as one 5x5, with their weights", ("field", "field_5x5")),
    Picture("Residual networks", "the residual block with a[l], z[l+2] and its shortcut", ("residual_block",)),
    Picture("Residual networks", "a plain chain beside the same chain with shortcuts", ("twins",)),
    Picture("Residual networks", "plain layers H(x) beside a residual block F(x) + x", ("twins", "residual_block")),
    Picture("Residual networks", "the training error against the number of layers", (), STUDY),
    Picture("Residual networks", "20 layers against 56 on CIFAR-10", (), STUDY),
    Picture("Why they work", "a big network, and the same with two more layers and a shortcut", ("residual_block",)),
    Picture("Why they work", "the plain and the residual network of 34 layers", ("twins",)),
    Picture("1x1 convolutions", "a 6x6 grid of numbers times a 1x1 filter", ("sliding_1x1",)),
    Picture("1x1 convolutions", "a volume with 1x1 filters, one output channel for each", ("one_by_one",)),
    Picture("1x1 convolutions", "a 1x1 bar of channels that slides over a block", ("sliding_pointwise",)),
    Picture("Inception, motivation", "1x1, 3x3, 5x5 and pooling side by side, stacked as channels", ("naive_module",),
            "Without the reductions the pooling keeps all its input channels."),
    Picture("Inception, motivation", "the bottleneck 28x28x192, 28x28x16, 28x28x32", ("bottleneck",)),
    Picture("Inception network", "the module with its reductions", ("inception_module",)),
    Picture("Inception network", "the whole network with side heads", ("googlenet",)),
    Picture("Inception network", "the naive module", ("naive_module",)),
    Picture("Inception network", "two stills of a film, about going deeper", (), "Left out: the stills are not ours."),
    Picture("MobileNet", "a normal convolution step by step", ("sliding_normal",)),
    Picture("MobileNet", "a depthwise convolution step by step", ("sliding_depthwise",)),
    Picture("MobileNet", "a pointwise convolution", ("sliding_pointwise",)),
    Picture("MobileNet", "one step of a normal convolution above the two of a separable one",
            ("normal_convolution", "separable_convolution")),
    Picture("MobileNet architecture", "v1: depthwise and pointwise, thirteen times", ("mobilenet_v1",)),
    Picture("MobileNet architecture", "v2: the bottleneck with its shortcut", ("inverted_residual",)),
    Picture("MobileNet architecture", "v2: the whole network", ("mobilenet_v2",)),
    Picture("EfficientNet", "the baseline wider, deeper, at a higher resolution, and all together", ("scaled",)),
    Picture("Transfer learning", "freeze all but the new layer, freeze the first part, train all", ("freeze",)),
    Picture("Transfer learning", "the base network beside the new one", ("freeze",)),
    Picture("Transfer learning", "VGG-16 with its last layer replaced", ("freeze_vgg16",)),
    Picture("Transfer learning", "strategies by the size of the data and its likeness to the original", ("freeze",),
            "By size alone: how alike two data sets are is not a number that Casebook has."),
    Picture("Transfer learning", "pre-trained models for language", (), "Left out: none of them is for pictures."),
    Picture("Augmentation", "mirroring, cropping and other changes of a picture", (),
            "`casebook augment PICTURE --operations` draws each one on a picture of yours."),
    Picture("Augmentation", "colour shifts", (), "`casebook augment PICTURE --operations`."),
    Picture("Augmentation", "from disk through distorting threads to the training", (),
            "Left out: it has no numbers. `casebook data profile` measures the steps on your data."),
    Picture("State of computer vision", "an axis from little data to much, with tasks on it", (),
            "Left out: the places on the axis are opinions."),
    Picture("State of computer vision", "several crops of a picture at test time", ("boxes", "boxes_144")),
    Picture("Top-5 error", "the results of ILSVRC by year, with the depths", ("bars",),
            "Each bar says what its figure refers to, which the usual chart does not."),
)  # fmt: skip


def table(known: set[str]) -> str:
    """The Markdown table. Raises KeyError for a drawing that the gallery does not have."""
    lines = ["| lecture | picture | drawing |", "| --- | --- | --- |"]
    for picture in PICTURES:
        if missing := set(picture.drawings) - known:
            raise KeyError(f"the gallery has no {missing}")
        links = ", ".join(f"[{name}]({name}.svg)" for name in picture.drawings)
        lines.append(f"| {picture.part} | {picture.what} | {' '.join(filter(None, [links, picture.words]))} |")
    return "\n".join(lines) + "\n"
