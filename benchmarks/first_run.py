"""Where the time of a first run goes: `casebook train PHOTOS --transfer head` with an empty cache.

    python benchmarks/first_run.py PHOTOS WEIGHTS [--before CHECKOUT] [--rounds 3] [--clock]

Each run is a process of its own with one thread. Processor seconds, those of worker processes included, are given to
the phase whose progress event comes next. With --before, an earlier checkout runs in turns with this one. With --clock,
the command itself runs with all cores, and what counts is how long a user waits: for a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from interleave import command_line, table

PHASES = ("imports", "scan", "features", "head", "test pictures", "validation pictures, for the evidence", "report",
          "everything else")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", action="store_true", help="seconds on the clock with all cores")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.photos, options.weights, Path(options.child))
        return
    arms = {"before": options.before} if options.before else {}
    arms["now"] = Path(__file__).parents[1]
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for _ in range(options.rounds):
        for arm, checkout in arms.items():
            found[arm].append(waited(checkout, options) if options.clock else run(checkout, options))
            print(arm, json.dumps(found[arm][-1]), file=sys.stderr, flush=True)
    phases = () if options.clock else PHASES
    rows = [(phase, *(cell([one[phase] for one in found[arm]]) for arm in arms)) for phase in phases]
    rows.append(("all", *(cell([sum(one.values()) for one in found[arm]]) for arm in arms)))
    print(table(("seconds" if options.clock else "processor seconds", *arms), rows))
    print(f"\n{command_line()}")


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def run(checkout: Path, options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout / "src"), "CASEBOOK_CACHE": str(Path(folder) / "cache"),
        }  # fmt: skip
        command = [sys.executable, __file__, str(options.photos), str(options.weights), "--child", folder]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(answer.stderr[-3000:])
    return json.loads(answer.stdout.splitlines()[-1])


def waited(checkout: Path, options: argparse.Namespace) -> dict[str, float]:
    """The seconds from the start of the command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "CASEBOOK_CACHE": str(Path(folder) / "cache")}
        environment.pop("OMP_NUM_THREADS", None)
        command = [
            sys.executable, "-m", "casebook", "train", str(options.photos), "--model", "mobilenet_v2", "--weights",
            str(options.weights), "--transfer", "head", "--out", str(Path(folder) / "run"),
        ]  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return {"all": round(time.perf_counter() - began, 2)}


def processor_seconds() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def child(photos: Path, weights: Path, folder: Path) -> None:
    import casebook
    from casebook import progress

    spent: dict[str, float] = dict.fromkeys(PHASES, 0.0)
    last, scoring, tests_done = 0.0, False, False

    def charge(phase: str) -> None:
        nonlocal last
        now = processor_seconds()
        spent[phase] += now - last
        last = now

    def hear(event: Any) -> None:
        nonlocal scoring, tests_done
        scoring |= isinstance(event, progress.ScoringStarted)
        if isinstance(event, progress.Advanced):
            asked = PHASES[5 if tests_done else 4]  # of a head, by features, where it was trained on them
            named = {"scan": "scan", "features": asked if scoring else "features", "evaluate": asked}
            charge(named.get(event.task, "everything else"))
            tests_done |= scoring and event.done == event.total
        elif isinstance(event, progress.StepEnded | progress.EpochEnded):
            charge("head")
        else:
            charge("everything else")

    casebook.train  # noqa: B018  loaded lazily
    charge("imports")
    casebook.train(
        str(photos), model="mobilenet_v2", weights=str(weights), transfer="head", threads=1, out=folder / "run",
        progress=hear,
    )  # fmt: skip
    charge("report")
    print(json.dumps({phase: round(seconds, 2) for phase, seconds in spent.items()}))


if __name__ == "__main__":
    main()
