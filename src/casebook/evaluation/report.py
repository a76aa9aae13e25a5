"""A run's evaluation -> one self-contained HTML page with the pictures behind every number.

The page loads nothing: style, script, charts and pictures are inside, and its content security policy forbids
the rest. Whatever comes from the user (class names, file names, settings) is escaped in the HTML and enters the
script as JSON that it only ever shows as text.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import CasebookError
from ..files import write_atomically
from .charts import Line, Phase, interval_bar, line_chart, percent_text, reliability_chart, short
from .predictions import Predictions

NUM_MISTAKES = 12  # most confident mistakes
NUM_NOTES = 12  # in sight; the others unfold
NUM_PAIRS = 12  # most common confusions
MOST_MATRIX_CLASSES = 30  # more do not fit a screen
PART_OF_MATRIX = 20  # classes shown when there are more than that
PICTURES_PER_CELL = 24
RIGHT_PICTURES_PER_CELL = 12
MOST_PICTURES = 1500
MOST_PICTURE_BYTES = 3_000_000  # as base64, in the whole report
THUMBNAIL_SIDE = 144
SMALL_SIDE = 64  # pictures up to here are shown with visible pixels
LONGEST_NAME = 200

PHASES = {"train": "training", "head": "new head", "tune": "fine-tuning"}
HINT = "Choose a number to see the pictures behind it."

Thumbnails = Callable[[int], Image.Image | None]


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
    notes: Sequence[str] = (),
) -> None:
    """The report as an HTML file of a few MB at most, replaced as a whole or not at all.

    `model` is what model.json holds, `evaluation` what `evaluate_probabilities` made of `predictions`, `history`
    the rows of metrics.jsonl (empty for a network that was not trained here). `thumbnails` gives the upright
    picture of a row of `predictions` in any size, or None where there is none; it is called for at most
    MOST_PICTURES rows.

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
    notes: Sequence[str] = (),
) -> str:
    """The page that `write_report` writes, as text."""
    cells = confusion_cells(predictions)
    matrix_classes = _matrix_classes(evaluation, cells)
    pairs = sorted((c for c in cells.values() if not c.right), key=lambda c: (-len(c.rows), c.truth, c.taken))
    shown_cells = _shown_cells(cells, matrix_classes, pairs[:NUM_PAIRS])
    mistakes = most_confident_mistakes(predictions, NUM_MISTAKES)
    album = Album(thumbnails)
    for row in mistakes:
        album.add(row)
    shown = _fill(album, shown_cells)

    sections = [
        ("confusion", "Confusion", _confusion(evaluation, predictions, cells, matrix_classes, pairs)),
        ("mistakes", "Most confident mistakes", _mistakes(evaluation, predictions, mistakes, album)),
        ("classes", "Classes", _classes(evaluation, predictions)),
        ("calibration", "Calibration", _calibration(evaluation)),
        ("training", "Training", _training(history)),
        ("network", "Network and recipe", _facts(("Network", _network_facts(model)), ("Recipe", recipe))),
        ("environment", "Environment", _facts(("", environment))),
    ]
    sections = [section for section in sections if section[2]]
    body = [
        f"<header><h1>{_text(title)}</h1>{_lead(evaluation, model)}{_headline(evaluation)}{_notes(notes)}",
        '<nav aria-label="Sections"><ul>',
        *(f'<li><a href="#{key}">{_text(name)}</a></li>' for key, name, _ in sections),
        "</ul></nav></header><main>",
        *(
            f'<section id="{key}" aria-labelledby="{key}-name"><h2 id="{key}-name">{_text(name)}</h2>{inside}</section>'
            for key, name, inside in sections
        ),
        "</main>",
        _footer(evaluation, model),
    ]
    return _page(title, "\n".join(body), _panel_data(predictions, shown_cells, shown, album))


class Cell(NamedTuple):
    """A field of the confusion matrix: classes by their index, and the rows of the predictions in it."""

    truth: int
    taken: int
    rows: tuple[int, ...]
    """The most telling first: confident mistakes, and what was only just recognised."""

    @property
    def right(self) -> bool:
        return self.truth == self.taken

    @property
    def key(self) -> str:
        return f"{self.truth}-{self.taken}"


