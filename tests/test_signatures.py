"""No function takes more than eight parameters; more belong in a record that has a name of the field."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "casebook"
MOST = 8
# Command functions list the options of a command; typer reads them from the signature.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "cli")
# To be emptied: those that still have more.
TOO_MANY: set[str] = set()


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = node.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def too_many(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(PACKAGE).as_posix()
    return {
        f"{name}:{node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and parameters(node) > MOST
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_has_more_than_eight_parameters(path: Path) -> None:
    assert too_many(path) - TOO_MANY == set()


def test_the_list_of_exceptions_is_not_stale() -> None:
    assert set().union(*map(too_many, FILES)) >= TOO_MANY
