"""Networks to build and pictures -> trained networks and their mistakes, on equal terms for all arms.

For one seed, every arm of a study sees the same pictures in the same order with the same augmentation. All arms train
for the same number of epochs and may try the same learning rates, among which validation chooses. The training loop is
the one of `casebook train`, so an interrupted study resumes from its last checkpoint.

The studies reach training/ and evaluation/ through this file only: `fit` trains a network, `predict` and
`predict_with_protocol` ask one, `prepared_batches` gives pictures as a network sees them, `learning_parts` and
`cifar_budget` are what the studies use of transfer strategies and recipes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import casebook

from ..data.batch_plan import BatchPlan
from ..data.crops import CropSettings
from ..data.loader import AugmentSettings, Batches, PreparedStream, make_prepare
from ..data.sources import Source
from ..device import choose_precision, choose_workers
from ..errors import DivergedError
from ..evaluation.classifier import Classifier
from ..evaluation.predictions import Predictions
from ..evaluation.protocols import Protocol
from ..evaluation.views import Asking, Shown, ask
from ..files import write_json
from ..models.weights import read_weights
from ..progress import EpochEnded, Event, Remark, Reporter, silent
from ..training.checkpoint import read_checkpoint
from ..training.recipe import RECIPES, Recipe, validated
from ..training.run import Run, keep_rows
from ..training.stepper import Phase
from ..training.trainer import Trainer
from ..training.transfer import Frozen, parts
from .pictures import PictureSet

PREDICT_BATCH = 256
FITTED = 400  # training pictures on which a training error is measured, by default
WEIGHTS, OUTCOME, CHECKPOINT = "model.safetensors", "outcome.json", "last.ckpt"

Build = Callable[[], nn.Module]
Measure = Callable[[nn.Module], Mapping[str, float]]
Learning = tuple[list[tuple[str, nn.Module, float]], Callable[[], object]]
"""The parts of a network that learn, each with a factor of the learning rate; and what puts them into training mode."""


@dataclasses.dataclass(frozen=True)
class TrainingBudget:
    """What every arm may spend: epochs, batch size, the learning rates to try, and any other setting of a recipe.

    With several rates, each is tried for `tuning_epochs` (all epochs when 0) with the first seed. The best validation
    accuracy, then the lowest validation loss, decides.
    """

    epochs: int
    learning_rates: tuple[float, ...] = (0.1, 0.03)
    batch_size: int = 64
    tuning_epochs: int = 0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def recipe(self, data: str, seed: int, learning_rate: float, epochs: int, device: str) -> Recipe:
        defaults: dict[str, Any] = {"optimiser": "sgd", "schedule": "cosine", "weight_decay": 5e-4, "clip_norm": 5.0}
        defaults["warmup_epochs"] = min(1.0, epochs / 5)
        return validated(
            defaults
            | dict(self.settings)
            | {
                "data": data, "seed": seed, "learning_rate": learning_rate, "epochs": epochs, "device": device,
                "batch_size": self.batch_size,
            }
        )  # fmt: skip


def cifar_budget(epochs: int = 0, learning_rate: float = 0.0) -> TrainingBudget:
    """The recipe of the ResNet paper's section 4.2 without warm-up or clipping, where nothing else is given.

    The paper warms up at 0.01 only where 0.1 is too high to start with, which it says of its 110 layers.
    """
    paper = RECIPES["cifar"].settings
    used = ("momentum", "nesterov", "weight_decay", "decay_all", "schedule", "milestones", "gamma")
    return TrainingBudget(
        epochs=epochs or paper["epochs"],
        learning_rates=(learning_rate or paper["learning_rate"],),
        batch_size=paper["batch_size"],
        settings={name: paper[name] for name in used} | {"clip_norm": 0, "warmup_epochs": 0},
    )


@dataclasses.dataclass(frozen=True)
class TrialSettings:
    """What the trials of a study share: the seeds, the folder that holds one folder for each trial, the device."""

    seeds: tuple[int, ...]
    folder: Path
    device: torch.device
    report: Reporter = silent


@dataclasses.dataclass(frozen=True)
class Trial:
    """One network of an arm, trained with one seed.

    `wrong` is (N,) bool over the test pictures in order. A trial whose loss was no longer a number is wrong on all but
    the most frequent class. `curve` has one record an epoch: train_loss, val_loss, val_top1, seconds, and what the
    study measured.
    """

    seed: int
    learning_rate: float
    wrong: NDArray[np.bool_]
    curve: tuple[dict[str, float], ...]
    diverged: str
    folder: Path

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    @property
    def seconds(self) -> float:
        return sum(row["seconds"] for row in self.curve)

    def state(self) -> dict[str, Tensor]:
        """The best weights by validation. Raises DivergedError where the training left none."""
        if not (self.folder / WEIGHTS).is_file():
            raise DivergedError(
                f"{self.folder.name}: {self.diverged}, so it left no weights to continue from; try other seeds"
            )
        return dict(read_weights(self.folder / WEIGHTS)[0])

    def load_into(self, network: nn.Module) -> nn.Module:
        """The best weights by validation, in a network built like the arm's. Raises as `state`."""
        network.load_state_dict(self.state())
        return network.eval()


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of a comparison: one trial for each seed. `chance` is the error of always answering the most frequent
    class."""

    name: str
    trials: tuple[Trial, ...]
    chance: float

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(seeds, test pictures)"""
        return np.stack([trial.wrong for trial in self.trials])

    @property
    def errors(self) -> list[float]:
        return [trial.error for trial in self.trials]

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    @property
    def percent(self) -> str:
        """The mean test error: "12.34"."""
        return f"{100 * self.error:.2f}"

    @property
    def percents(self) -> str:
        """The test error of each seed: "12.10, 12.58"."""
        return ", ".join(f"{100 * error:.2f}" for error in self.errors)

    @property
    def learning_rate(self) -> float:
        return self.trials[0].learning_rate

    @property
    def seconds(self) -> float:
        """Training time, mean over the seeds."""
        return float(np.mean([trial.seconds for trial in self.trials]))

    def curve(self, what: str) -> NDArray[np.float64]:
        """(seeds, epochs); nan after a training that diverged."""
        longest = max(len(trial.curve) for trial in self.trials)
        values = np.full((len(self.trials), longest), np.nan)
        for row, trial in zip(values, self.trials, strict=True):
            row[: len(trial.curve)] = [record.get(what, np.nan) for record in trial.curve]
        return values


