"""Jobs: folders on disk, the workers that do them, and the queue. A restarted server takes living workers up again."""

import asyncio
import dataclasses
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CasebookError, DataError, did_you_mean
from ..files import write_json
from ..runner.server.refusals import Refused
from .documents import read_json
from .events import EventLog
from .processes import ask_to_stop, kill, lives, started_at
from .projects import ALPHABET, Projects
from .settings import StudioSettings
from .tasks import TASKS, Task
from .tasks.train import run_name

log = logging.getLogger("casebook.studio")

ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9]{4}")
POLL_SECONDS = 0.15
NEW_WORKER_SECONDS = 20  # in which one that an earlier server had just started must say its pid
LOG_BYTES = 64 * 1024
MOST_WAITING = 100
ACTIVE = ("running", "stopping")
OVER = ("done", "failed", "stopped")


@dataclasses.dataclass
class State:
    """state.json: where a job stands."""

    state: str = "waiting"
    message: str = ""
    attempts: int = 0
    pid: int | None = None
    started: str | None = None
    """When the process started, in the system's own form."""
    changed: float = 0.0
    """Seconds since 1970."""


class Job:
    """One job: its folder, what was asked, and its state."""

    def __init__(self, folder: Path, asked: Mapping[str, Any], state: State):
        self.folder, self.state = folder, state
        self.id = folder.name
        self.task: Task = TASKS[asked["task"]]
        self.project: str | None = asked["project"]
        self.settings: dict[str, Any] = asked["settings"]
        self.made = float(asked["made"])
        self.process: subprocess.Popen | None = None
        self.offset = 0
        """Bytes of its events that were read."""

    @property
    def is_over(self) -> bool:
        return self.state.state in OVER

    @property
    def run(self) -> str | None:
        """The run that it writes, or that its settings name."""
        return run_name(self.folder) or self.settings.get("run")

    def to_dict(self) -> dict[str, Any]:
        state = self.state
        return {
            "id": self.id,
            "task": self.task.name,
            "title": self.task.title,
            "project": self.project,
            "settings": self.settings,
            "made": self.made,
            "state": state.state,
            "message": state.message,
            "attempts": state.attempts,
            "changed": state.changed,
            "run": self.run,
            "can_resume": state.state in ("stopped", "failed"),
            "goes_on": self.task.can_resume,
        }

    def kill(self) -> None:
        """Kills its worker and the processes that this started, where there are any."""
        if self.state.pid and self.state.started:
            kill(self.state.pid, self.state.started)

    def result(self) -> Any:
        """result.json; None before the job is done."""
        return read_json(self.folder / "result.json") if self.state.state == "done" else None

    def events(self) -> list[dict[str, Any]]:
        """All that the worker told, each as {"line", "time", "event"}."""
        try:
            lines = (self.folder / "events.jsonl").read_bytes().split(b"\n")[:-1]
        except OSError:
            return []
        return [json.loads(line) for line in lines]

    def log(self) -> str:
        """The end of what the worker printed."""
        try:
            with (self.folder / "worker.log").open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


