"""casebook explain"""

import typer

from ..formatting import one_line
from .output import percent, print_json, say


def explain(
    model: str = typer.Argument(..., help="Run folder, or the name of a network (then with --weights)."),
    pictures: list[str] = typer.Argument(None, help="Pictures, folders or patterns; not needed for filters."),
    method: list[str] = typer.Option(
        ["all"], "--method", "-m",
        help="grad-cam, occlusion, deconvnet, guided, gradient, features, filters, top9 or all; may be repeated.",
    ),
    layer: str = typer.Option(None, "--layer", help="A layer, such as stages.3, else one that suits the method."),
    channel: list[int] = typer.Option(None, "--channel", help="A channel of the layer, from 0; may be repeated."),
    class_: str = typer.Option(
        None, "--class", help="The class to explain (name, id or number), else the answer; of several labels each."
    ),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(None, "--classes", help="CSV of index,id,name: the names of the network's outputs."),
    out: str = typer.Option(None, "--out", "-o", help="Folder for the files, else explanations/ in the run, or here."),
    square: int = typer.Option(None, "--square", help="Side of occlusion's square, in pixels of the network's input."),
    stride: int = typer.Option(None, "--stride", help="Step of occlusion's square, in pixels."),
    rule: str = typer.Option(
        "deconvnet", "--rule", help="How deconvnet and top9 project down: deconvnet, guided or gradient."
    ),
    whole_map: bool = typer.Option(
        False, "--whole-map", help="Deconvnet: project all excited units of a channel, not the strongest alone."
    ),
    sanity: bool = typer.Option(
        False, "--sanity", help="Also randomise the weights part by part, and say how far the map follows."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:  # fmt: skip
    """Show what a network sees in pictures, as PNGs and NumPy arrays. Ends with code 1 if a picture cannot be read."""
    import casebook
    from casebook.progress import TerminalDisplay

    records, failed = [], 0
    with TerminalDisplay() as display:
        for record in casebook.explain(
            model, pictures or [], method=method, layer=layer, channel=channel or None, class_name=class_,
            weights=weights, classes=classes, out=out, square=square, stride=stride, rule=rule,
            whole_map=whole_map, sanity=sanity, device=device, progress=display,
        ):  # fmt: skip
            failed += "error" in record
            if json_:
                records.append(record)
            elif "error" in record:
                say(f"Error: {record['picture']}: {record['error']}")
            else:
                _print(record)
    if json_:
        print_json({"model": model, "explanations": records, "errors": failed})
    if failed:
        raise typer.Exit(1)


def _print(record: dict) -> None:
    of = f" {record['class']} {percent(record['probability'])}" if record["class"] is not None else ""
    if of and record["labels"] is not None and record["class"] not in record["labels"]:
        of += " (below its threshold)"
    named = f"{record['picture']}: " if record["picture"] else ""
    print(one_line(f"{named}{record['method']}{of} -> {record['image']}"))
    if record["sanity"]:
        steps = (f"{step['part']} {_number(step['correlation'])}" for step in record["sanity"])
        print(one_line(f"  rank correlation, random down to: {', '.join(steps)}"))


def _number(correlation: float | None) -> str:
    return "none (empty map)" if correlation is None else f"{correlation:+.2f}"
