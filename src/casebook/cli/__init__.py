"""The command line: one module per command, each of which parses, calls one library function and prints."""

import atexit
import gc
import io
import os
import sys

import typer

from ..device import prepare_environment
from ..errors import CasebookError
from . import (
    augment,
    compare,
    data,
    draw,
    evaluate,
    explain,
    explain_cost,
    export,
    lesson,
    models,
    predict,
    profile_device,
    recipes,
    runs,
    scale,
    serve,
    studio,
    study,
    summary,
    train,
    verify,
)
from .output import fail

app = typer.Typer(
    name="casebook",
    help="Train, check and explain the classic convolutional networks on your own pictures.\n\n"
    "New here? 'casebook studio PHOTOS' does the whole job on a page in the browser, 'casebook train PHOTOS' in the "
    "terminal. PHOTOS is a folder with one folder of pictures for each class.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("augment")(augment.augment)
app.command("serve")(serve.serve)
app.command("studio")(studio.studio)
app.command("models")(models.models)
app.command("compare")(compare.compare)
app.command("scale")(scale.scale)
app.command("profile-device")(profile_device.profile_device)
app.command("study")(study.study)
app.command("lesson")(lesson.lesson)
app.command("recipes")(recipes.recipes)
app.command("runs")(runs.runs)
app.command("summary")(summary.summary)
app.add_typer(data.app, name="data")
app.add_typer(draw.app, name="draw")
app.add_typer(explain_cost.app, name="explain-cost")


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a class's name is no failure
    from ..models.foreign_names import trust_named

    prepare_environment()
    trust_named(sys.argv[1:])
    gc.set_threshold(100_000, 20, 20)  # importing torch makes many objects and no garbage: a third of a second less
    atexit.register(gc.freeze)  # Python's last search for garbage among torch's objects would take a second
    try:
        app(prog_name="casebook")
    except CasebookError as error:
        sys.exit(fail(str(error)))
    except BrokenPipeError:  # the reader of our output has left, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        sys.exit(1)
    except OSError as error:  # a file of the user's: forbidden, vanished, on a full disk
        if not error.filename or not error.strerror:
            raise
        name = str(error.filename)
        sys.exit(fail(f"{name if len(name) < 300 else name[:300] + '...'}: {error.strerror}"))
