"""Studies by name -> a folder for each with its result, its report and its trained networks, and a book of all."""

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import casebook

from ..device import Stopwatch, choose_device, tune_allocator
from ..errors import CasebookError, DataError, DivergedError, RecipeError, RunError
from ..files import write_atomically, write_json
from ..progress import Event, Remark, Reporter, reporting
from ..reports.studies import book, markdown_table, study_page
from ..studies import STUDIES
from ..studies.experiment import FORMAT, Experiment, Mode, Study, StudySettings, find_study, run_study


def study(
    names: str | Iterable[str] = STUDIES,
    *,
    mode: Mode = "quick",
    data: str | Path | None = None,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    pretrained: tuple[str, str | Path] | None = None,
    device: str = "auto",
    progress: bool | Reporter = False,
) -> list[dict[str, Any]]:
    """Runs studies and returns their results, in order.

    Each study gets the folder `out`/NAME-MODE-DATA with `result.json`, `report.html` and its trained networks in
    `runs`; several studies also get `book.html` and `verdicts.md` in `out`. A finished study is read from its folder,
    an interrupted one resumes. Of several studies, one that cannot use the data, or needs a network that diverged, is
    left out. `seeds` is a number of seeds (0, 1, ...) or the seeds themselves. `pretrained` is a network's name and its
    weights, for the studies that start from a trained network. `progress=True` shows what happens on stderr or below
    a notebook's cell.

    Raises RecipeError for an unknown study, mode or number of seeds, and what training an arm raises.
    """
    chosen = [find_study(name) for name in ([names] if isinstance(names, str) else names)]
    if mode not in ("quick", "full"):
        raise RecipeError(f"mode is {mode!r}, expected quick or full")
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise RecipeError(f"seeds are {seeds!r}, expected a number of at least 1, or different numbers from 0")
    if pretrained is not None and len(pretrained) != 2:
        raise RecipeError(f"pretrained is {pretrained!r}, expected a network's name and its weights")
    tune_allocator()
    found_device = choose_device(device)
    folder = Path(out) if out is not None else Path("runs") / "studies"
    results: list[dict[str, Any]] = []
    refused: list[CasebookError] = []
    with reporting(progress) as report:
        for one in chosen:
            given = "" if data is None or not (one.quick_data or one.full_data) else str(data)
            settings = StudySettings(mode, given, numbers, pretrained and (pretrained[0], str(pretrained[1])))
            experiment = Experiment(
                one, settings, folder=folder / _folder_name(one, settings), device=found_device,
                report=_named(report, one.name),
            )  # fmt: skip
            try:
                results.append(_finished(experiment) or _run(experiment))
            except (DataError, DivergedError) as error:
                if len(chosen) == 1:
                    raise
                refused.append(error)
                experiment.say(f"left out: {error}")
                continue
            write_atomically(experiment.folder / "report.html", study_page(results[-1]).encode("utf-8", "replace"))
            if len(chosen) > 1:
                write_atomically(folder / "book.html", book(results).encode("utf-8", "replace"))
                write_atomically(folder / "verdicts.md", markdown_table(results))
    if not results:
        raise refused[0]
    return results


def _named(report: Reporter, name: str) -> Reporter:
    """Reports what a study says, with its name in front."""
    return lambda event: report(Remark(f"{name}: {event.text}") if isinstance(event, Remark) else event)


def _folder_name(one: Study, settings: StudySettings) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(settings.data).stem).strip("-.")[:60]
    return f"{one.name}-{settings.mode}" + (f"-{plain}" if plain else "")


def _settings(experiment: Experiment) -> dict[str, Any]:
    """What a result belongs to."""
    settings = experiment.settings
    return {
        "format": FORMAT,
        "study": experiment.study.name,
        "mode": settings.mode,
        "data": experiment.data,
        "seeds": list(settings.seeds),
        "pretrained": list(settings.pretrained) if settings.pretrained else None,
        "casebook": casebook.__version__,
    }


def _finished(experiment: Experiment) -> dict[str, Any] | None:
    """The result in the folder, if there is one and it is of this very study."""
    path = experiment.folder / "result.json"
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        found = result["settings"]
        version = found["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not the result of a study; remove it, or choose another --out") from error
    if version != FORMAT:
        raise RunError(
            f"{path} has format {version}, this Casebook reads format {FORMAT}, which judges and words verdicts "
            "differently; remove the file to judge the trained networks beside it again, or choose another --out"
        )
    if found != _settings(experiment):
        raise RunError(
            f"{experiment.folder} holds the result of other settings ({found}); choose another --out, or remove it"
        )
    experiment.say(f"finished already in {experiment.folder}; remove that folder to run it again")
    return result


def _run(experiment: Experiment) -> dict[str, Any]:
    """Runs the study; its time includes earlier attempts that were interrupted."""
    clock, watch = experiment.folder / "seconds.json", Stopwatch()
    earlier = 0.0
    with contextlib.suppress(OSError, ValueError):
        earlier = float(json.loads(clock.read_text()))
    report = experiment.report

    def save_time() -> None:
        with contextlib.suppress(RunError):
            write_json(clock, earlier + watch.seconds)

    def report_and_save_time(event: Event) -> None:  # after each training, so a killed process loses little of it
        save_time()
        report(event)

    experiment.report = report_and_save_time
    experiment.say(experiment.study.question)
    try:
        result = run_study(experiment)
    except BaseException:
        save_time()
        raise
    result["seconds"] = round(result["seconds"] + earlier, 1)
    result = {"settings": _settings(experiment), **result}
    write_json(experiment.folder / "result.json", result)
    clock.unlink(missing_ok=True)
    return result
