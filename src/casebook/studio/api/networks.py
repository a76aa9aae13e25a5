"""Networks: drawings, cards, the ledger."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
