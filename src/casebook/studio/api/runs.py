"""Runs, their evaluation, and the locked test."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...runner.server.refusals import Refused
from ..documents import read_json
from ..openings import open_test, openings, relabelled, test_figures
from ..projects import Project
from ..runs import list_runs, read_recipe, read_rows
from .files import sandboxed
from .history import run_folder
from .requests import json_body, studio

if TYPE_CHECKING:
    from ..app import Studio

RECIPE = ("data", "model", "weights", "transfer", "epochs", "learning_rate", "batch_size", "policy", "seed")


async def runs(request: Request) -> Response:
    """The project's runs, the newest first."""
    here = studio(request)
    project = here.projects.get(request.path_params["project"])
    opened = openings(here.projects, project)
    found = await asyncio.to_thread(list_runs, here.settings, here.projects)
    return JSONResponse(
        {
            "runs": [
                run | {"openings": len(opened.get(run["name"], ()))} for run in found if run["project"] == project.id
            ]
        }
    )


async def run(request: Request) -> Response:
    """What is known of a run. `test` is null until the test has been opened."""
    here = studio(request)
    project = here.projects.get(request.path_params["project"])
    path = run_folder(here.settings, request.path_params["run"])
    return JSONResponse(await asyncio.to_thread(_document, here, project, path))


def _document(here: "Studio", project: Project, path: Path) -> dict[str, Any]:
    model, recipe = read_json(path / "model.json") or {}, read_recipe(path)
    evaluation = read_json(path / "evaluation.json")
    opened = openings(here.projects, project).get(path.name, [])
    return {
        "name": path.name,
        "network": model.get("architecture"),
        "several_labels": model.get("task") == "multilabel",
        "classes": model.get("classes", []),
        "transfer": model.get("transfer"),
        "tried": model.get("tried", []),
        "recipe": {name: recipe[name] for name in RECIPE if name in recipe},
        "epochs": len(read_rows(path)),
        "complete": evaluation is not None,
        "pictures": (evaluation or {}).get("pictures"),
        "validation": (evaluation or {}).get("validation"),
        "notes": (evaluation or {}).get("notes", []),
        "openings": opened,
        "relabelled": relabelled(here.projects, project, path) if evaluation is not None else None,
        "test": test_figures(evaluation) if evaluation is not None and opened else None,
    }


async def open_the_test(request: Request) -> Response:
    """Counts an opening; from then on `test` is sent."""
    await json_body(request)
    here = studio(request)
    project = here.projects.get(request.path_params["project"])
    path = run_folder(here.settings, request.path_params["run"])
    if not (path / "evaluation.json").is_file():
        raise Refused(409, "not_finished", f"{path.name} has not finished, so its test was not scored yet")
    open_test(here.projects, project, path.name)
    return JSONResponse(await asyncio.to_thread(_document, here, project, path))


async def report(request: Request) -> Response:
    """The run's report, which shows the test."""
    here = studio(request)
    project = here.projects.get(request.path_params["project"])
    path = run_folder(here.settings, request.path_params["run"])
    if not openings(here.projects, project).get(path.name):
        raise Refused(403, "closed", "the report shows the locked test; open the test first")
    return sandboxed(path / "report.html")


RUN = "/api/projects/{project}/runs/{run}"
ROUTES = [
    Route("/api/projects/{project}/runs", runs),
    Route(RUN, run),
    Route(f"{RUN}/open-test", open_the_test, methods=["POST"]),
    Route(f"{RUN}/report", report),
]
