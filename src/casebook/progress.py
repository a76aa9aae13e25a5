"""What long work tells while it runs: one type for each event, and one protocol for whoever listens.

A reporter is a function that takes an event. Work that nobody follows reports to `silent`. Events are plain frozen
records, so a display, a log file and a page in a browser can all be driven by them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

Task = Literal["scan", "features", "prepare", "evaluate", "predict", "excite", "profile", "count"]
TASKS: dict[str, str] = {
    "scan": "checking the pictures",
    "features": "computing features",
    "prepare": "preparing pictures",
    "evaluate": "evaluating",
    "predict": "predicting",
    "excite": "finding what excites the layer",
    "profile": "measuring",
    "count": "counting networks",
}


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened."""

    def to_dict(self) -> dict[str, Any]:
        """The event as plain data, with its type's name under "event"."""
        return {"event": type(self).__name__, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Advanced(Event):
    """`done` of `total` steps of a task are done; `detail` says which one comes next."""

    task: Task
    done: int
    total: int
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Remark(Event):
    """Something the user should know."""

    text: str


@dataclasses.dataclass(frozen=True)
class RunOpened(Event):
    """The run folder exists; `resumed` tells whether it continues an earlier attempt."""

    path: str
    resumed: bool


@dataclasses.dataclass(frozen=True)
class RunComplete(Event):
    """The run to resume had already finished."""

    path: str


@dataclasses.dataclass(frozen=True)
class TrainingStarted(Event):
    """Data and network are ready, and everything the recipe left open is decided."""

    strategy: str
    reason: str
    notes: tuple[str, ...]
    num_train: int
    num_val: int
    num_test: int
    num_classes: int
    batch_size: int
    precision: str
    device: str


@dataclasses.dataclass(frozen=True)
class StepEnded(Event):
    """One optimiser step; `loss` is the mean over this epoch's pictures so far."""

    phase: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    learning_rate: float
    images_per_second: float


@dataclasses.dataclass(frozen=True)
class EpochEnded(Event):
    """One epoch with its validation; the fields are those of a line of metrics.jsonl."""

    phase: str
    epoch: int
    epochs: int
    train_loss: float
    learning_rate: float
    val_loss: float
    val_top1: float
    images_per_second: float
    seconds: float
    validation_seconds: float
    is_best: bool


@dataclasses.dataclass(frozen=True)
class ScoringStarted(Event):
    """The best weights are about to be scored on the locked test pictures."""

    num_pictures: int


@dataclasses.dataclass(frozen=True)
class PreparedSize(Event):
    """What a file of prepared pictures will hold, and the room on its disk."""

    file: str
    num_pictures: int
    num_present: int
    side: int
    format: str
    size_bytes: int
    free_bytes: int


Reporter = Callable[[Event], None]


def silent(event: Event) -> None:
    """The reporter of work that nobody follows."""
