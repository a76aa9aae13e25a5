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

from ..models import create_model
from ..models.googlenet import AUXILIARY, TABLE_1, Convolution, as_in_caffe, reduced
from ..models.layers import ConvNormReLU, ConvReLU, Head, Network, initialise_convolutions
from ..reports import figures
from .experiment import Experiment, Study
from .one_by_one import ROWS, InceptionNetwork, narrow, narrowed
from .pictures import PictureSet
from .trials import Arm, Measure, TrainingBudget, prepared_batches
from .verdict import judge_ratio, paired_ratio

HEADS = (0, 1, 2)
TABLE = tuple(tuple(stage) for stage in TABLE_1)
SHARE = 0.125  # of GoogLeNet's filters, those of the heads included
NUM_STARTS = 12  # untrained networks of each arm whose gradients are compared
MEASURED_PICTURES = 32
NOTABLE = 1.1  # ratio of gradient norms
FLOOR = 1e-8  # of the logarithmic picture; a network of dead units has no gradient

Gradients = dict[str, NDArray[np.float64]]


class Era(NamedTuple):
    """The same modules before and after batch norm: biases with Caffe's initialisation, or norms with He's."""

    convolution: Convolution
    initialise: Callable[[Any], None]
    heads: tuple[int, ...]
    network: str  # in the catalogue, for full mode


KINDS = {
    "without batch norm": Era(ConvReLU, as_in_caffe, HEADS, "googlenet"),
    "with batch norm": Era(ConvNormReLU, initialise_convolutions, (0, 2), "googlenet_bn"),
}
DIGITS = {"side": 8, "most_per_class": 80}
OTHERS = {"side": 16, "most_per_class": 100}
QUICK = TrainingBudget(epochs=10, learning_rates=(0.1, 0.03), batch_size=32)
FULL = TrainingBudget(epochs=60, learning_rates=(0.03, 0.01), tuning_epochs=10, batch_size=128)


def small_googlenet(kind: Era, *, num_classes: int, in_channels: int) -> Network:
    """GoogLeNet's nine modules at an eighth of the filters, with both of the paper's heads, narrowed as well."""
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


def head(kind: Era, in_channels: int, num_classes: int) -> Head:
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
    return Head(hidden, num_classes, pool=pool, dropout=0.7)


def with_heads(build: Callable[[], Network], heads: int) -> Network:
    """A network built with both heads, of which it keeps the first `heads`, so all arms start with the same weights."""
    network = build()
    for row in AUXILIARY[heads:]:
        del network.auxiliary[row]
    return network


