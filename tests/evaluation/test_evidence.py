"""What a training leaves in its run folder about its mistakes, and the judge that comes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.errors import DataError, RunError
from casebook.evaluation.evidence import NUMBERS, TABLE, evidence_of, gather_evidence, read_evidence
from casebook.evaluation.judged import judged_scores, strictest_promise
from casebook.evaluation.labelled import own_data
from casebook.evaluation.views import Asking, ask
from casebook.runner.unsure import margins

Runs = tuple[Path, Path, Path]


@pytest.fixture
def run(runs: Runs, tmp_path: Path) -> casebook.Run:
    shutil.copytree(runs[0], tmp_path / "run")
    return casebook.open_run(tmp_path / "run")


def test_a_training_leaves_the_evidence(run: casebook.Run) -> None:
    """The same as is gathered again, of the validation pictures alone."""
    classifier, left = casebook.load(run.path), read_evidence(run)
    data = own_data(run)
    said = ask(classifier, data.source, data.split.val, asking=Asking(features=True)).predictions
    assert left.num_pictures == len(data.split.val) == 24
    assert left.unlike is not None
    assert said.features is not None
    near = left.unlike.scores(said.features) < left.unlike.limit
    assert near.sum() == 23  # one of 24 is the limit itself
    assert left.margins == pytest.approx(margins(said.probabilities)[near], abs=1e-4)
    assert left.wrong.tolist() == (said.predicted() != said.labels)[near].tolist()
    again = gather_evidence(classifier, data)
    assert again.temperature == pytest.approx(left.temperature, rel=1e-4)
    assert np.array_equal(again.unlike.kept, left.unlike.kept)  # type: ignore[union-attr]
    assert left.unlike.kept.shape == (len(data.split.train), 84)
    assert left.unlike.kept.dtype == np.float16


def test_predictions_are_judged(run: casebook.Run, digit_folder: Path) -> None:
    """Digits get their class; noise is unlike all digits or lies between two, and never gets one."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)) for _ in range(10)]
    classifier = casebook.load(run.path)
    found = classifier.predict([digit_folder / "digit_0" / "000.png", *noise], unsure=0.3)
    assert found[0].label == "digit_0"
    assert found[0].unsure is None
    assert found[0].candidates[0] == "digit_0"
    assert sum(answer.label is None for answer in found[1:]) >= 8
    unsure = next(answer for answer in found if answer.label is None)
    assert unsure.best is not None
    assert str(unsure).startswith(f"{unsure.picture}: unsure, ")
    assert unsure.to_dict()["label"] is None
    plain = classifier.predict(digit_folder / "digit_0" / "000.png")[0]
    assert "label" not in plain.to_dict()
    assert plain.label == "digit_0"


def test_a_promise_that_cannot_be_given(run: casebook.Run) -> None:
    with pytest.raises(RunError, match=r"at most 1 % wrong .* 23 validation pictures are too few, it takes 299"):
        casebook.load(run.path).predict([], unsure=0.01)
    with pytest.raises(DataError, match="expected a share"):
        casebook.load(run.path).predict([], unsure=1)
    with pytest.raises(RunError, match="at most 1 % wrong"):
        casebook.evaluate(run.path, unsure=0.01)


def test_evaluate_counts_answers(run: casebook.Run) -> None:
    found = casebook.evaluate(run.path, unsure=0.3)
    unsure, said = found.document["unsure"], found.predictions
    judge = read_evidence(run).judge(0.3)
    answered = np.array(judge.whys(said.probabilities, said.features)) == ""
    assert unsure["answered"] == answered.sum() == unsure["n"] - unsure["close"] - unsure["unlike"]
    assert unsure["wrong"] == (answered & (said.predicted() != said.labels)).sum()
    assert unsure["curve"][-1] == [1.0, pytest.approx(1 - found.top1)]
    members = said.probabilities >= judge.sets.least_probability
    members[np.arange(len(members)), said.predicted()] = True
    assert unsure["sets"]["covered"] == members[np.arange(len(members)), said.labels].mean()
    assert casebook.evaluate(run.path).document.get("unsure") is None
    trained = run.evaluation["unsure"]
    assert trained == judged_scores(read_evidence(run), said, strictest_promise(read_evidence(run)))  # type: ignore[arg-type]


def test_evaluate_makes_what_is_missing(run: casebook.Run) -> None:
    before = (run.path / NUMBERS).read_text()
    (run.path / NUMBERS).unlink()
    with pytest.raises(RunError, match=r"no judgement.json, which says when to be unsure; 'casebook evaluate"):
        casebook.load(run.path).predict([], unsure=0.3)
    casebook.evaluate(run.path, unsure=0.3)
    assert json.loads((run.path / NUMBERS).read_text())["promises"] == json.loads(before)["promises"]


@pytest.mark.parametrize("damage", ["table", "weights", "numbers", "format"])
def test_files_that_do_not_belong_together(run: casebook.Run, runs: Runs, damage: str) -> None:
    if damage == "table":
        content = bytearray((run.path / TABLE).read_bytes())
        content[-1] ^= 1
        (run.path / TABLE).write_bytes(content)
    elif damage == "weights":
        shutil.copy(runs[1] / "model.safetensors", run.path)
    elif damage == "format":
        numbers = json.loads((run.path / NUMBERS).read_text())
        (run.path / NUMBERS).write_text(json.dumps(numbers | {"format": 2}))
    else:
        (run.path / NUMBERS).write_text("{")
    with pytest.raises(RunError, match=r"evaluate .* --unsure"):
        read_evidence(run)
    evidence_of(casebook.load(run.path))
    read_evidence(run)


def test_a_promise_is_of_one_run_at_the_centre(runs: Runs) -> None:
    for given in ({"model": runs[:2]}, {"model": runs[0], "protocol": "flip"}):
        with pytest.raises(DataError, match="a promise is that of one run"):
            casebook.evaluate(**given, unsure=0.3)  # type: ignore[arg-type]
