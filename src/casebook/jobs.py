"""The main jobs in one call each: train, evaluate, predict. The command line has the same names and does no more."""

import glob
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .data.decode import open_picture
from .data.loader import Batch
from .data.sources import Source, pictures_below
from .errors import DataError, ModelError, PictureError
from .evaluation.inference import predict_probabilities
from .evaluation.metrics import evaluate_probabilities
from .evaluation.predictions import Predictions
from .evaluation.ready import get_ready as _ready
from .evaluation.report import write_report
from .evaluation.scoring import Evaluation, evaluate
from .files import write_json
from .preprocessing import Preprocessing
from .training.machine import autocast, choose_device, choose_workers, tune_allocator
from .training.preparation import make_prepare
from .training.recipe import make_recipe
from .training.run import Run
from .training.session import Outcome, resume_run, train_run

Report = Callable[[dict[str, Any]], None]


def _quiet(_: dict[str, Any]) -> None:
    pass


def train(
    data: str | Path = "",
    *,
    recipe: str | Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    report: Report = _quiet,
    **settings: Any,
) -> Run:
    """Trains a classifier and scores it on its locked test set; gives the run folder.

    `data` is a folder of class folders, a CSV file or a built-in name; `settings` are fields of the recipe, such as
    model="mobilenet_v2", weights="imagenet.safetensors", transfer="head", epochs=20. `resume` goes on with an
    interrupted run and takes nothing else. `report` is called with progress, a dictionary at a time.

    Raises a CasebookError (DataError, RecipeError, WeightsError, RunError, ...) for what the caller can mend.
    """
    began = time.monotonic()
    if resume is not None:
        if Run(Path(resume)).is_complete:
            report({"kind": "complete", "path": str(resume)})
            return Run(Path(resume))
        session = resume_run(resume, report=report)
    else:
        chosen = make_recipe(recipe, **({"data": str(data)} if str(data) else {}), **settings)
        if not chosen.data:
            raise DataError("no data is named; give a folder, a CSV file or a built-in name such as digits")
        session = train_run(chosen, out=out, report=report)
    with session as outcome:
        _finish(outcome, began, report)
        return outcome.run


def _finish(outcome: Outcome, began: float, report: Report) -> None:
    """Scores the best weights on the locked test set, once, and writes evaluation.json and report.html."""
    run, data = outcome.run, outcome.data
    model = run.model
    network = run.network()
    if outcome.place.is_first:
        report({"kind": "test", "pictures": len(data.split.test)})
    predictions, readable, skipped = predict_probabilities(
        network,
        data.source,
        data.split.test,
        run.preprocessing,
        run.classes,
        device=outcome.device,
        workers=choose_workers(run.recipe.workers, outcome.device, outcome.place.world_size),
        place=outcome.place,
    )
    if not outcome.place.is_first:
        return
    history = run.history
    best = max(history, key=lambda row: (row["val_top1"], -row["val_loss"]))
    seconds = sum(row["seconds"] + row["validation_seconds"] for row in history)
    document = {
        "run": str(run.path),
        "model": model["architecture"],
        "data": run.recipe.data,
        "transfer": {"strategy": outcome.transfer.strategy, "reason": outcome.transfer.reason},
        "pictures": {name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
        "validation": {"top1": best["val_top1"], "loss": best["val_loss"], "epoch": best["epoch"]},
        "test": evaluate_probabilities(predictions.probabilities, predictions.labels, predictions.classes),
        "epochs": len(history),
        "training_seconds": round(seconds, 3),
        "total_seconds": round(time.monotonic() - began, 3),
        "features": outcome.features,
        "skipped": [{"picture": name, "reason": reason} for name, reason in (outcome.skipped | skipped).items()],
        "notes": list(outcome.notes),
    }
    write_report(
        run.path / "report.html",
        title=run.path.name,
        model=model,
        recipe=run.recipe.model_dump(mode="json"),
        environment=run.environment,
        history=history,
        evaluation=document["test"],
        predictions=predictions,
        thumbnails=_thumbnails(data.source, readable),
        explanations=_explanations(outcome, network, predictions, readable),
        notes=[*outcome.notes, *(f"left out: {item['picture']} ({item['reason']})" for item in document["skipped"])],
    )
    write_json(run.path / "evaluation.json", document)  # last: it says that the run is complete


def _explanations(
    outcome: Outcome, network: nn.Module, predictions: Predictions, readable: Sequence[int]
) -> Callable[[int], Sequence[tuple[str, str]]]:
    """Explains the answer of a prediction's row.

    Gives nothing where its picture cannot be read any more or the network cannot be looked into: a finished training
    does not fail for that.
    """
    from .explanation.overlays import overlays
    from .explanation.views import Subject

    run = outcome.run
    preprocessing = run.preprocessing
    subject = Subject(run.path.name, network, run.classes, preprocessing, device=outcome.device)
    taken = predictions.predicted()

    def explain(row: int) -> Sequence[tuple[str, str]]:
        try:
            picture = outcome.data.source.open(
                readable[row], mode=preprocessing.mode, min_side=preprocessing.decode_side
            )
            found = overlays(subject, picture, taken=int(taken[row]), truth=int(predictions.labels[row]))
        except (PictureError, ModelError, torch.OutOfMemoryError):
            return ()
        return [(overlay.caption, overlay.uri) for overlay in found]

    return explain


def _thumbnails(source: Source, indices: Sequence[int]) -> Callable[[int], Any]:
    """Opens the picture of a prediction's row; None where it cannot be read any more."""

    def thumbnail(row: int) -> Any:
        try:
            return source.open(indices[row], min_side=256)
        except PictureError:
            return None

    return thumbnail


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
        picture = open_picture(Path(name), name=name, mode=preprocessing.mode, min_side=preprocessing.decode_side)
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


__all__ = ["Evaluation", "evaluate", "predict", "train"]
