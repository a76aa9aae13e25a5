"""Predictions, evaluation and history -> what the other sections of a report show."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..evaluation.predictions import Predictions
from ..formatting import percent_text, short, size_text
from ..training.recipe import Recipe
from ..training.selection import kept_epoch
from .album import Album, Thumbnail
from .charts import Axis, Line, Phase, line_chart, reliability_chart
from .page import Bar, Cell, Column, Table, bar_start, cut

# The captions and data URIs of the small pictures that explain the answer of a row.
Explanations = Callable[[int], Sequence[tuple[str, str]]]
PHASES = {"train": "training", "head": "new head", "tune": "fine-tuning"}
NUM_NAMED = 12  # classes without pictures that are named


class Mistake(NamedTuple):
    """A picture that was taken for a wrong class, with the probabilities of that class and of the true one."""

    thumbnail: Thumbnail
    name: str
    taken: str
    confidence: float
    truth: str
    of_truth: float
    explanations: Sequence[tuple[str, str]] = ()

    @property
    def file(self) -> str:
        return self.name.rsplit("/", 1)[-1]


def list_mistakes(predictions: Predictions, rows: Sequence[int], album: Album) -> list[Mistake]:
    """The mistakes at these rows of the predictions."""
    predicted, confidence = predictions.predicted(), predictions.confidences()
    return [
        Mistake(
            album.thumbnail(row),
            cut(predictions.names[row]),
            predictions.classes[int(predicted[row])],
            float(confidence[row]),
            predictions.classes[int(predictions.labels[row])],
            float(predictions.probabilities[row, predictions.labels[row]]),
        )
        for row in rows
    ]


def explain_mistakes(mistakes: Sequence[Mistake], rows: Sequence[int], explanations: Explanations) -> list[Mistake]:
    """The mistakes with small pictures that explain them; those that nothing explains are left out."""
    explained = [mistake._replace(explanations=explanations(row)) for mistake, row in zip(mistakes, rows, strict=False)]
    return [mistake for mistake in explained if mistake.explanations]


class ClassesSection(NamedTuple):
    """A row for each class that occurs; `num_unseen` classes have no picture, and `unseen` names the first of them."""

    table: Table
    num_unseen: int
    unseen: list[str]


def classes_section(evaluation: dict[str, Any], classes: Sequence[str]) -> ClassesSection:
    entries = evaluation["per_class"]
    occurring = {entry["index"] for entry in entries}
    unseen = [entry["class"] for entry in entries if not entry["n"]]
    unseen += [name for index, name in enumerate(classes) if index not in occurring]
    start = bar_start(min(entry["f1_interval"][0] for entry in entries if entry["n"]))
    columns = [
        Column("Class"),
        Column("Pictures", "number", first="descending"),
        *(Column(name, "number") for name in ("Precision", "Recall", "F1")),
        Column("F1 interval", "bar", start),
    ]
    rows = []
    for entry in entries:
        known = entry["n"] > 0
        row: list[Any] = [Cell(entry["class"]), Cell(f"{entry['n']:,}", sort=entry["n"])]
        row += [_share(entry["precision"]), _share(entry["recall"]), _share(entry["f1"] if known else None)]
        rows.append([*row, Bar(entry["f1"], *entry["f1_interval"]) if known else None])
    return ClassesSection(Table(columns, rows), len(unseen), unseen[:NUM_NAMED])


def _share(value: float | None) -> Cell:
    return Cell("–", sort="") if value is None else Cell(percent_text(value), sort=round(value, 6))


class CalibrationSection(NamedTuple):
    """`gap` is the mean confidence minus the accuracy: above 0 for a network that is too confident."""

    chart: str
    error: float
    low: float
    high: float
    limit: float
    gap: float

    @property
    def is_detectable(self) -> bool:
        return self.error > self.limit


def calibration_section(evaluation: dict[str, Any]) -> CalibrationSection | None:
    """None when the evaluation has no bins."""
    bins = evaluation.get("reliability")
    if not bins:
        return None
    gap = sum(entry["n"] * (entry["confidence"] - entry["accuracy"]) for entry in bins) / evaluation["n"]
    low, high = evaluation["ece_interval"]
    return CalibrationSection(
        reliability_chart(bins), evaluation["ece"], low, high, evaluation["ece_if_calibrated"], gap
    )


class TrainingSection(NamedTuple):
    """What the section shows: sentences, (title, SVG) of each chart, and all values."""

    said: list[str]
    charts: list[tuple[str, str]]
    table: Table


def training_section(
    history: Sequence[dict[str, Any]], num_validation: int = 0, phase: str = ""
) -> TrainingSection | None:
    """`history` are the rows of metrics.jsonl; None without any. `num_validation` counts the validation pictures.

    `phase` is the one whose weights were kept, where only one of several counts.
    """
    if not history:
        return None
    names = [str(row.get("phase", "train")) for row in history]
    phases = [
        Phase(place, PHASES.get(name, name))
        for place, name in enumerate(names)
        if place == 0 or names[place - 1] != name
    ]
    places = []
    for place, (row, name) in enumerate(zip(history, names, strict=True)):
        of_phase = f" ({PHASES.get(name, name)})" if len(phases) > 1 else ""
        places.append(f"epoch {place + 1 if row.get('epoch') is None else row['epoch']}{of_phase}")
    kept = kept_epoch(history, phase)

    def line(name: str, style: str, key: str) -> Line:
        return Line(name, style, [row.get(key) for row in history])

    charts = []
    for title, axis, lines in (
        (
            "Loss",
            Axis("cross-entropy"),
            (line("training", "training", "train_loss"), line("validation", "validation", "val_loss")),
        ),
        (
            "Validation accuracy",
            Axis("top-1 accuracy", percent=True, num_pictures=num_validation),
            (line("validation", "validation", "val_top1"),),
        ),
        ("Learning rate", Axis("learning rate"), (line("learning rate", "training", "learning_rate"),)),
    ):
        drawn = [line for line in lines if any(value is not None for value in line.values)]
        marked = kept if title != "Learning rate" else None
        if drawn and (chart := line_chart(f"{title} over epochs", drawn, places, axis, phases, marked=marked)):
            charts.append((title, chart))
    said = [f"{len(history):,} {'epoch' if len(history) == 1 else 'epochs'}"]
    seconds = sum(s for row in history if isinstance(s := row.get("seconds"), int | float))
    said[0] += f", {_duration(seconds)} of training." if seconds else "."
    if kept is not None:
        said.append(
            f"The weights are those of {places[kept]}, which had the highest validation accuracy, "
            f"{percent_text(history[kept]['val_top1'])}; among equal epochs the lowest loss decides."
        )
    keys = list(dict.fromkeys(key for row in history for key in row))
    columns = [Column(key.replace("_", " "), "number") for key in keys]
    return TrainingSection(said, charts, Table(columns, [[_value(row.get(key)) for key in keys] for row in history]))


def network_facts(model: dict[str, Any]) -> dict[str, Any]:
    """What model.json says about the network, with the number of classes in place of their names.

    The notes in it were made before the training; the report has its own.
    """
    facts = {key: value for key, value in model.items() if key not in ("classes", "format", "notes")}
    if "classes" in model:
        facts["classes"] = len(model["classes"])
    return facts


def changed_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recipe that differ from the defaults."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in Recipe.model_fields.items()
        if not field.is_required()
    }
    plain = Recipe.model_construct(**defaults).model_dump(mode="json", warnings=False)
    return {key: value for key, value in recipe.items() if key not in defaults or value != plain[key]}


def facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    return list(_flat(record))


def _flat(record: dict[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        elif key.endswith("_bytes") and isinstance(value, int):
            yield f"{before}{key.removesuffix('_bytes')}", size_text(value)
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
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
