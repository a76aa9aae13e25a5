"""The result of `scale`: networks within a budget, as data, as tables, and as the picture of error against cost."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from ..cost.latency import Latency
from ..cost.latency_model import LatencyModel
from ..cost.scaling import Budget, NetworkCosts, Point
from ..errors import ModelError
from ..evaluation.metrics import wilson_interval
from ..reports.frontier import Drawing, Mark, ScalePage, write_page, write_picture
from ..reports.page import text_table
from ..studies.trials import Arm
from ..studies.verdict import Difference


class ScaledNetwork(NamedTuple):
    """A network within the budget, with predicted costs and, on this device, measured ones."""

    kind: str
    point: Point
    equality: float  # its multiply-adds / the compound one's
    predicted: NetworkCosts
    latency: Latency | None
    size_bytes: int | None
    memory_bytes: int | None

    @property
    def measured(self) -> NetworkCosts:
        """The costs to compare with the budget: measured, with the upper bound of the median latency, or predicted."""
        return self.predicted._replace(
            **{name: value for name, value in (
                ("size_bytes", self.size_bytes),
                ("memory_bytes", self.memory_bytes),
                ("latency_ms", self.latency.median_high_ms if self.latency else None),
            ) if value is not None}
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        measured = None
        if self.size_bytes is not None:
            latency = self.latency.to_dict() if self.latency else None
            measured = {"latency": latency, "size_bytes": self.size_bytes, "memory_bytes": self.memory_bytes}
        latency_ms = self.predicted.latency_ms
        return {
            "kind": self.kind,
            **self.point._asdict(),
            "equality": round(self.equality, 4),
            "multiply_adds": self.predicted.multiply_adds,
            "parameters": self.predicted.parameters,
            "predicted": {
                "latency_ms": None if latency_ms is None else round(latency_ms, 4),
                "size_bytes": self.predicted.size_bytes,
                "memory_bytes": self.predicted.memory_bytes,
            },
            "measured": measured,
        }


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A trained network: its test error over the seeds, and its difference to the compound network."""

    kind: str
    arm: Arm
    difference: Difference | None
    equal_time: float | None  # mean validation top-1 at the time when the fastest finalist was done

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "error": self.arm.error,
            "errors": self.arm.errors,
            "learning_rate": self.arm.learning_rate,
            "seconds": round(self.arm.seconds, 3),
            "val_top1_at_equal_time": self.equal_time,
            "difference": _difference(self.difference),
        }