def train_arm(
    name: str,
    build: Build,
    pictures: PictureSet | Callable[[int], PictureSet],
    budget: TrainingBudget,
    settings: TrialSettings,
    *,
    measure: Measure | None = None,
    learning: Callable[[nn.Module], Learning] | None = None,
) -> Arm:
    """Trains `build()` once for each seed at the best of the budget's learning rates; finished trials are read.

    `pictures` may depend on the seed, but their test pictures must not. `measure` is called on the network after each
    epoch and must leave it unchanged; its numbers join the curve. `learning` selects the parts that learn; all by
    default.
    """
    of_seed = pictures if callable(pictures) else (lambda _: pictures)

    def run(seed: int, rate: float, epochs: int) -> Trial:
        some = of_seed(seed)
        recipe = budget.recipe(some.source.name, seed, rate, epochs, str(settings.device))
        return train_once(name, build, some, recipe, settings, measure=measure, learning=learning)

    chosen = budget.learning_rates[0]
    if len(budget.learning_rates) > 1:
        epochs, tried = budget.tuning_epochs or budget.epochs, []
        for rate in budget.learning_rates:
            tried.append((*_validation_rank(run(settings.seeds[0], rate, epochs)), rate))
            accuracy = 100 * max(0.0, tried[-1][0])
            settings.report(Remark(f"{name}: learning rate {rate:g} reaches {accuracy:.1f} % in {epochs} epochs"))
        chosen = max(tried)[2]
    trials = []
    for seed in settings.seeds:
        trials.append(run(seed, chosen, budget.epochs))
        error, seconds = 100 * trials[-1].error, trials[-1].seconds
        settings.report(Remark(f"{name}, seed {seed}: test error {error:.2f} %, {seconds:.0f} s"))
    some = of_seed(settings.seeds[0])
    return Arm(name, tuple(trials), float(some.majority_wrong(some.test).mean()))


def _validation_rank(trial: Trial) -> tuple[float, float]:
    """The larger the better. Where all rates fail, the smallest rate is the likeliest to be of any use."""
    best = max(trial.curve, key=lambda row: (row["val_top1"], -row["val_loss"]), default=None)
    if best is None or trial.diverged:
        return -1.0, -trial.learning_rate
    return best["val_top1"], -best["val_loss"]


