"""Runs side by side: a folder of run folders -> a row for each, as data."""

import time
from pathlib import Path

from ..cost.count import count
from ..errors import CasebookError, RunError
from ..reports.runs import RunRow
from ..scores import LabelScores, Scores
from ..training.run import Run


def list_runs(folder: str | Path = "runs") -> tuple[list[RunRow], dict[str, str]]:
    """A row for each run folder below `folder`, the newest first, and the reason for each that cannot be read.

    Multiply-adds are counted. Raises RunError where there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"there is no folder {str(folder)!r}; 'casebook train DATA' makes runs below runs/")
    rows, unreadable = [], {}
    found = sorted(root.rglob("model.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        try:
            rows.append(_row(Run(path.parent)))
        except (CasebookError, KeyError, TypeError) as error:
            unreadable[str(path.parent)] = str(error)
    return rows, unreadable


def _row(run: Run) -> RunRow:
    model, recipe = run.model, run.recipe
    test = None
    if run.is_complete:
        test = run.label_test if run.task == "multilabel" else run.test
    interval = test and (test.map_interval if isinstance(test, LabelScores) else test.top1_interval)
    written = (run.path / "model.json").stat().st_mtime
    return RunRow(
        name=run.path.name,
        data=Path(recipe.data).name or recipe.data,
        network=model["architecture"],
        top1=test.top1 if isinstance(test, Scores) else None,
        map=test.map if isinstance(test, LabelScores) else None,
        interval=interval,
        num_pictures=test.n if test else None,
        multiply_adds=count(run.network(), run.preprocessing.size).total.multiply_adds,
        seconds=run.evaluation["training_seconds"] if test else None,
        date=time.strftime("%Y-%m-%d %H:%M", time.localtime(written)),
        path=str(run.path),
    )
