"""A run's evaluation -> one self-contained HTML page with the pictures behind every number.

What is put together here stands in `confusion` and `report_sections`; the shell is that of every page, `page`.
"""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import CasebookError
from ..evaluation.predictions import Predictions
from ..files import write_atomically
from ..formatting import percent_text
from .charts import interval_bar
from .confusion import HINT, NUM_PAIRS, Cell, confusion_cells, confusion_section, matrix_classes
from .page import LONGEST_NAME as LONGEST_NAME
from .page import bar_start, cut, ends, notes_list, page, text
from .page import resource as _resource
from .sections import (
    Explanations,
    calibration_section,
    classes_section,
    explained_section,
    facts,
    mistakes_section,
    network_facts,
    training_section,
)

NUM_MISTAKES = 12  # most confident mistakes
NUM_EXPLAINED = 4  # of them
PICTURES_PER_CELL = 24
RIGHT_PICTURES_PER_CELL = 12
MOST_PICTURES = 1500
MOST_PICTURE_BYTES = 3_000_000  # as base64, in the whole report
THUMBNAIL_SIDE = 144
SMALL_SIDE = 64  # pictures up to here are shown with visible pixels

Thumbnails = Callable[[int], Image.Image | None]


def unexplained(row: int) -> Sequence[tuple[str, str]]:
    return ()


def write_report(
    path: str | Path,
    *,
    title: str,
    model: dict[str, Any],
    recipe: dict[str, Any],
    environment: dict[str, Any],
    history: Sequence[dict[str, Any]],
    evaluation: dict[str, Any],
    predictions: Predictions,
    thumbnails: Thumbnails,
    explanations: Explanations = unexplained,
    notes: Sequence[str] = (),
) -> None:
    """The report as an HTML file of a few MB at most, replaced as a whole or not at all.

    `model` is what model.json holds, `evaluation` what `evaluate_probabilities` made of `predictions`, `history`
    the rows of metrics.jsonl (empty for a network that was not trained here). `thumbnails` gives the upright
    picture of a row of `predictions` in any size, or None where there is none; it is called for at most
    MOST_PICTURES rows. `explanations` gives the small pictures that explain the answer of a row; it is called for at
    most NUM_EXPLAINED mistakes.

    Raises RunError when the file cannot be written.
    """
    page = render(
        title=title,
        model=model,
        recipe=recipe,
        environment=environment,
        history=history,
        evaluation=evaluation,
        predictions=predictions,
        thumbnails=thumbnails,
        explanations=explanations,
        notes=notes,
    )
    # A file name that is not UTF-8 reaches us as lone surrogates, which no encoding can write.
    write_atomically(Path(path), page.encode("utf-8", "replace"))


def render(
    *,
    title: str,
    model: dict[str, Any],
    recipe: dict[str, Any],
    environment: dict[str, Any],
    history: Sequence[dict[str, Any]],
    evaluation: dict[str, Any],
    predictions: Predictions,
    thumbnails: Thumbnails,
    explanations: Explanations = unexplained,
    notes: Sequence[str] = (),
) -> str:
    """The page that `write_report` writes, as text."""
    cells = confusion_cells(predictions)
    shown_classes = matrix_classes(evaluation, cells)
    pairs = sorted((c for c in cells.values() if not c.right), key=lambda c: (-len(c.rows), c.truth, c.taken))
    shown_cells = _shown_cells(cells, shown_classes, pairs[:NUM_PAIRS])
    mistakes = most_confident_mistakes(predictions, NUM_MISTAKES)
    album = Album(thumbnails)
    for row in mistakes:
        album.add(row)
    shown = _fill(album, shown_cells)

    sections = [
        ("confusion", "Confusion", confusion_section(evaluation, predictions, cells, shown_classes, pairs)),
        ("mistakes", "Most confident mistakes", mistakes_section(evaluation, predictions, mistakes, album.source)),
        (
            "explained",
            "Why these mistakes",
            explained_section(predictions, mistakes[:NUM_EXPLAINED], album.source, explanations),
        ),
        ("classes", "Classes", classes_section(evaluation, predictions)),
        ("calibration", "Calibration", calibration_section(evaluation)),
        ("training", "Training", training_section(history)),
        ("network", "Network and recipe", facts(("Network", network_facts(model)), ("Recipe", recipe))),
        ("environment", "Environment", facts(("", environment))),
    ]
    sections = [section for section in sections if section[2]]
    body = [
        f"<header><h1>{text(title)}</h1>{_lead(evaluation, model)}{_headline(evaluation)}{notes_list(notes)}",
        '<nav aria-label="Sections"><ul>',
        *(f'<li><a href="#{key}">{text(name)}</a></li>' for key, name, _ in sections),
        "</ul></nav></header><main>",
        *(
            f'<section id="{key}" aria-labelledby="{key}-name"><h2 id="{key}-name">{text(name)}</h2>{inside}</section>'
            for key, name, inside in sections
        ),
        "</main>",
        _footer(evaluation, model),
    ]
    data = _panel_data(predictions, shown_cells, shown, album)
    return page(title, "\n".join(body), style=_resource("report.css"), script=_resource("report.js"), data=data)


def most_confident_mistakes(predictions: Predictions, most: int) -> list[int]:
    """The rows predicted wrongly, the highest probability of the wrong class first."""
    confidence = predictions.confidences()
    wrong = np.flatnonzero(predictions.predicted() != predictions.labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:most].tolist()


