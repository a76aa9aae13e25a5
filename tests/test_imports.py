"""Imports point one way, and what must be light stays light."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "casebook"
# Each room may import from the rooms before it; rooms in one row do not know each other.
ORDER = (("errors", "formatting"), ("tables", "files", "device", "progress", "scores"),
         ("remote", "preprocessing", "store"), ("augmentation",), ("data", "models"), ("runner",), ("cost",),
         ("drawing",), ("training",), ("evaluation",), ("explanation", "deployment"),
         ("reports",), ("studies",), ("workflows",), ("lessons",), ("studio",), ("cli",), ("__main__",))  # fmt: skip
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
HEAVY = (
    "torch",
    "numpy",
    "PIL",
    "cv2",
    "sklearn",
    "scipy",
    "pydantic",
    "matplotlib",
    "huggingface_hub",
    "safetensors",
    "jinja2",
)
LIGHT = ("casebook.cli", "casebook.errors", "casebook.files", "casebook.formatting", "casebook.progress",
         "casebook.tables", "casebook.cost.worked", "casebook.cost.parameters", "casebook.device",
         "typer")  # fmt: skip
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, whole: bool) -> Iterator[tuple[str, int]]:
    """(module of the package with dots, line); `whole` looks into functions and TYPE_CHECKING as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    here = ["casebook", *path.relative_to(PACKAGE).with_suffix("").parts]
    nodes = ast.walk(tree) if whole else (node for node in tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module in ("casebook", ""):  # from . import name
                yield from ((f"casebook.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in RANK, f"{room} has no place in the order of rooms"
    for module, line in imported(path, whole=True):
        parts = module.split(".")
        if parts[0] != "casebook" or len(parts) < 2 or parts[1] not in RANK or parts[1] == room:
            continue
        if parts[1] in ("train", "evaluate", "predict"):
            continue
        assert RANK[parts[1]] < RANK[room], f"{path.relative_to(PACKAGE)}:{line}: {room} imports {module}"


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) == "cli"], ids=lambda path: path.name)
def test_commands_import_what_is_heavy_inside_the_command(path: Path) -> None:
    for module, line in imported(path, whole=False):
        standard = module.partition(".")[0] in sys.stdlib_module_names
        assert standard or module.startswith(LIGHT), f"{path.name}:{line} imports {module} when the command line starts"


@pytest.mark.parametrize(
    "module",
    [
        "casebook",
        "casebook.cli",
        "casebook.device",
        "casebook.errors",
        "casebook.files",
        "casebook.models",
        "casebook.data",
        "casebook.augmentation",
        "casebook.cost",
    ],
)
def test_what_must_be_light_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_preprocessing_needs_no_torch() -> None:
    code = "import sys, casebook.preprocessing; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "False"


def test_the_runner_needs_neither_torch_nor_opencv_nor_rich() -> None:
    """It travels inside every bundle; engines, too, are imported when they are asked for."""
    code = (
        "import sys, casebook.runner.answers, casebook.runner.commands; "
        "print([name for name in ('torch', 'cv2', 'rich', 'scipy', 'pydantic', 'onnxruntime') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    import casebook

    for name in casebook.__all__:
        assert getattr(casebook, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = casebook.nonsense  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("room", ["augmentation", "cost", "device", "models", "reports"])
def test_a_room_exports_its_public_names(room: str) -> None:
    module = importlib.import_module(f"casebook.{room}")
    for path in (PACKAGE / room).glob("[a-z]*.py"):  # an imported module hides a name of the package that is its own
        importlib.import_module(f"casebook.{room}.{path.stem}")
    for name in module.__all__:
        found = getattr(module, name)
        assert not isinstance(found, ModuleType), name
        home = getattr(found, "__module__", f"casebook.{room}")  # constants have none
        assert home.startswith(f"casebook.{room}"), f"{name} is of {home}"
        assert name in dir(module)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense
