"""casebook recipes"""

import typer

from .output import print_json, table


def recipes(
    name: str = typer.Argument(None, help="A recipe: print it as TOML."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List the named recipes and all settings, or print one as TOML to start from."""
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
        print(table([["recipe", "for", "expected"], *([k, v.purpose, v.expected] for k, v in RECIPES.items())]))
        rows = [["setting", "default", "meaning"]]
        for field, info in Recipe.model_fields.items():
            rows.append([field, repr(info.default), info.description or ""])
        print(f"\n{table(rows)}")
