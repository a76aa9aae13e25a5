"""Bundles of classifiers that give a picture several labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import casebook
from casebook.deployment.export import ExportSettings, export_bundle
from casebook.deployment.gate import _wrong
from casebook.deployment.quantise import _divergence
from casebook.deployment.web.site import site_of
from casebook.errors import BundleError, RunError
from casebook.evaluation.bundled import load_bundle
from casebook.runner.answers import open_answerer
from casebook.runner.bundle import Bundle, _check_task
from casebook.runner.commands import main
from casebook.runner.verify import verify

CLASSES = ("cat", "dog", "ball")


@pytest.fixture(scope="module")
def classifier() -> casebook.Classifier:
    torch.manual_seed(0)
    network = casebook.create_model("lenet5", num_classes=3)
    preprocessing = casebook.model_card("lenet5").preprocessing
    return casebook.Classifier(
        "labels", network, preprocessing, CLASSES, task="multilabel", thresholds=(0.45, 0.51, 0.48)
    )


@pytest.fixture(scope="module")
def bundle(classifier: casebook.Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "labels.casebook"
    return export_bundle(classifier, out, ExportSettings(int8="off")).path


def test_a_bundle_gives_the_labels_that_the_classifier_gives(
    classifier: casebook.Classifier, bundle: Path, digit_folder: Path
) -> None:
    opened = Bundle.open(bundle)
    assert (opened.task, opened.thresholds) == ("multilabel", classifier.thresholds)
    pictures = sorted((digit_folder / "digit_1").glob("*.png"))[:20]
    ours, theirs = (list(one.predict(pictures)) for one in (open_answerer(bundle, threads=1), classifier))
    assert [answer.labels for answer in ours] == [answer.labels for answer in theirs]
    assert {len(answer.labels or ()) for answer in ours} != {1}
    sums = [sum(share for _, share in answer.classes) for answer in ours]
    assert min(sums) > 1.05  # sigmoids
    assert load_bundle(bundle).probabilities(pictures) == pytest.approx(classifier.probabilities(pictures), abs=1e-5)
    assert verify(opened, threads=1, sizes=(2,)).is_passed


def test_its_command_line_names_the_labels(
    bundle: Path, digit_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(digit_folder / "digit_1" / "000.png")
    [answer] = casebook.predict(bundle, [picture])
    assert main(["predict", picture, "--threads", "1"], bundle=bundle) == 0
    assert capsys.readouterr().out.startswith(
        f"{picture}: {', '.join(answer.labels or ()) or 'none of the classes'}  ("
    )
    assert main(["predict", picture, "--threads", "1", "--json"], bundle=bundle) == 0
    assert json.loads(capsys.readouterr().out)["pictures"][0]["labels"] == list(answer.labels or ())


def test_its_card_and_page_know_the_thresholds(classifier: casebook.Classifier, bundle: Path) -> None:
    opened = Bundle.open(bundle)
    card = opened.read("MODEL_CARD.md").decode()
    assert "any number of 3 classes" in card
    assert "reaches its threshold" in card
    assert site_of(opened).manifest["thresholds"] == list(classifier.thresholds)


def test_what_does_not_apply_is_refused(classifier: casebook.Classifier, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be unsure of one"):
        export_bundle(classifier, tmp_path / "x.casebook", ExportSettings(unsure=0.01))
    with pytest.raises(RunError, match="cannot be unsure of one"):
        open_answerer(bundle).predict([], unsure=0.01)
    with pytest.raises(RunError, match="several labels a picture"):
        casebook.load(bundle)
    with pytest.raises(RunError, match="several labels a picture"):
        casebook.export_coreml(classifier, tmp_path / "x.mlpackage")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task": "detection"}, "its task is 'detection'"),
        ({"thresholds": [0.5, 0.5]}, "2 usable thresholds, expected 3"),
        ({"thresholds": [0.5, 0.5, 7]}, "2 usable thresholds, expected 3"),
        ({"task": "singlelabel", "thresholds": [0.5, 0.5, 0.5]}, "3 usable thresholds, expected 0"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(changes: dict, problem: str) -> None:
    manifest = {"task": "multilabel", "classes": list(CLASSES), "thresholds": [0.5, 0.5, 0.5]}
    _check_task(Path("x"), manifest)
    _check_task(Path("x"), {"classes": list(CLASSES)})  # of an earlier Casebook
    with pytest.raises(BundleError, match=problem):
        _check_task(Path("x"), manifest | changes)


def test_the_gate_counts_pictures_with_any_known_label_wrong() -> None:
    probabilities = np.array([[0.9, 0.3], [0.9, 0.3], [0.9, 0.3], [0.9, 0.3]], np.float32)
    truth = np.array([[1, 0], [1, 1], [1, np.nan], [0.4, 0]], np.float32)
    assert _wrong(probabilities, truth, (0.5, 0.5)) == [False, True, False, True]
    assert _wrong(probabilities, truth, (0.5, 0.2)) == [True, False, False, True]
    assert _wrong(probabilities, np.array([0, 1, 0, 0]), ()) == [False, True, False, False]


def test_the_divergence_of_several_labels_counts_absence() -> None:
    expected, lower = np.full((1, 2), 0.5, np.float32), np.full((1, 2), 0.25, np.float32)
    higher = np.full((1, 2), 0.75, np.float32)
    assert _divergence(expected, higher) == 0  # the sum over one answer's classes says nothing here
    both = [_divergence(expected, found, many_labels=True) for found in (lower, higher)]
    assert both == pytest.approx([2 * (0.5 * np.log(2) + 0.5 * np.log(2 / 3))] * 2, abs=1e-5)
