"""What do GoogLeNet's auxiliary heads do: to the gradient that reaches the early stages, and to the mistakes?"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..data.loader import Batches
from ..models import create_model
from ..models.alexnet import ConvReLU
from ..models.googlenet import AUXILIARY, TABLE_1, Convolution, as_in_caffe, reduced
from ..models.layers import Classifier, ConvNormReLU, Network, initialise_convolutions
from ..reports import figures
from ..training.plan import make_prepare
from .experiment import Lab, Study
from .one_by_one import ROWS, InceptionNetwork, narrow, narrowed
from .trials import Arm, Budget, Measure, PictureSet
from .verdict import time_ratio

HEADS = (0, 1, 2)
TABLE = tuple(tuple(stage) for stage in TABLE_1)
SHARE = 0.125  # of GoogLeNet's filters, those of the heads included
NUM_STARTS = 12  # untrained networks whose gradients are compared
MEASURED_PICTURES = 32
NOTABLE = 1.1  # ratio of gradient norms
FLOOR = 1e-8  # of what a logarithmic picture shows; a network of dead units has no gradient at all


class Kind(NamedTuple):
    """The same modules before and after batch norm came: the paper's biases with Caffe's start, or norms with He's."""

    convolution: Convolution
    initialise: Callable[[Any], None]
    heads: tuple[int, ...]
    network: str  # of the catalogue, for the full mode


KINDS = {
    "without batch norm": Kind(ConvReLU, as_in_caffe, HEADS, "googlenet"),
    "with batch norm": Kind(ConvNormReLU, initialise_convolutions, (0, 2), "googlenet_bn"),
}
DIGITS = {"side": 8, "most_per_class": 80}
OTHERS = {"side": 16, "most_per_class": 100}
QUICK = Budget(epochs=10, learning_rates=(0.1, 0.03), batch_size=32)
FULL = Budget(epochs=60, learning_rates=(0.03, 0.01), tuning_epochs=10, batch_size=128)


def small_googlenet(kind: Kind, *, num_classes: int, in_channels: int) -> Network:
    """GoogLeNet's nine modules at an eighth of the filters, with both heads as the paper builds them, narrowed too."""
    network = InceptionNetwork(
        narrowed(reduced, SHARE), kind.convolution, TABLE, num_classes=num_classes, in_channels=in_channels,
        stem_channels=round(192 * SHARE),
    )  # fmt: skip
    kind.initialise([*network.stem.modules(), *network.stages.modules()])
    network.head.dropout = nn.Dropout(0.4)
    for row in AUXILIARY:
        f = narrow(ROWS[row], SHARE)
        network.auxiliary[row] = head(kind, f.one + f.three + f.five + f.pooled, num_classes)
    return network


def head(kind: Kind, in_channels: int, num_classes: int) -> Classifier:
    """Section 5 of the paper: 4x4 averages, a 1x1 convolution, a hidden layer, dropout 0.7."""
    channels, hidden = round(128 * SHARE), round(1024 * SHARE)
    pool = nn.Sequential(
        OrderedDict(
            average=nn.AdaptiveAvgPool2d(4),
            conv=kind.convolution(in_channels, channels, 1),
            flatten=nn.Flatten(),
            linear=nn.Linear(channels * 4 * 4, hidden),
            activation=nn.ReLU(),
        )
    )
    kind.initialise(pool.modules())
    return Classifier(hidden, num_classes, pool=pool, dropout=0.7)


def with_heads(build: Callable[[], Network], heads: int) -> Network:
    """A network built with both heads, of which the first `heads` stay: all arms start with the same weights."""
    network = build()
    for row in AUXILIARY[heads:]:
        del network.auxiliary[row]
    return network


