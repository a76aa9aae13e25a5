"""The part of Casebook that travels inside a bundle: the runner, the files that it imports, and its server's pages."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FIRST = "casebook.runner.commands"
STATIC = "runner/server/static"  # files that the server reads
START = '''"""Runs this bundle: python NAME.casebook predict PICTURES"""

import sys

if sys.version_info < (3, 11):
    sys.exit("Error: this bundle needs Python 3.11 or later")
try:
    import numpy, PIL
except ImportError as error:
    sys.exit(f"Error: {error.name} is not installed; pip install numpy pillow onnxruntime")
from casebook.runner.commands import main

sys.exit(main())
'''


def runner_members() -> dict[str, bytes]:
    """Path inside the bundle -> content, of everything that `python NAME.casebook` imports of ours."""
    found: set[str] = set()
    waiting = [FIRST]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        waiting += [parent for parent in [module.rpartition(".")[0]] if parent]
        waiting += _imported(module)
    files = sorted([*map(_file, found), *PACKAGE.joinpath(STATIC).iterdir()])
    return {"__main__.py": START.encode()} | {
        f"casebook/{file.relative_to(PACKAGE).as_posix()}": file.read_bytes() for file in sorted(files)
    }


def _file(module: str) -> Path:
    """A module's file; raises FileNotFoundError for what is no module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file() and file != PACKAGE.with_suffix(".py"):
            return file
    raise FileNotFoundError(module)


def _is_module(name: str) -> bool:
    try:
        _file(name)
    except FileNotFoundError:
        return False
    return True


def _imported(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, also inside functions, but not for type checkers alone."""
    file = _file(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "casebook")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            if base.split(".")[0] != "casebook":
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if _is_module(f"{base}.{alias.name}"))