def some_pictures(pictures: PictureSet, device: torch.device) -> tuple[Tensor, Tensor]:
    """A fixed batch of training pictures as the network sees them, not augmented, and their labels."""
    step = max(1, len(pictures.train) // MEASURED_PICTURES)
    some = pictures.train[::step][:MEASURED_PICTURES]
    (batch,) = prepared_batches(pictures, some, device, batch_size=MEASURED_PICTURES)
    return batch


def gradients(network: Network, images: Tensor, labels: Tensor) -> dict[str, float]:
    """The norms of the loss's gradient on a batch, without dropout, computed on a copy to leave the network unchanged.

    "early": for the weights of the stem and the first stage, from all losses; "early_last": from the last head's loss
    only; "late": for the weights of the last stage, which no auxiliary head reaches.
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


def run(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures, budget = experiment.pictures(**(DIGITS if experiment.is_digits else OTHERS)), QUICK
    else:
        pictures, budget = experiment.pictures(side=224 if experiment.is_own_data else 32, val_fraction=0.1), FULL
    images, labels = some_pictures(pictures, experiment.device)
    options: dict[str, Any] = {"num_classes": pictures.num_classes, "in_channels": pictures.in_channels}
    builds: dict[tuple[str, int], Callable[[], Network]] = {}
    for name, kind in KINDS.items():
        if experiment.is_quick:
            whole = partial(small_googlenet, kind, **options)
        else:
            small = pictures.preprocessing.size < 64
            whole = partial(create_model, kind.network, auxiliary_heads=2, small_stem=small, **options)
        builds |= {(name, heads): partial(with_heads, whole, heads) for heads in kind.heads}
    starts = {key: initial_gradients(build, images, labels) for key, build in builds.items()}
    _report_starts(experiment, starts)
    measure: Measure = partial(gradients, images=images, labels=labels)  # type: ignore[assignment]
    arms = {
        key: experiment.arm(_arm_name(*key), build, pictures, budget, measure=measure) for key, build in builds.items()
    }
    _report_arms(experiment, arms, starts)
    without, with_norm = KINDS
    experiment.compare(
        "without batch norm a network trained with both heads makes fewer mistakes than one without heads",
        arms[without, 2], arms[without, 0], "lower",
    )  # fmt: skip
    experiment.compare(
        "without batch norm two heads make fewer mistakes than one", arms[without, 2], arms[without, 1], "lower"
    )
    experiment.compare(
        "with batch norm a network trained with both heads makes fewer mistakes than one without heads",
        arms[with_norm, 2], arms[with_norm, 0], "lower",
    )  # fmt: skip


def _arm_name(kind: str, heads: int) -> str:
    return f"{kind}, {('no heads', 'one head', 'two heads')[heads]}"


def initial_gradients(build: Callable[[], Network], images: Tensor, labels: Tensor) -> Gradients:
    """(NUM_STARTS,) of each gradient norm, for untrained networks that are paired across the arms by their seed."""
    found = []
    for seed in range(NUM_STARTS):
        torch.manual_seed(seed)
        found.append(gradients(build().to(images.device), images, labels))
    return {what: np.array([row[what] for row in found]) for what in found[0]}


def _report_starts(experiment: Experiment, starts: Mapping[tuple[str, int], Gradients]) -> None:
    rows = []
    for (name, heads), found in starts.items():
        early, late = np.median(found["early"]), np.median(found["late"])
        rows.append(
            (_arm_name(name, heads), f"{early:.3g}", f"{late:.3g}", f"{np.median(found['early'] / found['late']):.3f}")
        )
    experiment.table(
        "Norm of the gradient before the first step",
        ("network", "stem and stage 1", "stage 3", "early over late"),
        rows,
        f"Medians over {NUM_STARTS} initialisations, on the same {MEASURED_PICTURES} training pictures, in training "
        "mode without dropout; the weights of all convolutions of these stages.",
    )
    for name in KINDS:
        ratio = paired_ratio(starts[name, 2]["early"], starts[name, 0]["early"])
        experiment.verdict(
            f"{name}, the heads increase the gradient that reaches the early stages at the start by more than "
            f"{100 * (NOTABLE - 1):.0f} %",
            judge_ratio(ratio, "higher", NOTABLE),
            f"norm with two heads over that without: {ratio.text('paired initialisations')}",
            experiment.where,
            ratio.ratio,
            (ratio.low, ratio.high),
            "ratio of gradient norms",
        )


def _report_arms(
    experiment: Experiment, arms: Mapping[tuple[str, int], Arm], starts: Mapping[tuple[str, int], Gradients]
) -> None:
    experiment.table(
        "Errors and gradients at the end",
        (
            "network", "learning rate", "test error in %", "of each seed", "early gradient, first epoch",
            "last epoch", "last epoch, from the last head", "training s",
        ),
        [
            (
                arm.name, f"{arm.learning_rate:g}", arm.percent, arm.percents,
                *(f"{np.nanmean(arm.curve(what)[:, at]):.3g}" for what, at in
                  (("early", 0), ("early", -1), ("early_last", -1))),
                f"{arm.seconds:.0f}",
            )
            for arm in arms.values()
        ],
        "Gradient norms: means over the seeds. The auxiliary heads are used in training only: at test time all "
        "networks of a kind are the same.",
    )  # fmt: skip
    _draw(experiment, arms, starts)
    _draw(experiment, arms, None)


def _draw(
    experiment: Experiment, arms: Mapping[tuple[str, int], Arm], starts: Mapping[tuple[str, int], Gradients] | None
) -> None:
    """The gradients over the epochs, from the `starts` on, or without these the validation errors."""
    figure, axes = figures.canvas(width=9.5, columns=2, sharey=True)
    for part, (name, kind) in zip(axes, KINDS.items(), strict=True):
        lines, epochs = {}, None
        for heads in kind.heads:
            arm = arms[name, heads]
            if starts is None:
                lines[arm.name] = 100 * (1 - arm.curve("val_top1"))
            else:
                start, curve = starts[name, heads]["early"][: len(arm.trials)], arm.curve("early")
                lines[arm.name] = np.column_stack([start, np.maximum(curve, FLOOR)])
                epochs = np.arange(curve.shape[1] + 1)
        figures.curves(part, lines, x=epochs)
        part.set_xlabel("epoch")
    if starts is not None:
        axes[0].set_yscale("log")
    axes[0].set_ylabel("validation error in %" if starts is None else "norm of the gradient")
    title = "Learning with and without heads" if starts is None else "Gradient of the early stages over training"
    experiment.picture(
        title, figure, f"{title}: two panels, without and with batch norm, a line for each number of heads."
    )


STUDY = Study(
    name="auxiliary-heads",
    title="Auxiliary heads: GoogLeNet with 0, 1 and 2 of them",
    question="What do GoogLeNet's auxiliary heads do: to the gradient that reaches the early stages, and to the "
    "mistakes?",
    paper='Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5, https://arxiv.org/abs/1409.4842; '
    'Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 4, '
    "https://arxiv.org/abs/1512.00567",
    claim="The heads are there to increase the gradient that is propagated back, and to regularise; the paper calls "
    "their effect minor, about 0.5 %, and one of them enough (GoogLeNet, section 5). In Inception v3's paper a head "
    "does not speed up early training, only slightly improves the end, and is considered a regulariser (section 4).",
    paper_setup="ImageNet, 1.2 million training pictures of 224 pixels",
    design="All nine modules, at an eighth of the filters, with 0, 1 (after 4a) or 2 heads (after 4a and 4d) whose "
    "losses have weight 0.3, once with biases and Caffe's initialisation as in 2014 and once with batch norm; in full "
    "mode googlenet and googlenet_bn. Arms of a kind start with the same weights outside the heads, see the same "
    "pictures, and choose among the same learning rates by a whole training at each. Gradients: after each epoch, on a "
    "copy, on the same pictures.",
    would_change="Without batch norm a short training depends on whether the network starts to learn at all: with more "
    "epochs, a better initialisation, or Adam, a network without heads can leave chance as well, and the difference "
    "can shrink towards the paper's.",
    run=run,
)
