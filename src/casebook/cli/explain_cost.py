"""casebook explain-cost: one command for each row of `COMPUTATIONS`."""

import inspect
from collections.abc import Callable
from typing import Any

import typer

from casebook.cost.parameters import PARAMETERS, written
from casebook.cost.worked import COMPUTATIONS, Computation, explain

from .output import print_json, wrong_usage

app = typer.Typer(
    help="Work out what layers, blocks and modules cost, with the arithmetic of every step.", no_args_is_help=True
)
JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")
MARKDOWN = typer.Option(False, "--markdown", help="Print Markdown.")


def _command(name: str, computation: Computation) -> Callable[..., None]:
    """A function with the computation's parameters as options, as if it had been written by hand."""

    def command(*, json_: bool, markdown: bool, **given: Any) -> None:
        if json_ and markdown:
            raise wrong_usage("--json and --markdown ask for two different outputs; give one of them")
        explanation = explain(name, **given)
        if json_:
            print_json(explanation.to_dict())
        else:
            print(explanation.markdown() if markdown else explanation.text())

    options = []
    for parameter, known in computation.parameters.items():
        kind = known.annotation if known.annotation in (int, float, bool) else str
        default = known.default if kind in (int, float, bool) else str(written(known.default))
        flag = f"--{parameter.replace('_', '-')}"
        info = typer.Option(default, flag, help=PARAMETERS[parameter].meaning)
        options.append(inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind))
    for parameter, info in (("markdown", MARKDOWN), ("json_", JSON)):
        options.append(inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=bool))
    command.__doc__ = f"{computation.title}.\n\nFormula: {computation.formula}."
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return command


for _name, _computation in COMPUTATIONS.items():
    app.command(_name)(_command(_name, _computation))
