"""The pages of casebook lesson."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
