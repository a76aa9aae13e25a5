"""Pictures and a network to build -> trained networks and their mistakes, under terms that are equal for all arms.

Every arm of a study sees the same pictures in the same order with the same augmentation for a seed, has the same
number of epochs, and may try the same learning rates, of which validation chooses. The loop is the one that
`casebook train` runs, so a study that is killed goes on from its last checkpoint.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import casebook

from ..augmentation.policy import POLICIES, Policy
from ..data.duplicates import duplicates
from ..data.loader import Batches
from ..data.scan import scan
from ..data.sources import Picture, Source, load_source
from ..data.split import split_source
from ..device import choose_precision, choose_workers
from ..errors import DataError, DivergedError, PictureError
from ..evaluation.inference import predict_probabilities
from ..files import cache_folder, write_json
from ..models.weights import read_weights
from ..preprocessing import Preprocessing
from ..progress import EpochEnded, Event
from ..training.checkpoint import read_checkpoint
from ..training.plan import make_prepare
from ..training.recipe import Recipe, validated
from ..training.run import Run, keep_rows
from ..training.streams import PreparedStream
from ..training.trainer import Phase, Trainer

IN_MEMORY_SIDE = 96  # pixels; smaller pictures are read once for all arms
UNMIRRORED = ("digits", "mnist")

Build = Callable[[], nn.Module]
Measure = Callable[[nn.Module], Mapping[str, float]]
Say = Callable[[str], None]


def quiet(_: str) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """Pictures that all arms share: their parts as indices into the source, and how a network is fed."""

    source: Source
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    preprocessing: Preprocessing
    policy: Policy

    @property
    def num_classes(self) -> int:
        return len(self.source.classes)

    @property
    def in_channels(self) -> int:
        return self.preprocessing.channels

    @property
    def test_labels(self) -> NDArray[np.int64]:
        return self.labels(self.test)

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.source.pictures[i].label for i in indices], np.int64)

    def fewer(self, per_class: int, seed: int = 0) -> "PictureSet":
        """The same with `per_class` training pictures of each class, those of a smaller number within a larger."""
        return dataclasses.replace(self, train=_some_of(self.source, self.train, per_class, seed))

    def described(self) -> str:
        side, channels = self.preprocessing.size, {1: "grey", 3: "colour"}[self.in_channels]
        return (
            f"{self.source.name}: {len(self.train):,} pictures to train on, {len(self.val):,} to choose by, "
            f"{len(self.test):,} to test on; {self.num_classes} classes; {side}x{side} pixels, {channels}"
        )


def load_pictures(
    data: str | Path,
    *,
    side: int,
    mode: Literal["RGB", "L"] = "RGB",
    val_fraction: float = 0.15,
    test_fraction: float = 0.4,
    most_per_class: int | None = None,
    most_test_per_class: int | None = None,
    most: int | None = None,
    crop_fraction: float | None = None,
    policy: Policy | None = None,
    classes: Sequence[int] | None = None,
    seed: int = 0,
) -> PictureSet:
    """The pictures of a study at `side` pixels, divided once, near-duplicates kept together.

    `most_per_class` bounds the training pictures of each class, `most_test_per_class` those of validation and test;
    `most` bounds either of them, all classes together, but leaves ten of each. `crop_fraction` is the preprocessing's:
    by default the whole of small pictures, and of those above IN_MEMORY_SIDE the usual 0.875.
    `classes` keeps some of the classes alone, renumbered in that order. `policy` is how training pictures are
    augmented: by default moved by an eighth of the side, and mirrored unless they are digits.

    Raises DataError where no pictures come of it.
    """
    source = load_source(data)
    if classes is not None:
        source = _of_classes(source, classes)
    seen = scan(source, cache_dir=cache_folder() / "scans")
    split = split_source(
        source, scan=seen, duplicates=duplicates(seen, source, near=True), val_fraction=val_fraction,
        test_fraction=test_fraction, seed=seed,
    )  # fmt: skip
    train, val, test = split.train, split.val, split.test
    if most is not None:
        share = max(10, most // len(source.classes))
        most_per_class, most_test_per_class = (min(share, n or share) for n in (most_per_class, most_test_per_class))
    if most_per_class is not None:
        train = _some_of(source, train, most_per_class, seed)
    if most_test_per_class is not None:
        val, test = (_some_of(source, part, most_test_per_class, seed) for part in (val, test))
    grey = mode == "L"
    if crop_fraction is None:
        crop_fraction = 1.0 if side <= IN_MEMORY_SIDE else 0.875
    preprocessing = Preprocessing(
        size=side, mode=mode, crop_fraction=crop_fraction,
        mean=(0.5,) if grey else (0.485, 0.456, 0.406), std=(0.25,) if grey else (0.229, 0.224, 0.225),
    )  # fmt: skip
    if policy is None:
        mirror = 0.0 if str(data) in UNMIRRORED else 0.5
        policy = POLICIES["cifar"].policy.changed({"padding": max(1, side // 8), "mirror": mirror})
    pictures = PictureSet(source, train, val, test, preprocessing, policy)
    return _in_memory(pictures) if side <= IN_MEMORY_SIDE else pictures


def _of_classes(source: Source, classes: Sequence[int]) -> Source:
    number = {old: new for new, old in enumerate(classes)}
    kept = [i for i, picture in enumerate(source.pictures) if picture.label in number]
    pictures = tuple(source.pictures[i]._replace(label=number[source.pictures[i].label]) for i in kept)
    arrays = None if source.arrays is None else source.arrays[kept]
    names = tuple(source.classes[old] for old in classes)
    return Source(source.name, source.root, names, pictures, source.notes, arrays)


def _some_of(source: Source, indices: Sequence[int], per_class: int, seed: int) -> tuple[int, ...]:
    """The first `per_class` of each class in an order that the seed alone decides."""
    shuffled = np.random.default_rng([seed, 7]).permutation(np.asarray(indices, np.int64))
    kept: dict[int, list[int]] = {}
    for index in shuffled.tolist():
        of_class = kept.setdefault(source.pictures[index].label, [])
        if len(of_class) < per_class:
            of_class.append(index)
    return tuple(sorted(index for of_class in kept.values() for index in of_class))


def _in_memory(pictures: PictureSet) -> PictureSet:
    """Every picture read and brought to its size once; those that cannot be read are left out."""
    source, preprocessing = pictures.source, pictures.preprocessing
    arrays, kept, places = [], [], {}
    for index in sorted({*pictures.train, *pictures.val, *pictures.test}):
        try:
            pixels = preprocessing.pixels(source.open(index, **preprocessing.decode_options))
        except PictureError:
            continue
        places[index] = len(kept)
        kept.append(Picture(source.pictures[index].name, source.pictures[index].label))
        arrays.append(pixels[..., 0] if preprocessing.mode == "L" else pixels)
    if not kept:
        raise DataError(f"{source.name}: not one picture could be read")
    held = Source(source.name, None, source.classes, tuple(kept), source.notes, np.stack(arrays))
    parts = {
        part: tuple(places[i] for i in getattr(pictures, part) if i in places) for part in ("train", "val", "test")
    }
    return dataclasses.replace(pictures, source=held, **parts)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every arm may spend: epochs, batches, the learning rates to try, and any other setting of a recipe.

    With several rates, each is tried for `tuning_epochs` (all epochs when 0) with the first seed, and the best
    validation accuracy, then the lower validation loss, decides.
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


@dataclasses.dataclass(frozen=True)
class Trained:
    """One network of an arm: its mistakes on the test pictures, and how it came there.

    `wrong` is (N,) bool over the test pictures in order; a training whose loss was no longer a number is wrong on
    all but the most frequent class. `curve` has one record an epoch: train_loss, val_loss, val_top1, seconds and
    what the study measured.
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

    def load_into(self, network: nn.Module) -> nn.Module:
        """The best weights by validation, in a network built as the arm's was.

        Raises DivergedError where the training left none.
        """
        if not (self.folder / "model.safetensors").is_file():
            raise DivergedError(
                f"{self.folder.name}: {self.diverged}, so it left no weights to go on from; try other seeds"
            )
        state, _ = read_weights(self.folder / "model.safetensors")
        network.load_state_dict(state)
        return network.eval()


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of a comparison, trained once for each seed."""

    name: str
    runs: tuple[Trained, ...]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(seeds, test pictures)"""
        return np.stack([run.wrong for run in self.runs])

    @property
    def errors(self) -> list[float]:
        return [run.error for run in self.runs]

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    @property
    def learning_rate(self) -> float:
        return self.runs[0].learning_rate

    @property
    def seconds(self) -> float:
        """Of training, mean over the seeds."""
        return float(np.mean([run.seconds for run in self.runs]))

    def curve(self, what: str) -> NDArray[np.float64]:
        """(seeds, epochs); nan after a training that diverged."""
        longest = max(len(run.curve) for run in self.runs)
        values = np.full((len(self.runs), longest), np.nan)
        for row, run in zip(values, self.runs, strict=True):
            row[: len(run.curve)] = [record.get(what, np.nan) for record in run.curve]
        return values