def confusion_cells(predictions: Predictions) -> dict[tuple[int, int], Cell]:
    """(true, predicted) -> its cell, for every pair of classes that occurs."""
    rows: dict[tuple[int, int], list[int]] = {}
    confidence = predictions.confidences()
    for row, pair in enumerate(zip(predictions.labels.tolist(), predictions.predicted().tolist(), strict=True)):
        rows.setdefault(pair, []).append(row)
    return {
        (truth, taken): Cell(
            truth,
            taken,
            tuple(sorted(found, key=lambda row: (confidence[row] if truth == taken else -confidence[row], row))),
        )
        for (truth, taken), found in sorted(rows.items())
    }


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


def _matrix_classes(evaluation: dict[str, Any], cells: dict[tuple[int, int], Cell]) -> list[int]:
    """The classes (by index) of the matrix: all that occur, or of many those most confused with each other."""
    occurring = [entry["index"] for entry in evaluation["per_class"]]
    if len(occurring) <= MOST_MATRIX_CLASSES:
        return occurring
    chosen: list[int] = []
    for cell in sorted((c for c in cells.values() if not c.right), key=lambda c: (-len(c.rows), c.truth, c.taken)):
        new = [index for index in (cell.truth, cell.taken) if index not in chosen]
        if len(chosen) + len(new) <= PART_OF_MATRIX:
            chosen += new
    return sorted(chosen)


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
                        _cut(predictions.names[row]),
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
    by = f" by <b>{_text(model['architecture'])}</b>" if model.get("architecture") else ""
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

    start = _bar_start(evaluation["top1_interval"][0])
    items = [
        item(
            "Top-1 accuracy",
            *percents("top1"),
            "main",
            interval_bar(evaluation["top1"], evaluation["top1_interval"], start) + _ends(start),
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


def _ends(start: float) -> str:
    """What the two ends of an interval bar stand for."""
    return f'<div class="ends"><span>{100 * start:.0f} %</span><span>100 %</span></div>'


def _bar_start(lowest: float) -> float:
    """Where the axis of interval bars begins: what no interval comes near is left out."""
    return max(0.0, np.floor(lowest * 10 - 0.5) / 10)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = [f"<li>{_text(note)}</li>" for note in notes]
    rest = ""
    if len(items) > NUM_NOTES:
        more = f"<summary>{len(items) - NUM_NOTES:,} more</summary>"
        rest = f"<details>{more}<ul>{''.join(items[NUM_NOTES:])}</ul></details>"
    return f'<div class="notes"><ul>{"".join(items[:NUM_NOTES])}</ul>{rest}</div>'


def _confusion(
    evaluation: dict[str, Any],
    predictions: Predictions,
    cells: dict[tuple[int, int], Cell],
    indices: Sequence[int],
    pairs: Sequence[Cell],
) -> str:
    num_occurring = len(evaluation["per_class"])
    total = {entry["index"]: entry["n"] for entry in evaluation["per_class"]}
    num_wrong = sum(len(cell.rows) for cell in pairs)
    inside = set(indices)
    parts = []
    if len(indices) < num_occurring:
        covered = sum(len(c.rows) for c in pairs if c.truth in inside and c.taken in inside)
        parts.append(
            f'<p class="said">{num_occurring:,} classes occur; the matrix shows the {len(indices)} most confused with '
            f"each other, and with them {covered:,} of the {num_wrong:,} mistakes.</p>"
            if indices
            else f'<p class="said">{num_occurring:,} classes occur and none was confused with another.</p>'
        )
    if indices:
        largest = "5.5rem" if len(indices) <= 4 else "2.9rem" if len(indices) <= 12 else "2rem"
        stacked = " stacked" if len(indices) > 12 else ""
        parts.append(
            f'<div class="explorer{stacked}"><div><div class="scroll">'
            f'<table class="matrix" style="--classes: {len(indices)}; --largest: {largest}">'
            f"{_matrix_head(predictions.classes, indices)}<tbody>"
        )
        for truth in indices:
            name = predictions.classes[truth]
            parts.append(f'<tr><th scope="row"><span title="{_text(name)}"><bdi>{_text(name)}</bdi></span></th>')
            for taken in indices:
                cell = cells.get((truth, taken))
                parts.append(f"<td>{_matrix_cell(cell, total[truth], predictions.classes)}</td>")
            parts.append(f'<td class="total">{total[truth]:,}</td></tr>')
        parts.append(
            '</tbody></table></div><div class="key-note"><span><i class="right"></i>recognised</span>'
            '<span><i class="wrong"></i>mistaken, as a share of the row</span></div></div>'
            f'<div class="panel" id="panel" role="region" aria-live="polite" aria-label="Pictures of a cell">'
            f'<p class="said hint">{HINT}</p></div></div>'
        )
    if pairs and (len(indices) > 2 or num_occurring > len(indices)):
        rest = (
            f'<p class="said">{len(pairs) - NUM_PAIRS:,} further pairs of classes are left out here.</p>'
            if len(pairs) > NUM_PAIRS
            else ""
        )
        parts.append(
            '<div class="pairs"><h3>Most common confusions</h3><div class="scroll"><table class="list"><thead><tr>'
            '<th scope="col">True class, taken for</th><th scope="col" class="number">Pictures</th>'
            '<th scope="col" class="number">Of the class</th></tr></thead><tbody>'
        )
        parts += [
            f'<tr><td><button type="button" class="pair" data-cell="{cell.key}">'
            f"<bdi>{_text(predictions.classes[cell.truth])}</bdi>, taken for "
            f"<bdi>{_text(predictions.classes[cell.taken])}</bdi></button></td>"
            f'<td class="number">{len(cell.rows):,}</td>'
            f'<td class="number">{percent_text(len(cell.rows) / total[cell.truth])}</td></tr>'
            for cell in pairs[:NUM_PAIRS]
        ]
        parts.append(f"</tbody></table></div>{rest}</div>")
    return "".join(parts)


def _matrix_head(classes: Sequence[str], indices: Sequence[int]) -> str:
    upright = ' class="upright"' if len(indices) > 4 or max(len(classes[i]) for i in indices) > 9 else ""
    names = "".join(
        f'<th scope="col"{upright}><span title="{_text(classes[i])}"><bdi>{_text(classes[i])}</bdi></span></th>'
        for i in indices
    )
    return (
        '<caption class="unseen">Rows: true class. Columns: predicted class. Arrow keys move between the cells.'
        '</caption><thead><tr><th class="corner axis-name">true ↓ &nbsp;predicted →</th>'
        f'{names}<th class="total" scope="col"><span>of</span></th></tr></thead>'
    )


def _matrix_cell(cell: Cell | None, num_true: int, classes: Sequence[str]) -> str:
    if cell is None:
        return '<span class="cell none">0</span>'
    n = len(cell.rows)
    share = n / num_true
    # A few mistakes among many pictures matter: the root makes small shares visible.
    heat = 0.12 + 0.88 * (share if cell.right else share**0.5)
    strong = " strong" if heat > 0.6 else ""
    truth, taken = _text(classes[cell.truth]), _text(classes[cell.taken])
    what = f"{truth} recognised" if cell.right else f"{truth} taken for {taken}"
    return (
        f'<button type="button" class="cell {"right" if cell.right else "wrong"}{strong}" data-cell="{cell.key}" '
        f'style="--heat: {heat:.2f}" title="{n:,} of {num_true:,} ({percent_text(share)}): {what}" '
        f'aria-label="{n}: {what}">{n}</button>'
    )


def _mistakes(evaluation: dict[str, Any], predictions: Predictions, mistakes: Sequence[int], album: Album) -> str:
    n = evaluation["n"]
    if not mistakes:
        low = evaluation["top1_interval"][0]
        return (
            f"<p>None: all {n:,} pictures were recognised. That does not make the network infallible; {n:,} pictures "
            f"without a mistake are consistent with an accuracy from {percent_text(low)} up.</p>"
        )
    num_wrong = n - round(evaluation["top1"] * n)
    count = f"{len(mistakes)} of {num_wrong:,}" if len(mistakes) < num_wrong else f"All {num_wrong:,}"
    parts = [
        f'<p class="said">{count}, the highest probability of a wrong class first. '
        "Look here for wrong labels before you look for a better network.</p>"
        '<ul class="pictures large">'
    ]
    predicted, confidence = predictions.predicted(), predictions.confidences()
    for row in mistakes:
        source, small = album.source(row)
        name = predictions.names[row]
        truth = int(predictions.labels[row])
        picture = (
            f'<img{" class=small" if small else ""} src="{source}" alt="{_text(_cut(name))}">'
            if source
            else '<div class="missing">no picture</div>'
        )
        parts.append(
            f"<li><figure>{picture}<figcaption>"
            f'<bdi class="as-wrong">{_text(predictions.classes[predicted[row]])}</bdi> '
            f"{percent_text(float(confidence[row]))}<br>"
            f"labelled <bdi>{_text(predictions.classes[truth])}</bdi> "
            f"{percent_text(float(predictions.probabilities[row, truth]))}"
            f'<bdi class="file" title="{_text(_cut(name))}">{_text(_cut(name).rsplit("/", 1)[-1])}</bdi>'
            "</figcaption></figure></li>"
        )
    parts.append("</ul>")
    return "".join(parts)


def _classes(evaluation: dict[str, Any], predictions: Predictions) -> str:
    table = evaluation["per_class"]
    occurring = {entry["index"] for entry in table}
    unseen = [entry["class"] for entry in table if not entry["n"]] + [
        name for index, name in enumerate(predictions.classes) if index not in occurring
    ]
    said = (
        "<b>Precision</b>: of what was called so, the share that is. <b>Recall</b>: of what is so, the share that "
        "was found. <b>F1</b>: their harmonic mean, here with its 95 % interval."
    )
    parts = [f'<p class="said">{said}</p>']
    if unseen:
        many = f"{len(unseen):,} classes have" if len(unseen) > 1 else "One class has"
        named = ", ".join(f"<bdi>{_text(name)}</bdi>" for name in unseen[:12])
        parts.append(
            f'<p class="said">{many} no picture in this set, so nothing is known about them: {named}'
            f"{' and others' if len(unseen) > 12 else ''}.</p>"
        )

    def header(label: str, kind: str = "number", first: str = "ascending") -> str:
        style = ' class="number"' if kind == "number" else ""
        return (
            f'<th scope="col"{style} data-kind="{kind}" data-first="{first}">'
            f'<button type="button" class="sort">{label}</button></th>'
        )

    def share(value: float | None) -> str:
        shown = "–" if value is None else percent_text(value)
        return f'<td class="number" data-value="{"" if value is None else value}">{shown}</td>'

    start = _bar_start(min(entry["f1_interval"][0] for entry in table if entry["n"]))
    parts.append(
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Classes"><table class="list"><thead><tr>'
        + header("Class", "text")
        + header("Pictures", first="descending")
        + "".join(map(header, ("Precision", "Recall", "F1")))
        + f'<th scope="col" class="share"><span class="unseen">F1 interval</span>{_ends(start)}</th>'
        + "</tr></thead><tbody>"
    )
    for entry in table:
        name = _text(entry["class"])
        known = entry["n"] > 0
        low, high = entry["f1_interval"]
        parts.append(
            f'<tr><td data-value="{name}"><bdi>{name}</bdi></td>'
            f'<td class="number" data-value="{entry["n"]}">{entry["n"]:,}</td>'
            f"{share(entry['precision'])}{share(entry['recall'])}{share(entry['f1'] if known else None)}"
            f'<td class="share" title="{percent_text(low)} to {percent_text(high)}">'
            f"{interval_bar(entry['f1'], entry['f1_interval'], start) if known else ''}</td></tr>"
        )
    parts.append("</tbody></table></div>")
    return "".join(parts)


def _calibration(evaluation: dict[str, Any]) -> str:
    if not evaluation.get("reliability"):
        return ""
    ece, (low, high) = evaluation["ece"], evaluation["ece_interval"]
    limit = evaluation["ece_if_calibrated"]
    gap = sum(b["n"] * (b["confidence"] - b["accuracy"]) for b in evaluation["reliability"]) / evaluation["n"]
    if ece <= limit:
        verdict = (
            f"A perfectly calibrated network would show up to {percent_text(limit)} on a set of this size, so no "
            "miscalibration is detectable."
        )
    else:
        lean = "more confident than it is right" if gap > 0 else "less confident than it could be"
        verdict = (
            f"That is more than the {percent_text(limit)} that chance alone would explain: on average the network "
            f"is {lean}, by {percent_text(abs(gap))}."
        )
    return (
        f'<div class="calibration"><div>{reliability_chart(evaluation["reliability"])}</div><div>'
        f"<p>The expected calibration error is <b>{percent_text(ece)}</b> ({100 * low:.1f} to {100 * high:.1f} %): "
        f"so far the probability of the predicted class lies, on average, from how often it is right. {verdict}</p>"
        '<p class="said">Bars: the share that was right among predictions of about that probability. Below: how many '
        "predictions there are. 15 bins of equal width; point at one for its numbers.</p></div></div>"
    )


def _training(history: Sequence[dict[str, Any]]) -> str:
    if not history:
        return ""
    epochs = [row.get("epoch") for row in history]
    names = [str(row.get("phase", "train")) for row in history]
    phases = [
        Phase(place, PHASES.get(name, name))
        for place, name in enumerate(names)
        if place == 0 or names[place - 1] != name
    ]
    places = []
    for place, (epoch, name) in enumerate(zip(epochs, names, strict=True)):
        of_phase = f" ({PHASES.get(name, name)})" if len(phases) > 1 else ""
        places.append(f"epoch {place + 1 if epoch is None else epoch}{of_phase}")

    def values(key: str) -> list[float | None]:
        return [row.get(key) for row in history]

    figures = []
    for caption, percent, lines in (
        ("Loss", False, (("training", "training", "train_loss"), ("validation", "validation", "val_loss"))),
        ("Validation top-1 accuracy", True, (("validation", "validation", "val_top1"),)),
        ("Learning rate", False, (("learning rate", "training", "learning_rate"),)),
    ):
        drawn = [
            Line(name, style, values(key)) for name, style, key in lines if any(v is not None for v in values(key))
        ]
        if drawn and (chart := line_chart(f"{caption} over epochs", drawn, places, phases, percent=percent)):
            figures.append(f"<figure><figcaption>{caption}</figcaption>{chart}</figure>")
    seconds = sum(s for s in values("seconds") if isinstance(s, (int, float)))
    best = [(v, place) for place, v in enumerate(values("val_top1")) if isinstance(v, (int, float)) and np.isfinite(v)]
    said = [f"{len(history):,} {'epoch' if len(history) == 1 else 'epochs'}"]
    if seconds:
        said.append(f"{_duration(seconds)} of training")
    if best:
        top, place = max(best, key=lambda entry: (entry[0], -entry[1]))
        said.append(f"validation accuracy highest at {percent_text(top)} in {places[place]}")
    return (
        f'<p class="said">{_text("; ".join(said))}.</p><div class="charts">{"".join(figures)}</div>'
        f"<details><summary>All values</summary>{_history_table(history)}</details>"
    )


def _history_table(history: Sequence[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in history for key in row))
    head = "".join(f'<th scope="col" class="number">{_text(key.replace("_", " "))}</th>' for key in keys)
    rows = "".join(
        "<tr>" + "".join(f'<td class="number">{_text(_value(row.get(key)))}</td>' for key in keys) + "</tr>"
        for row in history
    )
    return (
        '<div class="scroll tall" tabindex="0" role="region" aria-label="All values">'
        f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _network_facts(model: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in model.items() if key not in ("classes", "format")}
    if "classes" in model:
        facts["classes"] = len(model["classes"])
    return facts


def _facts(*tables: tuple[str, dict[str, Any]]) -> str:
    parts = []
    for name, record in tables:
        if record:
            rows = "".join(
                f'<tr><th scope="row">{_text(key)}</th><td>{_text(value)}</td></tr>' for key, value in _flat(record)
            )
            heading = f"<h3>{name}</h3>" if name else ""
            parts.append(f"<div>{heading}<table><tbody>{rows}</tbody></table></div>")
    return f'<div class="facts">{"".join(parts)}</div>' if parts else ""


def _flat(record: dict[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", _value(value)


def _value(value: Any) -> str:
    if value is None or value in ([], (), {}, ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short(value) if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return (
            "; ".join(map(_value, value)) if any(isinstance(v, dict) for v in value) else ", ".join(map(_value, value))
        )
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _footer(evaluation: dict[str, Any], model: dict[str, Any]) -> str:
    methods = evaluation.get("interval", {})
    by = "; ".join(
        f"{label} {methods[key]}"
        for key, label in (("top1", "accuracies:"), ("macro_f1", "macro F1:"), ("ece", "calibration error:"))
        if key in methods
    )
    version = f" Casebook {_text(model['casebook'])}." if model.get("casebook") else ""
    return f"<footer><p>Intervals are at 95 %; {_text(by)}.{version}</p></footer>"


def _page(title: str, body: str, data: dict[str, Any]) -> str:
    style, script = _resource("report.css"), _resource("report.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # "</script>" or "<!--" inside a string would end or swallow the element.
    payload = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
            f"<title>{_text(title)}</title><style>{style}</style></head><body>",
            body,
            f'<script type="application/json" id="report-data">{payload}</script>',
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


def _resource(name: str) -> str:
    return resources.files("casebook.evaluation").joinpath(name).read_text("utf-8")


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _cut(name: str) -> str:
    """The end of a long name: it tells files apart."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]