@dataclasses.dataclass(frozen=True)
class GridCandidate:
    """One (alpha, beta, gamma) of the grid search: the base network scaled by one step of phi, and trained."""

    alpha: float
    beta: float
    gamma: float
    point: Point
    multiply_adds: int
    arm: Arm
    difference: Difference | None  # to the candidate with the paper's bases

    def to_dict(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, **self.point._asdict(),
            "multiply_adds": self.multiply_adds, "error": self.arm.error, "errors": self.arm.errors,
            "seconds": round(self.arm.seconds, 3), "difference": _difference(self.difference),
        }  # fmt: skip


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": found.difference, "interval": [found.low, found.high], "detectable": found.is_detectable}


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The result of `scale`. `device` is the one of the latencies; `measured`: whether they were measured here."""

    family: str
    network: str
    budget: Budget
    num_classes: int
    device: str | None
    measured: bool
    latency_model: LatencyModel | None
    points: tuple[ScaledNetwork, ...]
    dropped: dict[str, str]
    best: str
    command: str
    data: str | None = None
    pictures: str | None = None
    finalists: tuple[Finalist, ...] = ()
    grid: tuple[GridCandidate, ...] = ()
    notes: tuple[str, ...] = ()

    def point(self, kind: str) -> ScaledNetwork:
        return next(point for point in self.points if point.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        model = None
        if self.latency_model is not None:
            names = ("device", "type", "threads", "torch", "made", "median_error", "worst_error", "margin")
            model = {name: getattr(self.latency_model, name) for name in names}
        return {
            "family": self.family,
            "network": self.network,
            "budget": dataclasses.asdict(self.budget),
            "num_classes": self.num_classes,
            "device": self.device,
            "latency_model": model,
            "points": [point.to_dict() for point in self.points],
            "dropped": [{"kind": kind, "reason": reason} for kind, reason in self.dropped.items()],
            "best": self.best,
            "command": self.command,
            "data": self.data,
            "pictures": self.pictures,
            "finalists": [finalist.to_dict() for finalist in self.finalists],
            "grid_search": [candidate.to_dict() for candidate in self.grid],
            "notes": list(self.notes),
        }


HEAD = (
    "kind", "width", "depth", "input (px)", "multiply-adds", "ratio", "weights", "file (MB)", "memory (MB)",
    "predicted (ms)", "measured (ms)", "5 to 95 % (ms)",
)  # fmt: skip
RATIO = "Ratio: multiply-adds over those of the compound network. Memory: predicted / measured."


def table(scaling: Scaling) -> list[list[str]]:
    """The networks as text cells; the first row names the columns."""
    rows: list[list[str]] = [list(HEAD)]
    for point in scaling.points:
        costs, latency = point.predicted, point.latency
        memory = f"{costs.memory_bytes / 1e6:.1f}"
        row = [
            point.kind, f"{point.point.width:g}", f"{point.point.depth:g}", str(point.point.resolution),
            f"{costs.multiply_adds:,}", f"{point.equality:.2f}", f"{costs.parameters:,}",
            f"{(point.size_bytes or costs.size_bytes) / 1e6:.2f}",
            memory if point.memory_bytes is None else f"{memory} / {point.memory_bytes / 1e6:.1f}",
            "" if costs.latency_ms is None else f"{costs.latency_ms:.2f}",
            "" if latency is None else f"{latency.median_ms:.2f}",
            "" if latency is None else f"{latency.low_ms:.2f} to {latency.high_ms:.2f}",
        ]  # fmt: skip
        rows.append(row)
    return rows


def trained_table(scaling: Scaling) -> list[list[str]]:
    rows = [
        ["kind", "test error (%)", "learning rate", "training (s)", "validation at equal time (%)", "against compound"]
    ]
    for found in scaling.finalists:
        rows.append(
            [
                found.kind, f"{100 * found.arm.error:.2f}", f"{found.arm.learning_rate:g}",
                f"{found.arm.seconds:.0f}", "" if found.equal_time is None else f"{100 * found.equal_time:.1f}",
                _apart(found.difference),
            ]
        )  # fmt: skip
    return rows


def _apart(found: Difference | None) -> str:
    if found is None:
        return ""
    return found.text() if found.is_detectable else f"no detectable difference: {found.text()}"


def grid_table(scaling: Scaling) -> list[list[str]]:
    rows = [["alpha", "beta", "gamma", "width", "depth", "input (px)", "multiply-adds", "test error (%)",
             "against the paper"]]  # fmt: skip
    for found in scaling.grid:
        rows.append(
            [
                f"{found.alpha:g}", f"{found.beta:g}", f"{found.gamma:g}", f"{found.point.width:g}",
                f"{found.point.depth:g}", str(found.point.resolution), f"{found.multiply_adds:,}",
                f"{100 * found.arm.error:.2f}", _apart(found.difference),
            ]
        )  # fmt: skip
    return rows


def marks(scaling: Scaling) -> tuple[list[Mark], str]:
    """The finalists as marks of the picture, and the name of its horizontal axis.

    Raises ModelError if nothing was trained.
    """
    if not scaling.finalists:
        raise ModelError("nothing was trained, so there is no accuracy to draw; give data to train on")
    found, has_latency = [], all(point.measured.latency_ms is not None for point in scaling.points)
    for finalist in scaling.finalists:
        point = scaling.point(finalist.kind)
        wrong = finalist.arm.wrong
        low, high = wilson_interval(round(wrong.mean(0).sum()), wrong.shape[1])
        latency_ms = point.latency.median_ms if point.latency else point.predicted.latency_ms
        cost = latency_ms if has_latency and latency_ms is not None else point.predicted.multiply_adds / 1e6
        found.append(Mark(finalist.kind, cost, 100 * finalist.arm.error, 100 * low, 100 * high, str(point.point)))
    if not has_latency:
        return found, "million multiply-adds for one picture"
    return found, f"{'' if scaling.measured else 'predicted '}milliseconds for one picture on {scaling.device}"


def draw_frontier(scaling: Scaling, path: str | Path) -> None:
    """Writes error against cost as .png or .svg. Raises ModelError for another suffix, or if nothing was trained."""
    write_picture(Path(path), _drawing(scaling))


def write_frontier_page(scaling: Scaling, path: str | Path) -> None:
    """Writes one self-contained HTML file: the networks, and the picture and the grid search if there are any."""
    tables = {"Networks within the budget": text_table(table(scaling), note=RATIO)}
    if scaling.finalists:
        tables["Trained networks"] = text_table(trained_table(scaling), text=(0, 5))
    if scaling.grid:
        tables["Other ratios of depth, width and resolution"] = text_table(grid_table(scaling), text=(8,))
    content = ScalePage(
        title=_title(scaling),
        lead=scaling.pictures or "",
        picture=_drawing(scaling) if scaling.finalists else None,
        tables=tables,
        notes=[*scaling.notes, *(f"{kind} was left out: {reason}" for kind, reason in scaling.dropped.items())],
        command=scaling.command,
    )
    write_page(Path(path), content)


def _drawing(scaling: Scaling) -> Drawing:
    return Drawing(*marks(scaling), _title(scaling))


def _title(scaling: Scaling) -> str:
    return f"{scaling.network} within {scaling.budget}"
