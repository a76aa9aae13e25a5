"""The drawings of docs/drawings: commands, which are run here, and what one sees in what they draw.

`generate.py` writes the page and the SVG files, and checks that they are fresh. A command writes to the file that it
names with --out, inside docs/drawings, so each command on the page is one that was run.
"""

import contextlib
import io
import os
import shlex
import tempfile
from pathlib import Path
from typing import NamedTuple

import lecture_pictures

from casebook.cli import app

FOLDER = Path(__file__).parent / "drawings"


class Drawing(NamedTuple):
    """A command without "casebook draw" and "--out FILE", the name of its file, and what one sees."""

    name: str
    command: str
    words: str

    @property
    def whole_command(self) -> str:
        return f"casebook draw {self.command} --out {self.name}.svg"


SECTIONS: dict[str, tuple[Drawing, ...]] = {
    "Networks as volumes": (
        Drawing(
            "lenet5",
            "lenet5 --style volume",
            "LeNet-5: height and width shrink from layer to layer, the number of channels grows, and the dense layers "
            "end in ten classes. The patch on each box is the window of the next layer.",
        ),
        Drawing(
            "alexnet",
            "alexnet --style volume",
            "AlexNet with the two groups of its paper; `alexnet_ungrouped` is the network without them.",
        ),
    ),
    "Networks as strips": (
        Drawing(
            "vgg16",
            "vgg16",
            "VGG-16: 3x3 convolutions and 2x2 pooling. Each pooling halves the sides; the channels double up to 512.",
        ),
        Drawing(
            "resnet34",
            "resnet34",
            "ResNet-34: equal blocks stand once with their number. A solid arc is the identity; a dashed one changes "
            "the shape, here with a 1x1 convolution.",
        ),
        Drawing(
            "twins",
            "plain34 --beside resnet34",
            "The plain network of 34 layers, and its residual twin at the right: the same layers with shortcuts.",
        ),
        Drawing(
            "googlenet",
            "googlenet --set auxiliary_heads=2",
            "GoogLeNet: nine inception modules with pooling between them, and the two side heads of training.",
        ),
        Drawing("mobilenet_v1", "mobilenet_v1", "MobileNet v1: depthwise, then pointwise, thirteen times."),
        Drawing(
            "mobilenet_v2",
            "mobilenet_v2",
            "MobileNet v2: 17 bottlenecks; those that keep their shape have a shortcut around them.",
        ),
        Drawing("efficientnet_b0", "efficientnet_b0", "EfficientNet B0, the baseline of compound scaling."),
    ),
    "Blocks": (
        Drawing(
            "residual_block",
            "resnet34 --level block",
            "A residual block: a[l] goes through two layers and is added to z[l+2] before the activation. Where the "
            "shape changes, the shortcut has a convolution, the W_s of the lectures.",
        ),
        Drawing(
            "bottleneck_block",
            "resnet50 --level block",
            "The bottleneck blocks of ResNet-50: 1x1, 3x3, 1x1. The paper has its stride in the first 1x1 "
            "(`resnet50_v1`), as published weights do not.",
        ),
        Drawing(
            "inception_module",
            "googlenet --level block --stage 1",
            "An inception module: four branches see the same input, and their outputs are stacked as channels. The 1x1 "
            "convolutions before the 3x3 and the 5x5 are the bottlenecks.",
        ),
        Drawing(
            "naive_module",
            "googlenet_naive --level block --stage 1",
            "The naive module, without the 1x1 convolutions. `casebook explain-cost inception` compares the two.",
        ),
        Drawing(
            "inverted_residual",
            "mobilenet_v2 --level block --stage 3",
            "MobileNet v2's bottleneck: a 1x1 convolution expands by six, a depthwise one filters, and a 1x1 without "
            "activation projects back.",
        ),
        Drawing("dense_block", "densenet121 --level block --stage 1", "DenseNet: a layer's output joins earlier ones."),
    ),
    "Every layer": (
        Drawing(
            "resnet50_layers",
            "resnet50 --level layers --stage 1",
            "Every call of ResNet-50's first stage. Without --stage there is a sheet for each stage; --html gives a "
            "page in which each box shows its numbers.",
        ),
    ),
    "Chains of layers as volumes": (
        Drawing(
            "bottleneck",
            "volume --input 28x28x192 --layers conv1-16,conv5-32+same",
            "Inception's bottleneck: a 1x1 convolution narrows 192 channels to 16 before the 5x5 convolution gives 32. "
            "`casebook explain-cost bottleneck` compares it with the 5x5 alone.",
        ),
        Drawing(
            "one_by_one",
            "volume --input 28x28x192 --layers conv1-32",
            "A 1x1 convolution keeps height and width and changes the number of channels alone.",
        ),
        Drawing(
            "normal_convolution",
            "volume --input 6x6x3 --layers conv3-5",
            "A normal convolution: each of its five filters is as deep as the input.",
        ),
        Drawing(
            "separable_convolution",
            "volume --input 6x6x3 --layers dw3,conv1-5",
            "The same in two steps, depthwise and then pointwise. `casebook explain-cost separable` compares both.",
        ),
    ),
    "A filter that slides over numbers": (
        Drawing(
            "sliding_normal",
            "sliding --kind normal",
            "A normal convolution at its first and at its last position: the products of all three channels add up to "
            "one number. With `--out steps.html` it becomes a page with a button for each position.",
        ),
        Drawing(
            "sliding_depthwise",
            "sliding --kind depthwise --step 6",
            "A depthwise convolution: each channel has a filter of its own and fills an output of its own.",
        ),
        Drawing(
            "sliding_pointwise",
            "sliding --kind pointwise --step 6",
            "A pointwise convolution: each of the five filters weighs the three channels at one place.",
        ),
        Drawing(
            "sliding_1x1",
            "sliding --kind 1x1 --step 4",
            "A 1x1 filter on a single channel only multiplies: here each number is doubled.",
        ),
        Drawing(
            "sliding_same",
            "sliding --channels 1 --padding same",
            "Same padding: zeros around the input keep its size.",
        ),
        Drawing(
            "sliding_stride",
            "sliding --channels 1 --size 7 --stride 2",
            "Stride 2: the window moves two cells at a time, and the output is smaller.",
        ),
    ),
    "What one output sees": (
        Drawing(
            "field",
            "field",
            "Three stacked 3x3 convolutions see what one 7x7 sees, with fewer weights and more non-linear activations.",
        ),
        Drawing("field_5x5", "field --windows 3,3", "Two 3x3 convolutions in place of one 5x5."),
    ),
    "Scaling, transfer, test time, results": (
        Drawing(
            "scaled",
            "scaled --result scale.json",
            "EfficientNet B0, and what `casebook scale` finds for about twice its multiply-adds: wider, deeper, at a "
            "higher resolution, or all three at once. The record is [scale.json](scale.json).",
        ),
        Drawing(
            "freeze",
            "freeze",
            "Which parts of MobileNet v2 learn when it is transferred, and how fast: the fewer pictures, the more is "
            "frozen. The rows are what `casebook train` chooses by itself.",
        ),
        Drawing(
            "freeze_vgg16",
            "freeze --network vgg16",
            "VGG-16 transferred to two classes: almost all of its weights are in its fully connected layers.",
        ),
        Drawing("boxes", "boxes", "The crops of AlexNet's 10-crop protocol; the mirror images are not drawn."),
        Drawing(
            "boxes_144",
            "boxes --protocol 144-crop",
            "GoogLeNet's 144 crops: four scales, three squares of each, six crops of each square, each also mirrored.",
        ),
        Drawing(
            "bars",
            "bars",
            "The results of ILSVRC by year. Grey bars are entries whose network is not in Casebook; the depths are "
            "counted. Almost every figure is one of several networks together.",
        ),
    ),
}  # fmt: skip


