"""bundle.json as text -> plain data in which everything that the runner reads is there and of the right kind.

A bundle may come from anyone, and its seal only shows that it is whole. What is checked here need not be doubted later.
"""

import json
import math
from typing import Any, NamedTuple

FORMAT = 1
LARGEST = 1e15  # of any number


class Each(NamedTuple):
    """A mapping from names to values of one kind."""

    kind: Any


class Maybe(NamedTuple):
    """A value that may be missing or null."""

    kind: Any


# A type; a list of one kind; a dictionary of the keys that must be there; `Each`; `Maybe`. Further keys are allowed.
KINDS = {
    "name": str,
    "casebook": str,
    "classes": [str],
    "ids": Maybe([str]),
    "task": Maybe(str),
    "thresholds": Maybe([float]),
    "preprocessing": dict,
    "networks": Each({"file": str, "expected": str, "tolerance": float, "unsure": Maybe({"table": Maybe(str)})}),
    "golden": Maybe([{"file": str, "shows": str, "pixels_sha256": str}]),
    "members": Each({"bytes": int, "sha256": str}),
}


def read_manifest(text: bytes) -> dict[str, Any]:
    """The manifest. Raises ValueError for a text that is no JSON, or has another format, or a value of another kind."""
    try:
        manifest = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its bundle.json cannot be read ({error}); copy it again from where it was made") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ValueError(f"format {str(found)[:40]!r}, this Casebook reads {FORMAT}; use the version that wrote it")
    place = unusable(manifest, KINDS)
    if place is None and not manifest["classes"]:
        place = "classes"
    if place is None and "float32" not in manifest["networks"]:
        place = "networks.float32"
    if place is not None:
        raise ValueError(f"its bundle.json has no usable {place[:100]!r}; export the run again")
    return manifest


def unusable(value: Any, kind: Any, place: str = "") -> str | None:
    """Where the first value of another kind is, its keys joined by dots; None where all is well."""
    if isinstance(kind, Maybe):
        return None if value is None else unusable(value, kind.kind, place)
    if isinstance(kind, type):
        return None if _is(value, kind) else place
    if isinstance(kind, list):
        parts = list(enumerate(value)) if isinstance(value, list) else None
        kinds = kind * len(parts or ())
    elif isinstance(kind, Each):
        parts = list(value.items()) if isinstance(value, dict) else None
        kinds = [kind.kind] * len(parts or ())
    else:
        parts = [(key, value.get(key)) for key in kind] if isinstance(value, dict) else None
        kinds = list(kind.values())
    if parts is None:
        return place
    for (key, part), expected in zip(parts, kinds, strict=True):
        if (found := unusable(part, expected, f"{place}.{key}".lstrip("."))) is not None:
            return found
    return None


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, kind)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value
