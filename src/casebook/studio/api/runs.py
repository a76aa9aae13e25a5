"""Runs, their evaluation, and the locked test."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
