"""The pages say what is so: generated ones are fresh, links lead somewhere, named commands and flags exist."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import casebook
from casebook.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def generate(*arguments: str, columns: str = "200") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", *arguments],
        capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": columns, "PYTHONHASHSEED": columns},
    )  # fmt: skip


@pytest.mark.parametrize("columns", ["30", pytest.param("200", marks=pytest.mark.slow)])
def test_generated_pages_are_fresh(columns: str) -> None:
    result = generate("--check", columns=columns)
    assert result.returncode == 0, result.stderr


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    """The check runs on a copy in which one page was edited by hand."""
    copy = tmp_path / "docs"
    (copy / "reference").mkdir(parents=True)
    for script in ("generate.py", "gallery.py", "lecture_pictures.py"):
        (copy / script).write_text((ROOT / "docs" / script).read_text())
    shutil.copytree(ROOT / "docs" / "drawings", copy / "drawings")
    for page in [*(ROOT / "docs" / "reference").glob("*.md"), *(ROOT / "docs").glob("python.*")]:
        (copy / page.relative_to(ROOT / "docs")).write_text(page.read_text())
    edited = copy / "reference" / "networks.md"
    edited.write_text(edited.read_text().replace("11,689,512", "11,689,513"))
    result = subprocess.run(
        [sys.executable, copy / "generate.py", "--check"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert "docs/reference/networks.md is stale; run: python docs/generate.py" in result.stderr
    assert "cli.md" not in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> dict[str, Callable]:
    found = {f"{command.name}": command.callback for command in app.registered_commands if command.callback}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            if command.callback:
                found[f"{group.name} {command.name}"] = command.callback
    return found


def flags(callback: Callable) -> set[str]:
    known = {"--help", "-h"}
    for name, parameter in inspect.signature(callback).parameters.items():
        if isinstance(parameter.default, typer.models.OptionInfo):
            known |= set(parameter.default.param_decls or [f"--{name.replace('_', '-')}"])
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_code_blocks_exist_with_their_flags(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    groups = [group.name for group in app.registered_groups]
    for line in re.findall(r"^(?:    |\$ )?(?:\$ )?(casebook .+)$", text, re.MULTILINE):
        words = shlex.split(line.partition("  #")[0].partition(" | ")[0], comments=True)[1:]
        if words[0].startswith("-"):
            assert words[0] in ("--help", "--version"), line
            continue
        name = " ".join(words[:2]) if words[0] in groups else words[0]
        if words[0] == "draw" and name not in commands():
            name = "draw network"  # whose name may be left out
        assert name in commands(), line
        for word in words[1:]:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.partition("=")[0] in flags(commands()[name]), line


def test_the_readme_sets_up_what_pyproject_offers() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in re.findall(r"pip install [^\n`]*\[([a-z]+)\]", readme):
        assert extra in extras


def test_contributing_maps_every_room_of_the_package() -> None:
    """The tree and the order of imports name each room; `__main__` only starts the command line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree, order = text.partition("## Where things are")[2].split("## ")[:2]
    rooms = {
        path.name
        for path in (ROOT / "src" / "casebook").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {"__init__.py", "__main__.py"}
    order = "\n".join(line for line in order.splitlines() if line.startswith("    "))
    for room in rooms:
        entry = room if room.endswith(".py") else f"{room}/"
        assert re.search(rf"^ +{re.escape(entry)} ", tree, re.MULTILINE), f"{entry} is missing from the tree"
        assert re.search(rf"\b{room.removesuffix('.py')}\b", order), f"{room} is missing from the order of imports"


def test_the_reference_of_python_has_every_public_name() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [name for name in casebook.__all__ if name != "__version__"]
    assert "casebook.load_data(\n    data: str | Path,\n    settings: SplitSettings = SplitSettings(),\n    *," in text
    assert " at 0x" not in text


def test_every_public_name_and_method_has_a_docstring() -> None:
    missing = []
    for name in casebook.__all__:
        thing = getattr(casebook, name)
        if name != "__version__" and not thing.__doc__:
            missing.append(name)
        if inspect.isclass(thing):
            module = sys.modules[thing.__module__]
            own = {key: part for key, part in vars(thing).items() if not key.startswith("_") and key[0].islower()}
            for key, part in own.items():
                code = getattr(part, "fget", None) or getattr(part, "func", None) or getattr(part, "__func__", part)
                if inspect.isfunction(code) and code.__module__ == module.__name__ and not code.__doc__:
                    missing.append(f"{name}.{key}")
    assert missing == []
