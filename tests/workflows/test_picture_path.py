"""How many functions and files a picture passes, from its file to the loss and from its file to the answer.

A picture passes a function that takes or returns it: the bytes of its file, its pixels, or a batch that holds it.
Functions that only compute beside it, such as the parameters of an augmentation, do not count, nor does the network.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import casebook
from casebook.training.stepper import Stepper

ROOT = Path(casebook.__file__).parent
Function = tuple[str, str]  # file below the package, qualified name


def holds_picture(value: Any, depth: int = 2) -> bool:
    if isinstance(value, bytes):
        return len(value) > 1000
    if isinstance(value, Image.Image):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype in (np.uint8, np.float32) and value.ndim >= 2 and value.size > 300
    if isinstance(value, torch.Tensor):
        return value.ndim >= 3 and value.numel() > 300
    return depth > 0 and isinstance(value, tuple | list) and any(holds_picture(part, depth - 1) for part in value)


def arguments(frame: FrameType) -> Iterator[Any]:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    return (frame.f_locals.get(name) for name in code.co_varnames[:count] if name != "self")


@contextmanager
def watched(passed: set[Function]) -> Iterator[None]:
    """Inside, adds each function of the package, but those of models/, that a picture passes; in new threads too."""

    def look(frame: FrameType, event: str, result: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or not path.is_relative_to(ROOT) or path.is_relative_to(ROOT / "models"):
            return
        function = (str(path.relative_to(ROOT)), frame.f_code.co_qualname)
        if function not in passed and (
            holds_picture(result) if event == "return" else any(map(holds_picture, arguments(frame)))
        ):
            passed.add(function)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def files(passed: set[Function]) -> set[str]:
    return {file for file, _ in passed}


def test_a_picture_is_trained_on(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: set[Function] = set()
    whole: Callable[..., Any] = Stepper.step
    steps = iter(range(1000))

    def step(self: Stepper, *arguments: Any) -> Any:
        if next(steps) != 1:
            return whole(self, *arguments)
        with watched(passed):  # the second step reads, augments and learns a batch like any later one
            return whole(self, *arguments)

    monkeypatch.setattr(Stepper, "step", step)
    casebook.train(
        str(photo_folder), model="resnet20", recipe="scratch", input_size=72, epochs=1, batch_size=8, workers=0,
        out=str(tmp_path / "run"),
    )  # fmt: skip
    assert len(passed) <= 25, sorted(passed)
    assert files(passed) == {
        "augmentation/augment.py", "data/crops.py", "data/loader.py", "data/reduced.py", "preprocessing.py",
        "training/stepper.py", "training/trainer.py",
    }  # fmt: skip


def test_a_picture_is_predicted(photo_folder: Path) -> None:
    passed: set[Function] = set()
    classifier = casebook.load("resnet20", weights="cifar10")
    picture = next(photo_folder.glob("*/*.jpg"))
    classifier.predict(picture)  # what is imported late is there now
    with watched(passed):
        classifier.predict(picture)
    assert len(passed) <= 25, sorted(passed)
    assert files(passed) == {
        "data/decode.py", "evaluation/classifier.py", "preprocessing.py", "runner/answers.py", "runner/reading.py"
    }  # fmt: skip
