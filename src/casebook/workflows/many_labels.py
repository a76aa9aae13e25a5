"""Runs with several labels a picture: thresholds from validation, the scores of the test pictures, an evaluation, and
several runs side by side.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.pictures import Source
from ..device import Stopwatch
from ..errors import DataError, RunError
from ..evaluation.classifier import Classifier, load
from ..evaluation.ensemble import columns_of
from ..evaluation.label_comparison import LabelsScored, compare_labels, on_same_pictures
from ..evaluation.labelled import Labelled, find_pictures
from ..evaluation.many_labels import UNDECIDED, evaluate_labels, fit_thresholds
from ..evaluation.predictions import Predictions
from ..evaluation.unseen import seen_among, unseen
from ..evaluation.views import Asking, ask
from ..files import write_json
from ..progress import Reporter, ScoringStarted, reporting
from ..reports.many_labels import write_label_comparison, write_labels_page
from ..scores import LabelScores
from ..training.selection import kept_epoch
from ..training.session import Outcome
from ..training.transfer import after_training
from .evaluate import check_models


@dataclasses.dataclass(frozen=True)
class LabelEvaluation:
    """The scores, the predictions behind them, and the JSON that `evaluate --json` prints."""

    scores: LabelScores
    predictions: Predictions
    document: dict[str, Any]

    def __str__(self) -> str:
        return str(self.scores)

    def write_html(self, path: str | Path) -> None:
        """Writes one self-contained page. Raises RunError when the file cannot be written."""
        write_labels_page(path, Path(self.document["model"]).name, self.document, self.document["notes"])


def score_many_labels(
    model: str | Path | Classifier,
    data: str | Path | Source | None = None,
    *,
    split: str = "auto",
    asking: Asking | None = None,
    progress: bool | Reporter = False,
) -> LabelEvaluation:
    """Scores a run with several labels a picture, by default on its own locked test set.

    `data` is a list of the same form as that of the training; pictures that the run has learnt from are left out of the
    scores, unless there are no others, and the notes say so. `split` is "train", "val", "test", "all", or "auto".
    Raises DataError, WeightsError or RunError.
    """
    classifier = load(model, many_labels=True)
    if classifier.task != "multilabel":
        raise RunError(f"{classifier.name} gives one label a picture; casebook.evaluate scores it")
    watch = Stopwatch()
    found = _pictures(classifier, data, split)
    indices, notes = found.indices, list(found.notes)
    if found.own is None and classifier.run is not None:
        seen = seen_among(classifier.run, found.source, indices)
        notes += seen.notes
        indices = tuple(sorted(set(indices) - set(seen.indices))) or indices
    with reporting(progress) as report:
        shown = ask(classifier, found.source, indices, asking=dataclasses.replace(asking or Asking(), report=report))
    said = shown.predictions
    scores = evaluate_labels(said.probabilities, said.labels, said.classes, classifier.thresholds)
    document = {
        "model": classifier.name,
        "data": found.source.name,
        "split": found.part,
        "task": classifier.task,
        **scores,
        "seconds": round(watch.seconds, 3),
        "skipped": [{"picture": name, "reason": reason} for name, reason in shown.skipped.items()],
        "notes": notes,
    }
    return LabelEvaluation(LabelScores.from_dict(scores), said, document)


@dataclasses.dataclass(frozen=True)
class LabelComparison:
    """What each run says of the same pictures, and the JSON that `evaluate --json` prints.

    Each entry of `document["compared"]` but the first has the paired differences to the first, `against`.
    """

    rows: tuple[LabelsScored, ...]
    document: dict[str, Any]

    def write_html(self, path: str | Path) -> None:
        """Writes one self-contained page. Raises RunError when the file cannot be written."""
        write_label_comparison(path, self.document)


def compare_many_labels(
    models: Sequence[str | Path | Classifier],
    data: str | Path | Source | None = None,
    *,
    split: str = "auto",
    asking: Asking | None = None,
    progress: bool | Reporter = False,
) -> LabelComparison:
    """Sets runs with several labels a picture side by side, on pictures that none of them has learnt from.

    Without `data`, these are of the first run's locked test set. How much the mAP and the share of pictures with every
    label right differ from the first run's has a paired interval and a verdict. Raises DataError, WeightsError or
    RunError.
    """
    check_models(models, together=False)
    classifiers = [load(one, many_labels=True) for one in models]
    if others := [one.name for one in classifiers if one.task != "multilabel"]:
        raise RunError(f"{others[0]} gives one label a picture, and others several; compare runs of one kind")
    first, watch = classifiers[0], Stopwatch()
    columns = [columns_of(one.classes, first.classes, one.name, first.name) for one in classifiers]
    found = _pictures(first, data, split)
    indices, more = unseen([one.run for one in classifiers if one.run], found.source, found.indices)
    rows, skipped = [], {}
    with reporting(progress) as report:
        for classifier, order in zip(classifiers, columns, strict=True):
            asked = dataclasses.replace(asking or Asking(), report=report)
            shown = ask(classifier, found.source, indices, asking=asked)
            said = shown.predictions._replace(
                probabilities=shown.predictions.probabilities[:, order], classes=first.classes
            )
            thresholds = tuple(classifier.thresholds[place] for place in order)
            rows.append(LabelsScored(classifier.name, said, thresholds))
            skipped |= shown.skipped
    rows = on_same_pictures(rows)
    document = {
        "model": first.name,
        "data": found.source.name,
        "split": found.part,
        "task": first.task,
        "compared": compare_labels(rows),
        "seconds": round(watch.seconds, 3),
        "skipped": [{"picture": name, "reason": reason} for name, reason in skipped.items()],
        "notes": [*found.notes, *more],
    }
    return LabelComparison(tuple(rows), document)


def _pictures(classifier: Classifier, data: str | Path | Source | None, split: str) -> Labelled:
    """Raises DataError for data with one label a picture."""
    found = find_pictures(classifier, data, split)
    if found.source.targets is None:
        raise DataError(f"{found.source.name} has one label a picture; expected a list with several, as in training")
    return found


def finish_many_labels(outcome: Outcome, watch: Stopwatch, report: Reporter) -> None:
    """Fits the thresholds on the validation pictures, scores the test pictures once, and writes thresholds.json,
    evaluation.json and report.html."""
    run, data = outcome.run, outcome.data
    if outcome.world.is_first:
        report(ScoringStarted(len(data.split.test)))
    undecided = (UNDECIDED,) * len(run.classes)
    classifier = Classifier(
        run.path.name, run.network(), run.preprocessing, run.classes, run=run, device=outcome.device,
        task=run.task, thresholds=undecided,
    )  # fmt: skip
    asking = Asking(world=outcome.world, report=report)
    validation = ask(classifier, data.source, data.split.val, asking=asking).predictions
    shown = ask(classifier, data.source, data.split.test, asking=asking)
    if not outcome.world.is_first:
        return
    said = shown.predictions
    thresholds = fit_thresholds(validation.probabilities, validation.labels)
    fitted = [{"class": name, **one._asdict()} for name, one in zip(run.classes, thresholds, strict=True)]
    write_json(run.path / "thresholds.json", {"thresholds": fitted})
    history = run.history
    kept = kept_epoch(history)
    best = history[kept if kept is not None else -1]
    skipped = outcome.skipped | shown.skipped
    document = {
        "run": str(run.path),
        "model": run.model["architecture"],
        "data": run.recipe.data,
        "task": run.task,
        "transfer": {"strategy": outcome.transfer.strategy, "reason": outcome.transfer.reason},
        "pictures": {name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
        "validation": {"map": best["val_map"], "loss": best["val_loss"], "epoch": best["epoch"]},
        "thresholds": fitted,
        "agreement": data.source.agreement,
        "test": evaluate_labels(said.probabilities, said.labels, said.classes, [one.threshold for one in thresholds]),
        "epochs": len(history),
        "training_seconds": round(sum(row["seconds"] + row["validation_seconds"] for row in history), 3),
        "total_seconds": round(watch.seconds, 3),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "features": outcome.features,
        "skipped": [{"picture": name, "reason": reason} for name, reason in skipped.items()],
        "notes": after_training(outcome.notes, outcome.transfer.strategy),
    }
    write_labels_page(run.path / "report.html", run.path.name, document["test"] | document, document["notes"])
    write_json(run.path / "evaluation.json", document)  # last: it says that the run is complete
