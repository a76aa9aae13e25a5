"""What a training would cost, and the equal command."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
