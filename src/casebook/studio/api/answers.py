"""Predictions and exports."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