def train_arm(
    name: str,
    build: Build,
    pictures: PictureSet | Callable[[int], PictureSet],
    budget: Budget,
    *,
    seeds: Sequence[int],
    folder: Path,
    device: torch.device,
    measure: Measure | None = None,
    learning: Callable[[nn.Module], tuple[list, Callable[[], object]]] | None = None,
    say: Say = quiet,
) -> Arm:
    """Trains `build()` for each seed with the budget's best learning rate; what is in `folder` already is read.

    `pictures` may depend on the seed; the test pictures must not. `measure` is called on the network after each epoch,
    must leave it as it is, and its numbers join the curve. `learning` gives (parts, start) as `training.transfer`
    makes them, for arms that do not learn all their weights.
    """
    chosen = budget.learning_rates[0]
    of_seed = pictures if callable(pictures) else (lambda _: pictures)
    common: dict[str, Any] = {"folder": folder, "device": device, "measure": measure, "learning": learning}
    if len(budget.learning_rates) > 1:
        tried = []
        for rate in budget.learning_rates:
            epochs = budget.tuning_epochs or budget.epochs
            run = train_once(name, build, of_seed(seeds[0]), budget, seeds[0], rate, epochs=epochs, **common)
            best = max(run.curve, key=lambda row: (row["val_top1"], -row["val_loss"]), default=None)
            if best is None or run.diverged:  # where all rates fail, the smallest is the likeliest to be any good
                tried.append((-1.0, -rate, rate))
            else:
                tried.append((best["val_top1"], -best["val_loss"], rate))
            say(f"{name}: learning rate {rate:g} reaches {100 * max(0.0, tried[-1][0]):.1f} % in {epochs} epochs")
        chosen = max(tried)[2]
    runs = []
    for seed in seeds:
        runs.append(train_once(name, build, of_seed(seed), budget, seed, chosen, **common))
        say(f"{name}, seed {seed}: test error {100 * runs[-1].error:.2f} %, {runs[-1].seconds:.0f} s")
    return Arm(name, tuple(runs))


