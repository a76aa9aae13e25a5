"""One page of each kind, full of hostile names."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import nn

from casebook.cost.compare import compare as networks_side_by_side
from casebook.drawing.draw import draw_network
from casebook.drawing.svg import Sheet
from casebook.evaluation.comparison import Kind, Scored, compare
from casebook.evaluation.conformal import calibrate_sets
from casebook.evaluation.evidence import Evidence
from casebook.evaluation.judged import judged_scores
from casebook.evaluation.label_comparison import LabelsScored, compare_labels
from casebook.evaluation.many_labels import evaluate_labels, fit_thresholds
from casebook.evaluation.metrics import evaluate_probabilities
from casebook.evaluation.predictions import Predictions
from casebook.evaluation.shift import COPIES, Answers, shift_document
from casebook.lessons.pages import companion_page, index_page, lesson_page
from casebook.lessons.slides import slides_page
from casebook.lessons.source import Lesson, read_lesson
from casebook.reports import comparison, drawings, figures, frontier, many_labels, networks, run, runs, steps, studies
from casebook.reports.contact_sheet import Shown, contact_sheet
from casebook.reports.page import text_table
from casebook.runner.answers import Answer
from casebook.runner.unsure import Judge, PredictionSets, margins
from casebook.training.recipe import make_recipe

HOSTILE = "\"'><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
HISTORY = [
    {
        "epoch": epoch,
        "phase": "head" if epoch < 3 else "tune",
        "train_loss": 2.0 / epoch,
        "learning_rate": 0.1 / epoch,
        "val_loss": 2.2 / epoch,
        "val_top1": 1 - 0.5 / epoch,
        "images_per_second": 800.0,
        "seconds": 12.5,
    }
    for epoch in range(1, 7)
]
MODEL = {"format": 1, "architecture": "resnet18", "options": {"num_classes": 3, "name": HOSTILE}, "casebook": "0.1.0"}


def predict(num_classes: int, per_class: int, *, wrong: float = 0.2, seed: int = 0) -> Predictions:
    """Predictions of which about a share of `wrong` are mistakes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    leading = np.where(rng.random(len(labels)) < wrong, rng.integers(num_classes, size=len(labels)), labels)
    probabilities = rng.dirichlet(np.ones(num_classes), size=len(labels)) * 0.4
    probabilities[np.arange(len(labels)), leading] += 0.6
    return Predictions(
        tuple(f"class {label}/{HOSTILE} {row}.jpg" for row, label in enumerate(labels)),
        labels,
        probabilities,
        tuple(f"{HOSTILE} {index}" if index == 1 else f"class {index}" for index in range(num_classes)),
    )


def judged(predictions: Predictions, most_wrong: float = 0.4) -> dict[str, Any]:
    """What a judge says of the predictions that made it, which is no honest figure and good enough for a page."""
    probabilities, wrong = predictions.probabilities, predictions.predicted() != predictions.labels
    sets = calibrate_sets(probabilities, predictions.labels)
    evidence = Evidence(1.3, sets, None, margins(probabilities), wrong, len(wrong))
    return judged_scores(evidence, predictions, most_wrong)


def photo(row: int) -> Image.Image:
    image = Image.new("RGB", (160, 120), (40 * row % 256, 90, 160))
    ImageDraw.Draw(image).ellipse((40, 20, 120, 100), fill=(240, 220, 30 * row % 256))
    return image


def report_data(predictions: Predictions, **changes: Any) -> run.ReportData:
    """A run with everything that a report can show."""
    tiny = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    given = {
        "title": f"A run {HOSTILE}",
        "evaluation": evaluate_probabilities(
            predictions.probabilities, predictions.labels, predictions.classes, resamples=20
        ),
        "predictions": predictions,
        "thumbnails": photo,
        "explanations": lambda row: [(f"Grad-CAM for {HOSTILE}", tiny), ("occlusion", tiny)],
        "notes": [f"note {number} {HOSTILE}" for number in range(20)],
        "model": MODEL | {"classes": list(predictions.classes)},
        "recipe": make_recipe("scratch", data=HOSTILE, model="resnet18").model_dump(mode="json"),
        "environment": {"python": "3.12", "command": [HOSTILE, {"x": HOSTILE}]},
        "history": HISTORY,
        "num_validation": 20,
    }
    return run.ReportData(**(given | changes))


def run_page() -> str:
    return run.render(report_data(predict(3, 12)))


def run_page_that_is_unsure() -> str:
    predictions = predict(3, 40, wrong=0.05)
    data = report_data(predictions)
    return run.render(dataclasses.replace(data, evaluation=data.evaluation | {"unsure": judged(predictions)}))