class Jobs:
    """All jobs of a studio. Used on the event loop only."""

    worker = (sys.executable, "-m", "casebook.studio.worker")

    def __init__(self, settings: StudioSettings, projects: Projects, events: EventLog):
        self._settings, self._projects, self.events = settings, projects, events
        self._folder = settings.state / "jobs"
        self._jobs: dict[str, Job] = {}
        self._load()

    def all(self) -> list[Job]:
        """The newest first."""
        return sorted(self._jobs.values(), key=lambda job: job.id, reverse=True)

    def get(self, id: str) -> Job:
        """Raises Refused (404)."""
        if not ID.fullmatch(id) or id not in self._jobs:
            raise Refused(404, "no_job", f"there is no job {id[:40]!r}; the home page lists those that there are")
        return self._jobs[id]

    def add(self, task: str, settings: Mapping[str, Any], project: str | None = None) -> Job:
        """A new job, which starts as soon as its turn comes. Raises CasebookError and Refused."""
        if task not in TASKS:
            raise DataError(f"there is no task {task[:60]!r}{did_you_mean(task, TASKS)}")
        found = TASKS[task]
        if project is not None:
            self._projects.get(project)
        elif found.needs_project:
            raise DataError(f"{found.title} needs a project; open a folder first")
        checked = found.check(settings)
        if sum(job.state.state == "waiting" for job in self._jobs.values()) >= MOST_WAITING:
            raise Refused(503, "too_many_jobs", f"{MOST_WAITING} jobs are waiting; stop some of them first")
        id = f"{time.strftime('%Y%m%d-%H%M%S')}-{''.join(secrets.choice(ALPHABET) for _ in range(4))}"
        asked = {"id": id, "task": task, "project": project, "settings": checked, "made": time.time()}
        folder = self._folder / id
        write_json(folder / "job.json", asked)
        job = self._jobs[id] = Job(folder, asked, State())
        self._set(job, "waiting")
        self._start_next()
        return job

    def stop(self, job: Job) -> None:
        """Asks the job to stop; asked again, kills it. A waiting one is taken out of the queue."""
        state = job.state
        if state.state == "waiting":
            self._set(job, "stopped", "taken out of the queue")
        elif state.state == "running" and state.pid and state.started:
            self._set(job, "stopping")
            ask_to_stop(state.pid, state.started)
        elif state.state == "stopping":
            job.kill()

    def resume(self, job: Job) -> None:
        """Queues another attempt. Raises DataError where the job is not over, or is done."""
        if job.state.state not in ("stopped", "failed"):
            raise DataError(f"this {job.task.title} is {job.state.state}; only a stopped or failed one can be resumed")
        self._set(job, "waiting")
        self._start_next()

    async def watch(self) -> None:
        """Reads events and notices the end of workers, until cancelled."""
        while True:
            try:
                self.poll()
            except Exception:
                log.exception("looking after the jobs failed; trying again")
            await asyncio.sleep(POLL_SECONDS)

    def poll(self) -> None:
        """One look at every job that runs."""
        self.events.flush()
        for job in [job for job in self._jobs.values() if job.state.state in ACTIVE]:
            is_alive = self._is_alive(job)
            self._read_events(job)
            if not is_alive:
                self._read_events(job)
                self._finish(job)
        self._start_next()

    def _load(self) -> None:
        for path in sorted(self._folder.glob("*/job.json")):
            asked, kept = read_json(path), read_json(path.parent / "state.json") or {}
            if not ID.fullmatch(path.parent.name) or not isinstance(asked, dict) or asked.get("task") not in TASKS:
                continue
            known = {field.name for field in dataclasses.fields(State)}
            state = State(**{name: value for name, value in kept.items() if name in known})
            self._jobs[path.parent.name] = Job(path.parent, asked, state)
        for job in self._jobs.values():
            self._find_offset(job)
            self._read_events(job)

    def _find_offset(self, job: Job) -> None:
        """After the events that were taken over before the server was restarted."""
        taken = self.events.taken.get(job.id, 0)
        if not taken:
            return
        try:
            lines = (job.folder / "events.jsonl").read_bytes().split(b"\n")[:-1]
        except OSError:
            return
        job.offset = sum(len(line) + 1 for line in lines[:taken])

    def _read_events(self, job: Job) -> None:
        try:
            with (job.folder / "events.jsonl").open("rb") as file:
                file.seek(job.offset)
                found = file.read()
        except OSError:
            return
        *lines, _ = found.split(b"\n")  # what comes after the last newline is not whole yet
        for line in lines:
            job.offset += len(line) + 1
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.events.add(job.id, record["event"], record["line"])

    def _is_alive(self, job: Job) -> bool:
        state = job.state
        if job.process is not None:
            return job.process.poll() is None
        if state.pid is None:  # started by a server that ended before it wrote the pid
            found = read_json(job.folder / "worker.json") or {}
            if found.get("attempt") != state.attempts:
                return time.time() - state.changed < NEW_WORKER_SECONDS
            state.pid, state.started = found["pid"], found["started"]
        return lives(state.pid, state.started)

    def _finish(self, job: Job) -> None:
        outcome = read_json(job.folder / "outcome.json") or {}
        exit_code = None if job.process is None else job.process.returncode
        was_stopping, job.process = job.state.state == "stopping", None
        if outcome.get("attempt") == job.state.attempts and outcome.get("state") in OVER:
            self._set(job, outcome["state"], outcome["message"])
        elif was_stopping:
            self._set(job, "stopped", "killed on request")
        else:
            how = "" if exit_code is None else f" (exit code {exit_code})"
            goes_on = "; resume it from its last checkpoint" if job.task.can_resume else "; try again"
            self._set(job, "stopped", f"the worker ended without a word{how}, as when memory runs out{goes_on}")

    def _start_next(self) -> None:
        """One long job and one short one at a time, in the order in which they were made."""
        for is_long in (True, False):
            of_kind = [job for job in self._jobs.values() if job.task.is_long is is_long]
            waiting = [job for job in of_kind if job.state.state == "waiting"]
            if waiting and not any(job.state.state in ACTIVE for job in of_kind):
                self._start(min(waiting, key=lambda job: job.id))

    def _start(self, job: Job) -> None:
        job.state.attempts += 1
        job.state.pid = job.state.started = None
        self._set(job, "running")
        try:
            if read_json(job.folder / "state.json") != dataclasses.asdict(job.state):
                raise OSError("the disk is full, so the job cannot start; free some space and resume it")
            with (job.folder / "worker.log").open("ab") as output:
                job.process = subprocess.Popen(
                    [*self.worker, str(job.folder)],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self._set(job, "failed", str(error))
            return
        job.state.pid, job.state.started = job.process.pid, started_at(job.process.pid)
        self._write(job)

    def _set(self, job: Job, state: str, message: str = "") -> None:
        job.state.state, job.state.message, job.state.changed = state, message, time.time()
        self._write(job)
        told = {"event": "JobState", "state": state, "message": message, "changed": job.state.changed}
        self.events.add(job.id, told)

    def _write(self, job: Job) -> None:
        try:
            write_json(job.folder / "state.json", dataclasses.asdict(job.state))
        except CasebookError as error:  # the disk is full; in memory the state is right
            log.error("%s", error)
