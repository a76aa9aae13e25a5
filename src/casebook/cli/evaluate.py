"""casebook evaluate"""

from collections.abc import Sequence
from typing import Any

import typer

from ..progress import TerminalDisplay
from .output import accuracy_lines, print_json, say, skipped_lines, table, wrong_usage
from .sources import COLUMNS, LABEL_FROM, ROOT, SUFFIX, formatted


def evaluate(
    models: list[str] = typer.Argument(
        ...,
        metavar="MODEL [DATA]",
        help="Run folder, the name of a network (then with --weights), or saved predictions; several with --ensemble "
        "or --soup. Last the data: folder, CSV file or built-in name; default: the run's own locked test set.",
    ),
    data: str = typer.Option(None, "--data", metavar="DATA", help="The data, where it should not come last."),
    protocol: list[str] = typer.Option(
        None, "--protocol", "-p", metavar="NAME",
        help="How pictures are shown: flip, 10-crop, 144-crop, dense, multi-scale, a .toml file, or text such as "
        "'scales=256+288;crops=corners;mirror=yes'; several by commas or again. Each is set beside center.",
    ),
    ensemble: bool = typer.Option(False, "--ensemble", help="Average the probabilities of several runs."),
    fit_weights: bool = typer.Option(
        False, "--fit-weights", help="Weigh the runs of an ensemble by what is best on validation pictures."
    ),
    soup: bool = typer.Option(False, "--soup", help="Average the weights of several runs of one network."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(
        None, "--classes", help="CSV of index,id,name: the network's outputs, to match folders by id or name."
    ),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    split: str = typer.Option("auto", help="train, val, test, all, or auto: test where there is one, else all."),
    save: str = typer.Option(
        None, "--save", metavar="FILE", help="Save path, label and probabilities to a .csv or .parquet file."
    ),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write what was compared as one HTML file."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    precision: str = typer.Option("fp32", help="fp32, bf16 or auto."),
    batch_size: int = typer.Option(0, "--batch-size", "-b", min=0, help="Pictures at a time; 0 chooses."),
    workers: int = typer.Option(0, min=0, help="Processes, with a protocol threads, that read pictures."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:  # fmt: skip
    """Score a run, or a network with given weights, on labelled pictures; or several, or several ways, side by side."""
    import casebook
    from casebook.evaluation.saved import check_suffix, save_predictions

    members, pictures = models_and_data(models, data, ensemble or soup)
    if html and not (protocol or ensemble or soup):
        raise wrong_usage("--html shows what is compared; add --protocol, --ensemble or --soup")
    if save:
        check_suffix(save)
    source = formatted(pictures, label_from=label_from, root=root, suffix=suffix, columns=columns)
    display = TerminalDisplay()
    try:
        evaluation = casebook.evaluate(
            members if ensemble or soup else members[0], source, protocol=protocol or None, ensemble=ensemble,
            fit_weights=fit_weights, soup=soup, weights=weights, classes=classes, split=split, device=device,
            precision=precision, batch_size=batch_size, workers=workers, progress=display,
        )  # fmt: skip
    finally:
        display.close()
    metrics = evaluation.metrics
    if save:
        save_predictions(save, evaluation.predictions)
        say(f"predictions: {save}")
    if html:
        from casebook.reports.comparison import write_page

        write_page(html, metrics)
        say(f"page: {html}")
    if json_:
        print_json(metrics)
        return
    for note in metrics["notes"]:
        say(f"note: {note}")
    for line in skipped_lines(metrics["skipped"]):
        say(line)
    if "compared" in metrics:
        _print_comparison(metrics)
        return
    print("\n".join(accuracy_lines(metrics)))
    ece, log_loss, macro_f1 = (metrics[name] for name in ("ece", "log_loss", "macro_f1"))
    print(f"calibration error {ece:.4f}, log loss {log_loss:.4f}, macro F1 {macro_f1:.4f}")


def models_and_data(given: Sequence[str], data: str | None, several: bool) -> tuple[list[str], str | None]:
    """The models and the data among the arguments: of several, the last is the data unless it can be a model."""
    from pathlib import Path

    from casebook.evaluation.saved import is_saved

    def is_run(name: str) -> bool:
        return (Path(name) / "model.json").is_file()

    if data is not None:
        if len(given) > 1 and not several:
            raise wrong_usage(f"{len(given)} models and --data; add --ensemble or --soup, or name one model")
        return list(given), data
    if several:
        saved = is_saved(given[0])
        last_is_data = len(given) > 1 and not saved and not is_run(given[-1])
        return (list(given[:-1]), given[-1]) if last_is_data else (list(given), None)
    if len(given) > 2 or (len(given) == 2 and is_run(given[1])):
        raise wrong_usage(f"{len(given)} models; add --ensemble or --soup to set them side by side")
    return [given[0]], given[1] if len(given) == 2 else None


def _print_comparison(metrics: dict[str, Any]) -> None:
    from casebook.evaluation.comparison import difference_rows, table_rows

    compared = metrics["compared"]
    cells = table_rows(compared)
    print(f"{compared[0]['n']} pictures")
    print(
        table(cells, right=tuple(place for place, name in enumerate(cells[0]) if name not in ("network", "protocol")))
    )
    differences = difference_rows(compared)
    if len(differences) > 1:
        print()
        print(table(differences, right=tuple(range(2, len(differences[0]) - 1))))
