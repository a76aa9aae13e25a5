"""casebook profile-device"""

import typer

from ..formatting import one_line
from .output import percent, print_json, say


def profile_device(
    out: str = typer.Option(None, "--out", "-o", metavar="FILE", help="Write the latency model to a file."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    threads: int = typer.Option(None, "--threads", min=1, help="Number of threads; default: torch's own."),
    json_: bool = typer.Option(False, "--json", help="With --out, print the document on stdout as well."),
) -> None:
    """Measure how fast this device is, in about a minute: a latency model, with which 'casebook scale' predicts."""
    from pathlib import Path

    from casebook.cost.latency_model import write_latency_model
    from casebook.progress import TerminalDisplay
    from casebook.workflows import scale as scale_job

    with TerminalDisplay() as display:
        model = scale_job.profile_device(device, threads=threads, progress=display)
    if out:
        write_latency_model(model, Path(out))
    if json_ or not out:
        print_json(model.to_dict())
    tell = print if out and not json_ else say
    tell(one_line(
        f"{model.device}, {model.threads} {'thread' if model.threads == 1 else 'threads'}, torch {model.torch}: error "
        f"{percent(model.median_error)} at the median, {percent(model.worst_error)} at worst, over "
        f"{len(model.networks)} networks, each predicted from the others"
    ))  # fmt: skip
    if out:
        tell(one_line(f"latency model: {out}"))
