"""What an evaluation found, as records whose fields an editor completes; each reads itself from its JSON."""

import dataclasses
from html import escape
from typing import Any

from .formatting import percent_text

Interval = tuple[float, float]
SHOWN_CLASSES = 12  # in a notebook


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """How well one class was recognised; shares in [0, 1], intervals at 95 %.

    A precision without predictions and a recall without pictures are None.
    """

    name: str
    index: int
    n: int
    predicted: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f1: float
    f1_interval: Interval

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "ClassScores":
        return _record(cls, record | {"name": record["class"]})


@dataclasses.dataclass(frozen=True)
class Scores:
    """The figures of `evaluate_probabilities`: shares in [0, 1], intervals at 95 %, log loss in nats.

    Top-5 is None where there are five classes or fewer.
    """

    n: int
    top1: float
    top1_interval: Interval
    top1_error: float
    macro_f1: float
    macro_f1_interval: Interval
    log_loss: float
    log_loss_interval: Interval
    ece: float
    ece_interval: Interval
    ece_if_calibrated: float
    per_class: tuple[ClassScores, ...]
    top5: float | None = None
    top5_interval: Interval | None = None
    top5_error: float | None = None
    macro_recall: float | None = None
    """The mean recall of the classes; None in evaluations of earlier versions."""
    macro_recall_interval: Interval | None = None

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Scores":
        """From the JSON of an evaluation; what else it holds is left out."""
        return _record(cls, record | {"per_class": tuple(map(ClassScores.from_dict, record["per_class"]))})

    def __str__(self) -> str:
        low, high = (percent_text(end, 2) for end in self.top1_interval)
        return f"top-1 {percent_text(self.top1, 2)} (95 % interval {low} to {high}), {self.n} pictures"

    def _repr_html_(self) -> str:
        rows = [("top-1 accuracy", self.top1, self.top1_interval)]
        if self.top5 is not None and self.top5_interval is not None:
            rows.append(("top-5 accuracy", self.top5, self.top5_interval))
        if self.macro_recall is not None and self.macro_recall_interval is not None:
            rows.append(("macro recall", self.macro_recall, self.macro_recall_interval))
        rows += [
            ("macro F1", self.macro_f1, self.macro_f1_interval),
            ("calibration error", self.ece, self.ece_interval),
        ]
        hardest = sorted((one for one in self.per_class if one.n), key=lambda one: one.f1)[:SHOWN_CLASSES]
        rows += [(f"F1 of {one.name}", one.f1, one.f1_interval) for one in hardest]
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{percent_text(value)}</td>"
            f"<td>{percent_text(low)} to {percent_text(high)}</td></tr>"
            for name, value, (low, high) in rows
        )
        head = "<tr><th></th><th>value</th><th>95 % interval</th></tr>"
        return f"<table>{head}{cells}</table><p>{self.n} pictures</p>"


def _record(cls: Any, record: dict[str, Any]) -> Any:
    """The record's fields, with lists as tuples."""
    names = [field.name for field in dataclasses.fields(cls) if field.name in record]
    return cls(**{name: tuple(record[name]) if isinstance(record[name], list) else record[name] for name in names})


@dataclasses.dataclass(frozen=True)
class LabelScores:
    """How well several labels a picture are recognised: shares in [0, 1], intervals at 95 %.

    `map` is the mean over the classes of their average precision; a subset is right where every known label is.
    A figure is None where nothing can be said, such as average precision without a picture of the class.
    """

    n: int
    map: float | None
    map_interval: Interval | None
    subset_accuracy: float | None
    subset_accuracy_interval: Interval | None
    macro_f1: float | None
    macro_f1_interval: Interval | None
    per_class: tuple[dict[str, Any], ...]

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LabelScores":
        """From the JSON of an evaluation; what else it holds is left out."""
        return _record(cls, record)

    def rows(self) -> list[tuple[str, float, Interval]]:
        """name, value, interval of each figure that there is."""
        rows = [
            ("mAP", self.map, self.map_interval),
            ("all labels right", self.subset_accuracy, self.subset_accuracy_interval),
            ("macro F1", self.macro_f1, self.macro_f1_interval),
        ]
        return [(name, value, ends) for name, value, ends in rows if value is not None and ends is not None]

    def __str__(self) -> str:
        said = [
            f"{name} {percent_text(value, 2)} (95 % interval {percent_text(low, 2)} to {percent_text(high, 2)})"
            for name, value, (low, high) in self.rows()
        ]
        return f"{', '.join(said)}, {self.n} pictures"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{percent_text(value)}</td>"
            f"<td>{percent_text(low)} to {percent_text(high)}</td></tr>"
            for name, value, (low, high) in self.rows()
        )
        head = "<tr><th></th><th>value</th><th>95 % interval</th></tr>"
        return f"<table>{head}{cells}</table><p>{self.n} pictures</p>"
