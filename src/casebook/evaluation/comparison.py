"""Several ways to classify the same pictures -> their errors, paired differences and costs, side by side."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ..formatting import giga
from .metrics import headline
from .paired import paired_differences
from .predictions import Predictions

Kind = Literal["network", "without", "ensemble", "soup"]


class Scored(NamedTuple):
    """One way: a network, an ensemble of some or a soup, and the protocol that it was shown the pictures with."""

    name: str
    kind: Kind
    protocol: str
    views: int
    predictions: Predictions
    multiply_adds: int | None
    """For one picture, all networks and views together."""


def on_common_pictures(rows: Sequence[Scored]) -> list[Scored]:
    """The rows restricted to the pictures that all of them hold, in the first one's order."""
    common = set(rows[0].predictions.names).intersection(*(row.predictions.names for row in rows))
    return [row._replace(predictions=_restricted(row.predictions, common)) for row in rows]


def without(row: Scored, names: set[str]) -> Scored:
    """The row without the pictures of these names."""
    return row._replace(predictions=_restricted(row.predictions, set(row.predictions.names) - names))


def _restricted(predictions: Predictions, names: set[str]) -> Predictions:
    if len(names) == len(predictions.names):
        return predictions
    kept = np.array([name in names for name in predictions.names])
    return Predictions(
        tuple(name for name in predictions.names if name in names),
        predictions.labels[kept],
        predictions.probabilities[kept],
        predictions.classes,
        None if predictions.features is None else predictions.features[kept],
    )


def best_member(rows: Sequence[Scored], protocol: str) -> Scored:
    """The network with the least top-1 error under a protocol; of equals the first named."""
    members = [row for row in rows if row.kind == "network" and row.protocol == protocol]
    return min(members, key=lambda row: float((row.predictions.predicted() != row.predictions.labels).mean()))


def references(row: Scored, rows: Sequence[Scored]) -> list[Scored]:
    """What a row is set against: itself at `center`, a network against the first one, a whole against its best member
    and its parts."""
    found = [other for other in rows if other.name == row.name and other.protocol == "center" != row.protocol]
    if row.kind == "network" and not any(other.kind in ("ensemble", "soup") for other in rows):
        found += [other for other in rows[:1] if other.name != row.name and other.protocol == row.protocol]
    if row.kind in ("ensemble", "soup"):
        found.append(best_member(rows, row.protocol))
        kinds = ("without",) if row.kind == "ensemble" else ("ensemble",)
        found += [other for other in rows if other.kind in kinds and other.protocol == row.protocol]
    return found


def compare(rows: Sequence[Scored], *, seed: int = 0) -> list[dict[str, Any]]:
    """A JSON-able record for each row: accuracies with intervals, cost, and paired differences to its references."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "protocol": row.protocol,
            "views": row.views,
            "multiply_adds": row.multiply_adds,
            **headline(row.predictions.probabilities, row.predictions.labels),
            "against": [
                {
                    "name": other.name,
                    "kind": other.kind,
                    "protocol": other.protocol,
                    **paired_differences(row.predictions, other.predictions, seed=seed),
                }
                for other in references(row, rows)
            ],
        }
        for row in rows
    ]


def verdict(interval: Sequence[float]) -> str:
    """ "better", "worse" or "no detectable difference", by the 95 % interval of a difference of errors."""
    low, high = interval
    return "better" if high < 0 else "worse" if low > 0 else "no detectable difference"


def table_rows(compared: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The errors and costs as cells, the first row naming the columns; names and protocols where there are several."""
    several = len({row["name"] for row in compared}) > 1
    has_top5 = all("top5" in row for row in compared)
    head = [*(["network"] if several else []), "protocol", "views", "top-1 error", "95 % interval"]
    head += (["top-5 error", "95 % interval"] if has_top5 else []) + ["multiply-adds"]
    cells = [head]
    for row in compared:
        line = [*([row["name"]] if several else []), row["protocol"], str(row["views"])]
        for name in ("top1", "top5") if has_top5 else ("top1",):
            low, high = row[f"{name}_interval"]
            line += [f"{100 * row[f'{name}_error']:.2f} %", f"{100 * (1 - high):.2f} to {100 * (1 - low):.2f}"]
        cells.append([*line, giga(row["multiply_adds"])])
    return cells


def difference_rows(compared: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The paired differences as cells, the first row naming the columns; that row alone where there are none."""
    several = len({row["name"] for row in compared}) > 1
    has_top5 = all("top5" in row for row in compared)
    head = ["error of", "less that of", "top-1, points", "95 % interval", "p"]
    head += (["top-5, points", "95 % interval", "p"] if has_top5 else []) + ["top-1 verdict"]
    cells = [head]
    for row in compared:
        for other in row["against"]:
            line = [said(row, other, several), said(other, row, several)]
            for name in ("top1_error", "top5_error") if has_top5 else ("top1_error",):
                low, high = other[name]["interval"]
                line += [f"{100 * other[name]['difference']:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}"]
                line.append(f"{other[name]['p_value']:.2g}")
            cells.append([*line, verdict(other["top1_error"]["interval"])])
    return cells


def said(row: dict[str, Any], other: dict[str, Any], several: bool) -> str:
    """The row's name, its protocol, or both: what tells it from the other, where `several` names occur."""
    if not several:
        return str(row["protocol"])
    return row["name"] if row["protocol"] == other["protocol"] == "center" else f"{row['name']}, {row['protocol']}"
