"""The command line: one module per command, each of which parses, calls one library function and prints."""

import sys

import typer

from ..errors import CasebookError
from . import data, evaluate, models, predict, recipes, train
from .output import fail

app = typer.Typer(
    name="casebook",
    help="Train, check and explain the classic convolutional networks on your own pictures.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("models")(models.models)
app.command("recipes")(recipes.recipes)
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        import casebook

        typer.echo(f"casebook {casebook.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Say the version and stop."
    ),
) -> None:
    pass


def main() -> None:
    """The entry point: an error that the user can mend becomes one red line and exit code 1."""
    try:
        app(prog_name="casebook")
    except CasebookError as error:
        sys.exit(fail(str(error)))
    except BrokenPipeError:  # the reader of our output has left, such as `| head`
        sys.stderr.close()
        sys.exit(1)
