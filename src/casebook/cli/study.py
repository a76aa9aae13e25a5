"""casebook study"""

import typer

from .output import print_json, say, table, wrong_usage


def study(
    names: list[str] = typer.Argument(None, metavar="[NAME...]", help="Studies; without a name all are listed."),
    all_: bool = typer.Option(False, "--all", help="All studies, and one book of them."),
    quick: bool = typer.Option(False, "--quick", help="Minutes, on small data (the default)."),
    full: bool = typer.Option(False, "--full", help="The paper's own set-up: hours, on a GPU; resumable."),
    data: str = typer.Option(None, "--data", help="Folder, CSV file or data set; else the study's own."),
    seeds: str = typer.Option(
        "3", "--seeds", help="How many trainings of each arm, paired by their seed, or which seeds: 10,11,12 or 10,."
    ),
    out: str = typer.Option(None, "--out", "-o", help="Folder for results, reports and networks; else runs/studies."),
    model: str = typer.Option("", "--model", "-m", help="Network of studies that start from a trained one."),
    weights: str = typer.Option("", "--weights", "-w", help="Its weights: file, run folder or published name."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Repeat the experiment behind a claim: equal terms for both sides, paired seeds, verdicts with intervals."""
    if quick and full:
        raise wrong_usage("--quick and --full exclude each other")
    if all_ and names:
        raise wrong_usage(f"--all runs every study, so it goes without {' '.join(names)}")
    if not all_ and not names:
        _list(json_)
        return

    chosen = _seeds(seeds)

    import shlex
    import sys

    import casebook
    from casebook.errors import Interrupted
    from casebook.reports.studies import verdict_lines
    from casebook.studies import STUDIES

    try:
        results = casebook.study(
            STUDIES if all_ else names, mode="full" if full else "quick", data=data, seeds=chosen, out=out,
            model=model, weights=weights, device=device, say=say,
        )  # fmt: skip
    except (Interrupted, KeyboardInterrupt) as stop:
        say(f"Interrupted; 'casebook {shlex.join(sys.argv[1:])}' goes on from the last checkpoint.")
        raise typer.Exit(130) from stop
    folder = out or "runs/studies"
    if json_:
        print_json({"folder": folder, "studies": [_without_drawings(result) for result in results]})
        return
    for result in results:
        print(f"{result['study']} ({result['seconds']:.0f} s)")
        for line in verdict_lines(result):
            print(f"  {line}")
    print(f"{'book' if len(results) > 1 else 'report'}: in {folder}")


def _seeds(given: str) -> int | tuple[int, ...]:
    """A number of seeds, or with commas the seeds themselves."""
    parts = [part.strip() for part in given.removesuffix(",").split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise wrong_usage(f"--seeds takes a number, or seeds with commas between them, but {given!r} came")
    return tuple(map(int, parts)) if "," in given else int(parts[0])


def _list(json_: bool) -> None:
    from casebook.studies import STUDIES
    from casebook.studies.experiment import find_study

    studies = [find_study(name) for name in STUDIES]
    if json_:
        print_json({"studies": [{"study": s.name, "title": s.title, "question": s.question} for s in studies]})
        return
    print(table([["study", "question"], *([s.name, s.question] for s in studies)]))


def _without_drawings(result: dict) -> dict:
    """The pictures lie in the report; a program wants the figures."""
    return result | {"pictures": [picture["title"] for picture in result["pictures"]]}
