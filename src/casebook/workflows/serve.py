"""Serve in one call: bundles -> answers over HTTP."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runner.server.settings import ServerSettings


def serve(bundles: str | Path | Sequence[str | Path], settings: "ServerSettings | None" = None) -> None:
    """Answers HTTP requests with one or several bundles until the process is told to stop; see docs/serving.md.

    A bundle is a file, "NAME=FILE" or "NAME@VERSION=FILE". Raises ServerError and BundleError.
    """
    from ..runner.server.models import parse_source
    from ..runner.server.serving import serve as serve_sources
    from ..runner.server.settings import ServerSettings

    given = [bundles] if isinstance(bundles, str | Path) else bundles
    serve_sources([parse_source(str(one)) for one in given], settings or ServerSettings())
