"""What long work tells while it runs: one type for each event, and one protocol for whoever listens.

A reporter is a function that takes an event. Work that nobody follows reports to `silent`. Events are plain frozen
records, so a display, a log file and a page in a browser can all be driven by them.
"""

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, Self

from .formatting import clock_text, one_line, size_text

Task = Literal[
    "scan", "features", "prepare", "evaluate", "shift", "predict", "excite", "profile", "count", "export", "download",
    "lessons",
]  # fmt: skip
TASKS: dict[str, str] = {
    "scan": "checking the pictures",
    "features": "computing features",
    "prepare": "preparing pictures",
    "evaluate": "evaluating",
    "shift": "asking about changed copies",
    "predict": "predicting",
    "excite": "finding what excites the layer",
    "profile": "measuring",
    "count": "counting networks",
    "export": "exporting:",
    "download": "downloading (MiB)",
    "lessons": "writing the lessons",
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
    images_per_second: float
    seconds: float
    validation_seconds: float
    threads: int
    is_best: bool
    val_top1: float | None = None
    """Of one label a picture, else None."""
    val_map: float | None = None
    """Of several labels a picture, else None."""

    @property
    def score(self) -> tuple[str, float]:
        """The name and the value of what the best epoch is chosen by."""
        return ("top-1", self.val_top1 or 0.0) if self.val_map is None else ("mAP", self.val_map)


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


def reporting(progress: bool | Reporter) -> contextlib.AbstractContextManager[Reporter]:
    """The reporter for a `progress` argument, for a `with` statement.

    True opens a display and closes it at the end of the block, False is silent, and a function is used as it is.
    """
    if callable(progress):
        return contextlib.nullcontext(progress)
    if not progress:
        return contextlib.nullcontext(silent)
    return NotebookDisplay() if _in_notebook() else TerminalDisplay()


def _in_notebook() -> bool:
    """Whether this code runs in a kernel that draws HTML."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@functools.singledispatch
def lines_of(event: Event) -> tuple[str, ...]:
    """The lines that a log shows of an event; none for what only a bar shows."""
    return ()


@lines_of.register
def _(event: Remark) -> tuple[str, ...]:
    return (f"note: {event.text}",)


@lines_of.register
def _(event: RunOpened) -> tuple[str, ...]:
    return (f"{'going on with' if event.resumed else 'writing to'} {event.path}",)


@lines_of.register
def _(event: RunComplete) -> tuple[str, ...]:
    return (f"{event.path} has finished already; there is nothing to resume",)


@lines_of.register
def _(event: TrainingStarted) -> tuple[str, ...]:
    return (
        *(f"note: {note}" for note in event.notes),
        f"{event.num_train} pictures to train on, {event.num_val} to validate, {event.num_test} locked away; "
        f"{event.num_classes} classes, batches of {event.batch_size}, {event.precision} on {event.device}",
        f"transfer: {event.strategy} ({event.reason})",
    )


@lines_of.register
def _(event: EpochEnded) -> tuple[str, ...]:
    name, score = event.score
    return (
        f"{event.phase} epoch {event.epoch:>3}: loss {event.train_loss:.4f}, validation loss {event.val_loss:.4f}, "
        f"{name} {100 * score:.2f} %, {event.images_per_second:.0f} images/s, {clock_text(event.seconds)}"
        f"{' (best)' if event.is_best else ''}",
    )


@lines_of.register
def _(event: ScoringStarted) -> tuple[str, ...]:
    return (f"scoring the best weights on the {event.num_pictures} locked pictures",)


@lines_of.register
def _(event: PreparedSize) -> tuple[str, ...]:
    present = f", {event.num_present} are there already" if event.num_present else ""
    return (
        f"{event.num_pictures} pictures of at most {event.side} pixels as {event.format}: "
        f"{size_text(event.size_bytes)} in {event.file}, of {size_text(event.free_bytes)} free{present}",
    )


class _Bar:
    """What the bar of a display shows: a text, and done of total."""

    def __init__(self) -> None:
        self.name, self.text, self.done, self.total = "", "", 0, 1
        self._epoch_began = time.monotonic()
        self._score: tuple[str, float] | None = None

    def take(self, event: Event) -> bool:
        """Whether the event moves the bar."""
        if isinstance(event, TrainingStarted | EpochEnded):
            self._epoch_began = time.monotonic()  # what came before is no part of an epoch
        if isinstance(event, EpochEnded):
            self._score = event.score
        if isinstance(event, Advanced):
            detail = f" {event.detail}" if event.detail else ""
            self.name = event.task
            self.text, self.done, self.total = f"{TASKS[event.task]}{detail}", event.done, event.total
            return True
        if isinstance(event, StepEnded):
            self.name = f"{event.phase} {event.epoch}"
            self.text, self.done, self.total = self._of_step(event), event.batch, event.batches
            return True
        return False

    def _of_step(self, event: StepEnded) -> str:
        seconds_per_batch = (time.monotonic() - self._epoch_began) / max(event.batch, 1)
        batches_left = event.batches - event.batch + event.batches * (event.epochs - event.epoch)
        score = "" if self._score is None else f", validation {self._score[0]} {100 * self._score[1]:.2f} %"
        return (
            f"{event.phase} epoch {event.epoch}/{event.epochs}: loss {event.loss:.4f}, rate {event.learning_rate:.2e}, "
            f"{event.images_per_second:.0f} images/s, ETA {clock_text(seconds_per_batch * batches_left)}{score}"
        )


class _Display:
    """Shows events inside a `with` block, and closes at its end, also when the block raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        raise NotImplementedError


class TerminalDisplay(_Display):
    """Shows events on stderr: a live bar on a terminal, plain lines elsewhere."""

    BAR_LINE_SECONDS = 15  # between lines about a bar where none can be drawn

    def __init__(self, *, live: bool | None = None):
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self.run: str | None = None  # the run folder, once there is one
        self._bar = _Bar()
        self._rich: Any = None
        self._task: Any = None
        self._task_name = ""
        self._last_line = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunOpened):
            self.run = event.path
        if self._bar.take(event):
            self._advance()
        for line in lines_of(event):
            self._print(line)

    def _close(self) -> None:
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _print(self, line: str) -> None:
        self._last_line = time.monotonic()
        if self._rich is not None:
            self._rich.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
        else:
            print(one_line(line), file=sys.stderr, flush=True)

    def _advance(self) -> None:
        bar = self._bar
        if not self.live:
            if time.monotonic() - self._last_line > self.BAR_LINE_SECONDS:
                self._print(f"{bar.text} ({bar.done} of {bar.total})")
            return
        if self._rich is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                console=Console(stderr=True, force_terminal=True),  # decoders may stand in for stderr meanwhile
                transient=True,
            )
            self._rich.start()
        if self._task_name != bar.name:
            if self._task is not None:
                self._rich.remove_task(self._task)
            self._task_name, self._task = bar.name, self._rich.add_task(bar.text, total=bar.total)
        self._rich.update(self._task, description=bar.text, completed=bar.done, total=bar.total)


