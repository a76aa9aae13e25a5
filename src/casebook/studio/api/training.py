"""What can be trained: networks with their costs, and the weights that are at hand."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...models import list_models, model_card
from ..runs import list_runs
from ..settings import StudioSettings
from .requests import studio

MOST_FILES = 50


async def choices(request: Request) -> Response:
    """Networks, and weights to start from: published ones, .safetensors files below the root, and finished runs."""
    here = studio(request)
    project = here.projects.get(request.path_params["project"])
    files = await asyncio.to_thread(weight_files, here.settings)
    runs = await asyncio.to_thread(list_runs, here.settings, here.projects)
    return JSONResponse(
        {
            "data": "digits" if project.kind == "digits" else project.folder,
            "networks": networks(),
            "files": files,
            "runs": [{"name": run["name"], "network": run["network"]} for run in runs if run["complete"]],
        }
    )


def networks() -> list[dict[str, Any]]:
    """The card of each network, as much of it as a list shows."""
    return [
        {
            "name": card.name,
            "family": card.family,
            "title": card.title,
            "year": card.year,
            "parameters": card.parameters,
            "multiply_adds": card.multiply_adds,
            "input_size": card.input_size,
            "top1": max((one.top1 for one in card.weights if one.top1 and not one.packaged), default=None),
            "weights": [weights.name for weights in card.weights],
            "packaged": [weights.name for weights in card.weights if weights.packaged],
        }
        for card in map(model_card, list_models())
    ]


def weight_files(settings: StudioSettings) -> list[str]:
    """Weights that lie in the root or one folder below it, as paths from the root."""
    found: list[Path] = [*settings.root.glob("*.safetensors"), *settings.root.glob("[!.]*/*.safetensors")]
    inside = [path for path in found if path.is_file() and path.resolve().is_relative_to(settings.root)]
    return sorted(path.relative_to(settings.root).as_posix() for path in inside)[:MOST_FILES]


ROUTES = [Route("/api/projects/{project}/choices", choices)]