def train_once(
    name: str,
    build: Build,
    pictures: PictureSet,
    budget: Budget,
    seed: int,
    learning_rate: float,
    *,
    folder: Path,
    device: torch.device,
    epochs: int = 0,
    measure: Measure | None = None,
    learning: Callable[[nn.Module], tuple[list, Callable[[], object]]] | None = None,
) -> Trained:
    """One training into a folder of its own below `folder`, named after everything that decides its outcome."""
    recipe = budget.recipe(pictures.source.name, seed, learning_rate, epochs or budget.epochs, str(device))
    torch.manual_seed(seed)
    network = build().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts, start = learning(network) if learning else ([("network", network, 1.0)], network.train)
    path = folder / f"{name.replace('/', '-')}-{_fingerprint(network, pictures, recipe, parts, device)}"
    run = Run(path)
    if (path / "outcome.json").is_file():
        return _kept(run, pictures, recipe)
    path.mkdir(parents=True, exist_ok=True)
    recipe.write(path / "recipe.toml")
    measured = _Measured(path / "measured.json", network, measure)
    trainer = Trainer(recipe, run=run, device=device, report=measured)
    resumed = (path / "last.ckpt").is_file()
    if resumed:
        trainer.resume(network, read_checkpoint(path / "last.ckpt"))
    keep_rows(run, trainer.position.rows)
    diverged = ""
    try:
        precision = choose_precision(recipe.precision, device, pictures.preprocessing.size)
        phase = Phase(recipe.epochs, parts=parts, start=start, dtype=precision)
        trainer.fit(network, *_streams(pictures, recipe, device), phase)
    except DivergedError as error:
        diverged = str(error).partition(";")[0]
    curve = [{**row, **measured.rows.get(str(row["epoch"]), {})} for row in run.history]
    if resumed:  # a row has the seconds since the resumption alone
        for row in curve:
            row["seconds"] = max(row["seconds"], round(len(pictures.train) / max(row["images_per_second"], 1e-9), 3))
    if diverged or not (path / "model.safetensors").is_file():
        labels = pictures.test_labels
        wrong = labels != np.bincount(labels).argmax()
    else:
        network.load_state_dict(read_weights(path / "model.safetensors")[0])
        wrong = mistakes(network, pictures, device)
    write_json(path / "outcome.json", {"wrong": np.flatnonzero(wrong).tolist(), "curve": curve, "diverged": diverged})
    (path / "last.ckpt").unlink(missing_ok=True)
    return Trained(seed, learning_rate, wrong, tuple(curve), diverged, path)


