"""The main jobs in one call each: train, evaluate, predict. The command line has the same names and does no more."""

import dataclasses
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
from .data.sources import (
    Source,
    load_source,
    match_classes,
    pictures_below,
    read_class_list,
)
from .errors import DataError, PictureError, RunError, WeightsError, did_you_mean
from .evaluation.inference import predict_probabilities
from .evaluation.metrics import evaluate_probabilities
from .evaluation.predictions import Predictions
from .evaluation.report import write_report
from .files import write_json
from .models import create_model, list_models, model_card
from .models.weights import load_into, resolve
from .preprocessing import Preprocessing
from .training.distributed import Place
from .training.machine import autocast, choose_device, choose_precision, choose_workers, tune_allocator
from .training.preparation import make_prepare, prepare_data
from .training.recipe import make_recipe
from .training.run import Run, open_run
from .training.session import Outcome, resume_run, train_run

Report = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """`metrics` as `evaluate --json` prints them, and the predictions behind them."""

    metrics: dict[str, Any]
    predictions: Predictions

    def __getattr__(self, name: str) -> Any:
        """`evaluation.top1` for `evaluation.metrics["top1"]`."""
        if name.startswith("__") or name not in self.metrics:
            raise AttributeError(name)
        return self.metrics[name]


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
        notes=[*outcome.notes, *(f"left out: {item['picture']} ({item['reason']})" for item in document["skipped"])],
    )
    write_json(run.path / "evaluation.json", document)  # last: it says that the run is complete


def _thumbnails(source: Source, indices: Sequence[int]) -> Callable[[int], Any]:
    """Opens the picture of a prediction's row; None where it cannot be read any more."""

    def thumbnail(row: int) -> Any:
        try:
            return source.open(indices[row], min_side=256)
        except PictureError:
            return None

    return thumbnail


@dataclasses.dataclass(frozen=True)
class _Ready:
    """A network in evaluation mode with what its outputs and inputs mean."""

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    class_list: tuple | None
    preprocessing: Preprocessing
    run: Run | None


def _ready(model: str | Path, weights: str | Path | None, classes: str | Path | None) -> _Ready:
    """A run folder, or a network's name with weights and perhaps a class list."""
    if str(model) in list_models():
        if weights is None:
            raise WeightsError(f"{model} is a network's name; add --weights, or give a run folder")
        found = resolve(weights, str(model))
        network = create_model(str(model), num_classes=found.num_classes, **found.options)
        load_into(network, found, replace_head=False)
        entries = _class_list(classes, found.num_classes)
        if entries is not None:
            names = tuple(entry.name for entry in entries)
        else:
            names = found.classes or tuple(str(i) for i in range(found.num_classes))
        preprocessing = found.preprocessing or model_card(str(model)).preprocessing
        return _Ready(str(model), network.eval(), tuple(names), entries, preprocessing, None)
    if not Path(model).exists() and "/" not in str(model):
        suggestion = did_you_mean(str(model), list_models()) or ";"
        raise RunError(
            f"there is no run folder and no network {str(model)!r}{suggestion} 'casebook models' lists the networks"
        )
    run = open_run(model)
    if weights is not None:
        raise WeightsError(f"{model} is a run folder and has weights of its own; leave out --weights")
    entries = _class_list(classes, len(run.classes))
    names = run.classes if entries is None else tuple(entry.name for entry in entries)
    return _Ready(str(model), run.network(), names, entries, run.preprocessing, run)