def train_once(
    name: str,
    build: Build,
    pictures: PictureSet,
    recipe: Recipe,
    settings: TrialSettings,
    *,
    measure: Measure | None = None,
    learning: Callable[[nn.Module], Learning] | None = None,
) -> Trial:
    """One trial, in a folder named after everything that decides its outcome; a finished one is read."""
    torch.manual_seed(recipe.seed)
    network = build().to(settings.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learns = learning(network) if learning else ([("network", network, 1.0)], network.train)
    fingerprint = _fingerprint(network, pictures, recipe, learns[0], settings.device)
    path = settings.folder / f"{name.replace('/', '-')}-{fingerprint}"
    if (path / OUTCOME).is_file():
        return _finished(path, pictures, recipe)
    path.mkdir(parents=True, exist_ok=True)
    recipe.write(path / "recipe.toml")
    curve, diverged = fit(network, pictures, recipe, path, settings.device, learns=learns, measure=measure)
    if diverged or not (path / WEIGHTS).is_file():
        wrong = pictures.majority_wrong(pictures.test)
    else:
        network.load_state_dict(read_weights(path / WEIGHTS)[0])
        wrong = mistakes(network, pictures, settings.device)
    write_json(path / OUTCOME, {"wrong": np.flatnonzero(wrong).tolist(), "curve": curve, "diverged": diverged})
    (path / CHECKPOINT).unlink(missing_ok=True)
    return Trial(recipe.seed, recipe.learning_rate, wrong, tuple(curve), diverged, path)


def _finished(path: Path, pictures: PictureSet, recipe: Recipe) -> Trial:
    document = json.loads((path / OUTCOME).read_text(encoding="utf-8"))
    wrong = np.zeros(len(pictures.test), bool)
    wrong[document["wrong"]] = True
    return Trial(recipe.seed, recipe.learning_rate, wrong, tuple(document["curve"]), document["diverged"], path)


# What the studies use of training/ and evaluation/


def fit(
    network: nn.Module,
    pictures: PictureSet,
    recipe: Recipe,
    path: Path,
    device: torch.device,
    *,
    learns: Learning,
    measure: Measure | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Trains the network; the best weights by validation are in WEIGHTS then. Resumes from the checkpoint in `path`.

    Gives one record an epoch, and why the training diverged, "" if it did not.
    """
    learning, start = learns
    run, measured = Run(path), _EpochMeasures(path / "measured.json", network, measure)
    trainer = Trainer(recipe, run=run, device=device, report=measured)
    resumed = (path / CHECKPOINT).is_file()
    if resumed:
        trainer.resume(network, read_checkpoint(path / CHECKPOINT))
    keep_rows(run, trainer.position.rows)
    precision = choose_precision(recipe.precision, device, pictures.preprocessing.size)
    phase = Phase(recipe.epochs, parts=learning, start=start, dtype=precision)
    workers = 0 if pictures.source.arrays is not None else choose_workers(-1, device, 1)
    prepare = make_prepare(pictures.preprocessing, device, recipe.channels_last)

    def stream(indices: Sequence[int], augmentation: AugmentSettings, shuffle: bool) -> PreparedStream:
        batches = Batches(
            pictures.source, indices, pictures.preprocessing, BatchPlan(recipe.batch_size, shuffle, recipe.seed),
            augmentation=augmentation, crops=CropSettings(pictures.sizes), workers=workers,
        )  # fmt: skip
        return PreparedStream(batches, prepare)

    augmentation = AugmentSettings(pictures.policy, on_device=device.type == "cuda")
    diverged = ""
    try:
        train, val = stream(pictures.train, augmentation, True), stream(pictures.val, AugmentSettings(), False)
        trainer.fit(network, train, val, phase)
    except DivergedError as error:
        diverged = str(error).partition(";")[0]
    curve = [{**row, **measured.rows.get(str(row["epoch"]), {})} for row in run.history]
    if resumed:  # a row counts the seconds since the training resumed
        for row in curve:
            row["seconds"] = max(row["seconds"], round(len(pictures.train) / max(row["images_per_second"], 1e-9), 3))
    return curve, diverged


class _EpochMeasures:
    """Follows the training; after each epoch stores what a study measures of the network, on disk as well."""

    def __init__(self, path: Path, network: nn.Module, measure: Measure | None):
        self.path, self.network, self.measure = path, network, measure
        self.rows: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.is_file() else {}

    def __call__(self, event: Event) -> None:
        if self.measure is None or not isinstance(event, EpochEnded):
            return
        self.rows[str(event.epoch)] = {name: float(value) for name, value in self.measure(self.network).items()}
        write_json(self.path, self.rows)


def prepared_batches(
    pictures: PictureSet, indices: Sequence[int], device: torch.device, *, batch_size: int, shuffle: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each picture once, not augmented: (B, C, H, W) float32, normalised, and (B,) labels, both on the device."""
    plan, crops = BatchPlan(batch_size, shuffle), CropSettings(memory_share=0)
    batches = Batches(pictures.source, indices, pictures.preprocessing, plan, crops=crops)
    stream = PreparedStream(batches, make_prepare(pictures.preprocessing, device, True))
    try:
        for batch in stream.epoch():
            yield batch.inputs, batch.labels.to(device)
    finally:
        stream.close()


def predict(
    network: nn.Module,
    pictures: PictureSet,
    device: torch.device,
    indices: Sequence[int],
    dtype: torch.dtype = torch.float32,
) -> tuple[Predictions, list[int]]:
    """The network's predictions for the readable ones of the pictures, and their indices."""
    classifier = Classifier("", network, pictures.preprocessing, pictures.source.classes, device=device, dtype=dtype)
    predictions, readable, _, _ = ask(classifier, pictures.source, indices, asking=Asking(PREDICT_BATCH))
    return predictions, list(readable)


def predict_with_protocol(network: Any, pictures: PictureSet, protocol: Protocol, device: torch.device) -> Shown:
    """The predictions for the test pictures when the network sees the views of a protocol, and their cost."""
    classifier = Classifier("", network, pictures.preprocessing, pictures.source.classes, device=device)
    return ask(classifier, pictures.source, pictures.test, protocol, Asking(PREDICT_BATCH, counted=True))


def learning_parts(network: nn.Module, *, strategy: str, folded_norms: bool) -> Learning:
    """The parts that learn under a transfer strategy, and what puts them into training mode; the rest stays bit for
    bit as it is."""
    # The study says so: a tenth of the head's rate for the last stage, then half each.
    learning = parts(network, strategy, Recipe(stage_decay=0.5))  # type: ignore[call-arg]
    if strategy == "none":
        return learning, network.train
    return learning, Frozen(network, learning, folded_norms).train


# What a network gets wrong


def mistakes(
    network: nn.Module, pictures: PictureSet, device: torch.device, indices: Sequence[int] | None = None
) -> NDArray[np.bool_]:
    """(N,) which of the test pictures, or of `indices`, the network gets wrong; unreadable pictures count as wrong."""
    indices = pictures.test if indices is None else indices
    dtype = choose_precision("auto", device, pictures.preprocessing.size)
    predictions, readable = predict(network, pictures, device, indices, dtype)
    wrong = dict(zip(readable, predictions.probabilities.argmax(1) != predictions.labels, strict=True))
    return np.array([wrong.get(index, True) for index in indices], bool)


def some_training(pictures: PictureSet, most: int = FITTED) -> tuple[int, ...]:
    """Up to `most` training pictures at equal steps: enough to measure how well a network fits them."""
    return pictures.train[:: max(1, len(pictures.train) // most)][:most]


def training_error(pictures: PictureSet, device: torch.device, most: int = FITTED) -> Measure:
    """Measures `train_error` on up to `most` training pictures, not augmented."""
    some = some_training(pictures, most)

    def measure(network: nn.Module) -> dict[str, float]:
        was_training = network.training
        error = float(mistakes(network, pictures, device, some).mean())
        network.train(was_training)
        return {"train_error": error}

    return measure


# What decides an outcome


def _fingerprint(
    network: nn.Module, pictures: PictureSet, recipe: Recipe, learning: Sequence[tuple], device: torch.device
) -> str:
    """Covers initial weights, the parts that learn, pictures, recipe, kind of device and version."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(f"{name} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    found.update(str(network).encode())  # also what has no weights, such as activations
    source = pictures.source
    if source.arrays is not None:
        found.update(np.ascontiguousarray(source.arrays).tobytes())
    facts = {
        "pictures": [[_identity(source, i) for i in part] for part in (pictures.train, pictures.val, pictures.test)],
        "classes": source.classes,
        "recipe": recipe.model_dump(mode="json", exclude={"device", "workers"}),
        "preprocessing": str(pictures.preprocessing),
        "policy": str(pictures.policy),
        "learns": [[name, scale] for name, _, scale in learning],
        "frozen": [name for name, weight in network.named_parameters() if not weight.requires_grad],
        "device": device.type,
        "casebook": casebook.__version__,
    }
    found.update(json.dumps(facts).encode())
    return found.hexdigest()[:12]


def _identity(source: Source, index: int) -> list[Any]:
    """What tells a picture from another: name and label, and for a file its size and the time of its last change."""
    picture, path = source.pictures[index], source.path(index)
    if source.shards is not None:
        return [picture.name, picture.label, source.shards.sha256(index, picture.name)]
    try:
        found = path.stat() if path else None
    except OSError:
        found = None
    return [picture.name, picture.label, *((found.st_size, found.st_mtime_ns) if found else ())]
