"""The queue and the workers, with workers that do what a test says."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casebook.errors import DataError
from casebook.runner.server.refusals import Refused
from casebook.studio import jobs as jobs_module
from casebook.studio.events import EventLog
from casebook.studio.jobs import Job, Jobs
from casebook.studio.processes import lives, started_at
from casebook.studio.projects import Projects
from casebook.studio.settings import StudioSettings
from casebook.studio.tasks import TASKS, Task

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
asked = json.loads((folder / "job.json").read_text())["settings"]
attempt = json.loads((folder / "state.json").read_text())["attempts"]
def end(state, message=""):
    (folder / "outcome.json").write_text(json.dumps({"attempt": attempt, "state": state, "message": message}))
    sys.exit()
if asked.get("does") != "nothing on SIGTERM":
    signal.signal(signal.SIGTERM, lambda *_: end("stopped", "stopped on request"))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with (folder / "events.jsonl").open("a") as file:
    file.write(json.dumps({"line": 0, "time": 0, "event": {"event": "Remark", "text": "begun"}}) + "\\n")
print("a line of the log", flush=True)
if asked.get("does") == "end":
    (folder / "result.json").write_text('{"answer": 42}')
    end("done")
if asked.get("does") == "fail":
    end("failed", "no pictures; choose another folder")
if asked.get("does") == "vanish":
    os._exit(9)
time.sleep(30)
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Jobs]]:
    """Makes the jobs of a studio, as each start of a server does. What still runs is killed in the end."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(Jobs, "worker", (sys.executable, str(script)))
    field = TASKS["train"].fields["name"]
    for name, is_long in (("long", True), ("short", False)):
        task = Task(name, f"{name} job", lambda work: {}, {"does": field.__class__(str)}, False, is_long, is_long)
        monkeypatch.setitem(TASKS, name, task)
    settings = StudioSettings(tmp_path)
    made: list[Jobs] = []

    def make() -> Jobs:
        made.append(Jobs(settings, Projects(settings), EventLog(settings.state / "events.jsonl")))
        return made[-1]

    yield make
    for jobs in made:
        for job in jobs.all():
            job.kill()
            if job.process is not None:
                job.process.wait()


def until(jobs: Jobs, job: Job, state: str) -> Job:
    deadline = time.monotonic() + 10
    while job.state.state != state:
        assert time.monotonic() < deadline, job.state
        time.sleep(0.02)
        jobs.poll()
    return job


def begun(jobs: Jobs, job: Job) -> None:
    deadline = time.monotonic() + 10
    while not job.events():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    jobs.poll()


def states(jobs: Jobs, job: Job) -> list[str]:
    found = [json.loads(one.text) for one in jobs.events.after(0)]
    return [one["event"].get("state", "event") for one in found if one["job"] == job.id]


def test_a_job_runs_and_gives_its_result(make: Callable[[], Jobs]) -> None:
    jobs = make()
    job = until(jobs, jobs.add("short", {"does": "end"}), "done")
    assert job.result() == {"answer": 42}
    assert job.log() == "a line of the log\n"
    assert states(jobs, job) == ["waiting", "running", "event", "done"]
    with pytest.raises(DataError, match="is done; only a stopped or failed one"):
        jobs.resume(job)


def test_one_long_job_at_a_time_and_one_short_one_beside_it(make: Callable[[], Jobs]) -> None:
    jobs = make()
    first, second = jobs.add("long", {}), jobs.add("long", {"does": "end"})
    beside, last = jobs.add("short", {}), jobs.add("short", {})
    assert [job.state.state for job in (first, second, beside, last)] == ["running", "waiting", "running", "waiting"]
    begun(jobs, first)
    jobs.stop(last)
    assert (last.state.state, last.state.message) == ("stopped", "taken out of the queue")
    jobs.stop(first)
    assert first.state.state == "stopping"
    until(jobs, first, "stopped")
    until(jobs, second, "done")


def test_the_second_stop_kills(make: Callable[[], Jobs]) -> None:
    jobs = make()
    job = jobs.add("long", {"does": "nothing on SIGTERM"})
    begun(jobs, job)
    jobs.stop(job)
    jobs.poll()
    assert job.state.state == "stopping"
    jobs.stop(job)
    assert until(jobs, job, "stopped").state.message == "killed on request"