def _class_list(path: str | Path | None, num_outputs: int) -> tuple | None:
    """The entries of a class list in the order of the outputs that they name."""
    if path is None:
        return None
    entries = read_class_list(path)
    if len(entries) != num_outputs:
        raise DataError(f"{path} lists {len(entries)} classes, but the weights have {num_outputs} outputs")
    return entries


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    split: str = "auto",
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = 0,
    workers: int = 0,
    report: Report = _quiet,
) -> Evaluation:
    """Scores a run (`model` is its folder), or a named network with `weights`, on labelled pictures.

    Without `data`, a run is scored on its own locked test set. Folders are matched to the network's classes by name,
    or with `classes` (a CSV of index, id, name) by id or name, and scored against all of the network's outputs.
    `split` is "train", "val", "test", "all", or "auto": the test part where the data has one, else everything.

    Raises DataError, ModelError, WeightsError or RunError.
    """
    tune_allocator()
    ready = _ready(model, weights, classes)
    if split not in ("auto", "all", "train", "val", "test"):
        raise DataError(f"split is {split!r}, expected auto, all, train, val or test")
    notes: list[str] = []
    if data is None:
        if ready.run is None:
            raise DataError("no data is named; give a folder, a CSV file or a built-in name")
        source, indices, part = _own_pictures(ready.run, split)
    else:
        source = load_source(data)
        source, notes = _with_classes_of(source, ready)
        present = {picture.split for picture in source.pictures}
        part = split if split != "auto" else "test" if "test" in present else "all"
        if part != "all" and part not in present:
            raise DataError(f"{data} has no {part} split; it has {', '.join(sorted(present - {''})) or 'none'}")
        indices = tuple(i for i, picture in enumerate(source.pictures) if part in ("all", picture.split))
    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen, ready.preprocessing.size)
    began = time.monotonic()
    predictions, _, skipped = predict_probabilities(
        ready.network, source, indices, ready.preprocessing, ready.classes, device=chosen, dtype=dtype,
        batch_size=batch_size, workers=workers,
        progress=lambda done, total: report({"kind": "evaluate", "done": done, "total": total}),
    )  # fmt: skip
    seconds = time.monotonic() - began
    metrics = evaluate_probabilities(predictions.probabilities, predictions.labels, predictions.classes)
    document = {
        "model": ready.name,
        "data": source.name,
        "split": part,
        **metrics,
        "seconds": round(seconds, 3),
        "images_per_second": round(len(predictions.names) / max(seconds, 1e-9), 2),
        "skipped": [{"picture": name, "reason": reason} for name, reason in skipped.items()],
        "notes": [*source.notes, *notes],
    }
    return Evaluation(document, predictions)


def _own_pictures(run: Run, split: str) -> tuple[Source, tuple[int, ...], str]:
    data = prepare_data(run.recipe, run, Place(), known_split=True)
    if data.source.classes != run.classes:
        raise RunError(f"{run.path}: the classes of {run.recipe.data} have changed since the training; name the data")
    part = "test" if split == "auto" else split
    parts = ("train", "val", "test") if part == "all" else (part,)
    return data.source, tuple(i for name in parts for i in getattr(data.split, name)), part


def _with_classes_of(source: Source, ready: _Ready) -> tuple[Source, list[str]]:
    """The source with its labels turned into the network's outputs. Raises DataError naming what fits nowhere."""
    if ready.class_list is not None:
        outputs = match_classes(source.classes, ready.class_list)
    else:
        places = {name: place for place, name in enumerate(ready.classes)}
        unknown = [name for name in source.classes if name not in places]
        if unknown:
            raise DataError(
                f"{source.name}: {len(unknown)} classes that {ready.name} does not know: {', '.join(unknown[:5])}"
                f"{' ...' if len(unknown) > 5 else ''}; it knows {', '.join(ready.classes[:10])}"
                f"{' ...' if len(ready.classes) > 10 else ''}. Rename the folders, or give a class list by --classes"
            )
        outputs = tuple(places[name] for name in source.classes)
    pictures = tuple(picture._replace(label=outputs[picture.label]) for picture in source.pictures)
    notes = []
    if len(outputs) < len(ready.classes):
        notes.append(
            f"{source.name} holds {len(outputs)} of the network's {len(ready.classes)} classes; scored against all"
        )
    return dataclasses.replace(source, pictures=pictures, classes=ready.classes), notes


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
