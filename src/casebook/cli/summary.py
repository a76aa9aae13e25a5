"""casebook summary"""

import re
import shutil
from typing import Any

import typer

from .output import print_json, wrong_usage


def summary(
    name: str = typer.Argument(..., help="A network, as 'casebook models' lists them."),
    input_: str = typer.Option(None, "--input", help="Side of the picture, or HEIGHTxWIDTH; else the network's own."),
    batch: int = typer.Option(1, "--batch", min=1, help="Pictures that memory is estimated for."),
    depth: int = typer.Option(None, "--depth", min=1, help="Sum what lies deeper than this many levels of modules."),
    hwc: bool = typer.Option(False, "--hwc", help="Shapes as height x width x channels."),
    num_classes: int = typer.Option(None, "--num-classes", help="Classes, if not the network's own number."),
    in_channels: int = typer.Option(None, "--in-channels", help="Channels of the picture, if not the network's own."),
    options: list[str] = typer.Option(
        None, "--set", help="An option of the network, as NAME=VALUE, such as small_stem=true."
    ),
    optimiser: str = typer.Option("sgd", "--optimiser", help="Whose state training keeps: sgd or adamw."),
    traced: bool = typer.Option(False, "--traced", help="Count again with torch's own counter, and compare."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    csv: bool = typer.Option(False, "--csv", help="Print the layers as CSV."),
    markdown: bool = typer.Option(False, "--markdown", help="Print the tables as a Markdown page."),
) -> None:
    """Say what a network costs, layer by layer: parameters, multiplications, additions, memory, receptive field."""
    if json_ + csv + markdown > 1:
        raise wrong_usage("--json, --csv and --markdown exclude each other")
    size, settings = _size(input_), _settings(options or [])

    from casebook.cost import render
    from casebook.cost.count import count

    found = count(
        name, size, in_channels=in_channels, num_classes=num_classes, batch_size=batch, optimiser=optimiser,
        traced=traced, **settings,
    )  # fmt: skip
    found, order = found.at_depth(depth) if depth else found, "HWC" if hwc else "CHW"
    if json_:
        print_json(found.to_dict(order))
    elif csv:
        print(render.comma_separated(found, order))
    elif markdown:
        print(render.markdown(found, order))
    else:
        print(render.text(found, order, width=max(80, shutil.get_terminal_size((120, 24)).columns)))


def _size(given: str | None) -> int | tuple[int, int] | None:
    if given is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", given.strip())
    if not found:
        raise wrong_usage(f"--input takes a side in pixels or HEIGHTxWIDTH, but {given!r} came")
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])


def _settings(options: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is TOML where it reads as TOML, else text."""
    import tomllib

    settings: dict[str, Any] = {}
    for option in options:
        name, sign, value = (part.strip() for part in option.partition("="))
        if not sign or not name.isidentifier():
            raise wrong_usage(f"--set takes NAME=VALUE, but {option!r} came")
        try:
            settings[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[name] = value
    return settings
