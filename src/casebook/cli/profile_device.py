"""casebook profile-device"""

from typing import Any

import typer

from ..formatting import one_line
from .output import percent, print_json, say


def profile_device(
    out: str = typer.Option(None, "--out", "-o", metavar="FILE", help="Write the profile there instead of to stdout."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    threads: int = typer.Option(None, "--threads", min=1, help="Threads that compute, else torch's own number."),
    json_: bool = typer.Option(False, "--json", help="Print the document on stdout also with --out."),
) -> None:
    """Measure how fast this device is, in about a minute, as a JSON document that 'casebook scale' predicts with."""
    from pathlib import Path

    from casebook.cost.latency_model import write_profile
    from casebook.progress import TerminalDisplay
    from casebook.workflows import scale as scale_job

    display: Any = TerminalDisplay()
    try:
        profile = scale_job.profile_device(device, threads=threads, report=display)
    finally:
        display.close()
    if out:
        write_profile(profile, Path(out))
    if json_ or not out:
        print_json(profile.to_dict())
    told = print if out and not json_ else say
    threads_told = f"{profile.threads} {'thread' if profile.threads == 1 else 'threads'}"
    told(one_line(
        f"{profile.device}, {threads_told}, torch {profile.torch}: "
        f"predicts {len(profile.networks)} networks it was not fitted to with an error of "
        f"{percent(profile.median_error)} at the median and {percent(profile.worst_error)} at worst"
    ))  # fmt: skip
    if out:
        told(one_line(f"profile: {out}"))
