"""casebook evaluate"""

import shlex
from collections.abc import Sequence
from typing import Any

import typer

from ..progress import TerminalDisplay
from ..tables import TextColumn
from .output import WIDE, accuracy_lines, next_step, print_json, print_table, say, skipped_lines, wrong_usage
from .sources import COLUMNS, LABEL_FROM, ROOT, SUFFIX, read_source


def evaluate(
    models: list[str] = typer.Argument(
        ...,
        metavar="MODEL [DATA]",
        help="Run folder, the name of a network (then with --weights), or saved predictions; several are compared on "
        "the same pictures. Last the data: folder, CSV file or built-in name; default: the run's own locked test set.",
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
    unsure: float = typer.Option(
        None, "--unsure", metavar="SHARE",
        help="How many pictures a run answers if at most this share of its answers may be wrong, such as 0.01 for 1 %.",
    ),
    shift: bool = typer.Option(
        False, "--shift",
        help="Also on changed copies: JPEG, blur, noise, brightness, contrast, rotation, scale, occlusion; minutes.",
    ),
    save: str = typer.Option(
        None, "--save", metavar="FILE", help="Save path, label and probabilities to a .csv or .parquet file."
    ),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write a report or the comparison as one HTML file."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    precision: str = typer.Option("fp32", help="fp32, bf16 or auto."),
    batch_size: int = typer.Option(0, "--batch-size", "-b", min=0, help="Pictures at a time; 0 chooses."),
    workers: int = typer.Option(-1, min=-1, help="Threads that read pictures; -1: one for each core."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:  # fmt: skip
    """Score a run, or a network with given weights, on labelled pictures; or several, or several ways, side by side."""
    import casebook
    from casebook.evaluation.saved import check_suffix, is_saved, save_predictions

    members, pictures = models_and_data(models, data)
    combine = [*(["ensemble"] if ensemble and not fit_weights else []), *(["soup"] if soup else [])]
    combine += ["fitted ensemble"] if fit_weights else []
    if fit_weights and not ensemble:
        raise wrong_usage("--fit-weights weighs the runs of an ensemble; add --ensemble")
    if len(members) > 1 and (weights or classes):
        raise wrong_usage("--weights and --classes go with one network; several are compared as run folders")
    if shift and (protocol or combine or len(members) > 1):
        raise wrong_usage("--shift goes with one run, shown as it was trained; leave out --protocol and the others")
    if shift and is_saved(members[0]):
        raise wrong_usage(f"--shift needs the network itself, and {members[0]} holds its predictions; name the run")
    if save:
        check_suffix(save)
    several = [not is_saved(member) and _gives_many_labels(member) for member in members]
    if any(several):
        if not all(several):
            raise wrong_usage("some of these give several labels a picture, others one; compare runs of one kind")
        if protocol or combine or shift or save or unsure is not None or weights or classes:
            raise wrong_usage(
                "runs with several labels a picture are scored as they were trained; leave out --protocol, --ensemble, "
                "--soup, --shift, --save, --unsure, --weights and --classes"
            )
        listed = read_source(pictures, True, label_from=label_from, root=root, suffix=suffix, columns=columns)
        networks = [casebook.load(one, device=device, precision=precision, many_labels=True) for one in members]
        score: Any = casebook.score_many_labels if len(networks) == 1 else casebook.compare_many_labels
        with TerminalDisplay() as display:
            labels = score(
                networks[0] if len(networks) == 1 else networks, listed, split=split,
                asking=casebook.Asking(batch_size, workers), progress=display,
            )  # fmt: skip
        if html:
            labels.write_html(html)
            say(f"page: {html}")
        _print_labels(labels.document, json_, wide)
        return
    source = read_source(pictures, label_from=label_from, root=root, suffix=suffix, columns=columns)
    with TerminalDisplay() as display:
        loaded = [
            member if is_saved(member) else casebook.load(
                member, weights=weights, classes=classes, device=device, precision=precision
            )
            for member in members
        ]  # fmt: skip
        asking = casebook.Asking(batch_size, workers)
        if shift:
            evaluation = casebook.evaluate_shift(
                loaded[0], source, split=split, unsure=unsure, asking=asking, progress=display
            )
        else:
            evaluation = casebook.evaluate(
                loaded, source, protocol=protocol or None, combine=combine, split=split, unsure=unsure, asking=asking,
                progress=display,
            )  # fmt: skip
    metrics = evaluation.document
    if save:
        save_predictions(save, evaluation.predictions)
        say(f"predictions: {save}")
    if html:
        evaluation.write_html(html)
        say(f"page: {html}")
    if json_:
        print_json(metrics)
        return
    for note in metrics["notes"]:
        say(f"note: {note}")
    for line in skipped_lines(metrics["skipped"]):
        say(line)
    if "compared" in metrics:
        _print_comparison(metrics, wide)
        return
    print("\n".join(accuracy_lines(metrics)))
    ece, log_loss, macro_f1 = (metrics[name] for name in ("ece", "log_loss", "macro_f1"))
    _print_seen(metrics)
    print(f"calibration error {ece:.4f}, log loss {log_loss:.4f}, macro F1 {macro_f1:.4f}")
    print_unsure(metrics)
    if shift:
        print_shift(metrics["shift"], wide)
    given = shlex.join([*models, *(["--data", data] if data else [])])
    if not html:
        next_step(f"casebook evaluate {given} --html page.html", "shows the mistakes with their pictures")


def _gives_many_labels(model: str) -> bool:
    from pathlib import Path

    from casebook.runner.bundle import Bundle, is_bundle
    from casebook.training.run import Run

    if is_bundle(model):
        return Bundle.open(model).task == "multilabel"
    return (Path(model) / "model.json").is_file() and Run(Path(model)).task == "multilabel"


LABELS = (
    TextColumn("class"),
    TextColumn("pictures", right=True),
    TextColumn("average precision", right=True),
    TextColumn("F1", right=True),
    TextColumn("threshold", right=True),
)


def _print_labels(metrics: dict[str, Any], json_: bool, wide: bool) -> None:
    if json_:
        print_json(metrics)
        return
    for note in metrics["notes"]:
        say(f"note: {note}")
    for line in skipped_lines(metrics["skipped"]):
        say(line)
    if "compared" in metrics:
        _print_label_comparison(metrics["compared"], wide)
        return
    print("\n".join(accuracy_lines(metrics)))
    rows = [
        [one["class"], str(one["n"]), _with_ends(one, "average_precision"), _with_ends(one, "f1"),
         f"{one['threshold']:.3f}"]
        for one in metrics["per_class"]
    ]  # fmt: skip
    print_table(LABELS, rows)


LABEL_FIGURES = (("mAP", "map"), ("every label right", "subset_accuracy"), ("macro F1", "macro_f1"))
LABEL_DIFFERENCES = (
    TextColumn("figure"),
    TextColumn("of", fold=16),
    TextColumn("less that of", fold=16),
    *(TextColumn(name, right=True) for name in ("points", "95 % interval", "p")),
    TextColumn("verdict"),
)


def _print_label_comparison(compared: Sequence[dict[str, Any]], wide: bool) -> None:
    print(f"{compared[0]['n']} pictures, {compared[0]['complete']} of them with every label known")
    figures = (TextColumn("network", fold=16), *(TextColumn(title, right=True) for title, _ in LABEL_FIGURES))
    print_table(figures, [[row["name"], *(_with_ends(row, one) for _, one in LABEL_FIGURES)] for row in compared])
    rows = []
    for name, other in ((row["name"], other) for row in compared for other in row["against"]):
        for title, figure in LABEL_FIGURES[:2]:
            found = other[figure]
            if found is None:
                rows.append([title, name, other["name"], "", "", "", "unknown"])
                continue
            low, high = (f"{100 * end:+.2f}" for end in found["interval"])
            p = f"{found['p_value']:.2g}" if "p_value" in found else ""
            difference = f"{100 * found['difference']:+.2f}"
            rows.append([title, name, other["name"], difference, f"{low} to {high}", p, found["verdict"]])
    print()
    print_table(LABEL_DIFFERENCES, rows, wide=wide)


def _with_ends(record: dict[str, Any], name: str) -> str:
    if record[name] is None:
        return ""
    low, high = record[f"{name}_interval"]
    return f"{100 * record[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def print_unsure(metrics: dict[str, Any]) -> None:
    """How many pictures the judge answers, and how many of these wrongly."""
    from casebook.formatting import percent_text, share_text

    found = metrics.get("unsure")
    if not found:
        return
    low, high = (percent_text(end) for end in found["answered_interval"])
    print(
        f"at most {share_text(found['most_wrong'])} wrong answers: {found['answered']} of {found['n']} answered "
        f"({percent_text(found['answered_share'])}, 95 % interval {low} to {high}), {found['wrong']} of these wrong; "
        f"unsure: {found['close']} between classes, {found['unlike']} unlike the training pictures"
    )
    sets = found["sets"]
    low, high = (percent_text(end) for end in sets["spread"])
    print(
        f"sets for {share_text(sets['coverage'])}: {percent_text(sets['covered'])} hold the true class, with "
        f"{sets['mean_size']:.2f} classes on average; by {sets['num_validation']} validation pictures, {low} to {high} "
        "of new ones with probability 90 %"
    )


SHIFTS = (
    TextColumn("change"),
    *(TextColumn(str(level), right=True) for level in range(1, 6)),
    TextColumn("mean", right=True),
)  # fmt: skip


def print_shift(found: dict[str, Any], wide: bool) -> None:
    """The accuracy of each change at its five strengths."""
    from casebook.formatting import percent_text

    low, high = (percent_text(end) for end in found["mean_accuracy_interval"])
    print(f"\nchanged copies of {found['n']} pictures, accuracy in % at five strengths ({found['seconds']:.0f} s):")
    for note in found["notes"]:
        say(f"note: {note}")
    rows = [
        [
            one["name"],
            *(f"{100 * share:.1f}" for share in (*(v["accuracy"] for v in one["levels"]), one["mean_accuracy"])),
        ]
        for one in found["corruptions"]
    ]
    print_table(SHIFTS, rows, wide=wide)
    turned = ", ".join(f"{one['name']} {percent_text(one['accuracy'])}" for one in found["views"])
    print(f"{turned}; as they are {percent_text(found['clean']['accuracy'])}")
    print(f"mean over all changes {percent_text(found['mean_accuracy'])} ({low} to {high})")
    if worst := found["fragile_class"]:
        print(
            f"most fragile class: {worst['class']}, {percent_text(worst['clean_accuracy'])} as they are, "
            f"{percent_text(worst['mean_accuracy'])} changed ({worst['n']} pictures)"
        )
    if found["most_wrong"] is not None:
        levels = [level for one in found["corruptions"] for level in one["levels"]]
        unsure = sum(level["unsure"] for level in levels) / len(levels)
        wrong = max(level["wrong_answers"] or 0.0 for level in levels)
        clean = percent_text(found["clean"]["unsure"])
        print(
            f"unsure about {clean} of the pictures as they are and {percent_text(unsure)} of the copies; at the worst "
            f"change {percent_text(wrong)} of the answers are wrong"
        )


def models_and_data(given: Sequence[str], data: str | None) -> tuple[list[str], str | None]:
    """The models and the data among the arguments: the last of several is the data unless it can be a model."""
    from pathlib import Path

    from casebook.evaluation.saved import is_saved

    if data is not None or len(given) == 1 or is_saved(given[0]) or (Path(given[-1]) / "model.json").is_file():
        return list(given), data
    return list(given[:-1]), given[-1]


def _print_seen(metrics: dict[str, Any]) -> None:
    """The figure on all pictures, where the run has learnt from some of them."""
    if seen := metrics.get("seen"):
        print(f"with the {seen['pictures']} pictures it has learnt from: {accuracy_lines(seen['all'])[0]}")


# Columns of a comparison that hold text, and those that a narrow terminal leaves out, the highest first.
TEXT = ("network", "protocol", "error of", "less that of", "top-1 verdict")
RANKS = {"views": 1, "top-5 error": 3, "top-5, points": 3, "p": 2, "multiply-adds": 2}
FOLDS = {"network": 16, "protocol": 16, "error of": 16, "less that of": 16}


def _comparison_columns(names: Sequence[str]) -> list[TextColumn]:
    """An interval, and the p value of top-5, go with the error before them."""
    columns, error = [], ""
    for name in names:
        error = name if name.startswith("top-") else error
        of_error = name in ("95 % interval", "p") and error.startswith("top-5")
        rank = RANKS["top-5 error"] if of_error else RANKS.get(name, 0)
        columns.append(TextColumn(name, right=name not in TEXT, rank=rank, fold=FOLDS.get(name)))
    return columns


def _print_comparison(metrics: dict[str, Any], wide: bool) -> None:
    from casebook.evaluation.comparison import difference_rows, table_rows

    compared = metrics["compared"]
    print(f"{compared[0]['n']} pictures")
    for number, (names, *rows) in enumerate((table_rows(compared), difference_rows(compared))):
        if rows:
            print("\n" * number, end="")
            print_table(_comparison_columns(names), rows, wide=wide)
