"""casebook predict"""

import contextlib
import shlex
import sys
from typing import Any

import typer

from ..formatting import one_line
from ..progress import TerminalDisplay
from .output import next_step, print_json, say, wrong_usage


def predict(
    model: str = typer.Argument(..., help="Run folder, bundle, or the name of a network (then with --weights)."),
    pictures: list[str] = typer.Argument(..., help="Pictures, folders, patterns, or - for a list of them on stdin."),
    top: int = typer.Option(5, "--top", "-k", min=1, help="How many classes to name for each picture."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(None, "--classes", help="CSV of index,id,name: the names of the network's outputs."),
    unsure: float = typer.Option(
        None, "--unsure", metavar="SHARE",
        help="Say 'unsure' where needed so that of the answers at most this share is wrong, such as 0.01 for 1 %.",
    ),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="Write a .csv or .parquet file; given again, a killed call goes on."
    ),
    sort_into: str = typer.Option(
        None, "--sort-into", metavar="DIR", help="Link each picture into a folder of its class, in a new folder."
    ),
    sort_with: str = typer.Option("link", help="link, or copy to copy the pictures that --sort-into sorts."),
    contact_sheet: str = typer.Option(
        None, "--contact-sheet", metavar="FILE", help="Write a page with the pictures of each class."
    ),
    engine: str = typer.Option("local", help="local, or ray to answer with --out on a Ray cluster."),
    workers: int = typer.Option(0, min=0, help="Ray workers; 0: as many as the cluster has room for."),
    worker_cpus: int = typer.Option(0, min=0, help="Cores for each of them; 0 chooses."),
    worker_gpus: float = typer.Option(None, min=0, help="GPUs for each, such as 0.5; default: 1 if there is any."),
    batch_size: int = typer.Option(0, "--batch-size", "-b", min=0, help="Pictures at a time; 0 chooses."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:  # fmt: skip
    """Say what is in pictures. Ends with code 1 if one could not be read; the others are answered."""
    import casebook
    from casebook.workflows.answering import ModelFiles

    if engine not in ("local", "ray"):
        raise wrong_usage(f"--engine is {engine!r}, expected local or ray")
    if engine == "local" and (workers or worker_cpus or worker_gpus is not None):
        raise wrong_usage("--workers, --worker-cpus and --worker-gpus are for --engine ray")
    if engine == "ray" and not (out or sort_into or contact_sheet):
        raise wrong_usage("--engine ray writes files; add --out FILE")
    named = [line for given in pictures for line in (_listed() if given == "-" else [given])]
    if not named:
        say("no picture is named on stdin; expected one path a line")
    if out or sort_into or contact_sheet:
        files = casebook.AnswerFiles(out, sort_into, contact_sheet, sort_with)  # type: ignore[arg-type]
        on_ray = casebook.RayWorkers(workers, worker_cpus, worker_gpus) if engine == "ray" else None
        with TerminalDisplay() as display, contextlib.redirect_stdout(sys.stderr):  # Ray prints what happens
            saved = casebook.predict_into(
                files, ModelFiles(model, weights, classes, device), named, top=top, batch_size=batch_size,
                unsure=unsure, workers=on_ray, progress=display,
            )  # fmt: skip
        _print_saved(saved.to_dict(), json_)
        if saved.num_errors:
            raise typer.Exit(1)
        return
    if sort_with != "link":
        raise wrong_usage("--sort-with says how --sort-into sorts; give both")
    records, failed = [], 0
    answers = casebook.predict(
        model, named, top=top, weights=weights, classes=classes, device=device, batch_size=batch_size, unsure=unsure
    )
    for answer in answers:
        failed += answer.error is not None
        if json_:
            records.append(answer.to_dict())
        elif answer.error is not None:
            say(f"Error: {answer.picture}: {answer.error}")
        else:
            print(one_line(str(answer)))
    if json_:
        print_json({"model": model, "pictures": records, "errors": failed})
    elif named and failed < len(named) and not model.endswith(".casebook"):
        next_step(f"casebook explain {shlex.quote(model)} PICTURE", "shows what in it made the network say so")
    if failed:
        raise typer.Exit(1)


def _print_saved(saved: dict[str, Any], json_: bool) -> None:
    if json_:
        print_json(saved)
        return
    for entry in saved["classes"]:
        print(one_line(f"{entry['class']}: {entry['pictures']}"))
    for number, what in ((saved["unsure"], "unsure"), (saved["errors"], "could not be read")):
        if number:
            print(f"{what}: {number}")
    if saved["unsorted"]:
        say(f"note: {saved['unsorted']} pictures have no file and are not in {saved['sorted_into']}")
    for name in ("out", "sorted_into", "contact_sheet"):
        if saved[name]:
            say(f"{name.replace('_', ' ')}: {saved[name]}")


def _listed() -> list[str]:
    """The lines of stdin; a file name may hold any byte but the end of a line."""
    lines = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").split("\n")
    return [line.removesuffix("\r") for line in lines if line.strip()]
