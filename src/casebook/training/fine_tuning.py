"""Transfer by measurement: first the head, then more stages, which are kept where validation shows that it is better.

What can be afforded is measured before the start: a few steps of the network on this machine say how many epochs of
fine-tuning fit into the time that the user gives, and of how many stages. The test set plays no part in any of this.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from ..device import Stopwatch, autocast
from ..models.temporary import overwriting_activations
from ..models.weights import read_weights
from ..runner.unsure import SMALLEST
from .batch_size import sum_of_outputs
from .depthwise import spreading_gradients
from .distributed import World, gather_from_all
from .features import Arithmetic
from .logistic import HeadTrial
from .noise import standard_error
from .recipe import Recipe
from .streams import BatchStream
from .temperature import fit_temperature
from .transfer import FEW, Choice, Frozen, parts

HEAD_FILE = "head.safetensors"  # the best head of a run that is fine-tuning
LEAST_EPOCHS = 4  # of fine-tuning; fewer are not worth the time
TUNED = ("full", "last:2", "last:1")  # what is fine-tuned: the first that the time budget affords
ALIKE = 0.8  # skill of a head on frozen features from which pictures are like those that the network has seen
FEWEST_MISTAKES = 0.5  # of the head, expected on the validation pictures: with fewer, nothing is fine-tuned
TIMED_STEPS = 2
TIMED_PICTURES = 16


class Forecast(NamedTuple):
    """What training takes on this machine, in seconds for each picture."""

    step_seconds: float  # forward and backward
    forward_seconds: float

    def head_seconds(self, num_train: int, num_val: int) -> float:
        """The time for the features of all pictures, which is nearly all that the head takes."""
        return (num_train + num_val) * self.forward_seconds

    def epoch_seconds(self, num_train: int, num_val: int) -> float:
        """The time for one epoch of fine-tuning with its validation."""
        return num_train * self.step_seconds + num_val * self.forward_seconds


def forecast(
    network: Any, size: int, channels: int, arithmetic: Arithmetic, learn: Callable[[], object] | None = None
) -> Forecast:
    """Times steps of the network on blank pictures of `size` pixels. Its weights and statistics stay as they are.

    The steps are computed as the trainer computes them. `learn` puts what learns into training mode; by default that
    is all.
    """
    device, dtype = arithmetic.device, arithmetic.dtype
    was_training, state = network.training, {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.zeros(TIMED_PICTURES, channels, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)

    def seconds(step: Callable[[], Tensor]) -> float:
        step()  # the first one allocates
        watch = Stopwatch()
        for _ in range(TIMED_STEPS):
            _ = float(step())  # waits for the device
        return watch.seconds / (TIMED_STEPS * TIMED_PICTURES)

    def forward() -> Tensor:
        with torch.inference_mode(), autocast(device, dtype):
            return sum_of_outputs(network(images))

    def backward() -> Tensor:
        with autocast(device, dtype):
            outputs = network(images)
        loss = sum_of_outputs(outputs)
        loss.backward()
        return loss.detach()

    try:
        with overwriting_activations(network), spreading_gradients(network, device, dtype):
            network.eval()
            forward_seconds = seconds(forward)
            (learn or network.train)()
            return Forecast(seconds(backward), forward_seconds)
    finally:
        network.zero_grad(set_to_none=True)
        network.load_state_dict(state)
        network.train(was_training)


class TransferPlan(NamedTuple):
    """What `transfer = "auto"` means here: changes of the recipe, and why."""

    changes: dict[str, Any]
    choice: Choice
    head_seconds: float
    tuning_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """What the network will take, by the forecast."""
        return self.head_seconds + self.tuning_seconds


def affordable_plan(
    recipe: Recipe,
    network: Any,
    measure: Callable[[Callable[[], object]], Forecast],
    counts: tuple[int, int],
    *,
    folded_norms: bool = False,
    spent_seconds: float = 0.0,
) -> TransferPlan:
    """The plan that learns the most stages of those whose fine-tuning the time budget affords, else the head alone.

    `measure` makes a forecast for what is put into training mode; `counts` are the training and validation pictures;
    `spent_seconds` of the budget are gone.
    """
    strategies = [one for one in TUNED if one == "full" or int(one.removeprefix("last:")) < len(network.stages)]
    plans = []
    for strategy in strategies:
        learn = Frozen(network, parts(network, strategy, recipe), folded_norms).train
        plans.append(plan_transfer(recipe, measure(learn), *counts, strategy=strategy, spent_seconds=spent_seconds))
        for weight in network.parameters():
            weight.requires_grad_(True)
        if plans[-1].changes:
            break
    return plans[-1]


def plan_transfer(
    recipe: Recipe,
    found: Forecast,
    num_train: int,
    num_val: int,
    *,
    strategy: str = "full",
    spent_seconds: float = 0.0,
) -> TransferPlan:
    """The head, and then as many epochs of fine-tuning as the recipe asks for and its time budget affords."""
    head_seconds, epoch_seconds = found.head_seconds(num_train, num_val), found.epoch_seconds(num_train, num_val)
    budget_seconds = 60 * recipe.time_budget_minutes
    affordable = int(max(0.0, budget_seconds - spent_seconds - head_seconds) / epoch_seconds)
    epochs = min(recipe.epochs, affordable)
    if epochs < min(LEAST_EPOCHS, recipe.epochs):
        reason = (
            f"a new head on frozen features, about {rough_time(head_seconds)}; {LEAST_EPOCHS} epochs of fine-tuning "
            f"would take about {rough_time(LEAST_EPOCHS * epoch_seconds)} more, beyond the time budget of "
            f"{rough_time(budget_seconds)}"
            + (f", of which {rough_time(spent_seconds)} are spent" if spent_seconds else "")
        )
        return TransferPlan({}, Choice("head", reason), head_seconds)
    stages = "every stage" if strategy == "full" else f"the {_stages(strategy)}, since more would take too long"
    reason = (
        f"measured: a new head on frozen features first (about {rough_time(head_seconds)}), then {epochs} epochs of "
        f"{stages} (about {rough_time(epochs * epoch_seconds)}), kept only if validation is better"
    )
    changes = {"transfer": strategy, "two_phase": True, "keep_head": True, "head_epochs": recipe.epochs,
               "epochs": epochs}  # fmt: skip
    if epochs <= recipe.warmup_epochs:
        changes["warmup_epochs"] = epochs / 5
    return TransferPlan(changes, Choice(strategy, reason), head_seconds, epochs * epoch_seconds)


def _stages(strategy: str) -> str:
    count = int(strategy.removeprefix("last:"))
    return "last stage" if count == 1 else f"last {count} stages"


def adapted(found: TransferPlan, trial: HeadTrial, pictures_per_class: float, num_val: int) -> TransferPlan:
    """The plan after the head was tried: its penalty and class weights, and how the pictures were judged.

    Fine-tuning starts from a new head: one that fits the training pictures already leaves the stages little to learn.
    Where the head is expected to have nearly all of the `num_val` validation pictures right, these could not show a
    gain of fine-tuning.
    """
    head = {"head_fit": "logistic", "head_penalty": trial.penalty}
    amount = "few" if pictures_per_class < FEW else "many"
    likeness = "like" if trial.skill >= ALIKE else "unlike"
    judged = (
        f"{amount} pictures ({pictures_per_class:.0f} a class), {likeness} those that the network has learnt from: in "
        f"cross-validation a head on its frozen features has {trial.top1:.1%} right, where the most frequent class "
        f"alone would have {trial.chance:.1%}"
    )
    if trial.balanced:
        judged += "; class weights raise the head's recall of rare classes"
    if not found.changes:
        return found._replace(changes=head, choice=Choice("head", f"{judged}; {found.choice.reason}"))
    if (1 - trial.top1) * num_val < FEWEST_MISTAKES:
        reason = f"{judged}; so {num_val} validation pictures could hardly show a gain of fine-tuning"
        return TransferPlan(head, Choice("head", reason), found.head_seconds)
    changes = found.changes | head | {"head_start": False}
    return found._replace(changes=changes, choice=Choice(found.choice.strategy, f"{judged}; {found.choice.reason}"))


def rough_time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


class Losses(NamedTuple):
    """What a network's answers cost on each validation picture, at the temperature that suits the network best.

    Otherwise a network that says too much would lose to one that says too little, whatever they know.
    """

    losses: NDArray[np.float64]  # (N,) cross-entropies
    right: NDArray[np.bool_]  # (N,)
    temperature: float = 1.0

    @property
    def top1(self) -> float:
        return float(self.right.mean())


class Judgement(NamedTuple):
    """Whether the other network is better than the simpler one: its mean gain in log loss, with the standard error."""

    accepted: bool
    gain: float
    error: float
    simpler: Losses
    other: Losses
    num_sets: int | None = None
    """How many sets of near-copies or groups the pictures form; None where each stands alone."""

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees, of a head and what fine-tuning made of it."""
        head, tuned = self.simpler, self.other
        figures = (
            f"on {len(head.right)} validation pictures the head alone has {head.top1:.1%} right with a log loss of "
            f"{head.losses.mean():.3f}; after fine-tuning it is {tuned.top1:.1%} with {tuned.losses.mean():.3f}, each "
            f"at its own temperature ({self.gained})"
        )
        if self.accepted:
            return f"fine-tuning was kept: {figures}"
        return f"the head alone was kept, since fine-tuning is not clearly better: {figures}"

    @property
    def gained(self) -> str:
        """The gain and its standard error in words."""
        said = f"gain {self.gain:.3f}, standard error {self.error:.3f}"
        return said if self.num_sets is None else f"{said} over {self.num_sets} sets of near-copies or groups"

    def tried(self, key: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Plain data for model.json: the simpler network and the other, each with its name under `key`, its validation
        and whether it was kept."""
        sides = zip(names, (self.simpler, self.other), (not self.accepted, self.accepted), strict=True)
        return [
            {
                key: name,
                "val_top1": found.top1,
                "val_loss": float(found.losses.mean()),
                "temperature": found.temperature,
                "kept": kept,
            }
            for name, found, kept in sides
        ]


def judge(simpler: Losses, other: Losses, sets: NDArray[np.integer] | None = None) -> Judgement:
    """The other is accepted if its log loss is lower by more than a standard error and no fewer answers are right.

    The same pictures are compared, so what makes a picture hard for both drops out. Within noise the simpler one stays.
    `sets` (N,) is the number of each picture's set of near-copies or group, which `standard_error` takes as one draw.
    """
    gains = simpler.losses - other.losses
    gain, error = float(gains.mean()), standard_error(gains, sets)
    accepted = gain > error and other.right.sum() >= simpler.right.sum()
    num_sets = len(gains) if sets is None else len(np.unique(sets))
    return Judgement(bool(accepted), gain, error, simpler, other, num_sets if num_sets < len(gains) else None)


def validation_losses(
    network: Any, stream: BatchStream, device: torch.device, dtype: torch.dtype, world: World
) -> tuple[Losses, NDArray[np.int64]]:
    """The loss of each validation picture that can be read, over all processes, and its place in the source."""
    network.eval()
    logits_of: list[NDArray[np.float64]] = []
    labels_of: list[NDArray[np.int64]] = []
    indices_of: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for batch in stream.epoch(0):
            if not len(batch.labels):
                continue
            with autocast(device, dtype):
                logits = network(batch.inputs.to(device)).double()
            logits_of.append(logits.cpu().numpy())
            labels_of.append(batch.labels.cpu().numpy())
            assert batch.indices is not None  # a source's pictures
            indices_of.append(batch.indices.cpu().numpy())
    stream.close()
    gathered = gather_from_all((logits_of, labels_of, indices_of), world)
    sides = zip(*gathered, strict=True)
    logits, labels, indices = (np.concatenate([one for part in side for one in part]) for side in sides)
    return losses_of(logits, labels), indices


def losses_of(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Losses:
    """(N, K) logits, (N,) labels -> the losses at the temperature that makes them least."""
    temperature = fit_temperature(softmax(logits, axis=1), labels)
    found = np.log(np.maximum(softmax(logits / temperature, axis=1), SMALLEST))[np.arange(len(labels)), labels]
    return Losses(-found, logits.argmax(1) == labels, temperature)


def judge_run(
    network: Any,
    folder: Path,
    stream: BatchStream,
    device: torch.device,
    dtype: torch.dtype,
    world: World,
    sets_of: Callable[[Sequence[int]], NDArray[np.int64]],
) -> Judgement:
    """Compares the run's best weights with its best head; leaves the better ones in `network`.

    `sets_of` gives, for the places of pictures in the source, the numbers of their sets of near-copies.
    """
    states = [read_weights(folder / name)[0] for name in (HEAD_FILE, "model.safetensors")]
    found = []
    for state in states:
        network.load_state_dict(state)
        found.append(validation_losses(network, stream, device, dtype, world))
    (head, indices), (tuned, _) = found
    judgement = judge(head, tuned, sets_of(indices.tolist()))
    network.load_state_dict(states[1] if judgement.accepted else states[0])
    return judgement
