"""casebook study"""

import typer

from ..tables import TextColumn
from .output import WIDE, print_json, print_table, say, wrong_usage


def study(
    names: list[str] = typer.Argument(None, metavar="[NAME...]", help="Studies; without a name all are listed."),
    all_: bool = typer.Option(False, "--all", help="All studies, and one book of them."),
    quick: bool = typer.Option(False, "--quick", help="Minutes, on small data (the default)."),
    full: bool = typer.Option(False, "--full", help="The paper's own set-up: hours, on a GPU; resumable."),
    data: str = typer.Option(None, "--data", help="Folder, CSV file or data set; default: the study's own."),
    seeds: str = typer.Option(
        "3", "--seeds", help="How many times each arm is trained, or with which seeds: 10,11,12 or 10,."
    ),
    out: str = typer.Option(None, "--out", "-o", help="Folder for results and networks; default runs/studies."),
    model: str = typer.Option("", "--model", "-m", help="A trained network to start from, for the studies that do."),
    weights: str = typer.Option("", "--weights", "-w", help="Its weights: file, run folder or published name."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Repeat the experiment behind a claim: equal terms for both sides, paired seeds, verdicts with intervals."""
    if quick and full:
        raise wrong_usage("--quick and --full exclude each other")
    if all_ and names:
        raise wrong_usage(f"--all runs every study, so it goes without {' '.join(names)}")
    if bool(model) != bool(weights):
        raise wrong_usage("--model and --weights go together: the name of a network, and weights for it")
    if not all_ and not names:
        _list(json_, wide)
        return

    chosen = _seeds(seeds)

    import os
    import shlex
    import sys

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it loads; see device.py

    import casebook
    from casebook.errors import Interrupted
    from casebook.progress import Event, Remark
    from casebook.reports.studies import verdict_lines
    from casebook.studies import STUDIES

    def report(event: Event) -> None:
        if isinstance(event, Remark):
            say(event.text)

    try:
        results = casebook.study(
            STUDIES if all_ else names, mode="full" if full else "quick", data=data, seeds=chosen, out=out,
            pretrained=(model, weights) if model else None, device=device, progress=report,
        )  # fmt: skip
    except (Interrupted, KeyboardInterrupt) as stop:
        say(f"Interrupted; 'casebook {shlex.join(sys.argv[1:])}' resumes from the last checkpoint.")
        raise typer.Exit(130) from stop
    folder = out or "runs/studies"
    if json_:
        print_json({"folder": folder, "studies": [_without_drawings(result) for result in results]})
        return
    for result in results:
        print(f"{result['study']} ({result['seconds']:.0f} s)")
        print(f"  {result['caveat']}")
        for line in verdict_lines(result):
            print(f"  {line}")
    print(f"{'book' if len(results) > 1 else 'report'}: in {folder}")
    print(_next(results, folder))


def _next(results: list[dict], folder: str) -> str:
    """One line: what to do now."""
    first = results[0]
    if len(results) > 1:
        return f"Next: open {folder}/book.html"
    if first["arms"] and len(first["seeds"]) == 1:
        return f"Next: casebook study {first['study']} --seeds 3 --out OTHER, for verdicts"
    if first["arms"] and first["mode"] == "quick":
        return f"Next: casebook study {first['study']} --data PHOTOS, to see whether it holds on your pictures"
    return "Next: casebook study, for the other studies"


def _seeds(given: str) -> int | tuple[int, ...]:
    """A number of seeds, or with commas the seeds themselves."""
    parts = [part.strip() for part in given.removesuffix(",").split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise wrong_usage(f"--seeds takes a number, or seeds separated by commas; got {given!r}")
    return tuple(map(int, parts)) if "," in given else int(parts[0])


def _list(json_: bool, wide: bool) -> None:
    from casebook.studies import STUDIES
    from casebook.studies.experiment import find_study

    studies = [find_study(name) for name in STUDIES]
    if json_:
        print_json({"studies": [{"study": s.name, "title": s.title, "question": s.question} for s in studies]})
        return
    columns = (TextColumn("study"), TextColumn("question", fold=30))
    print_table(columns, [[study.name, study.question] for study in studies], wide=wide)
    print("Next: casebook study degradation (minutes), or --all for one book of all")


def _without_drawings(result: dict) -> dict:
    """The drawings are in the report; a program wants the figures."""
    summary = result["summary"] and result["summary"]["title"]
    return result | {"summary": summary, "pictures": [picture["title"] for picture in result["pictures"]]}
