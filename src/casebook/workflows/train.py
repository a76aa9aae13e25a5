"""Train in one call: data and settings -> a finished run folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.datasets import PictureData
from ..data.sources import Source
from ..device import Stopwatch
from ..errors import DataError, ModelError, PictureError
from ..evaluation.classifier import Classifier
from ..evaluation.evidence import ask_head, gather_evidence, write_evidence
from ..evaluation.judged import judged_scores, strictest_promise
from ..evaluation.metrics import evaluate_probabilities
from ..evaluation.predictions import Predictions
from ..evaluation.views import Asking, ask
from ..files import write_json
from ..progress import Reporter, RunComplete, ScoringStarted, reporting
from ..reports.run import ReportData, write_report
from ..training.recipe import Recipe, make_recipe
from ..training.run import Run
from ..training.selection import kept_epoch, kept_phase
from ..training.session import Outcome, resume_run, train_run
from ..training.transfer import after_training
from .contest import adopt_winner, contest
from .many_labels import finish_many_labels


def train(
    data: str | Path | PictureData = "",
    *,
    recipe: str | Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    progress: bool | Reporter = False,
    **settings: Any,
) -> Run:
    """Trains a classifier and scores it on its locked test set; gives the run folder.

    `data` is a folder of class folders, a CSV file, a built-in name, or what `casebook.load_data` gave. `settings` are
    fields of the recipe, such as model="mobilenet_v2", weights="imagenet.safetensors", transfer="head", epochs=20.
    `resume` continues an interrupted run; `data` and settings of the machine may change then, and with more `epochs`
    a finished run goes on. `progress`: True shows a bar here or in the notebook;
    a function is called with each event of casebook.progress.

    Raises a CasebookError (DataError, RecipeError, WeightsError, RunError, ...) for what the caller can mend.
    """
    watch = Stopwatch()
    with reporting(progress) as report:
        if resume is not None:
            adopt_winner(Path(resume))
            changes = {key: value for key, value in settings.items() if value is not None}
            changes |= {"data": str(data)} if str(data) else {}
            if Run(Path(resume)).is_complete and "epochs" not in changes:
                report(RunComplete(str(resume)))
                return Run(Path(resume))
            session = resume_run(resume, changes, report=report)
        else:
            named = {"data": str(data)} if str(data) else {}
            named = Recipe.settings_of(data) if isinstance(data, PictureData) else named
            chosen = make_recipe(recipe, **(named | settings))
            if not chosen.data:
                raise DataError("name the data: a folder, a CSV file or a built-in name such as digits")
            session = train_run(chosen, out=out, report=report)
        with contest(session, report) as outcome:
            FINISH[outcome.run.task](outcome, watch, report)
            return outcome.run


def _finish(outcome: Outcome, watch: Stopwatch, report: Reporter) -> None:
    """Scores the best weights on the locked test set, once, and writes evaluation.json and report.html."""
    run, data = outcome.run, outcome.data
    model = run.model
    network = run.network()
    if outcome.world.is_first:
        report(ScoringStarted(len(data.split.test)))
    classifier = Classifier(run.path.name, network, run.preprocessing, run.classes, run=run, device=outcome.device)
    frozen = outcome.transfer.strategy == "head"
    if frozen and not outcome.world.is_first:  # the first one computes the features
        return
    asking = Asking(world=outcome.world, report=report, features=True)
    shown = (
        ask_head(classifier, data, data.split.test, report)
        if frozen
        else ask(classifier, data.source, data.split.test, asking=asking)
    )
    if not outcome.world.is_first:
        return
    predictions, readable, skipped, _ = shown
    unsure = _judged(classifier, data, predictions, frozen, report)
    history = run.history
    kept = kept_epoch(history, kept_phase(model))
    best = history[kept if kept is not None else -1]
    seconds = sum(row["seconds"] + row["validation_seconds"] for row in history)
    document = {
        "run": str(run.path),
        "model": model["architecture"],
        "data": run.recipe.data,
        "transfer": {"strategy": outcome.transfer.strategy, "reason": outcome.transfer.reason},
        "pictures": {name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
        "validation": {"top1": best["val_top1"], "loss": best["val_loss"], "epoch": best["epoch"]},
        "test": evaluate_probabilities(predictions.probabilities, predictions.labels, predictions.classes),
        "unsure": unsure,
        "epochs": len(history),
        "training_seconds": round(seconds, 3),
        "total_seconds": round(watch.seconds, 3),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "features": outcome.features,
        "skipped": [{"picture": name, "reason": reason} for name, reason in (outcome.skipped | skipped).items()],
        "notes": [
            *after_training(outcome.notes, outcome.transfer.strategy),
            *([outcome.transfer.reason] if "tried" in model else []),
        ],
    }
    left_out = [f"left out: {item['picture']} ({item['reason']})" for item in document["skipped"]]
    report_data = ReportData(
        title=run.path.name,
        evaluation=document["test"] | {"unsure": unsure},
        predictions=predictions,
        thumbnails=_thumbnails(data.source, readable, run.preprocessing.value_range),
        explanations=_explanations(classifier, data.source, predictions, readable),
        notes=[*document["notes"], *left_out],
        model=model,
        recipe=run.recipe.model_dump(mode="json"),
        environment=run.environment | {"peak_memory_bytes": document["peak_memory_bytes"]},
        history=history,
        num_validation=len(data.split.val),
    )
    write_report(run.path / "report.html", report_data)
    write_json(run.path / "evaluation.json", document)  # last: it says that the run is complete


FINISH = {"singlelabel": _finish, "multilabel": finish_many_labels}


def _judged(
    classifier: Classifier, data: PictureData, predictions: Predictions, frozen: bool, report: Reporter
) -> dict[str, Any] | None:
    """Writes what the validation pictures show about the network's mistakes, and judges the test pictures by it.

    None without validation pictures, or where they allow no promise.
    """
    assert classifier.run is not None
    if not data.split.val:
        return None
    try:
        evidence = gather_evidence(classifier, data, frozen=frozen, report=report)
    except DataError:  # none of them can be read any more
        return None
    write_evidence(classifier.run, evidence)
    most_wrong = strictest_promise(evidence)
    return None if most_wrong is None else judged_scores(evidence, predictions, most_wrong)


def _explanations(
    classifier: Classifier, source: Source, predictions: Predictions, readable: Sequence[int]
) -> Callable[[int], Sequence[tuple[str, str]]]:
    """Explains the answer of a prediction's row.

    Gives nothing where its picture cannot be read any more or the network cannot be looked into: a finished training
    does not fail for that.
    """
    from ..explanation.overlays import overlays

    preprocessing, taken = classifier.preprocessing, predictions.predicted()

    def explain(row: int) -> Sequence[tuple[str, str]]:
        try:
            picture = source.open(readable[row], **preprocessing.decode_options)
            found = overlays(classifier, picture, taken=int(taken[row]), truth=int(predictions.labels[row]))
        except (PictureError, ModelError, torch.OutOfMemoryError):
            return ()
        return [(overlay.caption, overlay.uri) for overlay in found]

    return explain


def _thumbnails(
    source: Source, indices: Sequence[int], value_range: tuple[float, float] | None
) -> Callable[[int], Any]:
    """Opens the picture of a prediction's row; None where it cannot be read any more."""

    def thumbnail(row: int) -> Any:
        try:
            return source.open(indices[row], min_side=256, value_range=value_range)
        except PictureError:
            return None

    return thumbnail
