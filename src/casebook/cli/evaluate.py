"""casebook evaluate"""

import typer

from .output import accuracy_lines, print_json, say, skipped_lines
from .progress import Display


def evaluate(
    model: str = typer.Argument(..., help="Run folder, or the name of a network (then with --weights)."),
    data: str = typer.Argument(None, help="Folder, CSV file or built-in name; default: the run's own locked test set."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(
        None, "--classes", help="CSV of index,id,name: the network's outputs, to match folders by id or name."
    ),
    split: str = typer.Option("auto", help="train, val, test, all, or auto: test where there is one, else all."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    precision: str = typer.Option("fp32", help="fp32, bf16 or auto."),
    batch_size: int = typer.Option(0, "--batch-size", "-b", min=0, help="Pictures at a time; 0 chooses."),
    workers: int = typer.Option(0, min=0, help="Processes that read pictures."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Score a run, or a network with given weights, on labelled pictures."""
    import casebook

    display = Display()
    try:
        evaluation = casebook.evaluate(
            model, data, weights=weights, classes=classes, split=split, device=device, precision=precision,
            batch_size=batch_size, workers=workers, report=display,
        )  # fmt: skip
    finally:
        display.close()
    metrics = evaluation.metrics
    if json_:
        print_json(metrics)
        return
    for note in metrics["notes"]:
        say(f"note: {note}")
    for line in skipped_lines(metrics["skipped"]):
        say(line)
    print("\n".join(accuracy_lines(metrics)))
    ece, log_loss, macro_f1 = (metrics[name] for name in ("ece", "log_loss", "macro_f1"))
    print(f"calibration error {ece:.4f}, log loss {log_loss:.4f}, macro F1 {macro_f1:.4f}")
