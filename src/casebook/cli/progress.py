"""The progress of a training: a live display on a terminal, plain lines elsewhere; always on stderr."""

import os
import sys
import time
from typing import Any

from ..formatting import size_text
from .output import percent, plain, say


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Display:
    """Call it with the events of `casebook.train`; close it at the end."""

    def __init__(self, *, live: bool | None = None):
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self.bar: Any = None
        self.task: Any = None
        self.task_name = ""
        self.epoch_began = time.monotonic()
        self.last_line = time.monotonic()
        self.last_top1: float | None = None
        self.run: str | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        getattr(self, f"_{event['kind']}")(event)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _run(self, event: dict[str, Any]) -> None:
        self.run = event["path"]
        self._line(f"{'going on with' if event['resumed'] else 'writing to'} {event['path']}")

    def _complete(self, event: dict[str, Any]) -> None:
        self._line(f"{event['path']} is finished already; nothing to go on with")

    def _scan(self, event: dict[str, Any]) -> None:
        self._advance("looking at the pictures", event["done"], event["total"])

    def _prepare(self, event: dict[str, Any]) -> None:
        self._advance("preparing pictures", event["done"], event["total"])

    def _profile(self, event: dict[str, Any]) -> None:
        self._advance(f"measuring {event['what']}", event["done"], event["total"])

    def _size(self, event: dict[str, Any]) -> None:
        self._line(
            f"{event['pictures']} pictures of at most {event['side']} pixels as {event['format']}: "
            f"{size_text(event['size_bytes'])} in {event['file']}, of {size_text(event['free_bytes'])} free"
            f"{', ' + str(event['already']) + ' are there already' if event['already'] else ''}"
        )

    def _remark(self, event: dict[str, Any]) -> None:
        self._line(f"note: {event['text']}")

    def _features(self, event: dict[str, Any]) -> None:
        self._advance("computing features", event["done"], event["total"])

    def _evaluate(self, event: dict[str, Any]) -> None:
        self._advance("evaluating", event["done"], event["total"])

    def _excite(self, event: dict[str, Any]) -> None:
        self._advance("looking for what excites the layer", event["done"], event["total"])

    def _start(self, event: dict[str, Any]) -> None:
        for note in event["notes"]:
            self._line(f"note: {note}")
        self._line(
            f"{event['train']} pictures to train on, {event['val']} to validate, {event['test']} locked away; "
            f"{event['classes']} classes, batches of {event['batch_size']}, {event['precision']} on {event['device']}"
        )
        self._line(f"transfer: {event['transfer']} ({event['reason']})")
        self.epoch_began = time.monotonic()  # what came before is no part of an epoch

    def _step(self, event: dict[str, Any]) -> None:
        left = (event["batches"] - event["batch"]) / max(event["batch"], 1) * (time.monotonic() - self.epoch_began)
        per_epoch = (time.monotonic() - self.epoch_began) / max(event["batch"], 1) * event["batches"]
        eta = left + per_epoch * (event["epochs"] - event["epoch"])
        top1 = "" if self.last_top1 is None else f", validation {percent(self.last_top1)}"
        text = (
            f"{event['phase']} epoch {event['epoch']}/{event['epochs']}: loss {event['loss']:.4f}, "
            f"rate {event['learning_rate']:.2e}, {event['images_per_second']:.0f} images/s, ETA {duration(eta)}{top1}"
        )
        if self.live:
            self._advance(text, event["batch"], event["batches"], name=f"{event['phase']} {event['epoch']}")
        elif time.monotonic() - self.last_line > 30:  # only long epochs need more than their last line
            self._line(f"{text} (batch {event['batch']}/{event['batches']})")

    def _epoch(self, event: dict[str, Any]) -> None:
        self.epoch_began = time.monotonic()
        self.last_top1 = event["val_top1"]
        self._line(
            f"{event['phase']} epoch {event['epoch']:>3}: loss {event['train_loss']:.4f}, validation loss "
            f"{event['val_loss']:.4f}, top-1 {percent(event['val_top1'])}, {event['images_per_second']:.0f} images/s, "
            f"{duration(event['seconds'])}{' (best)' if event['best'] else ''}"
        )

    def _test(self, event: dict[str, Any]) -> None:
        self._line(f"scoring the best weights on the {event['pictures']} locked pictures")

    def _line(self, text: str) -> None:
        self.last_line = time.monotonic()
        if self.bar is not None:
            self.bar.console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def _advance(self, text: str, done: int, total: int, name: str = "") -> None:
        if not self.live:
            if time.monotonic() - self.last_line > 15:
                self._line(f"{text}: {done} of {total}")
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.bar.start()
        if self.task_name != (name or text):
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task_name, self.task = name or text, self.bar.add_task(text, total=total)
        self.bar.update(self.task, description=text, completed=done, total=total)