def some_pictures(pictures: PictureSet, device: torch.device) -> tuple[Tensor, Tensor]:
    """A fixed batch of training pictures as the network sees them, not augmented, and their labels."""
    step = max(1, len(pictures.train) // MEASURED_PICTURES)
    batches = Batches(
        pictures.source, pictures.train[::step][:MEASURED_PICTURES], pictures.preprocessing,
        batch_size=MEASURED_PICTURES, memory_share=0,
    )  # fmt: skip
    batch = next(iter(batches.epoch()))
    images = make_prepare(pictures.preprocessing, device, True)(batch)
    batches.close()
    return images, batch.labels.to(device)


def gradients(network: Network, images: Tensor, labels: Tensor) -> dict[str, float]:
    """The norm of the loss's gradient on a batch, without dropout; computed on a copy, so that nothing is disturbed.

    "early": of the weights of the stem and the first stage, by all losses; "early_last": by the last head's alone;
    "late": of the weights of the last stage, which no auxiliary head reaches.
    """
    copied = copy.deepcopy(network).train()
    for module in copied.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    early = [w for part in (copied.stem, copied.stages[0]) for w in part.parameters() if w.ndim == 4]
    late = [w for w in copied.stages[-1].parameters() if w.ndim == 4]
    with torch.enable_grad():
        outputs = copied(images)
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        last = functional.cross_entropy(logits.float(), labels)
        total = last + sum(
            copied.auxiliary_weight * functional.cross_entropy(extra.float(), labels) for extra in auxiliary
        )
        of_last = torch.autograd.grad(last, [*early, *late], retain_graph=True)
        of_total = torch.autograd.grad(total, early)
    return {
        "early": _norm(of_total),
        "early_last": _norm(of_last[: len(early)]),
        "late": _norm(of_last[len(early) :]),
    }


def _norm(gradients: tuple[Tensor, ...]) -> float:
    return float(torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt())


def run(lab: Lab) -> None:
    if lab.quick:
        pictures, budget = lab.pictures(**(DIGITS if lab.is_digits else OTHERS)), QUICK
    else:
        pictures, budget = lab.pictures(side=224 if lab.given else 32, val_fraction=0.1), FULL
    images, labels = some_pictures(pictures, lab.device)
    options: dict[str, Any] = {"num_classes": pictures.num_classes, "in_channels": pictures.in_channels}
    builds: dict[str, Callable[[], Network]] = {}
    for name, kind in KINDS.items():
        if lab.quick:
            builds[name] = partial(small_googlenet, kind, **options)
        else:
            small = pictures.preprocessing.size < 64
            builds[name] = partial(create_model, kind.network, auxiliary_heads=2, small_stem=small, **options)
    starts = {
        (name, heads): _at_the_start(partial(with_heads, builds[name], heads), images, labels)
        for name, kind in KINDS.items()
        for heads in kind.heads
    }
    _report_starts(lab, starts)

    measure: Measure = partial(gradients, images=images, labels=labels)  # type: ignore[assignment]
    arms = {
        (name, heads): lab.arm(
            _called(name, heads), partial(with_heads, builds[name], heads), pictures, budget, measure=measure
        )
        for name, kind in KINDS.items()
        for heads in kind.heads
    }
    _report_arms(lab, arms, starts)
    without, with_norm = KINDS
    lab.compare(
        "without batch norm a network trained with both heads makes fewer mistakes than one without heads",
        arms[without, 2], arms[without, 0], "lower",
    )  # fmt: skip
    lab.compare(
        "without batch norm two heads make fewer mistakes than one", arms[without, 2], arms[without, 1], "lower"
    )
    lab.compare(
        "with batch norm a network trained with both heads makes fewer mistakes than one without heads",
        arms[with_norm, 2], arms[with_norm, 0], "lower",
    )  # fmt: skip


def _called(name: str, heads: int) -> str:
    return f"{name}, {('no heads', 'one head', 'two heads')[heads]}"


def _at_the_start(build: Callable[[], Network], images: Tensor, labels: Tensor) -> dict[str, NDArray[np.float64]]:
    """(NUM_STARTS,) of each gradient, of untrained networks that are paired across the arms by their seed."""
    found = []
    for seed in range(NUM_STARTS):
        torch.manual_seed(seed)
        found.append(gradients(build().to(images.device), images, labels))
    return {what: np.array([row[what] for row in found]) for what in found[0]}


def _report_starts(lab: Lab, starts: Mapping[tuple[str, int], Mapping[str, NDArray[np.float64]]]) -> None:
    rows = []
    for (name, heads), found in starts.items():
        early, late = np.median(found["early"]), np.median(found["late"])
        rows.append(
            (_called(name, heads), f"{early:.3g}", f"{late:.3g}", f"{np.median(found['early'] / found['late']):.3f}")
        )
    lab.table(
        "Norm of the gradient before the first step",
        ("network", "stem and stage 1", "stage 3", "early over late"),
        rows,
        f"Medians of {NUM_STARTS} starts, on the same {MEASURED_PICTURES} training pictures, in training mode without "
        "dropout; the weights of all convolutions of these parts.",
    )
    for name in KINDS:
        ratio = time_ratio(starts[name, 2]["early"], starts[name, 0]["early"])
        held, broken = ratio.low > NOTABLE, ratio.high < NOTABLE
        lab.verdict(
            f"{name}, the heads increase the gradient that reaches the early stages at the start by more than "
            f"{100 * (NOTABLE - 1):.0f} %",
            "confirmed" if held else "contradicted" if broken else "no detectable difference",
            f"norm with two heads over that without: {ratio.ratio:.2f} (95 % interval {ratio.low:.2f} to "
            f"{ratio.high:.2f}; {NUM_STARTS} paired starts)",
            difference=ratio.ratio,
            interval=(ratio.low, ratio.high),
            unit="ratio of gradient norms",
        )


def _report_arms(
    lab: Lab,
    arms: Mapping[tuple[str, int], Arm],
    starts: Mapping[tuple[str, int], Mapping[str, NDArray[np.float64]]],
) -> None:
    lab.table(
        "Errors and gradients at the end",
        (
            "network", "learning rate", "test error in %", "of each seed", "early gradient, first epoch",
            "last epoch", "last epoch, by the last head alone", "training s",
        ),
        [
            (
                arm.name, f"{arm.learning_rate:g}", f"{100 * arm.error:.2f}",
                ", ".join(f"{100 * error:.2f}" for error in arm.errors),
                *(f"{np.nanmean(arm.curve(what)[:, at]):.3g}" for what, at in
                  (("early", 0), ("early", -1), ("early_last", -1))),
                f"{arm.seconds:.0f}",
            )
            for arm in arms.values()
        ],
        "Gradient norms: means over the seeds. Heads are used in training alone: for the answer all of a kind are the "
        "same network.",
    )  # fmt: skip
    for title, draw in (
        ("Gradient of the early stages over training", "early"),
        ("Learning with and without heads", ""),
    ):
        figure, axes = figures.canvas(width=9.5, columns=2, sharey=True)
        for part, (name, kind) in zip(axes, KINDS.items(), strict=True):
            lines = {}
            for heads in kind.heads:
                arm = arms[name, heads]
                if draw:
                    start = starts[name, heads][draw][: len(arm.runs)]
                    lines[_called(name, heads)] = np.column_stack([start, np.maximum(arm.curve(draw), FLOOR)])
                else:
                    lines[_called(name, heads)] = 100 * (1 - arm.curve("val_top1"))
            figures.curves(part, lines, x=np.arange(arms[name, 0].curve("early").shape[1] + 1) if draw else None)
            part.set_xlabel("epoch")
        if draw:
            axes[0].set_yscale("log")
        axes[0].set_ylabel("norm of the gradient" if draw else "validation error in %")
        lab.picture(
            title,
            figures.svg(figure),
            f"{title}: two panels, without and with batch norm, a line for each number of heads.",
        )


STUDY = Study(
    name="auxiliary-heads",
    title="Auxiliary heads: GoogLeNet with 0, 1 and 2 of them",
    question="What do GoogLeNet's auxiliary heads do: to the gradient that reaches the early stages, and to the "
    "mistakes?",
    paper='Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5, https://arxiv.org/abs/1409.4842; '
    'Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 4, '
    "https://arxiv.org/abs/1512.00567",
    claim="The heads are added to increase the gradient that is propagated back, and to regularise; their effect is "
    "said to be minor, about 0.5 %, and one of them to be enough (GoogLeNet, section 5). In Inception v3's paper "
    "a head gives no faster start, only a slightly better end, and is taken for a regulariser (section 4).",
    design="All nine modules, at an eighth of the filters, with 0, 1 (after 4a) or 2 heads (after 4a and 4d) whose "
    "losses count 0.3, once with biases and Caffe's start as in 2014 and once with batch norm; in full mode googlenet "
    "and googlenet_bn. Arms of a kind start with the same weights outside the heads, see the same pictures, and choose "
    "between the same learning rates by a whole training of each. Gradients: after each epoch, on a copy, of the same "
    "pictures.",
    would_change="Without batch norm a short training decides by whether the network starts to learn at all: with more "
    "epochs, a better start of the weights, or Adam, a network without heads can get away from chance as well, and "
    "the difference can shrink towards the paper's.",
    run=run,
)