class Album:
    """The pictures that go into a report: each encoded once, until the report has had enough."""

    def __init__(self, thumbnails: Thumbnails):
        self._thumbnails = thumbnails
        self._sources: dict[int, tuple[str, bool]] = {}
        self.num_bytes = 0

    @property
    def full(self) -> bool:
        return len(self._sources) >= MOST_PICTURES or self.num_bytes >= MOST_PICTURE_BYTES

    def add(self, row: int) -> None:
        """Does nothing for a picture that is here already, or once the album is full."""
        if row in self._sources or self.full:
            return
        try:
            picture = self._thumbnails(row)
        except (CasebookError, OSError):
            picture = None  # the picture has vanished since it was predicted; its row still counts
        source, small = ("", False) if picture is None else encode_thumbnail(picture)
        self._sources[row] = source, small
        self.num_bytes += len(source)

    def __contains__(self, row: int) -> bool:
        return row in self._sources

    def source(self, row: int) -> tuple[str, bool]:
        """A data URI ("" where there is no picture), and whether to show it with visible pixels."""
        return self._sources.get(row, ("", False))


def encode_thumbnail(picture: Image.Image) -> tuple[str, bool]:
    """A JPEG as a data URI, at most THUMBNAIL_SIDE on its longer side, and whether the picture is tiny."""
    small = max(picture.size) <= SMALL_SIDE
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    if not small:
        picture = picture.copy()
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90 if small else 72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), small


def _shown_cells(
    cells: dict[tuple[int, int], Cell], matrix_classes: Sequence[int], pairs: Sequence[Cell]
) -> list[Cell]:
    inside = set(matrix_classes)
    listed = {cell.key for cell in pairs}
    return [c for c in cells.values() if (c.truth in inside and c.taken in inside) or c.key in listed]


def _fill(album: Album, cells: Sequence[Cell]) -> dict[str, list[int]]:
    """Cell key -> the rows whose pictures are shown; every cell gets one before any gets two."""
    shown: dict[str, list[int]] = {cell.key: [] for cell in cells}
    for turn in range(PICTURES_PER_CELL):
        for cell in cells:
            most = RIGHT_PICTURES_PER_CELL if cell.right else PICTURES_PER_CELL
            if turn < min(most, len(cell.rows)):
                row = cell.rows[turn]
                album.add(row)
                if row in album:
                    shown[cell.key].append(row)
    return shown


def _panel_data(
    predictions: Predictions, cells: Sequence[Cell], shown: dict[str, list[int]], album: Album
) -> dict[str, Any]:
    confidence = predictions.confidences()
    names = predictions.classes

    def said(cell: Cell) -> str:
        order = "the least certain first" if cell.right else "the most confident first"
        if len(shown[cell.key]) == len(cell.rows):
            return "" if len(cell.rows) == 1 else f"All of them, {order}."
        return f"{len(shown[cell.key])} of {len(cell.rows):,} shown, {order}."

    return {
        "hint": HINT,
        "cells": {
            cell.key: {
                "truth": names[cell.truth],
                "taken": names[cell.taken],
                "total": len(cell.rows),
                "said": said(cell),
                "shown": [
                    [
                        cut(predictions.names[row]),
                        *album.source(row),
                        round(float(confidence[row]), 5),
                        round(float(predictions.probabilities[row, cell.truth]), 5),
                    ]
                    for row in shown[cell.key]
                ],
            }
            for cell in cells
        },
    }


def _lead(evaluation: dict[str, Any], model: dict[str, Any]) -> str:
    n = evaluation["n"]
    right = round(evaluation["top1"] * n)
    by = f" by <b>{text(model['architecture'])}</b>" if model.get("architecture") else ""
    return f'<p class="lead">{right:,} of {n:,} {"picture" if n == 1 else "pictures"} recognised{by}.</p>'


def _headline(evaluation: dict[str, Any]) -> str:
    digits = 1 if evaluation["n"] < 2000 else 2

    def percents(name: str) -> tuple[str, str]:
        low, high = evaluation[f"{name}_interval"]
        return percent_text(evaluation[name], digits), f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"

    def numbers(name: str) -> tuple[str, str]:
        low, high = evaluation[f"{name}_interval"]
        tiny = 0 < evaluation[name] < 0.0005
        return "&lt; 0.001" if tiny else f"{evaluation[name]:.3f}", f"{low:.3f} to {high:.3f}"

    def item(label: str, value: str, between: str, style: str = "", bar: str = "") -> str:
        return (
            f'<div class="{style}"><dt>{label}</dt><dd class="value">{value}</dd>'
            f'<dd class="range">{between}{bar}</dd></div>'
        )

    start = bar_start(evaluation["top1_interval"][0])
    items = [
        item(
            "Top-1 accuracy",
            *percents("top1"),
            "main",
            interval_bar(evaluation["top1"], evaluation["top1_interval"], start) + ends(start),
        )
    ]
    if "top5" in evaluation:
        items.append(item("Top-5 accuracy", *percents("top5")))
    items += [
        item("Macro F1", *numbers("macro_f1")),
        item("Log loss", *numbers("log_loss")),
        item("Calibration error", *percents("ece")),
    ]
    return f'<dl class="headline">{"".join(items)}</dl>'


def _footer(evaluation: dict[str, Any], model: dict[str, Any]) -> str:
    methods = evaluation.get("interval", {})
    by = "; ".join(
        f"{label} {methods[key]}"
        for key, label in (("top1", "accuracies:"), ("macro_f1", "macro F1:"), ("ece", "calibration error:"))
        if key in methods
    )
    version = f" Casebook {text(model['casebook'])}." if model.get("casebook") else ""
    return f"<footer><p>Intervals are at 95 %; {text(by)}.{version}</p></footer>"
