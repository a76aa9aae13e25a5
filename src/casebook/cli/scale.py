"""casebook scale"""

import re
from typing import Any

import typer

from ..formatting import one_line
from .output import print_json, say, table, wrong_usage

SIGNS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


def scale(
    family: str = typer.Option(..., "--family", help="mobilenet_v2, efficientnet or resnet."),
    latency_ms: float = typer.Option(None, "--latency-ms", help="At most this many milliseconds for one picture."),
    size_mb: float = typer.Option(None, "--size-mb", help="At most so large a file of weights, in millions of bytes."),
    memory_mb: float = typer.Option(
        None, "--memory-mb", help="At most this much memory at the peak of one answer, in millions of bytes."
    ),
    multiply_adds: str = typer.Option(None, "--multiply-adds", help="At most so many for one picture, such as 100M."),
    parameters: str = typer.Option(None, "--parameters", help="At most so many weights, such as 2M."),
    input_size: int = typer.Option(None, "--input-size", help="Side of the input, if it is not to be scaled."),
    num_classes: int = typer.Option(None, "--num-classes", help="Classes: those of --data, else 1000."),
    kind: list[str] = typer.Option(
        None, "--kind", help="compound, width, depth, resolution, or two such as width+depth; may be repeated. All."
    ),
    device_profile: str = typer.Option(
        None, "--device-profile", help="Predict for the device of this file of 'casebook profile-device'."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps: where to measure and to train."),
    threads: int = typer.Option(None, "--threads", min=1, help="Threads that compute, else torch's own number."),
    data: str = typer.Option(None, "--data", help="Train what is found briefly on this data, all on equal terms."),
    epochs: int = typer.Option(8, "--epochs", min=1, help="Times through the training pictures of --data."),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Trainings of each network."),
    most_per_class: int = typer.Option(400, "--most-per-class", min=1, help="Training pictures of each class at most."),
    grid_search: bool = typer.Option(
        False, "--grid-search", help="Also look for alpha, beta and gamma on the data, with a small base."
    ),
    out: str = typer.Option(
        None, "--out", "-o", help="Folder for trainings: a second call that proposes the same networks reads them."
    ),
    picture: str = typer.Option(None, "--picture", metavar="FILE", help="Draw error against cost into a .png or .svg."),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write tables and picture as one HTML file."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Find the networks of a family that keep a budget of time, size, memory or work, and measure them here."""
    limits = {
        "latency_ms": latency_ms,
        "size_bytes": None if size_mb is None else size_mb * 1e6,
        "memory_bytes": None if memory_mb is None else memory_mb * 1e6,
        "multiply_adds": _number("--multiply-adds", multiply_adds),
        "parameters": _number("--parameters", parameters),
    }
    if all(limit is None for limit in limits.values()):
        raise wrong_usage(
            "no budget came; give one or several of --latency-ms, --size-mb, --memory-mb, --multiply-adds, --parameters"
        )
    for option, limit in (("--latency-ms", latency_ms), ("--size-mb", size_mb), ("--memory-mb", memory_mb)):
        if limit is not None and not 0 < limit < float("inf"):
            raise wrong_usage(f"{option} is {limit:g}, expected a number above 0")
    if data is None and (picture or grid_search):
        raise wrong_usage(f"{'--picture' if picture else '--grid-search'} is about accuracy, so it needs --data")
    if picture and not picture.lower().endswith((".png", ".svg")):
        raise wrong_usage(f"--picture ends in .png or .svg, but {picture!r} came")

    from casebook.errors import Interrupted
    from casebook.progress import TerminalDisplay
    from casebook.workflows import scale as scale_job
    from casebook.workflows import scale_result

    display: Any = TerminalDisplay()
    try:
        found = scale_job.scale(
            family, **limits, input_size=input_size, num_classes=num_classes, kinds=kind or tuple(scale_job.PATHS),
            device_profile=device_profile, device=device, threads=threads, data=data, epochs=epochs,
            seeds=tuple(range(seeds)), most_per_class=most_per_class, grid_search=grid_search, out=out, report=display,
        )  # fmt: skip
    except (Interrupted, KeyboardInterrupt) as stop:
        display.close()
        say(f"Interrupted; the trainings so far are in {out}." if out else "Interrupted; --out keeps what was trained.")
        raise typer.Exit(130) from stop
    finally:
        display.close()
    if json_:
        print_json(found.to_dict())
    else:
        _print(found, scale_result)
    if picture:
        scale_result.draw_frontier(found, picture)
        say(f"picture: {picture}")
    if html:
        scale_result.write_frontier_page(found, html)
        say(f"page: {html}")


def _number(option: str, given: str | None) -> float | None:
    """ "100M" -> 1e8."""
    if given is None:
        return None
    match = re.fullmatch(r"((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)([kKMGB]?)", given.strip())
    if not match:
        raise wrong_usage(f"{option} takes a number such as 300000, 300k, 100M or 4.1G, but {given!r} came")
    return float(match[1].replace(",", "")) * SIGNS[{"K": "k", "B": "G"}.get(match[2], match[2])]


def _print(found: Any, scale_result: Any) -> None:
    where = f" on {found.device}" if found.device else ""
    print(one_line(f"{found.network} within {found.budget.told()}{where}, {found.num_classes} classes"))
    cells = scale_result.table(found)
    print(table(cells, right=tuple(range(1, len(cells[0])))))
    for kind, reason in found.dropped.items():
        say(f"left out: {kind}: {reason}")
    for note in found.notes:
        say(f"note: {note}")
    if found.finalists:
        print(one_line(found.pictures))
        print(table(scale_result.trained_table(found), right=(1, 2, 3, 4)))
    if found.grid:
        print("one step of phi from a small base with other alpha, beta and gamma:")
        print(table(scale_result.grid_table(found), right=tuple(range(8))))
    print(one_line(f"{found.best}: {found.command}"))
