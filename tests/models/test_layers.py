import ast
from pathlib import Path

import pytest

from casebook.models import FAMILIES, layers

FAMILY_FILES = [Path(layers.__file__).with_name(f"{family}.py") for family in FAMILIES]


@pytest.mark.parametrize("path", FAMILY_FILES, ids=lambda path: path.stem)
def test_no_family_imports_another(path):
    """What several families share is in layers.py or in a file *_parts.py."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            assert node.module in ("layers", "card") or node.module.endswith("_parts"), node.module
