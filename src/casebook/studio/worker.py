"""`python -m casebook.studio.worker JOBFOLDER`: one attempt at one job, in a process and session of its own.

It outlives the server. What it tells goes to events.jsonl, one numbered line each; how it ended to outcome.json.
"""

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ..device import prepare_environment
from ..errors import CasebookError, Interrupted, RunError
from ..files import write_json
from ..progress import Advanced, Event, StepEnded
from .events import LineLog, to_json
from .processes import started_at
from .projects import Projects
from .settings import StudioSettings
from .tasks import TASKS, Work

RESERVE = "reserve"
RESERVE_BYTES = 128 * 1024
"""Kept so that a full disk still takes the sentence that says so."""
SECONDS = 0.4  # between two events about the same steps
SHARE = 1 / 4000  # of the time so far, where that is more: the events of a long training stay a few thousand


class EventWriter:
    """Reports to a file. Steps that follow each other fast are thinned out; the last of each epoch is kept."""

    def __init__(self, path: Path):
        self._log = LineLog(path)
        with path.open("rb") as file:
            self._line = sum(1 for _ in file)
        self._began, self._last = time.monotonic(), 0.0

    def __call__(self, event: Event) -> None:
        if self._is_passed_over(event):
            return
        self.write(event.to_dict())

    def write(self, event: dict[str, Any]) -> None:
        record = {"line": self._line, "time": round(time.time(), 3), "event": event}
        self._line += 1
        self._log.append(to_json(record).encode())

    def _is_passed_over(self, event: Event) -> bool:
        if isinstance(event, StepEnded):
            is_last = event.batch >= event.batches
        elif isinstance(event, Advanced):
            is_last = event.done >= event.total
        else:
            return False
        now = time.monotonic()
        if not is_last and now - self._last < max(SECONDS, (now - self._began) * SHARE):
            return True
        self._last = now
        return False


def main(folder: Path) -> int:
    """The exit code: 0 done, 1 failed, 130 stopped."""
    folder = folder.resolve()
    job = _read(folder / "job.json")
    attempt = int(_read(folder / "state.json")["attempts"])
    write_json(folder / "worker.json", {"pid": os.getpid(), "started": started_at(os.getpid()), "attempt": attempt})
    _keep_reserve(folder)
    prepare_environment()
    with _stopping():
        try:
            result = _attempt(folder, job, attempt)
            write_json(folder / "result.json", result)
            outcome, message, details, code = "done", "", "", 0
        except (Interrupted, KeyboardInterrupt) as error:
            outcome, message, details, code = "stopped", "stopped on request", str(error), 130
        except CasebookError as error:
            outcome, message, details, code = "failed", str(error), str(error), 1
        except MemoryError:
            message = "the memory of this machine was not enough; close other programs, or ask for smaller batches"
            outcome, details, code = "failed", traceback.format_exc(), 1
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            message = f"{error.strerror or error}{where}; mend that, then resume"
            outcome, details, code = "failed", traceback.format_exc(), 1
        except Exception as error:
            message = f"{type(error).__name__}: {error}; the job's log has the details"
            outcome, details, code = "failed", traceback.format_exc(), 1
    _write_outcome(folder, {"attempt": attempt, "state": outcome, "message": message})
    if details:
        with contextlib.suppress(OSError):  # the log is on the same disk, which may be full
            print(details, file=sys.stderr, flush=True)
    return code


def _attempt(folder: Path, job: dict[str, Any], attempt: int) -> dict[str, Any]:
    settings = StudioSettings(folder.parents[2])
    os.chdir(settings.root)
    task = TASKS[job["task"]]
    project = Projects(settings).get(job["project"]) if job["project"] else None
    report = EventWriter(folder / "events.jsonl")
    return dict(task.run(Work(folder, task.check(job["settings"]), project, settings, report, attempt)))


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM ends the job by Interrupted. A training replaces this by its own handler while it has a checkpoint to
    write."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("stopped on request")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # what is left takes no time


def _keep_reserve(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))


def _write_outcome(folder: Path, outcome: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        (folder / RESERVE).unlink(missing_ok=True)
    with contextlib.suppress(RunError):
        write_json(folder / "outcome.json", outcome)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
