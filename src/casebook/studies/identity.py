"""Do residual blocks that start as the identity leave a trained network unharmed, and what do plain ones do to it?"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..models.layers import initialise_convolutions
from ..models.residual_parts import basic, plain, zero_padding
from ..models.resnet_cifar import VARIANTS, CifarResNet
from ..reports import figures
from .experiment import Experiment, Study
from .pictures import PictureSet
from .trials import Arm, TrainingBudget, Trial, cifar_budget, mistakes, predict, prepared_batches

BASE = "resnet20"
ADDED = 2  # blocks behind each of the three stages: 20 layers become 32
PER_CLASS = 40  # training pictures in quick mode; with more, the networks hardly make mistakes on digits
RATE = 0.03  # of the further training, the same for all arms, so that they differ in their blocks only
QUICK = TrainingBudget(epochs=10, learning_rates=(0.1,), batch_size=32)
QUICK_FURTHER = TrainingBudget(epochs=12, learning_rates=(RATE,), batch_size=32)
FULL = cifar_budget()
FULL_FURTHER = cifar_budget(epochs=60, learning_rate=RATE)
ROUNDING = 1e-5  # of a probability; a device may compute the same convolution in another order
MARGIN = 0.01  # what harmless blocks may cost: one point of test error

# The added blocks: with shortcuts or without; what is zero at the start.
KINDS: dict[str, tuple[bool, str]] = {
    "residual, last norm zero": (True, "norm"),
    "residual, last weights zero": (True, "weights"),
    "residual, He's initialisation": (True, ""),
    "plain, He's initialisation": (False, ""),
    "plain, last norm zero": (False, "norm"),
}
TRAINED = ("residual, last norm zero", "plain, He's initialisation", "plain, last norm zero")


def make_base(num_classes: int, in_channels: int) -> CifarResNet:
    return CifarResNet(VARIANTS[BASE], num_classes=num_classes, in_channels=in_channels)


def new_block(width: int, residual: bool, zero: str) -> nn.Module:
    """(B, width, H, W) -> the same shape. All kinds draw the same weights for one seed.

    `zero` is "norm" for a last batch norm whose scale is 0, "weights" for a last convolution of zeros, or "".
    """
    block = basic(width, width, 1, shortcut=zero_padding) if residual else plain(width, width, 1)
    initialise_convolutions(block.modules())
    last = [module for module in block.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)][-2:]
    conv, norm = last
    if zero:
        nn.init.zeros_((norm if zero == "norm" else conv).weight)  # type: ignore[arg-type]
    return block


def deepen(network: nn.Module, residual: bool, zero: str, added: int) -> list[nn.Module]:
    """Appends `added` new blocks to each stage, and returns them."""
    new = []
    for stage in network.stages:  # type: ignore[union-attr]
        width = [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
        for _ in range(added):
            new.append(new_block(width, residual, zero))
            stage.append(new[-1])  # type: ignore[operator]
    return new


def estimate_norms(network: nn.Module, new: list[nn.Module], pictures: PictureSet, device: torch.device) -> None:
    """Gives the new blocks' batch norms the statistics of the training pictures, so that missing statistics are not
    what fails."""
    norms = [module for block in new for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.to(device).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for images, _ in prepared_batches(pictures, pictures.train, device, batch_size=256, shuffle=True):
            network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


class AtStepZero(NamedTuple):
    """The networks right after the blocks were added, before any training."""

    arm: Arm
    probabilities: NDArray[np.float32]  # (seeds, test pictures, classes)
    validation: NDArray[np.float64]  # (seeds,) errors


def run(experiment: Experiment) -> None:
    if experiment.is_quick:
        pictures = experiment.pictures(side=16 if experiment.is_digits else 32).fewer(PER_CLASS)
        experiment.note(f"Training uses {len(pictures.train):,} of the pictures, {PER_CLASS} a class.")
        budget, further = QUICK, QUICK_FURTHER
    else:
        pictures, budget, further = experiment.pictures(side=32, val_fraction=0.1), FULL, FULL_FURTHER
    base_network = partial(make_base, pictures.num_classes, pictures.in_channels)
    base = experiment.arm(BASE, base_network, pictures, budget)
    trained = {trial.seed: trial for trial in base.trials}

    def deepened(kind: str) -> nn.Module:
        # train_once has just set the seed; the new blocks draw from it, so all kinds draw the same weights.
        network = trained[torch.initial_seed()].load_into(base_network())
        if kind:
            deepen(network, *KINDS[kind], ADDED)
        return network

    def at_step_zero(kind: str) -> AtStepZero:
        trials, probabilities, errors = [], [], []
        for seed, trial in trained.items():
            network = trial.load_into(base_network())
            torch.manual_seed(seed)
            if kind:
                estimate_norms(network, deepen(network, *KINDS[kind], ADDED), pictures, experiment.device)
            wrong = mistakes(network, pictures, experiment.device)
            trials.append(Trial(seed, 0.0, wrong, (), "", trial.folder))
            probabilities.append(predict(network, pictures, experiment.device, pictures.test)[0].probabilities)
            errors.append(mistakes(network, pictures, experiment.device, pictures.val).mean())
        arm = Arm(f"{kind or BASE}, at step 0", tuple(trials), base.chance)
        return AtStepZero(arm, np.stack(probabilities), np.array(errors))

    starts = {kind: at_step_zero(kind) for kind in ("", *KINDS)}
    changed = {
        kind: float(np.abs(start.probabilities - starts[""].probabilities).max()) for kind, start in starts.items()
    }
    arms = {"": experiment.arm(f"{BASE}, trained further", partial(deepened, ""), pictures, further)}
    for kind in TRAINED:
        arms[kind] = experiment.arm(f"{BASE} + {kind}", partial(deepened, kind), pictures, further)
    scales = [added_scale(trial) for trial in arms["residual, last norm zero"].trials]
    experiment.note(
        "The scales of the added residual blocks' last norms are 0 at the start. After the further training their mean "
        f"absolute value is {np.mean(scales):.3f}: what the blocks have learned to add."
    )
    _draw(experiment, arms, starts)
    _tabulate(experiment, base, starts, changed, arms)
    _judge(experiment, base, starts, changed, arms)


def added_scale(trial: Trial) -> float:
    """The mean absolute scale of the added residual blocks' last norms."""
    if trial.diverged:
        return math.nan
    state = trial.state()
    depth = VARIANTS[BASE].depth
    scales = [
        state[f"stages.{stage}.{depth + number}.branch.1.norm.weight"].abs().mean().item()
        for stage in range(3)
        for number in range(ADDED)
    ]
    return float(np.mean(scales))


