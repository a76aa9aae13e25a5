"""The studio's small JSON files."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """None where the file is not there or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