def mistakes(
    network: nn.Module, pictures: PictureSet, device: torch.device, indices: Sequence[int] | None = None
) -> NDArray[np.bool_]:
    """(N,) which test pictures, or `indices`, the network gets wrong; in the pictures' order."""
    indices = pictures.test if indices is None else indices
    predictions, readable, _ = predict_probabilities(
        network, pictures.source, indices, pictures.preprocessing, pictures.source.classes, device=device,
        dtype=choose_precision("auto", device, pictures.preprocessing.size), batch_size=256,
    )  # fmt: skip
    wrong = dict(zip(readable, predictions.probabilities.argmax(1) != predictions.labels, strict=True))
    return np.array([wrong.get(index, True) for index in indices], bool)  # one that cannot be read is no hit


def some_training(pictures: PictureSet, most: int = 400) -> tuple[int, ...]:
    """Up to `most` of the training pictures, evenly taken: enough to tell how well they are fitted."""
    return pictures.train[:: max(1, len(pictures.train) // most)][:most]


def training_error(pictures: PictureSet, device: torch.device, most: int = 400) -> Measure:
    """Measures `train_error` on up to `most` training pictures, not augmented."""
    some = some_training(pictures, most)

    def measure(network: nn.Module) -> dict[str, float]:
        was_training = network.training
        error = float(mistakes(network, pictures, device, some).mean())
        network.train(was_training)
        return {"train_error": error}

    return measure


class _Measured:
    """Listens to the loop; after each epoch keeps what a study measures of the network, on disk as well."""

    def __init__(self, path: Path, network: nn.Module, measure: Measure | None):
        self.path, self.network, self.measure = path, network, measure
        self.rows: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.is_file() else {}

    def __call__(self, event: Event) -> None:
        if self.measure is None or not isinstance(event, EpochEnded):
            return
        self.rows[str(event.epoch)] = {name: float(value) for name, value in self.measure(self.network).items()}
        write_json(self.path, self.rows)


def _streams(pictures: PictureSet, recipe: Recipe, device: torch.device) -> tuple[PreparedStream, PreparedStream]:
    """The training and the validation pictures."""
    prepare = make_prepare(pictures.preprocessing, device, recipe.channels_last)

    def stream(indices: Sequence[int], **options: Any) -> PreparedStream:
        batches = Batches(
            pictures.source, indices, pictures.preprocessing, batch_size=recipe.batch_size, seed=recipe.seed,
            workers=0 if pictures.source.arrays is not None else choose_workers(-1, device, 1), **options,
        )  # fmt: skip
        return PreparedStream(batches, prepare)

    train = stream(pictures.train, policy=pictures.policy, shuffle=True, on_device=device.type == "cuda")
    return train, stream(pictures.val)


def _kept(run: Run, pictures: PictureSet, recipe: Recipe) -> Trained:
    document = json.loads((run.path / "outcome.json").read_text(encoding="utf-8"))
    wrong = np.zeros(len(pictures.test), bool)
    wrong[document["wrong"]] = True
    return Trained(recipe.seed, recipe.learning_rate, wrong, tuple(document["curve"]), document["diverged"], run.path)


def _fingerprint(
    network: nn.Module, pictures: PictureSet, recipe: Recipe, parts: Sequence[tuple], device: torch.device
) -> str:
    """Of everything that decides a training: the starting weights and what of them learns, the pictures, the recipe,
    the kind of device, and this version."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(f"{name} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    found.update(str(network).encode())  # also what has no weights, such as activations
    source = pictures.source
    if source.arrays is not None:
        found.update(np.ascontiguousarray(source.arrays).tobytes())
    facts = {
        "pictures": [[_known_of(source, i) for i in part] for part in (pictures.train, pictures.val, pictures.test)],
        "classes": source.classes,
        "recipe": recipe.model_dump(mode="json", exclude={"device", "workers"}),
        "preprocessing": str(pictures.preprocessing),
        "policy": str(pictures.policy),
        "learns": [[name, scale] for name, _, scale in parts],
        "frozen": [name for name, weight in network.named_parameters() if not weight.requires_grad],
        "device": device.type,
        "casebook": casebook.__version__,
    }
    found.update(json.dumps(facts).encode())
    return found.hexdigest()[:12]


def _known_of(source: Source, index: int) -> list[Any]:
    """What tells a picture from another: its name and label, and of a file the size and the time of its last change."""
    picture, path = source.pictures[index], source.path(index)
    try:
        found = path.stat() if path else None
    except OSError:
        found = None
    return [picture.name, picture.label, *((found.st_size, found.st_mtime_ns) if found else ())]
