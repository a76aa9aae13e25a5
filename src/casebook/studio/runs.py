"""The run folders below runs/, read from their files; no network is built."""

import json
import tomllib
from pathlib import Path
from typing import Any

from ..errors import CasebookError
from ..training.selection import kept_epoch
from .documents import read_json
from .projects import Project, Projects
from .settings import StudioSettings


def list_runs(settings: StudioSettings, projects: Projects) -> list[dict[str, Any]]:
    """The newest first. The locked test's figures are not among what is said."""
    owners = {source: project.id for project in projects.all() for source in _sources(projects, project)}
    found = []
    for path in settings.runs.glob("*/model.json"):
        model = read_json(path)
        if not isinstance(model, dict):
            continue
        recipe, rows = read_recipe(path.parent), read_rows(path.parent)
        kept = kept_epoch(rows)
        best = {} if kept is None else rows[kept]
        data = str(recipe.get("data", ""))
        found.append(
            {
                "name": path.parent.name,
                "project": owners.get(data),
                "data": Path(data).name or data,
                "network": model.get("architecture", ""),
                "classes": len(model.get("classes", ())),
                "epochs": len(rows),
                "val_top1": best.get("val_top1"),
                "val_map": best.get("val_map"),
                "several_labels": model.get("task") == "multilabel",
                "complete": (path.parent / "evaluation.json").is_file(),
                "written": path.stat().st_mtime,
            }
        )
    return sorted(found, key=lambda run: -run["written"])


def _sources(projects: Projects, project: Project) -> list[str]:
    """What the recipes of a project's runs may name as their data."""
    if project.kind == "digits":
        return ["digits"]
    try:
        return [str(projects.labels(project)), projects.data(project), str(projects.folder(project))]
    except CasebookError:  # its folder is gone
        return []


def read_recipe(run: Path) -> dict[str, Any]:
    """recipe.toml as it stands; empty where it cannot be read."""
    try:
        return tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, one an epoch; without those that cannot be read."""
    rows = []
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