class NotebookDisplay(_Display):
    """Shows events below a notebook's cell: one bar, and the last lines of the log."""

    MOST_LINES = 12
    SECONDS = 0.2  # between two drawings of the bar

    def __init__(self) -> None:
        self._bar, self._lines = _Bar(), list[str]()
        self._handle: Any = None
        self._drawn = 0.0

    def __call__(self, event: Event) -> None:
        moved = self._bar.take(event)
        lines = lines_of(event)
        self._lines = [*self._lines, *lines][-self.MOST_LINES :]
        if not (moved or lines):
            return
        now = time.monotonic()
        if lines or now - self._drawn >= self.SECONDS or self._bar.done >= self._bar.total:
            self._drawn = now
            self._draw()

    def _close(self) -> None:
        self._draw()

    def _repr_html_(self) -> str:
        from html import escape

        lines = "<br>".join(escape(one_line(line)) for line in self._lines)
        bar = self._bar
        return (
            f'<div><progress value="{bar.done}" max="{bar.total}" style="width:20em"></progress> {escape(bar.text)} '
            f'({bar.done} of {bar.total})<div style="font-family:monospace;font-size:small">{lines}</div></div>'
        )

    def _draw(self) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        drawing = HTML(self._repr_html_())
        if self._handle is None:
            self._handle = display(drawing, display_id=True)
        else:
            self._handle.update(drawing)
