"""casebook export"""

import shlex

import typer

from ..formatting import size_text
from ..progress import TerminalDisplay
from .output import next_step, print_json


def export(
    model: str = typer.Argument(..., help="Run folder, or the name of a network (then with --weights)."),
    out: str = typer.Option(None, "--out", "-o", metavar="FILE", help="The bundle; default: MODEL.casebook, here."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(None, "--classes", help="CSV of index,id,name: the names of the network's outputs."),
    golden: str = typer.Option(
        None, "--golden", metavar="DIR", help="Pictures of yours to check the bundle with. They travel inside it."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Write a run as one file that runs anywhere without torch, and proves that it answers the same."""
    import casebook

    settings = casebook.ExportSettings(golden=golden)
    with TerminalDisplay() as display:
        exported = casebook.export(model, out, weights=weights, classes=classes, settings=settings, progress=display)
    document = exported.document
    if json_:
        print_json(document)
        return
    print(f"{exported.path}: {size_text(document['bytes'])}, SHA-256 {exported.sha256[:16]}...")
    for name, network in document["networks"].items():
        print(
            f"{name}: probabilities within {network['worst_difference']:.1e} of torch's on {document['golden']} golden "
            "pictures"
        )
    next_step(f"python {shlex.quote(str(exported.path))} predict PICTURES", "needs NumPy, Pillow and onnxruntime only")