@pytest.mark.parametrize(
    ("does", "state", "message"),
    [("fail", "failed", "no pictures"), ("vanish", "stopped", r"without a word (exit code 9)")],
)
def test_how_a_job_ended_is_said_and_it_may_try_again(
    make: Callable[[], Jobs], does: str, state: str, message: str
) -> None:
    jobs = make()
    job = until(jobs, jobs.add("long", {"does": does}), state)
    assert message in job.state.message
    assert job.to_dict()["can_resume"]
    jobs.resume(job)
    assert (until(jobs, job, state).state.attempts, states(jobs, job).count("running")) == (2, 2)


def test_a_restarted_server_takes_a_living_worker_up(make: Callable[[], Jobs]) -> None:
    before = make()
    job = before.add("long", {})
    begun(before, job)
    number = before.events.number
    after = make()
    found = after.get(job.id)
    after.poll()
    assert (found.state.state, found.state.pid) == ("running", job.state.pid)
    assert after.events.number == number  # no event counts twice
    after.stop(found)
    job.process.wait()  # pyright: ignore[reportOptionalMemberAccess]
    assert until(after, found, "stopped").state.message == "stopped on request"


def test_a_restarted_server_notices_that_a_worker_is_gone(make: Callable[[], Jobs]) -> None:
    before = make()
    job = before.add("long", {})
    begun(before, job)
    job.kill()
    job.process.wait()  # pyright: ignore[reportOptionalMemberAccess]
    after = make()
    after.poll()
    assert "resume it from its last checkpoint" in after.get(job.id).state.message


def test_another_process_with_the_same_pid_is_no_worker(make: Callable[[], Jobs]) -> None:
    jobs = make()
    job = jobs.add("long", {})
    pid, started = job.state.pid, job.state.started
    assert lives(pid, started)
    assert not lives(pid, f"{started}1")
    job.state.started, job.process, process = f"{started}1", None, job.process
    jobs.poll()
    assert job.state.state == "stopped"
    assert process is not None
    assert process.poll() is None  # it was left alone
    process.kill()
    process.wait()
    assert started_at(process.pid) is None


def test_a_worker_whose_pid_was_not_written_is_found_by_what_it_wrote(make: Callable[[], Jobs]) -> None:
    before = make()
    job = before.add("long", {})
    begun(before, job)
    own = {"pid": job.state.pid, "started": job.state.started, "attempt": 1}
    (job.folder / "state.json").write_text(json.dumps({"state": "running", "attempts": 1, "changed": time.time()}))
    after = make()
    after.poll()
    assert after.get(job.id).state.state == "running"  # it gets time to say who it is
    (job.folder / "worker.json").write_text(json.dumps(own))
    after.poll()
    assert after.get(job.id).state.pid == job.state.pid


def test_a_full_disk_refuses_a_start_clearly(make: Callable[[], Jobs], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = make()

    def full(path: Path, document: Any) -> None:
        if path.name == "state.json":
            from casebook.errors import RunError

            raise RunError(f"cannot write {path}: No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    monkeypatch.setattr(jobs_module, "write_json", full)
    job = jobs.add("long", {})
    assert (job.state.state, job.process) == ("failed", None)
    assert "free some space" in job.state.message


def test_what_is_no_job_is_left_out(make: Callable[[], Jobs], tmp_path: Path) -> None:
    for name, content in (
        ("20260101-000000-aaaa", "no JSON"),
        ("20260101-000000-bbbb", '{"task": "gone"}'),
        ("x", "{}"),
    ):
        folder = tmp_path / ".casebook-studio" / "jobs" / name
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(content)
    jobs = make()
    assert jobs.all() == []
    with pytest.raises(Refused, match="there is no job"):
        jobs.get("20260101-000000-aaaa")


def test_what_cannot_be_asked_is_said_before_a_worker_starts(make: Callable[[], Jobs]) -> None:
    jobs = make()
    with pytest.raises(DataError, match="did you mean 'train'"):
        jobs.add("trian", {})
    with pytest.raises(DataError, match="needs a project"):
        jobs.add("train", {})
    with pytest.raises(DataError, match="has no setting 'dose'; did you mean 'does'"):
        jobs.add("short", {"dose": "end"})
    assert jobs.all() == []
