"""casebook scale"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ..formatting import one_line
from ..tables import TextColumn
from .output import WIDE, print_json, print_table, say, wrong_usage

if TYPE_CHECKING:
    from casebook.workflows.scale_result import Scaling

FACTORS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
# Columns with text; columns that a narrow terminal leaves out, the highest rank first; columns that wrap.
TEXT = ("kind", "against compound", "against the paper")
RANKS = {"5 to 95 % (ms)": 5, "weights": 4, "ratio": 3, "memory (MB)": 2, "predicted (ms)": 1, "file (MB)": 1,
         "learning rate": 2, "training (s)": 1}  # fmt: skip
FOLDS = {"against compound": 20, "against the paper": 20}


def scale(
    family: str = typer.Option(..., "--family", help="mobilenet_v2, efficientnet or resnet."),
    latency_ms: float = typer.Option(None, "--latency-ms", help="Limit in milliseconds for one picture."),
    size_mb: float = typer.Option(None, "--size-mb", help="Limit on the weight file, in millions of bytes."),
    memory_mb: float = typer.Option(
        None, "--memory-mb", help="Limit on the peak memory of one forward pass, in millions of bytes."
    ),
    multiply_adds: str = typer.Option(
        None, "--multiply-adds", help="Limit on the multiply-adds for one picture, such as 100M."
    ),
    parameters: str = typer.Option(None, "--parameters", help="Limit on the number of weights, such as 2M."),
    input_size: int = typer.Option(None, "--input-size", help="Side of the input, to keep it fixed."),
    num_classes: int = typer.Option(None, "--num-classes", help="Classes; default: those of --data, else 1000."),
    kind: list[str] = typer.Option(
        None,
        "--kind",
        help="compound, width, depth, resolution, or two of them such as width+depth; may be repeated; default: all.",
    ),
    latency_model: str = typer.Option(
        None,
        "--latency-model",
        metavar="FILE",
        help="Predict for another device, from the file that 'casebook profile-device' wrote there.",
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps: where to measure and to train."),
    threads: int = typer.Option(None, "--threads", min=1, help="Number of threads; default: torch's own."),
    data: str = typer.Option(None, "--data", help="Train the networks found on this data, under equal conditions."),
    epochs: int = typer.Option(8, "--epochs", min=1, help="Epochs of each training on --data."),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Number of trainings of each network."),
    most_per_class: int = typer.Option(400, "--most-per-class", min=1, help="Limit on the pictures of each class."),
    grid_search: bool = typer.Option(
        False, "--grid-search", help="Also search for alpha, beta and gamma on the data, with a small base network."
    ),
    out: str = typer.Option(
        None, "--out", "-o", help="Folder that keeps the trainings, for a second call with the same networks."
    ),
    picture: str = typer.Option(None, "--picture", metavar="FILE", help="Draw error against cost as .png or .svg."),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write the tables and the picture as one HTML file."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Find the largest networks of a family within a budget of time, size, memory or operations, and measure them."""
    limits = {
        "latency_ms": latency_ms,
        "size_bytes": None if size_mb is None else size_mb * 1e6,
        "memory_bytes": None if memory_mb is None else memory_mb * 1e6,
        "multiply_adds": _number("--multiply-adds", multiply_adds),
        "parameters": _number("--parameters", parameters),
    }
    if all(limit is None for limit in limits.values()):
        raise wrong_usage(
            "the budget is empty; give at least one of --latency-ms, --size-mb, --memory-mb, --multiply-adds, "
            "--parameters"
        )
    for option, limit in (("--latency-ms", latency_ms), ("--size-mb", size_mb), ("--memory-mb", memory_mb)):
        if limit is not None and not 0 < limit < float("inf"):
            raise wrong_usage(f"{option} is {limit:g}, expected a number above 0")
    if data is None and (picture or grid_search):
        raise wrong_usage(f"{'--picture' if picture else '--grid-search'} needs accuracies; add --data")
    if picture and not picture.lower().endswith((".png", ".svg")):
        raise wrong_usage(f"--picture is {picture!r}, expected a name that ends in .png or .svg")

    from casebook.cost.scaling import PATHS, Budget
    from casebook.errors import Interrupted
    from casebook.progress import TerminalDisplay
    from casebook.workflows import scale as scale_job
    from casebook.workflows import scale_result

    training = None
    if data is not None:
        training = scale_job.FinalistTraining(
            data, epochs, tuple(range(seeds)), most_per_class, grid_search=grid_search, out=out
        )
    try:
        with TerminalDisplay() as display:
            found = scale_job.scale(
                family, Budget(**limits), kinds=kind or tuple(PATHS), input_size=input_size, num_classes=num_classes,
                target=scale_job.TargetDevice(device, threads, latency_model), training=training, progress=display,
            )  # fmt: skip
    except (Interrupted, KeyboardInterrupt) as stop:
        say(f"interrupted; {out} keeps the trainings so far" if out else "interrupted; --out would keep the trainings")
        raise typer.Exit(130) from stop
    if json_:
        print_json(found.to_dict())
    else:
        _print(found, wide)
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
        raise wrong_usage(f"{option} is {given!r}, expected a number such as 300000, 300k, 100M or 4.1G")
    return float(match[1].replace(",", "")) * FACTORS[{"K": "k", "B": "G"}.get(match[2], match[2])]


def _print(found: "Scaling", wide: bool) -> None:
    from casebook.workflows import scale_result

    where = f" on {found.device}" if found.device else ""
    print(one_line(f"{found.network} within {found.budget}{where}, {found.num_classes} classes"))
    _print_cells(scale_result.table(found), wide)
    for kind, reason in found.dropped.items():
        say(f"left out: {kind}: {reason}")
    for note in found.notes:
        say(f"note: {note}")
    if found.finalists:
        print("\n" + one_line(str(found.pictures)))
        _print_cells(scale_result.trained_table(found), wide)
    if found.grid:
        print("\none step of phi from a small base network, with other alpha, beta and gamma:")
        _print_cells(scale_result.grid_table(found), wide)
    print("\n" + one_line(f"{found.best}: {found.command}"))


def _print_cells(cells: Sequence[Sequence[str]], wide: bool) -> None:
    names, *rows = cells
    columns = [
        TextColumn(name, right=name not in TEXT, rank=RANKS.get(name, 0), fold=FOLDS.get(name)) for name in names
    ]
    print_table(columns, rows, wide=wide)
