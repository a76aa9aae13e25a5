"""Several labels a picture, from the list to the answers."""

import dataclasses
import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import casebook
from casebook.cli import app
from casebook.errors import RunError
from casebook.runner.bundle import Bundle
from casebook.workflows.runs import list_runs

from ..cli.test_json import check, documented, must


@pytest.fixture(scope="module")
def run(labels_run):
    return labels_run


def test_a_training_scores_itself(run):
    document = run.evaluation
    assert document["task"] == run.task == "multilabel"
    assert document["test"]["map"] > 0.7
    assert len(document["thresholds"]) == len(run.thresholds) == 3
    assert run.label_test.n == document["pictures"]["test"]
    assert "mAP" in str(run)
    assert (run.path / "report.html").read_text().count("average precision") >= 1
    assert casebook.score_many_labels(run.path).document["map"] == pytest.approx(document["test"]["map"], abs=1e-6)


def test_the_best_epoch_has_the_highest_mean_average_precision(run):
    rows = run.history
    kept = max(rows, key=lambda row: (row["val_map"], -row["val_loss"]))
    found = run.evaluation["validation"]
    assert (found["map"], found["loss"], found["epoch"]) == (kept["val_map"], kept["val_loss"], kept["epoch"])
    scored = casebook.score_many_labels(run.path, split="val")
    assert scored.document["map"] == pytest.approx(kept["val_map"], abs=1e-3)
    [row], _ = list_runs(run.path)
    assert (row.top1, row.map, row.interval) == (None, run.label_test.map, run.label_test.map_interval)


def test_the_json_is_documented(run):
    pages = documented()
    keys, metrics = pages["Several labels: casebook train"], pages["Several labels: metrics"]
    assert must(keys) <= check(run.evaluation, keys)
    assert must(metrics) <= check(run.evaluation["test"], metrics)


def test_the_command_line_says_all(run, capsys):
    for words, expected in (
        (["evaluate", str(run.path)], "average precision"),
        (["predict", str(run.path), str(run.path.parent / "3.png")], "3.png: "),
    ):
        app(words, standalone_mode=False)
        assert expected in capsys.readouterr().out


def test_answers_are_the_classes_above_their_thresholds(run):
    picture = run.path.parent / "3.png"
    [answer] = casebook.predict(run.path, [picture])
    by_class = dict(answer.classes)
    expected = {name for name, cut in zip(run.classes, run.thresholds, strict=True) if by_class[name] >= cut}
    assert answer.labels is not None
    assert set(answer.labels) == expected
    assert json.loads(json.dumps(answer.to_dict()))["labels"] == list(answer.labels)


