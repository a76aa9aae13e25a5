"""How a run's training went, epoch by epoch: also of runs that the studio did not start."""

import asyncio
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...runner.server.refusals import Refused
from ..documents import read_json
from ..runs import read_recipe, read_rows
from ..settings import StudioSettings
from .requests import studio

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")


def run_folder(settings: StudioSettings, name: str) -> Path:
    """The run folder of this name below runs/, which is no link to elsewhere. Raises Refused (404)."""
    path = settings.runs / name
    if NAME.fullmatch(name) and path.is_dir() and path.resolve() == path:
        return path
    raise Refused(404, "no_run", f"there is no run {name[:60]!r}; the home page lists those that there are")


async def history(request: Request) -> Response:
    here = studio(request)
    here.projects.get(request.path_params["project"])
    path = run_folder(here.settings, request.path_params["run"])
    rows = await asyncio.to_thread(read_rows, path)
    model = read_json(path / "model.json") or {}
    return JSONResponse(
        {
            "name": path.name,
            "network": model.get("architecture"),
            "transfer": model.get("transfer"),
            "notes": model.get("notes", []),
            "epochs": read_recipe(path).get("epochs"),
            "rows": rows,
            "complete": (path / "evaluation.json").is_file(),
        }
    )


ROUTES = [Route("/api/projects/{project}/runs/{run}/history", history)]
