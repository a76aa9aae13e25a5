"""Which networks won ILSVRC, what they cost, and what their well-known error figures refer to."""

from typing import Any, NamedTuple

from ..drawing.depth import depth
from ..drawing.graph import trace_graph
from ..models import model_card
from ..models.card import Figure
from ..reports import figures
from .experiment import Experiment, Study


class Entry(NamedTuple):
    """One result of the competition: the figure that is quoted, and what it is a figure of."""

    year: int
    entry: str
    network: str  # in the catalogue; "" where the network was not published or is not in it
    top5_error: float  # %
    refers_to: str
    source: str


ENTRIES = (
    Entry(2012, "second place, without a convolutional network", "", 26.2, "test; several models", "AlexNet, abstract"),
    Entry(2012, "AlexNet (winner)", "alexnet", 15.3,
          "test; 7 networks, 2 of them pre-trained on all of ImageNet", "AlexNet, Table 2"),
    Entry(2013, "Clarifai (winner)", "", 11.7, "test; several networks; often said to be ZFNet's", "VGG, Table 7"),
    Entry(2013, "ZFNet", "zfnet", 14.8, "ImageNet 2012 test; 6 networks", "Zeiler and Fergus, Table 2"),
    Entry(2014, "GoogLeNet (winner)", "googlenet", 6.67, "test; 7 networks, 144 crops each",
          "GoogLeNet, Tables 2 and 3"),
    Entry(2014, "VGG (second)", "vgg16", 7.3, "test; 7 networks, dense at several scales", "VGG, Table 6"),
    Entry(2014, "VGG, after the competition", "vgg19", 6.8, "test; 2 networks, crops and dense", "VGG, Table 6"),
    Entry(2015, "ResNet (winner)", "resnet152_v1", 3.57, "test; 6 networks, dense at several scales",
          "ResNet, Table 5"),
    Entry(2017, "SENet (winner)", "senet154", 2.251, "test; several networks and crops", "SENet, section 6.2"),
)  # fmt: skip
ONE_NETWORK = ("alexnet", "zfnet", "vgg16", "vgg19", "googlenet", "resnet152_v1", "senet154")


def run(experiment: Experiment) -> None:
    rows, costs = [], {}
    for name in dict.fromkeys(entry.network for entry in ENTRIES if entry.network):
        card = model_card(name)
        layers = depth(trace_graph(name))
        costs[name] = (layers, card.parameters, card.multiply_adds)
        rows.append((name, card.year, layers, card.input_size, card.parameters, card.multiply_adds))
    experiment.table(
        "One network of each entry, counted by Casebook",
        ("network", "year", "depth", "input", "weights", "multiply-adds"),
        [(name, str(year), *rest) for name, year, *rest in rows],
        "Depth: layers with weights on the longest path. SENet-154's name leaves out the two layers of each of its 50 "
        "gates, which the longest path goes through. Its stem has three layers where ResNet has one.",
    )
    experiment.table(
        "What was reported, and what it refers to",
        ("year", "entry", "top-5 error in %", "what it refers to", "source"),
        [
            (str(e.year), e.entry, f"{e.top5_error:g}", e.refers_to, e.source)
            for e in sorted(ENTRIES, key=lambda e: (e.year, -e.top5_error))
        ],
        "2016 is left out: its winner (Trimps-Soushen) is an ensemble of networks published by others.",
    )
    single = [
        (name, f"{figure.value:g}", figure.refers_to, figure.source) for name in ONE_NETWORK for figure in _alone(name)
    ]
    experiment.table(
        "A single network, in its own paper",
        ("network", "top-5 error in %", "what it refers to", "source"),
        single,
        "One network has several errors: more views of a picture, more scales and more networks each lower it.",
    )

    figure, axes = figures.canvas(width=9.5, height=4.8)
    submitted = [(_short(e.entry), float(e.year), e.top5_error) for e in ENTRIES]
    alone = []
    for name in ONE_NETWORK:
        first = next(figure for figure in _alone(name) if "validation" in figure.refers_to)
        alone.append((name.removesuffix("_v1"), float(model_card(name).year), first.value))
    for (group, members), paint, marker in zip(
        {"entries (mostly ensembles, test set)": submitted, "one network (validation set)": alone}.items(),
        figures.COLOURS[:2], "os", strict=True,
    ):  # fmt: skip
        axes.scatter([x for _, x, _ in members], [y for _, _, y in members], color=paint, marker=marker, label=group)
    _name_points(axes, submitted, figures.COLOURS[0], left=False)
    _name_points(axes, alone, figures.COLOURS[1], left=True)
    axes.set_xlim(2011.2, 2017.9)
    axes.set_ylim(0, 28.5)
    axes.set_xticks(range(2012, 2018))
    axes.set_xlabel("year")
    axes.set_ylabel("top-5 error in %")
    axes.legend(fontsize=8, frameon=False)
    experiment.picture(
        "Errors by year: entries of many networks, and single networks",
        figure,
        "Points fall from 26 % in 2012 to 2.3 % in 2017; single networks lie above the entries of their year.",
    )
    alexnet, vgg, googlenet = costs["alexnet"], costs["vgg16"], costs["googlenet"]
    fewer = alexnet[1] / googlenet[1]
    experiment.count(
        "GoogLeNet has twelve times fewer weights than AlexNet (its paper, section 1)",
        fewer >= 12,
        f"{alexnet[1]:,} / {googlenet[1]:,} = {fewer:.2f}; the paper's own Table 1 sums to 6.8 million",
    )
    experiment.count(
        "the winner of 2014 takes fewer multiply-adds than the second",
        googlenet[2] < vgg[2],
        f"GoogLeNet {googlenet[2]:,} a picture, VGG-16 {vgg[2]:,}: {vgg[2] / googlenet[2]:.1f} times as many",
    )


def _alone(name: str) -> list[Figure]:
    """The top-5 errors on a network's card that a single network reached."""
    published = model_card(name).published
    return [figure for figure in published if figure.what == "top5_error" and "7 models" not in figure.refers_to]


def _short(entry: str) -> str:
    """The entry's name, short enough for the picture."""
    return entry.partition(" (")[0].replace(", after the competition", ", later")


def _name_points(axes: Any, members: list[tuple[str, float, float]], colour: str, *, left: bool) -> None:
    """Writes the names beside their points, moved down where two would touch."""
    lowest: dict[float, float] = {}  # by year
    for name, x, y in sorted(members, key=lambda member: -member[2]):
        below = lowest[x] = min(y, lowest.get(x, 100.0) - 1.0)
        axes.annotate(
            name, (x, y), xytext=(x - 0.08 if left else x + 0.08, below), fontsize=7, color=colour,
            ha="right" if left else "left", va="center",
        )  # fmt: skip


STUDY = Study(
    name="history",
    title="History: the winners of ILSVRC",
    question="How did the winners' error, depth, weights and multiplications change, and what does each figure refer "
    "to?",
    paper="Krizhevsky et al. 2012; Zeiler and Fergus 2014; Szegedy et al. 2015; Simonyan and Zisserman 2015; He et al. "
    "2016; Hu et al. 2018; the model cards link them",
    claim="From 26.2 % (2012, second place) to 2.251 % (2017) top-5 error on the test set.",
    paper_setup="figures printed in the papers",
    design="No training: figures printed in the papers, with what they refer to, beside what Casebook counts. An "
    "entry's error is not its network's error: entries average several networks and many views.",
    would_change="Another reading of a paper; every figure names its table.",
    run=run,
    quick_data="",
    full_data="",
)
