"""The locked test: it stays closed until somebody opens it, and every opening is counted.

Each look at the test figures of a run, followed by another training, makes the next figures a little too good. So the
studio sends none before they are asked for, and says how often they were.
"""

import csv
import time
from pathlib import Path
from typing import Any

from ..data.sources import Source, load_source
from ..errors import CasebookError
from ..files import write_json
from .documents import read_json
from .projects import Project, Projects

FILE = "openings.json"


def openings(projects: Projects, project: Project) -> dict[str, list[float]]:
    """Run -> when its test was opened, in seconds since 1970."""
    found = read_json(projects.path(project.id) / FILE)
    return found if isinstance(found, dict) else {}


def open_test(projects: Projects, project: Project, run: str) -> dict[str, list[float]]:
    """Counts one more opening of a run's test; gives all openings of the project."""
    found = openings(projects, project)
    found[run] = [*found.get(run, []), time.time()]
    write_json(projects.path(project.id) / FILE, found)
    return found


def relabelled(projects: Projects, project: Project, run: Path) -> int | None:
    """How many of the run's test pictures have another label in the project now, or are left out; None if unknown."""
    try:
        source = load_source(projects.data(project))
        with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            tested = {row["name"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    except (CasebookError, OSError, KeyError, csv.Error):
        return None
    labels = labels_of(source)
    return sum(labels.get(last_parts(name)) != label for name, label in tested.items())


def labels_of(source: Source) -> dict[str, str]:
    """Picture -> label. A list beside a folder names its pictures with the folder's name in front."""
    return {last_parts(picture.name): source.classes[picture.label] for picture in source.pictures}


def last_parts(name: str) -> str:
    """The last two parts of a name, which a folder and the list beside it have in common."""
    return "/".join(name.split("/")[-2:])


def test_figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What a page shows of an opened test."""
    test = evaluation.get("test", {})
    kept = ("n", "top1", "top1_interval", "map", "map_interval", "subset_accuracy", "macro_f1", "ece", "per_class")
    return {name: test[name] for name in kept if name in test}
