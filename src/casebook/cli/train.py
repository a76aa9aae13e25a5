"""casebook train"""

import os
import shlex
from pathlib import Path
from typing import Any

import typer

from ..formatting import size_text
from ..progress import TerminalDisplay
from .evaluate import print_unsure
from .output import accuracy_lines, next_step, print_json, say, skipped_lines, wrong_usage
from .sources import CLASS_LIST, COLUMNS, LABEL_FROM, ROOT, SUFFIX


def train(
    data: str = typer.Argument(
        "", help="Folder of class folders, CSV file (path,label), or digits, cifar10, mnist, fashion_mnist."
    ),
    model: str = typer.Option(None, "--model", "-m", help="Network; 'casebook models' lists all."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights to start from: file, run folder or published name."
    ),
    transfer: str = typer.Option(None, help="What learns with given weights: head, last:K, full, none or auto."),
    two_phase: bool = typer.Option(None, "--two-phase", help="First the head on frozen features, then fine-tune."),
    time_budget: str = typer.Option(
        None, "--time-budget", help="Time that training may take with --transfer auto, such as 10m (default) or 1h."
    ),
    recipe: str = typer.Option(None, "--recipe", "-r", help="TOML file or named recipe; 'casebook recipes' lists all."),
    out: str = typer.Option(None, "--out", "-o", help="Run folder; default runs/DATA-MODEL-N."),
    resume: str = typer.Option(
        None,
        "--resume",
        help="Continue this run. DATA may say where the data lies now, --epochs how many are wanted in all.",
    ),
    epochs: int = typer.Option(None, "--epochs", "-e", help="Times through the training pictures."),
    batch_size: int = typer.Option(None, "--batch-size", "-b", help="Pictures a step; 0 finds one for this machine."),
    learning_rate: float = typer.Option(None, "--learning-rate", "--lr", help="Largest learning rate, the head's."),
    optimiser: str = typer.Option(None, help="sgd or adamw."),
    schedule: str = typer.Option(None, help="cosine, step, one-cycle or constant."),
    input_size: int = typer.Option(None, "--input-size", help="Side of the network's input in pixels."),
    resize: str = typer.Option(
        None, "--resize", help="shorter (crop the centre), letterbox (pad to a square), squash, or auto."
    ),
    policy: str = typer.Option(None, help="Augmentation policy; 'casebook augment' lists all."),
    class_weights: str = typer.Option(
        None,
        help="balanced for classes of very different sizes, head for a head on frozen features alone, none or auto.",
    ),
    seed: int = typer.Option(None, help="Splits, weights, order and augmentation all follow from it."),
    val_fraction: float = typer.Option(None, help="Share of an unsplit data set for validation (0.15)."),
    test_fraction: float = typer.Option(None, help="Share of an unsplit data set locked away for the test (0.15)."),
    group_by: str = typer.Option(None, help="CSV column, or pattern over file names, of pictures that stay together."),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    device: str = typer.Option(None, help="auto, cpu, cuda, cuda:1 or mps."),
    precision: str = typer.Option(None, help="auto, fp32 or bf16."),
    workers: int = typer.Option(None, help="Processes that read pictures; -1 chooses."),
    compile_: bool = typer.Option(None, "--compile", help="Compile the network with torch.compile."),
    tensorboard: bool = typer.Option(None, "--tensorboard", help="Also write TensorBoard events."),
    strict: bool = typer.Option(None, "--strict", help="Stop at a picture that cannot be read."),
    settings: list[str] = typer.Option(
        None, "--set", help="Any other setting of the recipe, as NAME=VALUE, network.OPTION=VALUE or augment.LAW=VALUE."
    ),
    explain_choice: bool = typer.Option(
        False, "--explain-choice", help="Say what --transfer auto tried, with figures and reasons."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Train a classifier and score it on its locked test set."""
    given: dict[str, Any] = {
        "data": data or None, "model": model, "weights": weights, "transfer": transfer, "two_phase": two_phase,
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimiser": optimiser,
        "schedule": schedule, "input_size": input_size,
        "resize": resize, "policy": policy, "class_weights": class_weights, "seed": seed,
        "val_fraction": val_fraction, "test_fraction": test_fraction, "group_by": group_by, "label_from": label_from,
        "list_root": root, "list_suffix": suffix, "list_columns": columns, "class_list": classes,
        "device": device, "precision": precision, "workers": workers, "compile": compile_, "tensorboard": tensorboard,
        "strict": strict, "time_budget_minutes": None if time_budget is None else minutes(time_budget),
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None} | parsed_settings(settings or [])
    if resume and (others := [name for name, value in (("recipe", recipe), ("out", out)) if value]):
        raise wrong_usage(f"--resume continues a run with its own recipe and folder; leave out --{others[0]}")
    if not resume and not data and not recipe:
        raise wrong_usage("casebook train needs DATA: a folder, a CSV file or a built-in name such as digits")

    import casebook
    from casebook.errors import Interrupted

    display = TerminalDisplay()
    try:
        with display:
            run = casebook.train(recipe=recipe, out=out, resume=resume, progress=display, **changes)
    except (Interrupted, KeyboardInterrupt) as stop:
        say(_how_to_go_on(display.run))
        raise typer.Exit(130) from stop
    if int(os.environ.get("RANK", "0")):
        return
    document = run.evaluation
    if json_:
        print_json(document)
        return
    for line in skipped_lines(document["skipped"]):
        say(line)
    for line in accuracy_lines(document["test"]):
        print(f"test: {line}")
    print_unsure(document)
    if explain_choice:
        _explain(run.choice, document["total_seconds"])
    peak_bytes = document.get("peak_memory_bytes")
    memory = f"  memory: {size_text(peak_bytes)}" if peak_bytes else ""
    print(f"run: {run.path}  report: {run.path / 'report.html'}  time: {document['total_seconds']:.0f} s{memory}")
    next_step(f"casebook predict {shlex.quote(str(run.path))} PICTURES", "classifies new pictures")


def _explain(choice: dict[str, Any], seconds: float) -> None:
    """Prints why a training learned what it learned."""
    names = ("networks", "head", "inputs", "expected_seconds")
    networks, head, inputs, expected = (choice.get(name) for name in names)
    print(f"plan: {choice['plan'] or choice['reason']}")
    for trial in inputs or []:
        losses = ", ".join(f"{loss:.3f} with {value}" for value, loss in trial["losses"].items())
        print(f"tried {trial['setting']}, with heads on {trial['num_pictures']} training pictures, in folds: log loss "
              f"{losses}; taken is {trial['taken']}")  # fmt: skip
    if head:
        losses = ", ".join(f"{loss:.3f} at {penalty}" for penalty, loss in head["losses"].items())
        print(f"tried heads on {head['num_pictures']} training pictures, in folds: log loss {losses}; taken is "
              f"{head['penalty']:g}, {head['top1']:.1%} right, macro recall {head['macro_recall']:.1%}")  # fmt: skip
    for one in [*choice["tried"], *(networks or [])]:
        kept = "kept" if one["kept"] else "not kept"
        print(f"tried {one.get('strategy') or one['model']}: {one['val_top1']:.1%} of the validation pictures right, "
              f"log loss {one['val_loss']:.3f}, {kept}")  # fmt: skip
    if choice["tried"]:
        print(f"choice: {choice['reason']}")
    print(f"training took {seconds:.0f} s" + (f", {expected:.0f} s were expected for the network" if expected else ""))


def _how_to_go_on(run: str | None) -> str:
    if run is not None and (Path(run) / "last.ckpt").is_file():
        return f"Interrupted; 'casebook train --resume {shlex.quote(run)}' goes on from the last checkpoint."
    return "Interrupted before the first checkpoint; start the training again."


def minutes(text: str) -> float:
    """A time such as 90s, 10m, 1.5h or 10 (minutes) in minutes."""
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise wrong_usage(f"--time-budget is {text!r}, expected a time above 0 such as 90s, 10m or 1h")
    return value


def parsed_settings(settings: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs, or network.NAME=VALUE for the network's options and augment.NAME=VALUE for laws; a value is
    TOML where it reads as TOML, else text."""
    import tomllib

    parsed: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name:
            raise wrong_usage(f"--set takes NAME=VALUE, but {setting!r} came")
        group, dot, name = name.strip().rpartition(".")
        place = parsed.setdefault(group, {}) if dot else parsed
        try:
            place[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            place[name] = value.strip()
    return parsed
