"""Under other light: an evaluation, and how much of its accuracy is left on changed copies of the pictures."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.pictures import Source
from ..device import using_threads
from ..errors import DataError, RunError
from ..progress import Reporter, reporting
from .evaluate import Evaluation, evaluate

if TYPE_CHECKING:
    from ..evaluation.classifier import Classifier
    from ..evaluation.views import Asking
    from ..runner.unsure import Judge


def evaluate_shift(
    model: "str | Path | Classifier",
    data: str | Path | Source | None = None,
    *,
    split: str = "auto",
    unsure: float | None = None,
    asking: "Asking | None" = None,
    progress: bool | Reporter = False,
) -> Evaluation:
    """What `evaluate` gives, with `document["shift"]`: the accuracy on changed copies of the same pictures.

    The changes are JPEG compression, blur, noise, brightness, contrast, rotation, scale and occlusion, each at five
    strengths, and mirrored and turned copies. At most 1,000 pictures are taken, at random, and as many as nine minutes
    allow. Where the run can promise few wrong answers (`unsure`, or the strictest it can), it says how often the run is
    unsure about the copies, and how many of its answers are wrong. On a run's own test set the result is also written
    to the run folder, as shift.json, and a bundle of the run has it in its model card.

    Raises DataError, ModelError, WeightsError or RunError.
    """
    from ..evaluation.classifier import load
    from ..evaluation.saved import is_saved
    from ..evaluation.shift import measure_shift, write_shift
    from ..evaluation.views import Asking
    from .threads import choose_asking_threads

    if isinstance(model, str | Path) and is_saved(model):
        raise DataError(f"{model} holds predictions; changed pictures need the network itself, so name the run")
    classifier = load(model)
    found = evaluate(classifier, data, split=split, unsure=unsure, asking=asking, progress=progress)
    assert found.source is not None
    places = {picture.name: index for index, picture in enumerate(found.source.pictures)}
    indices = [places[name] for name in found.predictions.names]
    with reporting(progress) as report:
        how = dataclasses.replace(asking or Asking(), report=report)
        with using_threads(choose_asking_threads([classifier], how.batch_size or classifier.batch_size, report=report)):
            document = measure_shift(classifier, found.source, indices, judge=_judge(classifier, unsure), asking=how)
    if classifier.run is not None and data is None and found.document["split"] == "test":
        write_shift(classifier.run, document)
    return dataclasses.replace(found, document=found.document | {"shift": document})


def _judge(classifier: "Classifier", unsure: float | None) -> "Judge | None":
    """The judge of the given promise, else of the strictest that the run makes; None where there is none."""
    from ..evaluation.evidence import read_evidence
    from ..evaluation.judged import strictest_promise

    if unsure is not None:
        return classifier.judge_for(unsure)
    if classifier.run is None:
        return None
    try:
        evidence = read_evidence(classifier.run)
    except RunError:
        return None
    most_wrong = strictest_promise(evidence)
    return None if most_wrong is None else evidence.judge(most_wrong)
