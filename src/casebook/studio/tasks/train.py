"""Trains a classifier on a project's pictures; goes on from the last checkpoint when it is resumed."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import write_json
from ...models import list_models
from ...progress import Event, RunOpened
from ..folders import confined
from ..labels import GROUP_COLUMN, has_groups
from .task import Field, Task, Work

RUN_FILE = "run.json"
"""In the job's folder: the run that it writes."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
FIELDS: dict[str, Field] = {
    "name": Field(str, pattern=NAME),
    "recipe": Field(str, pattern=r"[a-z0-9_-]{0,60}"),
    "model": Field(str, choices=("", *list_models())),
    "weights": Field(str, pattern=rf"|{NAME}|run:{NAME}|file:(?!/|.*\.\.)[^\0]{{1,400}}"),
    "transfer": Field(str, pattern=r"none|head|last:\d{1,3}|full|auto"),
    "time_budget_minutes": Field(float, least=0.1, most=100_000),
    "two_phase": Field(bool),
    "epochs": Field(int, least=1, most=100_000),
    "batch_size": Field(int, least=0, most=65536),
    "learning_rate": Field(float, least=1e-9, most=100),
    "weight_decay": Field(float, least=0, most=10),
    "optimiser": Field(str, choices=("sgd", "adamw")),
    "schedule": Field(str, choices=("cosine", "step", "one-cycle", "constant")),
    "input_size": Field(int, least=0, most=2048),
    "resize": Field(str, choices=("auto", "shorter", "squash", "letterbox")),
    "policy": Field(str, pattern=r"[a-z0-9_-]{0,60}"),
    "mirror": Field(bool),
    "warmup_epochs": Field(float, least=0, most=1000),
    "near_duplicates": Field(bool),
    "class_weights": Field(str, choices=("auto", "none", "head", "balanced")),
    "label_smoothing": Field(float, least=0, most=0.99),
    "patience": Field(int, least=0, most=100_000),
    "seed": Field(int, least=0, most=2**31 - 1),
    "val_fraction": Field(float, least=0.01, most=0.9),
    "test_fraction": Field(float, least=0.01, most=0.9),
    "group_by": Field(str, most=200),
    "label_from": Field(str, most=200),
    "device": Field(str, pattern=r"auto|cpu|mps|cuda(:\d+)?"),
    "precision": Field(str, choices=("auto", "fp32", "bf16")),
    "workers": Field(int, least=-1, most=64),
    "threads": Field(int, least=0, most=1024),
    "checkpoint_seconds": Field(float, least=0, most=3600),
}


def run(work: Work) -> Mapping[str, Any]:
    import casebook

    def report(event: Event) -> None:
        if isinstance(event, RunOpened):
            name = Path(event.path).name
            write_json(work.folder / RUN_FILE, {"run": name})
            event = dataclasses.replace(event, path=name)
        work.report(event)

    earlier = _earlier_run(work)
    if earlier is not None:
        run = casebook.train(resume=earlier, progress=report)
    else:
        settings = training_settings(work)
        name = work.settings.get("name")
        out = None if name is None else Path("runs") / name
        run = casebook.train(work.data, out=out, progress=report, **settings)
    return {"run": run.path.name}


def preview(work: Work) -> Mapping[str, Any]:
    from ...workflows.preview import preview

    found = preview(work.data, progress=work.report, **training_settings(work))
    weights = found.weights
    return found.to_dict() | {"weights": Path(weights).name if Path(weights).is_absolute() else weights}


def training_settings(work: Work) -> dict[str, Any]:
    """What `casebook.train` takes besides the data and the run folder."""
    settings = {name: value for name, value in work.settings.items() if name not in ("name", "recipe")}
    if weights := settings.get("weights"):
        settings["weights"] = _weights(work, weights)
    if has_groups(Path(work.data)):
        settings.setdefault("group_by", GROUP_COLUMN)
    return settings | {"recipe": work.settings.get("recipe") or None}


def run_name(folder: Path) -> str | None:
    """The run that a job writes, once it has begun."""
    try:
        return str(json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _earlier_run(work: Work) -> Path | None:
    """The run of an earlier attempt; None where there is nothing to go on with, and the folder is then free again."""
    from ...training.run import Run, discard_run

    name = run_name(work.folder)
    if name is None:
        return None
    path = work.studio.runs / name
    if (path / "last.ckpt").is_file() or (path / "evaluation.json").is_file():
        return path
    discard_run(Run(path))
    return None


def _weights(work: Work, given: str) -> str:
    """A published name as it is; "run:NAME" and "file:PATH" as a path below the root."""
    kind, colon, name = given.partition(":")
    if not colon:
        return given
    if kind == "run":
        return str(confined(work.studio.root, f"runs/{name}"))
    path = confined(work.studio.root, name)
    if path.suffix != ".safetensors":
        raise DataError(f"weights is {name!r}, expected a .safetensors file below the studio's folder")
    return str(path)


TASK = Task("train", "training", run, FIELDS, is_long=True, can_resume=True)
PREVIEW = Task("preview", "look ahead", preview, FIELDS)