def _draw(experiment: Experiment, arms: dict[str, Arm], starts: dict[str, AtStepZero]) -> None:
    figure, axes = figures.canvas()
    lines = {
        kind or "no blocks": 100 * np.concatenate([starts[kind].validation[:, None], 1 - arm.curve("val_top1")], 1)
        for kind, arm in arms.items()
    }
    figures.curves(axes, lines, x=np.arange(next(iter(lines.values())).shape[1]))
    axes.set_xlabel("epochs after the blocks were added")
    axes.set_ylabel("validation error in %")
    began = ", ".join(f"{name} starts at {line[:, 0].mean():.1f} %" for name, line in lines.items())
    experiment.picture(
        f"{3 * ADDED} blocks added to a trained network",
        figure,
        f"Validation error over the epochs of further training, from epoch 0, right after the blocks were added: "
        f"{began}.",
    )


def _tabulate(
    experiment: Experiment, base: Arm, starts: dict[str, AtStepZero], changed: dict[str, float], arms: dict[str, Arm]
) -> None:
    rows = [("none", base.percent, "0", arms[""].percent)]
    for kind in KINDS:
        after = arms[kind].percent if kind in arms else "not trained"
        rows.append((kind, starts[kind].arm.percent, f"{changed[kind]:.3g}", after))
    experiment.table(
        f"{3 * ADDED} blocks added to a trained {BASE}",
        ("added blocks", "test error in % at step 0", "largest change of a probability",
         "test error in % after further training"),
        rows,
        "Means over the seeds. At step 0 the new batch norms already have the statistics of the training pictures. A "
        "plain block whose last norm is zero outputs zeros, and the ReLU behind it passes no gradient, so no layer "
        "before it learns any more.",
    )  # fmt: skip


def _judge(
    experiment: Experiment, base: Arm, starts: dict[str, AtStepZero], changed: dict[str, float], arms: dict[str, Arm]
) -> None:
    for kind in ("residual, last norm zero", "residual, last weights zero"):
        num_turned = int((starts[kind].arm.wrong != base.wrong).sum())
        experiment.count(
            f"added blocks ({kind}) change no answer of the trained network",
            changed[kind] <= ROUNDING and not num_turned,
            f"largest change of any probability over {len(base.trials)} networks and {base.wrong.shape[1]:,} test "
            f"pictures: {changed[kind]:.3g}"
            + (", bit for bit the same" if not changed[kind] else f"; {num_turned} answers became right or wrong"),
        )
    experiment.compare(
        "added plain blocks with He's initialisation make a trained network worse at step 0",
        starts["plain, He's initialisation"].arm, base, "higher",
    )  # fmt: skip
    zero, none = arms["residual, last norm zero"], arms[""]
    experiment.compare(
        "after equal further training the added residual blocks cost less than one point of test error", zero, none,
        "lower", margin=MARGIN,
    )  # fmt: skip
    experiment.compare(
        "added residual blocks make the network better than equal further training without them", zero, none, "lower"
    )
    for kind in ("plain, He's initialisation", "plain, last norm zero"):
        experiment.compare(
            f"after equal further training added plain blocks ({kind.partition(', ')[2]}) make more mistakes than "
            "residual ones",
            arms[kind], zero, "higher",
        )  # fmt: skip


STUDY = Study(
    name="identity",
    title="Identity: blocks added to a trained network",
    question="Do residual blocks that start as the identity leave a trained network unharmed, before and after more "
    "training, and what do plain blocks do to it?",
    paper='He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sections 1 and 3.1, '
    'https://arxiv.org/abs/1512.03385; the zero start of the last norm: Goyal et al., "Accurate, Large Minibatch SGD: '
    'Training ImageNet in 1 Hour", 2017, section 5.1, https://arxiv.org/abs/1706.02677',
    claim="A deeper network has a solution by construction: a trained shallower one and added layers that are the "
    "identity (section 1). Plain layers do not find it; a residual block need only drive its weights to zero (section "
    "3.1). The papers argue this; they give no figure for blocks that are added to a trained network.",
    paper_setup="an argument; no experiment adds blocks to a trained network",
    design=f"{BASE} is trained once for each seed. Then {ADDED} blocks are appended to each of its three stages, with "
    "shortcuts or without, with the same initial weights, and all networks train further on the same pictures in the "
    "same order for the same number of epochs at the same learning rate. The reference trains further without new "
    "blocks.",
    would_change="Plain blocks that start as the identity themselves (a kernel with a one in its middle, behind a ReLU "
    "that keeps everything) also leave the network unchanged. A residual block whose last norm starts at 1 is not the "
    "identity: the row with He's initialisation shows it.",
    run=run,
)
