"""Predictions and their evaluation -> one page with the pictures behind every number."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.predictions import Predictions
from ..formatting import percent_text
from ..training.selection import kept_phase
from .album import Album, Thumbnails
from .confusion import (
    HINT,
    NUM_PAIRS,
    Confusion,
    Confusions,
    confusion_section,
    find_confusions,
    matrix_classes,
    mistaken_pairs,
)
from .page import bar_start, cut, page, write
from .sections import (
    Explanations,
    calibration_section,
    changed_settings,
    classes_section,
    explain_mistakes,
    facts,
    list_mistakes,
    network_facts,
    training_section,
)
from .shift import shift_section
from .strips import StripPicture, strip_picture
from .unsure import unsure_section

NUM_MISTAKES = 12  # most confident mistakes
NUM_EXPLAINED = 4  # of them
PICTURES_PER_CELL = 24
RIGHT_PICTURES_PER_CELL = 12
SCRIPTS = ("numbers.js", "report.js", "order.js", "sort.js")


def no_thumbnail(row: int) -> None:
    return None


def unexplained(row: int) -> Sequence[tuple[str, str]]:
    return ()


@dataclasses.dataclass(frozen=True)
class ReportData:
    """What a report is about. Only the title, the evaluation and its predictions are required.

    `evaluation` is what `evaluate_probabilities` made of `predictions`. `thumbnails` gives the upright picture of a
    row of `predictions` in any size, or None; it is called for at most `album.MOST_PICTURES` rows. `explanations`
    gives captions and data URIs of small pictures that explain the answer of a row; it is called for at most
    NUM_EXPLAINED mistakes. `model` is model.json, `history` the rows of metrics.jsonl, `num_validation` the number of
    validation pictures behind them.
    """

    title: str
    evaluation: dict[str, Any]
    predictions: Predictions
    thumbnails: Thumbnails = no_thumbnail
    explanations: Explanations = unexplained
    notes: Sequence[str] = ()
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: Sequence[dict[str, Any]] = ()
    num_validation: int = 0


def write_report(path: str | Path, data: ReportData) -> None:
    """Writes the report as an HTML file of at most about 5 MB, as a whole or not at all.

    Raises RunError when the file cannot be written.
    """
    write(path, render(data))


def write_evaluation_report(
    path: str | Path, metrics: dict[str, Any], predictions: Predictions, thumbnails: Thumbnails = no_thumbnail
) -> None:
    """Writes the report of an evaluation on any pictures, which has everything but the training.

    `metrics` and `predictions` are those of `casebook.evaluate`; `album.source_thumbnails` makes the thumbnails of a
    source. Raises RunError when the file cannot be written.
    """
    write_report(path, evaluation_data(metrics, predictions, thumbnails))


def evaluation_data(
    metrics: dict[str, Any], predictions: Predictions, thumbnails: Thumbnails = no_thumbnail
) -> ReportData:
    """What the report of an evaluation is about."""
    left_out = [f"left out: {item['picture']} ({item['reason']})" for item in metrics.get("skipped", ())]
    about = {key: metrics[key] for key in ("model", "data", "split", "protocol") if metrics.get(key)}
    about["classes"] = list(predictions.classes)
    return ReportData(
        title=f"{metrics['model']} on {metrics['data']}" if metrics.get("data") else str(metrics["model"]),
        evaluation=metrics,
        predictions=predictions,
        thumbnails=thumbnails,
        notes=[*metrics.get("notes", ()), *left_out],
        model=about,
    )


def render(data: ReportData) -> str:
    """The page that `write_report` writes, as text."""
    evaluation, predictions = data.evaluation, data.predictions
    found = find_confusions(predictions)
    pairs = mistaken_pairs(found)
    indices = matrix_classes(evaluation, pairs)
    shown = _shown(found, indices, pairs[:NUM_PAIRS])
    rows = most_confident_mistakes(predictions, NUM_MISTAKES)
    album = Album(data.thumbnails)
    for row in rows:
        album.add(row)
    panel_rows = _fill(album, shown)
    mistakes = list_mistakes(predictions, rows, album)
    sections = {
        "confusion": confusion_section(evaluation, predictions.classes, found, indices),
        "mistakes": mistakes,
        "explained": explain_mistakes(mistakes[:NUM_EXPLAINED], rows, data.explanations),
        "classes": classes_section(evaluation, predictions.classes),
        "calibration": calibration_section(evaluation),
        "unsure": unsure_section(evaluation),
        "shift": shift_section(evaluation),
        "training": training_section(data.history, data.num_validation, kept_phase(data.model)),
        "network": facts(network_facts(data.model)),
        "strip": _strip_of(data.model),
        "environment": facts(data.environment),
    }
    return page(
        "run.html.j2",
        scripts=SCRIPTS,
        data={"hint": HINT, "cells": _panels(predictions, shown, panel_rows, album)},
        title=data.title,
        architecture=data.model.get("architecture", ""),
        version=data.model.get("casebook", ""),
        notes=data.notes,
        evaluation=evaluation,
        num_right=round(evaluation["top1"] * evaluation["n"]),
        headline=_headline(evaluation),
        start=bar_start(evaluation["top1_interval"][0]),
        hint=HINT,
        changed=facts(changed_settings(data.recipe)),
        recipe=facts(data.recipe),
        **sections,
    )


def _strip_of(model: dict[str, Any]) -> StripPicture | None:
    """The strip of the network that model.json names."""
    if "architecture" not in model:
        return None
    size = (model.get("preprocessing") or {}).get("size")
    return strip_picture(str(model["architecture"]), model.get("options") or {}, size)


def most_confident_mistakes(predictions: Predictions, most: int) -> list[int]:
    """The rows that were predicted wrongly, the highest probability of the wrong class first."""
    confidence = predictions.confidences()
    wrong = np.flatnonzero(predictions.predicted() != predictions.labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:most].tolist()


def _shown(found: Confusions, indices: Sequence[int], pairs: Sequence[Confusion]) -> list[Confusion]:
    """Those of the matrix and of the list, which a click opens."""
    inside = set(indices)
    listed = {pair.key for pair in pairs}
    return [c for c in found.values() if (c.truth in inside and c.taken in inside) or c.key in listed]


def _fill(album: Album, shown: Sequence[Confusion]) -> dict[str, list[int]]:
    """Key -> the rows whose pictures are shown; every confusion gets one before any gets two."""
    taken: dict[str, list[int]] = {one.key: [] for one in shown}
    for turn in range(PICTURES_PER_CELL):
        for one in shown:
            most = RIGHT_PICTURES_PER_CELL if one.right else PICTURES_PER_CELL
            if turn < min(most, len(one.rows)):
                row = one.rows[turn]
                album.add(row)
                if row in album:
                    taken[one.key].append(row)
    return taken


def _panels(
    predictions: Predictions, shown: Sequence[Confusion], rows: dict[str, list[int]], album: Album
) -> dict[str, Any]:
    """Key -> what the panel of a number shows."""
    confidence = predictions.confidences()
    names = predictions.classes

    def said(one: Confusion) -> str:
        order = "the least certain first" if one.right else "the most confident first"
        if len(rows[one.key]) == len(one.rows):
            return "" if len(one.rows) == 1 else f"All of them, {order}."
        return f"{len(rows[one.key])} of {len(one.rows):,} shown, {order}."

    return {
        one.key: {
            "truth": names[one.truth],
            "taken": names[one.taken],
            "total": len(one.rows),
            "said": said(one),
            "shown": [
                [
                    cut(predictions.names[row]),
                    *album.thumbnail(row),
                    round(float(confidence[row]), 5),
                    round(float(predictions.probabilities[row, one.truth]), 5),
                ]
                for row in rows[one.key]
            ],
        }
        for one in shown
    }


def _headline(evaluation: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, interval) of each figure, the top-1 accuracy first."""
    digits = 1 if evaluation["n"] < 2000 else 2

    def percents(name: str) -> tuple[str, str]:
        low, high = evaluation[f"{name}_interval"]
        return percent_text(evaluation[name], digits), f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"

    def numbers(name: str) -> tuple[str, str]:
        low, high = evaluation[f"{name}_interval"]
        tiny = 0 < evaluation[name] < 0.0005
        return "< 0.001" if tiny else f"{evaluation[name]:.3f}", f"{low:.3f} to {high:.3f}"

    return [
        ("Top-1 accuracy", *percents("top1")),
        *([("Top-5 accuracy", *percents("top5"))] if "top5" in evaluation else []),
        *([("Macro recall", *percents("macro_recall"))] if "macro_recall" in evaluation else []),
        ("Macro F1", *numbers("macro_f1")),
        ("Log loss", *numbers("log_loss")),
        ("Calibration error", *percents("ece")),
    ]
