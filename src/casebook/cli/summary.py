"""casebook summary"""

import re
from typing import Any

import typer

from .output import WIDE, left_out, print_json, say, table_width, wrong_usage


def summary(
    name: str = typer.Argument(..., help="A network, as 'casebook models' lists them."),
    input_: str = typer.Option(
        None, "--input", help="Side of the picture in pixels, or HEIGHTxWIDTH; default: the network's own."
    ),
    batch: int = typer.Option(1, "--batch", min=1, help="Batch size for the memory estimate."),
    depth: int = typer.Option(None, "--depth", min=1, help="Show modules of at most this many levels as one layer."),
    hwc: bool = typer.Option(False, "--hwc", help="Print shapes as height x width x channels."),
    num_classes: int = typer.Option(None, "--num-classes", help="Number of classes; default: the network's own."),
    in_channels: int = typer.Option(None, "--in-channels", help="Input channels; default: the network's own."),
    options: list[str] = typer.Option(
        None, "--set", help="An option of the network, as NAME=VALUE, such as small_stem=true."
    ),
    optimiser: str = typer.Option("sgd", "--optimiser", help="Optimiser for the training memory: sgd or adamw."),
    traced: bool = typer.Option(False, "--traced", help="Count again with torch's own counter and compare."),
    legend: bool = typer.Option(False, "--legend", help="Explain the columns and how each number is counted."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    csv: bool = typer.Option(False, "--csv", help="Print the layers as CSV."),
    markdown: bool = typer.Option(False, "--markdown", help="Print the tables as a Markdown page."),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write the strip with the numbers of each box."),
) -> None:
    """Count what a network costs, layer by layer: parameters, multiply-adds, additions, memory, receptive field."""
    if json_ + csv + markdown > 1:
        raise wrong_usage("--json, --csv and --markdown exclude each other")
    size, settings = input_size(input_), network_options(options or [])

    from casebook.cost.count import count

    channels = {"in_channels": in_channels, "num_classes": num_classes}
    given: dict[str, Any] = {key: value for key, value in channels.items() if value is not None} | settings
    if html:
        from casebook.workflows.draw import draw

        draw(name, size, out=html, **given)
        say(f"page: {html}")
    found = count(
        name, size, in_channels=in_channels, num_classes=num_classes, batch_size=batch, optimiser=optimiser,
        traced=traced, **settings,
    )  # fmt: skip
    found, order = found.at_depth(depth) if depth else found, "HWC" if hwc else "CHW"
    if json_:
        from casebook.drawing.fold import fold
        from casebook.drawing.graph import trace_graph
        from casebook.drawing.outline import outline

        print_json(found.to_dict(order) | {"structure": outline(fold(trace_graph(name, size, **given)))})
    elif csv:
        print(found.csv(order))
    elif markdown:
        print(found.markdown(order))
    else:
        width = table_width(wide)
        print(found.text(order, width=width, legend=legend))
        left_out(found.left_out(order, width=width))


def input_size(given: str | None) -> int | tuple[int, int] | None:
    if given is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", given.strip())
    if not found:
        raise wrong_usage(f"--input is {given!r}, expected a side in pixels or HEIGHTxWIDTH")
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])


def network_options(options: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as TOML if it is valid TOML, else as text."""
    import tomllib

    settings: dict[str, Any] = {}
    for option in options:
        name, sign, value = (part.strip() for part in option.partition("="))
        if not sign or not name.isidentifier():
            raise wrong_usage(f"--set is {option!r}, expected NAME=VALUE")
        try:
            settings[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[name] = value
    return settings
