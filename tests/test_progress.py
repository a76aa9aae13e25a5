"""What the displays say of the events."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import casebook
from casebook import progress
from casebook.progress import (
    Advanced,
    EpochEnded,
    Event,
    NotebookDisplay,
    PreparedSize,
    Remark,
    RunComplete,
    RunOpened,
    ScoringStarted,
    StepEnded,
    TerminalDisplay,
    TrainingStarted,
    reporting,
    silent,
)

EVENTS: list[Event] = [
    RunOpened("runs/new\nline", resumed=False),
    Advanced("scan", 1, 2),
    TrainingStarted(strategy="head", reason="few pictures", notes=("a note",), num_train=70, num_val=15, num_test=15,
                    num_classes=2, batch_size=8, precision="fp32", device="cpu"),
    StepEnded(phase="train", epoch=1, epochs=2, batch=1, batches=4, loss=2.5, learning_rate=0.1,
              images_per_second=12.3),
    EpochEnded(phase="train", epoch=1, epochs=2, train_loss=2.25, learning_rate=0.1, val_loss=2.0, val_top1=0.5,
               images_per_second=12.3, seconds=61.0, validation_seconds=1.0, threads=2, is_best=True),
    EpochEnded(phase="train", epoch=2, epochs=2, train_loss=2.25, learning_rate=0.1, val_loss=2.0, val_map=0.75,
               images_per_second=12.3, seconds=61.0, validation_seconds=1.0, threads=2, is_best=False),
    Advanced("features", 1, 2),
    Remark("the disk is nearly full"),
    PreparedSize(file="x.pictures", num_pictures=3, num_present=1, side=512, format="raw", size_bytes=2**20,
                 free_bytes=2**31),
    ScoringStarted(num_pictures=7),
    RunComplete("runs/old"),
]  # fmt: skip


@pytest.mark.parametrize("live", [False, True])
def test_a_terminal_shows_every_event(live: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalDisplay(live=live) as display:
        for event in EVENTS:
            display(event)
    assert display.run == "runs/new\nline"
    printed = capsys.readouterr()
    assert not printed.out
    # A live bar is drawn between the lines, with control sequences and its own line ends.
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", printed.err)
    for line in (
        "writing to runs/new\\nline\n",
        "note: a note\n",
        "70 pictures to train on, 15 to validate, 15 locked away; 2 classes, batches of 8, fp32 on cpu\n",
        "transfer: head (few pictures)\n",
        "train epoch   1: loss 2.2500, validation loss 2.0000, top-1 50.00 %, 12 images/s, 1:01 (best)\n",
        "train epoch   2: loss 2.2500, validation loss 2.0000, mAP 75.00 %, 12 images/s, 1:01\n",
        "note: the disk is nearly full\n",
        "3 pictures of at most 512 pixels as raw: 1.0 MiB in x.pictures, of 2.00 GiB free, 1 are there already\n",
        "scoring the best weights on the 7 locked pictures\n",
        "runs/old has finished already; there is nothing to resume\n",
    ):
        assert line in told


def test_where_no_bar_can_be_drawn_it_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    display = TerminalDisplay(live=False)
    display(Advanced("scan", 1, 2))
    assert not capsys.readouterr().err
    monkeypatch.setattr(TerminalDisplay, "BAR_LINE_SECONDS", -1)
    display(Advanced("profile", 1, 2, "decode"))
    assert capsys.readouterr().err == "measuring decode (1 of 2)\n"


def test_events_are_plain_data() -> None:
    for event in EVENTS:
        record = json.loads(json.dumps(event.to_dict()))
        assert record.pop("event") == type(event).__name__
        assert record.keys() == {field.name for field in dataclasses.fields(event)}


def test_a_notebook_shows_the_bar_and_the_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotebookDisplay, "_draw", lambda self: None)
    display = NotebookDisplay()
    for event in [*EVENTS, Advanced("evaluate", 3, 9, "<b>")]:
        display(event)
    drawn = display._repr_html_()
    assert '<progress value="3" max="9"' in drawn
    assert "evaluating &lt;b&gt;" in drawn
    assert "transfer: head (few pictures)" in drawn
    assert drawn.count("<br>") < NotebookDisplay.MOST_LINES


def test_a_progress_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []
    listener: Any = heard.append
    with reporting(listener) as report:
        assert report is listener
    with reporting(False) as report:
        assert report is silent
    with reporting(True) as report:
        assert isinstance(report, TerminalDisplay)
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    assert isinstance(reporting(True), NotebookDisplay)


def test_a_display_ends_with_its_block_also_by_an_error() -> None:
    bars = []

    def interrupted() -> None:
        with TerminalDisplay(live=True) as display:
            display(Advanced("scan", 1, 2))
            bars.append(display._rich.live)
            assert bars[0].is_started
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not bars[0].is_started


@pytest.mark.parametrize("name", ["load_data", "features", "evaluate", "explain", "train"])
def test_a_call_closes_the_display_that_it_opens(
    name: str, digit_folder: Path, runs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []
    monkeypatch.setattr(TerminalDisplay, "__enter__", lambda self: opened.append(self) or self)
    monkeypatch.setattr(TerminalDisplay, "_close", lambda self: closed.append(self))
    picture = next((digit_folder / "digit_0").iterdir())
    calls: dict[str, Callable[[], object]] = {
        "load_data": lambda: casebook.load_data(digit_folder, progress=True),
        "features": lambda: casebook.features(runs[0], [picture], progress=True),
        "evaluate": lambda: casebook.evaluate(runs[0], progress=True),
        "explain": lambda: list(casebook.explain(runs[0], [picture], method="grad-cam", out=tmp_path, progress=True)),
        "train": lambda: casebook.train(resume=runs[0], progress=True),
    }
    calls[name]()
    assert len(opened) == 1
    assert closed == opened
