"""Networks: the list, and each card."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...models import list_models, model_card
from ...runner.server.refusals import Refused
from .training import networks as listed


async def networks(request: Request) -> Response:
    return JSONResponse({"networks": listed()})


async def network(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in list_models():
        raise Refused(404, "no_network", f"there is no network {name[:60]!r}; the list has all of them")
    return JSONResponse(model_card(name).to_dict())


ROUTES = [Route("/api/networks", networks), Route("/api/networks/{name}", network)]
