"""casebook data check, suspects, prepare, prepared, shard, profile"""

import shlex
from pathlib import Path

import typer

from ..formatting import one_line, size_text
from ..progress import TerminalDisplay
from ..tables import TextColumn
from .output import WIDE, next_step, percent, print_json, print_table, print_text, say, skipped_lines, wrong_usage
from .sources import CLASS_LIST, COLUMNS, LABEL_FROM, ROOT, SUFFIX, flags, read_source

app = typer.Typer(help="Look at a data set before training on it.", no_args_is_help=True)


SUSPECTS_SHOWN = 20
PREPARED_COLUMNS = (
    TextColumn("name"),
    TextColumn("source", rank=1, fold=24),
    TextColumn("side (px)", right=True),
    TextColumn("format"),
    TextColumn("pictures", right=True),
    TextColumn("size", right=True),
)


@app.callback()
def _group() -> None:
    pass


@app.command("check")
def check(
    data: str = typer.Argument(..., help="Folder of class folders, CSV file, or built-in name."),
    group_by: str = typer.Option(
        None, "--group-by", help="Keep pictures together by a CSV column or a pattern over file names."
    ),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    strict: bool = typer.Option(
        False, "--strict", help="Exit with code 1 if copies or groups lie in more than one split."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Check a data set: broken pictures, copies, leaks between splits, balance and sizes."""
    from casebook.data.check import check_data

    layout = {"label_from": label_from, "root": root, "suffix": suffix, "columns": columns, "class_list": classes}
    with TerminalDisplay() as display:
        found = check_data(read_source(data, True, group_by=group_by, **layout) or data, report=display)
    if json_:
        print_json(found.to_dict())
    else:
        print_text(found.text())
    if strict and found.leaks:
        say(f"Error: {found.leaks} leaks between splits, and --strict is set")
        raise typer.Exit(1)


@app.command("suspects")
def suspects(
    data: str = typer.Argument(..., help="Run folder, folder of class folders, CSV file, or built-in name."),
    model: str = typer.Option(None, "--model", help="Network to see the pictures with; default: as train chooses."),
    weights: str = typer.Option(None, "--weights", "-w", help="Its weights: file, run folder or published name."),
    group_by: str = typer.Option(
        None, "--group-by", help="Keep pictures together by a CSV column or a pattern over file names."
    ),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    html: str = typer.Option(None, "--html", metavar="FILE", help="Also write a page with the pictures."),
    apply: str = typer.Option(
        None, "--apply", metavar="LIST.csv", help="Write a list without the suspects, or with new labels; see --how."
    ),
    how: str = typer.Option("leave-out", "--how", help="What --apply does with suspects: leave-out or relabel."),
    top: int = typer.Option(
        None, "--top", min=1, help="Apply to the first N suspects; default: to those more probably wrong than right."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Find labels that are probably wrong: each picture is judged by what the others say."""
    from casebook.workflows.suspects import root_of_list
    from casebook.workflows.suspects import suspects as find_suspects

    layout = {"label_from": label_from, "root": root, "suffix": suffix, "columns": columns, "class_list": classes}
    source = read_source(data, True, group_by=group_by, **layout) or data
    with TerminalDisplay() as display:
        found = find_suspects(source, model=model, weights=weights, device=device, progress=display)
    if html:
        found.write_page(html)
    changed = None if apply is None else found.apply(apply, how, top)  # type: ignore[arg-type]
    if json_:
        print_json(found.to_dict() | {"applied": None if apply is None else {"list": apply, "pictures": changed}})
        return
    count = len(found.suspects)
    of = "labels" if found.source.targets is None else "pictures' labels"
    print(f"{data}: {percent(found.accuracy)} of {found.num_pictures} {of} agree with what the other pictures say")
    fewest, most = found.num_wrong_interval
    print(f"seen with {found.network}; {count} labels are suspect")
    print(f"about {found.num_wrong} labels are wrong by chance (95 % interval {fewest} to {most})")
    print(f"{len(found.probably_wrong)} suspects are more probably wrong than right")
    for suspect in found.suspects[:SUSPECTS_SHOWN]:
        said = f"labelled {suspect.label} ({percent(suspect.probability)})"
        said += f", looks like {suspect.suggested} ({percent(suspect.suggested_probability)})"
        print_text(f"  {suspect.name}: {said}; {'; '.join(suspect.reasons)}")
    if count > SUSPECTS_SHOWN:
        print(f"  ... and {count - SUSPECTS_SHOWN} more (all of them with --json, or with their pictures by --html)")
    for note in found.notes:
        say(f"note: {note}")
    if html:
        print(f"{html}: the pictures")
    if apply:
        print(
            f"{apply}: {changed} of {len(found.suspects)} suspects {'left out' if how == 'leave-out' else 'relabelled'}"
        )
        folder = root_of_list(Path(apply), found.source)
        command = f"casebook train {shlex.quote(apply)}" + (f" --root {shlex.quote(str(folder))}" if folder else "")
        next_step(command, "trains on the corrected list")


@app.command("prepare")
def prepare(
    data: str = typer.Argument(..., help="Folder of class folders, or CSV file."),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    model: str = typer.Option(
        None, "--model", help="Network whose training is prepared for; default: one for 224 pixels."
    ),
    side: int = typer.Option(
        None, "--side", min=1, help="Shorter side of the prepared pictures; default: what training uses by itself."
    ),
    format: str = typer.Option("raw", "--format", help="raw, or jpeg: a tenth of the space, slower, lossy."),
    workers: int = typer.Option(None, "--workers", min=1, help="Threads that decode; default: one for each processor."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how large it would be, and prepare nothing."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Decode and reduce every picture once, so that trainings need not. Goes on where it was interrupted."""
    from casebook.workflows.prepare import prepare_pictures

    if format not in ("raw", "jpeg"):
        raise wrong_usage(f"--format is {format!r}, expected raw or jpeg")
    layout = {"label_from": label_from, "root": root, "suffix": suffix, "columns": columns, "class_list": classes}
    source = read_source(data, **layout) or data
    try:
        with TerminalDisplay() as display:
            done = prepare_pictures(
                source, model=model, side=side, format=format, workers=workers, dry_run=dry_run, report=display
            )
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    if json_:
        print_json(done.to_dict())
        return
    skipped = [{"picture": name, "reason": reason} for name, reason in done.skipped.items()]
    for line in skipped_lines(skipped):
        print(one_line(line))
    size = size_text(done.size_bytes)
    if dry_run:
        there = f", {done.already} are there already" if done.already else ""
        print(one_line(f"{done.pictures} pictures would take {size} in {done.file}{there}"))
    else:
        new = done.complete - done.already
        print(one_line(f"{done.complete} pictures, {new} of them new, in {done.file} ({size}, {done.seconds:.1f} s)"))
    settings = "".join(f" --set {name}={value}" for name, value in done.settings.items())
    print(one_line(f"used by: casebook train {shlex.quote(data)}{flags(**layout)} --model {model or 'NAME'}{settings}"))


@app.command("prepared")
def prepared(
    names: list[str] = typer.Argument(None, help="Prepared pictures to remove, as the listing names them."),
    remove: bool = typer.Option(False, "--remove", help="Remove those named."),
    remove_all: bool = typer.Option(False, "--remove-all", help="Remove all."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List the prepared pictures that lie in the cache folder, or remove them."""
    from casebook.data.prepared import list_prepared, prepared_folder, remove_prepared

    if remove and remove_all:
        raise wrong_usage("--remove and --remove-all contradict each other")
    if bool(names) != remove:
        raise wrong_usage("--remove takes the names of what to remove" if remove else "names are for --remove alone")
    removing = remove or remove_all
    files = remove_prepared(names if remove else None) if removing else list_prepared()
    if json_:
        print_json({"folder": str(prepared_folder()), "removed": removing, "files": [file.to_dict() for file in files]})
        return
    if not files:
        print(one_line(f"no prepared pictures in {prepared_folder()}"))
        return
    rows = []
    for file in files:
        side, format = (str(file.form.side), file.form.format) if file.form else ("damaged", "")
        there = f"{file.complete} of {file.pictures}" if file.complete < file.pictures else str(file.pictures)
        rows.append([file.name, file.source, side, format, there, size_text(file.size_bytes)])
    total = size_text(sum(file.size_bytes for file in files))
    print_table(PREPARED_COLUMNS, rows, wide=wide)
    print(one_line(f"{'removed' if removing else 'in all'} {total}, in {prepared_folder()}"))


@app.command("shard")
def shard(
    data: str = typer.Argument(..., help="Folder of class folders, or CSV file."),
    out: str = typer.Option(..., "--out", "-o", metavar="DIR", help="New folder for the shards and their index."),
    shard_mb: int = typer.Option(256, "--shard-mb", min=1, help="Size of a shard in MB, about."),
    group_by: str = typer.Option(
        None, "--group-by", help="Keep pictures together by a CSV column or a pattern over file names."
    ),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Write a data set as tar files in the WebDataset layout, for a web server or an object store to serve.

    train, evaluate, predict and data check take the folder, or its address (https://, s3://, gs://, hf://), as data.
    """
    from casebook.workflows.shard import shard_pictures

    layout = {"label_from": label_from, "root": root, "suffix": suffix, "columns": columns}
    source = read_source(data, group_by=group_by, **layout) or data
    with TerminalDisplay() as display:
        done = shard_pictures(source, out, shard_mb=shard_mb, report=display)
    if json_:
        print_json(done.to_dict())
        return
    for line in skipped_lines([{"picture": name, "reason": reason} for name, reason in done.skipped.items()]):
        print(one_line(line))
    print(one_line(
        f"{done.pictures} pictures of {done.classes} classes in {done.shards} shards ({size_text(done.size_bytes)}, "
        f"{done.seconds:.1f} s)"
    ))  # fmt: skip
    next_step(f"casebook train {shlex.quote(out)}", "trains from them; so does the address of a copy on a server")


@app.command("profile")
def profile(
    data: str = typer.Argument(..., help="Folder of class folders, CSV file, or built-in name."),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    model: str = typer.Option("mobilenet_v2", "--model", help="Network to measure with."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Measure for some seconds how fast pictures are read and how fast the network takes them, and which limits."""
    from casebook.workflows.profile import profile_data

    layout = {"label_from": label_from, "root": root, "suffix": suffix, "columns": columns, "class_list": classes}
    source = read_source(data, **layout) or data
    with TerminalDisplay() as display:
        found = profile_data(source, model=model, device=device, report=display)
    if json_:
        print_json(found.to_dict())
    else:
        print_text(found.text())
