"""Pictures, thumbnails, labels and uploads."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