def run_page_of_many_classes() -> str:
    return run.render(report_data(predict(300, 3)))


def run_page_without_training() -> str:
    plain: dict[str, Any] = dict(history=[], recipe={}, environment={}, notes=[], model={})
    return run.render(report_data(predict(4, 5, wrong=0), **plain, explanations=run.unexplained))


def evaluation_page() -> str:
    predictions = predict(4, 8)
    metrics = evaluate_probabilities(
        predictions.probabilities, predictions.labels, predictions.classes, resamples=20
    )  # fmt: skip
    metrics |= {"model": f"runs/{HOSTILE}", "data": HOSTILE, "split": "all", "notes": [HOSTILE],
                "skipped": [{"picture": HOSTILE, "reason": "truncated"}]}  # fmt: skip
    return run.render(run.evaluation_data(metrics, predictions, photo))


def many_labels_page() -> str:
    rng = np.random.default_rng(0)
    truth = (rng.random((30, 3)) < 0.4).astype(float)
    said = np.clip(0.6 * truth + rng.random((30, 3)) / 2, 0, 1)
    classes = (HOSTILE, "cat", "dog")
    fitted = [
        {"class": name, **one._asdict()}
        for name, one in zip(classes, fit_thresholds(said, truth, resamples=20), strict=True)
    ]
    scores = evaluate_labels(said, truth, classes, [one["threshold"] for one in fitted], resamples=20)
    agreement = {HOSTILE: 0.7, "cat": None, "dog": 0.4}
    return many_labels.labels_page(HOSTILE, scores | {"thresholds": fitted, "agreement": agreement}, [HOSTILE])


def label_comparison_page() -> str:
    rng = np.random.default_rng(0)
    truth = (rng.random((30, 3)) < 0.4).astype(float)
    rows = []
    for number in range(2):
        said = np.clip(0.6 * truth + rng.random((30, 3)) / 2, 0, 1)
        predictions = Predictions(tuple(map(str, range(30))), truth, said, (HOSTILE, "cat", "dog"))
        rows.append(LabelsScored(f"{HOSTILE}{number}", predictions, (0.5, 0.5, 0.5)))
    document = {"data": HOSTILE, "notes": [HOSTILE], "compared": compare_labels(rows)}
    return many_labels.label_comparison_page(document)


def runs_page() -> str:
    rows = [
        runs.RunRow("first", HOSTILE, "resnet18", 0.9, (0.85, 0.94), 200, 1_800_000_000, 12.5, "2026-01-01", "runs/1"),
        runs.RunRow(HOSTILE, "photos", HOSTILE, None, None, None, None, None, "", HOSTILE),
    ]
    return runs.runs_page(rows)


KINDS: tuple[tuple[str, Kind], ...] = ((HOSTILE, "network"), ("two", "network"), ("ensemble", "ensemble"))


def comparison_page() -> str:
    rows = []
    for protocol, seed in (("center", 0), ("10-crop", 1)):
        for name, kind in KINDS:
            predictions = predict(7, 6, seed=seed + len(name))
            rows.append(Scored(name, kind, protocol, 2, predictions, 2_000_000))
    document = {"model": HOSTILE, "data": "photos", "notes": [HOSTILE], "compared": compare(rows)}
    return comparison.render(document)


def networks_page() -> str:
    return networks.render(networks_side_by_side(["resnet18", "mobilenet_v2", "alexnet", "resnet20"]))


def scale_page() -> str:
    marks = [frontier.Mark(kind, cost, 5.0 / cost, 4.0 / cost, 6.0 / cost, f"width {HOSTILE}")
             for kind, cost in (("compound", 1.0), ("width", 2.0))]  # fmt: skip
    content = frontier.ScalePage(
        title=f"resnet20 within {HOSTILE}",
        lead=HOSTILE,
        picture=frontier.Drawing(marks, f"ms on {HOSTILE}", HOSTILE),
        tables={"Networks": text_table([["kind", "width"], [HOSTILE, "1.0"]], note=HOSTILE)},
        notes=[HOSTILE],
        command=HOSTILE,
    )
    return frontier.render(content)


