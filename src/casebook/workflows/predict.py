"""Predict in one call: a run or a named network, and pictures -> what it sees in each."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.decode import open_picture
from ..data.loader import Batch
from ..data.sources import pictures_below
from ..device import autocast, choose_device, tune_allocator
from ..errors import PictureError
from ..evaluation.ready import get_ready as _ready
from ..preprocessing import Preprocessing
from ..training.plan import make_prepare

Report = Callable[[dict[str, Any]], None]


def _quiet(_: dict[str, Any]) -> None:
    pass


def predict(
    model: str | Path,
    pictures: str | Path | Iterable[str | Path],
    *,
    top: int = 5,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 32,
) -> Iterator[dict[str, Any]]:
    """What a run, or a named network with `weights`, sees in each picture: one record a picture, in order.

    `pictures` are files, folders (with everything below them) and glob patterns. A record is
    {"picture", "predictions": [{"class", "probability"}, ...]} with the `top` most probable classes, or
    {"picture", "error"} for a picture that cannot be read; the others are answered all the same.
    """
    tune_allocator()
    ready = _ready(model, weights, classes)
    chosen = choose_device(device)
    network = ready.network.to(chosen)
    prepare = make_prepare(ready.preprocessing, chosen, True)
    if isinstance(pictures, (str, Path)):
        pictures = [pictures]
    waiting: list[tuple[str, Any]] = []
    for name, error in _expand(pictures):
        waiting.append((name, error or _read(name, ready.preprocessing)))
        if len(waiting) == batch_size:
            yield from _answer(network, waiting, prepare, ready.classes, top, chosen)
            waiting = []
    yield from _answer(network, waiting, prepare, ready.classes, top, chosen)


def _expand(pictures: Iterable[str | Path]) -> Iterator[tuple[str, str | None]]:
    """(file, error) of each picture that the given files, folders and patterns name."""
    for given in pictures:
        try:
            yield from _named(given)
        except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown ~user, a zero byte
            yield str(given), f"is no usable name: {error}"


def _named(given: str | Path) -> Iterator[tuple[str, str | None]]:
    path = Path(given).expanduser()
    if path.is_dir():
        below = pictures_below(path)
        yield from ((str(picture), None) for picture in below)
        if not below:
            yield str(given), "the folder holds no pictures"
    elif path.exists():
        yield str(path), None
    elif glob.has_magic(str(given)):
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - patterns may be absolute
        yield from _expand(found)
        if not found:
            yield str(given), "no file fits the pattern"
    else:
        yield str(given), "no such file"


def _read(name: str, preprocessing: Preprocessing) -> Any:
    """(size, size, channels) uint8, or the reason why not."""
    try:
        picture = open_picture(Path(name), name=name, **preprocessing.decode_options)
        return preprocessing.pixels(picture)
    except PictureError as error:
        return error.reason


def _answer(
    network: nn.Module, waiting: list[tuple[str, Any]], prepare: Callable, classes: Sequence[str], top: int,
    device: torch.device,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    good = [pixels for _, pixels in waiting if not isinstance(pixels, str)]
    probabilities = iter(())
    if good:
        empty = torch.zeros(0, dtype=torch.int64)
        with torch.inference_mode(), autocast(device, torch.float32):
            logits = network(prepare(Batch(torch.from_numpy(np.stack(good)), empty, empty)))
        probabilities = iter(torch.softmax(logits.float(), 1).cpu().numpy())
    for name, pixels in waiting:
        if isinstance(pixels, str):
            yield {"picture": name, "error": pixels}
            continue
        row = next(probabilities)
        best = np.argsort(-row, kind="stable")[:top]
        yield {
            "picture": name,
            "predictions": [{"class": classes[i], "probability": float(row[i])} for i in best],
        }
