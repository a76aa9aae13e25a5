"""Scaled networks and data enter; the networks leave trained under equal conditions, with their errors compared."""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from ..cost.scaling import Point, Space
from ..errors import ModelError
from ..models import create_model
from ..progress import Reporter
from ..studies.pictures import PictureSet, PictureSettings, load_pictures
from ..studies.trials import Arm, TrainingBudget, TrialSettings, train_arm
from ..studies.verdict import Difference, paired_difference
from .scale_result import Finalist, GridCandidate, ScaledNetwork

GRID = (  # alpha, beta, gamma with alpha beta^2 gamma^2 about 2: the paper's, one axis alone, two of them
    (1.2, 1.1, 1.15),
    (2.0, 1.0, 1.0),
    (1.0, 1.41, 1.0),
    (1.0, 1.0, 1.41),
    (1.4, 1.2, 1.0),
    (1.4, 1.0, 1.2),
    (1.0, 1.2, 1.19),
)
GRID_BASES = {  # small enough to train many times
    "mobilenet_v2": Point(0.35, 0.5, 72),
    "efficientnet_b0": Point(0.35, 0.5, 72),
    "resnet50": Point(0.15, 0.33, 72),
}


@dataclasses.dataclass(frozen=True)
class FinalistTraining:
    """How `scale` trains the networks within the budget: on the same pictures, for the same number of epochs.

    `most_per_class` limits the pictures of each class; None takes all. `grid_search` also searches for alpha, beta and
    gamma with a small base network. `out` keeps the trainings, so that a second call with the same networks reads them;
    without it they go to a temporary folder. Raises ModelError for fewer than one epoch or seed.
    """

    data: str | Path
    epochs: int = 8
    seeds: tuple[int, ...] = (0,)
    most_per_class: int | None = 400
    grid_search: bool = False
    out: str | Path | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.seeds:
            raise ModelError(f"epochs is {self.epochs} and seeds is {self.seeds}, expected at least 1 of each")

    def pictures(self, side: int) -> PictureSet:
        """The whole picture at every side, or networks with different inputs would see different parts of it."""
        most = self.most_per_class
        settings = PictureSettings(side=side, most_per_class=most, most_test_per_class=most, crop_fraction=1.0)
        return load_pictures(self.data, settings)


def check_data(data: str | Path, side: int, num_classes: int | None) -> int:
    """The number of classes of the data. Raises ModelError if `num_classes` is another."""
    found = load_pictures(data, PictureSettings(side=side)).num_classes
    if num_classes not in (None, found):
        raise ModelError(f"num_classes is {num_classes}, but {data} has {found} classes; leave it out")
    return found


@contextlib.contextmanager
def training_folder(out: str | Path | None) -> Iterator[Path]:
    """`out`, which must exist, or a temporary folder."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@dataclasses.dataclass(frozen=True)
class FinalistTrainer:
    """Trains networks of a space, all under the same conditions."""

    space: Space
    training: FinalistTraining
    folder: Path
    device: torch.device
    report: Reporter

    def train(self, name: str, point: Point, pictures: PictureSet) -> Arm:
        build = partial(create_model, self.space.family.network, **self.space.options(point))
        settings = TrialSettings(self.training.seeds, self.folder, self.device, self.report)
        return train_arm(name, build, pictures, TrainingBudget(epochs=self.training.epochs), settings)


def train_finalists(
    space: Space,
    networks: Sequence[ScaledNetwork],
    training: FinalistTraining,
    folder: Path,
    device: torch.device,
    report: Reporter,
) -> tuple[tuple[Finalist, ...], str]:
    """The trained networks, and a description of the pictures."""
    trainer = FinalistTrainer(space, training, folder, device, report)
    sets: dict[int, PictureSet] = {}
    arms: dict[str, Arm] = {}
    for network in networks:
        side = network.point.resolution
        sets[side] = sets.get(side) or training.pictures(side)
        arms[network.kind] = trainer.train(network.kind, network.point, sets[side])
    shortest = min(max(trial.seconds for trial in arm.trials) for arm in arms.values())
    reference = arms.get("compound")
    finalists = tuple(
        Finalist(kind, arm, _difference(arm, reference), top1_within(arm, shortest)) for kind, arm in arms.items()
    )
    first = sets[networks[0].point.resolution].described()
    return finalists, first.rpartition(";")[0]


def _difference(arm: Arm, reference: Arm | None) -> Difference | None:
    """None for the reference itself, and if a picture was readable at one input size only."""
    if reference is None or arm is reference or arm.wrong.shape != reference.wrong.shape:
        return None
    return paired_difference(arm.wrong, reference.wrong)


def top1_within(arm: Arm, seconds: float) -> float | None:
    """The best validation top-1 of each trial within a time, mean over the seeds; None before the first epoch.

    The learning rate of a longer trial has not decayed by then, so this is a lower bound of what the time allows.
    """
    reached = []
    for trial in arm.trials:
        spent, top1 = 0.0, None
        for row in trial.curve:
            spent += row["seconds"]
            if spent > seconds * 1.001:
                break
            top1 = max(top1 or 0.0, row["val_top1"])
        if top1 is None:
            return None
        reached.append(top1)
    return sum(reached) / len(reached)


def validated(arm: Arm) -> float:
    """The best validation top-1 of each trial, mean over the seeds; a trial that diverged counts 0."""
    best = [max((row["val_top1"] for row in trial.curve), default=0.0) for trial in arm.trials if not trial.diverged]
    return sum(best) / len(arm.trials)


def grid_points(space: Space) -> list[Point]:
    """The small base scaled by each of GRID.

    Blocks are whole and input sizes come in steps, so beta does not decide the width: it is the one whose counted work
    is nearest to twice the base's, because candidates with unequal work could not be compared. Channels are multiples
    of 8, so the work is right within about 15 %.
    """
    base, points = GRID_BASES[space.family.network], []
    wanted = 2 * space.costs(base).multiply_adds
    widths = sorted(space.grid["width"])
    for alpha, _, gamma in GRID:
        depth = next(d for d in space.grid["depth"] if d >= base.depth * alpha - 1e-6)
        side = int(min(space.grid["resolution"], key=lambda side: abs(side - base.resolution * gamma)))
        tried: list[tuple[float, Point]] = []
        low, high = 0, len(widths)
        while low < high:
            middle = (low + high) // 2
            point = Point(widths[middle], depth, side)
            work = space.costs(point).multiply_adds
            tried.append((abs(math.log(work / wanted)), point))
            low, high = (middle + 1, high) if work < wanted else (low, middle)
        points.append(min(tried)[1])
    return points


def search_bases(
    space: Space, training: FinalistTraining, folder: Path, device: torch.device, report: Reporter
) -> tuple[GridCandidate, ...]:
    """The paper's step 1 in small: trains a small base scaled to twice its work with each of GRID.

    Each candidate is compared with the paper's own bases, on the same pictures and seeds.
    """
    found: list[GridCandidate] = []
    free = Space(space.family, num_classes=space.num_classes)
    trainer = FinalistTrainer(free, training, folder, device, report)
    for (alpha, beta, gamma), point in zip(GRID, grid_points(free), strict=True):
        arm = trainer.train(f"grid-{alpha}-{beta}-{gamma}", point, training.pictures(point.resolution))
        difference = _difference(arm, found[0].arm if found else None)
        found.append(GridCandidate(alpha, beta, gamma, point, free.costs(point).multiply_adds, arm, difference))
    return tuple(found)
