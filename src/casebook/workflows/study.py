"""Studies by name -> a folder for each with its result, its report and its trained networks, and a book of all."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import casebook

from ..device import choose_device, tune_allocator
from ..errors import CasebookError, DataError, DivergedError, RecipeError, RunError
from ..files import write_atomically, write_json
from ..reports.studies import book, markdown_table, study_page
from ..studies import STUDIES
from ..studies.experiment import FORMAT, Lab, Mode, Study, find_study, run_study


def study(
    names: str | Iterable[str] = STUDIES,
    *,
    mode: Mode = "quick",
    data: str | Path | None = None,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    model: str = "",
    weights: str | Path = "",
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Runs studies and gives their results, in order.

    Each study has the folder `out`/NAME-MODE-DATA with `result.json`, `report.html` and its trained networks in `runs`;
    with several studies `out` also gets `book.html` and `verdicts.md`. One that is finished there is read, one that was
    interrupted goes on; of several, one that cannot use the data, or get on without a network that diverged, is left
    out. `seeds` is how many (0, 1, ...) or which. `model` and `weights` are for the studies that start from a trained
    network.

    Raises RecipeError for an unknown study, mode or number of seeds, and what the training of an arm raises.
    """
    chosen = [find_study(name) for name in ([names] if isinstance(names, str) else names)]
    if mode not in ("quick", "full"):
        raise RecipeError(f"mode is {mode!r}, expected quick or full")
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise RecipeError(f"seeds are {seeds!r}, expected a number of at least 1, or different numbers from 0")
    if bool(model) != bool(weights):
        raise RecipeError("model and weights go together: the name of a network, and weights for it")
    tune_allocator()
    found_device = choose_device(device)
    folder = Path(out) if out is not None else Path("runs") / "studies"
    results: list[dict[str, Any]] = []
    refused: list[CasebookError] = []
    for one in chosen:
        given = "" if data is None or not (one.quick_data or one.full_data) else str(data)
        lab = Lab(
            one, mode, data=given, seeds=numbers, folder=folder / _folder_name(one, mode, given), device=found_device,
            model=model, weights=str(weights), say=lambda line, name=one.name: say(f"{name}: {line}"),
        )  # fmt: skip
        try:
            results.append(_finished(lab) or _run(lab))
        except (DataError, DivergedError) as error:
            if len(chosen) == 1:
                raise
            refused.append(error)
            lab.say(f"left out: {error}")
            continue
        write_atomically(lab.folder / "report.html", study_page(results[-1]).encode("utf-8", "replace"))
        if len(chosen) > 1:
            write_atomically(folder / "book.html", book(results).encode("utf-8", "replace"))
            write_atomically(folder / "verdicts.md", markdown_table(results))
    if not results:
        raise refused[0]
    return results


def _folder_name(one: Study, mode: Mode, data: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(data).stem).strip("-.")[:60]
    return f"{one.name}-{mode}" + (f"-{plain}" if plain else "")


def _settings(lab: Lab) -> dict[str, Any]:
    """What a result belongs to."""
    return {
        "format": FORMAT, "study": lab.study.name, "mode": lab.mode, "data": lab.data, "seeds": list(lab.seeds),
        "model": lab.model, "weights": lab.weights, "casebook": casebook.__version__,
    }  # fmt: skip


def _finished(lab: Lab) -> dict[str, Any] | None:
    """The result that lies in the folder, if it is whole and of this very study."""
    path = lab.folder / "result.json"
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        belongs = result["settings"] == _settings(lab)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not the result of a study; remove it, or choose another --out") from error
    if not belongs:
        raise RunError(
            f"{lab.folder}: holds the result of other settings ({result['settings']}); choose another --out, or "
            "remove it first"
        )
    lab.say(f"finished already in {lab.folder}; remove that folder to run it again")
    return result


def _run(lab: Lab) -> dict[str, Any]:
    """Runs the study; the time of earlier attempts that were interrupted counts."""
    clock, began = lab.folder / "seconds.json", time.monotonic()
    earlier = 0.0
    with contextlib.suppress(OSError, ValueError):
        earlier = float(json.loads(clock.read_text()))
    say = lab.say

    def keep_time() -> None:
        with contextlib.suppress(RunError):
            write_json(clock, earlier + time.monotonic() - began)

    def say_and_keep_time(line: str) -> None:  # after each training, so that a killed process loses little of it
        keep_time()
        say(line)

    lab.say = say_and_keep_time
    lab.say(lab.study.question)
    try:
        result = run_study(lab)
    except BaseException:
        keep_time()
        raise
    result["seconds"] = round(result["seconds"] + earlier, 1)
    result = {"settings": _settings(lab), **result}
    write_json(lab.folder / "result.json", result)
    clock.unlink(missing_ok=True)
    return result