def study_result(**changes: Any) -> dict[str, Any]:
    figure, axes = figures.canvas()
    figures.curves(axes, {"one": [[3.0, 2.0, 1.0], [3.5, 2.5, float("nan")]], "two": [1.0, 2.0, 3.0]}, dashed=["two"])
    verdict = {
        "claim": f"deep is better than shallow {HOSTILE}", "kind": "no detectable difference",
        "outcome": f"no detectable difference on {HOSTILE}",
        "text": f"test error of deep minus that of shallow {HOSTILE}", "difference": -0.012,
        "interval": [-0.03, 0.006], "unit": "share of test pictures",
    }  # fmt: skip
    arm = {"name": HOSTILE, "learning_rate": 0.1, "epochs": 3, "test_errors": [0.1, 0.2], "train_seconds": 3.25,
           "diverged": [1]}  # fmt: skip
    found = {
        "study": "degradation", "mode": "quick", "data": HOSTILE, "seeds": [0, 1], "seconds": 75.0,
        "title": f"A title {HOSTILE}", "question": f"A question? {HOSTILE}",
        "paper": "He et al., https://arxiv.org/abs/1512.03385", "claim": f"The paper's result {HOSTILE}",
        "design": f"The design {HOSTILE}", "would_change": f"More data {HOSTILE}",
        "tables": [{"title": "A table", "columns": ["name", "error in %"], "rows": [[HOSTILE, "1,234.5"]],
                    "note": HOSTILE}],
        "pictures": [{"title": f"A drawing {HOSTILE}", "svg": figures.svg(figure), "alt": HOSTILE}],
        "caveat": f"This run: {HOSTILE}",
        "summary": {"title": HOSTILE, "svg": figures.svg(figures.verdicts([verdict])), "alt": HOSTILE},
        "verdicts": [verdict, verdict | {"kind": "reproduced"}, verdict | {"kind": "not reproduced"}],
        "arms": [arm], "notes": [HOSTILE],
        "environment": {"processor": HOSTILE, "cores": 2, "gpu": None, "torch": "2", "casebook": "0.1"},
    }  # fmt: skip
    return found | changes


def study_page() -> str:
    return studies.study_page(study_result())


def book_page() -> str:
    return studies.book([study_result(), study_result(study="history", verdicts=[], arms=[], summary=None)])


def steps_page() -> str:
    drawing = Sheet(90, 40, HOSTILE, HOSTILE)
    drawing.text(5, 20, HOSTILE)
    frames = [steps.Step(drawing.svg(), f"step {number} {HOSTILE}") for number in range(1, 10)]
    return steps.render(f"A filter {HOSTILE}", HOSTILE, frames)


def a_lesson() -> Lesson:
    return read_lesson("classic-networks")


def drawing_page() -> str:
    """A network whose class and modules have hostile names."""
    network = type(HOSTILE, (nn.Sequential,), {})(OrderedDict({"<b>&": nn.Conv2d(3, 4, 3), '"': nn.ReLU()}))
    return drawings.render(draw_network(network, 8))


def run_page_under_other_light() -> str:
    predictions = predict(3, 20)
    rng = np.random.default_rng(0)
    right, answered = rng.random((2, len(COPIES), 60)) < 0.7
    judge = Judge(0.05, 0.95, 1.0, 1.0, PredictionSets(0.9, 0.1))
    answers = Answers(predictions.labels, right, answered, {HOSTILE: "no picture"}, 12.0)
    found = shift_document(answers, predictions.classes, judge, 61)
    return run.render(report_data(predictions, evaluation=report_data(predictions).evaluation | {"shift": found}))


def contact_sheet_page() -> str:
    names = [f"{HOSTILE} {row}.jpg" for row in range(6)]
    answers = [Answer(name, ((HOSTILE, 0.6), ("other", 0.4))) for name in names[:4]]
    answers += [Answer(name, ((HOSTILE, 0.6),), unsure=f"two compete {HOSTILE}", why="close") for name in names[4:]]
    shown = [Shown(answer, partial(photo, row)) for row, answer in enumerate(answers)]
    found = {"model": HOSTILE, "pictures": 7, "unsure": 2, "errors": 1,
             "classes": [{"class": HOSTILE, "pictures": 5}]}  # fmt: skip
    return contact_sheet(found, [(HOSTILE, shown[:4]), (None, shown[4:])])


PAGES: dict[str, Callable[[], str]] = {
    "run": run_page,
    "run that is unsure": run_page_that_is_unsure,
    "run under other light": run_page_under_other_light,
    "run of many classes": run_page_of_many_classes,
    "run without training": run_page_without_training,
    "run of an evaluation": evaluation_page,
    "many_labels": many_labels_page,
    "label_comparison": label_comparison_page,
    "runs": runs_page,
    "comparison": comparison_page,
    "networks": networks_page,
    "scale": scale_page,
    "study": study_page,
    "book": book_page,
    "steps": steps_page,
    "lesson": lambda: lesson_page(a_lesson(), 0),
    "lesson: slides": lambda: slides_page(a_lesson(), 0),
    "lesson: index": lambda: index_page(0),
    "lesson: questions": lambda: companion_page("questions"),
    "drawing": drawing_page,
    "contact sheet": contact_sheet_page,
}