def drawn(drawing: Drawing) -> str:
    """The SVG that the command writes, run inside docs/drawings; the file itself goes to a temporary folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{drawing.name}.svg"
        os.chdir(FOLDER)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                app(["draw", *shlex.split(drawing.command), "--out", str(out)], standalone_mode=False)
        finally:
            os.chdir(before)
        return out.read_text(encoding="utf-8")


def page() -> str:
    """The page of the gallery."""
    lines = [
        "<!-- Written by docs/generate.py from docs/gallery.py. -->",
        "# Drawings\n",
        "`casebook draw` draws the networks and the computations of the case studies. Every number is counted from the "
        "live network or computed; none is typed in. The files are SVG: they scale, print, follow the light or dark "
        "colours of the reader, and say in words what they show. A page changes their colours with a rule such as "
        '`svg.casebook-drawing { --cb-conv: #fff; }`. From Python, `casebook.illustrate("field")` gives the same '
        "drawings, which show themselves in a notebook.\n",
    ]
    for section, drawings in SECTIONS.items():
        lines.append(f"## {section}\n")
        for drawing in drawings:
            lines += [f"![{drawing.words.partition(':')[0].partition('. ')[0]}]({drawing.name}.svg)\n",
                      f"{drawing.words}\n", f"    {drawing.whole_command}\n"]  # fmt: skip
    known = {drawing.name for drawings in SECTIONS.values() for drawing in drawings}
    lines += [
        "## The pictures of the lectures\n",
        "All drawings are our own; none is traced. This is every picture of the lectures with the drawing that shows "
        "the same, or the reason why there is none.\n",
        lecture_pictures.table(known),
    ]
    return "\n".join(lines)


PAGES = {
    "drawings/README.md": page,
    **{
        f"drawings/{drawing.name}.svg": lambda drawing=drawing: drawn(drawing)
        for drawings in SECTIONS.values()
        for drawing in drawings
    },
}
