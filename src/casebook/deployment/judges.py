"""A promise of few wrong answers -> the numbers and the table by which each network of a bundle says "unsure"."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..evaluation.classifier import Classifier
from ..evaluation.evidence import gather_evidence
from ..evaluation.labelled import own_data
from ..progress import Remark, Reporter
from ..runner.engine import Engine, Outputs, open_engine
from ..runner.unsure import Judge
from .writer import npy


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Exported(Classifier):
    """The run whose network is one of the bundle's, computed by its engine."""

    engine: Engine | None = None

    def infer(self, pixels: NDArray[np.uint8]) -> Outputs:
        assert self.engine is not None
        return self.engine(pixels)


def find_judges(
    classifier: Classifier, most_wrong: float, others: Mapping[str, bytes], report: Reporter
) -> dict[str, Judge]:
    """The judge of "float32", which is the run's own, and of the other networks, whose answers are a little different.

    Another network whose answers on the validation pictures allow no such promise has none, which is remarked.

    Raises RunError where the run's validation pictures do not allow the promise.
    """
    judges = {"float32": classifier.judge_for(most_wrong)}
    for name, content in others.items():
        exported = _Exported(
            classifier.name, classifier.model, classifier.preprocessing, classifier.classes, run=classifier.run,
            engine=open_engine("onnxruntime", content),
        )  # fmt: skip
        assert classifier.run is not None
        try:
            judges[name] = gather_evidence(exported, own_data(classifier.run), report=report).judge(most_wrong)
        except RunError as error:
            report(Remark(f"{name}: {error}"))
    return judges


def judge_members(judges: Mapping[str, Judge]) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """What bundle.json says of each network's judge, and the tables as members."""
    records, members = {}, {}
    for name, judge in judges.items():
        records[name] = {**judge.to_dict(), "table": None}
        if judge.unlike is not None:
            records[name]["table"] = f"unsure/{name}.npy"
            members[records[name]["table"]] = npy(judge.unlike.kept)
    return records, members
