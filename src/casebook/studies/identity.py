"""Do residual blocks that start as the identity leave a trained network as it is, and what do plain ones do to it?"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..data.loader import Batches
from ..evaluation.inference import predict_probabilities
from ..models.layers import initialise_convolutions
from ..models.resnet import basic, plain, zero_padding
from ..models.resnet_cifar import VARIANTS, CifarResNet
from ..models.weights import read_weights
from ..reports import figures
from ..training.plan import make_prepare
from ..training.recipe import RECIPES
from .experiment import Lab, Study
from .trials import Arm, Budget, PictureSet, Trained, mistakes
from .verdict import paired_difference

BASE = "resnet20"
ADDED = 2  # blocks behind each of the three stages: 20 layers become 32
PER_CLASS = 40  # training pictures in quick mode: with more the digits leave hardly a mistake to compare
QUICK_EPOCHS, QUICK_FURTHER = 10, 12
FULL_FURTHER = 60
RATE = 0.03  # of the further training, one for all: arms at different rates would differ in more than their blocks
ROUNDING = 1e-5  # of a probability, where a device computes the same convolution in another order
MARGIN = 0.01  # what "does not hurt" may cost: one point of test error

# What is added: with shortcuts or without; what is zero at the start.
KINDS: dict[str, tuple[bool, str]] = {
    "residual, last norm zero": (True, "norm"),
    "residual, last weights zero": (True, "weights"),
    "residual, He's draw": (True, ""),
    "plain, He's draw": (False, ""),
    "plain, last norm zero": (False, "norm"),
}
TRAINED = ("residual, last norm zero", "plain, He's draw", "plain, last norm zero")


def make_base(num_classes: int, in_channels: int) -> CifarResNet:
    return CifarResNet(VARIANTS[BASE], num_classes=num_classes, in_channels=in_channels)


def new_block(width: int, residual: bool, zero: str) -> nn.Module:
    """(B, width, H, W) -> the same shape. With one seed all kinds draw the same weights.

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
    """Puts `added` new blocks behind the last of each stage, and gives them."""
    new = []
    for stage in network.stages:  # type: ignore[union-attr]
        width = [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
        for _ in range(added):
            new.append(new_block(width, residual, zero))
            stage.append(new[-1])  # type: ignore[operator]
    return new


def settle(network: nn.Module, new: list[nn.Module], pictures: PictureSet, device: torch.device) -> None:
    """The new blocks' batch norms see the training pictures once, so that it is not their statistics that fail."""
    norms = [module for block in new for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    network.to(device).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    prepare = make_prepare(pictures.preprocessing, device, True)
    batches = Batches(
        pictures.source, pictures.train, pictures.preprocessing, batch_size=256, seed=0, workers=0, shuffle=True,
        memory_share=0,
    )  # fmt: skip
    with torch.no_grad():
        for batch in batches.epoch():
            network(prepare(batch))
    batches.close()
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    network.eval()


def run(lab: Lab) -> None:
    if lab.quick:
        pictures = lab.pictures(side=16 if lab.is_digits else 32).fewer(PER_CLASS)
        lab.note(f"Of them {len(pictures.train):,} pictures train, {PER_CLASS} of each class.")
        budget = Budget(epochs=QUICK_EPOCHS, learning_rates=(0.1,), batch_size=32)
        further = Budget(epochs=QUICK_FURTHER, learning_rates=(RATE,), batch_size=32)
    else:
        pictures = lab.pictures(side=32, val_fraction=0.1)
        paper = dict(RECIPES["cifar"].settings)
        used = {name: paper[name] for name in ("momentum", "nesterov", "weight_decay", "decay_all", "schedule",
                                               "milestones", "gamma")}  # fmt: skip
        settings = used | {"clip_norm": 0, "warmup_epochs": 0}
        budget = Budget(
            epochs=paper["epochs"], learning_rates=(paper["learning_rate"],), batch_size=paper["batch_size"],
            settings=settings,
        )  # fmt: skip
        further = Budget(
            epochs=FULL_FURTHER, learning_rates=(RATE,), batch_size=paper["batch_size"], settings=settings
        )  # fmt: skip
    base_network = partial(make_base, pictures.num_classes, pictures.in_channels)
    base = lab.arm(BASE, base_network, pictures, budget)
    trained = {run.seed: run for run in base.runs}

    start = {name: _at_step_0(lab, name, trained, base_network, pictures) for name in KINDS}
    validation = {name: found[2] for name, found in start.items()}
    reference = _answers(lab, trained, base_network, pictures)
    validation[BASE] = reference[1]
    changed = {name: float(np.abs(found[1] - reference[0]).max()) for name, found in start.items()}

    def continued(kind: str) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            # The seed that the arena has just set; the new blocks draw from it, so all kinds draw the same.
            network = trained[torch.initial_seed()].load_into(base_network())
            if kind:
                deepen(network, *KINDS[kind], ADDED)
            return network

        return build

    arms = {"": lab.arm(f"{BASE}, trained on", continued(""), pictures, further)}
    for kind in TRAINED:
        arms[kind] = lab.arm(f"{BASE} + {kind}", continued(kind), pictures, further)

    scales = [added_scale(run) for run in arms["residual, last norm zero"].runs]
    lab.note(
        "The scales of the added residual blocks' last norms, 0 at the start, have an absolute value of "
        f"{np.mean(scales):.3f} on average after the further training: what they have learned to add."
    )
    _draw(lab, arms, validation)
    _tabulate(lab, base, start, changed, arms)
    _judge(lab, base, start, changed, arms)


def added_scale(run: Trained) -> float:
    """Mean absolute scale of the last norms of the residual blocks that were added."""
    if not (run.folder / "model.safetensors").is_file():
        return math.nan
    state, _ = read_weights(run.folder / "model.safetensors")
    kept = VARIANTS[BASE].depth
    return float(
        np.mean(
            [
                state[f"stages.{stage}.{kept + number}.branch.1.norm.weight"].abs().mean().item()
                for stage in range(3)
                for number in range(ADDED)
            ]
        )
    )


def _answers(
    lab: Lab, trained: dict[int, Trained], base: Callable[[], CifarResNet], pictures: PictureSet
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Of the trained network: probabilities (seeds, test pictures, classes), and the validation error (seeds,)."""
    networks = [run.load_into(base()) for run in trained.values()]
    probabilities = [_probabilities(network, pictures, lab.device) for network in networks]
    errors = [mistakes(network, pictures, lab.device, pictures.val).mean() for network in networks]
    return np.stack(probabilities), np.array(errors)


def _at_step_0(
    lab: Lab, kind: str, trained: dict[int, Trained], base: Callable[[], CifarResNet], pictures: PictureSet
) -> tuple[Arm, NDArray[np.float32], NDArray[np.float64]]:
    """The deepened networks before any training, as an arm; their probabilities; their validation errors."""
    runs, probabilities, errors = [], [], []
    for seed, run in trained.items():
        network = run.load_into(base())
        torch.manual_seed(seed)
        settle(network, deepen(network, *KINDS[kind], ADDED), pictures, lab.device)
        wrong = mistakes(network, pictures, lab.device)
        runs.append(Trained(seed, 0.0, wrong, (), "", run.folder))
        probabilities.append(_probabilities(network, pictures, lab.device))
        errors.append(mistakes(network, pictures, lab.device, pictures.val).mean())
    return Arm(f"{kind}, at step 0", tuple(runs)), np.stack(probabilities), np.array(errors)


def _probabilities(network: nn.Module, pictures: PictureSet, device: torch.device) -> NDArray[np.float32]:
    """(test pictures, classes), in full precision."""
    predictions, _, _ = predict_probabilities(
        network, pictures.source, pictures.test, pictures.preprocessing, pictures.source.classes, device=device,
        batch_size=256,
    )  # fmt: skip
    return predictions.probabilities


def _draw(lab: Lab, arms: dict[str, Arm], validation: dict[str, NDArray[np.float64]]) -> None:
    figure, axes = figures.canvas()
    lines = {}
    for kind, arm in arms.items():
        began = validation[kind or BASE][:, None]
        lines[kind or "no blocks"] = 100 * np.concatenate([began, 1 - arm.curve("val_top1")], 1)
    figures.curves(axes, lines, x=np.arange(next(iter(lines.values())).shape[1]))
    axes.set_xlabel("epochs after the blocks were added")
    axes.set_ylabel("validation error in %")
    lab.picture(
        f"{3 * ADDED} blocks added to a trained network",
        figures.svg(figure),
        "Validation error over the epochs of further training, from epoch 0, the moment after the blocks were added: "
        + ", ".join(f"{name} starts at {line[:, 0].mean():.1f} %" for name, line in lines.items())
        + ".",
    )


def _tabulate(lab: Lab, base: Arm, start: dict[str, tuple], changed: dict[str, float], arms: dict[str, Arm]) -> None:
    rows = [("none", f"{100 * base.error:.2f}", "0", f"{100 * arms[''].error:.2f}")]
    for kind in KINDS:
        after = arms.get(kind)
        rows.append(
            (
                kind,
                f"{100 * start[kind][0].error:.2f}",
                f"{changed[kind]:.3g}",
                f"{100 * after.error:.2f}" if after else "not trained",
            )
        )
    lab.table(
        f"{3 * ADDED} blocks added to a trained {BASE}",
        ("added blocks", "test error in % at step 0", "largest change of a probability",
         "test error in % after further training"),
        rows,
        "Means over the seeds. At step 0 the new batch norms have seen the training pictures, so that it is not their "
        "statistics that fail. A plain block whose last norm is zero gives zeros, and the ReLU behind it passes no "
        "gradient, so nothing before it learns any more.",
    )  # fmt: skip


def _judge(lab: Lab, base: Arm, start: dict[str, tuple], changed: dict[str, float], arms: dict[str, Arm]) -> None:
    for kind in ("residual, last norm zero", "residual, last weights zero"):
        num_turned = int((start[kind][0].wrong != base.wrong).sum())
        same = changed[kind] <= ROUNDING and not num_turned
        lab.verdict(
            f"added blocks ({kind}) change no answer of the trained network",
            "exact" if same else "contradicted",
            f"largest change of any probability over {len(base.runs)} networks and {base.wrong.shape[1]:,} test "
            f"pictures: {changed[kind]:.3g}"
            + (", bit for bit the same" if not changed[kind] else f"; {num_turned} answers became right or wrong"),
        )  # fmt: skip
    lab.compare(
        "added plain blocks with He's draw make a trained network worse at step 0",
        start["plain, He's draw"][0], base, "higher",
    )  # fmt: skip
    zero, none = arms["residual, last norm zero"], arms[""]
    found = paired_difference(zero.wrong, none.wrong)
    held, broken = found.high < MARGIN, found.low > MARGIN
    lab.verdict(
        "after equal further training the added residual blocks cost less than one point of test error",
        "confirmed" if held else "contradicted" if broken else "no detectable difference",
        f"test error of {zero.name} less that of {none.name}: {found.text()}; held where all of it is below "
        f"{100 * MARGIN:+.2f}",
        difference=found.difference,
        interval=(found.low, found.high),
        unit="share of test pictures",
    )
    lab.compare(
        "added residual blocks make the network better than equal further training without them", zero, none, "lower"
    )
    for kind in ("plain, He's draw", "plain, last norm zero"):
        lab.compare(
            f"after equal further training added plain blocks ({kind.partition(', ')[2]}) make more mistakes than "
            "residual ones",
            arms[kind], zero, "higher",
        )  # fmt: skip


STUDY = Study(
    name="identity",
    title="Identity: blocks added to a trained network",
    question="Do residual blocks that start as the identity leave a trained network as it is, before and after more "
    "training, and what do plain blocks do to it?",
    paper='He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sections 1 and 3.1, '
    'https://arxiv.org/abs/1512.03385; the zero start of the last norm: Goyal et al., "Accurate, Large Minibatch SGD: '
    'Training ImageNet in 1 Hour", 2017, section 5.1, https://arxiv.org/abs/1706.02677',
    claim="A deeper network has a solution by construction: a trained shallower one and added layers that are the "
    "identity (section 1). Plain layers do not find it; a residual block need only drive its weights to zero (section "
    "3.1). The papers state it; they give no figure for blocks that are added to a trained network.",
    design=f"{BASE} is trained once for each seed. Then {ADDED} blocks are put behind each of its three stages, with "
    "shortcuts or without, with the same drawn weights, and all networks train on with the same pictures in the same "
    "order for the same epochs and at the same learning rate. The reference trains on without new blocks.",
    would_change="Plain blocks that start as the identity themselves (a kernel with a one in its middle; after a ReLU "
    "that keeps everything) leave the network as it is as well. A residual block whose last norm starts at 1 is not "
    "the identity: the row of He's draw shows it.",
    run=run,
)
