"""evaluate: runs, named networks or saved predictions, and pictures -> metrics, alone or side by side.

What needs torch is loaded where a network is asked; saved predictions do without.
"""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data.pictures import Source
from ..errors import DataError
from ..evaluation.comparison import Scored, best_member, compare
from ..evaluation.ensemble import aligned, with_ensembles
from ..evaluation.metrics import evaluate_probabilities
from ..evaluation.predictions import Predictions
from ..evaluation.protocols import CENTER, Protocol, find_protocols
from ..evaluation.saved import is_saved, read_predictions
from ..progress import Reporter, reporter_of

Protocols = str | Path | Protocol | Iterable[str | Path | Protocol]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """`metrics` as `evaluate --json` prints them, the predictions behind them, and all that was compared."""

    metrics: dict[str, Any]
    predictions: Predictions
    compared: tuple[Scored, ...] = ()

    def __getattr__(self, name: str) -> Any:
        """`evaluation.top1` for `evaluation.metrics["top1"]`."""
        if name.startswith("__") or name not in self.metrics:
            raise AttributeError(name)
        return self.metrics[name]


def evaluate(
    model: str | Path | Sequence[str | Path],
    data: str | Path | Source | None = None,
    *,
    protocol: Protocols | None = None,
    ensemble: bool = False,
    fit_weights: bool = False,
    soup: bool = False,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    split: str = "auto",
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = 0,
    workers: int = 0,
    progress: bool | Reporter = False,
) -> Evaluation:
    """Scores a run (`model` is its folder), or a named network with `weights`, on labelled pictures.

    Without `data`, a run is scored on its own locked test set. A `Source` is data, too. Folders are matched to the
    network's classes by name, or with `classes` (a CSV of index, id, name) by id or name, and scored
    against all of the network's outputs. `split` is "train", "val", "test", "all", or "auto": the test part where the
    data has one, else everything.

    `protocol` says how pictures are shown, such as "10-crop", a list of names, or a file of your own: each is set
    beside "center", and the metrics are those of the last. With `ensemble` or `soup`, `model` is a list of runs: the
    average of their probabilities (with weights fitted on validation pictures if `fit_weights`), or one network with
    the average of their weights, is set beside the members, on pictures that no member has seen in training.

    Files of saved predictions (.csv, .parquet) stand for runs whose networks are not needed any more; they bring
    their pictures' labels, so `data` and what needs a network are left out.

    Raises DataError, ModelError, WeightsError or RunError.
    """
    names = [str(model)] if isinstance(model, str | Path) else [str(name) for name in model]
    _check_names(names, ensemble or soup)
    if fit_weights and not ensemble:
        raise DataError("weights are fitted for an ensemble; ask for one, or leave the fitting out")
    protocols = [CENTER] if protocol is None else find_protocols(protocol)
    if any(map(is_saved, names)):
        needless = {"data": data, "a protocol": protocol, "weights": weights, "a class list": classes, "a soup": soup,
                    "fitted weights": fit_weights, "a split": split != "auto"}  # fmt: skip
        if given := [what for what, value in needless.items() if value]:
            raise DataError(f"saved predictions are all that there is of a network; {given[0]} needs the run itself")
        return _evaluate_saved(names, ensemble)

    from ..evaluation.asking import Asking, score_together

    began = time.monotonic()
    asking = Asking(
        device, precision, batch_size, workers, reporter_of(progress), counted=protocol is not None or len(names) > 1
    )
    answer = score_together(
        asking, names, data, protocols, split=split, weights=weights, classes=classes, ensemble=ensemble,
        fit=fit_weights, soup=soup,
    )  # fmt: skip
    seconds = answer.seconds if len(answer.rows) == 1 else time.monotonic() - began
    return _evaluation(
        names, answer.source, answer.part, answer.rows, seconds, answer.skipped, answer.notes, asking.counted
    )


def _check_names(names: Sequence[str], together: bool) -> None:
    if not names:
        raise DataError("no run is named; give at least one")
    if len(names) > 1 and not together:
        raise DataError(f"{len(names)} runs came without ensemble or soup; say which, or evaluate one at a time")
    if together and len(names) < 2:
        raise DataError(f"{names[0]} alone makes no ensemble and no soup; name two runs or more")
    places = [Path(name).resolve() for name in names]
    if twice := [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]:
        raise DataError(f"{twice[-1]} is named twice; a member counts once")


def _evaluate_saved(names: Sequence[str], ensemble: bool) -> Evaluation:
    """Scores files of predictions."""
    if others := [name for name in names if not is_saved(name)]:
        raise DataError(f"{others[0]} is no file of predictions, as others here are; save its predictions first")
    began = time.monotonic()
    members = aligned([read_predictions(name) for name in names], names)
    rows = [Scored(name, "network", CENTER.name, 1, said, None) for name, said in zip(names, members, strict=True)]
    rows = with_ensembles(rows) if ensemble else rows
    return _evaluation(names, "", "all", rows, time.monotonic() - began, {}, [], ensemble)


def _evaluation(
    names: Sequence[str], data: str, part: str, rows: Sequence[Scored], seconds: float, skipped: dict[str, str],
    notes: Sequence[str], compared: bool,
) -> Evaluation:  # fmt: skip
    """Of the last of the rows, with the comparison of all where that was asked for."""
    final, notes = rows[-1], list(notes)
    said = final.predictions
    if final.kind != "network":
        best = best_member(rows, final.protocol)
        notes.append(f"the best member, {best.name}, was chosen on these very pictures, which is to its advantage")
    document: dict[str, Any] = {
        "model": names[0] if final.kind == "network" else f"{final.name} of {', '.join(names)}",
        "data": data,
        "split": part,
        **evaluate_probabilities(said.probabilities, said.labels, said.classes),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(said.names) / max(seconds, 1e-9), 2),
        "skipped": [{"picture": name, "reason": reason} for name, reason in skipped.items()],
        "notes": notes,
    }
    if compared:
        document |= {"protocol": final.protocol, "compared": compare(rows)}
    return Evaluation(document, said, tuple(rows))
