"""casebook recipes"""

from typing import Any

import typer

from ..tables import TextColumn
from .output import WIDE, print_json, print_table

RECIPE_COLUMNS = (TextColumn("recipe"), TextColumn("for", fold=24), TextColumn("expected", fold=20))
SETTING_COLUMNS = (TextColumn("setting"), TextColumn("default"), TextColumn("meaning", fold=30))


def recipes(
    name: str = typer.Argument(None, help="A recipe to print as TOML."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List the named recipes and all settings, or print one recipe as TOML to start from."""
    from casebook.errors import RecipeError, did_you_mean
    from casebook.training.recipe import RECIPES, Recipe

    if name is not None and name not in RECIPES:
        suggestion = did_you_mean(name, RECIPES) or ";"
        raise RecipeError(f"unknown recipe {name!r}{suggestion} 'casebook recipes' lists all")
    if json_:
        chosen = {name: RECIPES[name]} if name else RECIPES
        print_json(
            {
                "recipes": {key: value._asdict() for key, value in chosen.items()},
                "settings": Recipe.model_json_schema()["properties"],
            }
        )
    elif name:
        import tomli_w

        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in RECIPES[name].settings.items()}
        print(f"# {RECIPES[name].purpose}\n# {RECIPES[name].expected}\n{tomli_w.dumps(settings)}", end="")
    else:
        print_table(RECIPE_COLUMNS, [[key, known.purpose, known.expected] for key, known in RECIPES.items()], wide=wide)
        print()
        fields = Recipe.model_fields.items()
        rows = [[field, _written(info.default), info.description or ""] for field, info in fields]
        print_table(SETTING_COLUMNS, rows, wide=wide)


def _written(default: Any) -> str:
    """A default as TOML has it; nothing for one that is empty."""
    if default in (None, "", {}):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return str(list(default)) if isinstance(default, tuple) else f"{default}"
