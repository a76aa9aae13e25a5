"""evaluate: runs, named networks or saved predictions, and pictures -> metrics, alone or side by side.

What needs torch is loaded where a network is asked; saved predictions do without.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.pictures import Source
from ..device import Stopwatch, using_threads
from ..errors import DataError, did_you_mean
from ..evaluation.comparison import Scored, best_member, compare
from ..evaluation.ensemble import aligned, with_ensembles
from ..evaluation.metrics import evaluate_probabilities, headline
from ..evaluation.predictions import Predictions
from ..evaluation.protocols import CENTER, Protocol, find_protocols
from ..evaluation.saved import is_saved, read_predictions
from ..preprocessing import Preprocessing
from ..progress import Reporter, reporting
from ..scores import Scores

if TYPE_CHECKING:
    from ..data.sources import Source
    from ..evaluation.classifier import Classifier
    from ..evaluation.evidence import Evidence
    from ..evaluation.views import Asking

Protocols = str | Path | Protocol | Iterable[str | Path | Protocol]
COMBINATIONS = ("ensemble", "fitted ensemble", "soup")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The scores, the predictions behind them, all that was compared, and the JSON that `evaluate --json` prints.

    Where the run has learnt from some of the pictures, the scores are those of the others.
    """

    scores: Scores
    predictions: Predictions
    compared: tuple[Scored, ...]
    document: dict[str, Any]
    source: "Source | None" = dataclasses.field(default=None, repr=False)
    preprocessing: Preprocessing | None = dataclasses.field(default=None, repr=False)

    def write_html(self, path: str | Path) -> None:
        """Writes one self-contained page: the comparison, or the report of a single network with its mistakes.

        Raises RunError when the file cannot be written.
        """
        from ..reports import comparison, source_thumbnails, write_evaluation_report

        if "compared" in self.document:
            comparison.write_page(path, self.document)
            return
        pictures = {}
        if self.source is not None:
            value_range = None if self.preprocessing is None else self.preprocessing.value_range
            pictures["thumbnails"] = source_thumbnails(self.source, self.predictions.names, value_range)
        write_evaluation_report(path, self.document, self.predictions, **pictures)

    @property
    def top1(self) -> float:
        """The accuracy, a share in [0, 1]."""
        return self.scores.top1

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % interval of `top1`."""
        return self.scores.top1_interval

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return tuple(self.document["notes"])

    def __str__(self) -> str:
        return str(self.scores)

    def _repr_html_(self) -> str:
        return self.scores._repr_html_()


def evaluate(
    model: "str | Path | Classifier | Sequence[str | Path | Classifier]",
    data: "str | Path | Source | None" = None,
    *,
    protocol: Protocols | None = None,
    combine: str | Sequence[str] = (),
    split: str = "auto",
    unsure: float | None = None,
    asking: "Asking | None" = None,
    progress: bool | Reporter = False,
) -> Evaluation:
    """Scores a classifier on labelled pictures, or several side by side.

    `model` is a run folder or what `casebook.load` gives, such as a named network with weights; several are compared
    on pictures that none of them has learnt from. Without `data`, a run is scored on its own locked test set. Classes
    are matched by name, or by the classifier's class list, and scored against all of its outputs. `split` is "train",
    "val", "test", "all", or "auto": the test part where the data has one, else everything.

    `protocol` says how pictures are shown, such as "10-crop", a list of names, or a file of your own: each is set
    beside "center", and the scores are those of the last. `combine` makes one of several runs: "ensemble" averages
    their probabilities, "fitted ensemble" with weights fitted on validation pictures, "soup" averages their weights.

    With `unsure`, such as 0.01, the document also says how many pictures the run answers if at most this share of its
    answers may be wrong.

    Files of saved predictions (.csv, .parquet) stand for runs whose networks are not needed any more; they bring
    their pictures' labels, so `data` and what needs a network are left out.

    Raises DataError, ModelError, WeightsError or RunError.
    """
    models: list[Any] = [model] if _is_one(model) else list(model)  # type: ignore[arg-type]
    wanted = _combination(combine)
    check_models(models, bool(wanted))
    protocols = [CENTER] if protocol is None else find_protocols(protocol)
    if any(isinstance(one, str | Path) and is_saved(one) for one in models):
        needless = {"data": data, "a protocol": protocol, "a soup": "soup" in wanted,
                    "fitted weights": "fitted ensemble" in wanted, "a split": split != "auto",
                    "a promise": unsure is not None}  # fmt: skip
        if given := [what for what, value in needless.items() if value]:
            raise DataError(f"saved predictions are all that there is of a network; {given[0]} needs the run itself")
        return _evaluate_saved([str(one) for one in models], bool(wanted))

    if unsure is not None and (len(models) > 1 or protocol is not None):
        raise DataError("a promise is that of one run, shown by 'center'; leave out the protocol and the other runs")

    from ..evaluation.classifier import load
    from ..evaluation.together import Combination, score_together
    from ..evaluation.views import Asking
    from .threads import choose_asking_threads

    watch = Stopwatch()
    counted = protocol is not None or len(models) > 1
    classifiers = [load(one) for one in models]
    combination = Combination(
        ensemble=bool({"ensemble", "fitted ensemble"} & wanted),
        fitted="fitted ensemble" in wanted,
        soup="soup" in wanted,
    )
    with reporting(progress) as report:
        batch_size = (asking or Asking()).batch_size or max(one.batch_size for one in classifiers)
        with using_threads(choose_asking_threads(classifiers, batch_size, report=report)):
            evidence = None if unsure is None else _evidence(classifiers[0], unsure, report)
            how = dataclasses.replace(
                asking or Asking(), counted=counted, features=evidence is not None, report=report
            )  # fmt: skip
            found = score_together(classifiers, data, protocols, combination, split=split, asking=how)
    seconds = found.seconds if len(found.rows) == 1 else watch.seconds
    names = [one.name for one in classifiers]
    evaluation = _evaluation(
        names, (found.source.name, found.part), found.rows, seconds, found.skipped, found.notes, counted
    )
    if found.seen is not None:
        said = found.seen.all_rows[-1].predictions
        evaluation.document["seen"] = {
            "pictures": found.seen.number,
            "by_name": found.seen.by_name,
            "by_content": found.seen.by_content,
            "all": headline(said.probabilities, said.labels),
        }
    if evidence is not None and unsure is not None:
        from ..evaluation.judged import judged_scores

        evaluation.document["unsure"] = judged_scores(evidence, evaluation.predictions, unsure)
    return dataclasses.replace(evaluation, source=found.source, preprocessing=classifiers[0].preprocessing)


def _evidence(classifier: "Classifier", most_wrong: float, report: Reporter) -> "Evidence":
    """What a promise rests on. A promise that cannot be given is refused before the pictures are asked about."""
    from ..evaluation.evidence import evidence_of

    evidence = evidence_of(classifier, report=report)
    evidence.judge(most_wrong)
    return evidence


def _is_one(model: object) -> bool:
    return isinstance(model, str | Path) or not isinstance(model, Sequence)


def _combination(combine: str | Sequence[str]) -> set[str]:
    """Raises DataError for an unknown word."""
    words = {combine} if isinstance(combine, str) else set(combine)
    if unknown := sorted(words - set(COMBINATIONS)):
        suggestion = did_you_mean(unknown[0], COMBINATIONS) or ";"
        raise DataError(f"combine is {unknown[0]!r}{suggestion} expected {', '.join(COMBINATIONS)}")
    return words


def check_models(models: Sequence[Any], together: bool) -> None:
    """Raises DataError for no model, one where several are needed, or one that is given twice."""
    if not models:
        raise DataError("name at least one run")
    if together and len(models) < 2:
        raise DataError("an ensemble or a soup needs at least two runs; got one")
    paths = [one if isinstance(one, str | Path) else one.run and one.run.path for one in models]
    places = [id(one) if path is None else Path(path).resolve() for one, path in zip(models, paths, strict=True)]
    if twice := [path for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
        raise DataError(f"{twice[-1]} is named twice; a member counts once")


def _evaluate_saved(names: Sequence[str], ensemble: bool) -> Evaluation:
    """Scores files of predictions."""
    if others := [name for name in names if not is_saved(name)]:
        raise DataError(f"{others[0]} is a run and the others are saved predictions; save its predictions first")
    watch = Stopwatch()
    members = aligned([read_predictions(name) for name in names], names)
    rows = [Scored(name, "network", CENTER.name, 1, said, None) for name, said in zip(names, members, strict=True)]
    rows = with_ensembles(rows) if ensemble else rows
    return _evaluation(names, ("", "all"), rows, watch.seconds, {}, [], len(names) > 1)


def _evaluation(
    names: Sequence[str],
    data_and_part: tuple[str, str],
    rows: Sequence[Scored],
    seconds: float,
    skipped: dict[str, str],
    notes: Sequence[str],
    compared: bool,
) -> Evaluation:
    """Of the last of the rows, with the comparison of all where that was asked for."""
    final, notes = rows[-1], list(notes)
    said = final.predictions
    if final.kind != "network":
        best = best_member(rows, final.protocol)
        notes.append(f"the best member, {best.name}, was chosen on these very pictures, which flatters it")
    document: dict[str, Any] = {
        "model": names[0] if final.kind == "network" else f"{final.name} of {', '.join(names)}",
        "data": data_and_part[0],
        "split": data_and_part[1],
        **evaluate_probabilities(said.probabilities, said.labels, said.classes),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(said.names) / max(seconds, 1e-9), 2),
        "skipped": [{"picture": name, "reason": reason} for name, reason in skipped.items()],
        "notes": notes,
    }
    if compared:
        document |= {"protocol": final.protocol, "compared": compare(rows)}
    return Evaluation(Scores.from_dict(document), said, tuple(rows), document)
