"""How a bundle computes on this machine: what `bench` found, kept in the cache folder, or a default.

The choice holds for one bundle on one machine; another processor, number of cores or version of an engine voids it.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ..device.environment import processor_name
from ..device.limits import available_cores
from ..files import cache_folder, write_json
from .bundle import Bundle
from .engine import DEFAULT_ENGINE, ENGINES


class Choice(NamedTuple):
    """`threads` 0 means the cores that this process may use; for `exact` see `open_engine`."""

    engine: str = DEFAULT_ENGINE
    network: str = "float32"
    threads: int = 0
    exact: bool = True

    def __str__(self) -> str:
        how = "" if self.exact else " in bfloat16"
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}" if self.threads else "all cores"
        return f"{self.network} by {self.engine}{how}, {threads}"


def machine() -> dict[str, Any]:
    """What a measurement depends on."""
    versions = {}
    for engine in ENGINES:
        try:
            versions[engine] = metadata.version(engine)
        except metadata.PackageNotFoundError:
            versions[engine] = None
    return {"processor": processor_name(), "cores": available_cores(), **versions}


def remembered(bundle: Bundle) -> Choice | None:
    """What `bench` chose for this bundle on this machine; None where it was not run, or something has changed."""
    try:
        record = json.loads(_file(bundle).read_text(encoding="utf-8"))
        choice = Choice(**record["choice"])
        holds = record["machine"] == machine() and choice.network in bundle.networks and choice.engine in ENGINES
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # a damaged file is no choice
        return None
    return choice if holds else None


def remember(bundle: Bundle, choice: Choice) -> Path:
    """Keeps the choice; gives the file. Raises RunError where it cannot be written."""
    path = _file(bundle)
    write_json(path, {"bundle": bundle.name, "machine": machine(), "choice": choice._asdict()})
    return path


def _file(bundle: Bundle) -> Path:
    return cache_folder() / "bench" / f"{bundle.sha256}.json"
