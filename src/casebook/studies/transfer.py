"""Which transfer strategy wins with how many pictures?"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..data.sources import load_source
from ..errors import DataError, RecipeError
from ..models import create_model, model_card
from ..models.layers import Network, replace_classifier
from ..models.resnet import basic
from ..models.resnet_cifar import CifarResNet, Variant
from ..models.weights import Weights, load_into, resolve
from ..reports import figures
from ..training.recipe import Recipe
from ..training.transfer import Frozen, parts
from .experiment import Lab, Study
from .few_pictures import differences, in_points, intervals, percents, shown_as_often, size_axis, sizes_of
from .trials import IN_MEMORY_SIDE, Arm, Budget, PictureSet

STRATEGIES = {"scratch": "none", "head": "head", "last stage": "last:1", "everything": "full"}
RATES = (1.0, 0.3, 0.1)
SHIPPED = ("resnet20", "cifar10")  # a network whose weights come with the package, and their name
FEWEST_CLASSES = 4  # that can be halved


class Setting(NamedTuple):
    """How long, and with how many pictures of each class beside all there are."""

    sizes: tuple[int, ...]
    epochs: int
    batch_size: int
    options: Mapping[str, Any]  # of the pictures
    source_epochs: int = 0  # of the network that the others start from, where it is trained here
    least_shown: int = 0  # pictures in an epoch
    val_share: int = 1  # every so many of the validation pictures are used


QUICK_HALVES = Setting((2, 5, 10, 25), 8, 32, {}, 12)
QUICK_WEIGHTS = Setting(
    (2, 5, 10), 4, 16, {"most_per_class": 25, "most_test_per_class": 100}, least_shown=128, val_share=3
)
FULL_HALVES = Setting((2, 5, 10, 25, 100, 500), 60, 128, {"val_fraction": 0.1}, 100)
FULL_WEIGHTS = Setting((2, 5, 10, 25, 100, 500), 60, 64, {})


class Start(NamedTuple):
    """What all strategies but the first start from."""

    scratch: Callable[[], Network]
    transferred: Callable[[], Network]
    folded_norms: bool


def run(lab: Lab) -> None:
    model, spec = _named_weights(lab)
    found = resolve(spec, model) if spec else None
    if found is not None and not lab.model and _knows(found, lab.data):
        found = None
        lab.note(f"The weights that come with {model} are of these very classes, so another network is the start.")
    if found is not None:
        setting = QUICK_WEIGHTS if lab.quick else FULL_WEIGHTS
        pictures, start = _from_weights(lab, setting, model, found)
    else:
        setting = QUICK_HALVES if lab.quick else FULL_HALVES
        pictures, start = _from_half(lab, setting)

    pictures = dataclasses.replace(pictures, val=pictures.val[:: setting.val_share])
    num_shown = max(len(pictures.train), setting.least_shown)
    budget = Budget(epochs=setting.epochs, learning_rates=RATES, batch_size=setting.batch_size)
    sizes = sizes_of(pictures, setting.sizes)
    arms: dict[str, list[Arm]] = {name: [] for name in STRATEGIES}
    for size in sizes:
        for name, strategy in STRATEGIES.items():
            arm = lab.arm(
                f"{name}, {size} a class",
                start.scratch if strategy == "none" else start.transferred,
                partial(shown_as_often, pictures, size, num_shown=num_shown),
                budget,
                learning=partial(learning_parts, strategy=strategy, folded_norms=start.folded_norms),
            )
            arms[name].append(arm)
    _report(lab, sizes, arms)


def learning_parts(
    network: nn.Module, *, strategy: str, folded_norms: bool
) -> tuple[list[tuple[str, nn.Module, float]], Callable[[], object]]:
    """The parts that learn by a strategy, and what puts them into training mode; the rest stays to the bit."""
    learning = parts(network, strategy, Recipe())  # type: ignore[call-arg]
    if strategy == "none":
        return learning, network.train
    return learning, Frozen(network, learning, folded_norms).train


def _named_weights(lab: Lab) -> tuple[str, str]:
    """The network and the weights asked for, or those that come with the package where pictures have colours."""
    if lab.weights and not lab.model:
        raise RecipeError(f"weights are {lab.weights!r}, but of which network? add --model")
    if lab.model:
        return lab.model, lab.weights or "imagenet"
    model, name = SHIPPED
    comes_with_it = any(published.name == name for published in model_card(model).weights)
    return (model, name) if comes_with_it and not lab.is_digits else (model, "")


def _knows(weights: Weights, data: str) -> bool:
    """Whether the classes are those of the weights, which so have perhaps seen the very pictures held back here."""
    return weights.classes is not None and set(weights.classes) == set(load_source(data).classes)


def _from_weights(lab: Lab, setting: Setting, model: str, weights: Weights) -> tuple[PictureSet, Start]:
    prepare = weights.preprocessing or model_card(model).preprocessing
    side = min(prepare.size, IN_MEMORY_SIDE) if lab.quick else prepare.size
    pictures = lab.pictures(side=side, mode=prepare.mode, **setting.options)
    preprocessing = dataclasses.replace(pictures.preprocessing, mean=prepare.mean, std=prepare.std)
    pictures = dataclasses.replace(pictures, preprocessing=preprocessing)
    options = dict(weights.options) | {"num_classes": pictures.num_classes, "in_channels": prepare.channels}
    scratch = partial(create_model, model, **options)

    def transferred() -> Network:
        network = scratch()
        load_into(network, weights, replace_head=True)
        return network

    lab.note(f"Start: {model} with the weights {weights.source}, fed {side}x{side} pixels.")
    if side != prepare.size:
        lab.note(f"The weights were made for {prepare.size}x{prepare.size} pixels; --full feeds them that.")
    return pictures, Start(scratch, transferred, weights.folded_norms)


def _from_half(lab: Lab, setting: Setting) -> tuple[PictureSet, Start]:
    """A network trained on the first half of the classes, and the pictures of the other half."""
    every = lab.pictures(side=16 if lab.is_digits else 32, **setting.options)
    if every.num_classes < FEWEST_CLASSES:
        raise DataError(
            f"{every.source.name} has {every.num_classes} classes, expected at least {FEWEST_CLASSES}, of which half "
            "train the network to start from; or give it weights to start from with --model and --weights"
        )
    half = every.num_classes // 2
    first, second = range(half), range(half, every.num_classes)
    options: dict[str, Any] = {"side": every.preprocessing.size, **setting.options}
    source, target = lab.pictures(classes=first, **options), lab.pictures(classes=second, **options)
    depth = 1 if lab.quick else 3  # 8 layers, or 20

    def build(num_classes: int) -> CifarResNet:
        return CifarResNet(Variant(basic, depth), num_classes=num_classes, in_channels=target.in_channels)

    budget = Budget(epochs=setting.source_epochs, learning_rates=RATES[2:], batch_size=setting.batch_size)
    trained = lab.arm("source network", partial(build, half), source, budget, seeds=lab.seeds[:1])
    state: dict[str, Tensor] = trained.runs[0].load_into(build(half)).state_dict()

    def transferred() -> Network:
        network = build(half)
        network.load_state_dict(state)
        replace_classifier(network, target.num_classes)
        return network

    known, new = ", ".join(source.source.classes), ", ".join(target.source.classes)
    lab.note(
        f"Start: a residual network of {6 * depth + 2} layers, trained on the classes {known} (test error there "
        f"{100 * trained.error:.1f} %); what is learnt are the classes {new}."
    )
    return target, Start(partial(build, target.num_classes), transferred, False)


def _report(lab: Lab, sizes: list[int], arms: Mapping[str, list[Arm]]) -> None:
    figure, axes = figures.canvas(width=10.5, columns=2)
    lines = {name: percents(of_size) for name, of_size in arms.items()}
    figures.curves(axes[0], lines, x=sizes)
    size_axis(axes[0], sizes)
    axes[0].set_ylabel("test error in %")
    apart = {name: differences(of_size, arms["scratch"]) for name, of_size in arms.items() if name != "scratch"}
    intervals(axes[1], sizes, apart, first_colour=1)
    axes[1].set_ylabel("points of test error less scratch's")
    lab.picture(
        "Test error against the number of pictures, and the difference to a start from scratch",
        figures.svg(figure),
        "Left: a line for each strategy, its test error over the training pictures of each class; the seeds' range is "
        "shaded. Right: how far each strategy is from scratch at each number, with 95 % intervals.",
    )
    lab.table(
        "Test error in %",
        ("pictures of each class", *STRATEGIES, "fewest mistakes"),
        [
            (str(size), *(f"{100 * arms[name][place].error:.1f}" for name in STRATEGIES), _winner(arms, place))
            for place, size in enumerate(sizes)
        ],
        "Of the last column's strategies, the first makes the fewest mistakes; those after it are not detectably "
        "worse.",
    )
    lab.table(
        "Paired differences in points of test error",
        ("pictures of each class", *(f"{name} less scratch" for name in apart), "everything less head"),
        [
            (
                str(size), *(in_points(of_size[place]) for of_size in apart.values()),
                in_points(differences(arms["everything"], arms["head"])[place]),
            )
            for place, size in enumerate(sizes)
        ],
        "With 95 % intervals over seeds and pictures; * marks those without zero. Each is for itself: of twenty "
        "such, one would be without zero by chance.",
    )  # fmt: skip
    few, many = sizes[0], sizes[-1]
    lab.compare(f"with {few} pictures of each class, a new head alone makes fewer mistakes than a start from scratch",
                arms["head"][0], arms["scratch"][0], "lower")  # fmt: skip
    lab.compare(f"with {few} pictures of each class, a new head alone makes fewer mistakes than fine-tuning everything",
                arms["head"][0], arms["everything"][0], "lower")  # fmt: skip
    lab.compare(f"with all {many} pictures of each class, fine-tuning everything makes fewer mistakes than a new head "
                "alone", arms["everything"][-1], arms["head"][-1], "lower")  # fmt: skip
    lab.compare(f"with all {many} pictures of each class, fine-tuning everything makes fewer mistakes than a start "
                "from scratch", arms["everything"][-1], arms["scratch"][-1], "lower")  # fmt: skip


def _winner(arms: Mapping[str, list[Arm]], place: int) -> str:
    """The best strategy at a number of pictures, and after it those that cannot be told from it."""
    ranked = sorted(arms, key=lambda name: arms[name][place].error)
    best = arms[ranked[0]]
    return ", ".join(
        [ranked[0]]
        + [name for name in ranked[1:] if not differences([arms[name][place]], [best[place]])[0].is_detectable]
    )


STUDY = Study(
    name="transfer",
    title="Transfer: what should learn, with how many pictures",
    question="Scratch, a new head, the last stage or everything: which strategy wins with how many pictures?",
    paper='Yosinski, Clune, Bengio, Lipson, "How transferable are features in deep neural networks?", NIPS 2014, '
    "https://arxiv.org/abs/1411.1792",
    claim="On halves of ImageNet's classes a network that starts from features of the other half ends better than one "
    "from random weights, also when all of it is fine-tuned (abstract; Figure 2); the highest layers, kept as they "
    "are, fit the new task worst.",
    design="A network trained on half of the classes, or one with given weights, learns classes that are new to it "
    "by four strategies: from random weights, a new head on everything else frozen, the last stage as well, and "
    "all stages at rates that fall toward the stem (a tenth of the head's for the last stage, then half each). At "
    "each number of pictures all strategies see the same pictures, drawn anew for each seed, for the same number "
    "of steps, which is the same at all numbers too, and choose between the same learning rates by validation. The "
    "validation pictures are more than the fewest training pictures, which is kinder to all strategies than "
    "practice.",
    would_change="A start that has seen far more than there is to learn from: on halves of the digits it has seen "
    "about as many pictures as the target has, of few classes, so there is little to bring along. Classes further "
    "from those that the start knows: the head alone loses first. Longer training or larger rates for the stages: "
    "with many pictures everything and scratch come closer. There is one starting network for all seeds; another "
    "one is another experiment.",
    run=run,
)
