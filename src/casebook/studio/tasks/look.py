"""Tasks that ask a run: predict, explain, evaluate, compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..openings import openings
from .pictures import NAME, NUMBERS, RUN, UPLOADS, files_folder, pictures_of, run_path
from .task import Field, Task, Work

METHODS = ("grad-cam", "occlusion", "guided", "gradient", "deconvnet", "filters", "top9")
FLATTERED = "The weights were chosen by these pictures, which flatters each run."
NOTHING_IN_COMMON = "these runs have no validation picture in common: they divide the data in different ways"
NUM_TOP9 = 200  # pictures among which the strongest nine are searched


def predict(work: Work) -> Mapping[str, Any]:
    import casebook

    unsure = work.settings.get("unsure")
    answers = casebook.predict(run_path(work, work.settings["run"]), pictures_of(work), unsure=unsure)
    return {"answers": [answer.to_dict() | {"picture": f"picture {n}"} for n, answer in enumerate(answers, 1)]}


def explain(work: Work) -> Mapping[str, Any]:
    import casebook

    method, settings = work.settings["method"], {}
    pictures: Any = () if method == "filters" else _for_top9(work) if method == "top9" else pictures_of(work)
    if work.settings.get("sanity"):
        settings["sanity"] = True
    out = files_folder(work)
    path = run_path(work, work.settings["run"])
    records = list(casebook.explain(path, pictures, method=method, out=out, progress=work.report, **settings))
    if errors := [record["error"] for record in records if "error" in record]:
        raise DataError(str(errors[0]))
    shown = [Path(record[key]).name for record in records for key in ("image", "sanity_image") if record.get(key)]
    sanity = [record["sanity"] for record in records if "sanity" in record]
    return {"files": shown, "sanity": sanity}


def _for_top9(work: Work) -> list[Any]:
    """Validation pictures of the run: those of the test stay closed, those of training are known by heart."""
    from ...data.sources import load_source
    from ...evaluation.classifier import load
    from ...evaluation.labelled import find_pictures

    found = find_pictures(load(run_path(work, work.settings["run"]), many_labels=True), None, "val")
    source = load_source(found.source)
    chosen = found.indices[:: max(1, len(found.indices) // NUM_TOP9)]
    paths = [source.path(index) for index in chosen]
    return [source.open(index) if path is None else str(path) for index, path in zip(chosen, paths, strict=True)]


def evaluate(work: Work) -> Mapping[str, Any]:
    """The page of a run on its validation pictures; the test has the run's own report."""
    import casebook

    path = run_path(work, work.settings["run"])
    score: Any = casebook.score_many_labels if _gives_many_labels(path) else casebook.evaluate
    found = score(path, split="val", progress=work.report)
    found.write_html(files_folder(work) / "validation.html")
    kept = ("n", "top1", "top1_interval", "map", "map_interval", "subset_accuracy", "macro_f1", "split")
    return {"files": ["validation.html"]} | {name: found.document[name] for name in kept if name in found.document}


def compare(work: Work) -> Mapping[str, Any]:
    """Several runs on the same pictures, pair by pair. The test needs to be open for each of them."""
    import casebook
    from casebook.evaluation.comparison import compare as compared
    from casebook.evaluation.comparison import on_common_pictures

    names, part = list(dict.fromkeys(work.settings["runs"])), work.settings.get("part", "val")
    if len(names) < 2:
        raise DataError("choose two runs or more to compare")
    paths = [run_path(work, name) for name in names]
    several = [_gives_many_labels(path) for path in paths]
    if len(set(several)) > 1:
        raise DataError("some of these runs give several labels a picture, others one; compare runs of one kind")
    if part == "test":
        assert work.project is not None
        opened = openings(work.projects, work.project)
        if closed := [name for name in names if not opened.get(name)]:
            raise DataError(
                f"the test of {closed[0]} is closed; open it on the page Evaluate, or compare on validation"
            )
        compare_all: Any = casebook.compare_many_labels if several[0] else casebook.evaluate
        document = compare_all(paths, split="test", progress=work.report).document
        return {"part": part, "compared": document["compared"], "costs": _costs(paths), "notes": document["notes"]}
    # Each run has validated on its own part, so none of them is asked about pictures that another has trained on.
    if several[0]:
        return {"part": part, "compared": _labels_compared(paths, work), "costs": _costs(paths), "notes": [FLATTERED]}
    rows = [casebook.evaluate(path, split="val", progress=work.report).compared[-1] for path in paths]
    rows = on_common_pictures([row._replace(name=name) for row, name in zip(rows, names, strict=True)])
    if not len(rows[0].predictions.names):
        raise DataError(NOTHING_IN_COMMON)
    return {"part": part, "compared": compared(rows), "costs": _costs(paths), "notes": [FLATTERED]}


def _labels_compared(paths: list[Path], work: Work) -> list[dict[str, Any]]:
    """Runs with several labels a picture on the validation pictures that they have in common."""
    import casebook
    from casebook.evaluation.label_comparison import LabelsScored, compare_labels, on_same_pictures
    from casebook.training.run import Run

    rows = []
    for path in paths:
        said = casebook.score_many_labels(path, split="val", progress=work.report).predictions
        rows.append(LabelsScored(path.name, said, Run(path).thresholds))
    if len({row.predictions.classes for row in rows}) > 1:
        raise DataError("these runs have different classes; compare runs of the same")
    rows = on_same_pictures(rows)
    if not rows[0].predictions.names:
        raise DataError(NOTHING_IN_COMMON)
    return compare_labels(rows)


def _gives_many_labels(path: Path) -> bool:
    from ...training.run import Run

    return Run(path).task == "multilabel"


def _costs(paths: list[Path]) -> dict[str, dict[str, int | None]]:
    """Run -> weights and multiply-adds for one picture of its size; None for what cannot be counted."""
    from ...cost.count import count
    from ...training.run import Run

    found = {}
    for path in paths:
        run = Run(path)
        size, channels = run.preprocessing.size, run.preprocessing.channels
        total = count(run.network(), size, in_channels=channels).total
        found[path.name] = {"parameters": total.parameters, "multiply_adds": total.multiply_adds}
    return found


RUNS = Field(list, required=True, least=2, most=12, items=Field(str, pattern=NAME))
TASKS = (
    Task("predict", "prediction", predict, {"run": RUN, "uploads": UPLOADS, "pictures": NUMBERS,
                                            "unsure": Field(float, least=0.0001, most=0.5)}),
    Task("explain", "explanation", explain, {"run": RUN, "uploads": UPLOADS, "pictures": NUMBERS,
                                             "method": Field(str, required=True, choices=METHODS),
                                             "sanity": Field(bool)}),
    Task("evaluate", "evaluation", evaluate, {"run": RUN}),
    Task("compare", "comparison", compare, {"runs": RUNS, "part": Field(str, choices=("val", "test"))}),
)  # fmt: skip
