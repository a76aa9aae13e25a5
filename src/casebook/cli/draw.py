"""casebook draw: a network, or one of the illustrations of `casebook.illustrate`, which are commands of their own."""

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from .output import say, wrong_usage
from .summary import input_size, network_options


class NetworkOrIllustration(TyperGroup):
    """What is no illustration is the name of a network or the path of a run: `casebook draw resnet34`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if "network" in self.commands and args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["network", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=NetworkOrIllustration,
    help="Draw what the lectures show, with every number counted.",
    no_args_is_help=True,
)
OUT = typer.Option(None, "--out", "-o", help="The .svg file to write; default: the illustration's name.")


@app.command("network")
def network(
    name: str = typer.Argument(
        ..., metavar="NAME|RUN", help="A network, as 'casebook models' lists them, or a run folder."
    ),
    level: str = typer.Option(None, "--level", help="strip, block or layers; default: strip."),
    style: str = typer.Option(None, "--style", help="volume, strip or block; default: that of the level."),
    stage: str = typer.Option(None, "--stage", help="Draw this stage alone: its number, stem or head."),
    input_: str = typer.Option(
        None, "--input", help="Side of the picture in pixels, or HEIGHTxWIDTH; default: the network's own."
    ),
    options: list[str] = typer.Option(
        None, "--set", help="An option of the network, as NAME=VALUE, such as small_stem=true or num_classes=10."
    ),
    beside: str = typer.Option(None, "--beside", metavar="NAME|RUN", help="A second network, drawn at the right."),
    html: bool = typer.Option(False, "--html", help="Write one page in which each box shows its numbers."),
    out: str = typer.Option(None, "--out", "-o", help="The file to write; default: NAME-LEVEL.svg or .html."),
) -> None:
    """Draw a network: its strip, its blocks, or every layer. The command's name may be left out."""
    size, settings = input_size(input_), network_options(options or [])
    kind = Path(out).suffix.lower() if out else ".html" if html else ".svg"
    if kind not in (".svg", ".html") or (html and kind != ".html"):
        raise wrong_usage(f"--out is {out!r}, expected a name that ends in {'.html' if html else '.svg or .html'}")
    from casebook.workflows.draw import draw, write_drawing

    drawing = draw(name, size, level=level, style=style, stage=stage, beside=beside, **settings)
    part = f"-{stage.replace(' ', '-')}" if stage else ""
    default = f"{drawing.network.replace(' ', '-')}-{style or drawing.level}{part}{kind}"
    for path in write_drawing(out or default, drawing):
        say(f"wrote {path}")


@app.command("sliding")
def sliding(
    kind: str = typer.Option("normal", "--kind", help="normal, depthwise, pointwise or 1x1."),
    size: int = typer.Option(None, "--size", help="Side of the input, at most 12."),
    channels: int = typer.Option(None, "--channels", help="Channels of the input, at most 5."),
    filters: int = typer.Option(None, "--filters", help="Filters, at most 5; a depthwise one has one a channel."),
    kernel_size: int = typer.Option(None, "--kernel-size", help="Side of the filter, at most 5."),
    stride: int = typer.Option(None, "--stride", help="Cells from one position to the next."),
    padding: str = typer.Option(None, "--padding", help="valid, same, or zeros on each side."),
    seed: int = typer.Option(None, "--seed", help="Draws other numbers."),
    step: int = typer.Option(None, "--step", help="Draw this position alone; default: several, .html: all."),
    out: str = typer.Option(
        None, "--out", "-o", help="The .svg file, or an .html page with a button for each step; default: sliding.svg."
    ),
) -> None:
    """Draw a filter that moves over numbers, with the sums of each position."""
    zeros = int(padding) if padding and padding.isdecimal() else padding
    _write("sliding", out, kind=kind, size=size, channels=channels, filters=filters, kernel_size=kernel_size,
           stride=stride, padding=zeros, seed=seed, step=step)  # fmt: skip


@app.command("field")
def field(
    windows: str = typer.Option("3,3,3", "--windows", help="KERNEL or KERNEL/STRIDE of each layer, from the input on."),
    channels: int = typer.Option(64, "--channels", help="Channels in and out of each layer, for the weights."),
    out: str = OUT,
) -> None:
    """Draw what one output of stacked layers sees, beside one layer that sees as much."""
    _write("field", out, windows=windows, channels=channels)


@app.command("volume")
def volume(
    input: str = typer.Option("28x28x192", "--input", help="Input, HEIGHTxWIDTHxCHANNELS."),
    layers: str = typer.Option(
        "conv1-16,conv5-32+same", "--layers", help="The layers, written as for 'casebook explain-cost chain'."
    ),
    out: str = OUT,
) -> None:
    """Draw a chain of layers as volumes: height, width and channels, with the filter between."""
    _write("volume", out, input=input, layers=layers)


@app.command("scaled")
def scaled(
    family: str = typer.Option("efficientnet", "--family", help="mobilenet_v2, efficientnet or resnet."),
    work: float = typer.Option(2.0, "--work", help="Times the multiply-adds of the family's network."),
    result: str = typer.Option(
        None, "--result", metavar="FILE", help="Draw the networks in this file, from 'casebook scale --json'."
    ),
    out: str = OUT,
) -> None:
    """Draw a network beside itself wider, deeper, at a higher resolution, and all three at once."""
    _write("scaled", out, family=family, work=work, result=result)


@app.command("freeze")
def freeze(
    network: str = typer.Option("mobilenet_v2", "--network", help="The network that is transferred."),
    num_classes: int = typer.Option(2, "--num-classes", help="Classes of the new data."),
    pictures_per_class: list[int] = typer.Option(
        [100, 1000, 5000], "--pictures-per-class", help="Training pictures of each class; may be repeated."
    ),
    out: str = OUT,
) -> None:
    """Draw which parts learn when a network is transferred to so many pictures."""
    _write("freeze", out, network=network, num_classes=num_classes, pictures_per_class=pictures_per_class)


@app.command("boxes")
def boxes(
    protocol: str = typer.Option("10-crop", "--protocol", help="As for 'casebook evaluate --protocol'."),
    picture: str = typer.Option(None, "--picture", metavar="FILE", help="A picture; default: a drawn scene."),
    size: int = typer.Option(224, "--size", help="Side of the network's input."),
    out: str = OUT,
) -> None:
    """Draw the crops that an evaluation protocol takes of a picture."""
    _write("boxes", out, protocol=protocol, picture=picture, size=size)


@app.command("bars")
def bars(out: str = OUT) -> None:
    """Draw the results of ILSVRC by year, with what each figure refers to."""
    _write("bars", out)


def _write(name: str, out: str | None, **settings: Any) -> None:
    path = Path(out or f"{name}.svg")
    if path.suffix.lower() not in (".svg", ".html"):
        raise wrong_usage(f"--out is {path.name!r}, expected a name that ends in .svg, or .html for sliding")
    from casebook.workflows.illustrate import write_illustration

    write_illustration(path, name, **settings)
    say(f"wrote {path}")