def test_runs_are_compared_on_the_same_pictures(run, tmp_path, capsys):
    shutil.copytree(run.path, tmp_path / "other")
    other = casebook.open_run(tmp_path / "other")
    state = load_file(other.path / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    state["head.classifier.weight"] = torch.randn(state["head.classifier.weight"].shape, generator=generator)
    save_file(state, other.path / "model.safetensors")
    found = casebook.compare_many_labels([run.path, other.path]).document
    first, second = found["compared"]
    assert (first["map"], first["n"]) == (pytest.approx(run.label_test.map), run.label_test.n)
    [against] = second["against"]
    assert against["map"]["difference"] == pytest.approx(second["map"] - first["map"])
    assert against["map"]["verdict"] == against["subset_accuracy"]["verdict"] == "worse"
    known = documented()["Several labels: comparison"]
    assert must(known) <= check({"compared": found["compared"]}, known)
    app(["evaluate", str(run.path), str(other.path), "--html", str(tmp_path / "page.html")], standalone_mode=False)
    assert re.search(r"\nmAP .* -\d+\.\d\d .* worse *\n", capsys.readouterr().out)
    assert "Every label right" in (tmp_path / "page.html").read_text()
    same = casebook.compare_many_labels(
        [run.path, dataclasses.replace(casebook.load(run.path, many_labels=True), run=None)]
    )
    [against] = same.document["compared"][1]["against"]
    assert (against["map"]["difference"], against["map"]["verdict"]) == (0, "no detectable difference")


def test_what_takes_one_label_refuses_the_run(run):
    for refused in (casebook.load, casebook.evaluate):
        with pytest.raises(RunError, match="several labels a picture"):
            refused(run.path)


def test_every_label_that_is_given_is_explained(run, tmp_path):
    pictures = [run.path.parent / f"{number}.png" for number in range(12)]
    answers = list(casebook.predict(run.path, pictures))
    two = next(place for place, answer in enumerate(answers) if len(answer.labels or ()) > 1)
    methods = ["occlusion", "grad-cam", "deconvnet"]
    records = list(casebook.explain(run.path, pictures[two], method=methods, square=16, out=tmp_path / "both"))
    labels = list(answers[two].labels or ())
    found = [(record["method"], record["class"]) for record in records]
    of_classes = [(method, label) for label in labels for method in methods[:2]]
    assert sorted(found, key=str) == sorted([*of_classes, ("deconvnet", None)], key=str)
    assert records[0]["labels"] == labels
    stem = pictures[two].stem
    assert {path.name for path in (tmp_path / "both").glob("*.png")} == {
        f"{stem}-deconvnet.png", *(f"{stem}-{label}-{method}.png" for method, label in of_classes)
    }  # fmt: skip
    probability = dict(answers[two].classes)[labels[1]]
    shown = [record["probability"] for record in records if record["class"] == labels[1]]
    assert shown == pytest.approx([probability] * 2, abs=1e-5)
    [named] = casebook.explain(run.path, pictures[two], method="grad-cam", class_name="red", out=tmp_path / "red")
    assert (named["class"], (tmp_path / "red" / f"{stem}-grad-cam.png").is_file()) == ("red", True)


def test_without_a_label_the_most_probable_class_is_explained(run, tmp_path):
    classifier = dataclasses.replace(casebook.load(run.path, many_labels=True), thresholds=(1.0, 1.0, 1.0))
    [record] = casebook.explain(classifier, run.path.parent / "1.png", method="grad-cam", out=tmp_path)
    assert (record["labels"], record["class"]) == ([], record["predicted"])


@pytest.fixture(scope="module")
def bundle(run):
    settings = casebook.ExportSettings(int8="off")
    return casebook.export(run.path, run.path.parent / "labels.casebook", settings=settings)


def test_a_bundle_is_scored_like_its_run(run, bundle):
    assert bundle.manifest["metrics"]["test"]["map_interval"] == list(run.label_test.map_interval)
    [card] = [
        line for line in Bundle.open(bundle.path).read("MODEL_CARD.md").decode().splitlines() if "precision" in line
    ]
    assert card.startswith("- Mean average precision: ")
    data = run.path.parent / "list.csv"
    theirs, ours = (casebook.score_many_labels(one, data, split="all") for one in (bundle.path, run.path))
    assert theirs.document["n"] == 90
    names = dict(zip(theirs.predictions.names, theirs.predictions.probabilities, strict=True))
    for name, row in zip(ours.predictions.names, ours.predictions.probabilities, strict=True):
        assert names[name] == pytest.approx(row, abs=1e-4)


@pytest.mark.slow
def test_8_bits_are_judged_by_pictures_with_every_label_right(run, tmp_path):
    settings = casebook.ExportSettings(int8="auto", max_drop=60)
    found = casebook.export(run.path, tmp_path / "labels.casebook", settings=settings).manifest["int8"]
    assert found["n"] == run.evaluation["pictures"]["val"]
    assert "every known label" in found["reason"]
    assert min(found["divergences"].values()) > 0


def test_pictures_that_it_has_learnt_from_are_not_scored(run):
    scored = casebook.score_many_labels(run.path, run.path.parent / "list.csv")
    assert scored.document["n"] == run.evaluation["pictures"]["test"]
    assert any("was trained or validated on" in note for note in scored.document["notes"])


def test_it_is_never_unsure(run):
    with pytest.raises(RunError, match="cannot be unsure"):
        casebook.predict(run.path, [run.path.parent / "3.png"], unsure=0.01)
